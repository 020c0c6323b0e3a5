// tok-pack: a dataset becomes batches, in an order that a seed fixes and a cursor can enter. Packing is the default
// command, so that `tok-pack --rows 16 --length 512 dataset` needs no verb.

import ArgumentParser
import CommandLine

@main
struct TokPack: Tool {
    static let configuration = CommandConfiguration(
        commandName: "tok-pack",
        abstract: "Pack the documents of a dataset into batches and stream them to standard output.",
        discussion: """
            Example:
              tok-pack --rows 16 --length 512 corpus/train |
                train-step --run runs/first --model config.json --steps 1000

            The same options give the same bytes, with any number of threads and however the stream is cut: each batch \
            carries a cursor, and --cursor goes on behind it. Several datasets are read as one. SIGINT and SIGTERM end \
            it at once with status 75 and no DONE.

            Memory: about 50 MB and 3 MB a thread, whatever the size of the dataset; twice that for vocabularies above \
            65536 ids, and more where documents are shorter than 20 tokens. --order full: about 70 MB and 10 MB a \
            thread. A batch adds about 16 bytes a position.
            """,
        version: millraceVersion,
        subcommands: [Pack.self, Inspect.self],
        defaultSubcommand: Pack.self)
}
