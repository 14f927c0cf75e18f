"""What a block and a data set say of themselves: manifest.json, dataset.json and the token account."""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

from maxlm import config
from maxlm.blocks.format import FORMAT_VERSION, PADDING_DOMAIN, RowFormat
from maxlm.errors import ConfigError, DataError
from maxlm.paths import PathLike, as_path, read_json, write_json

READABLE = (1, FORMAT_VERSION)  # 1 knew rows of one length and blocks of one size: see `_modern`
MOST_TOKENS = 1 << 62  # of a block, and places in a row: what array indices can count
_LENGTH = re.compile("0|[1-9][0-9]{0,17}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")  # a file of the block's own folder, never a way out of it


@dataclass(frozen=True)
class Shard:
    file: str
    rows: int
    bytes: int
    sha256: str
    seq_len: int  # of its rows


@dataclass(frozen=True)
class TokenAccount:
    """Where the tokens of the selected documents went. Every count is exact."""

    selected: int  # tokens of the chosen documents, special tokens included, each use counted
    written: int  # of them, tokens that stand in rows, each in one place
    truncated: int  # of them, tokens cut off
    padded: int  # places in rows that hold no token
    repeated: int = 0  # places that repeat the end of a document's piece before, as context that is not learnt from
    masked: int = 0  # of those written, tokens of prompts, and of what others said: context too

    def check(self, capacity: int, where: object) -> None:
        """Raises DataError unless what was selected and all places are accounted for, with no negative count.

        selected = written + truncated, and written + repeated + padded = capacity.
        """
        if min(dataclasses.astuple(self)) < 0 or self.masked > self.written:
            raise DataError(f"{where}: the token account has a count that can't be: {self}")
        places = self.written + self.repeated + self.padded
        if self.selected != self.written + self.truncated or places != capacity:
            raise DataError(
                f"{where}: the token account does not balance: selected {self.selected} = written {self.written} "
                f"+ truncated {self.truncated}; written + repeated {self.repeated} + padded {self.padded} "
                f"= capacity {capacity}"
            )


@dataclass(frozen=True)
class Packing:
    """How well documents were packed into rows. A document is cut where it stands in more than one piece."""

    packer: str
    fill: float  # written tokens as a share of all places
    documents_cut: int  # that are cut although a row could hold them whole
    tokens_cut: int  # of such documents, tokens behind their first piece: they lost what stood before them
    documents_split: int  # that are longer than the longest row, and so cut by any packer
    tokens_split: int
    conversations_too_long: int = 0  # for a row, and so left out or cut; none are cut otherwise
    tokens_too_long: int = 0  # of such conversations, tokens that were; they count as truncated
    # Left out, and their tokens count nowhere: the template can't write them, or nothing of them is to be learnt.
    conversations_unusable: int = 0


@dataclass(frozen=True)
class Manifest:
    """One finished block. Holds nothing that differs between two runs with the same seed."""

    block: int
    seq_len: int  # of the data set; shards may hold shorter rows
    rows: int  # of all lengths
    shards: tuple[Shard, ...]
    account: TokenAccount
    domain_tokens: dict[str, int]  # written tokens
    source_tokens: dict[str, int]  # written tokens
    documents: int  # uses of documents in this block
    seed: int
    tokenizer_digest: str
    selection: tuple[int, ...]  # [start, end) of this block's documents in the ledger's journal
    stage: str = "main"
    packing: Packing | None = None  # None: not told (format 1)
    pairs: bool = False  # whether its documents are pairs of answers: segments 1 and 2, 3 and 4, … of a row, each one
    draw: int = 0  # how often it had been asked to be made anew, of other documents, when it was made
    format_version: int = FORMAT_VERSION

    @property
    def rows_by_length(self) -> dict[int, int]:
        """Rows of each length that the block has, the longest first."""
        lengths = sorted({shard.seq_len for shard in self.shards}, reverse=True)
        return {length: sum(s.rows for s in self.shards if s.seq_len == length) for length in lengths}

    @property
    def capacity(self) -> int:
        """Places for tokens in the block's rows."""
        return sum(shard.rows * (shard.seq_len + 1) for shard in self.shards)

    def check(self, where: object) -> None:
        """Raises DataError if the manifest contradicts itself or points outside its folder."""
        if self.format_version not in READABLE:
            raise DataError(f"{where}: block format {self.format_version}; this program reads {_readable()}")
        for shard in self.shards:
            if not _PLAIN_NAME.fullmatch(shard.file):
                raise DataError(f"{where}: {shard.file!r} is no plain file name")
            if shard.rows < 0:
                raise DataError(f"{where}: {shard.file} has {shard.rows} rows")
        if not 0 < self.seq_len <= MOST_TOKENS or self.capacity > MOST_TOKENS:
            raise DataError(f"{where}: more places than can be counted")
        if sum(shard.rows for shard in self.shards) != self.rows:
            raise DataError(f"{where}: the shards' rows do not sum to {self.rows}")
        for length in self.rows_by_length:
            if length < 1 or self.seq_len % length:
                raise DataError(f"{where}: rows of {length} do not divide seq_len {self.seq_len}")
        self.account.check(self.capacity, where)
        for name, parts in (("domain_tokens", self.domain_tokens), ("source_tokens", self.source_tokens)):
            if sum(parts.values()) != self.account.written:
                raise DataError(f"{where}: {name} do not sum to the {self.account.written} tokens written")


@dataclass(frozen=True)
class DatasetInfo:
    """dataset.json: what all blocks of a data set share."""

    tokenizer_digest: str
    vocab_size: int  # rows of the embedding, spare slots included
    seq_len: int  # the longest rows' and, in tokens a row of the batch, a step's
    rows: tuple[dict[str, int], ...]  # rows of each length in block 0, 1, …; the last entry holds for all that follow
    domains: tuple[str, ...]  # a token's domain is an index into this
    format_version: int = FORMAT_VERSION
    creation: dict[str, Any] = field(default_factory=dict)  # the data config that made it

    @property
    def row_format(self) -> RowFormat:
        return self.format_of(self.seq_len)

    def format_of(self, length: int) -> RowFormat:
        """How rows of `length` are laid out."""
        return RowFormat(length, self.vocab_size)

    @property
    def lengths(self) -> list[int]:
        """The lengths that rows may have, the longest first."""
        return sorted({int(length) for rows in self.rows for length in rows}, reverse=True)

    def rows_in(self, block: int) -> dict[int, int]:
        """Rows of each length in a block, the longest first."""
        rows = self.rows[min(block, len(self.rows) - 1)]
        return {length: rows[str(length)] for length in self.lengths if rows.get(str(length))}

    def batch_of(self, length: int, batch: int) -> int:
        """Rows of `length` in a step that holds `batch` rows of seq_len: as many as give it the same tokens."""
        return batch * (self.seq_len // length)

    def steps(self, block: int, batch: int) -> int:
        """Steps that a block is read in."""
        return sum(-(-rows // self.batch_of(length, batch)) for length, rows in self.rows_in(block).items())

    def check(self, where: object) -> None:
        """Raises DataError for another format version, lengths that can't be, or too many domains."""
        if self.format_version not in READABLE:
            raise DataError(f"{where}: data set format {self.format_version}; this program reads {_readable()}")
        if not self.rows or any(not _LENGTH.fullmatch(length) for rows in self.rows for length in rows):
            raise DataError(f"{where}: no rows of any length")
        if any(not 0 <= count <= MOST_TOKENS for rows in self.rows for count in rows.values()):
            raise DataError(f"{where}: rows without a number that can be")
        if not 0 < self.vocab_size <= 1 << 32:
            raise DataError(f"{where}: vocab_size {self.vocab_size}; a token takes 32 bits at most")
        if any(length < 1 or self.seq_len % length for length in self.lengths):
            raise DataError(f"{where}: rows of {self.lengths} do not all divide seq_len {self.seq_len}")
        if len(self.domains) >= PADDING_DOMAIN:
            raise DataError(f"{where}: {len(self.domains)} domains; a block can tell {PADDING_DOMAIN - 1} apart")


def _readable() -> str:
    return f"{READABLE[0]} to {READABLE[-1]}"


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
        value = config.freeze(kind, _modern(read_json(path, what)), what)
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from error
    value.check(path)
    return value


def _modern(values: dict[str, Any]) -> dict[str, Any]:
    """What format 1 left unsaid, said: all rows are of the data set's length, and all blocks of one size."""
    if values.get("format_version") != 1:
        return values
    length, shards = values.get("seq_len"), values.get("shards")
    if isinstance(shards, list):
        return {**values, "shards": [{**shard, "seq_len": length} for shard in shards if isinstance(shard, dict)]}
    if "rows_per_block" in values:
        rest = {key: value for key, value in values.items() if key != "rows_per_block"}
        return {**rest, "rows": [{str(length): values["rows_per_block"]}]}
    return values
