"""The producer's speed beside sentencepiece's own batch encoding of the same texts, taking turns in one process.

python tools/bench_produce.py DATASET [--block-tokens=8e6] [--rounds=3] [--threads=0]
DATASET: a folder with documents/ and tokenizer/; nothing is written there.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import sentencepiece

from data_pipeline.config import DataConfig
from data_pipeline.mix.corpus import Corpus
from data_pipeline.mix.ledger import Ledger
from data_pipeline.produce.build import Builder
from data_pipeline.produce.config import ProduceConfig
from data_pipeline.produce.crew import make_crew
from data_pipeline.produce.dialogue import Dialogues
from data_pipeline.produce.parts import Parts
from data_pipeline.produce.tokenise import TokenSpool
from maxlm.blocks.manifest import DatasetInfo
from maxlm.config import to_dict
from maxlm.tokenizer.load import load_tokenizer


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """(tokens a second, tokens a CPU second) of work that answers how many tokens it made."""
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = work()
    return tokens / (time.perf_counter() - wall), tokens / (time.process_time() - cpu)


class Bench:
    """What takes turns, all on the documents of one block."""

    def __init__(self, dataset: str, produce: ProduceConfig, threads: int, scratch: str):
        self.threads, self.scratch = threads, Path(scratch)
        self.corpus, self.tokenizer = Corpus(dataset, 0.01), load_tokenizer(f"{dataset}/tokenizer")
        unit = produce.row_multiple * (produce.seq_len + 1)
        rows = ({str(produce.seq_len): produce.sizes[0] // unit * produce.row_multiple},)
        self.config = DataConfig(produce=produce)
        self.info = DatasetInfo(
            self.tokenizer.digest, self.tokenizer.vocab_size, produce.seq_len, rows, self.corpus.domains,
            creation=to_dict(self.config),
        )  # fmt: skip
        self.blocks = 0
        self.produced()
        self.ordinals = np.unique(self._ledger(0).documents(0))
        self.texts = [text for _, texts in self.corpus.texts(self.ordinals) for text in texts]
        self.processor = sentencepiece.SentencePieceProcessor(model_file=f"{dataset}/tokenizer/tokenizer.model")

    def _ledger(self, number: int) -> Ledger:
        return Ledger(self.scratch / str(number), self.corpus.digest, len(self.corpus))

    def sentencepiece_ids(self) -> int:
        return sum(map(len, self.processor.encode(self.texts, num_threads=self.threads)))

    def sentencepiece_numpy(self) -> int:
        return sum(map(len, self.processor.encode(self.texts, num_threads=self.threads, return_type="numpy")))

    def tokenised(self) -> int:
        """From Parquet to the spool."""
        dtype, row_tokens = self.info.row_format.token_dtype, self.info.row_format.row_tokens
        dialogues = Dialogues(self.corpus, self.tokenizer, self.config.conversations, self.scratch, row_tokens)
        with closing(TokenSpool(self.corpus, self.tokenizer, dialogues, dtype, self.scratch, self.threads)) as spool:
            return int(spool.add(self.ordinals)[0].sum())

    def produced(self) -> int:
        """From a ledger to a finished block on the disk: select, tokenise, pack, write."""
        folder = self.scratch / str(self.blocks)
        folder.mkdir()
        with closing(make_crew(self.config, folder, self.info, self.corpus, self.tokenizer, lambda: None)) as crew:
            parts = Parts(self.corpus, crew, self.config.produce.parts)
            builder = Builder(
                self.config, folder, self.info, self.corpus, self.tokenizer, parts, lambda: None, lambda _: None
            )
            manifest = builder.block(0, self._ledger(self.blocks))
        self.blocks += 1
        return manifest.account.written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--block-tokens", type=float, default=8e6)
    parser.add_argument("--seq-len", type=int, default=2048)
    parser.add_argument("--pack", default="best_fit")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        produce = ProduceConfig(
            seq_len=args.seq_len, block_tokens=int(args.block_tokens), pack=args.pack, workers=args.threads
        )
        bench = Bench(args.dataset, produce, args.threads, scratch)
        works = {
            "sentencepiece, batch, lists of ids": bench.sentencepiece_ids,
            "sentencepiece, batch, numpy": bench.sentencepiece_numpy,
            "tokenise: Parquet to spool": bench.tokenised,
            "produce: select, tokenise, pack, write": bench.produced,
        }
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        for _ in range(args.rounds):
            for name, work in works.items():
                rates[name].append(timed(work))
    print(f"{len(bench.texts):,} documents, {args.threads} threads; the best of {args.rounds} rounds each")
    best = {name: np.max(found, axis=0) for name, found in rates.items()}
    first = best[next(iter(best))]
    print(f"{'':40s} {'million tokens/s':>17s} {'ratio':>6s} {'a CPU second':>13s} {'ratio':>6s}")
    for name, (wall, cpu) in best.items():
        print(f"{name:40s} {wall / 1e6:17.2f} {wall / first[0]:6.2f} {cpu / 1e6:13.2f} {cpu / first[1]:6.2f}")


if __name__ == "__main__":
    main()
