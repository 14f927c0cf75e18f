"""Shows a finished block to a person: its manifest, and rows as text."""

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_pipeline.document import TOKENIZER
from maxlm.blocks.format import PADDING_DOMAIN, Rows
from maxlm.blocks.manifest import Manifest
from maxlm.blocks.reader import BlockStore
from maxlm.paths import PathLike, as_path
from maxlm.tokenizer.base import Tokenizer
from maxlm.tokenizer.load import load_tokenizer


def show_block(dataset: PathLike, block: int, n: int, blocks: str = "blocks") -> None:
    """Prints the manifest of `block` and `n` rows, decoded, spread over it. `blocks`: "blocks" or "validation".

    Raises:
      DataError: no such block, or it is damaged, or its tokenizer is missing.
    """
    store = BlockStore(dataset, blocks)
    manifest = store.verify(block)
    console = Console(soft_wrap=True, highlight=False)
    console.print(_table(manifest, str(store.folder(block))))
    if n <= 0:
        return
    tokenizer = load_tokenizer(as_path(dataset) / TOKENIZER)
    for length in manifest.rows_by_length:
        source, row_format = store.source(block, length), store.info.format_of(length)
        for row in np.unique(np.linspace(0, len(source) - 1, n).astype(int)).tolist():
            console.rule(f"row {row}" if length == store.info.seq_len else f"row {row} of {length} tokens")
            console.print(row_text(row_format.decode(source.__getitems__([row])), store.info.domains, tokenizer))


def _table(manifest: Manifest, title: str) -> Table:
    table = Table(title=title, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    account, written = manifest.account, max(1, manifest.account.written)
    rows = ", ".join(f"{count:,} of {length + 1:,} tokens" for length, count in manifest.rows_by_length.items())
    table.add_row("rows", f"{rows} in {len(manifest.shards)} shards")
    table.add_row("selected", f"{account.selected:,} tokens in {manifest.documents:,} uses of documents")
    table.add_row("= written", f"{account.written:,}, of them {account.masked:,} of prompts and the like")
    table.add_row("+ truncated", f"{account.truncated:,}")
    table.add_row("repeated, padded", f"{account.repeated:,}, {account.padded:,}")
    if packing := manifest.packing:
        table.add_row("packing", f"{packing.packer}, {packing.fill:.3%} of the places filled")
        table.add_row(
            "cut by a row's end", f"{packing.documents_cut:,} documents, {packing.tokens_cut:,} tokens behind"
        )
        table.add_row(
            "longer than a row", f"{packing.documents_split:,} documents, {packing.tokens_split:,} tokens behind"
        )
        if packing.conversations_too_long:
            lost = f"{packing.conversations_too_long:,}, {packing.tokens_too_long:,} tokens left out"
            table.add_row("conversations longer than a row", lost)
        if packing.conversations_unusable:
            why = "the template can't write them, or nothing is to be learnt"
            table.add_row("conversations left out", f"{packing.conversations_unusable:,}: {why}")
    if manifest.pairs:
        table.add_row("documents are", "pairs: a preferred answer, then the other")
    for label, parts in (("domain", manifest.domain_tokens), ("source", manifest.source_tokens)):
        for name, tokens in sorted(parts.items(), key=lambda item: -item[1]):
            table.add_row(f"{label} {name}", f"{tokens:,} ({tokens / written:.1%})")
    table.add_row("stage, seed", f"{manifest.stage}, {manifest.seed}")
    table.add_row("tokenizer", manifest.tokenizer_digest[:16])
    return table


def row_text(row: Rows, domains: tuple[str, ...], tokenizer: Tokenizer) -> Text:
    """One row `[1, seq_len + 1]` as text: each segment under a mark that names its domain and length."""
    text = Text()
    begins = np.flatnonzero(row.starts[0]).tolist()
    for begin, end in zip(begins, [*begins[1:], row.tokens.shape[1]], strict=True):
        held = row.domains[0, begin:end] != PADDING_DOMAIN
        ids = row.tokens[0, begin:end][held]
        name = domains[row.domains[0, begin]] if held[0] else "padding"
        whole = "from its beginning" if len(ids) and ids[0] == tokenizer.bos_id else "continued"
        text.append(f"┃ {name}, {int(held.sum())} tokens, {whole}\n" if held[0] else "┃ padding\n", style="bold cyan")
        text.append(tokenizer.decode(ids.tolist()) + "\n")
    return text
