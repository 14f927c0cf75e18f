"""Compile time of the training step against the number of layers, which are scanned: it should not grow.

python tools/bench_compile.py            # 2 and 32 layers in turn, on the CPU of this machine
"""

import argparse
import time

import jax
import optax

from maxlm.blocks.format import Batch
from maxlm.models.config import ModelConfig
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.parallel.mesh import MeshConfig, batch_sharding, make_mesh
from maxlm.train.config import OptimizerConfig, TrainSettings
from maxlm.train.optimizer import make_optimizer
from maxlm.train.state import abstract_state
from maxlm.train.step import make_train_step

SIZES = {"vocab_size": 8192, "embed": 512, "num_heads": 8, "num_kv_heads": 4, "head_dim": 64, "mlp": 1408}


def cpu_seconds(layers, remat):
    """CPU time of tracing, lowering and compiling the step, nothing of which is taken from a cache."""
    model = DecoderFunction(ModelConfig(**SIZES, num_layers=layers, remat=remat))
    schedule, mesh = optax.constant_schedule(1e-3), make_mesh(MeshConfig())
    tx = make_optimizer(OptimizerConfig(), schedule)
    started = time.process_time()
    with jax.set_mesh(mesh):
        step = make_train_step(model, tx, schedule, TrainSettings(), mesh, num_domains=8)
        kinds = Batch("int32", "int32", "int32", "int32", "float32", "int32")
        rows = [jax.ShapeDtypeStruct((8, 512), kind, sharding=batch_sharding(mesh)) for kind in kinds]
        step.lower(abstract_state(model, tx, mesh), Batch(*rows), NO_LIMITS).compile()
    return time.process_time() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="2,32")
    parser.add_argument("--remat", default="full")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    counts = [int(n) for n in args.layers.split(",")]
    cpu_seconds(counts[0], args.remat)  # what jax sets up once
    best = dict.fromkeys(counts, float("inf"))
    for _ in range(args.rounds):
        for layers in counts:
            best[layers] = min(best[layers], cpu_seconds(layers, args.remat))
    print("layers  CPU s  × the first")
    for layers in counts:
        print(f"{layers:6d}  {best[layers]:5.2f}  {best[layers] / best[counts[0]]:.2f}")


if __name__ == "__main__":
    main()
