"""`maxlm status --workdir=RUN`"""

import argparse

from rich.console import Console
from rich.table import Table

from maxlm.blocks.reader import BlockStore
from maxlm.config import Overrides
from maxlm.errors import DataError, UserError
from maxlm.paths import as_path
from maxlm.report.collect import MEMORY, RunRecord, collect_run
from maxlm.report.forgetting import TITLES, Forgetting, forgetting_of, sentence
from maxlm.report.goodput import Goodput, goodput_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--data", action="store_true", help="what it was trained on: blocks, tokens, documents")
    parser.add_argument("--step", type=int, metavar="S", help="with --data: up to this step; all by default")


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    workdir = as_path(arguments.workdir)
    if not (workdir / "journal.jsonl").exists():
        raise DataError(f"{workdir}: not a run (no journal.jsonl)")
    record = collect_run(workdir)
    console = Console()
    if arguments.step is not None and not arguments.data:
        raise UserError("--step goes with --data")
    if arguments.data:
        _show_data(record, arguments.step, console)
        return
    console.print(_summary(record))
    console.print(_blocks(record))
    if found := forgetting_of(record):
        console.print(_forgetting(record, found))
    if account := goodput_of(workdir):
        console.print(_goodput(account))


def _summary(record: RunRecord) -> Table:
    table = Table(title=str(record.workdir), show_header=False)
    rows = {
        "state": record.state,
        "step": f"{record.step} of {record.total_steps}" if record.total_steps else str(record.step),
        "blocks done": f"{record.blocks_done} of {record.config['data']['num_blocks']}",
        "stage": record.stages[-1]["stage"] if record.stages else "the only one",
        "left out": ", ".join(map(str, record.skipped)) or "none",
        "checkpoints": ", ".join(map(str, record.checkpoints)) or "none",
        "rollbacks": str(len(record.rollbacks)),
        "alarms": _alarms(record),
        "data set": record.config["data"]["dataset"],
    }
    if record.metrics:
        last = record.metrics[-1]
        rows["loss"] = f"{last['loss']:.4f} at step {last['step']}"
        rows["tokens/s"] = (
            f"{last['tokens_per_s']:,.0f} (MFU {last['mfu']:.1%}, waits for data {last['data_wait_share']:.2%})"
        )
        if "step_s/p50" in last:
            rows["a step"] = "  ".join(
                f"{name} {last[f'step_s/{name}']:.3g} s" for name in ("p50", "p90", "p99", "max")
            )
        rows |= {words: f"{last[key]:.2f} GiB" for key, words in MEMORY.items() if key in last}
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _show_data(record: RunRecord, step: int | None, console: Console) -> None:
    """Blocks and their tokens by domain, what rollbacks undid left out."""
    store = BlockStore(record.config["data"]["dataset"])
    blocks = [block for block in record.blocks if not block.undone and (step is None or block.step <= step)]
    there = [block for block in blocks if store.has(block.block)]
    manifests = {block.block: store.manifest(block.block) for block in there}
    table = Table(title=f"trained on, up to step {record.step if step is None else step}; tokens")
    for name in ("block", "stage", "step", "documents", "all", *store.info.domains):
        table.add_column(name, justify="right", overflow="fold")  # a number is never cut short
    totals = dict.fromkeys(("documents", "all", *store.info.domains), 0)
    for block in blocks:
        if (manifest := manifests.get(block.block)) is None:
            table.add_row(str(block.block), "gone", str(block.step))
            continue
        counts = {"documents": manifest.documents, "all": manifest.account.written, **manifest.domain_tokens}
        totals = {name: totals[name] + counts.get(name, 0) for name in totals}
        cells = [f"{counts.get(name, 0):,}" for name in totals]
        table.add_row(str(block.block), manifest.stage, str(block.step), *cells)
    table.add_section()
    table.add_row("sum", "", "", *(f"{total:,}" for total in totals.values()))
    console.print(table)
    if record.skipped:
        console.print(f"left out: block {', '.join(map(str, record.skipped))}")
    if blocks:
        numbers = ",".join(str(block.block) for block in blocks)
        console.print(
            "each document, and how often: maxlm-data ledger "
            f"--dataset={store.dataset} --blocks={numbers} --list=documents.parquet",
            soft_wrap=True,
        )


def _alarms(record: RunRecord) -> str:
    if not record.alarms:
        return "none"
    last = record.alarms[-1]
    return f"{len(record.alarms)}, the last at step {last['step']}: {last['detector']} ({last['policy']})"


def _blocks(record: RunRecord) -> Table:
    table = Table(title="blocks, in the order in which they were trained on")
    for name in ("block", "ended at step", "validation loss", "outcome"):
        table.add_column(name, justify="right")
    for block in record.blocks:
        loss = "–" if block.validation_loss is None else f"{block.validation_loss:.4f}"
        table.add_row(str(block.block), str(block.step), loss, "rolled back" if block.undone else "kept")
    return table


def _forgetting(record: RunRecord, found: list[Forgetting]) -> Table:
    table = Table(title=sentence(record, found))
    for name in TITLES:
        table.add_column(name, justify="left" if name == "domain" else "right")
    for one in found:
        table.add_row(*one.cells())
    return table


def _goodput(account: Goodput) -> Table:
    starts = "one start" if account.starts == 1 else f"{account.starts} starts"
    table = Table(title=f"goodput {account.share:.1%}: where {account.wall_s:,.0f} s in {starts} went")
    table.add_column("")
    for name in ("seconds", "share"):
        table.add_column(name, justify="right")
    for words, seconds, share in account.rows():
        table.add_row(words, f"{seconds:,.1f}", f"{share:.1%}")
    return table
