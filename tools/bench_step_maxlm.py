"""maxlm's own training step as a worker of `bench_step.py` and `bench_gpu.py`: what `maxlm train` runs, on made-up
tokens."""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable

import jax
import numpy as np

from maxlm.blocks.format import Rows, to_batch
from maxlm.models.config import ModelConfig
from maxlm.models.decoder import DecoderFunction
from maxlm.models.kernels import check_keeps_documents_apart
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.parallel import xla_flags
from maxlm.parallel.mesh import MeshConfig, batch_sharding, make_mesh
from maxlm.train.config import OptimizerConfig, ScheduleConfig, TrainSettings
from maxlm.train.hardware import keep_freed_memory, measure_matmul
from maxlm.train.optimizer import make_optimizer
from maxlm.train.schedules import make_schedule
from maxlm.train.state import init_state
from maxlm.train.step import make_train_step

GPT2 = {"mlp_kind": "gelu", "norm": "layer", "bias": "all", "position": "learned"}


def peak_memory_gib() -> float:
    """Most memory that was in use at a time: the accelerator's, or on a CPU the process's own."""
    if stats := jax.devices()[0].memory_stats():
        return stats["peak_bytes_in_use"] / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def make_step(args: argparse.Namespace) -> Callable[[], jax.Array]:
    """A callable that runs one update and returns its loss."""
    model = DecoderFunction(
        ModelConfig(
            vocab_size=args.vocab, embed=args.embed, num_layers=args.num_layers, num_heads=args.num_heads,
            num_kv_heads=args.num_kv_heads, head_dim=args.head_dim, mlp=args.mlp, dtype=args.dtype,
            scan_layers=args.scan_layers, attention=args.attention, remat=args.remat, matmul=args.matmul,
            **(GPT2 | {"max_positions": args.seq_len} if args.family == "gpt2" else {}),
        )
    )  # fmt: skip
    schedule = make_schedule(3e-4, ScheduleConfig("constant", warmup_share=0.0), 1000)
    tx = make_optimizer(OptimizerConfig(), schedule)
    mesh = make_mesh(MeshConfig())
    jax.sharding.set_mesh(mesh)
    state = init_state(model, tx, mesh, seed=0)
    train_step = make_train_step(model, tx, schedule, TrainSettings(batch=args.batch), mesh, num_domains=3)
    shape = (args.batch, args.seq_len + 1)
    starts = np.zeros(shape, bool)
    starts[:, :: -(-shape[1] // args.documents)] = True
    tokens = np.random.default_rng(0).integers(0, args.vocab, shape)
    rows = Rows(tokens, starts, np.ones(shape, bool), np.zeros(shape, np.uint8))
    batch = jax.device_put(to_batch(rows), batch_sharding(mesh))
    held = [state]

    def step() -> jax.Array:
        held[0], metrics = train_step(held[0], batch, NO_LIMITS)
        return metrics["loss"]

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--scan-layers", action="store_true", help="scan over the layers instead of unrolling them")
    parser.add_argument("--attention", default="auto", help="a kernel's name")
    parser.add_argument("--remat", default="none", help="what the backward pass keeps: maxlm/models/remat.py")
    parser.add_argument("--matmul", choices=("plain", "fp8"), default="plain")
    parser.add_argument("--family", choices=("llama", "gpt2"), default="llama")
    parser.add_argument("--documents", type=int, default=1, help="documents packed into a row")
    for name in ("num-layers", "embed", "num-heads", "num-kv-heads", "head-dim", "mlp", "vocab", "batch", "seq-len"):
        parser.add_argument(f"--{name}", type=int, required=True)
    args = parser.parse_args()
    keep_freed_memory()  # as maxlm train does
    xla_flags.apply()
    check_keeps_documents_apart(args.attention)
    step = make_step(args)
    float(step())
    print(json.dumps({"ready": True, "device": jax.devices()[0].device_kind}), flush=True)
    for line in sys.stdin:
        if line.strip() == "peak":
            print(json.dumps({"flops_per_s": measure_matmul(2048, repeats=4)}), flush=True)
            continue
        if line.strip() == "memory":
            print(json.dumps({"gib": peak_memory_gib()}), flush=True)
            continue
        started, count = time.perf_counter(), int(line)
        for _ in range(count):
            loss = step()
        loss = float(loss)  # the device works through them all before it answers
        print(json.dumps({"seconds": [(time.perf_counter() - started) / count], "loss": loss}), flush=True)


if __name__ == "__main__":
    main()
