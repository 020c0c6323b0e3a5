// A language model that is no transformer: the next token from the few before it, through one hidden layer (Bengio et al.
// 2003, "A Neural Probabilistic Language Model"). All of it is here: the description, the two passes, and nothing else,
// because the rest of training is not the model's business.

import Millrace

/// The shape of an `NGram`, as config.json holds it.
struct NGramDescription: ModelDescription {
    let vocabularySize: Int
    /// n: tokens that the next one is predicted from.
    let context: Int
    /// D: width of a token's embedding.
    let width: Int
    /// H: width of the hidden layer.
    let hidden: Int

    init(vocabularySize: Int, context: Int = 4, width: Int = 32, hidden: Int = 128) {
        self.vocabularySize = vocabularySize
        self.context = context
        self.width = width
        self.hidden = hidden
    }

    init(json: JSON, name: String) throws(Fault) {
        guard json["model_type"]?.stringValue == "ngram" else {
            throw .badData(name, "'model_type' is \(json["model_type"] ?? .null), expected 'ngram'")
        }
        func size(_ key: String) throws(Fault) -> Int {
            guard let value = json[key]?.intValue, (1...1 << 20).contains(value) else {
                throw .badData(name, "field '\(key)': expected a number from 1 to \(1 << 20)")
            }
            return value
        }
        try self.init(
            vocabularySize: size("vocab_size"), context: size("context"), width: size("embedding_size"),
            hidden: size("hidden_size"))
    }

    var json: JSON {
        [
            "model_type": "ngram", "vocab_size": .integer(vocabularySize), "context": .integer(context),
            "embedding_size": .integer(width), "hidden_size": .integer(hidden),
        ]
    }

    /// It looks at `context` tokens, so rows may be as long as they like.
    var maximumPositions: Int { 1 << 24 }

    /// One more row in the embedding: what stands before a document's beginning.
    var tensors: [ParameterTensor] {
        ParameterTensor.tiling([
            ("embedding.weight", [vocabularySize + 1, width], .matrix, nil),
            ("hidden.weight", [hidden, context * width], .matrix, 0), ("hidden.bias", [hidden], .bias, 0),
            ("output.weight", [vocabularySize, hidden], .matrix, nil), ("output.bias", [vocabularySize], .bias, nil),
        ])
    }
}

/// logits = gelu(x · W₁ᵀ + b₁) · W₂ᵀ + b₂, where x is the embeddings of the last n tokens side by side.
final class NGram: TrainableModel {
    let configuration: NGramDescription
    let engine: Engine
    let parameters: Tensor
    let capacity: Int
    let length: Int
    private let precision: Precision
    /// For each position its n tokens.
    private let contexts: View<UInt32>
    private let x, sums, hidden, logits, dHidden, dx: Tensor

    init(_ description: NGramDescription, engine: Engine, shape: TrainingShape) {
        configuration = description
        self.engine = engine
        precision = shape.precision
        (capacity, length) = (shape.positions, shape.length)
        parameters = Tensor(zeroed: description.parameterCount)
        let d = description
        contexts = View(zeroed: capacity * d.context)
        x = Tensor(zeroed: capacity * d.context * d.width)
        dx = Tensor(zeroed: capacity * d.context * d.width)
        sums = Tensor(zeroed: capacity * d.hidden)
        hidden = Tensor(zeroed: capacity * d.hidden)
        dHidden = Tensor(zeroed: capacity * d.hidden)
        logits = Tensor(zeroed: capacity * d.vocabularySize)
    }

    static func activationBytes(_ d: NGramDescription, shape: TrainingShape) -> Int {
        4 * shape.positions * (d.context * (2 * d.width + 1) + 3 * d.hidden + d.vocabularySize)
    }

    func initialize(seed: UInt64) {
        for (index, tensor) in configuration.tensors.enumerated() where tensor.role == .matrix {
            let isEmbedding = index == 0
            let deviation = isEmbedding ? 1 : 1 / Float(tensor.shape[1]).squareRoot()
            Random(seed: seed, purpose: RandomPurpose.initialization + UInt64(index))
                .normal(into: parameters.slice(tensor.offset, tensor.count), deviation: deviation)
        }
    }

    func forwardBackward(
        _ batch: ModelBatch, into gradients: FlatGradients, losses: Tensor, isInterrupted: () -> Bool
    ) -> Bool {
        forward(batch, losses: losses, gradient: true)
        let (n, d) = (batch.count, configuration)
        let (w, dw) = (views(of: parameters), views(of: gradients.flat))
        let dLogits = matrix(logits, n, d.vocabularySize)
        let dSums = matrix(dHidden, n, d.hidden)
        // With the batch's rows as the period every row's share is summed apart and rows are added in order: the bits do not
        // depend on how a step is cut into micro-batches.
        func addWeight(_ dy: Matrix, _ x: Matrix, to dw: Tensor) {
            let dw = Matrix(dw, rows: dy.columns, columns: x.columns)
            engine.gemm(dy, transposeA: true, x, into: dw, base: dw, period: batch.length, precision: precision)
        }
        addWeight(dLogits, matrix(hidden, n, d.hidden), to: dw.output)
        engine.biasBackward(dLogits.tensor, period: batch.length, db: dw.outputBias)
        engine.gemm(
            dLogits, Matrix(w.output, rows: d.vocabularySize, columns: d.hidden), into: dSums, precision: precision,
            activation: .geluBackward(of: matrix(sums, n, d.hidden)))
        addWeight(dSums, matrix(x, n, d.context * d.width), to: dw.hidden)
        engine.biasBackward(dSums.tensor, period: batch.length, db: dw.hiddenBias)
        let dx = matrix(dx, n, d.context * d.width)
        engine.gemm(
            dSums, Matrix(w.hidden, rows: d.hidden, columns: d.context * d.width), into: dx, precision: precision)
        engine.embeddingBackward(
            dx.tensor, c: d.width, ids: contexts.slice(0, n * d.context), dtable: dw.embedding)
        return true
    }

    func evaluate(_ batch: ModelBatch, losses: Tensor) { forward(batch, losses: losses, gradient: false) }

    /// Losses, and with `gradient` the logits' gradient in `logits`.
    private func forward(_ batch: ModelBatch, losses: Tensor, gradient: Bool) {
        let (n, d, w) = (batch.count, configuration, views(of: parameters))
        for i in 0..<n {
            // Nothing is seen of another document.
            let first = i / batch.length * batch.length + Int(batch.first[i])
            for back in 0..<d.context {
                let source = i - back
                contexts[i * d.context + back] = source >= first ? batch.inputs[source] : UInt32(d.vocabularySize)
            }
        }
        engine.embedding(
            w.embedding, c: d.width, ids: contexts.slice(0, n * d.context),
            out: x.slice(0, n * d.context * d.width))
        engine.gemm(
            matrix(x, n, d.context * d.width), Matrix(w.hidden, rows: d.hidden, columns: d.context * d.width),
            transposeB: true, into: matrix(sums, n, d.hidden), bias: w.hiddenBias, precision: precision,
            activation: .gelu(into: matrix(hidden, n, d.hidden)))
        let logits = matrix(logits, n, d.vocabularySize)
        engine.gemm(
            matrix(hidden, n, d.hidden), Matrix(w.output, rows: d.vocabularySize, columns: d.hidden),
            transposeB: true, into: logits, bias: w.outputBias, precision: precision)
        engine.crossEntropy(
            logits.tensor, v: d.vocabularySize, targets: batch.targets.slice(0, n), weights: batch.weight.slice(0, n),
            losses: losses, gradient: gradient)
    }

    private func matrix(_ tensor: Tensor, _ rows: Int, _ columns: Int) -> Matrix {
        Matrix(tensor.slice(0, rows * columns), rows: rows, columns: columns)
    }

    private func views(
        of flat: Tensor
    ) -> (embedding: Tensor, hidden: Tensor, hiddenBias: Tensor, output: Tensor, outputBias: Tensor) {
        let views = configuration.tensors.map { flat.slice($0.offset, $0.count) }
        return (views[0], views[1], views[2], views[3], views[4])
    }
}
