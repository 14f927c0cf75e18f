"""Redaction: MB/s on one core by kind of text, and precision and recall on the labelled set. CPU time, best of rounds.

python tools/bench_redact.py [FOLDER ...] [--megabytes=8] [--seeds=10]

Each FOLDER is one kind of text (its UTF-8 files, by documents of at most 20 kB); without any, the labelled set itself.
"""

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_pipeline.operators.base import Draft
from data_pipeline.operators.redact import Redact, find
from tests.data_pipeline.operators.labelled import labelled, named, score

DOCUMENT_CHARS = 20_000


def documents(folder: Path, limit: int) -> list[str]:
    """Beginnings of files, in an order by chance, up to `limit` bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    random.Random(0).shuffle(files)
    texts, size = [], 0
    for path in files:
        try:
            texts.append(path.read_text(encoding="utf-8")[:DOCUMENT_CHARS])
        except UnicodeDecodeError:
            continue
        size += len(texts[-1].encode())
        if size >= limit:
            break
    return texts


def speed(name: str, texts: list[str], redact: Redact, rounds: int = 3) -> None:
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    best, counts = float("inf"), Counter[str]()
    for _ in range(rounds):
        started, counts = time.process_time(), Counter[str]()
        for text in texts:
            counts.update(redact.edit(Draft(text))[1])
        best = min(best, time.process_time() - started)
    print(f"{name:<10} {megabytes:6.1f} MB {megabytes / best:7.1f} MB/s  {dict(sorted(counts.items()))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=float, default=8)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    redact = Redact()
    redact.edit(Draft("+1 212 555 0123"))  # loads the numbering plans
    for folder in args.folders:
        speed(folder.name, documents(folder, int(args.megabytes * 1e6)), redact)
    speed("labelled", [document.text for document in labelled(0)], redact)

    seeds = range(1000, 1000 + args.seeds)  # none that was looked at
    scores = score([one for seed in seeds for one in labelled(seed)], lambda text: find(text, redact.kinds))
    scores |= score([one for seed in seeds for one in named(seed)], lambda text: find(text, ["name"]))
    print(f"\n{'kind':<10} {'places':>7} {'precision':>10} {'recall':>8}")
    for kind, counted in sorted(scores.items()):
        print(f"{kind:<10} {counted.right + counted.missed:7} {counted.precision:10.4f} {counted.recall:8.4f}")


if __name__ == "__main__":
    main()
