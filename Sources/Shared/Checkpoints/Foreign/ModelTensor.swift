// A tensor of a model in the layout of Hugging Face, wherever and however it is stored: formats that keep matrices
// transposed or their rows in another order are read through a view, piece by piece, and so are written.

public import Bytes

/// A named tensor that is read on demand.
public struct ModelTensor: Sendable {
    /// Hugging Face's.
    public let name: String
    /// Outermost dimension first.
    public let shape: [Int]
    let storage: any TensorStorage
    var isTransposed = false
    var order: RowOrder?

    init(_ name: String, _ shape: [Int], _ storage: any TensorStorage) {
        self.name = name
        self.shape = shape
        self.storage = storage
    }

    /// Of the elements as they are handed out.
    public var dtype: DataType { storage.dtype }
    /// Of the elements in the file.
    public var encoding: TensorEncoding { storage.encoding }
    public var elementCount: Int { storage.elementCount }
    /// Bytes in the file.
    public var byteCount: Int { storage.byteCount }

    /// `'FILE', tensor 'NAME' at byte N`, for messages.
    public var place: String { storage.subject }

    /// Elements of one row, that is, of all dimensions but the first.
    var rowLength: Int { shape.dropFirst().reduce(1, *) }

    func renamed(_ name: String) -> ModelTensor { copy(name, shape) }

    private func copy(_ name: String, _ shape: [Int]) -> ModelTensor {
        var result = ModelTensor(name, shape, storage)
        result.isTransposed = isTransposed
        result.order = order
        return result
    }

    /// The matrix with its dimensions exchanged.
    func transposed() -> ModelTensor {
        precondition(shape.count == 2 && order == nil, "\(name) of shape \(shape) is no matrix to transpose")
        var result = copy(name, shape.reversed())
        result.isTransposed.toggle()
        return result
    }

    /// Its rows in another order.
    func reordered(_ order: RowOrder) -> ModelTensor {
        precondition(!isTransposed && shape.first.map { $0 % (2 * order.heads) == 0 } == true, "\(name): no such order")
        var result = self
        if let old = self.order {
            precondition(old.heads == order.heads && old.isPaired != order.isPaired, "\(name): reordered twice")
            result.order = nil
        } else {
            result.order = order
        }
        return result
    }

    /// The elements in order, in pieces.
    /// - Parameter chunk: elements a piece, a multiple of 64; every piece but the last has so many.
    public func reader(chunk: Int = 1 << 17) -> ModelTensorReader { ModelTensorReader(self, chunk: chunk) }

    /// Whether it has the shape and, as numbers, the values of another, NaN being like NaN. Reads both, or the first piece
    /// that differs.
    public func hasValues(of other: ModelTensor) throws(Fault) -> Bool {
        guard shape == other.shape else { return false }
        var (mine, theirs) = (reader(), other.reader())
        while let left = try mine.next(), let right = try theirs.next() {
            if dtype == other.dtype && left == right { continue }
            guard let x = dtype.doubles(left), let y = other.dtype.doubles(right),
                zip(x, y).allSatisfy({ $0.bitPattern == $1.bitPattern || $0.isNaN && $1.isNaN })
            else { return false }
        }
        return true
    }

    /// The tensor on its way into a file, in another encoding.
    func source(_ name: String, as target: DataType) -> TensorSource {
        TensorSource(name: name, dtype: target, shape: shape) { emit in
            try forEachChunk(as: .plain(target)) { try $0.withRawSpan(emit) }
        }
    }

    /// All elements, encoded, in order.
    func forEachChunk(as encoding: TensorEncoding, _ body: ([UInt8]) throws -> Void) throws {
        var reader = reader()
        while let bytes = try reader.next() { try body(encode(bytes, as: encoding)) }
    }

    private func encode(_ bytes: [UInt8], as encoding: TensorEncoding) throws(Fault) -> [UInt8] {
        do throws(EncodingTrouble) {
            return try encoding.encode(bytes, from: dtype)
        } catch { throw Fault(.badData, "\(storage.subject): \(error.reason(encoding))") }
    }
}

/// The order in which GGUF keeps the rows of llama's Q and K: the two halves of a head, which are rotated together,
/// interleaved.
struct RowOrder: Sendable, Equatable {
    let heads: Int
    /// Whether the result is interleaved: row 2j + s of a head is row s·d/2 + j of the stored one. Otherwise the way back.
    let isPaired: Bool

    /// Which of `rows` stored rows row `row` is.
    func source(of row: Int, rows: Int) -> Int {
        let half = rows / heads / 2
        let (head, place) = row.quotientAndRemainder(dividingBy: 2 * half)
        let source = isPaired ? place % 2 * half + place / 2 : place % half * 2 + place / half
        return head * 2 * half + source
    }
}
