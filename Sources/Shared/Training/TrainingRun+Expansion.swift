// `--expand-at`: the run saves the step, makes a larger model of that checkpoint as ckpt-tool does, publishes it in its
// place, and goes on from it as a resumed run would. One path for all three, so that they cannot differ; and the smaller
// model's memory is free before the larger one's is taken.

internal import Bytes
internal import Checkpoints
internal import Models
internal import SystemPackage

extension TrainingRun {
    /// Makes the larger model of the checkpoint that was just saved.
    func enlarge() throws {
        guard let planned = state.dueExpansion else { return }
        let place = directory.path(of: state.step)
        let name = place.appending(Checkpoint.stateName).string
        let saved = try Checkpoint(place)
        // As it was written: `state` lacks what only the trainer knows.
        var next = try TrainingState(json: saved.state(), name: name)
        next.plannedExpansions.removeFirst()
        let expansion = try CheckpointExpansion(saved, [planned.policy], state: next.json)
        var records: [ExpansionRecord] = []
        try directory.save(step: state.step) { records = try expansion.write($0) }
        let checkpoint = try Checkpoint(place)
        state = try TrainingState(json: checkpoint.state(), name: name)
        guard let configuration = expansion.configuration as? Model.Description else {
            preconditionFailure("an expansion of a model that is no transformer was planned")
        }
        goOn(from: checkpoint, as: configuration)
        for record in records { report(.expanded(record)) }
    }
}
