#!/usr/bin/env python3
"""Whole training steps of a GPT-2-style model in PyTorch or JAX, for `steps.py` to hold train-step against.

    peers.py {torch,torch-compile,jax} CONFIG.json ROWS LENGTH STEPS [--bf16]

A step is forward, backward, clipping by the global norm and AdamW, as train-step does them. Random ids: no loss is compared
here (parity/ does that). Each framework is used the way its own documentation recommends for speed on a CPU: fused attention,
fused AdamW, one jitted step with donated buffers. Prints the tokens a second of each timed step, a line each; the first steps,
which compile and warm up, are left out by the caller.
"""

import argparse
import json
import os
import sys
import time

LEARNING_RATE, BETAS, DECAY, CLIP = 3e-4, (0.9, 0.95), 0.1, 1.0


def torch_steps(config, rows, length, compiled, bf16):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    width, heads, layers = config["n_embd"], config["n_head"], config["n_layer"]

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
            self.qkv, self.output = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
            self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

        def forward(self, x):
            b, t, c = x.shape
            q, k, v = (part.view(b, t, heads, c // heads).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(c, 2))
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.output(attended.transpose(1, 2).reshape(b, t, c))
            return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = torch.nn.Embedding(config["vocab_size"], width)
            self.positions = torch.nn.Embedding(config["n_positions"], width)
            self.blocks = torch.nn.ModuleList(Block() for _ in range(layers))
            self.norm = torch.nn.LayerNorm(width)
            torch.nn.init.normal_(self.tokens.weight, std=0.02)

        def forward(self, ids, targets):
            x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
            for block in self.blocks:
                x = block(x)
            logits = self.norm(x) @ self.tokens.weight.T
            return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    model = Model()
    loss_of = torch.compile(model) if compiled else model
    decayed = [p for p in model.parameters() if p.ndim > 1]
    kept = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": DECAY}, {"params": kept, "weight_decay": 0.0}],
        lr=LEARNING_RATE, betas=BETAS, fused=True,
    )

    def step():
        ids = torch.randint(config["vocab_size"], (rows, length + 1))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = loss_of(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def jax_steps(config, rows, length, bf16):
    import functools

    import jax
    import jax.numpy as jnp
    import optax

    width, heads, layers = config["n_embd"], config["n_head"], config["n_layer"]
    key = iter(jax.random.split(jax.random.key(0), 8 + 8 * layers))

    def matrix(*shape):
        return 0.02 * jax.random.normal(next(key), shape)

    def norm_parameters():
        return {"w": jnp.ones(width), "b": jnp.zeros(width)}

    def affine(i, o):
        return {"w": matrix(i, o), "b": jnp.zeros(o)}

    parameters = {
        "tokens": matrix(config["vocab_size"], width), "positions": matrix(config["n_positions"], width), "norm": norm_parameters(),
        "blocks": [
            {"norm1": norm_parameters(), "norm2": norm_parameters(), "qkv": affine(width, 3 * width),
             "output": affine(width, width), "up": affine(width, 4 * width), "down": affine(4 * width, width)}
            for _ in range(layers)
        ],
    }
    dtype = jnp.bfloat16 if bf16 else jnp.float32

    def norm(p, x):
        x = x.astype(jnp.float32)
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return ((x - mean) * jax.lax.rsqrt(variance + 1e-5) * p["w"] + p["b"]).astype(dtype)

    def apply(p, x):
        return x @ p["w"].astype(dtype) + p["b"].astype(dtype)

    def loss_of(p, ids, targets):
        b, t = ids.shape
        x = (p["tokens"][ids] + p["positions"][:t]).astype(dtype)
        for block in p["blocks"]:
            q, k, v = jnp.split(apply(block["qkv"], norm(block["norm1"], x)), 3, axis=-1)
            q, k, v = (a.reshape(b, t, heads, width // heads) for a in (q, k, v))
            attended = jax.nn.dot_product_attention(q, k, v, is_causal=True)
            x = x + apply(block["output"], attended.reshape(b, t, width))
            x = x + apply(block["down"], jax.nn.gelu(apply(block["up"], norm(block["norm2"], x)), approximate=True))
        logits = (norm(p["norm"], x) @ p["tokens"].T.astype(dtype)).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    decays = jax.tree.map(lambda p: p.ndim > 1, parameters)
    optimizer = optax.chain(
        optax.clip_by_global_norm(CLIP), optax.adamw(LEARNING_RATE, *BETAS, weight_decay=DECAY, mask=decays)
    )

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(p, state, ids):
        loss, gradient = jax.value_and_grad(loss_of)(p, ids[:, :-1], ids[:, 1:])
        changes, state = optimizer.update(gradient, state, p)
        return optax.apply_updates(p, changes), state, loss

    held = [parameters, optimizer.init(parameters)]
    keys = iter(jax.random.split(jax.random.key(1), 10_000))

    def step():
        ids = jax.random.randint(next(keys), (rows, length + 1), 0, config["vocab_size"])
        held[0], held[1], loss = update(*held, ids)
        return float(loss)

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("framework", choices=["torch", "torch-compile", "jax"])
    parser.add_argument("config")
    parser.add_argument("rows", type=int)
    parser.add_argument("length", type=int)
    parser.add_argument("steps", type=int)
    parser.add_argument("--bf16", action="store_true")
    a = parser.parse_args()
    with open(a.config) as file:
        config = json.load(file)
    try:
        if a.framework == "jax":
            step = jax_steps(config, a.rows, a.length, a.bf16)
        else:
            step = torch_steps(config, a.rows, a.length, a.framework == "torch-compile", a.bf16)
    except ImportError as error:
        sys.exit(f"peers: {error}")
    for _ in range(a.steps):
        begin = time.perf_counter()
        step()
        print(a.rows * a.length / (time.perf_counter() - begin), flush=True)


if __name__ == "__main__":
    main()
