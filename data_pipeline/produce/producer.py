"""The data process: keeps finished blocks ahead of the training runs, and goes on from any interruption.

All that decides a block's bytes is on the disk (documents, tokenizer, ledger, journal of skips) or in the config; so
whatever was killed, and whatever the number of threads, the same seed gives the same blocks.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from data_pipeline.config import DataConfig
from data_pipeline.document import TOKENIZER, VALIDATION
from data_pipeline.mix import audit, forecast
from data_pipeline.mix.corpus import Corpus
from data_pipeline.mix.filter import columns_asked
from data_pipeline.mix.ledger import Ledger, skipped_blocks
from data_pipeline.produce.build import Builder
from data_pipeline.produce.crew import make_crew
from data_pipeline.produce.description import describe
from data_pipeline.produce.dialogue import keep_template
from data_pipeline.produce.parts import Parts
from data_pipeline.produce.progress import Progress
from data_pipeline.produce.stopping import Stopped, StopSignal
from maxlm.blocks.manifest import Manifest, save
from maxlm.blocks.reader import BlockStore, ReaderPosition, last_report_s, reading_positions
from maxlm.blocks.writer import remove_block
from maxlm.errors import DataError, naming_full_disk
from maxlm.paths import PathLike, as_path, exclusive
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
        keep_template(config.conversations, dataset, builder.tokenizer)
        try:
            foretold = builder.foretell()
            progress.say(f"{len(corpus):,} documents, {int(corpus.held_out.sum()):,} of them held out for validation")
            for line in forecast.warnings(foretold):
                progress.say(line)
            # A mixture that can't be, or a ledger that is out of step, is told before any block is made.
            forecast.check(foretold, config)
            ledger = Ledger(dataset, corpus.digest, len(corpus))
            audit.check(ledger, dataset)
            _begin(builder, ledger, progress)
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
        info = describe(config, dataset, tokenizer, corpus)
        # Only from here on there is work to leave in order.
        stop = stack.enter_context(StopSignal())
        crew = stack.enter_context(closing(make_crew(config, dataset, info, corpus, tokenizer, stop.check)))
        parts = Parts(corpus, crew, config.produce.parts)
        yield Builder(config, dataset, info, corpus, tokenizer, parts, stop.check, progress.say), stop, progress


def _begin(builder: Builder, ledger: Ledger, progress: Progress) -> None:
    """The validation block, then dataset.json: whoever waits for the latter finds the former.

    What can't be made of the documents is told before that: from then on the config is held to what it says now.
    """
    path = as_path(builder.dataset) / "dataset.json"
    held_out = BlockStore(builder.dataset, VALIDATION) if path.exists() else None
    lengths = builder.validation_lengths
    if held_out and all(held_out.has(number) for number in range(len(lengths))):
        return
    progress.working("validation block")
    for number, length in enumerate(lengths):
        if manifest := builder.validation(number, length):
            progress.finished("validation", manifest, 0.0)
    if not path.exists():
        builder.settle(ledger)
        with naming_full_disk("the description of a data set", path):
            save(path, builder.info)


def _blocks(
    config: DataConfig, builder: Builder, ledger: Ledger, stop: StopSignal, progress: Progress
) -> Iterator[Manifest]:
    """The loop: settle the ledger, see what is wanted next, make it or wait."""
    store, waited_s, begun = BlockStore(builder.dataset), 0.0, int(time.time())
    while True:
        skipped = skipped_blocks(builder.dataset)
        _forget_redrawn(ledger, store, progress)
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
        manifest = builder.block(block, ledger, store.draw(block))
        progress.finished(f"block {block}", manifest, time.monotonic() - start, waited_s)
        waited_s = 0.0
        yield manifest


def _forget_redrawn(ledger: Ledger, store: BlockStore, progress: Progress) -> None:
    """Undoes the blocks that are to be made anew, the last one first: files, then uses, then plan."""
    redraws = store.redraws()
    for block in reversed(ledger.planned()) if redraws else ():
        plan = ledger.plan(block)
        if plan and plan.draw < sum(first <= block for first in redraws):
            if store.has(block):
                remove_block(store.folder(block))
            ledger.forget(block)
            progress.say(f"block {block}: to be made anew; its documents' uses are given back")


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
