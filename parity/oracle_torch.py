"""The step in PyTorch: autograd, torch.nn.functional, torch.optim.AdamW. Float32 and float64.

Everything is said the way PyTorch says it (rotation by complex numbers, fused attention with grouped heads, parameter
groups for decay, LambdaLR) and nothing is taken from oracle_numpy, so that a mistake in one does not hide in the other.

Two things are not PyTorch's habit, because Millrace's rule is another (docs/numerics.md): the clip factor is
clip / norm when norm > clip, where `clip_grad_norm_` divides by norm + 1e-6; and the mean over targets is taken of
float64 sums, so that the loss of a float32 model is not blurred by its last addition.
"""

import math

import numpy
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from parity.fixture import Step


class Rounded(torch.autograd.Function):
    """x W of operands rounded to bf16, and both gradients likewise."""

    @staticmethod
    def rounded(x):
        return x.float().bfloat16().to(x.dtype)

    @staticmethod
    def forward(context, x, weight):
        x, weight = Rounded.rounded(x), Rounded.rounded(weight)
        context.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(context, dy):
        (x, weight), dy = context.saved_tensors, Rounded.rounded(dy)
        return dy @ weight.T, x.flatten(0, -2).T @ dy.flatten(0, -2)


class TorchOracle:
    """One instance walks (`run`) or is asked (`evaluate`), not both at a time."""

    name = "torch"

    def __init__(self, shape, recipe, precision="float64"):
        self.shape, self.recipe, self.precision = shape, recipe, precision
        self.type = getattr(torch, precision)
        self.matmul = Rounded.apply if recipe.precision == "bf16" else torch.matmul

    def load(self, parameters):
        self.parameters = {
            name: torch.tensor(array, dtype=self.type, requires_grad=True) for name, array in parameters.items()
        }

    def differentiate(self, batch):
        """The loss; gradients are left in the parameters, and returned as arrays by name."""
        # The plain formula: fused kernels for the CPU have approximations of their own.
        with sdpa_kernel(SDPBackend.MATH):
            loss = self.loss(batch)
            loss.backward()
        return loss.item(), {name: p.grad.numpy().copy() for name, p in self.parameters.items()}

    def evaluate(self, parameters, batch):
        """(loss, gradients) at `parameters`, nothing learned."""
        self.load(parameters)
        return self.differentiate(batch)

    def run(self, parameters, batches):
        """Yields a Step for every batch, beginning from `parameters` (by name, NumPy arrays)."""
        self.load(parameters)
        optimizer = make_optimizer(self.parameters, self.recipe)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate_factor)
        for number, batch in enumerate(batches, start=1):
            optimizer.zero_grad()
            loss, gradients = self.differentiate(batch)
            norm = torch.linalg.vector_norm(
                torch.stack([torch.linalg.vector_norm(p.grad, dtype=torch.float64) for p in self.parameters.values()])
            ).item()
            if self.recipe.clip is not None and norm > self.recipe.clip:
                for p in self.parameters.values():
                    p.grad.mul_(self.recipe.clip / norm)
            (rate,) = set(schedule.get_last_lr())
            optimizer.step()
            schedule.step()
            state = optimizer.state

            def copy(get):
                return {name: get(p).detach().numpy().copy() for name, p in self.parameters.items()}

            yield Step(
                number, loss, norm, rate, gradients, copy(lambda p: p),
                copy(lambda p: state[p]["exp_avg"]), copy(lambda p: state[p]["exp_avg_sq"]),
            )  # fmt: skip

    def rate_factor(self, done):
        r = self.recipe
        floor = r.minimum_learning_rate / r.learning_rate
        if done < r.warmup_steps:
            return (done + 1) / r.warmup_steps
        progress = (done - r.warmup_steps) / max(r.schedule_steps - r.warmup_steps, 1)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))

    def loss(self, batch):
        hidden = self.gpt2(batch) if self.shape.family == "gpt2" else self.llama(batch)
        embedding = "transformer.wte.weight" if self.shape.family == "gpt2" else "model.embed_tokens.weight"
        logits = self.matmul(hidden, self.parameters[embedding if self.shape.tied else "lm_head.weight"].T)
        counted = torch.from_numpy(batch.counts())
        labels = torch.from_numpy(batch.targets).masked_fill(~counted, -100)
        losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none")
        return losses.double().sum() / max(int(counted.sum()), 1)

    def attend(self, q, k, v, batch):
        """(B, T, heads d) each; causal inside every document."""
        q, k, v = (x.unflatten(-1, (-1, self.shape.d)).transpose(1, 2) for x in (q, k, v))
        document = torch.from_numpy(batch.segments())
        visible = (document.unsqueeze(2) == document.unsqueeze(1)).tril().unsqueeze(1)
        mixed = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=visible, enable_gqa=k.shape[1] != q.shape[1]
        )
        return mixed.transpose(1, 2).flatten(2)

    def gpt2(self, batch):
        p = self.parameters

        def dense(x, name):
            return self.matmul(x, p[name + ".weight"]) + p[name + ".bias"]

        def normed(x, name):
            return functional.layer_norm(
                x, (self.shape.C,), p[name + ".weight"], p[name + ".bias"], self.shape.epsilon
            )

        x = functional.embedding(torch.from_numpy(batch.inputs), p["transformer.wte.weight"])
        x = x + functional.embedding(torch.from_numpy(batch.positions()), p["transformer.wpe.weight"])
        for layer in range(self.shape.L):
            name = f"transformer.h.{layer}."
            q, k, v = dense(normed(x, name + "ln_1"), name + "attn.c_attn").chunk(3, dim=-1)
            x = x + dense(self.attend(q, k, v, batch), name + "attn.c_proj")
            wide = functional.gelu(dense(normed(x, name + "ln_2"), name + "mlp.c_fc"), approximate="tanh")
            x = x + dense(wide, name + "mlp.c_proj")
        return normed(x, "transformer.ln_f")

    def llama(self, batch):
        p, s = self.parameters, self.shape

        def dense(x, name):
            y = self.matmul(x, p[name + ".weight"].T)
            return y + p[name + ".bias"] if name + ".bias" in p else y

        def normed(x, name):
            weight = p[name + ".weight"]
            return functional.rms_norm(x, tuple(weight.shape), weight, s.epsilon)

        # Angles in float64 even for a float32 model: float32 angles are off by 6e-5 and more.
        frequencies = s.theta ** (-torch.arange(0, s.d, 2, dtype=torch.float64) / s.d)
        angles = torch.from_numpy(batch.positions()).double().unsqueeze(-1) * frequencies
        turn = torch.polar(torch.ones_like(angles), angles).to(self.type.to_complex()).unsqueeze(2)

        def turned(x, norm_name):
            """Pairs (i, i + d/2) are the parts of a complex number; x is (B, T, heads d)."""
            x = x.unflatten(-1, (-1, s.d))
            if s.family == "qwen3":
                x = normed(x, norm_name)
            z = torch.complex(*x.chunk(2, dim=-1)) * turn
            return torch.cat([z.real, z.imag], dim=-1).flatten(2)

        x = functional.embedding(torch.from_numpy(batch.inputs), p["model.embed_tokens.weight"])
        for layer in range(s.L):
            name = f"model.layers.{layer}."
            attention = name + "self_attn."
            a = normed(x, name + "input_layernorm")
            q = turned(dense(a, attention + "q_proj"), attention + "q_norm")
            k = turned(dense(a, attention + "k_proj"), attention + "k_norm")
            v = dense(a, attention + "v_proj")
            x = x + dense(self.attend(q, k, v, batch), attention + "o_proj")
            b = normed(x, name + "post_attention_layernorm")
            gate = functional.silu(dense(b, name + "mlp.gate_proj"))
            x = x + dense(gate * dense(b, name + "mlp.up_proj"), name + "mlp.down_proj")
        return normed(x, "model.norm")


def make_optimizer(parameters, recipe, rate=None):
    """torch.optim.AdamW with a group that decays (matrices) and one that does not (norms, biases)."""
    groups = [
        {"params": [p for p in parameters.values() if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate if rate is None else rate,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.epsilon,
    )


def adamw_alone(parameters, gradients, m, v, updates, rate, recipe, precision):
    """One update from the given state: (parameters, m, v). `updates` were done before; `gradients` are clipped."""
    kind = getattr(torch, precision)
    leaves = {name: torch.tensor(array, dtype=kind, requires_grad=True) for name, array in parameters.items()}
    optimizer = make_optimizer(leaves, recipe, rate)
    for name, leaf in leaves.items():
        leaf.grad = torch.tensor(gradients[name], dtype=kind)
        optimizer.state[leaf] = {
            "step": torch.tensor(float(updates)),
            "exp_avg": torch.tensor(m[name], dtype=kind),
            "exp_avg_sq": torch.tensor(v[name], dtype=kind),
        }
    optimizer.step()
    state = optimizer.state

    def arrays(get):
        return {name: numpy.asarray(get(leaf).detach()) for name, leaf in leaves.items()}

    return arrays(lambda p: p), arrays(lambda p: state[p]["exp_avg"]), arrays(lambda p: state[p]["exp_avg_sq"])
