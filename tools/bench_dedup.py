"""Deduplication against datatrove, datasketch and rensa, in one run on one corpus with planted near-duplicates.

    python tools/bench_dedup.py --peers-python=PYTHON [--corpus=FOLDER …] [--documents=20000] [--language=en]

PYTHON is an interpreter that has the peers: pip install "datatrove[io,processing]" spacy datasketch rensa xxhash
orjson. FOLDER holds text files (default: what Python's own installation holds). Documents are pieces of its files; a
tenth of them get a copy with words replaced, so that the Jaccard similarity of the pair lies between 0.5 and 1. Every
tool reads the same jsonl file and says which documents it removes; byte code is compiled before, for all of them. For
each: seconds and CPU seconds of the whole process tree, largest resident process, recall of the planted pairs by band
of their exact similarity, and precision: the share of removed documents that have a kept mate at an exact similarity of
0.7 or more. "maxlm, dedup alone" begins with the documents as ingested; the row above it has ingest and clean in it,
with language identification, ids and quarantine.
"""

import argparse
import json
import os
import re
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure import Figures, compile_packages, measure
from rich.console import Console
from rich.table import Table

from data_pipeline import engine
from data_pipeline.document import DOCUMENTS
from data_pipeline.shingles import hash_strings, jaccard, run_hashes

PEERS = ("datatrove", "datasketch", "rensa", "rensa-matrix")
BANDS = ((0.5, 0.6), (0.6, 0.7), (0.7, 0.75), (0.75, 0.8), (0.8, 0.9), (0.9, 1.01))
THRESHOLD, NGRAM = 0.7, 5
CONFIG = """
from data_pipeline.config import DataConfig
from maxlm.config import config_dict

def get_config(path):
    config = config_dict(DataConfig())
    config.sources = [{"path": path, "domain": "%s", "name": "bench"}]
    config.partitions = 8
    return config
"""


@dataclass(frozen=True)
class Corpus:
    """Documents as lists of words, and pairs (original, copy) that were planted, with their exact similarity."""

    documents: list[list[str]]
    pairs: list[tuple[int, int, float]]
    joiner: str

    def texts(self) -> list[str]:
        return [self.joiner.join(words) for words in self.documents]


def pieces(folders: Sequence[Path], language: str) -> list[list[str]]:
    """Files of folders in pieces of 60 to 1,200 words, without repeats."""
    rng = np.random.default_rng(0)
    found: dict[tuple[str, ...], None] = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.suffix not in (".txt", ".md", ".rst", ".py", ".jsonl", ".csv", ".json") or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8").lower()
        except UnicodeDecodeError:
            continue
        words = re.findall(r"[\u4e00-\u9fff，。！？、]", text) if language == "zh" else text.split()
        start = 0
        while start + 60 <= len(words):
            length = int(np.clip(rng.lognormal(5.5, 0.7), 60, 1200))
            found.setdefault(tuple(words[start : start + length]))
            start += length
    return [list(words) for words in found]


def plant(originals: list[list[str]], count: int, language: str) -> Corpus:
    """`count` originals and, for a tenth of them, a copy with some words replaced; all of them shuffled."""
    rng = np.random.default_rng(1)
    chosen = [originals[i] for i in rng.permutation(len(originals))[:count]]
    made = []
    for original in range(0, len(chosen), 10):
        words = list(chosen[original])
        # Each replaced word breaks up to NGRAM shingles: J = (1 - p)^n / (2 - (1 - p)^n) for a share p of words.
        target = rng.uniform(0.5, 1.0)
        replaced = 1 - (2 * target / (1 + target)) ** (1 / NGRAM)
        for place in np.flatnonzero(rng.random(len(words)) < replaced):
            words[place] = chr(0x4E00 + int(rng.integers(3000))) if language == "zh" else f"x{rng.integers(10**6)}"
        made.append((original, words))
    order = rng.permutation(len(chosen) + len(made))
    place = np.argsort(order)
    everything = [*chosen, *(words for _, words in made)]
    sets = [np.unique(run_hashes(hash_strings(words), NGRAM)) for words in everything]
    pairs = [
        (int(place[original]), int(place[len(chosen) + i]), jaccard(sets[original], sets[len(chosen) + i]))
        for i, (original, _) in enumerate(made)
    ]
    return Corpus([everything[i] for i in order], pairs, "" if language == "zh" else " ")


@dataclass(frozen=True)
class Outcome:
    """What a tool removed and what it took."""

    removed: set[int]
    figures: Figures


def run_peer(python: str, tool: str, corpus: Path, folder: Path, language: str) -> Outcome:
    out = folder / f"{tool}.json"
    script = Path(__file__).with_name("bench_dedup_peers.py")
    segment = "1" if language == "zh" else "0"
    command = [python, str(script), tool, str(corpus), str(out), str(folder / tool), segment]
    figures = measure(command)
    return Outcome(set(json.loads(out.read_text())), figures)


def run_ours(corpus: Path, folder: Path, texts: list[str], language: str) -> tuple[Outcome, Outcome]:
    """From the jsonl file on, as the peers; and the deduplication alone."""
    config = folder / "config.py"
    config.write_text(CONFIG % language)
    common = [f"--config={config}:{corpus}", f"--dataset={folder / 'ours'}"]
    command = Path(sys.executable).with_name("maxlm-data")
    before = measure([str(command), "ingest", *common]) + measure([str(command), "clean", *common])
    alone = measure([str(command), "dedup", *common])
    kept = Counter(
        text
        for name in engine.require(folder / "ours" / DOCUMENTS, "dedup")
        for text in engine.read_partition(folder / "ours" / DOCUMENTS / name, ["text"])["text"].to_pylist()
    )
    removed = set()
    for number, text in enumerate(texts):
        if kept[text]:
            kept[text] -= 1
        else:
            removed.add(number)
    return Outcome(removed, before + alone), Outcome(removed, alone)


def precision(corpus: Corpus, removed: set[int]) -> float:
    """The share of removed documents with a kept mate at an exact similarity of THRESHOLD or more."""
    sets = [np.unique(run_hashes(hash_strings(words), NGRAM)) for words in corpus.documents]
    index: dict[int, list[int]] = {}
    for number, shingles in enumerate(sets):
        if number not in removed:
            for shingle in shingles.tolist():
                index.setdefault(shingle, []).append(number)
    right = 0
    for number in removed:
        shared = Counter(mate for shingle in sets[number].tolist() for mate in index.get(shingle, ()))
        size = len(sets[number])
        right += any(n / (size + len(sets[mate]) - n) >= THRESHOLD for mate, n in shared.items())
    return right / len(removed) if removed else 1.0


def recalls(corpus: Corpus, removed: set[int]) -> list[str]:
    """For each band of similarity the share of planted pairs of which one document was removed."""
    cells = []
    for low, high in BANDS:
        hits = [a in removed or b in removed for a, b, similarity in corpus.pairs if low <= similarity < high]
        cells.append(f"{np.mean(hits):.3f}" if hits else "–")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="+", default=[sysconfig.get_path("stdlib")], help="folders of text")
    parser.add_argument("--peers-python", default="", help="an interpreter that has the peers; without: ours alone")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        corpus = plant(pieces([*map(Path, options.corpus)], options.language), options.documents, options.language)
        texts = corpus.texts()
        file = Path(folder) / "corpus.jsonl"
        rows = (json.dumps({"text": text, "n": n}, ensure_ascii=False) + "\n" for n, text in enumerate(texts))
        file.write_text("".join(rows), encoding="utf-8")
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        root = Path(__file__).parents[1]
        compile_packages(sys.executable, root / "data_pipeline", root / "maxlm")
        if options.peers_python:
            compile_packages(options.peers_python)
        whole, alone = run_ours(file, Path(folder), texts, options.language)
        outcomes = {"maxlm, from jsonl": whole, "maxlm, dedup alone": alone}
        for tool in options.peers.split(",") if options.peers_python else ():
            outcomes[tool] = run_peer(options.peers_python, tool, file, Path(folder), options.language)
        show(corpus, outcomes, megabytes)


def show(corpus: Corpus, outcomes: dict[str, Outcome], megabytes: float) -> None:
    table = Table(title=f"{len(corpus.documents):,} documents, {megabytes:.1f} MB, {len(corpus.pairs):,} planted pairs")
    bands = (f"{low}–{min(high, 1.0)}" for low, high in BANDS)
    for column in (
        "tool",
        "s",
        "CPU s",
        "× dedup's CPU",
        "MB/s",
        "documents/s",
        "peak MB",
        "removed",
        "precision",
        *bands,
    ):
        table.add_column(column, justify="left" if column == "tool" else "right")
    ours = outcomes["maxlm, dedup alone"].figures.cpu_seconds
    for name, outcome in outcomes.items():
        took = outcome.figures
        table.add_row(
            name, f"{took.seconds:.1f}", f"{took.cpu_seconds:.1f}", f"{took.cpu_seconds / ours:.2f}",
            f"{megabytes / took.seconds:.1f}", f"{len(corpus.documents) / took.seconds:,.0f}", f"{took.peak_mb:,.0f}",
            f"{len(outcome.removed):,}", f"{precision(corpus, outcome.removed):.3f}", *recalls(corpus, outcome.removed),
        )  # fmt: skip
    Console(width=200).print(table)


if __name__ == "__main__":
    os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
    main()
