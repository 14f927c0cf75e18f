"""What norms by layer cost: steps with them at every step, at every tenth and without, interleaved in one process.

    python tools/bench_norms.py [--rounds=6]

Prints CPU seconds a step of each (wall time on an accelerator), and the ratio to a step without.
"""

import argparse
import time

import jax
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from maxlm.blocks.format import Rows, to_batch
from maxlm.models.config import ModelConfig
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.parallel.mesh import MeshConfig, batch_sharding, make_mesh
from maxlm.train.config import OptimizerConfig, TrainSettings
from maxlm.train.optimizer import make_optimizer
from maxlm.train.state import init_state
from maxlm.train.step import make_train_step

MODEL = ModelConfig(vocab_size=8192)  # 14M parameters
ROWS, SEQ_LEN, STEPS = 4, 256, 10
CASES = {
    "without": TrainSettings(batch=ROWS),
    "every tenth step": TrainSettings(batch=ROWS, log_norms=True, log_every=10),
    "every step": TrainSettings(batch=ROWS, log_norms=True, log_every=1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    rounds = parser.parse_args().rounds
    mesh, model = make_mesh(MeshConfig()), DecoderFunction(MODEL)
    schedule = optax.constant_schedule(1e-4)
    tx = make_optimizer(OptimizerConfig(), schedule)
    clock = time.process_time if jax.devices()[0].platform == "cpu" else time.perf_counter
    seconds = {name: [] for name in CASES}
    with jax.set_mesh(mesh):
        steps = {n: make_train_step(model, tx, schedule, s, mesh, num_domains=1) for n, s in CASES.items()}
        batch = jax.device_put(_batch(), batch_sharding(mesh))
        state = init_state(model, tx, mesh, 0)
        for name in [name for _ in range(rounds + 1) for name in CASES]:  # the first round compiles
            started = clock()
            for _ in range(STEPS):
                state, _ = steps[name](state, batch, NO_LIMITS)
            jax.block_until_ready(state)
            seconds[name].append((clock() - started) / STEPS)
    table = Table("norms by layer", "seconds a step", "ratio")
    usual = np.median(seconds["without"][1:])
    for name, found in seconds.items():
        table.add_row(name, f"{np.median(found[1:]):.4f}", f"{np.median(found[1:]) / usual:.3f}")
    Console().print(table)


def _batch():
    rng, shape = np.random.default_rng(0), (ROWS, SEQ_LEN + 1)
    starts = np.zeros(shape, bool)
    starts[:, 0] = True
    tokens = rng.integers(MODEL.vocab_size, size=shape)
    return to_batch(Rows(tokens, starts, np.ones(shape, bool), np.zeros(shape, np.uint8)))


if __name__ == "__main__":
    main()
