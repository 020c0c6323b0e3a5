"""Known bugs, to see the gates shut.

A suite that has only ever passed has shown nothing. Each mutation here puts one bug that somebody has really made into
the NumPy oracle (never into the product, which has no seam for it), by overriding one small method, and compares
`train-step` with that. It is *caught* when at least one row leaves its gate; one that survives fails the whole run,
because then a bug of that kind in the product would pass too.

    python -m parity.mutations        lists them
"""

import dataclasses
import math

import numpy

from parity import compare
from parity.oracle_numpy import NumpyOracle


@dataclasses.dataclass(frozen=True)
class Mutation:
    """`case` is the case in cases.py that it is tried on; `steps` as many as it takes to show."""

    name: str
    about: str
    case: str
    oracle: type
    steps: int = 1

    def attempt(self, fixture, gates):
        """Compares ours with the broken oracle over the first steps.

        Returns {"name", "about", "case", "failed": {quantity: how many times its gate}, "caught"}.
        """
        oracle, initial = self.oracle(fixture.shape, fixture.recipe), fixture.initial()
        kind = "bf16-float64" if fixture.recipe.precision == "bf16" else "float64"
        failed = {}
        batches = (fixture.batch(step) for step in range(1, self.steps + 1))
        with numpy.errstate(all="ignore"):
            for theirs in oracle.run(initial, batches):
                ours = fixture.ours(theirs.step)
                rows = compare.trajectory_rows(ours, theirs, initial, fixture.recipe.learning_rate)
                if theirs.step == 1:
                    rows |= compare.same_parameter_rows(
                        ours.loss, ours.norm, ours.gradients, theirs.loss, theirs.gradients
                    )
                    rows |= compare.rounding_rows(ours, theirs.loss, theirs.gradients)
                for quantity, (measured, _) in rows.items():
                    gate = gates.of(kind, quantity, theirs.step)
                    if gate is not None and not measured <= gate:
                        times = measured / gate if gate and math.isfinite(measured) else math.inf
                        failed[quantity] = max(times, failed.get(quantity, 0))
        return {
            "name": self.name, "about": self.about, "case": self.case, "failed": failed, "caught": bool(failed),
        }  # fmt: skip


MUTATIONS = []


def mutation(name, about, case, steps=1):
    def register(oracle):
        MUTATIONS.append(Mutation(name, about, case, oracle, steps))
        return oracle

    return register


@mutation("norm-epsilon", "epsilon 1e-6 for 1e-5 in RMSNorm", "llama-drawn")
class _(NumpyOracle):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.epsilon = 1e-6


@mutation("norm-epsilon-outside", "epsilon outside the root of LayerNorm", "gpt2-micro-batches")
class _(NumpyOracle):
    def variance(self, centred):
        # (sqrt(variance) + epsilon)^2 less the epsilon that the caller adds.
        return (numpy.sqrt(super().variance(centred)) + self.epsilon) ** 2 - self.epsilon


@mutation("norm-unbiased", "variance over C - 1 in LayerNorm", "gpt2-micro-batches")
class _(NumpyOracle):
    def variance(self, centred):
        return super().variance(centred) * centred.shape[-1] / (centred.shape[-1] - 1)


@mutation("gelu-erf", "GELU with erf for the form with tanh", "gpt2-micro-batches")
class _(NumpyOracle):
    def gelu(self, x):
        half = 0.5 * (1 + numpy.vectorize(math.erf)(x / math.sqrt(2)))
        return x * half, half + x * numpy.exp(-x * x / 2) / math.sqrt(2 * math.pi)


@mutation("gelu-slope", "GELU's slope without its last factor", "gpt2-micro-batches")
class _(NumpyOracle):
    def gelu(self, x):
        value, _ = super().gelu(x)
        tanh = numpy.tanh(numpy.sqrt(2 / numpy.pi) * (x + 0.044715 * x**3))
        return value, (1 + tanh) / 2 + x * (1 - tanh**2) / 2 * numpy.sqrt(2 / numpy.pi)


@mutation("targets-off-by-one", "each position predicts its input", "llama-concat")
class _(NumpyOracle):
    def targets(self, batch):
        return batch.inputs


@mutation("causal-off-by-one", "a position sees the next one", "llama-concat")
class _(NumpyOracle):
    def not_later(self, length):
        return numpy.tri(length, k=1, dtype=bool)[None]


@mutation("document-leak", "attention crosses the borders of documents", "llama-concat")
class _(NumpyOracle):
    def same_document(self, segments):
        return numpy.ones((1, 1, 1), bool)


@mutation("document-wall", "attention stops at documents that --cross-document joined", "llama-cross-document")
class _(NumpyOracle):
    def same_document(self, segments):
        self.ends = numpy.cumsum(self.inputs == 0, axis=1)  # 0 ends documents, so as an input it begins one
        return self.ends[:, :, None] == self.ends[:, None, :]

    def visible(self, batch):
        self.inputs = batch.inputs
        return super().visible(batch)


@mutation("positions-go-on", "learned positions do not begin anew with a document", "gpt2-micro-batches")
class _(NumpyOracle):
    def positions(self, batch):
        return numpy.broadcast_to(numpy.arange(batch.inputs.shape[1]), batch.inputs.shape)


@mutation("rope-interleaved", "rotation pairs neighbours, not halves", "llama-concat")
class _(NumpyOracle):
    def rotate(self, x, sine):
        even, odd = x[..., 0::2], x[..., 1::2]
        turned = numpy.stack([even * self.cosine - odd * sine, odd * self.cosine + even * sine], axis=-1)
        return turned.reshape(x.shape)


@mutation("rope-backwards", "rotation turns the other way in the gradient", "llama-concat")
class _(NumpyOracle):
    def rotate(self, x, sine):
        return super().rotate(x, self.sine)


@mutation("rope-exponent", "frequencies theta^(-i/d) for theta^(-2i/d)", "llama-long")
class _(NumpyOracle):
    def rotary_tables(self, batch):
        frequencies = self.shape.theta ** (-numpy.arange(self.shape.d // 2) / self.shape.d)
        angles = self.positions(batch)[:, None, :, None] * frequencies
        return numpy.cos(angles), numpy.sin(angles)


@mutation("head-norm-after-rotation", "Qwen3 normalizes heads after rotating them", "qwen3")
class _(NumpyOracle):
    def prepare(self, x, norm_name):
        y, d_norm = self.norm(self.rotate(x, self.sine), norm_name)
        return y, lambda dy: self.rotate(d_norm(dy), -self.sine)


@mutation("scores-unscaled", "no 1/sqrt(d) in attention", "llama-concat")
class _(NumpyOracle):
    def score_scale(self):
        return 1.0


@mutation("groups-interleaved", "query head h uses key head h mod KV", "llama-concat")
class _(NumpyOracle):
    def spread(self, x, group):
        return numpy.tile(x, (1, group, 1, 1))

    def gather(self, dx, group):
        return dx.reshape(dx.shape[0], group, -1, *dx.shape[2:]).sum(axis=1)


@mutation("masked-mean", "the mean is over all positions, masked ones too", "llama-micro-batches")
class _(NumpyOracle):
    def weights(self, batch):
        counts = batch.counts()
        return counts / counts.size


@mutation("mean-of-means", "micro-batches' means are averaged", "llama-micro-batches")
class _(NumpyOracle):
    def weights(self, batch):
        counts = batch.counts()
        parts = counts.reshape(4, -1, counts.shape[1])
        return (parts / numpy.maximum(parts.sum(axis=(1, 2), keepdims=True), 1) / 4).reshape(counts.shape)


@mutation("mask-ignored", "masked positions are learned", "llama-lanes")
class _(NumpyOracle):
    def weights(self, batch):
        real = batch.segments() > 0
        return real / real.sum()


@mutation("padding-learned", "padding is learned", "llama-concat", steps=10)
class _(NumpyOracle):
    def weights(self, batch):
        return numpy.full(batch.inputs.shape, 1 / batch.inputs.size)


@mutation("embedding-overwritten", "a repeated id's gradient overwrites", "qwen3")
class _(NumpyOracle):
    def embed_backward(self, dx, name, ids):
        self.gradients[name][ids] = dx


@mutation("head-gradient-dropped", "a tied embedding has no gradient from the head", "llama-concat")
class _(NumpyOracle):
    def head_gradient(self, gradient):
        return 0 * gradient


@mutation("warmup-off-by-one", "warm-up begins with a rate of 0", "llama-concat")
class _(NumpyOracle):
    def warmup_count(self, done):
        return done


@mutation("no-bias-correction", "Adam's moments are taken as they are", "llama-concat")
class _(NumpyOracle):
    def corrected(self, m, v, t):
        return m, v


@mutation("bias-correction-late", "bias correction counts from 0 after the first step", "llama-concat", steps=2)
class _(NumpyOracle):
    def corrected(self, m, v, t):
        return super().corrected(m, v, max(t - 1, 1))


@mutation("adam-epsilon-inside", "Adam's epsilon inside the root", "llama-concat")
class _(NumpyOracle):
    def root(self, v_hat):
        return numpy.sqrt(v_hat + self.recipe.epsilon)


@mutation("decay-everything", "no decay mask: norms and biases decay too", "llama-biases")
class _(NumpyOracle):
    def decays(self, p):
        return True


@mutation("decay-norms", "norms decay, biases do not", "qwen3-strong-decay")
class _(NumpyOracle):
    def adamw(self, p, g, m, v, t, rate):
        is_norm = p.ndim == 1 and abs(p.mean() - 1) < 0.5
        return super().adamw(p * (1 - rate * self.recipe.weight_decay) if is_norm else p, g, m, v, t, rate)


@mutation("embeddings-undecayed", "embeddings do not decay", "qwen3-strong-decay")
class _(NumpyOracle):
    def decays(self, p):
        return super().decays(p) and len(p) != self.shape.V


@mutation("decay-coupled", "decay is part of the gradient, as in Adam with L2", "llama-concat")
class _(NumpyOracle):
    def adamw(self, p, g, m, v, t, rate):
        decay = self.recipe.weight_decay if self.decays(p) else 0.0
        moved, m, v = super().adamw(p, g + decay * p, m, v, t, rate)
        return moved + rate * decay * p, m, v


@mutation("clip-after-update", "moments see the gradient before clipping", "llama-concat")
class _(NumpyOracle):
    def clipped(self, gradients, norm):
        return gradients


@mutation("clip-each-tensor", "each tensor is clipped by its own norm", "qwen3-strong-decay")
class _(NumpyOracle):
    def clipped(self, gradients, norm):
        result = {}
        for name, g in gradients.items():
            result |= super().clipped({name: g}, numpy.linalg.norm(g))
        return result


@mutation("clip-always", "the gradient is scaled to the clip norm even when it is shorter", "llama-drawn")
class _(NumpyOracle):
    def clipped(self, gradients, norm):
        return {name: g * (self.recipe.clip / norm) for name, g in gradients.items()}


@mutation("bf16-unrounded", "operands of products are not rounded to bf16", "llama-bf16")
class _(NumpyOracle):
    def operand(self, x):
        return x


@mutation("bf16-truncated", "operands are cut off to bf16, not rounded to nearest", "gpt2-bf16")
class _(NumpyOracle):
    def rounded(self, x):
        bits = x.astype(numpy.float32).view(numpy.uint32) & 0xFFFF0000
        return bits.view(numpy.float32).astype(numpy.float64)


@mutation("bf16-one-bit-more", "operands keep 9 bits of mantissa", "gpt2-bf16")
class _(NumpyOracle):
    def rounded(self, x):
        mantissa, exponent = numpy.frexp(x)
        return numpy.ldexp(numpy.rint(mantissa * 512), exponent - 9)


@mutation("bf16-weight-gradient", "operands of weights' gradients are not rounded", "qwen2-bf16")
class _(NumpyOracle):
    def weight_operand(self, x):
        return x


@mutation("bf16-input-gradient", "operands of inputs' gradients are not rounded", "qwen3-bf16")
class _(NumpyOracle):
    def input_operand(self, x):
        return x


@mutation("bf16-head", "the head's operands are not rounded", "qwen3-bf16")
class _(NumpyOracle):
    def head(self, hidden, name, batch):
        self.rounds = False
        result = super().head(hidden, name, batch)
        self.rounds = True
        return result


@mutation("bf16-attention", "attention's own operands are rounded too", "qwen2-bf16")
class _(NumpyOracle):
    def attention(self, q, k, v):
        return super().attention(*(self.rounded(x) for x in (q, k, v)))


@mutation("bf16-stream", "products leave numbers in bf16", "qwen2-bf16")
class _(NumpyOracle):
    def linear(self, x, name):
        y, backward = super().linear(x, name)
        return self.rounded(y), backward


if __name__ == "__main__":
    for entry in MUTATIONS:
        print(f"{entry.name:26} {entry.about}")
