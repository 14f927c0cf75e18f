"""What dataset.json says of a data set: sizes, domains, and the rows of each block."""

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.mix import schedule
from data_pipeline.mix.corpus import Corpus
from data_pipeline.produce.config import ProduceConfig
from maxlm.blocks.manifest import DatasetInfo, load_dataset
from maxlm.config import to_dict
from maxlm.errors import ConfigError, DataError
from maxlm.paths import PathLike, as_path
from maxlm.tokenizer.base import Tokenizer


def describe(config: DataConfig, dataset: PathLike, tokenizer: Tokenizer, corpus: Corpus) -> DatasetInfo:
    """What dataset.json says, or is going to say. Once it is there, all later runs are held to it."""
    produce, path = config.produce, as_path(dataset) / "dataset.json"
    unit = produce.row_multiple * (produce.seq_len + 1)
    if min(produce.sizes) < unit:
        raise ConfigError(
            f"config.produce.block_tokens: {min(produce.sizes)} is less than row_multiple {produce.row_multiple} "
            f"rows of seq_len + 1 tokens ({unit})"
        )
    now = DatasetInfo(
        tokenizer_digest=tokenizer.digest,
        vocab_size=tokenizer.vocab_size,
        seq_len=produce.seq_len,
        rows=_rows_of_blocks(config),
        domains=corpus.domains,
        creation=to_dict(config),
    )
    if not path.exists():
        return now
    before = load_dataset(path)
    for name in ("tokenizer_digest", "vocab_size", "seq_len", "rows", "domains"):
        if getattr(before, name) != getattr(now, name):
            raise DataError(
                f"{path}: this data set was begun with {name} {_shown(getattr(before, name))}, and now it would be "
                f"{_shown(getattr(now, name))}; go back to that, or produce into another folder"
            )
    same = [("produce", produce, name) for name in ("pack", "overlap", "parts")]
    same += [("conversations", config.conversations, name) for name in ("learn", "too_long")]
    for group, values, name in same:
        began, wanted = before.creation.get(group, {}).get(name, getattr(values, name)), getattr(values, name)
        if began != wanted:
            raise DataError(
                f"{path}: this data set was begun with config.{group}.{name}={began}, and now it would be "
                f"{wanted}: a block written again would differ; go back to that, or use another folder"
            )
    held_out = before.creation.get("produce", {}).get("holdout", produce.holdout)
    if held_out != produce.holdout:
        raise DataError(
            f"{path}: this data set was begun with config.produce.holdout={held_out}, and now it would be "
            f"{produce.holdout}: held-out documents would be trained on; go back to that, or use another folder"
        )
    return before


def _rows_of_blocks(config: DataConfig) -> tuple[dict[str, int], ...]:
    """Rows of each length in block 0, 1, … until nothing changes any more: sizes by number, lengths by stage."""
    produce, stages = config.produce, schedule.stages(config)
    unit, found, start = produce.row_multiple * (produce.seq_len + 1), [], 0
    while True:
        units = produce.sizes[min(len(found), len(produce.sizes) - 1)] // unit
        stage = schedule.stage_of(stages, start, units * unit)
        found.append(_rows(produce, stages[stage].row_lengths or produce.row_lengths, units))
        start += sum(count * (int(length) + 1) for length, count in found[-1].items())
        if len(found) >= len(produce.sizes) and stage == len(stages) - 1:
            break
    while len(found) > 1 and found[-1] == found[-2]:  # the last entry holds for all that follow
        found.pop()
    return tuple(found)


def _rows(produce: ProduceConfig, row_lengths: dict[str, float], units: int) -> dict[str, int]:
    """Rows of each length in a block of `units` batches of row_multiple rows of seq_len, or as many shorter ones."""
    if not row_lengths:
        return {str(produce.seq_len): units * produce.row_multiple}
    lengths = sorted(row_lengths, key=int, reverse=True)
    parts = schedule.budgets(np.array([row_lengths[length] for length in lengths]), units)
    if not parts.all():
        short = lengths[int(np.argmin(parts))]
        raise ConfigError(
            f"config.produce.row_lengths: {units} batches of {produce.row_multiple} rows of seq_len are too few for a "
            f"share of {row_lengths[short]:g} of rows of {short}; larger blocks, or a smaller row_multiple"
        )
    each = {length: produce.row_multiple * (produce.seq_len // int(length)) for length in lengths}
    return {str(int(length)): int(part) * each[length] for length, part in zip(lengths, parts, strict=True)}


def _shown(value: object) -> str:
    return value[:12] if isinstance(value, str) else str(list(value) if isinstance(value, tuple) else value)
