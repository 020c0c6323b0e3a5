// tok-shard: text or ids in, a dataset out. The root command; making a dataset is its default subcommand, so that
// `tok-shard --tokenizer bytes --output DIR FILE…` needs no verb.

internal import ArgumentParser
private import Bytes
internal import CommandLine

@main
struct TokShard: Tool {
    static let configuration = CommandConfiguration(
        commandName: "tok-shard",
        abstract: "Turn text or token ids into a dataset that can be ordered, seeked and verified.",
        discussion: """
            Example:
              tok-shard --tokenizer bytes --output corpus --split-on --- \\
                --validation 0.01 book.txt notes.txt
            """,
        version: millraceVersion,
        subcommands: [Make.self, Info.self, Cat.self, Verify.self],
        defaultSubcommand: Make.self)
}
