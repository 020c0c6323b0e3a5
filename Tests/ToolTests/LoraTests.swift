// train-step --lora and ckpt-tool merge-lora from outside: what learns and what does not, where a run was cut, and that the plain
// model computes the same.

import TestSupport
import Testing

@Suite struct LoraTests {
    private func expectWell(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try TrainerScript.expectWell(LoraTests.setUp, script, sourceLocation: sourceLocation)
    }

    private static let setUp = #"""
        \#(TrainerScript.families(gpt2Layers: 2))
        # equal A B: the names of tensors with the same bits in both
        equal() { (ckpt-tool diff "$1" "$2" || true) | grep ^equal | cut -f 5 | sort; }
        # names [--optimizer] RUN|DIR: of a checkpoint's tensors
        names() {
            local place="${*: -1}"
            test -e "$place/latest" && place=$place/latest
            ckpt-tool list "${@:1:$#-1}" "$place" | cut -f 1 | sort
        }
        # close A B: the losses of two models on the same batches are equal but for rounding
        close() {
            local a b
            a=$(pack --limit 4 | ckpt-tool evaluate "$1" | cut -f 1)
            b=$(pack --limit 4 | ckpt-tool evaluate "$2" | cut -f 1)
            awk -v a="$a" -v b="$b" 'BEGIN { d = a - b; if (!(b > 0) || d > 1e-5 || d < -1e-5) { print a, b; exit 1 } }'
        }
        \#(TrainerScript.refused)

        """#

    /// Of every family: the base keeps its bytes, adapters learn, and merged they are a plain model that computes the same.
    @Test(arguments: ["gpt2", "llama", "qwen2", "qwen3"], ["fp32", "bf16"])
    func theBaseStaysAdaptersLearnAndMerge(family: String, precision: String) throws {
        try expectWell(
            """
            pack | learn --run base --model \(family).json --steps 6
            pack | learn --run run --from base --steps 8 --lora rank=4,alpha=8,targets=all --precision \(precision) \\
                --dump-gradients gradients
            # Every tensor of the base, whatever it is, has its bytes; every adapter has moved.
            names base > plain
            equal base run | cmp - plain
            names run | grep lora_ > adapters
            test "$(equal run/step-00000000 run/latest | grep -c lora_)" = 0
            # Moments and gradients are those of adapters.
            names --optimizer run | sed 's/^[mv]\\.//' | sort -u | cmp - adapters
            head -c 9000 gradients/step-00000008.safetensors | tr -d '\\0' | grep -a -o '"[^"]*weight"' | tr -d '"' | sort | cmp - adapters
            # The run began where the base stood: B was zero.
            close base run/step-00000000
            ckpt-tool verify --deep run
            ckpt-tool show run | grep -q '^lora .*"rank":4'
            test "$(ckpt-tool get run lora.alpha)" = 8.0 || test "$(ckpt-tool get run lora.alpha)" = 8
            ckpt-tool sample run --ids 1,2,3 > /dev/null
            ckpt-tool merge-lora run -o merged > line
            awk -F '\\t' '$1 < 8 || !($2 > 0) || $2 > 1e-5 { print; exit 1 }' line
            ckpt-tool verify --deep merged
            names merged | cmp - plain
            ckpt-tool get merged lora 2> /dev/null && exit 1
            close run merged
            # What was adapted has changed, nothing else.
            sed -n 's/lora_A[.]//p' adapters | sort > matrices
            equal base merged | sort - matrices | cmp - plain
            ckpt-tool convert merged out --to hf
            ckpt-tool expand merged --output larger --layers 4 > /dev/null
            pack | learn --run on --from merged --steps 2
            """)
    }

    /// Cut anywhere, on other threads, micro-batches and instruction sets: the same bytes, every optimizer, the average too.
    @Test(arguments: ["adamw", "lion", "muon", "sgd"])
    func wherePeopleStopARunDoesNotShow(optimizer: String) throws {
        try expectWell(
            """
            set -f
            recipe="--schedule-steps 9 --optimizer \(optimizer) --ema 0.9 --seed 5 --lora rank=3,targets=q_proj+v_proj+mlp.*"
            recipe="$recipe --freeze !*layernorm* --freeze *layers.0*lora_A*@3-6 --rate *lora_B*=4 --no-decay *lora_A*"
            pack | learn --run base --model llama.json --steps 4
            pack | learn --run whole --from base --steps 9 --save-every 1 $recipe
            for cut in 1 2 5 7; do
                pack | learn --run cut$cut --from base --steps $cut --threads 2 --micro-batches $((cut % 3 + 1)) $recipe
                go_on cut$cut --steps 9 --recompute layer $(test $cut = 2 && echo "$recipe")
                diff -r whole/latest/ cut$cut/latest/
            done
            # Norms were opened, everything else of the base was not.
            equal base whole > same
            grep -q layernorm same && exit 1
            names base | grep -v layernorm | cmp - same
            # The average of adapters, taken out and merged.
            ckpt-tool ema whole taken
            ckpt-tool merge-lora taken --output merged > /dev/null
            ckpt-tool evaluate merged < <(pack --limit 2) > /dev/null
            refused 64 'differs from the run' train-step --resume whole --lora rank=4 < /dev/null
            refused 64 'keeps its adapters\\|has no low-rank\\|differs from the run' train-step --resume base --lora rank=4 < /dev/null
            """)
    }

    /// A new model, and a run that goes on with the adapters of another.
    @Test func adaptersOfANewModelAndOfAnotherRun() throws {
        try expectWell(
            """
            pack | learn --run first --model gpt2.json --steps 3 --seed 2 --lora rank=2
            learn --run plain --model gpt2.json --steps 0 --seed 2 < /dev/null
            names plain > base
            equal plain first | cmp - base
            test "$(names first | grep -c lora_)" = 4
            pack | learn --run second --from first --steps 2
            equal first second/step-00000000 | cmp - <(names first)
            test "$(equal first second | grep -c lora_)" = 0
            # Another seed, other adapters.
            learn --run a --from plain --steps 0 --seed 1 --lora rank=2 < /dev/null
            learn --run b --from plain --steps 0 --seed 1 --lora rank=2 < /dev/null
            learn --run c --from plain --steps 0 --seed 2 --lora rank=2 < /dev/null
            equal a b | cmp - <(names a)
            test "$(equal a c | grep -c lora_A)" = 0
            """)
    }

    @Test func whatCannotBeIsRefused() throws {
        try expectWell(
            """
            pack --limit 4 > stream
            learn --run base --model llama.json --steps 2 < stream
            learn --run run --from base --steps 2 --lora rank=2 < stream
            refused 64 "no matrix of the layers has a name like 'c_attn'" learn --run x --from base --steps 2 --lora targets=c_attn < stream
            refused 64 'rank is 0' learn --run x --from base --steps 2 --lora rank=0 < stream
            refused 64 'unknown key' learn --run x --from base --steps 2 --lora dropout=0.1 < stream
            refused 64 'adapters already' learn --run x --from run --steps 2 --lora rank=2 < stream
            refused 64 'every parameter is frozen' learn --run x --from base --steps 2 --lora rank=2 --freeze '*' < stream
            refused 64 'low-rank adapters' learn --run x --from base --steps 4 --lora rank=2 --expand-at 1 layers=3 < stream
            test ! -e x || test -z "$(ls x)"
            refused 64 'low-rank adapters' ckpt-tool expand run --output x --layers 4
            refused 64 'low-rank adapters' ckpt-tool convert run x.gguf
            refused 64 'low-rank adapters' ckpt-tool convert run x --to hf
            refused 64 'nothing to merge' ckpt-tool merge-lora base -o x
            ckpt-tool merge-lora run -o merged > /dev/null
            refused 73 'exists already' ckpt-tool merge-lora run -o merged
            cp -RL run/latest damaged
            printf x | dd of=damaged/model.safetensors bs=1 seek=$(($(stat -c %s damaged/model.safetensors) - 1)) conv=notrunc 2> /dev/null
            refused 65 'sha256 differs' ckpt-tool merge-lora damaged -o broken
            test ! -e broken
            # An adapter that is missing is named.
            mkdir bare && cp base/latest/model.safetensors bare && cp run/latest/config.json bare
            refused 65 "lora_A.weight' is missing" ckpt-tool sample bare --ids 1
            refused 65 "lora_A.weight' is missing" learn --run y --from bare --steps 2 < stream
            """)
    }
}
