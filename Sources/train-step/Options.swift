// The options, as typed; `Request` turns them into a validated configuration. Numbers are parsed unconditionally: what begins
// with '-' is a value then, as in --target-loss -inf, and a negative number is refused for what it is.

import ArgumentParser
import Kernels
import Models
import Optimizers

struct TargetOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Begin a run in this directory.", valueName: "dir"))
    var run: String?

    @Option(help: ArgumentHelp("Shape of a new model: a Hugging Face config.json.", valueName: "file"))
    var model: String?

    @Option(help: ArgumentHelp("Begin from the parameters of this checkpoint or model directory.", valueName: "ckpt"))
    var from: String?

    @Option(help: ArgumentHelp("Go on with the run in this directory.", valueName: "dir"))
    var resume: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Train to this step of the run (default: --schedule-steps).", valueName: "n"))
    var steps: Int?

    @Option(help: ArgumentHelp("A file to put beside the model in every checkpoint: its tokenizer.", valueName: "file"))
    var tokenizer: String?
}

struct RecipeOptions: ParsableArguments {
    @Option(
        parsing: .unconditional, help: ArgumentHelp("Steps that the schedule spans (default: --steps).", valueName: "m")
    )
    var scheduleSteps: Int?

    @Option(
        help: ArgumentHelp(
            "How the learning rate goes on after the warm-up: constant, linear, cosine (the default), wsd or inverse-sqrt.",
            valueName: "shape"))
    var schedule: ScheduleShape?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Steps of the decay that ends wsd (default: a tenth of the schedule or of a cycle, at least 2).",
            valueName: "n"))
    var decaySteps: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Begin again from the peak every n steps behind the warm-up.", valueName: "n"))
    var restartEvery: Int?

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            """
            Make the model larger when so many steps are done, by a policy of ckpt-tool expand; may be repeated. A resumed \
            run keeps what is planned; given again, this replaces it, and 'none' drops it.
            """, valueName: "step policy"))
    var expandAt: [String] = []

    @Option(parsing: .unconditional, help: ArgumentHelp("Seed of the initial parameters (default: 0).", valueName: "s"))
    var seed: UInt64?

    @Option(parsing: .unconditional, help: ArgumentHelp("Peak learning rate (default: 3e-4).", valueName: "rate"))
    var learningRate: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Learning rate at the end of a schedule that falls (default: a tenth of the peak).", valueName: "rate"))
    var minimumLearningRate: Double?

    @Option(parsing: .unconditional, help: ArgumentHelp("Steps of linear warm-up (default: 0).", valueName: "n"))
    var warmup: Int?

    @Option(
        help: ArgumentHelp(
            "adamw (the default), lion, muon (matrices of the layers; adamw for the rest) or sgd.", valueName: "name"))
    var optimizer: OptimizerKind?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Decay of matrices (default: 0.1; sgd, which adds it to the gradient: 0).", valueName: "x"))
    var weightDecay: Double?

    @Option(
        name: .customLong("no-decay"),
        help: ArgumentHelp(
            "Parameters that do not decay, by name: '*.embed_tokens.*'. Repeatable; stronger than --decay.",
            valueName: "glob"))
    var noDecay: [String] = []

    @Option(
        name: .customLong("decay"),
        help: ArgumentHelp("Parameters that decay although they are vectors. Repeatable.", valueName: "glob"))
    var decay: [String] = []

    @Option(
        name: .customLong("rate"),
        help: ArgumentHelp(
            "A factor on the learning rate of parameters, by name; of several that match the last counts. Repeatable.",
            valueName: "glob=factor"))
    var rates: [String] = []

    @Option(
        name: .customLong("freeze"),
        help: ArgumentHelp(
            "Parameters that do not learn, in steps FROM to TO or all; '!GLOB' learns; the last that matches counts. Repeatable.",
            valueName: "glob[@from-to]"))
    var freezes: [String] = []

    @Option(
        help: ArgumentHelp(
            "A JSON file of such rules, which --freeze adds to: [{\"freeze\": \"model.layers.*\", \"to\": 1000}].",
            valueName: "file"))
    var freezePolicy: String?

    @Option(
        help: ArgumentHelp(
            """
            Train low-rank adapters (LoRA) beside matrices instead of the model: rank=8,alpha=16,targets=q_proj+v_proj. \
            Targets are names, patterns or all; alpha is the rank when it is not given; rslora=true divides it by the \
            rank's root. ckpt-tool merge-lora makes a plain model of the result.
            """, valueName: "key=value,…"))
    var lora: String?

    @Option(
        parsing: .unconditional, help: ArgumentHelp("First moment of adamw and lion (default: 0.9).", valueName: "x"))
    var beta1: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Second moment of adamw (default: 0.95), the moment of lion (0.99).", valueName: "x"))
    var beta2: Double?

    @Option(parsing: .unconditional, help: ArgumentHelp("AdamW's epsilon (default: 1e-8).", valueName: "x"))
    var epsilon: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Momentum of sgd (default: 0.9; 0: none) and muon (0.95).", valueName: "x"))
    var momentum: Double?

    @Flag(inversion: .prefixedNo, help: "Nesterov's momentum (default: muon has it, sgd has not).")
    var nesterov: Bool?

    @Option(
        help: ArgumentHelp(
            "Size of muon's updates: rms (as adamw's, the default) or original (Jordan's).",
            valueName: "rms|original"))
    var muonScale: MuonScale?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Largest norm of a gradient; 0 clips nothing (default: 1).", valueName: "norm"))
    var clip: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Keep a moving average of the parameters, of which an update leaves this much: 0.999 (default: none).",
            valueName: "decay"))
    var ema: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Lanes a step's rows are summed in, a power of 2 (default: 1).", valueName: "n"))
    var lanes: Int?

    @Option(
        help: ArgumentHelp(
            "Round operands of matrix products to bf16, or not: fp32 (the default). Parameters, moments and sums are fp32.",
            valueName: "fp32|bf16"))
    var precision: Precision?
}

extension Precision: ExpressibleByArgument {}
extension ScheduleShape: ExpressibleByArgument {}
extension OptimizerKind: ExpressibleByArgument {}
extension MuonScale: ExpressibleByArgument {}

struct WorkOptions: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Parts a batch is cut into; more need less memory (default: parts of about 2,048 positions).",
            valueName: "k"))
    var microBatches: Int?

    @Option(
        help: ArgumentHelp(
            "What the backward pass computes anew, for less memory; a resumed run goes on with its own (default: none).",
            valueName: "what"))
    var recompute: Recompute?

    @Option(help: ArgumentHelp("Write each step's gradients, before clipping, into this directory.", valueName: "dir"))
    var dumpGradients: String?

    @Option(parsing: .unconditional, help: ArgumentHelp("Threads; 0 = the CPUs this process may use.", valueName: "n"))
    var threads = 0

    @Flag(
        help: """
            Print the learning rate of every step, tab-separated, or plot it on a terminal, and do nothing else; --run and \
            --model are not needed.
            """)
    var printSchedule = false

    @Flag(help: "Resume on a stream of other data, or one that begins elsewhere.")
    var acceptNewData = false

    @Flag(help: "No memory plan and no progress line.")
    var quiet = false
}

extension Recompute: ExpressibleByArgument {}
