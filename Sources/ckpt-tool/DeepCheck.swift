// What digests cannot tell: a checkpoint may be exactly what was written and still be no model, because what was written
// was not.

import Bytes
import Checkpoints
import CommandLine
import SystemPackage
import Training

enum DeepCheck {
    /// Values and shapes of a checkpoint, its optimizer's included.
    /// - Parameter known: findings that need not be said again.
    static func checkpoint(_ path: FilePath, except known: [String] = []) -> [String] {
        do throws(Fault) {
            let checkpoint = try Checkpoint(path)
            let model = try ForeignModel(checkpoint.path)
            var findings = shapes(model, isOurs: !checkpoint.isForeign) + head(model, except: known)
            findings += state(of: checkpoint).filter { !known.contains($0) }
            for tensor in checkpoint.model.tensors { findings += values(tensor, except: known) }
            // The average has the model's names, the optimizer's have a prefix.
            for (set, hasPrefix) in [(checkpoint.optimizer, true), (checkpoint.average, false)] {
                guard let set else { continue }
                findings += shapes(of: set, hasPrefix: hasPrefix, against: checkpoint.model)
                for tensor in set.tensors { findings += values(tensor, except: known) }
            }
            return findings
        } catch { return known.contains(error.message) ? [] : [error.message] }
    }

    /// A state that no run could go on from.
    private static func state(of checkpoint: Checkpoint) -> [String] {
        if checkpoint.manifest?[Checkpoint.stateName] == nil { return [] }
        do throws(Fault) {
            let name = checkpoint.path.appending(Checkpoint.stateName).string
            _ = try TrainingState(json: checkpoint.state(), name: name)
            return []
        } catch { return [error.message] }
    }

    /// A file of a foreign format.
    static func file(_ path: FilePath, quick: Bool, deep: Bool) -> [String] {
        do throws(Fault) {
            let model = try ForeignModel(path)
            var findings = deep ? shapes(model, isOurs: false) : []
            if quick { return findings }
            if deep { findings += head(model, except: []) }
            for tensor in model.tensors {
                if deep {
                    findings += values(tensor, except: [])
                } else {
                    var reader = tensor.reader()
                    while try reader.next() != nil {}
                }
            }
            return findings
        } catch { return [error.message] }
    }

    private static func shapes(_ model: ForeignModel, isOurs: Bool) -> [String] {
        do throws(Fault) {
            return try model.shapeFindings()
        } catch {
            // Another program's model, or an embedder's, may be one that we do not train; our own may not.
            if isOurs && model.isOfKnownFamily { return [error.message] }
            note(["\(error.message): its shapes are not checked"])
            return []
        }
    }

    /// A head of its own in a model that says it has none.
    private static func head(_ model: ForeignModel, except known: [String]) -> [String] {
        do throws(Fault) {
            try model.requireTiedHead()
            return []
        } catch { return known.contains(error.message) ? [] : [error.message] }
    }

    /// `m.NAME` and the like, and NAME itself, have the shape of the model's NAME; an average has all of the model's.
    private static func shapes(of set: TensorSet, hasPrefix: Bool, against model: TensorSet) -> [String] {
        let file = quoted(set.files[0].file.name)
        var findings: [String] = set.entries.compactMap { entry in
            let start = hasPrefix ? entry.name.firstIndex(of: ".").map { entry.name.index(after: $0) } : nil
            let name = String(entry.name[(start ?? entry.name.startIndex)...])
            guard let tensor = model[name] else {
                return "\(file): tensor \(quoted(entry.name)) belongs to none of the model's"
            }
            if tensor.shape == entry.shape { return nil }
            return "\(file): tensor \(quoted(entry.name)) has shape \(entry.shape), expected \(tensor.shape)"
        }
        if !hasPrefix {
            for entry in model.entries where set[entry.name] == nil {
                findings.append("\(file): tensor \(quoted(entry.name)) is missing")
            }
        }
        return findings
    }

    /// Values that are not finite.
    private static func values(_ tensor: ModelTensor, except known: [String]) -> [String] {
        do throws(Fault) {
            guard let found = try TensorStatistics.of(tensor, bins: 0), found.nonFiniteCount > 0 else { return [] }
            return [
                "\(tensor.place): \(found.nanCount) NaN and \(found.infiniteCount) infinite values of \(found.count)"
            ]
        } catch { return known.contains(error.message) ? [] : [error.message] }
    }
}
