// The datasets on the command line. `PATH` … are read as one; `PATH=WEIGHT` … are mixed. What follows the last `=` is a
// weight when it is a decimal number; a directory of that very name wins.

import Batches
import Bytes
import SystemPackage
import Tokens

enum DatasetArguments {
    /// Opens the datasets.
    /// - Throws: `Fault` (usage) when some have a weight and some not, when one is given twice, or all weights are 0.
    static func open(_ arguments: [String]) throws(Fault) -> (sources: [TokenSource], mixture: Mixture) {
        var (paths, weights): ([String], [MixingWeight]) = ([], [])
        for argument in arguments {
            if let (path, weight) = try split(argument) {
                paths.append(path)
                weights.append(weight)
            } else {
                paths.append(argument)
            }
        }
        if weights.isEmpty {
            var datasets: [Dataset] = []
            for path in paths { datasets.append(try Dataset(path)) }
            return ([try TokenSource(datasets)], .single)
        }
        if weights.count < paths.count {
            throw Fault(
                .usage, "some datasets have a weight and some have none",
                hint: "give each one its weight, as in train=0.7 code=0.3")
        }
        guard let mixture = Mixture(weights) else { throw Fault(.usage, "all weights are 0") }
        var sources: [TokenSource] = []
        for path in paths {
            let source = try TokenSource([try Dataset(path)])
            if let twin = sources.firstIndex(where: { $0.digest == source.digest }) {
                throw Fault(
                    .usage, "\(quoted(paths[twin])) and \(quoted(path)) are the same dataset",
                    hint: "a dataset has one weight in a mix")
            }
            sources.append(source)
        }
        return (sources, mixture)
    }

    /// nil for a path without a weight.
    private static func split(_ argument: String) throws(Fault) -> (path: String, weight: MixingWeight)? {
        guard let sign = argument.lastIndex(of: "="), FileSystem.kind(of: FilePath(argument)) != .directory else {
            return nil
        }
        let (path, text) = (argument[..<sign], argument[argument.index(after: sign)...])
        // What is no number is part of a path, unless the path before it is one.
        guard let weight = MixingWeight(text) else {
            if FileSystem.kind(of: FilePath(String(path))) != .directory { return nil }
            throw Fault(
                .usage, "\(quoted(argument)): \(quoted(String(text))) is no weight",
                hint: "a weight is a number like 3 or 0.25, from 0 to 1000000, with at most nine digits after the point"
            )
        }
        if path.isEmpty { throw Fault(.usage, "\(quoted(argument)) has a weight and no dataset") }
        return (String(path), weight)
    }
}
