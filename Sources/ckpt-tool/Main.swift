// ckpt-tool: what is in a checkpoint, is it whole, how do two differ, and what else can be made of it. Each command is a
// file of its own.

import ArgumentParser
import Bytes
import CommandLine

@main
struct CheckpointTool: Tool {
    static let configuration = CommandConfiguration(
        commandName: "ckpt-tool",
        abstract: "Show, check, compare, convert and use checkpoints.",
        discussion: """
            EXAMPLE: ckpt-tool show runs/first/latest

            CKPT is a checkpoint directory, a link to one (RUN/latest), or a run, which stands for its latest. A \
            Hugging Face model directory is a checkpoint too.
            """,
        version: millraceVersion,
        subcommands: [
            Show.self, List.self, Get.self, Stats.self, Verify.self, Diff.self, Convert.self, Average.self,
            TakeAverage.self, MergeLora.self, Prune.self, Expand.self, Migrate.self, Sample.self, Evaluate.self,
            Logits.self,
        ])
}
