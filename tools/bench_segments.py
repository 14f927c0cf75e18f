"""How fast texts are split into units, and scanned for runs of words of benchmarks, in one process.

    python tools/bench_segments.py '/data/corpora/train/en/**/*.txt' --benchmarks='/data/corpora/eval/**/*.jsonl'

Prints megabytes of UTF-8 a second of processor time.
"""

import argparse
import glob
import sys
import time

from data_pipeline.config import DecontaminateConfig, SegmentsConfig
from data_pipeline.decontamination import benchmarks
from data_pipeline.decontamination import stage as decontaminate
from data_pipeline.segments import stage as segments

_PAGE_CHARACTERS = 4000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", help="glob of UTF-8 text files, cut into pages of 4,000 characters")
    parser.add_argument("--benchmarks", nargs="*", default=[], help="globs of benchmark files")
    parser.add_argument("--megabytes", type=float, default=20, help="of text to read at most (default: %(default)s)")
    options = parser.parse_args()
    pages = read_pages(options.files, options.megabytes * 1e6)
    megabytes = sum(len(page.encode()) for page in pages) / 1e6
    print(f"{len(pages):,} pages, {megabytes:.1f} MB")
    for unit in ("line", "paragraph", "sentence"):
        config = SegmentsConfig(unit=unit)
        start = time.process_time()
        units = sum(len(keys) for *_, keys in segments.held_units(config, pages, ["source"] * len(pages)))
        print(f"{unit:>10}: {megabytes / (time.process_time() - start):6.1f} MB/s, {units:,} units that count")
    if options.benchmarks:
        config = DecontaminateConfig(benchmarks=tuple(options.benchmarks))
        start = time.process_time()
        _, items, runs = benchmarks.build(config, benchmarks.files(config))
        index = benchmarks.Index(runs)
        print(f"     index: {time.process_time() - start:6.1f} s, {items.num_rows:,} items, {len(index.runs):,} runs")
        decontaminate.scan(index, pages[:1])  # makes the tables
        start = time.process_time()
        found = decontaminate.scan(index, pages).num_rows
        print(f"      scan: {megabytes / (time.process_time() - start):6.1f} MB/s, {found:,} places found")
    return 0


def read_pages(pattern: str, size: float) -> list[str]:
    pages: list[str] = []
    for path in sorted(glob.glob(pattern, recursive=True)):
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        pages += [text[i : i + _PAGE_CHARACTERS] for i in range(0, len(text), _PAGE_CHARACTERS)]
        size -= len(text.encode())
        if size < 0:
            break
    if not pages:
        sys.exit(f"{pattern}: no text")
    return pages


if __name__ == "__main__":
    sys.exit(main())
