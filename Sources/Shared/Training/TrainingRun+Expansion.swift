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

extension TrainingState {
    /// Refuses to go on as a smaller model than the run had, unless it is planned to grow again: nothing in a checkpoint of
    /// before an expansion by hand, or of before it was planned, says that there was one.
    /// - Throws: `Fault` (bad data).
    func refuseSmaller(than skipped: [RunDirectory.Skipped], in run: FilePath) throws(Fault) {
        let toCome = expansions.count + plannedExpansions.count
        guard skipped.contains(where: { $0.expansions > toCome }) else { return }
        throw Fault(
            .badData,
            "\(quoted(run.string)): step \(step), to which it would fall back, is of the model before it was made larger",
            hint: "--expand-at STEP POLICY makes it larger again; so does ckpt-tool expand, in a new run")
    }
}
