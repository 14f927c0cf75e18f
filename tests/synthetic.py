"""Data sets made by rule, for tests of the training side that need no corpus."""

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from maxlm.blocks.format import PADDING_DOMAIN, RowFormat, Rows
from maxlm.blocks.manifest import DatasetInfo, Manifest, TokenAccount, save
from maxlm.blocks.writer import new_block, plan_shards, write_shard
from maxlm.paths import PathLike, as_path

DOMAINS = ("code", "en")


def make_rows(rng: np.random.Generator, rows: int, row_tokens: int, vocab: int) -> Rows:
    """Rows that can be learnt: each token is the one before plus its domain's stride, with a little noise."""
    shape = (rows, row_tokens)
    starts = rng.random(shape) < 0.05
    starts[:, 0] = True
    domains = np.zeros(shape, np.uint8)
    tokens = np.zeros(shape, np.int64)
    for row in range(rows):
        domain, value = 0, 0
        for place in range(row_tokens):
            if starts[row, place]:
                domain, value = int(rng.integers(len(DOMAINS))), int(rng.integers(vocab))
            elif rng.random() < 0.1:
                value = int(rng.integers(vocab))
            else:
                value = (value + 1 + 2 * domain) % vocab
            domains[row, place], tokens[row, place] = domain, value
    return Rows(tokens, starts, np.ones(shape, bool), domains)


def make_pairs(rng: np.random.Generator, rows: int, row_tokens: int, vocab: int) -> Rows:
    """Rows of pairs of answers. The preferred one counts up, the other one does not; places stay empty."""
    shape = (rows, row_tokens)
    tokens, domains = np.zeros(shape, np.int64), np.full(shape, PADDING_DOMAIN, np.uint8)
    starts, learn = np.zeros(shape, bool), np.zeros(shape, bool)
    starts[:, 0] = True
    for row in range(rows):
        place = 0
        while True:
            prompt = rng.integers(vocab, size=int(rng.integers(1, 4)))
            sizes = rng.integers(1, 4, size=2)
            if place + 2 * len(prompt) + sizes.sum() > row_tokens:
                break
            for good, size in zip((True, False), sizes.tolist(), strict=True):
                answer = (prompt[-1] + 1 + np.arange(size)) % vocab if good else rng.integers(vocab, size=size)
                end = place + len(prompt) + size
                tokens[row, place:end], domains[row, place:end] = [*prompt, *answer], row % len(DOMAINS)
                starts[row, place], learn[row, end - size : end] = True, True
                place = end
    return Rows(tokens, starts, learn, domains)


def write_block(
    folder: PathLike,
    row_format: RowFormat,
    chunks: Iterable[Rows],
    *,
    shard_rows: int,
    **fields: Any,
) -> Manifest:
    """A block of exactly these rows; `fields`: the other fields of its manifest."""
    rows = Rows(*(np.concatenate(columns) for columns in zip(*chunks, strict=True)))
    seq_len, count = row_format.seq_len, len(rows.tokens)
    with new_block(folder) as publish:
        shards = [
            write_shard(folder, plan, row_format, [Rows(*(column[plan.start : plan.end] for column in rows))])
            for plan in plan_shards([(seq_len, count)], shard_rows * seq_len)[0]
        ]
        return publish(**({"seq_len": seq_len, "rows": count, "shards": tuple(shards)} | fields))


def write_rows(
    folder: PathLike, row_format: RowFormat, rows: Rows, block: int, digest: str, pairs: bool = False
) -> None:
    """A block of exactly these rows, with a manifest that fits."""
    places, count = rows.tokens.size, int((rows.domains != PADDING_DOMAIN).sum())
    domain_tokens = {name: int((rows.domains == i).sum()) for i, name in enumerate(DOMAINS)}
    write_block(
        folder,
        row_format,
        [rows],
        shard_rows=7,
        block=block,
        account=TokenAccount(count, count, 0, places - count),
        pairs=pairs,
        domain_tokens=domain_tokens,
        source_tokens=domain_tokens,
        documents=1,
        seed=0,
        tokenizer_digest=digest,
        selection=(block, block + 1),
    )


def make_dataset(
    dataset: PathLike,
    *,
    blocks: int = 3,
    rows: int = 16,
    seq_len: int = 16,
    vocab: int = 128,
    validation_rows: int = 8,
    digest: str = "0" * 64,
    seed: int = 0,
    pairs: bool = False,
) -> str:
    """A whole data set, without documents or tokenizer; returns its path."""
    make = make_pairs if pairs else make_rows
    dataset = as_path(dataset)
    dataset.mkdir(parents=True, exist_ok=True)
    row_format = RowFormat(seq_len, vocab)
    save(dataset / "dataset.json", DatasetInfo(digest, vocab, seq_len, ({str(seq_len): rows},), DOMAINS))
    for block in range(blocks):
        made = make(np.random.default_rng([seed, block]), rows, seq_len + 1, vocab)
        write_rows(dataset / "blocks" / f"block-{block:05d}", row_format, made, block, digest, pairs)
    held_out = make(np.random.default_rng([seed, 10_000]), validation_rows, seq_len + 1, vocab)
    write_rows(dataset / "validation" / "block-00000", row_format, held_out, 0, digest, pairs)
    return os.fspath(dataset)


def make_varied_dataset(
    dataset: PathLike,
    *,
    blocks: int,
    rows: dict[int, int],
    vocab: int = 128,
    later: Mapping[int, dict[int, int]] = MappingProxyType({}),
) -> str:
    """A data set whose blocks hold rows of several lengths, the longest first; returns its path.

    `later`: the first block of other rows -> those rows; such blocks are of stage "later".
    """
    dataset, digest = as_path(dataset), "0" * 64
    seq_len = max(length for each in (rows, *later.values()) for length in each)
    dataset.mkdir(parents=True, exist_ok=True)
    of_blocks = [next((later[b] for b in sorted(later, reverse=True) if b <= block), rows) for block in range(blocks)]
    named = tuple({str(length): count for length, count in each.items()} for each in of_blocks)
    info = DatasetInfo(digest, vocab, seq_len, named, DOMAINS)
    save(dataset / "dataset.json", info)
    for block, rows in enumerate(of_blocks):
        folder = dataset / "blocks" / f"block-{block:05d}"
        with new_block(folder) as publish:
            made = {n: make_rows(np.random.default_rng([block, n]), count, n + 1, vocab) for n, count in rows.items()}
            plans = plan_shards(list(rows.items()), shard_tokens=100 * seq_len)
            shards = [
                write_shard(folder, run[0], info.format_of(run[0].seq_len), [made[run[0].seq_len]]) for run in plans
            ]
            domains = np.concatenate([each.domains.ravel() for each in made.values()])
            tokens = {name: int((domains == i).sum()) for i, name in enumerate(DOMAINS)}
            publish(
                block=block, seq_len=seq_len, rows=sum(rows.values()), shards=tuple(shards), documents=1, seed=0,
                account=TokenAccount(len(domains), len(domains), 0, 0), domain_tokens=tokens, source_tokens=tokens,
                tokenizer_digest=digest, selection=(block, block + 1),
                stage="later" if any(first <= block for first in later) else "main",
            )  # fmt: skip
    return os.fspath(dataset)
