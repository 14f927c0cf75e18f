"""What a block and a data set say of themselves: manifest.json, dataset.json and the token account."""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

from maxlm import config
from maxlm.blocks.format import FORMAT_VERSION, PADDING_DOMAIN, RowFormat
from maxlm.errors import ConfigError, DataError
from maxlm.paths import PathLike, as_path, read_json, write_json

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")  # a file of the block's own folder, never a way out of it


@dataclass(frozen=True)
class Shard:
    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class TokenAccount:
    """Where the tokens of the selected documents went. Every count is exact."""

    selected: int  # tokens of the chosen documents, special tokens included, each use counted
    written: int  # of them, tokens that stand in rows
    truncated: int  # of them, tokens cut off
    padded: int  # places in rows that hold no token

    def check(self, capacity: int, where: object) -> None:
        """Raises DataError unless selected = written + truncated and written + padded = capacity, none negative."""
        if min(self.selected, self.written, self.truncated, self.padded) < 0:
            raise DataError(f"{where}: the token account has a negative count: {self}")
        if self.selected != self.written + self.truncated or self.written + self.padded != capacity:
            raise DataError(
                f"{where}: the token account does not balance: selected {self.selected} = written {self.written} "
                f"+ truncated {self.truncated}; written + padded {self.padded} = capacity {capacity}"
            )


@dataclass(frozen=True)
class Manifest:
    """One finished block. Holds nothing that differs between two runs with the same seed."""

    block: int
    seq_len: int
    rows: int
    shards: tuple[Shard, ...]
    account: TokenAccount
    domain_tokens: dict[str, int]  # written tokens
    source_tokens: dict[str, int]  # written tokens
    documents: int  # uses of documents in this block
    seed: int
    tokenizer_digest: str
    selection: tuple[int, ...]  # [start, end) of this block's documents in the ledger's journal
    stage: str = "main"
    format_version: int = FORMAT_VERSION

    def check(self, where: object) -> None:
        """Raises DataError if the manifest contradicts itself or points outside its folder."""
        if self.format_version != FORMAT_VERSION:
            raise DataError(f"{where}: block format {self.format_version}; this program reads {FORMAT_VERSION}")
        for shard in self.shards:
            if not _PLAIN_NAME.fullmatch(shard.file):
                raise DataError(f"{where}: {shard.file!r} is no plain file name")
        if sum(shard.rows for shard in self.shards) != self.rows:
            raise DataError(f"{where}: the shards' rows do not sum to {self.rows}")
        self.account.check(self.rows * (self.seq_len + 1), where)
        for name, parts in (("domain_tokens", self.domain_tokens), ("source_tokens", self.source_tokens)):
            if sum(parts.values()) != self.account.written:
                raise DataError(f"{where}: {name} do not sum to the {self.account.written} tokens written")


@dataclass(frozen=True)
class DatasetInfo:
    """dataset.json: what all blocks of a data set share."""

    tokenizer_digest: str
    vocab_size: int  # rows of the embedding, spare slots included
    seq_len: int
    rows_per_block: int
    domains: tuple[str, ...]  # a token's domain is an index into this
    format_version: int = FORMAT_VERSION
    creation: dict[str, Any] = field(default_factory=dict)  # the data config that made it

    @property
    def row_format(self) -> RowFormat:
        return RowFormat(self.seq_len, self.vocab_size)

    def check(self, where: object) -> None:
        """Raises DataError for another format version or too many domains."""
        if self.format_version != FORMAT_VERSION:
            raise DataError(f"{where}: data set format {self.format_version}; this program reads {FORMAT_VERSION}")
        if len(self.domains) >= PADDING_DOMAIN:
            raise DataError(f"{where}: {len(self.domains)} domains; a block can tell {PADDING_DOMAIN - 1} apart")


def save(path: PathLike, value: Manifest | DatasetInfo) -> None:
    """Writes a manifest or dataset.json, whole or not at all."""
    value.check(path)
    write_json(path, dataclasses.asdict(value))


def load_manifest(path: PathLike) -> Manifest:
    """Raises DataError if the file is missing, damaged or contradicts itself."""
    return _load(Manifest, path, "manifest of a block")


def load_dataset(path: PathLike) -> DatasetInfo:
    """Raises DataError if the file is missing, damaged or of another format."""
    if not as_path(path).exists():
        raise DataError(f"{path}: no such file; is {as_path(path).parent} a data set (maxlm-data produce makes one)?")
    return _load(DatasetInfo, path, "description of a data set")


def _load(kind: type, path: PathLike, what: str) -> Any:
    try:
        value = config.freeze(kind, read_json(path, what), what)
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from error
    value.check(path)
    return value
