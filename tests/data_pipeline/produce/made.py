"""A small data set: documents in Parquet, a tokenizer, and what a producer made of them."""

import dataclasses
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline.config import DataConfig
from data_pipeline.document import DOCUMENT, DOCUMENTS, TOKENIZER
from data_pipeline.mix.config import MixtureConfig
from data_pipeline.mix.corpus import Corpus
from data_pipeline.mix.ledger import Ledger
from data_pipeline.produce import producer
from data_pipeline.produce.config import ProduceConfig
from data_pipeline.tokenizer.config import TokenizerConfig
from maxlm.blocks.reader import BlockStore
from maxlm.config import freeze, to_dict
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train
from tests import texts

SEQ_LEN = 63
ROWS = 128
MIXTURE = {"en": 0.5, "code": 0.3, "zh": 0.2}
PRODUCE = ProduceConfig(
    seq_len=SEQ_LEN,
    block_tokens=ROWS * (SEQ_LEN + 1),
    row_multiple=8,
    pack="concatenate",
    num_blocks=4,
    ahead=3,
    shard_rows=50,
    holdout=0.1,
    holdout_tokens=2000,
    seed=7,
    poll_s=0.02,
    workers=2,
)
UNIT = PRODUCE.row_multiple * (SEQ_LEN + 1)  # places in a batch of full rows
# Keys of config.produce that make blocks as varied as they can be.
VARIED: dict[str, Any] = {
    "pack": "best_fit",
    "row_lengths": {"63": 0.5, "21": 0.25, "9": 0.25},
    "overlap": 4,
    "parts": 3,
    "block_tokens": (5 * UNIT, 9 * UNIT),
}
CONFIG = DataConfig(mixture=MixtureConfig(shares=MIXTURE), produce=PRODUCE, tokenizer=TokenizerConfig(vocab_size=512))


def config(mixture: dict[str, float] | MixtureConfig | None = None, **produce: Any) -> DataConfig:
    """CONFIG with another mixture (or shares), and some keys of `produce` changed."""
    changed = freeze(ProduceConfig, to_dict(PRODUCE) | produce)
    if not isinstance(mixture, MixtureConfig):
        mixture = MixtureConfig(shares=MIXTURE if mixture is None else mixture)
    return dataclasses.replace(CONFIG, produce=changed, mixture=mixture)


def write_documents(dataset: Path, documents: list[tuple[str, str]], partitions: int = 3) -> None:
    """(domain, text) pairs as partitions of several row groups."""
    folder = dataset / DOCUMENTS
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "id": hashlib.sha256(f"{i}{text}".encode()).hexdigest()[:32],
            "text": text,
            "source": f"{domain}-{i % 2}",
            "domain": domain,
            "language": domain,
        }
        for i, (domain, text) in enumerate(documents)
    ]
    for number in range(partitions):
        table = pa.Table.from_pylist(rows[number::partitions], DOCUMENT)
        pq.write_table(table, folder / f"part-{number:05d}.parquet", row_group_size=9)


def dataset(folder: Path, documents: list[tuple[str, str]] | None = None) -> Path:
    """A folder with documents and a tokenizer, ready to produce from."""
    write_documents(folder, texts.corpus(documents=80) if documents is None else documents)
    settings = TokenizerSettings(vocab_size=512, spare_tokens=8)
    train((text for _, text in texts.corpus(documents=120)), folder / TOKENIZER, settings)
    return folder


def edit_texts(dataset: Path, edit: Callable[[str], str]) -> None:
    """Changes the texts of all documents in place."""
    for path in sorted((dataset / DOCUMENTS).glob("*.parquet")):
        table = pq.read_table(path)
        edited = pa.array([edit(text) for text in table["text"].to_pylist()], pa.string())
        pq.write_table(table.set_column(table.column_names.index("text"), "text", edited), path)


def copy(source: Path, target: Path) -> Path:
    """Documents and tokenizer of a data set, without what was produced."""
    for name in (DOCUMENTS, TOKENIZER):
        shutil.copytree(source / name, target / name)
    return target


def remove_block(dataset: Path, block: int) -> None:
    shutil.rmtree(dataset / "blocks" / f"block-{block:05d}")


def block_bytes(dataset: Path) -> dict[str, bytes]:
    """All files of all blocks, the validation block's too, by their path."""
    paths = [path for name in ("blocks", "validation") for path in (dataset / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(dataset)): path.read_bytes() for path in paths}


def open_ledger(dataset: Path) -> Ledger:
    corpus = Corpus(dataset, PRODUCE.holdout)
    return Ledger(dataset, corpus.digest, len(corpus))


def counted(dataset: Path) -> np.ndarray:
    """Uses of each document as the blocks' own ranges in the journal say, for the blocks that are applied."""
    ledger = open_ledger(dataset)
    uses = np.zeros(len(ledger.uses()), np.uint32)
    for block in ledger.applied():
        np.add.at(uses, ledger.documents(block), 1)
    return uses


def block_tokens(dataset: Path, block: int, blocks: str = "blocks") -> tuple[np.ndarray, np.ndarray]:
    """(tokens, domains) of a block, row after row."""
    store = BlockStore(dataset, blocks)
    source = store.source(block)
    rows = store.info.row_format.decode(source.__getitems__(list(range(len(source)))))
    return rows.tokens.ravel(), rows.domains.ravel()


def main() -> None:
    """``python -m tests.data_pipeline.produce.made DATASET '{"num_blocks": 3}'``: produces, as a process to kill."""
    produce = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    producer.run(config(**produce), sys.argv[1])


if __name__ == "__main__":
    main()
