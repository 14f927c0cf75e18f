"""What a run will use, foretold from totals before anything is written: what runs out first, and what is repeated when.

Documents of a pool count as used evenly, as selection does it; with config.select.decay that holds on average only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from data_pipeline.config import DataConfig
from data_pipeline.mix import schedule
from data_pipeline.mix.config import StageConfig
from data_pipeline.mix.pools import Pools
from maxlm.errors import ConfigError

_MOST_BLOCKS = 1000  # looked ahead where a run has no end
_STEPS = 50  # of the bisection: exact to 2^-50 of the uses
_EVEN = 1e-9  # a rounding error, no use


@dataclass(frozen=True)
class Forecast:
    """A run, block by block. `names` are those that config.mixture goes by.

    Attributes:
      tokens, stage: of each block, `[blocks]`.
      size: tokens of each name's documents, `[names]`; documents: how many they are.
      taken: tokens of each name in each block, float64 `[blocks, names]`.
      uses, most_uses: of a document after each block, on average and in the most used pool, `[blocks, names]`.
      full: after which block nothing of a name may be used any more; -1: never, `[names]`.
      lasts: how many blocks can be made; fewer than asked for where documents run out.
      short: the names that the block after them has too little of.
    """

    names: tuple[str, ...]
    stages: tuple[str, ...]
    tokens: np.ndarray
    stage: np.ndarray
    size: np.ndarray
    documents: np.ndarray
    taken: np.ndarray
    uses: np.ndarray
    most_uses: np.ndarray
    full: np.ndarray
    lasts: int
    short: tuple[str, ...]

    def used_up(self) -> np.ndarray:
        """After which block each document of a name was used once; -1: not in this run, `[names]`."""
        done = self.uses >= 1 - _EVEN
        return np.where(done.any(axis=0), done.argmax(axis=0), -1)


def blocks_of(config: DataConfig, pools: Pools, domain_ratios: np.ndarray, block_tokens: int) -> int:
    """How many blocks to look at: the run's, else the stages', else until all text could have been used twice."""
    if config.produce.num_blocks:
        return config.produce.num_blocks
    total = sum(stage.tokens for stage in config.stages)
    if not total:
        total = 2 * int((pools.bytes / domain_ratios[pools.codes["domain"]]).sum())
        return int(np.clip(-(-total // block_tokens), 1, _MOST_BLOCKS))
    return max(1, round(total / block_tokens))


def foretell(
    config: DataConfig, pools: Pools, domain_ratios: np.ndarray, block_tokens: Sequence[int] | np.ndarray
) -> Forecast:
    """Plays a run on totals.

    Args:
      domain_ratios: bytes per token of each domain.
      block_tokens: tokens of each block.
    """
    stages = schedule.stages(config)
    size = pools.bytes / domain_ratios[pools.codes["domain"]]  # tokens
    by, names = config.mixture.by, pools.names[config.mixture.by]
    of_name = pools.codes[by]
    name_size = np.bincount(of_name, size, minlength=len(names))
    used = np.zeros(len(size))
    count = len(block_tokens)
    taken, uses, most = (np.zeros((count, len(names))) for _ in range(3))
    stage_of, full, start, lasts = np.zeros(count, np.int64), np.full(len(names), -1), 0, count
    short: tuple[str, ...] = ()
    for block, tokens in enumerate(np.asarray(block_tokens).tolist()):
        number = stage_of[block] = schedule.stage_of(stages, start, tokens)
        gained, short = _take(stages[number], number, pools, size, used, start, tokens)
        if short:
            lasts = block
            break
        used += gained
        start += tokens
        taken[block] = np.bincount(of_name, gained, minlength=len(names))
        uses[block] = np.bincount(of_name, used, minlength=len(names)) / np.maximum(name_size, _EVEN)
        np.maximum.at(most[block], of_name, used / np.maximum(size, _EVEN))
        mixture = schedule.mixture_of(stages[number])
        if mixture.by == by:
            cap = schedule.caps(mixture, names)
            full = np.where((full < 0) & (name_size > 0) & (uses[block] >= cap - 1e-6), block, full)
    return Forecast(
        names=names,
        stages=tuple(stage.name for stage in stages),
        tokens=np.asarray(block_tokens, np.int64),
        stage=stage_of,
        size=name_size,
        documents=np.bincount(of_name, pools.documents, minlength=len(names)).astype(np.int64),
        taken=taken[:lasts],
        uses=uses[:lasts],
        most_uses=most[:lasts],
        full=full,
        lasts=lasts,
        short=short,
    )


def _take(
    stage: StageConfig, number: int, pools: Pools, size: np.ndarray, used: np.ndarray, start: int, tokens: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Tokens that a block takes of each pool, the least used of a name first; and the names that lack some."""
    mixture = schedule.mixture_of(stage)
    names, codes = pools.names[mixture.by], pools.codes[mixture.by]
    share = schedule.shares(mixture, names, pools.sizes(mixture.by, number), start + tokens / 2)
    limit = np.minimum(schedule.caps(mixture, names)[codes].astype(np.float64), 1e12)
    room = np.where(pools.taken[number], np.maximum(limit * size - used, 0), 0)
    left = np.bincount(codes, room, minlength=len(names))
    wanted = share * tokens
    while (over := wanted > left + tokens * _EVEN).any():
        lacking = float((wanted - left)[over].sum())
        wanted = np.minimum(wanted, left)
        others = np.where(wanted < left - _EVEN, share, 0)
        if mixture.exhausted == "stop" or not others.any():
            return np.zeros(len(size)), tuple(np.array(names)[over].tolist())
        wanted = wanted + lacking * others / others.sum()
    # Raise each name's level of uses until its pools have taken what is wanted.
    level = used / np.maximum(size, _EVEN)
    low = np.zeros(len(names))
    high = np.full(len(names), float(level.max(initial=0)) + 1.0)
    high += wanted / np.maximum(np.bincount(codes, np.where(room > 0, size, 0), minlength=len(names)), _EVEN)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        filled = np.bincount(codes, _filled(middle[codes], level, size, room), minlength=len(names))
        enough = filled >= wanted
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return _filled(high[codes], level, size, room), ()


def _filled(height: np.ndarray, level: np.ndarray, size: np.ndarray, room: np.ndarray) -> np.ndarray:
    return np.clip((height - level) * size, 0, room)


def check(forecast: Forecast, config: DataConfig) -> None:
    """Raises ConfigError for a run that ends before its last block."""
    if not config.produce.num_blocks or forecast.lasts == len(forecast.tokens):
        return
    other = "" if config.mixture.exhausted == "redistribute" else ", config.mixture.exhausted='redistribute'"
    raise ConfigError(
        f"config.mixture: documents last for {forecast.lasts:,} of {len(forecast.tokens):,} blocks "
        f"({', '.join(forecast.short)} used up): "
        f"set config.produce.num_blocks to {forecast.lasts:,}, raise config.mixture.max_uses{other}, "
        "or bring more documents"
    )


def warnings(forecast: Forecast) -> list[str]:
    """A line for each name that is repeated or runs out, the first to do so first."""
    found: list[tuple[int, str]] = []
    last, used_up = forecast.lasts - 1, forecast.used_up()
    for i, name in enumerate(forecast.names):
        if forecast.full[i] >= 0 and forecast.full[i] < last:
            at = int(forecast.full[i])
            uses = forecast.uses[at, i]
            line = (
                f"{name} lasts until block {at} ({uses:.1f} uses of each document by then); then others take its place"
            )
            found.append((at, line))
        elif 0 <= used_up[i] < last:
            at, uses = int(used_up[i]), forecast.uses[last, i]
            found.append(
                (at, f"{name} was used once by block {at}, then it is repeated: {uses:.1f} uses by block {last}")
            )
    if forecast.lasts < len(forecast.tokens):
        found.append(
            (
                last,
                f"documents last for {forecast.lasts} blocks; then there is too little of {', '.join(forecast.short)}",
            )
        )
    return [line for _, line in sorted(found)]


def tables(forecast: Forecast, config: DataConfig) -> list[Table]:
    """What is foretold, by name and by stage.

    once by: the block after which each document was used once; until: that after which none may be used any more.
    """
    last, once = forecast.lasts - 1, forecast.used_up()
    if last < 0:
        return []
    table = Table("name", "docs", "tokens", "share", "taken", "uses", "most", "once by", "until")
    share = forecast.taken / np.maximum(forecast.taken.sum(axis=1, keepdims=True), _EVEN)
    for i in np.flatnonzero(forecast.documents).tolist():
        first, final = share[0, i], share[last, i]
        table.add_row(
            forecast.names[i],
            _short(forecast.documents[i]),
            _short(forecast.size[i]),
            f"{first:.1%}" if abs(first - final) < 5e-4 else f"{first:.1%}→{final:.1%}",
            _short(forecast.taken[:, i].sum()),
            f"{forecast.uses[last, i]:.2f}",
            f"{forecast.most_uses[last, i]:.2f}",
            _block(once[i]),
            _block(forecast.full[i]),
        )
    found, begin = [table], 0
    if config.stages:
        stage_table = Table("stage", "blocks", "tokens asked for", "in whole blocks")
        for number, stage in enumerate(config.stages):
            tokens = forecast.tokens[: forecast.lasts][forecast.stage[: forecast.lasts] == number]
            blocks = f"{begin:,}–{begin + len(tokens) - 1:,}" if len(tokens) else "none in this run"
            stage_table.add_row(stage.name, blocks, f"{stage.tokens:,}", f"{tokens.sum():,}")
            begin += len(tokens)
        found.append(stage_table)
    return found


def _short(number: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"


def _block(number: int) -> str:
    return f"{number:,}" if number >= 0 else ""
