"""Reference training step in plain PyTorch, the yardstick of ``bench_step.py`` and ``bench_gpu.py``.

A decoder of ordinary modules with tied embeddings, Llama-style (RMSNorm, rotate-half RoPE,
SwiGLU) or GPT-2's (LayerNorm, learned positions, GELU, biases),
``F.scaled_dot_product_attention(is_causal=True)``, ``F.cross_entropy`` over all logits,
global-norm clipping and fused AdamW: what one would write by hand, with no packing mask
and no chunked loss.

Run by the driver as a worker (see :func:`serve`); it reads step counts from standard
input and answers each with one line of JSON.
"""

import argparse
import json
import resource
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
        bias = shape.family == "gpt2"
        self.q = nn.Linear(shape.embed, q_width, bias=bias)
        self.k = nn.Linear(shape.embed, kv_width, bias=bias)
        self.v = nn.Linear(shape.embed, kv_width, bias=bias)
        self.out = nn.Linear(q_width, shape.embed, bias=bias)

    def forward(self, x, cos, sin):
        batch, seq_len, _ = x.shape
        q = self.q(x).view(batch, seq_len, self.num_heads, self.head_dim).transpose(1, 2)
        k = self.k(x).view(batch, seq_len, self.num_kv_heads, self.head_dim).transpose(1, 2)
        v = self.v(x).view(batch, seq_len, self.num_kv_heads, self.head_dim).transpose(1, 2)
        if cos is not None:
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        out = F.scaled_dot_product_attention(
            q,
            k,
            v,
            is_causal=True,
            enable_gqa=self.num_heads != self.num_kv_heads,
        )
        return self.out(out.transpose(1, 2).reshape(batch, seq_len, -1))


def make_norm(shape):
    return nn.LayerNorm(shape.embed, eps=1e-5) if shape.family == "gpt2" else nn.RMSNorm(shape.embed, eps=1e-5)


class SwiGLU(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.gate = nn.Linear(shape.embed, shape.mlp, bias=False)
        self.up = nn.Linear(shape.embed, shape.mlp, bias=False)
        self.down = nn.Linear(shape.mlp, shape.embed, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class GeluMLP(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.up = nn.Linear(shape.embed, shape.mlp)
        self.down = nn.Linear(shape.mlp, shape.embed)

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.attention_norm = make_norm(shape)
        self.attention = Attention(shape)
        self.mlp_norm = make_norm(shape)
        self.mlp = GeluMLP(shape) if shape.family == "gpt2" else SwiGLU(shape)

    def forward(self, x, cos, sin):
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.mlp(self.mlp_norm(x))


class Decoder(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.embedding = nn.Embedding(shape.vocab, shape.embed)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.num_layers))
        self.norm = make_norm(shape)
        self.position = nn.Embedding(shape.seq_len, shape.embed) if shape.family == "gpt2" else None
        rates = 10_000.0 ** (-torch.arange(0, shape.head_dim, 2) / shape.head_dim)
        angles = torch.arange(shape.seq_len)[:, None] * rates
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        cos, sin = (self.cos, self.sin) if self.position is None else (None, None)
        if self.position is not None:
            x = x + self.position.weight
        for block in self.blocks:
            x = block(x, cos, sin)
        logits = F.linear(self.norm(x), self.embedding.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def rotate(x, cos, sin):
    """Rotary embedding of the half-split kind; x is [batch, heads, seq_len, head_dim]."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)


def make_step(shape, compile_mode, dtype):
    """Returns a callable that runs one optimizer step and returns the loss tensor."""
    torch.manual_seed(0)
    model = Decoder(shape).to(shape.device)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    forward = torch.compile(model) if compile_mode else model
    rows = torch.randint(0, shape.vocab, (shape.batch, shape.seq_len + 1), device=shape.device)
    tokens, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    def step():
        with torch.autocast(shape.device, dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = forward(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return step


def peak_memory_gib():
    """Most memory that was in use at a time: the GPU's, or on a CPU the process's own."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


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
        if line.strip() == "memory":
            print(json.dumps({"gib": peak_memory_gib()}), flush=True)
            continue
        start, count = time.perf_counter(), int(line)
        for _ in range(count):
            loss = step()
        loss = loss.item()  # the device works through them all before it answers
        print(json.dumps({"seconds": [(time.perf_counter() - start) / count], "loss": loss}), flush=True)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--family", choices=("llama", "gpt2"), default="llama")
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
