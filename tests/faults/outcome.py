"""What stands at the end of a run: its parameters, and the uses of the documents; and the page that tells of it."""

from pathlib import Path

import jax
import numpy as np

from data_pipeline.mix.ledger import Ledger
from maxlm.config import freeze
from maxlm.models.decoder import DecoderFunction
from maxlm.train.checkpoint import Checkpoints
from maxlm.train.config import Config


def params_of(workdir: Path) -> list[np.ndarray]:
    """The parameters of the newest checkpoint."""
    checkpoints = Checkpoints(workdir)
    step = checkpoints.steps()[-1]
    model = DecoderFunction(freeze(Config, checkpoints.meta(step).config).model)
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), model.abstract_params()
    )
    params = checkpoints.restore_params(step, abstract)
    checkpoints.close()
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


def ledger_uses(dataset: Path) -> np.ndarray:
    return Ledger.standing(dataset).uses()


def page(rows: list[tuple[str, str, int, dict[str, bool]]], blocks: int, steps: int) -> str:
    """The table as Markdown."""
    lines = [
        "# Faults, and what came of them",
        "",
        "Written by `python -m tests.faults.injector --out=docs/reliability.md`: real processes, real faults; a",
        f"corpus of 80 documents, {blocks} blocks of {steps} steps. After each fault the same commands were given",
        "again. Equal: to a run that nothing happened to, parameters bit for bit, blocks byte by byte, uses document",
        "by document. One CPU device where nothing else is said.",
        "",
        "| fault | what happened | steps done twice | equal: parameters, blocks, ledger |",
        "|---|---|---|---|",
    ]
    for name, happened, undone, equal in rows:
        words = {True: "yes", False: "NO", None: "no, as told"}
        marks = ", ".join(words[equal.get(key)] for key in ("parameters", "blocks", "ledger"))
        lines.append(f"| {name} | {happened} | {undone} | {marks} |")
    return "\n".join(lines) + "\n"
