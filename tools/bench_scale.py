"""Time and memory of ingest, clean and dedup against the size of the corpus: linear time and flat memory, or not.

    python tools/bench_scale.py FOLDER [--sizes-gb=0.25,1,4] [--recipe=FILE.yaml]

Each corpus is the text of FOLDER again and again, every repetition with its own edits (a share of words drawn for each
document between 0 and 30 %), written as jsonl files of 64 MB: near-duplicates of every degree, in clusters that grow
with the size. Memory is the largest sum of the resident sizes of all processes. The data sets are made below the
current folder's runs/bench_scale, and deleted.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import compile_packages, measure
from rich.console import Console
from rich.table import Table

SUFFIXES = {".txt", ".md", ".rst", ".py", ".c", ".cpp", ".rs", ".go", ".js", ".tex", ".csv", ".json", ".jsonl"}
FILE_BYTES = 64_000_000
PIECE_CHARS = 8_000  # longer files are cut: documents of the size of web pages
CONFIG = """
from data_pipeline import recipe
from data_pipeline.config import DataConfig
from maxlm.config import config_dict

def get_config(path):
    config = config_dict(DataConfig())
    config.sources = [{"path": path}]
    for file in %r:
        config.recipe = [*config.recipe, *recipe.read(file)]
    return config
"""


def pieces(folder: Path) -> list[str]:
    """Texts of a folder's files, long ones cut at line ends."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix not in SUFFIXES or not path.is_file():
            continue
        lines = path.read_text(encoding="utf-8", errors="ignore").splitlines(keepends=True)
        piece: list[str] = []
        size = 0
        for line in lines:
            piece.append(line[:PIECE_CHARS])
            size += len(piece[-1])
            if size >= PIECE_CHARS:
                found.append("".join(piece))
                piece, size = [], 0
        if size > 200:
            found.append("".join(piece))
    return found


def edited(texts: list[str], seed: int) -> Iterator[str]:
    """The texts, each with a share of its words (split at spaces) replaced."""
    rng = np.random.default_rng(seed)
    for text in texts:
        words = text.split(" ")
        for place in np.flatnonzero(rng.random(len(words)) < rng.uniform(0, 0.3)):
            words[place] = f"w{rng.integers(10**6)}"
        yield " ".join(words)


def write(texts: list[str], folder: Path, size_bytes: float) -> float:
    """Writes jsonl files of about `size_bytes` of text in all; returns the bytes of text."""
    folder.mkdir(parents=True)
    written, seed, in_file, number = 0, 0, 0, 0
    file = (folder / "00000.jsonl").open("w", encoding="utf-8")
    while written < size_bytes:
        for text in edited(texts, seed):
            if in_file > FILE_BYTES:
                file.close()
                number, in_file = number + 1, 0
                file = (folder / f"{number:05d}.jsonl").open("w", encoding="utf-8")
            file.write(json.dumps({"text": text, "source": f"round{seed % 4}"}, ensure_ascii=False) + "\n")
            size = len(text.encode())
            written, in_file = written + size, in_file + size
            if written >= size_bytes:
                break
        seed += 1
    file.close()
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes-gb", default="0.25,1,4")
    parser.add_argument("--recipe", action="append", default=[], help="a recipe file; may be given several times")
    options = parser.parse_args()
    table = Table("GB", "stage", "s", "CPU s", "MB/s", "peak MB", title=f"{options.folder}, repeated with edits")
    texts = pieces(options.folder)
    base = Path("runs/bench_scale").absolute()
    root = Path(__file__).parents[1]
    compile_packages(sys.executable, root / "data_pipeline", root / "maxlm")
    command = str(Path(sys.executable).with_name("maxlm-data"))
    for size in map(float, options.sizes_gb.split(",")):
        shutil.rmtree(base, ignore_errors=True)
        written = write(texts, base / "corpus", size * 1e9)
        config = base / "config.py"
        config.write_text(CONFIG % [str(Path(recipe).absolute()) for recipe in options.recipe])
        for stage in ("ingest", "clean", "dedup"):
            took = measure([command, stage, f"--config={config}:{base / 'corpus'}", f"--dataset={base / 'data'}"])
            table.add_row(
                f"{written / 1e9:.2f}", stage, f"{took.seconds:.0f}", f"{took.cpu_seconds:.0f}",
                f"{written / 1e6 / took.seconds:.1f}", f"{took.peak_mb:,.0f}",
            )  # fmt: skip
            Console(width=120).print(table)
    shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
