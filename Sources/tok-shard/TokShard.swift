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

            Memory: about 20 MB and 2 MB a thread, whatever the size of the input; 25 to 55 MB more with a tokenizer \
            file, by its size, and 14 MB a thread; --memory more with --shuffle; about 8 bytes more for each document of the shard under way. A line of jsonl takes about 3.5 times its length while it is read; one of more than \
            1 GiB is refused.
            """,
        version: millraceVersion,
        subcommands: [
            Make.self, Merge.self, Import.self, Export.self, Info.self, Cat.self, Verify.self, Repair.self, Encode.self,
            Decode.self, TrainTokenizer.self,
        ],
        defaultSubcommand: Make.self)
}
