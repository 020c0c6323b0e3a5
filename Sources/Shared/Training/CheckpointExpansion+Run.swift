// A larger checkpoint as the beginning of a run: what lies in the old run beside its checkpoints comes along, so that the new
// one goes on as the old one would have with --expand-at: how it is watched over, and the best checkpoint so far.

public import Bytes
public import Checkpoints
internal import Metrics
private import Models
internal import SystemPackage

extension CheckpointExpansion {
    /// Publishes the larger checkpoint in a directory without a run, with run.json and the best checkpoint of the old run.
    /// - Returns: a record of each policy; and what did not come along, a sentence each.
    /// - Throws: `Fault` as of `write`, or when the directory cannot be written.
    public func begin(_ directory: RunDirectory) throws -> (records: [ExpansionRecord], leftBehind: [String]) {
        let name = origin.path.appending(Checkpoint.stateName).string
        let state = try TrainingState(json: origin.state(), name: name)
        var leftBehind: [String] = []
        // Before the larger checkpoint is there: what fails until then leaves no run.
        var best: CheckpointWriter?
        if let found = state.best, found.step != state.step {
            do throws(Fault) {
                best = try directory.adopting(earlier(found.step), step: found.step)
            } catch {
                guard error.kind == .badData || error.kind == .noInput else { throw error }
                leftBehind.append(
                    "'best' is missing until an evaluation finds less than \(found.validationLoss), the loss of step \(found.step): "
                        + error.message)
            }
        }
        var records: [ExpansionRecord] = []
        // Links last, and `latest` after the others, as of any save.
        try directory.save(step: state.step, links: []) { writer in
            records = try write(writer)
            if try carryDescription(to: directory) { return }
            leftBehind.append(
                "\(quoted(origin.path.string)) is no step of a run with a run.json: train-step --resume has to be told again of "
                    + "--validation, --eval-every, --save-every and the like")
        }
        try best?.commit()
        if let found = state.best, best != nil || found.step == state.step {
            try directory.point(.best, at: found.step)
        }
        try directory.point(.latest, at: state.step)
        return (records, leftBehind)
    }

    /// Whether the larger model can go through what the run is still to go through; told before anything is computed.
    /// - Throws: `Fault` (usage) when it cannot, and `dropsPlanned` is not set.
    public func requirePlanned() throws(Fault) {
        if dropsPlanned { return }
        let name = origin.path.appending(Checkpoint.stateName).string
        let planned = try TrainingState(json: origin.state(), name: name).plannedExpansions
        do { _ = try PlannedExpansion.models(planned, of: configuration) } catch {
            throw Fault(
                .usage,
                "\(quoted(origin.path.string)): the larger model cannot go through planned_expansions of state.json, step \(error.message)",
                hint: "--drop-planned leaves out all that is planned; train-step --resume --expand-at plans anew")
        }
    }

    /// An earlier step of the origin's run.
    private func earlier(_ step: Int) throws(Fault) -> Checkpoint {
        guard let place = origin.place else {
            throw Fault(.noInput, "\(quoted(origin.path.string)) is no step of a run")
        }
        return try Checkpoint(place.run.appending(RunDirectory.name(of: step)))
    }

    /// Writes the run.json of the origin's run, with the larger model.
    /// - Returns: false when there is none.
    private func carryDescription(to directory: RunDirectory) throws(Fault) -> Bool {
        guard let place = origin.place, let description = try RunDescription.json(run: place.run) else { return false }
        var object = description
        if var config = object["config"]?.objectValue {
            config["model"] = configuration.json
            object["config"] = .object(config)
        }
        let file = directory.path.appending(RunDescription.fileName)
        try AtomicFile.write(Array(JSON.object(object).pretty.utf8), to: file)
        return true
    }
}
