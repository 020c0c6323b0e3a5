// tok-pack: a dataset becomes batches, in an order that a seed fixes and a cursor can enter. Packing is the default
// command, so that `tok-pack --rows 16 --length 512 dataset` needs no verb.

import ArgumentParser
import Bytes
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
            carries a cursor, and --cursor goes on behind it. Several datasets are read as one, or mixed where each has a \
            weight: tok-pack --rows 16 --length 512 train=0.7 code=0.3. At a cursor --rows, --length, --epochs, the number \
            of ranks and the weights may change. SIGINT and SIGTERM end it at once with status 75 and no DONE.

            Memory: 35 to 50 MB and 3 MB a thread, whatever the size of the dataset; 20 MB more for vocabularies above \
            65536 ids, for each further source of a mix, and where documents are shorter than 10 tokens. --order full also \
            keeps 8 bytes for each block of half a million ids. A batch adds about 16 bytes a position.
            """,
        version: millraceVersion,
        subcommands: [Pack.self, Inspect.self, Waste.self, Mask.self],
        defaultSubcommand: Pack.self)
}
