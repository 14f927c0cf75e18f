"""What stands at the end of a run: its parameters, and the uses of the documents; and the table that tells of it."""

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


HEAD = "| fault | what happened | steps done twice | equal: parameters, blocks, ledger |"


def row(name: str, happened: str, undone: int, equal: dict[str, bool]) -> str:
    """A line of the table as Markdown."""
    words = {True: "yes", False: "NO", None: "no, as told"}
    marks = ", ".join(words[equal.get(key)] for key in ("parameters", "blocks", "ledger"))
    return f"| {name} | {happened} | {undone} | {marks} |"


def updated(page: str, rows: list[str]) -> str:
    """`page` with these lines in its table: in the place of those of the same fault, or at its end."""
    lines = page.splitlines()
    start = lines.index(HEAD) + 2
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    table = {_fault(line): line for line in lines[start:end]} | {_fault(line): line for line in rows}
    return "\n".join([*lines[:start], *table.values(), *lines[end:]]) + "\n"


def _fault(line: str) -> str:
    return line.split("|")[1].strip()
