// Measures a step while it happens: the residual stream as the forward pass makes it, gradients before the update, the update
// in the optimizer's own pass. It reads, and changes nothing.

internal import Kernels
internal import Models

/// Collects the figures of one step after another.
final class StepObserver<Model: TrainableModel> {
    private let model: Model
    private let tensors: [ParameterTensor]
    private let byLayer: Bool
    private var streams: [StepNorms.Stream] = []
    /// By tensor of the model; nil: it does not learn, or was not updated.
    private var gradients: [Magnitude?] = []
    private var moved: [UpdateSquares?] = []

    init(_ model: Model, _ tensors: [ParameterTensor], byLayer: Bool) {
        self.model = model
        self.tensors = tensors
        self.byLayer = byLayer
    }

    /// Begins a step, and looks at what its forward passes put out until `endForward`.
    /// - Parameter length: positions of a row. Rows are summed one by one, so that it does not show how they are cut.
    func begin(length: Int) {
        gradients = Array(repeating: nil, count: tensors.count)
        moved = gradients.map { _ in nil }
        streams = []
        let engine = model.engine
        model.watchStream { [unowned self] place, output, width in
            let index = streams.firstIndex { $0.name == place } ?? streams.count
            if index == streams.count { streams.append(StepNorms.Stream(name: place)) }
            for begin in stride(from: 0, to: output.count, by: length * width) {
                streams[index].magnitude.append(engine.magnitude(output.slice(begin, length * width)))
            }
        }
    }

    /// No forward pass follows; also when the step is given up.
    func endForward() { model.watchStream(nil) }

    /// The gradient of a tensor that learns, before clipping.
    func note(gradient: Tensor, of index: Int) { gradients[index] = model.engine.magnitude(gradient) }

    /// What an update did to a tensor.
    func note(_ squares: UpdateSquares, of index: Int) { moved[index] = squares }

    /// What was found.
    var norms: StepNorms {
        var (parts, layers): ([ParameterPart: StepNorms.Group], [Int: StepNorms.Group]) = ([:], [:])
        // Of a model whose names say nothing.
        var rest = StepNorms.Group(name: "")
        for (index, tensor) in tensors.enumerated() {
            guard let gradient = gradients[index] else { continue }
            if let part = tensor.part {
                parts[part, default: .init(name: part.rawValue)].add(gradient, moved[index])
            } else {
                rest.add(gradient, moved[index])
            }
            if byLayer, let layer = tensor.layer {
                layers[layer, default: .init(name: "layer_\(layer)")].add(gradient, moved[index])
            }
        }
        var norms = StepNorms()
        norms.streams = streams
        norms.groups = ParameterPart.allCases.compactMap { parts[$0] }
        for part in norms.groups { norms.all.add(part) }
        norms.all.add(rest)
        norms.groups += layers.keys.sorted().compactMap { layers[$0] }
        return norms
    }
}
