// Memory that kernels work on: a view into storage that is allocated once, aligned to a cache line, and kept alive by
// its views. Views are slices of one arena; several may be written at once by design (a kernel takes outputs beside
// inputs), which is why this is no Span: the borrow checker would have to see through the arena's plan.

private import CKernels

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// A number type that kernels know.
public protocol KernelElement: BitwiseCopyable, Sendable, Equatable {
    static var zero: Self { get }
}

extension Float: KernelElement {}
extension UInt32: KernelElement {}
extension Int32: KernelElement {}

/// `count` elements of fixed memory. Copies of a view are views of the same memory. Every access is checked against the
/// view's bounds; a slip traps with both numbers.
@safe
public struct View<Element: KernelElement>: @unchecked Sendable {
    // SAFETY: `pointer` … `pointer + count` lies inside `storage`, which every view keeps alive. @unchecked Sendable:
    // threads that write the same elements at the same time are the caller's fault, as with any array of atomics; the
    // engine cuts its work so that they never do.
    private let storage: Storage
    let pointer: UnsafeMutablePointer<Element>
    public let count: Int

    @safe
    private final class Storage {
        let base: UnsafeMutableRawPointer
        init(bytes: Int) {
            let size = max(64, (bytes + 63) / 64 * 64)
            var base: UnsafeMutableRawPointer?
            // Two megabytes of alignment let the kernel back large arenas with huge pages.
            let alignment = size >= 1 << 21 ? 1 << 21 : 64
            guard unsafe posix_memalign(&base, alignment, size) == 0, let base = unsafe base else {
                fatalError("out of memory: \(size) bytes")
            }
            #if os(Linux)
                if alignment > 64 { _ = unsafe madvise(base, size, Int32(MADV_HUGEPAGE)) }
            #endif
            unsafe memset(base, 0, size)
            unsafe self.base = unsafe base
        }
        deinit { unsafe free(base) }
    }

    /// New storage, zeroed, aligned to 64 bytes.
    public init(zeroed count: Int) {
        precondition(count >= 0, "a view of \(count) elements")
        storage = Storage(bytes: count * MemoryLayout<Element>.stride)
        unsafe pointer = storage.base.assumingMemoryBound(to: Element.self)
        self.count = count
    }

    public init(_ elements: [Element]) {
        self.init(zeroed: elements.count)
        copy(elements)
    }

    private init(storage: Storage, pointer: UnsafeMutablePointer<Element>, count: Int) {
        self.storage = storage
        unsafe self.pointer = unsafe pointer
        self.count = count
    }

    /// The `count` elements from `offset`, sharing memory.
    public func slice(_ offset: Int, _ count: Int) -> View {
        precondition(
            offset >= 0 && count >= 0 && offset <= self.count - count,
            "slice \(offset)..<\(offset + count) of a view of \(self.count)")
        return unsafe View(storage: storage, pointer: pointer + offset, count: count)
    }

    public subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < count, "index \(index) of a view of \(count)")
            return unsafe pointer[index]
        }
        nonmutating set {
            precondition(index >= 0 && index < count, "index \(index) of a view of \(count)")
            unsafe pointer[index] = newValue
        }
    }

    public func fill(_ value: Element) { unsafe pointer.update(repeating: value, count: count) }

    /// Overwrites the elements with those of a view of the same count.
    public func copy(_ other: View) {
        precondition(other.count == count, "copying \(other.count) elements into a view of \(count)")
        unsafe pointer.update(from: other.pointer, count: count)
    }

    /// Exchanges the elements with those of a view of the same count elsewhere in memory.
    public func exchange(_ other: View) {
        precondition(other.count == count, "exchanging \(count) elements with \(other.count)")
        for index in 0..<count {
            let element = unsafe pointer[index]
            unsafe pointer[index] = other.pointer[index]
            unsafe other.pointer[index] = element
        }
    }

    public func copy(_ elements: [Element]) {
        precondition(elements.count == count, "copying \(elements.count) elements into a view of \(count)")
        unsafe elements.withUnsafeBufferPointer { source in
            if let base = source.baseAddress { unsafe pointer.update(from: base, count: count) }
        }
    }

    public var array: [Element] { unsafe Array(UnsafeBufferPointer(start: pointer, count: count)) }

    /// The elements as they lie in memory (little-endian), to be written to a file.
    public func withBytes<Result>(_ body: (RawSpan) throws -> Result) rethrows -> Result {
        // SAFETY: the span lives no longer than this call, and self keeps the storage.
        let span = unsafe RawSpan(_unsafeStart: pointer, byteCount: count * MemoryLayout<Element>.stride)
        return try body(span)
    }

    /// Overwrites bytes from `offset` with `bytes`, as they came from a file.
    public func copy(bytes: [UInt8], atByte offset: Int) {
        let size = count * MemoryLayout<Element>.stride
        precondition(
            offset >= 0 && offset <= size - bytes.count,
            "bytes \(offset)..<\(offset + bytes.count) of a view of \(size)")
        // SAFETY: the range was checked; elements are trivial, any bytes make a value.
        unsafe bytes.withUnsafeBytes { source in
            if let base = source.baseAddress {
                unsafe UnsafeMutableRawPointer(pointer).advanced(by: offset)
                    .copyMemory(from: base, byteCount: source.count)
            }
        }
    }
}

extension View<Float> {
    /// Whether no element is infinite or not a number.
    public var isFinite: Bool { unsafe mr_all_finite(pointer, count) }
}

/// Floats: parameters, activations, gradients, moments. A tensor's shape is its owner's knowledge.
public typealias Tensor = View<Float>
