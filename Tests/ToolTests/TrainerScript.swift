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

    /// `data`, a tiny model of each family (`FAMILY.json`), and `learn` and `go_on`, which begin a run and resume one.
    static func families(gpt2Layers: Int) -> String {
        #"""
        cat > gpt2.json <<'END'
        {"model_type": "gpt2", "vocab_size": 257, "n_embd": 16, "n_layer": \#(gpt2Layers), "n_head": 2, "n_positions": 32}
        END
        cat > qwen3.json <<'END'
        {"model_type": "qwen3", "vocab_size": 257, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 32}
        END
        sed 's/qwen3/qwen2/' qwen3.json > qwen2.json
        sed 's/qwen3/llama/; s/"head_dim"/"tie_word_embeddings": true, "head_dim"/' qwen3.json > llama.json
        \#(data)
        learn() { train-step --quiet --learning-rate 1e-2 "$@"; }
        go_on() { pack --cursor "$(ckpt-tool get "$1/latest" cursor)" | train-step --quiet --resume "$@"; }
        """#
    }

    /// Runs `script`, which ends at the first command that fails, behind `setUp` in a directory of its own.
    static func expectWell(_ setUp: String, _ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws
    {
        try withTemporaryDirectory { directory in
            let result = try runShell("\(setUp)set -e\n\(script)", directory: directory)
            #expect(result.status == 0, "\(result.text)\(result.errors)", sourceLocation: sourceLocation)
        }
    }
}
