"""Time, memory and disk of choosing a block and counting it, on an index and a ledger made up for many documents.

    python tools/bench_ledger.py --documents=100_000_000 [--block-tokens=1_000_000_000] [--decay=0.5] [--folder=/tmp/x]

Documents are of 12 domains, 4,000 bytes on average at 4 bytes a token; one in fifty stands in a cluster of four.
The documents' lengths are known, so that nothing is tokenised: only selection and ledger are measured.
"""

import argparse
import os
import resource
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from data_pipeline.config import DataConfig, ProduceConfig
from data_pipeline.mix.choose import Chooser
from data_pipeline.mix.config import SelectConfig
from data_pipeline.mix.hashing import hashes
from data_pipeline.mix.index import Index
from data_pipeline.mix.ledger import Ledger
from data_pipeline.mix.pools import pools

_CHUNK = 1 << 22
_DOMAINS = 12


def make_index(folder: Path, documents: int) -> Index:
    """Columns in mapped files, as the real index has them."""
    kinds = {"domain": np.uint8, "language": np.uint8, "source": np.uint16, "bytes": np.uint32, "cluster": np.uint32}
    columns = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (documents,))
        for name, dtype in (*kinds.items(), ("held_out", np.bool_))
    }
    for begin in range(0, documents, _CHUNK):
        end = min(begin + _CHUNK, documents)
        drawn = hashes(np.arange(begin, end), "bench")
        columns["domain"][begin:end] = drawn % np.uint64(_DOMAINS)
        columns["source"][begin:end] = drawn % np.uint64(_DOMAINS)
        # Lengths spread over two orders of magnitude, as on the web.
        columns["bytes"][begin:end] = 400 * 2 ** ((drawn >> np.uint64(20)) % np.uint64(6000) / 1000)
        clustered = (drawn >> np.uint64(40)) % np.uint64(50) == 0
        columns["cluster"][begin:end] = np.where(
            clustered, 1 + (drawn >> np.uint64(8)) % np.uint64(documents // 200), 0
        )
    for column in columns.values():
        column.flush()
    mapped = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in columns}
    names = tuple(f"domain-{i:02d}" for i in range(_DOMAINS))
    return Index(
        names={"domain": names, "language": ("xx",), "source": names},
        codes={name: mapped[name] for name in ("domain", "language", "source")},
        bytes=mapped["bytes"],
        cluster=mapped["cluster"],
        held_out=mapped["held_out"],
        row_groups=np.arange(0, documents + 1, 10_000),
        digest="bench",
    )


class Peak:
    """The most private memory (mapped files left out) while it is entered, in bytes above what there was."""

    def __enter__(self) -> "Peak":
        self._before, self.most, self._over = _private_bytes(), 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        self._start, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds, self.cpu_s = time.perf_counter() - self._start, time.process_time() - self._cpu
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.most = max(self.most, _private_bytes() - self._before)


def _private_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("no RssAnon in /proc/self/status")


def size_of(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def measure(options: argparse.Namespace, folder: Path, table: Table) -> None:
    (folder / "index").mkdir()
    index = make_index(folder / "index", options.documents)
    config = DataConfig(
        select=SelectConfig(decay=options.decay, spread_tokens=options.spread_tokens),
        produce=ProduceConfig(seed=1),
    )
    with Peak() as peak:
        totals = pools(index, config)
    table.add_row("totals (once a run)", *shown(peak))
    ledger = Ledger(folder, "bench", options.documents)
    chooser = Chooser(config, index, totals, options.workers)
    tokens, ratios = options.block_tokens, np.full(_DOMAINS, 4.0)
    for block in range(options.blocks):
        with Peak() as peak:
            choice = chooser.choose(
                block,
                block * tokens,
                tokens,
                ledger,
                lambda o: index.bytes[o].astype(np.int64) // 4 + 2,
                ratios,
            )
        table.add_row(f"block {block}: choose {len(choice.documents):,} documents", *shown(peak))
        with Peak() as peak:
            ledger.record(block, choice.documents, choice.budgets.tolist(), 1, choice.by, choice.stage)
        table.add_row(f"block {block}: note them", *shown(peak))
        with Peak() as peak:
            ledger.reconcile(lambda number: True, ())
        table.add_row(f"block {block}: count them", *shown(peak))
    with Peak() as peak:
        ledger.check_uses()
    table.add_row("check (once a run)", *shown(peak))
    for name in ("index", "ledger", "ledger/uses", "ledger/journal"):
        size = size_of(folder / name)
        table.add_row(f"{name} on disk", f"{size / options.documents:.3f} bytes a document", "", f"{size / 1e6:,.1f}")


def shown(peak: Peak) -> tuple[str, str, str]:
    return f"{peak.seconds:,.1f}", f"{peak.cpu_s:,.1f}", f"{peak.most / 1e6:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000_000)
    parser.add_argument("--block-tokens", type=int, default=1_000_000_000)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--decay", type=float, default=0.0)
    parser.add_argument("--spread-tokens", type=int, default=SelectConfig().spread_tokens)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--folder", default="")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder or None))
    table = Table("step", "s", "CPU s", "MB of memory, or disk", title=f"{options.documents:,} documents")
    try:
        measure(options, folder, table)
    finally:
        shutil.rmtree(folder)
    Console().print(table)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{os.cpu_count()} cores; largest resident set, mapped pages included: {most / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
