"""A sweep: many small runs from one file, as the command lines that train them.

A sweep file is Python with get_config() that returns `base()` and a few lines, as all config files here. Sizes, data
sets, learning rates and seeds are crossed; each such run is trained for every budget. With `branch`, the budgets share
one stable run, the trunk, from which each branches off to decay its learning rate (Hägele et al., 2024, arXiv
2405.18392): many budgets then cost little more than the largest.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import ml_collections

from maxlm.blocks.manifest import load_dataset
from maxlm.config import to_plain
from maxlm.errors import ConfigError
from maxlm.paths import as_path
from maxlm.scaling.suggest import Wishes, suggest

_SHAPE = ("embed", "num_layers", "num_heads", "num_kv_heads", "head_dim", "mlp", "tie_embeddings")


@dataclass(frozen=True)
class Size:
    """A model: keys of the config, or a number of parameters for which a shape is chosen."""

    name: str
    params: float = 0.0  # 0: as `set` says
    set: tuple[str, ...] = ()  # "model.embed=128", as on the command line


@dataclass(frozen=True)
class Data:
    """A data set to train on: a mixture, or an order, of its own. maxlm-data produce makes it."""

    name: str
    dataset: str
    shares: dict[str, float] = field(default_factory=dict)  # domain -> share of its tokens, for mixture laws
    order: str = ""  # name of its order, for comparisons of curricula


@dataclass(frozen=True)
class Sweep:
    """The root of a sweep file."""

    config: str = ""  # the config file that all runs share
    sizes: tuple[Size, ...] = ()
    data: tuple[Data, ...] = ()
    budgets: tuple[int, ...] = ()  # blocks to train on, each a run
    learning_rates: tuple[float, ...] = ()  # peak; none: the config's
    seeds: tuple[int, ...] = (0,)
    set: tuple[str, ...] = ()  # keys of the config for all runs, "train.batch=16"
    branch: bool = True  # budgets branch off one stable run; False: each is a run of its own
    decay_share: float = 0.2  # of a budget's blocks, rounded, at least one: over which the learning rate falls to zero
    runner: Literal["local", "slurm", "ray"] = "local"
    runner_arguments: tuple[str, ...] = ()  # slurm: of srun; ray: of `ray job submit`
    workers: int = 1  # runs at a time
    devices: tuple[str, ...] = ()  # local: CUDA_VISIBLE_DEVICES of each worker, in turn; none: left as it is
    env: dict[str, str] = field(default_factory=dict)  # environment of all runs
    # What the report asks a mixture law of these runs, by domain:
    targets: dict[str, float] = field(default_factory=dict)  # weights of the losses to make small; {}: all alike
    bounds: dict[str, tuple[float, ...]] = field(default_factory=dict)  # least and largest share; {}: 0 to 1
    natural: dict[str, float] = field(default_factory=dict)  # shares to compare with; {}: the mean of the runs

    def __post_init__(self) -> None:
        for name in ("config", "sizes", "data", "budgets", "seeds"):
            if not getattr(self, name):
                raise ConfigError(f"{name}: a sweep needs it; see docs/planning.md")
        for name, things in (("sizes", self.sizes), ("data", self.data)):
            names = [thing.name for thing in things]
            if twice := [one for i, one in enumerate(names) if one in names[:i]]:
                raise ConfigError(f"{name}: {twice[0]!r} is there twice; runs are told apart by these names")
        if min(self.budgets) < 1 or not 0 < self.decay_share < 1 or self.workers < 1:
            raise ConfigError("budgets and workers are at least 1, decay_share lies between 0 and 1")
        if wrong := [name for name, ends in self.bounds.items() if len(ends) != 2]:
            raise ConfigError(f"bounds.{wrong[0]}: a least and a largest share are needed, as (0.1, 0.5)")
        if wrong := [name for name, (low, high) in self.bounds.items() if not 0 <= low <= high <= 1]:
            raise ConfigError(
                f"bounds.{wrong[0]}: {self.bounds[wrong[0]]} are no least and largest share within 0 and 1"
            )
        for name, weights in (("targets", self.targets), ("natural", self.natural)):
            if weights and (min(weights.values()) < 0 or not sum(weights.values()) > 0):
                raise ConfigError(f"{name}: {weights}: none may be negative, and one must be above 0")
        if self.branch and min(self.budgets) < 2:
            raise ConfigError(
                "budgets: a branched budget has two blocks at least, one stable and one to decay; branch=False"
            )

    def decay_blocks(self, budget: int) -> int:
        return max(round(self.decay_share * budget), 1)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One call of `maxlm train`."""

    name: str  # of its folder
    arguments: tuple[str, ...]  # of `maxlm train`, without what a branch adds
    size: str
    data: Data
    learning_rate: float | None
    seed: int
    blocks: int
    trunk: str = ""  # the job that it branches from
    branch_block: int = 0  # blocks of the trunk that stand before it
    is_trunk: bool = False  # its own loss is that of no budget


def base() -> ml_collections.ConfigDict:
    """All keys of a sweep with their defaults, for a sweep file to change."""
    values = {
        one.name: one.default if one.default is not dataclasses.MISSING else {} for one in dataclasses.fields(Sweep)
    }
    return ml_collections.ConfigDict(to_plain(values), type_safe=False).lock()


def shape(embed: int, layers: int, mlp: int, head_dim: int) -> tuple[str, ...]:
    """Keys of a size whose heads all have keys of their own, for a sweep file's `sizes`."""
    heads = embed // head_dim
    keys = {"embed": embed, "num_layers": layers, "mlp": mlp, "num_heads": heads, "num_kv_heads": heads}
    return tuple(f"model.{key}={value}" for key, value in {**keys, "head_dim": head_dim}.items())


def jobs(sweep: Sweep) -> list[Job]:
    """All runs of a sweep, each after the trunk that it needs; small before large.

    Raises:
      ConfigError, DataError: a data set that cannot be read, or a size for which there is no shape.
    """
    found = []
    rates: tuple[float | None, ...] = sweep.learning_rates or (None,)
    for size, data, rate, seed in itertools.product(sweep.sizes, sweep.data, rates, sweep.seeds):
        name = "-".join([size.name, data.name, *([] if rate is None else [f"lr{rate:g}"]), f"seed{seed}"])
        found += _family(sweep, name, size, data, rate, seed)
    return found


def _family(sweep: Sweep, name: str, size: Size, data: Data, rate: float | None, seed: int) -> list[Job]:
    """The runs of all budgets of one size, data set, learning rate and seed."""
    given = (*sweep.set, *_shape(size, data))
    shared: dict[str, Any] = {"data.dataset": data.dataset, "train.seed": seed}
    if rate is not None:
        shared["optimizer.learning_rate"] = rate
    labels: dict[str, Any] = {"size": size.name, "data": data, "learning_rate": rate, "seed": seed}
    if not sweep.branch:
        return [
            Job(f"{name}-{budget}", _line(sweep, given, {**shared, "data.num_blocks": budget}), blocks=budget, **labels)
            for budget in sweep.budgets
        ]
    stable = {budget: budget - sweep.decay_blocks(budget) for budget in sweep.budgets}
    longest = max(stable.values())
    trunk_keys = {**shared, "schedule.name": "wsd", "schedule.decay_share": 0.0, "data.num_blocks": longest}
    trunk = Job(f"{name}-trunk", _line(sweep, given, trunk_keys), blocks=longest, is_trunk=True, **labels)
    found = [trunk]
    for budget in sorted(sweep.budgets):
        stages = [
            {"name": "stable", "blocks": stable[budget]},
            {"name": "decay", "changes": {"schedule.name": "linear"}},
        ]
        keys = {**trunk_keys, "data.num_blocks": budget, "stages": stages}
        branch = {"trunk": trunk.name, "branch_block": stable[budget]}
        found.append(Job(f"{name}-{budget}", _line(sweep, given, keys), blocks=budget, **branch, **labels))
    return found


def _shape(size: Size, data: Data) -> tuple[str, ...]:
    if not size.params:
        return size.set
    vocab = load_dataset(as_path(data.dataset) / "dataset.json").vocab_size
    model = suggest(size.params, Wishes(vocab_size=vocab))
    return (*(f"model.{name}={getattr(model, name)}" for name in _SHAPE), *size.set)


def _line(sweep: Sweep, given: Sequence[str], keys: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"--config={sweep.config}",
        *(f"--config.{one}" for one in (*given, *(f"{k}={v}" for k, v in keys.items()))),
    )


def saved_share(sweep: Sweep) -> float:
    """Share of the blocks that branching saves against a run of its own for each budget."""
    if not sweep.branch:
        return 0.0
    decays = sum(map(sweep.decay_blocks, sweep.budgets))
    longest = max(budget - sweep.decay_blocks(budget) for budget in sweep.budgets)
    return 1 - (longest + decays) / math.fsum(sweep.budgets)
