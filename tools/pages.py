"""Real documents of web-page size from a folder of mixed text, for the comparisons and benchmarks of filters."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

TEXT_KEYS = ("text", "content", "sentence", "completion", "answer", "paragraphs")
SUFFIXES = {".txt", ".md", ".rst", ".tex", ".py", ".rs", ".go", ".js", ".cpp", ".html", ".csv", ".jsonl", ".json"}


def pages(folder: Path, page_chars: int = 3000) -> Iterator[str]:
    """The rows of data files, and other files cut at blank lines into pages of at least `page_chars` characters."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in SUFFIXES and path.name != "SOURCE.txt":
            for text in _texts(path):
                yield from _cut(text, page_chars)


def _texts(path: Path) -> Iterator[str]:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("gb18030", "replace") if "zh" in path.parts else raw.decode("latin-1")
    text = text.replace("\r\n", "\n").replace("\x00", "")
    if path.suffix == ".csv":
        yield from ("\n".join(row) for row in csv.reader(text.splitlines()))
    elif path.suffix in (".jsonl", ".json"):
        lines = text.splitlines() if path.suffix == ".jsonl" or "\n{" in text else [text]
        for line in lines:
            yield from _rows(line)
    else:
        yield text


def _rows(line: str) -> Iterator[str]:
    try:
        value = json.loads(line)
    except ValueError:
        return
    for row in value if isinstance(value, list) else [value]:
        found = [row[key] for key in TEXT_KEYS if isinstance(row, dict) and key in row]
        if found:
            yield "\n".join(map(str, found[0])) if isinstance(found[0], list) else str(found[0])


def _cut(text: str, page_chars: int) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find("\n\n", start + page_chars)
        end = len(text) if end < 0 else end + 1
        if page := text[start:end].strip("\n"):
            yield page + ("\n" if text[end - 1 : end] == "\n" else "")
        start = end
