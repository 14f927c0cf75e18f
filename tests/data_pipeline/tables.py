"""Documents and folders for tests of the corpus half."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_pipeline import engine
from data_pipeline.document import DOCUMENT
from data_pipeline.ingest.stage import document_id


def documents(*texts: str, domain: str = "en", source: str = "test") -> pa.Table:
    """A table of documents of one domain."""
    rows = [
        {"id": document_id(source, text), "text": text, "source": source, "domain": domain, "language": domain}
        for text in texts
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def write_jsonl(path: Path, *texts: str, **labels: Any) -> None:
    """A file of rows that all bear the same labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": text, **labels}, ensure_ascii=False) for text in texts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """All rows of a stage, in order."""
    names = engine.require(folder, "test")
    return [row for name in names for row in engine.read_partition(folder / name).to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every partition below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}
