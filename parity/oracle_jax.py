"""The step in JAX: jax.grad and optax.adamw. Float32 and float64.

A third formulation: layers are stacked and scanned, attention is an einsum over groups of query heads, rotation is a
2 x 2 matrix a pair, and the optimizer is a chain of optax transformations. Optax has its own rule for clipping
(t / norm * max when norm >= max), which rounds otherwise, so the chain begins with ours: multiply with clip / norm when
norm > clip. The loss's mean over targets is taken in float64, on the host.

The process runs with 64-bit types enabled. A float32 model stays float32 (that its gradients do is checked); only
norms and learning rates are wider.
"""

import functools
import math

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy
import optax

from parity.fixture import Step


@functools.lru_cache
def differentiator(shape, precision, rounds):
    """((_, losses), gradients) of a model; compiled once for all cases of its shape."""
    return jax.jit(jax.value_and_grad(functools.partial(JaxOracle(shape, None, precision).loss, rounds), has_aux=True))


def rounded(x):
    """To float32, then bf16. XLA may leave out casts there and back; it keeps these."""
    return jax.lax.reduce_precision(jax.lax.reduce_precision(x, 8, 23), 8, 7)


@jax.custom_vjp
def rounded_product(x, weight):
    """x W^T of operands in bf16, and both gradients likewise."""
    return rounded_forward(x, weight)[0]


def rounded_forward(x, weight):
    x, weight = rounded(x), rounded(weight)
    return jnp.einsum("bti,oi->bto", x, weight), (x, weight)


def rounded_backward(operands, dy):
    (x, weight), dy = operands, rounded(dy)
    return jnp.einsum("bto,oi->bti", dy, weight), jnp.einsum("bto,bti->oi", dy, x)


rounded_product.defvjp(rounded_forward, rounded_backward)


class JaxOracle:
    name = "jax"

    def __init__(self, shape, recipe, precision="float64"):
        self.shape, self.recipe, self.precision = shape, recipe, precision
        self.prefix = "transformer.h." if shape.family == "gpt2" else "model.layers."

    def run(self, parameters, batches):
        """Yields a Step for every batch, beginning from `parameters` (by name, NumPy arrays)."""
        joint, schedule = Joint(parameters, self.precision), learning_rate(self.recipe)
        optimizer = make_optimizer(self.recipe, schedule)
        weights = joint.join(parameters)
        state = optimizer.init(weights)
        learn = updater(optimizer)
        for number, batch in enumerate(batches, start=1):
            loss, gradients = self.differentiate(self.tree(parameters), batch)
            gradients = self.by_name(gradients)
            weights, state = learn(weights, state, joint.join(gradients))
            parameters, adam = joint.split(weights), adam_state(state)
            norm = numpy.sqrt(sum(numpy.square(g, dtype=numpy.float64).sum() for g in gradients.values()))
            yield Step(
                number, loss, float(norm), float(schedule(number - 1)), gradients, parameters, joint.split(adam.mu),
                joint.split(adam.nu),
            )  # fmt: skip

    def evaluate(self, parameters, batch):
        """(loss, gradients) at `parameters`, nothing learned."""
        loss, gradients = self.differentiate(self.tree(parameters), batch)
        return loss, self.by_name(gradients)

    def differentiate(self, tree, batch):
        counts = batch.counts()
        weights = counts / max(counts.sum(), 1)
        rotations = None if self.shape.theta is None else rotation_matrices(self.shape, batch.positions())
        data = {
            "inputs": batch.inputs, "targets": batch.targets, "segments": batch.segments(),
            "positions": batch.positions(), "weights": weights.astype(self.precision),
            "rotations": None if rotations is None else rotations.astype(self.precision),
        }  # fmt: skip
        differentiate = differentiator(self.shape, self.precision, self.recipe.precision == "bf16")
        (_, losses), gradients = differentiate(tree, data)
        kinds = {str(array.dtype) for array in jax.tree.leaves(gradients)}
        if kinds != {self.precision}:
            raise TypeError(f"gradients of a {self.precision} model are {sorted(kinds)}")
        return float(numpy.asarray(losses, numpy.float64)[counts].sum() / max(counts.sum(), 1)), gradients

    # Parameters as a tree: names outside layers as they are, and under "layers" each name's L tensors in one.

    def tree(self, parameters):
        return jax.tree.map(lambda array: jnp.asarray(array, self.precision), self.stacked(parameters))

    def stacked(self, parameters):
        first = self.prefix + "0."
        inner = [name.removeprefix(first) for name in parameters if name.startswith(first)]
        layers = {
            name: numpy.stack([parameters[f"{self.prefix}{layer}.{name}"] for layer in range(self.shape.L)])
            for name in inner
        }
        return {name: a for name, a in parameters.items() if not name.startswith(self.prefix)} | {"layers": layers}

    def by_name(self, tree):
        result = {name: numpy.asarray(array) for name, array in tree.items() if name != "layers"}
        for name, stack in tree["layers"].items():
            for layer, array in enumerate(numpy.asarray(stack)):
                result[f"{self.prefix}{layer}.{name}"] = array
        return result

    def loss(self, rounds, tree, batch):
        """The loss, and beside it every position's. `rounds`: operands of products with weights are in bf16."""
        product = rounded_product if rounds else functools.partial(jnp.einsum, "bti,oi->bto")
        gpt2 = self.shape.family == "gpt2"
        embedding = tree["transformer.wte.weight" if gpt2 else "model.embed_tokens.weight"]
        x = jnp.take(embedding, batch["inputs"], axis=0)
        if gpt2:
            x += jnp.take(tree["transformer.wpe.weight"], batch["positions"], axis=0)
        same = jnp.equal(batch["segments"][:, :, None], batch["segments"][:, None, :])
        bias = jnp.where(jnp.tril(same), 0.0, -jnp.inf).astype(x.dtype)[:, None, None]
        block = functools.partial(self.gpt2_layer if gpt2 else self.llama_layer, product, bias, batch["rotations"])
        x, _ = jax.lax.scan(lambda x, layer: (block(x, layer), None), x, tree["layers"])
        if gpt2:
            x = self.layer_norm(x, tree["transformer.ln_f.weight"], tree["transformer.ln_f.bias"])
        else:
            x = self.rms_norm(x, tree["model.norm.weight"])
        head = embedding if self.shape.tied else tree["lm_head.weight"]
        losses = optax.softmax_cross_entropy_with_integer_labels(product(x, head), batch["targets"])
        return jnp.sum(losses * batch["weights"]), losses

    def attention(self, q, k, v, bias):
        """q (B, T, KV, G, d), k and v (B, T, KV, d), bias (B, 1, 1, T, T); returns (B, T, H d)."""
        scores = jnp.einsum("bikgd,bjkd->bkgij", q, k) / numpy.sqrt(self.shape.d).astype(q.dtype)
        mixed = jnp.einsum("bkgij,bjkd->bikgd", jax.nn.softmax(scores + bias, axis=-1), v)
        return mixed.reshape(*mixed.shape[:2], -1)

    def rms_norm(self, x, weight):
        return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + self.shape.epsilon) * weight

    def layer_norm(self, x, weight, bias):
        return jax.nn.standardize(x, axis=-1, epsilon=self.shape.epsilon) * weight + bias

    def gpt2_layer(self, product, bias, _, x, w):
        s = self.shape

        def dense(x, name):
            return product(x, w[name + ".weight"].T) + w[name + ".bias"]

        a = self.layer_norm(x, w["ln_1.weight"], w["ln_1.bias"])
        qkv = dense(a, "attn.c_attn").reshape(*a.shape[:2], 3, s.H, s.d)
        x += dense(self.attention(qkv[:, :, 0, :, None], qkv[:, :, 1], qkv[:, :, 2], bias), "attn.c_proj")
        b = self.layer_norm(x, w["ln_2.weight"], w["ln_2.bias"])
        return x + dense(jax.nn.gelu(dense(b, "mlp.c_fc"), approximate=True), "mlp.c_proj")

    def llama_layer(self, product, bias, rotations, x, w):
        s = self.shape

        def dense(x, name):
            y = product(x, w[name + ".weight"])
            return y + w[name + ".bias"] if name + ".bias" in w else y

        def heads(x, name, *counts):
            y = dense(x, f"self_attn.{name}_proj")
            y = y.reshape(*y.shape[:2], *counts, s.d)
            if s.family == "qwen3":
                y = self.rms_norm(y, w[f"self_attn.{name}_norm.weight"])
            # (…, d) as pairs (2, d/2): element i with element i + d/2.
            pairs = y.reshape(*y.shape[:-1], 2, s.d // 2)
            return jnp.einsum("btpre,bt...ep->bt...rp", rotations, pairs).reshape(y.shape)

        a = self.rms_norm(x, w["input_layernorm.weight"])
        q, k = heads(a, "q", s.KV, s.H // s.KV), heads(a, "k", s.KV)
        v = dense(a, "self_attn.v_proj").reshape(*a.shape[:2], s.KV, s.d)
        x += dense(self.attention(q, k, v, bias), "self_attn.o_proj")
        b = self.rms_norm(x, w["post_attention_layernorm.weight"])
        return x + dense(jax.nn.silu(dense(b, "mlp.gate_proj")) * dense(b, "mlp.up_proj"), "mlp.down_proj")


def rotation_matrices(shape, positions):
    """(B, T, d/2, 2, 2) in float64, whatever the model's precision."""
    pairs = numpy.arange(shape.d // 2)
    angles = positions[..., None] / numpy.float64(shape.theta) ** (2 * pairs / shape.d)
    c, s = numpy.cos(angles), numpy.sin(angles)
    return numpy.stack([numpy.stack([c, -s], axis=-1), numpy.stack([s, c], axis=-1)], axis=-2)


def learning_rate(recipe):
    """Linear from peak / warmup at step 0 to the peak, then half a cosine."""
    r = recipe
    steps = r.schedule_steps - r.warmup_steps
    decay = (
        optax.cosine_decay_schedule(r.learning_rate, steps, alpha=r.minimum_learning_rate / r.learning_rate)
        if steps > 0
        else optax.constant_schedule(r.minimum_learning_rate)
    )
    schedule = decay
    if r.warmup_steps > 0:
        warmup = optax.linear_schedule(r.learning_rate / r.warmup_steps, r.learning_rate, r.warmup_steps - 1)
        schedule = optax.join_schedules([warmup, decay], [r.warmup_steps])
    # Optax counts in int32, and int32 / int is float32 in JAX.
    return lambda count: schedule(jnp.asarray(count, jnp.float64))


def clip_to(maximum):
    """Multiplies with maximum / norm when norm > maximum; the norm is a float64 sum."""

    def update(updates, state, _=None):
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(g.astype(jnp.float64))) for g in jax.tree.leaves(updates)))
        factor = jnp.where(norm > maximum, maximum / norm, 1.0)
        return jax.tree.map(lambda g: g * factor.astype(g.dtype), updates), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


DECAYS, REST = "decays", "rest"


class Joint:
    """Tensors joined into two vectors, those that decay and those that do not. AdamW sees elements; XLA compiles by
    tensor, and compiles two sooner than two dozen."""

    def __init__(self, parameters, precision):
        self.precision = precision
        self.shapes = {DECAYS: {}, REST: {}}
        for name, array in sorted(parameters.items()):
            self.shapes[DECAYS if array.ndim >= 2 else REST][name] = array.shape

    def join(self, tensors):
        return {
            kind: jnp.concatenate([jnp.asarray(tensors[name], self.precision).reshape(-1) for name in shapes])
            for kind, shapes in self.shapes.items()
        }

    def split(self, vectors):
        result = {}
        for kind, shapes in self.shapes.items():
            ends = numpy.cumsum([math.prod(shape) for shape in shapes.values()])
            pieces = numpy.split(numpy.asarray(vectors[kind]), ends[:-1])
            result |= {name: piece.reshape(shapes[name]) for name, piece in zip(shapes, pieces, strict=True)}
        return result


def make_optimizer(recipe, rate, clips=True):
    adamw = optax.adamw(
        rate, recipe.beta1, recipe.beta2, recipe.epsilon, weight_decay=recipe.weight_decay,
        mask={DECAYS: True, REST: False},
    )  # fmt: skip
    return optax.chain(clip_to(recipe.clip), adamw) if clips and recipe.clip is not None else adamw


def updater(optimizer):
    @jax.jit
    def learn(parameters, state, gradients):
        changes, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, changes), state

    return learn


def is_adam(part):
    return isinstance(part, optax.ScaleByAdamState)


def adam_state(state):
    return next(part for part in jax.tree.leaves(state, is_leaf=is_adam) if is_adam(part))


def adamw_alone(parameters, gradients, m, v, updates, rate, recipe, precision):
    """One update from the given state: (parameters, m, v). `updates` were done before; `gradients` are clipped."""
    joint, optimizer = Joint(parameters, precision), make_optimizer(recipe, rate, clips=False)
    weights = joint.join(parameters)

    def given(part):
        if not is_adam(part):
            return part
        return part._replace(count=jnp.asarray(updates, jnp.int32), mu=joint.join(m), nu=joint.join(v))

    state = jax.tree.map(given, optimizer.init(weights), is_leaf=is_adam)
    weights, state = updater(optimizer)(weights, state, joint.join(gradients))
    adam = adam_state(state)
    return joint.split(weights), joint.split(adam.mu), joint.split(adam.nu)
