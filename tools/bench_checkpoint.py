"""How long training stands still for a checkpoint: saved beside training, and waited for, in one run.

    python tools/bench_checkpoint.py [--parameters=100_000_000] [--repeats=5] [--folder=DIR]

A state of that many parameters with Adam's two moments (12 bytes a parameter) is saved `repeats` times. "held up" is
the time until training may go on, "published" the time until the checkpoint stands, digests and all; the ratio is what
a checkpoint written beside training costs of one that is waited for.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from maxlm.train.checkpoint import Checkpoints, Meta, Position
from maxlm.train.state import TrainState

_LEAVES = 12  # arrays a copy of the parameters is made of, as layers stacked give


def state(parameters: int) -> TrainState:
    """Random numbers, which do not compress, in the shape of a training state."""
    rows = parameters // (_LEAVES * 1000)
    keys = jax.random.split(jax.random.key(0), 3)

    def copy(key: jax.Array) -> dict[str, jax.Array]:
        return {f"w{i}": jax.random.normal(jax.random.fold_in(key, i), (rows, 1000)) for i in range(_LEAVES)}

    params, first, second = (copy(key) for key in keys)
    return TrainState(params, {"mu": first, "nu": second}, jnp.int32(1), jnp.zeros(2, jnp.uint32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=lambda text: int(float(text.replace("_", ""))), default=100_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="where to write; a temporary folder by default")
    arguments = parser.parse_args()
    saved = jax.block_until_ready(state(arguments.parameters))
    workdir = Path(tempfile.mkdtemp(dir=arguments.folder))
    held, published = [], []
    checkpoints = Checkpoints(workdir)
    try:
        for step in range(arguments.repeats + 1):  # the first one warms up
            start = time.perf_counter()
            checkpoints.save(saved, Meta(Position(step=step), {}, 0))
            held.append(time.perf_counter() - start)
            checkpoints.wait()
            published.append(time.perf_counter() - start)
            checkpoints.remove(step)
    finally:
        checkpoints.close()
        shutil.rmtree(workdir)
    megabytes = sum(leaf.nbytes for leaf in jax.tree.leaves(saved)) / 1e6
    a, b = statistics.median(held[1:]), statistics.median(published[1:])
    print(f"{arguments.parameters:,} parameters, {megabytes:,.0f} MB, {arguments.repeats} checkpoints, medians:")
    print(f"held up {1000 * a:,.0f} ms · published after {b:.2f} s · ratio {a / b:.2%}")


if __name__ == "__main__":
    main()
