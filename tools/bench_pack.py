"""The packers on a real corpus: places filled, documents cut, and how long the packing takes.

    python tools/bench_pack.py DATASET [--tokens=0]

DATASET: a folder with documents/ and tokenizer/; nothing is written there. All documents are packed once; with --tokens
the first so many tokens of them, in the order of the partitions. A cut document would have fitted into a row; a split
one is longer than any. "behind": tokens that stand behind a cut, without the beginning of their document.
"""

import argparse
import tempfile
import time
from contextlib import closing

import numpy as np

from data_pipeline.config import ConversationsConfig
from data_pipeline.mix.corpus import Corpus
from data_pipeline.produce.dialogue import Dialogues
from data_pipeline.produce.pack import Shape, cuts, lay_out, rows_needed
from data_pipeline.produce.tokenise import TokenSpool
from maxlm.tokenizer.load import load_tokenizer

SHAPES = {
    "512": {512: 1},
    "2048": {2048: 1},
    "8192": {8192: 1},
    "8192, half of the places in 2048": {8192: 1, 2048: 4},
}


def lengths_of(dataset: str) -> np.ndarray:
    corpus, tokenizer = Corpus(dataset, 0.0), load_tokenizer(f"{dataset}/tokenizer")
    dialogues = Dialogues(corpus, tokenizer, ConversationsConfig(), dataset, 1 << 20)
    with tempfile.TemporaryDirectory() as scratch:
        with closing(TokenSpool(corpus, tokenizer, dialogues, np.dtype(np.int32), scratch, 0)) as spool:
            return spool.add(np.arange(len(corpus)))[0]


def line(name: str, packer: str, rows: dict[int, int], lengths: np.ndarray) -> str:
    places = sum(count * (length + 1) for length, count in rows.items())
    each = int(lengths.sum()) // places
    shape = Shape(packer, {length: count * each for length, count in rows.items()})  # pyright: ignore[reportArgumentType]
    start = time.process_time()
    needed, layouts = rows_needed(shape, lengths, 0, 0), lay_out(shape, lengths, 0, 0)
    seconds = time.process_time() - start
    fill = lengths.sum() / sum(count * (length + 1) for length, count in needed.items())
    documents_cut, tokens_cut, documents_split, tokens_split = cuts(layouts, lengths, max(rows) + 1)
    return (
        f"{name:34s} {packer:12s} {fill:8.3%} {documents_cut:8,d} {tokens_cut:11,d} {documents_split:8,d} "
        f"{tokens_split:11,d} {seconds / len(lengths) * 1e6:10.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--tokens", type=float, default=0)
    args = parser.parse_args()
    lengths = lengths_of(args.dataset)
    if args.tokens:
        lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), args.tokens)) + 1]
    print(f"{len(lengths):,} documents, {int(lengths.sum()):,} tokens")
    head = f"{'rows of':34s} {'packer':12s} {'fill':>8s} {'cut':>8s} {'behind':>11s} {'split':>8s} {'behind':>11s}"
    print(f"{head} {'s a million':>10s}")
    for name, rows in SHAPES.items():
        for packer in ("concatenate", "best_fit") if len(rows) == 1 else ("best_fit",):
            print(line(name, packer, rows, lengths))


if __name__ == "__main__":
    main()
