// The kept inputs of every fuzz target, among them everything that ever fooled a parser, and seeded mutations of them:
// nothing traps, nothing hangs, and what is refused is refused in one line. `make fuzz` is the same with libFuzzer.

import Bytes
import FuzzTargets
import SystemPackage
import TestSupport
import Testing

@Suite struct ReplayTests {
    /// Inputs by name; those called `valid-…` are files as they should be.
    private func inputs(_ target: FuzzTarget) throws -> [(name: String, bytes: [UInt8])] {
        let folder = FuzzTarget.corpus.appending(target.rawValue)
        return try FileSystem.list(folder).sorted().map { ($0, try readFile(folder.appending($0).string)) }
    }

    @Test(arguments: FuzzTarget.allCases)
    func keptInputsAreTakenOrRefused(_ target: FuzzTarget) throws {
        try withTemporaryDirectory { path in
            var valid = 0
            for (name, bytes) in try inputs(target) {
                let isTaken = try target.takes(bytes, in: FilePath(path))
                if !name.hasPrefix("valid-") { continue }
                valid += 1
                #expect(isTaken, "\(name) is refused")
            }
            // Without one that goes all the way nothing of what is behind the first check would be tried.
            #expect(valid > 0)
        }
    }

    @Test(arguments: FuzzTarget.allCases)
    func mutationsAreTakenOrRefused(_ target: FuzzTarget) throws {
        let count = Int(Host.environment("MILLRACE_MUTATIONS") ?? "") ?? 200
        try withTemporaryDirectory { path in
            let inputs = try inputs(target)
            let valid = inputs.filter { $0.name.hasPrefix("valid-") }
            var mutation = Mutation(seed: 1)
            var refused = 0
            for k in 0..<count {
                // Every other one is damage to a file as it should be.
                let base = k % 2 == 0 ? valid[k / 2 % valid.count] : inputs[k % inputs.count]
                let bytes = mutation.damaged(base.bytes, with: inputs[(k * 7 + 1) % inputs.count].bytes)
                // A trap ends the process: whoever looks for its cause finds the input here.
                try writeFile(bytes, to: path + "-" + target.rawValue)
                if try !target.takes(bytes, in: FilePath(path)) { refused += 1 }
            }
            try FileSystem.remove(FilePath(path + "-" + target.rawValue))
            #expect(refused > count / 10, "\(refused) of \(count)")
        }
    }
}
