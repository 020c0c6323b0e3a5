// One model from several: a uniform or weighted average, or an exponential moving one from old to new.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import Models
import SystemPackage

struct Average: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Average the parameters of checkpoints.",
        discussion: """
            EXAMPLE: ckpt-tool average --output soup runs/first/step-00000900 runs/first/step-00001000

            Sums are float64, in the order of the arguments, rounded once. The result is a Hugging Face directory with \
            the last one's configuration and tokenizer; optimizers' states are left out. Any readable format may be \
            averaged (see convert). With --last a run stands for its newest checkpoints.
            """)

    @Option(help: ArgumentHelp("The directory to write.", valueName: "dir"))
    var output: String

    @Option(help: ArgumentHelp("A weight a checkpoint, separated by commas.", valueName: "w,w,…"))
    var weights: String?

    @Option(help: ArgumentHelp("Moving average, old to new: a = x·a + (1 − x)·next.", valueName: "x"))
    var ema: Double?

    @Option(help: ArgumentHelp("Average the newest n checkpoints of one run.", valueName: "n"))
    var last: Int?

    @Option(help: ArgumentHelp("Type of the numbers: f32, bf16, f16.", valueName: "type"))
    var dtype: ConversionOptions.Target?

    @Option(help: ArgumentHelp("Bytes of tensors a safetensors file holds at most.", valueName: "size"))
    var shardSize = "5GB"

    @Argument(help: "Checkpoints, old to new.")
    var checkpoints: [String]

    func run() throws {
        Interruption.install(abandonsWrites: true)
        let place = try typedPath(output)
        let paths = try self.paths()
        let averaging = try self.averaging(paths.count)
        var options = ConversionOptions()
        options.target = dtype
        options.shardSize = try ConversionOptions.byteCount(shardSize)
        var models: [ForeignModel] = []
        for path in paths { models.append(try ForeignModel.named(path.string)) }
        let average = try ForeignModel.average(
            models, averaging, target: dtype, comparing: computed(models))
        note(try average.write(to: place, as: .huggingFace, options: options))
    }

    /// What of each configuration is computed, defaults filled in, so that a key that one program writes and another leaves
    /// out makes no difference; nil when one is of no model that this program knows.
    private func computed(_ models: [ForeignModel]) -> [JSON]? {
        let found = models.compactMap { model in
            model.configuration.flatMap { try? ModelConfiguration(json: $0, name: model.path.string).json }
        }
        return found.count == models.count ? found : nil
    }

    private func paths() throws -> [FilePath] {
        guard let last else {
            if checkpoints.isEmpty { throw ValidationError("expected checkpoints") }
            return try checkpoints.map { try typedPath($0) }
        }
        if last < 1 { throw Fault(.usage, "--last is \(last), expected 1 or more") }
        guard checkpoints.count == 1, try RunDirectory.isRun(typedPath(checkpoints[0])) else {
            throw Fault(.usage, "--last expects one run")
        }
        let run = try RunDirectory(typedPath(checkpoints[0]), access: .read)
        let steps = try run.steps().suffix(last)
        if steps.count < last {
            throw Fault(.noInput, "\(quoted(checkpoints[0])) has \(steps.count) checkpoints, expected \(last)")
        }
        return steps.map { run.path(of: $0.step) }
    }

    private func averaging(_ count: Int) throws -> ForeignModel.Averaging {
        if weights != nil && ema != nil { throw Fault(.usage, "expected either --weights or --ema") }
        if let ema {
            guard (0...1).contains(ema) else { throw Fault(.usage, "--ema is \(ema), expected 0 to 1") }
            return .exponential(ema)
        }
        guard let weights else { return .weighted([Double](repeating: 1, count: count)) }
        let numbers = weights.split(separator: ",", omittingEmptySubsequences: false).map { Double($0) }
        let known = numbers.compactMap { $0 }.filter(\.isFinite)
        guard known.count == numbers.count else { throw Fault(.usage, "--weights \(quoted(weights)) are no numbers") }
        guard known.count == count else { throw Fault(.usage, "\(known.count) weights for \(count) checkpoints") }
        let total = known.reduce(0, +)
        guard total.isFinite, total != 0 else { throw Fault(.usage, "the weights add up to \(total)") }
        return .weighted(known)
    }
}
