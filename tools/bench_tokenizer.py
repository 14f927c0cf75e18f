"""Trains both kinds of tokenizer with digits one by one and in groups on a data set, and prints what they make of it.

    python tools/bench_tokenizer.py configs/data/zh_en_code.py:CORPORA DATASET [--forms] [--speed]

DATASET holds documents (maxlm-data ingest, clean, dedup). Compression is measured on documents that were held out from
training, by domain; seconds are of the CPU. --forms: holds the Hugging Face form of each against it on all documents.
--speed: one thread of our encode_batch and of the library's own, in turns.
"""

import argparse
import dataclasses
import resource
import statistics
import time

import numpy as np
import sentencepiece
from rich.console import Console
from rich.table import Table

from data_pipeline.config import DataConfig
from data_pipeline.mix.corpus import Corpus
from data_pipeline.tokenizer import audit, compression, dirt, round_trip, sample
from maxlm import config as configs
from maxlm.tokenizer.base import Tokenizer
from maxlm.tokenizer.huggingface import TOKENIZER_FILE
from maxlm.tokenizer.train import train_model

VARIANTS = [(kind, digits) for kind in ("sentencepiece", "bytelevel") for digits in (1, 2, 3)]
ROUNDS = 5  # of the comparison of speed
SPEED_BYTES = 8_000_000


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def trained(config: DataConfig, corpus: Corpus, kind: str, digits: int) -> tuple[Tokenizer, float]:
    """A tokenizer of one variant, and the CPU seconds it took."""
    settings = dataclasses.replace(config.tokenizer, kind=kind, digits=digits)
    characters = "gb2312" if audit.wants_characters(config, corpus) else "none"
    settings = dataclasses.replace(settings, characters=characters)
    why = dirt.finder(config.tokenizer)
    start = cpu_s()
    chosen = sample.to_train(config, corpus)
    return train_model(sample.texts(corpus, chosen), settings, lambda piece: bool(why(piece))), cpu_s() - start


def differing(corpus: Corpus, tokenizer: Tokenizer) -> str:
    """How many documents the Hugging Face form encodes otherwise."""
    form, count, found = tokenizer.files()[TOKENIZER_FILE], 0, 0
    for _, texts in corpus.texts(np.arange(len(corpus))):
        count += len(texts)
        found += len(round_trip.differing(tokenizer, form, texts))
    return f"{found} of {count:,}"


def speed(corpus: Corpus, tokenizer: Tokenizer) -> str:
    """CPU time of the library's own encoding, over that of ours: the median of the rounds."""
    texts, size = [], 0
    for _, batch in corpus.texts(np.arange(len(corpus))):
        texts, size = texts + batch, size + sum(len(text.encode()) for text in batch)
        if size > SPEED_BYTES:
            break
    if tokenizer.kind == "sentencepiece":
        processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
        own = lambda: processor.encode(texts, num_threads=1)  # noqa: E731
    else:
        import tokenizers

        inner = tokenizers.Tokenizer.from_buffer(tokenizer.files()[TOKENIZER_FILE])
        own = lambda: [inner.encode(text).ids for text in texts]  # noqa: E731
    ratios, rates = [], []
    for _ in range(ROUNDS):
        begin = time.process_time()
        expected = own()
        middle = time.process_time()
        assert tokenizer.encode_batch(texts) == expected
        end = time.process_time()
        ratios.append((middle - begin) / (end - middle))
        rates.append(size / 1e6 / (end - middle))
    return f"{statistics.median(ratios):.2f} ({statistics.median(rates):.1f} MB a CPU second)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("dataset")
    parser.add_argument("--forms", action="store_true")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    config = configs.load(options.config, [], DataConfig)
    corpus = Corpus(options.dataset, config.produce.holdout)
    measured = sample.to_measure(corpus, sample.to_train(config, corpus), config.tokenizer.seed)
    texts, domains = list(sample.texts(corpus, measured)), [corpus.domains[i] for i in corpus.domain[measured]]
    table = Table(
        "kind", "digits", "CPU s", *[f"{name}, bytes/token" for name in corpus.domains], "zh, characters/token"
    )
    if options.forms:
        table.add_column("documents with other ids")
    if options.speed:
        table.add_column("rate over the library's own")
    for kind, digits in VARIANTS:
        tokenizer, seconds = trained(config, corpus, kind, digits)
        told = compression.by_group(compression.of_tokenizer(tokenizer, kind), texts, domains)
        cells = [f"{told[name]['bytes_per_token']:.3f}" for name in corpus.domains]
        cells.append(f"{told['zh']['chars_per_token']:.3f}" if "zh" in told else "–")
        cells += [differing(corpus, tokenizer)] if options.forms else []
        cells += [speed(corpus, tokenizer)] if options.speed else []
        table.add_row(kind, str(digits), f"{seconds:.0f}", *cells)
        print(f"{kind}, {digits}: {' '.join(cells)}", flush=True)
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
