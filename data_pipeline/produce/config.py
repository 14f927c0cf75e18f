"""What the producer can be told. Sizes in tokens as named."""

from dataclasses import dataclass, field
from typing import Literal

from maxlm.errors import ConfigError


@dataclass(frozen=True)
class ProduceConfig:
    seq_len: int = 512  # tokens of context; a row holds one more, the last target
    # Tokens of a block, rounded down to whole multiples of row_multiple rows; of several, one a block from the first
    # on, and the last one holds for all that follow.
    block_tokens: int | tuple[int, ...] = 1_000_000_000
    row_multiple: int = 8  # rows of a block are a multiple of this: the training batch, so that none is part empty
    pack: Literal["best_fit", "concatenate"] = "best_fit"  # how documents fall into rows: produce/pack.py
    overlap: int = 0  # best_fit: tokens of a document longer than a row that its next row repeats, as mere context
    # best_fit: length of rows -> share of a block's places, where some rows are to be shorter than seq_len, which each
    # length divides; {}: all rows are of seq_len
    row_lengths: dict[str, float] = field(default_factory=dict)
    num_blocks: int = 0  # stop after this many; 0: go on until the training run says it's finished
    ahead: int = 2  # finished blocks kept ahead of the training run
    remove_passed: bool = (
        False  # remove blocks before all runs' oldest checkpoints; asked for again, they are made again
    )
    shard_rows: int = 65_536  # rows of seq_len per array_record file; of shorter rows, as many more
    holdout: float = 0.01  # share of documents set aside for validation, by the hash of their id
    holdout_tokens: int = 10_000_000  # at most this many of them become the validation block
    seed: int = 0
    poll_s: float = 0.5  # how often to look whether the training run has moved on
    parts: int = 1  # of the documents, each made into rows of its own; the blocks depend on it
    workers: int = (
        0  # threads, or on Ray processes, that share the work; 0: one per core; the blocks do not depend on it
    )

    @property
    def sizes(self) -> tuple[int, ...]:
        """block_tokens as a list."""
        return (self.block_tokens,) if isinstance(self.block_tokens, int) else self.block_tokens

    def __post_init__(self) -> None:
        if self.seq_len < 2 or not self.sizes or min(self.sizes) < self.seq_len + 1:
            raise ConfigError("config.produce: a block must hold at least one row of seq_len + 1 tokens")
        if not 0 <= self.holdout < 1:
            raise ConfigError(f"config.produce.holdout: {self.holdout} is outside [0, 1)")
        for name in ("row_multiple", "shard_rows", "parts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"config.produce.{name}: {getattr(self, name)} is less than 1")
        if self.pack != "best_fit" and (self.overlap or self.row_lengths):
            raise ConfigError(
                "config.produce: overlap and row_lengths are for pack='best_fit'; 'concatenate' cuts a document "
                "wherever a row ends"
            )
        check_row_lengths("config.produce.row_lengths", self.row_lengths, self.seq_len)
        shortest = min(map(int, self.row_lengths), default=self.seq_len)
        if not 0 <= self.overlap <= shortest:
            raise ConfigError(
                f"config.produce.overlap: {self.overlap} is outside [0, {shortest}]: a row must hold something new"
            )


def check_row_lengths(key: str, row_lengths: dict[str, float], seq_len: int) -> None:
    """Raises ConfigError for lengths that do not divide `seq_len`, or shares that do not sum to 1."""
    for length, share in row_lengths.items():
        where = f"{key}: {length!r}"
        if not length.isdecimal() or int(length) < 2 or seq_len % int(length):
            raise ConfigError(f"{where} is no length of 2 or more that divides seq_len {seq_len}")
        if not 0 < share <= 1:
            raise ConfigError(f"{where}: a share of {share} is outside (0, 1]")
    total = sum(row_lengths.values())
    if row_lengths and abs(total - 1) > 1e-6:
        raise ConfigError(
            f"{key}: the shares sum to {total:g}, not 1; that of rows of seq_len ({seq_len}) counts among them"
        )
    if len({int(length) for length in row_lengths}) < len(row_lengths):
        raise ConfigError(f"{key}: a length is there twice")
