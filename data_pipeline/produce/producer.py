"""The data process: keeps finished blocks ahead of the training runs, and goes on from any interruption.

All that decides a block's bytes is on the disk (documents, tokenizer, ledger, journal of skips) or in the config; so
whatever was killed, and whatever the number of threads, the same seed gives the same blocks.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.document import TOKENIZER, VALIDATION
from data_pipeline.mix import audit, forecast, schedule
from data_pipeline.mix.corpus import Corpus
from data_pipeline.mix.filter import columns_asked
from data_pipeline.mix.ledger import Ledger, skipped_blocks
from data_pipeline.produce.build import Builder
from data_pipeline.produce.config import ProduceConfig
from data_pipeline.produce.crew import make_crew
from data_pipeline.produce.parts import Parts
from data_pipeline.produce.progress import Progress
from data_pipeline.produce.stopping import Stopped, StopSignal
from maxlm.blocks.manifest import DatasetInfo, Manifest, load_dataset, save
from maxlm.blocks.reader import BlockStore, ReaderPosition, last_report_s, reading_positions
from maxlm.blocks.writer import remove_block
from maxlm.config import to_dict
from maxlm.errors import ConfigError, DataError, naming_full_disk
from maxlm.paths import PathLike, as_path, exclusive
from maxlm.tokenizer.base import Tokenizer
from maxlm.tokenizer.load import load_tokenizer

_TAKEN = "{}: another producer is at work on this data set; let it go on, or stop it first"


def run(config: DataConfig, dataset: PathLike) -> int:
    """Produces blocks until config.produce.num_blocks stand, all training runs are finished, or a signal comes.

    Returns:
      How many blocks this call wrote.

    Raises:
      UserError: another producer is at work.
      ConfigError: sizes or a mixture that can't be.
      DataError: no documents or tokenizer, or a data set that was begun with other sizes.
      DiskFullError: no space; nothing half written remains.
    """
    made = 0
    with _opened(config, dataset) as (builder, stop, progress):
        corpus = builder.corpus
        try:
            foretold = builder.foretell()
            progress.say(f"{len(corpus):,} documents, {int(corpus.held_out.sum()):,} of them held out for validation")
            for line in forecast.warnings(foretold):
                progress.say(line)
            # A mixture that can't be, or a ledger that is out of step, is told before any block is made.
            forecast.check(foretold, config)
            ledger = Ledger(dataset, corpus.digest, len(corpus))
            audit.check(ledger, dataset)
            _begin(builder, progress)
            for _ in _blocks(config, builder, ledger, stop, progress):
                made += 1
        except Stopped as reason:
            progress.say(f"stopped by {reason}; the same command goes on from here")
    return made


def dry_run(config: DataConfig, dataset: PathLike) -> forecast.Forecast:
    """What `run` would use, foretold; nothing is written but the index of documents.

    Raises:
      UserError, ConfigError, DataError: as `run`.
    """
    with _opened(config, dataset) as (builder, _, _):
        return builder.foretell()


@contextmanager
def _opened(config: DataConfig, dataset: PathLike) -> Iterator[tuple[Builder, StopSignal, Progress]]:
    """All that blocks are made from, with the data set held for this process alone."""
    dataset = as_path(dataset)
    if not dataset.exists():
        raise DataError(f"{dataset}: no such folder; run maxlm-data ingest, clean, dedup and tokenizer first")
    with ExitStack() as stack:
        stack.enter_context(exclusive(dataset / "producer.lock", _TAKEN.format(dataset)))
        progress = stack.enter_context(Progress())
        progress.working("reading the documents")
        corpus = Corpus(dataset, config.produce.holdout, *columns_asked(config))
        tokenizer = load_tokenizer(dataset / TOKENIZER)
        info = _described(config, dataset, tokenizer, corpus)
        # Only from here on there is work to leave in order.
        stop = stack.enter_context(StopSignal())
        crew = stack.enter_context(closing(make_crew(config, dataset, info, corpus, tokenizer, stop.check)))
        parts = Parts(corpus, crew, config.produce.parts)
        yield Builder(config, dataset, info, corpus, tokenizer, parts, stop.check), stop, progress


def _begin(builder: Builder, progress: Progress) -> None:
    """The validation block, then dataset.json: whoever waits for the latter finds the former."""
    path = as_path(builder.dataset) / "dataset.json"
    if path.exists() and BlockStore(builder.dataset, VALIDATION).has(0):
        return
    progress.working("validation block")
    if manifest := builder.validation():
        progress.finished("validation", manifest, 0.0)
    if not path.exists():
        with naming_full_disk("the description of a data set", path):
            save(path, builder.info)


def _blocks(
    config: DataConfig, builder: Builder, ledger: Ledger, stop: StopSignal, progress: Progress
) -> Iterator[Manifest]:
    """The loop: settle the ledger, see what is wanted next, make it or wait."""
    store, waited_s, begun = BlockStore(builder.dataset), 0.0, int(time.time())
    while True:
        skipped = skipped_blocks(builder.dataset)
        for block, sign in ledger.reconcile(store.has, skipped).items():
            if sign < 0:
                progress.say(f"block {block} was skipped: its documents' uses are given back")
        readers = reading_positions(builder.dataset)
        done = readers and all(reader.finished for reader in readers.values())
        if done and last_report_s(builder.dataset) >= begun:  # runs that finished before this began say nothing
            progress.say(f"all training runs are finished ({', '.join(readers)})")
            return
        if config.produce.remove_passed:
            _remove_passed(store, readers, progress)
        block = next_block(config, store, skipped, readers)
        if block is None and _complete(config, store, skipped, readers):
            return
        if block is None:
            progress.waiting(readers)
            waited_s += stop.wait(config.produce.poll_s)
            continue
        progress.working(f"block {block}")
        start = time.monotonic()
        manifest = builder.block(block, ledger)
        progress.finished(f"block {block}", manifest, time.monotonic() - start, waited_s)
        waited_s = 0.0
        yield manifest


def next_block(
    config: DataConfig, store: BlockStore, skipped: set[int], readers: dict[str, ReaderPosition]
) -> int | None:
    """The lowest block that is wanted and not there; None if the training runs have enough ahead of them.

    Wanted are the blocks from the rearmost reader's to `ahead` blocks, skipped ones not counted, past the foremost
    reader's. A data set that nobody reads yet counts as read at block 0.
    """
    at = [reader.block for reader in readers.values() if not reader.finished] or [0]
    ahead, block = 0, min(at)
    while ahead < config.produce.ahead or block <= max(at):
        if 0 < config.produce.num_blocks <= block:
            return None
        if block not in skipped:
            if not store.has(block):
                return block
            ahead += block > max(at)
        block += 1
    return None


def _remove_passed(store: BlockStore, readers: dict[str, ReaderPosition], progress: Progress) -> None:
    """Removes the blocks before those that any run, a finished one too, would read after its oldest checkpoint.

    One that is wanted all the same (a run began anew) is made again, of the same documents and bytes.
    """
    for block in store.finished():
        if block < min((reader.oldest for reader in readers.values()), default=0):
            remove_block(store.folder(block))
            progress.say(f"block {block}: removed, all runs have passed it")


def _complete(config: DataConfig, store: BlockStore, skipped: set[int], readers: dict[str, ReaderPosition]) -> bool:
    """Whether all of config.produce.num_blocks that a reader may still ask for stand."""
    first = min((reader.block for reader in readers.values()), default=0)
    count = config.produce.num_blocks
    return count > 0 and all(block in skipped or store.has(block) for block in range(first, count))


def _described(config: DataConfig, dataset: PathLike, tokenizer: Tokenizer, corpus: Corpus) -> DatasetInfo:
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
        rows=tuple(_rows(produce, size // unit) for size in produce.sizes),
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
    for name in ("pack", "overlap", "parts"):
        began = before.creation.get("produce", {}).get(name, getattr(produce, name))
        if began != getattr(produce, name):
            raise DataError(
                f"{path}: this data set was begun with config.produce.{name}={began}, and now it would be "
                f"{getattr(produce, name)}: a block written again would differ; go back to that, or use another folder"
            )
    held_out = before.creation.get("produce", {}).get("holdout", produce.holdout)
    if held_out != produce.holdout:
        raise DataError(
            f"{path}: this data set was begun with config.produce.holdout={held_out}, and now it would be "
            f"{produce.holdout}: held-out documents would be trained on; go back to that, or use another folder"
        )
    return before


def _rows(produce: ProduceConfig, units: int) -> dict[str, int]:
    """Rows of each length in a block of `units` batches of row_multiple rows of seq_len, or as many shorter ones."""
    if not produce.row_lengths:
        return {str(produce.seq_len): units * produce.row_multiple}
    lengths = sorted(produce.row_lengths, key=int, reverse=True)
    parts = schedule.budgets(np.array([produce.row_lengths[length] for length in lengths]), units)
    if not parts.all():
        short = lengths[int(np.argmin(parts))]
        raise ConfigError(
            f"config.produce.row_lengths: {units} batches of {produce.row_multiple} rows of seq_len are too few for a "
            f"share of {produce.row_lengths[short]:g} of rows of {short}; larger blocks, or a smaller row_multiple"
        )
    each = {length: produce.row_multiple * (produce.seq_len // int(length)) for length in lengths}
    return {str(int(length)): int(part) * each[length] for length, part in zip(lengths, parts, strict=True)}


def _shown(value: object) -> str:
    return value[:12] if isinstance(value, str) else str(list(value) if isinstance(value, tuple) else value)
