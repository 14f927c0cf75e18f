"""Labelled sets for tools/bench_score.py, built from the sample corpora: (train, test) lists of (text, label)."""

import csv
import gzip
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

Rows = list[tuple[str, str]]


def _jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def _split(rows: Iterable[tuple[str, str]], test_share: float = 0.25) -> tuple[Rows, Rows]:
    """By the hash of the text, so that equal texts fall on one side."""
    parts: tuple[Rows, Rows] = ([], [])
    for text, label in dict.fromkeys(rows):
        drawn = _draw("split", text)
        parts[drawn < test_share].append((text, label))
    return parts


def _draw(purpose: str, text: str) -> float:
    """A number in [0, 1) that is the same in every run."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {text}".encode()).digest()[:4], "big") / 2**32


def _paragraphs(path: Path, lines: int = 1, least: int = 20) -> Iterator[str]:
    """Texts of `lines` lines each (0: what blank lines separate)."""
    text = path.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")
    if lines == 0:
        pieces = [" ".join(piece.split()) for piece in re.split(r"\n\s*\n", text)]
    else:
        full = [line.strip() for line in text.split("\n") if line.strip()]
        pieces = ["\n".join(full[i : i + lines]) for i in range(0, len(full), lines)]
    return (piece for piece in pieces if len(piece) >= least)


def _files(folder: Path, pattern: str) -> list[Path]:
    return [path for path in sorted(folder.rglob(pattern)) if path.is_file() and path.name != "SOURCE.txt"]


def tnews(corpora: Path) -> tuple[Rows, Rows]:
    """15 categories of Chinese news headlines: FewCLUE's training half against its public test."""
    folder = corpora / "train/zh/fewclue/tnews"
    train, test = (_jsonl(folder / f"{name}.json") for name in ("train_few_all", "test_public"))
    return tuple([(row["sentence"], row["label_desc"]) for row in rows] for rows in (train, test))


def iflytek(corpora: Path) -> tuple[Rows, Rows]:
    """119 kinds of Chinese app descriptions."""
    rows = _jsonl(corpora / "train/zh/fewclue/iflytek/train_few_all.json")
    return _split((row["sentence"], row["label_des"]) for row in rows)


def reviews(corpora: Path) -> tuple[Rows, Rows]:
    """Sentiment of Chinese shop reviews, from 160 labels."""
    folder = corpora / "train/zh/fewclue/eprstmt"
    train, test = (_jsonl(folder / f"{name}.json") for name in ("train_few_all", "test_public"))
    return tuple([(row["sentence"], row["label"]) for row in rows] for rows in (train, test))


def _prose(corpora: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Good and bad English prose by source."""
    nltk = corpora / "train/en/nltk/packages/corpora"
    chat = [
        html.unescape(re.sub(r"<[^>]+>", "", post)).strip()
        for path in _files(nltk / "nps_chat", "*.xml")
        for post in re.findall(r"<Post[^>]*>(.*?)<terminals>", path.read_text(encoding="utf-8"), re.S)
    ]
    good = {
        "wikitext": [p for f in _files(corpora / "train/en/wikitext2", "*.txt") for p in _paragraphs(f)],
        "gutenberg": [p for f in _files(corpora / "train/en/gutenberg/moby_dick", "*.txt")
                      for p in _paragraphs(f, 0, 100)][:3000],
        "inaugural": [p for f in _files(nltk / "inaugural", "*.txt") for p in _paragraphs(f, 0, 100)],
        "abc": [p for f in _files(nltk / "abc", "*.txt") for p in _paragraphs(f, 1, 60)],
    }  # fmt: skip
    bad = {path.stem: list(_paragraphs(path)) for path in _files(nltk / "webtext", "*.txt")}
    bad["chat"] = ["\n".join(chat[i : i + 5]) for i in range(0, len(chat), 5)]
    return good, bad


def prose(corpora: Path) -> tuple[Rows, Rows]:
    """Encyclopedia, books, speeches and news against chat, bug titles, overheard talk and small ads: single lines."""
    rows: Rows = []
    for label, sources in zip(("good", "bad"), _prose(corpora), strict=True):
        rows += [(text, label) for texts in sources.values() for text in texts]
    return _split(rows)


def prose_elsewhere(corpora: Path) -> tuple[Rows, Rows]:
    """Like `prose`, tested on sources that training never saw."""
    held = {"abc", "inaugural", "chat", "wine", "singles"}
    parts: tuple[Rows, Rows] = ([], [])
    for label, sources in zip(("good", "bad"), _prose(corpora), strict=True):
        for source, texts in sources.items():
            parts[source in held].extend((text, label) for text in texts)
    return parts


def prose_few(corpora: Path) -> tuple[Rows, Rows]:
    """`prose_elsewhere` from 500 labels, on 3,000 texts."""
    train, test = prose_elsewhere(corpora)
    return _some(train, 500), _some(test, 3000)


def mmlu(corpora: Path) -> tuple[Rows, Rows]:
    """Which of MMLU's 57 subjects a question is from, the question alone: 1,500 labels."""
    rows = []
    for path in _files(corpora / "eval/mmlu", "*.csv"):
        subject = path.stem.rpartition("_")[0]
        with path.open(encoding="utf-8", newline="") as file:
            rows += [(row[0], subject) for row in csv.reader(file)]
    train, test = _split(rows)
    return _some(train, 1500), test


def _some(rows: Rows, count: int) -> Rows:
    return sorted(rows, key=lambda row: _draw("some", row[0]))[:count]


def domains(corpora: Path) -> tuple[Rows, Rows]:
    """Twelve kinds of text, Chinese and English, by where they come from: pieces of five lines."""
    train = corpora / "train"
    places = {
        "code": (train / "code", "*.py", 5), "rust": (train / "code", "*.rs", 5),
        "mathematics": (train / "math", "*.tex", 5), "book": (train / "en/gutenberg", "*.txt", 5),
        "standard": (train / "en/peps", "*.rst", 5), "blog": (train / "en/nodejs_blog", "*.md", 5),
        "manual": (train / "en/rust_book", "*.md", 5), "encyclopedia": (train / "en/wikitext2", "*.txt", 1),
        "novel_zh": (train / "zh/classic_novels", "*.txt", 1), "manual_zh": (train / "zh/tidb_docs_cn", "*.md", 5),
        "mathematics_zh": (train / "zh/oi_wiki", "*.md", 5),
        "history_zh": (train / "zh/shiji_classical_modern", "*", 1),
    }  # fmt: skip
    rows: Rows = []
    for label, (folder, pattern, lines) in places.items():
        found = [(p, label) for file in _files(folder, pattern) for p in _paragraphs(file, lines)]
        found.sort(key=lambda row: _draw("sample", row[0]))
        rows += found[:1000]
    return _split(rows)


def harmless(corpora: Path) -> tuple[Rows, Rows]:
    """Replies that people preferred against those they rejected (hh-rlhf): hard for any bag of n-grams."""
    path = next((corpora / "tune/pref/hh_rlhf").rglob("test.jsonl.gz"))
    rows: Rows = []
    for line in gzip.open(path, "rt", encoding="utf-8"):
        pair = json.loads(line)
        rows += [(pair[label].rpartition("\n\nAssistant:")[2].strip(), label) for label in ("chosen", "rejected")]
    return _split(rows)


SETS: dict[str, Callable[[Path], tuple[Rows, Rows]]] = {
    "tnews": tnews,
    "iflytek": iflytek,
    "reviews": reviews,
    "prose": prose,
    "prose-elsewhere": prose_elsewhere,
    "prose-few": prose_few,
    "mmlu": mmlu,
    "domains": domains,
    "harmless": harmless,
}
