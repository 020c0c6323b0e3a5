// What the scripts of several suites begin with: a small dataset, and a command that must be refused.

import TestSupport
import Testing

enum TrainerScript {
    static let refused = #"""
        # refused STATUS PATTERN COMMAND…: one line that names the tool and matches
        refused() {
            local status=0
            "${@:3}" > out 2> errors || status=$?
            [ "$status" = "$1" ] || { echo "status $status of: ${*:3}"; cat errors; exit 1; }
            [ "$(grep -vc '^hint: ' errors)" = 1 ] || { echo "expected one line:"; cat errors; exit 1; }
            grep -q "^[a-z-]*: .*$2" errors || { echo "expected '$2':"; cat errors; exit 1; }
        }
        """#

    /// A dataset `data` of 200 documents, and `pack`, a stream of it.
    static let data = #"""
        for i in $(seq 200); do echo "document $i: $(seq $i $((i + i % 40)) | tr '\n' ' ')"; echo; done \
            | tok-shard --tokenizer bytes --split-on '' --output data - || exit
        pack() { tok-pack --rows 4 --length 32 --seed 3 --epochs forever "$@" data; }
        """#

    /// Runs `script`, which ends at the first command that fails, behind `setUp` in a directory of its own.
    static func expectWell(_ setUp: String, _ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws
    {
        try withTemporaryDirectory { directory in
            let result = try runShell("\(setUp)set -e\n\(script)", directory: directory)
            #expect(result.status == 0, "\(result.text)\(result.errors)", sourceLocation: sourceLocation)
        }
    }
}
