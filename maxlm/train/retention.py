"""Which checkpoints stay. Rules add up: one that any rule keeps stays. A new rule is a function and a line in RULES."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from maxlm.train.config import CheckpointConfig


@dataclass(frozen=True)
class Saved:
    """What the rules look at."""

    step: int
    blocks_done: int
    ends_block: bool  # not in the middle of one
    ends_stage: bool = False
    loss: float | None = None  # on held-out text


def to_remove(saved: Sequence[Saved], config: CheckpointConfig, verified: int = -1) -> list[int]:
    """The steps of the checkpoints that may go.

    Args:
      saved: all of them, ascending by step.
      verified: step of the last one that was restored and found whole; it never goes, nor does the newest.
    """
    if not config.keep:
        return []
    kept = {verified} | {one.step for one in saved[-1:]}
    for rule in RULES:
        kept |= {one.step for one in rule(saved, config)}
    return [one.step for one in saved if one.step not in kept]


def _newest(saved: Sequence[Saved], config: CheckpointConfig) -> Sequence[Saved]:
    return saved[-config.keep :]


def _every(saved: Sequence[Saved], config: CheckpointConfig) -> Sequence[Saved]:
    n = config.keep_every_blocks
    return [one for one in saved if n and one.ends_block and one.blocks_done % n == 0]


def _stage_ends(saved: Sequence[Saved], config: CheckpointConfig) -> Sequence[Saved]:
    return [one for one in saved if config.keep_stage_ends and one.ends_stage]


def _best(saved: Sequence[Saved], config: CheckpointConfig) -> Sequence[Saved]:
    judged = [(one.loss, one) for one in saved if one.loss is not None]
    return [one for _, one in sorted(judged, key=lambda pair: pair[0])[: config.keep_best]]


def _spread(saved: Sequence[Saved], config: CheckpointConfig) -> Sequence[Saved]:
    """Of each stretch of blocks as long as all that came after it, the oldest: 1, 2, 4, 8, … blocks back."""
    ends = [one for one in saved if one.ends_block]
    if not config.keep_spread or not ends:
        return []
    oldest: dict[int, Saved] = {}
    for one in reversed(ends):  # the oldest of each stretch is the last to write
        oldest[(ends[-1].blocks_done - one.blocks_done).bit_length()] = one
    return list(oldest.values())


RULES: tuple[Callable[[Sequence[Saved], CheckpointConfig], Sequence[Saved]], ...] = (
    _newest,
    _every,
    _stage_ends,
    _best,
    _spread,
)
