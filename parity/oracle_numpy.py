"""The reference: a training step in NumPy float64, forward and backward written by hand.

No framework stands between the formula and the number, so this oracle always runs, and it is the one that mutations.py
breaks: every piece that a known bug lives in is a method of its own. Llama, Qwen2, Qwen3 and GPT-2 are one pre-norm
transformer here; what differs is asked of the shape or of the names that the parameters have. When the recipe's
precision is bf16, operands of products with weights are rounded, and multiplied and summed in float64.

    python -m parity.oracle_numpy        checks the backward pass against central differences, all families

Shapes: x is (B, T, C); q is (B, H, T, d), k and v (B, KV, T, d). An f before a name is forward, a d before it the
gradient. Backward functions return gradients of inputs and add those of weights to `self.gradients`.
"""

import sys

import numpy

from parity.fixture import Step, decays, global_norm


class NumpyOracle:
    """One instance walks (`run`) or is asked (`evaluate`), not both at a time."""

    name, precision = "numpy", "float64"

    def __init__(self, shape, recipe):
        self.shape, self.recipe = shape, recipe
        self.epsilon = shape.epsilon
        self.rounds = recipe.precision == "bf16"
        self.parameters, self.gradients = {}, {}

    # One step after the other.

    def run(self, parameters, batches):
        """Yields a Step for every batch, beginning from `parameters` (by name, any float type)."""
        self.parameters = {name: array.astype(numpy.float64) for name, array in parameters.items()}
        m = {name: numpy.zeros_like(array) for name, array in self.parameters.items()}
        v = {name: numpy.zeros_like(array) for name, array in self.parameters.items()}
        for done, batch in enumerate(batches):
            loss = self.loss_and_gradients(batch)
            norm = global_norm(self.gradients)
            rate = self.learning_rate(done)
            gradients = self.clipped(self.gradients, norm)
            for name, g in gradients.items():
                self.parameters[name], m[name], v[name] = self.adamw(
                    self.parameters[name], g, m[name], v[name], done + 1, rate
                )
            yield Step(done + 1, loss, norm, rate, self.gradients, dict(self.parameters), dict(m), dict(v))

    def evaluate(self, parameters, batch):
        """(loss, gradients) at `parameters`, nothing learned."""
        self.parameters = {name: array.astype(numpy.float64) for name, array in parameters.items()}
        loss = self.loss_and_gradients(batch)
        return loss, self.gradients

    def learning_rate(self, done):
        """For the update after `done` finished steps: linear warm-up that begins above 0, then half a cosine."""
        r = self.recipe
        if done < r.warmup_steps:
            return r.learning_rate * self.warmup_count(done) / r.warmup_steps
        if done >= r.schedule_steps:
            return r.minimum_learning_rate
        part = (done - r.warmup_steps) / (r.schedule_steps - r.warmup_steps)
        share = (1 + numpy.cos(numpy.pi * part)) / 2
        return r.minimum_learning_rate + (r.learning_rate - r.minimum_learning_rate) * share

    def warmup_count(self, done):
        return done + 1

    def clipped(self, gradients, norm):
        """Scaled down to `clip` when the norm is larger."""
        if self.recipe.clip is None or norm <= self.recipe.clip:
            return gradients
        return {name: g * (self.recipe.clip / norm) for name, g in gradients.items()}

    def adamw(self, p, g, m, v, t, rate):
        """Loshchilov and Hutter 2019, algorithm 2: decoupled decay."""
        r = self.recipe
        m = r.beta1 * m + (1 - r.beta1) * g
        v = r.beta2 * v + (1 - r.beta2) * g * g
        decay = r.weight_decay if self.decays(p) else 0.0
        m_hat, v_hat = self.corrected(m, v, t)
        return p - rate * (m_hat / self.root(v_hat) + decay * p), m, v

    def decays(self, p):
        return decays(p)

    def corrected(self, m, v, t):
        return m / (1 - self.recipe.beta1**t), v / (1 - self.recipe.beta2**t)

    def root(self, v_hat):
        return numpy.sqrt(v_hat) + self.recipe.epsilon

    # The model.

    def loss_and_gradients(self, batch):
        """The mean loss over the batch's targets; `self.gradients` becomes its gradient."""
        self.gradients = {name: numpy.zeros_like(array) for name, array in self.parameters.items()}
        self.sees = self.visible(batch)
        if self.shape.theta is not None:
            self.cosine, self.sine = self.rotary_tables(batch)
        gpt2 = self.shape.family == "gpt2"
        embedding = "transformer.wte.weight" if gpt2 else "model.embed_tokens.weight"
        last_norm = "transformer.ln_f" if gpt2 else "model.norm"
        block = self.gpt2_block if gpt2 else self.llama_block

        x = self.parameters[embedding][batch.inputs]
        if gpt2:
            x = x + self.parameters["transformer.wpe.weight"][self.positions(batch)]
        backwards = []
        for layer in range(self.shape.L):
            x, backward = block(x, layer)
            backwards.append(backward)
        hidden, norm_backward = self.norm(x, last_norm)
        head = embedding if self.shape.tied else "lm_head.weight"
        loss, dhidden = self.head(hidden, head, batch)
        dx = norm_backward(dhidden)
        for backward in reversed(backwards):
            dx = backward(dx)
        self.embed_backward(dx, embedding, batch.inputs)
        if gpt2:
            self.embed_backward(dx, "transformer.wpe.weight", self.positions(batch))
        return loss

    def visible(self, batch):
        """(B, T, T): whether position i (rows) sees position j: not later, and in the same document."""
        segments = batch.segments()
        return self.not_later(segments.shape[1]) & self.same_document(segments)

    def not_later(self, length):
        return numpy.tri(length, dtype=bool)[None]

    def same_document(self, segments):
        return segments[:, :, None] == segments[:, None, :]

    def positions(self, batch):
        return batch.positions()

    def embed_backward(self, dx, name, ids):
        numpy.add.at(self.gradients[name], ids, dx)

    def targets(self, batch):
        return batch.targets

    def weights(self, batch):
        """(B, T): each position's part of the loss."""
        counts = batch.counts()
        return counts / max(counts.sum(), 1)

    def head(self, hidden, name, batch):
        """Cross-entropy: loss is -log softmax(hidden W^T)[target]; its gradient by the logits is softmax - one-hot."""
        logits = self.operand(hidden) @ self.operand(self.parameters[name]).T
        logits -= logits.max(axis=-1, keepdims=True)
        exponentials = numpy.exp(logits)
        sums = exponentials.sum(axis=-1, keepdims=True)
        targets, weights = self.targets(batch), self.weights(batch)
        losses = numpy.log(sums[..., 0]) - numpy.take_along_axis(logits, targets[..., None], -1)[..., 0]
        dlogits = exponentials / sums
        rows, columns = numpy.indices(targets.shape)
        dlogits[rows, columns, targets] -= 1
        dlogits *= weights[..., None]
        pair = self.weight_operand(dlogits), self.weight_operand(hidden)
        self.gradients[name] += self.head_gradient(numpy.einsum("btv,btc->vc", *pair, optimize=True))
        return float((losses * weights).sum()), self.input_operand(dlogits) @ self.input_operand(self.parameters[name])

    def head_gradient(self, gradient):
        return gradient

    def llama_block(self, x, layer):
        """Touvron et al. 2023, arXiv:2302.13971: RMSNorm, rotary attention, SwiGLU."""
        s, prefix = self.shape, f"model.layers.{layer}."
        names = [f"{prefix}self_attn.{kind}_proj" for kind in "qkvo"]
        a, d_first_norm = self.norm(x, prefix + "input_layernorm")
        q, dq = self.linear(a, names[0])
        k, dk = self.linear(a, names[1])
        v, dv = self.linear(a, names[2])
        q, dq_turn = self.prepare(self.split(q, s.H), f"{prefix}self_attn.q_norm")
        k, dk_turn = self.prepare(self.split(k, s.KV), f"{prefix}self_attn.k_norm")
        mixed, d_attention = self.attention(q, k, self.split(v, s.KV))
        out, d_out = self.linear(self.merge(mixed), names[3])
        x = x + out
        b, d_second_norm = self.norm(x, prefix + "post_attention_layernorm")
        gate, d_gate = self.linear(b, prefix + "mlp.gate_proj")
        up, d_up = self.linear(b, prefix + "mlp.up_proj")
        open_, slope = self.silu(gate)
        down, d_down = self.linear(open_ * up, prefix + "mlp.down_proj")

        def backward(dy):
            dh = d_down(dy)
            dy = dy + d_second_norm(d_gate(dh * up * slope) + d_up(dh * open_))
            d_q, d_k, d_v = d_attention(self.split(d_out(dy), s.H))
            d_a = dq(self.merge(dq_turn(d_q))) + dk(self.merge(dk_turn(d_k))) + dv(self.merge(d_v))
            return dy + d_first_norm(d_a)

        return x + down, backward

    def gpt2_block(self, x, layer):
        """Radford et al. 2019: LayerNorm, attention, GELU; matrices are stored (in, out)."""
        s, prefix = self.shape, f"transformer.h.{layer}."
        a, d_first_norm = self.norm(x, prefix + "ln_1")
        qkv, d_qkv = self.linear(a, prefix + "attn.c_attn")
        q, k, v = (self.split(part, s.H) for part in numpy.split(qkv, 3, axis=-1))
        mixed, d_attention = self.attention(q, k, v)
        out, d_out = self.linear(self.merge(mixed), prefix + "attn.c_proj")
        x = x + out
        b, d_second_norm = self.norm(x, prefix + "ln_2")
        wide, d_wide = self.linear(b, prefix + "mlp.c_fc")
        bent, slope = self.gelu(wide)
        narrow, d_narrow = self.linear(bent, prefix + "mlp.c_proj")

        def backward(dy):
            dy = dy + d_second_norm(d_wide(d_narrow(dy) * slope))
            parts = d_attention(self.split(d_out(dy), s.H))
            return dy + d_first_norm(d_qkv(numpy.concatenate([self.merge(part) for part in parts], axis=-1)))

        return x + narrow, backward

    # The pieces: each returns its value and the function that takes the value's gradient to the input's.

    def split(self, x, heads):
        """(B, T, heads d) to (B, heads, T, d)."""
        return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)

    def merge(self, x):
        """(B, heads, T, d) to (B, T, heads d)."""
        x = x.swapaxes(1, 2)
        return x.reshape(*x.shape[:2], -1)

    def linear(self, x, name):
        """y = x W + b where GPT-2 stores W as (in, out), y = x W^T + b where others store it as (out, in)."""
        weight = self.parameters[name + ".weight"]
        by_input = self.shape.family == "gpt2"
        y = self.operand(x) @ self.operand(weight if by_input else weight.T)
        bias = name + ".bias"
        if bias in self.parameters:
            y += self.parameters[bias]

        def backward(dy):
            flat_x, flat_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
            if bias in self.parameters:
                self.gradients[bias] += flat_dy.sum(axis=0)
            flat_x, flat_dy = self.weight_operand(flat_x), self.weight_operand(flat_dy)
            self.gradients[name + ".weight"] += flat_x.T @ flat_dy if by_input else flat_dy.T @ flat_x
            return self.input_operand(dy) @ self.input_operand(weight.T if by_input else weight)

        return y, backward

    # Operands of products with weights: of the product itself, of the input's gradient, of the weight's gradient.

    def operand(self, x):
        return self.rounded(x) if self.rounds else x

    def input_operand(self, x):
        return self.operand(x)

    def weight_operand(self, x):
        return self.operand(x)

    def rounded(self, x):
        """To bf16, to nearest, ties to even. What is rounded is a float32 number, as in the product."""
        bits = x.astype(numpy.float32).view(numpy.uint32)
        bits += 0x7FFF + (bits >> 16 & 1)
        bits &= 0xFFFF0000
        return bits.view(numpy.float32).astype(numpy.float64)

    def norm(self, x, name):
        """LayerNorm (Ba et al. 2016) in GPT-2, else RMSNorm (Zhang and Sennrich 2019), over the last dimension."""
        weight, bias = self.parameters[name + ".weight"], self.parameters.get(name + ".bias")
        centred = x - x.mean(axis=-1, keepdims=True) if bias is not None else x
        scale = 1 / numpy.sqrt(self.variance(centred) + self.epsilon)
        unit = centred * scale
        y = unit * weight if bias is None else unit * weight + bias

        def backward(dy):
            axes = tuple(range(dy.ndim - 1))
            self.gradients[name + ".weight"] += (dy * unit).sum(axis=axes)
            if bias is not None:
                self.gradients[name + ".bias"] += dy.sum(axis=axes)
            dunit = dy * weight
            dx = dunit - unit * (dunit * unit).mean(axis=-1, keepdims=True)
            if bias is not None:
                dx = dx - dunit.mean(axis=-1, keepdims=True)
            return dx * scale

        return y, backward

    def variance(self, centred):
        return numpy.square(centred).mean(axis=-1, keepdims=True)

    def prepare(self, x, norm_name):
        """Queries or keys on their way to attention: Qwen3 normalizes each head, then all but GPT-2 rotate."""
        d_norm = None
        if norm_name + ".weight" in self.parameters:
            x, d_norm = self.norm(x, norm_name)
        y = self.rotate(x, self.sine)

        def backward(dy):
            dx = self.rotate(dy, -self.sine)  # a rotation's transpose turns back
            return dx if d_norm is None else d_norm(dx)

        return y, backward

    def rotary_tables(self, batch):
        """Su et al. 2021, arXiv:2104.09864: cosines and sines (B, 1, T, d/2) of position x theta^(-2i/d)."""
        d = self.shape.d
        frequencies = self.shape.theta ** (-2 * numpy.arange(d // 2, dtype=numpy.float64) / d)
        angles = self.positions(batch)[:, None, :, None] * frequencies
        return numpy.cos(angles), numpy.sin(angles)

    def rotate(self, x, sine):
        """Element i turns with element i + d/2."""
        half = self.shape.d // 2
        first, second = x[..., :half], x[..., half:]
        return numpy.concatenate([first * self.cosine - second * sine, second * self.cosine + first * sine], axis=-1)

    def attention(self, q, k, v):
        """softmax(q k^T / sqrt(d)) v over what each position sees; query head h uses key head h div (H/KV)."""
        group = q.shape[1] // k.shape[1]
        k, v = self.spread(k, group), self.spread(v, group)
        scale = self.score_scale()
        scores = numpy.where(self.sees[:, None], q @ k.swapaxes(-1, -2) * scale, -numpy.inf)
        weights = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)

        def backward(dy):
            dv = self.gather(weights.swapaxes(-1, -2) @ dy, group)
            dweights = dy @ v.swapaxes(-1, -2)
            dscores = weights * (dweights - (dweights * weights).sum(axis=-1, keepdims=True)) * scale
            return dscores @ k, self.gather(dscores.swapaxes(-1, -2) @ q, group), dv

        return weights @ v, backward

    def score_scale(self):
        return 1 / numpy.sqrt(self.shape.d)

    def spread(self, x, group):
        """(B, KV, T, d) to (B, H, T, d)."""
        return numpy.repeat(x, group, axis=1)

    def gather(self, dx, group):
        """Its transpose: sums over the query heads of a key head."""
        return dx.reshape(dx.shape[0], -1, group, *dx.shape[2:]).sum(axis=2)

    def silu(self, x):
        """x sigmoid(x), and its slope."""
        sigmoid = 1 / (1 + numpy.exp(-x))
        return x * sigmoid, sigmoid * (1 + x * (1 - sigmoid))

    def gelu(self, x):
        """Hendrycks and Gimpel 2016, the form with tanh, and its slope."""
        c = numpy.sqrt(2 / numpy.pi)
        square = x * x
        tanh = numpy.tanh(c * x * (1 + 0.044715 * square))
        return x * (1 + tanh) / 2, (1 + tanh) / 2 + x * (1 - tanh * tanh) / 2 * c * (1 + 3 * 0.044715 * square)


if __name__ == "__main__":
    from parity.selfcheck import main

    sys.exit(main())
