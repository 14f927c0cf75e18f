"""Reference training step in plain PyTorch, the yardstick of ``bench_step.py``.

A Llama-style decoder of ordinary modules (RMSNorm, rotate-half RoPE, SwiGLU, tied
embeddings), ``F.scaled_dot_product_attention(is_causal=True)``, ``F.cross_entropy``
over all logits, global-norm clipping and fused AdamW: what one would write by hand,
with no packing mask and no chunked loss.

Run by the driver as a worker (see :func:`serve`); it reads step counts from standard
input and answers each with one line of JSON.
"""

import argparse
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.num_heads, self.num_kv_heads = shape.num_heads, shape.num_kv_heads
        self.head_dim = shape.head_dim
        q_width, kv_width = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        self.q = nn.Linear(shape.embed, q_width, bias=False)
        self.k = nn.Linear(shape.embed, kv_width, bias=False)
        self.v = nn.Linear(shape.embed, kv_width, bias=False)
        self.out = nn.Linear(q_width, shape.embed, bias=False)

    def forward(self, x, cos, sin):
        batch, seq_len, _ = x.shape
        q = self.q(x).view(batch, seq_len, self.num_heads, self.head_dim).transpose(1, 2)
        k = self.k(x).view(batch, seq_len, self.num_kv_heads, self.head_dim).transpose(1, 2)
        v = self.v(x).view(batch, seq_len, self.num_kv_heads, self.head_dim).transpose(1, 2)
        out = F.scaled_dot_product_attention(
            rotate(q, cos, sin),
            rotate(k, cos, sin),
            v,
            is_causal=True,
            enable_gqa=self.num_heads != self.num_kv_heads,
        )
        return self.out(out.transpose(1, 2).reshape(batch, seq_len, -1))


class Block(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.embed, eps=1e-5)
        self.attention = Attention(shape)
        self.mlp_norm = nn.RMSNorm(shape.embed, eps=1e-5)
        self.gate = nn.Linear(shape.embed, shape.mlp, bias=False)
        self.up = nn.Linear(shape.embed, shape.mlp, bias=False)
        self.down = nn.Linear(shape.mlp, shape.embed, bias=False)

    def forward(self, x, cos, sin):
        x = x + self.attention(self.attention_norm(x), cos, sin)
        h = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Decoder(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.embedding = nn.Embedding(shape.vocab, shape.embed)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.num_layers))
        self.norm = nn.RMSNorm(shape.embed, eps=1e-5)
        rates = 10_000.0 ** (-torch.arange(0, shape.head_dim, 2) / shape.head_dim)
        angles = torch.arange(shape.seq_len)[:, None] * rates
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embedding.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def rotate(x, cos, sin):
    """Rotary embedding of the half-split kind; x is [batch, heads, seq_len, head_dim]."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)


def make_step(shape, compile_mode, dtype):
    """Returns a callable that runs one optimizer step and returns the loss tensor."""
    torch.manual_seed(0)
    model = Decoder(shape)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    forward = torch.compile(model) if compile_mode else model
    rows = torch.randint(0, shape.vocab, (shape.batch, shape.seq_len + 1))
    tokens, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = forward(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return step


def matmul_peak(size=2048, repeats=4):
    """Best fp32 FLOP/s of a square matrix product."""
    a = torch.randn(size, size)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def serve(step):
    """Warms up, says it is ready, then runs as many steps as each input line asks for."""
    step().item()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        if line.strip() == "peak":
            print(json.dumps({"flops_per_s": matmul_peak()}), flush=True)
            continue
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            loss = step().item()
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds, "loss": loss}), flush=True)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    for name, default in (
        ("num-layers", 6), ("embed", 384), ("num-heads", 6), ("num-kv-heads", 6),
        ("head-dim", 64), ("mlp", 1024), ("vocab", 8192), ("batch", 8), ("seq-len", 512),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    serve(make_step(args, args.compile, args.dtype))


if __name__ == "__main__":
    main()
