"""What a step of preference tuning costs beside one of fine-tuning on the same rows, interleaved in one process.

    python tools/bench_preference.py [--rounds=6] [--embed=384 --layers=6 --vocab=8192 --rows=4 --seq-len=512]

Rows are full of pairs of some 60 tokens a side. Prints CPU seconds a step (wall time on an accelerator), and the ratio.
"""

import argparse
import time

import jax
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from maxlm.blocks.format import Batch, Rows, to_batch
from maxlm.models.config import ModelConfig
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.parallel.mesh import MeshConfig, batch_sharding, make_mesh
from maxlm.train.config import Config, TrainSettings
from maxlm.train.optimizer import optimizer_for
from maxlm.train.state import init_state
from maxlm.train.step import make_train_step

CASES = {"fine-tuning": "next_token", "dpo": "dpo", "ipo": "ipo"}
SIDE, ANSWER, STEPS = 64, 40, 4  # tokens of a side of a pair, of them its answer; steps at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 6), ("embed", 384), ("layers", 6), ("vocab", 8192), ("rows", 4), ("seq-len", 512)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    heads = args.embed // 64
    sizes = {"num_heads": heads, "num_kv_heads": heads, "head_dim": 64, "mlp": args.embed * 8 // 3}
    model = DecoderFunction(ModelConfig(vocab_size=args.vocab, embed=args.embed, num_layers=args.layers, **sizes))
    mesh, schedule = make_mesh(MeshConfig()), optax.constant_schedule(1e-6)
    clock = time.process_time if jax.devices()[0].platform == "cpu" else time.perf_counter
    seconds, steps, states = {name: [] for name in CASES}, {}, {}
    with jax.set_mesh(mesh):
        for name, loss in CASES.items():
            settings = TrainSettings(batch=args.rows, loss=loss)
            tx = optimizer_for(Config(train=settings), schedule)
            steps[name] = make_train_step(model, tx, schedule, settings, mesh, num_domains=1)
            states[name] = init_state(model, tx, mesh, 0)
        batch = jax.device_put(_pairs(args.rows, args.seq_len, args.vocab), batch_sharding(mesh))
        for name in [name for _ in range(args.rounds + 1) for name in CASES]:  # the first round compiles
            started = clock()
            for _ in range(STEPS):
                states[name], _ = steps[name](states[name], batch, NO_LIMITS)
            jax.block_until_ready(states[name])
            seconds[name].append((clock() - started) / STEPS)
    table = Table("a step of", "seconds", "beside fine-tuning")
    for name, found in seconds.items():
        ratios = np.array(found[1:]) / seconds["fine-tuning"][1:]
        spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        table.add_row(name, f"{np.median(found[1:]):.3f}", spread)
    Console().print(table)


def _pairs(rows: int, seq_len: int, vocab: int) -> Batch:
    shape = (rows, seq_len + 1)
    places = np.broadcast_to(np.arange(seq_len + 1), shape)
    whole = places < seq_len // (2 * SIDE) * 2 * SIDE  # what is left of a row is padding
    tokens = np.random.default_rng(0).integers(vocab, size=shape)
    learn = (places % SIDE >= SIDE - ANSWER) & whole
    return to_batch(Rows(tokens, (places % SIDE == 0) & whole, learn, np.where(whole, 0, 255).astype(np.uint8)))


if __name__ == "__main__":
    main()
