"""How fast a recipe cleans: MB/s of each operator by itself, and of the whole on one process and on two.

    python tools/bench_clean.py RECIPE.yaml FOLDER... [--mb=24] [--chars=5000]

FOLDERs hold text, which is cut at blank lines into documents of at least `--chars` characters, web pages' size.
A step's time is what it takes on the documents that reach it, as the steps before left them; analyses that steps share
count for the first that asks, and seconds are the CPU's. MB are of UTF-8 text that goes into the recipe.
"""

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pages import pages

from data_pipeline import ingest, recipe
from data_pipeline.config import DataConfig, OperatorConfig, SourceConfig
from data_pipeline.document import DOCUMENT
from data_pipeline.operators.base import Draft, judge

PARTITION_DOCUMENTS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--mb", type=float, default=24)
    parser.add_argument("--chars", type=int, default=5000)
    args = parser.parse_args()
    steps = [OperatorConfig(**step) for step in recipe.read(args.recipe)]
    domain = (steps[0].domains or ("en",))[0]
    tables, size = partitions(args.folders, int(args.mb * 1e6), args.chars, domain)
    documents = sum(table.num_rows for table in tables)
    print(f"{args.recipe.name}: {documents} documents, {size / 1e6:.1f} MB")
    recipe.clean(steps, tables[0])  # what is loaded once
    by_step(steps, tables, size)
    answers: list[tuple[float, list[str | None]]] = []
    for processes in (1, 2):
        with multiprocessing.get_context("spawn").Pool(processes, _warm, (steps, tables[0])) as pool:
            pool.map(_nothing, range(processes), chunksize=1)
            start = time.perf_counter()
            answers = list(pool.imap_unordered(_Clean(steps), tables))
            seconds = time.perf_counter() - start
        cpu = sum(used for used, _ in answers)
        print(
            f"{processes} process(es): {size / 1e6 / seconds:.1f} MB/s, {documents / seconds:.0f} documents/s; "
            f"{size / 1e6 / cpu:.1f} MB to a CPU second"
        )
    as_stage(steps, tables, size, domain)
    reasons = Counter(reason for _, found in answers for reason in found)
    kept = reasons.pop(None, 0)
    print(f"kept {kept} of {documents}; dropped: " + ", ".join(f"{name} {n}" for name, n in reasons.most_common()))


def partitions(folders: Sequence[Path], size: int, chars: int, domain: str) -> tuple[list[pa.Table], int]:
    """Tables of documents from all folders, `size` bytes of text in a seeded order; and the bytes they hold."""
    texts = [text for folder in folders for text in pages(folder, chars)]
    random.Random(0).shuffle(texts)
    rows, total = [], 0
    for text in texts:
        if total >= size:
            break
        total += len(text.encode())
        rows.append({"id": str(len(rows)), "text": text, "source": "bench", "domain": domain, "language": domain})
    starts = range(0, len(rows), PARTITION_DOCUMENTS)
    tables = [pa.Table.from_pylist(rows[start : start + PARTITION_DOCUMENTS], DOCUMENT) for start in starts]
    return tables, total


def by_step(steps: Sequence[OperatorConfig], tables: Sequence[pa.Table], size: int) -> None:
    """Prints what each step took of the documents' time."""
    drafts = [
        Draft(row["text"], row["domain"], row["language"], row["source"])
        for table in tables
        for row in table.select(["text", "domain", "language", "source"]).to_pylist()
    ]
    for config, operator in recipe.build(steps):
        bytes_in = sum(len(draft.text.encode()) for draft in drafts)
        start = time.process_time()
        verdicts = [judge(draft, [(config.name, operator, config.action)]) for draft in drafts]
        seconds = time.process_time() - start
        gone = sum(verdict.finding is not None for verdict in verdicts)
        print(
            f"  {config.name:24} {bytes_in / 1e6 / seconds:8.1f} MB/s of what reaches it, "
            f"{1e9 * seconds / size:6.1f} ns to a byte of all; drops {gone} of {len(drafts)}"
        )
        drafts = [draft for draft, verdict in zip(drafts, verdicts, strict=True) if verdict.finding is None]


def as_stage(steps: Sequence[OperatorConfig], tables: Sequence[pa.Table], size: int, domain: str) -> None:
    """Prints how fast `maxlm-data clean` does the same, with its reading, writing and processes, on all cores."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        with rows.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": text.as_py()}) + "\n" for table in tables for text in table["text"])
        sources = (SourceConfig(str(rows), domain=domain),)
        config = DataConfig(sources=sources, recipe=tuple(steps), partitions=16)
        ingest.run(config, folder)
        start = time.perf_counter()
        recipe.run(config, folder)
        print(f"maxlm-data clean: {size / 1e6 / (time.perf_counter() - start):.1f} MB/s on {os.cpu_count()} cores")


class _Clean:
    """Cleans a table in another process; answers the CPU seconds and what dropped each document."""

    def __init__(self, steps: Sequence[OperatorConfig]) -> None:
        self._steps = steps

    def __call__(self, table: pa.Table) -> tuple[float, list[str | None]]:
        start = time.process_time()
        attributes = recipe.clean(self._steps, table)
        used = time.process_time() - start
        pairs = zip(attributes["operator"].to_pylist(), attributes["reason"].to_pylist(), strict=True)
        return used, [None if reason is None else f"{operator}.{reason}" for operator, reason in pairs]


def _warm(steps: Sequence[OperatorConfig], table: pa.Table) -> None:
    recipe.clean(steps, table.slice(0, 20))


def _nothing(number: int) -> None:
    time.sleep(0.2)


if __name__ == "__main__":
    main()
