"""Benchmark files as they are published, read from disk: a reader for each format, a line in READERS.

Prompts are those of lm-evaluation-harness (v0.4) for the same benchmark, so that results can be compared.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path


@dataclass(frozen=True)
class Item:
    """One question of a benchmark."""

    context: str  # what the model reads
    choices: tuple[str, ...]  # among which it chooses by likelihood, each with the blank before it; () if it writes
    answer: int | str  # the right choice, or what it should write
    group: str = ""  # subject, where a benchmark has several
    intro: str = ""  # stands once before shots and question
    shown: str = ""  # the answer as shots show it, where the model writes

    def solved(self) -> str:
        """Question and answer, as a shot."""
        return self.context + (self.choices[self.answer] if isinstance(self.answer, int) else self.shown)


@dataclass(frozen=True)
class Benchmark:
    """Questions, and others to show beforehand."""

    items: tuple[Item, ...]
    shots: tuple[Item, ...] = ()

    def first(self, count: int | None) -> "Benchmark":
        """The same with so many questions at the most."""
        return replace(self, items=self.items[:count])

    def prompt(self, item: Item, count: int) -> str:
        """The first `count` shots of the item's group, then its question.

        Raises:
          DataError: there are not so many.
        """
        shots = [shot for shot in self.shots if shot.group == item.group][:count]
        if len(shots) < count:
            raise DataError(
                f"--shots={count}: the benchmark comes with {len(shots)} to show; put its dev file beside it"
            )
        return item.intro + "".join(shot.solved() + "\n\n" for shot in shots) + item.context


Row = dict[str, Any]


def _json_lines(path: PathLike) -> Iterator[tuple[Row, str]]:
    """Every object of a jsonl file, and where it stands."""
    for number, line in enumerate(as_path(path).read_text().splitlines(), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{where}: no JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(f"{where}: a JSON object was expected")
            yield row, where


def _items(path: PathLike, item: Callable[[Row], Item]) -> tuple[Item, ...]:
    found = []
    for row, where in _json_lines(path):
        try:
            found.append(item(row))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(f"{where}: no row of this benchmark ({type(error).__name__}: {error})") from error
    if not found:
        raise DataError(f"{path}: holds no questions")
    return tuple(found)


def _beside(path: PathLike, *names: str) -> Any:
    """The first of some files in the same folder that is there, and not `path` itself; else None."""
    found = [other for name in names if (other := as_path(path).parent / name).exists() and other != as_path(path)]
    return found[0] if found else None


def hellaswag(path: PathLike) -> Benchmark:
    """hellaswag_val.jsonl (Zellers et al., 2019)."""

    def clean(text: str) -> str:
        text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
        return text.replace("  ", " ")

    def item(row: Row) -> Item:
        context = f"{row['ctx_a']} {row['ctx_b'].capitalize()}" if "ctx_a" in row else row["ctx"]
        endings = tuple(f" {clean(ending)}" for ending in row["endings"])
        return Item(clean(f"{row['activity_label']}: {context}"), endings, int(row["label"]))

    return Benchmark(_items(path, item))


def arc(path: PathLike) -> Benchmark:
    """ARC-Easy or ARC-Challenge jsonl (Clark et al., 2018), as first published or with flat columns."""

    def item(row: Row) -> Item:
        if isinstance(row["question"], dict):
            stem, options = row["question"]["stem"], row["question"]["choices"]
            texts, labels = [option["text"] for option in options], [option["label"] for option in options]
        else:
            stem, texts, labels = row["question"], row["choices"]["text"], row["choices"]["label"]
        return Item(f"Question: {stem}\nAnswer:", tuple(f" {text}" for text in texts), labels.index(row["answerKey"]))

    return Benchmark(_items(path, item))


def lambada(path: PathLike) -> Benchmark:
    """LAMBADA jsonl with `text` (Paperno et al., 2016): the last word is to be said."""

    def item(row: Row) -> Item:
        context, word = row["text"].rsplit(" ", 1)
        return Item(context, (f" {word}",), 0)

    return Benchmark(_items(path, item))


def gsm8k(path: PathLike) -> Benchmark:
    """test.jsonl (Cobbe et al., 2021); train.jsonl beside it gives the shots."""

    def item(row: Row) -> Item:
        return Item(f"Question: {row['question']}\nAnswer:", (), row["answer"], shown=f" {row['answer']}")

    train = _beside(path, "train.jsonl")
    return Benchmark(_items(path, item), _items(train, item) if train else ())


def _multiple_choice(path: PathLike, header: bool, item: Callable[[Sequence[str], str], Item]) -> Benchmark:
    """A folder with test/*.csv (or val/*.csv) and dev/*.csv, a file for each subject; or one such file."""
    path = as_path(path)
    if path.is_dir():
        parts = [path / part for part in ("test", "val") if (path / part).is_dir()]
        files = sorted(parts[0].glob("*.csv")) if parts else []
        shots = sorted((path / "dev").glob("*.csv")) if (path / "dev").is_dir() else []
    else:
        files, shots = [path], []
    if not files:
        raise DataError(f"{path}: neither a csv file nor a folder with test/*.csv or val/*.csv")

    def read(file: Any) -> list[Item]:
        subject = re.sub(r"_(test|dev|val)$", "", file.stem)
        rows = list(csv.reader(io.StringIO(file.read_text())))[header:]
        try:
            return [item(row, subject) for row in rows if row]
        except (IndexError, ValueError) as error:
            raise DataError(f"{file}: no file of this benchmark ({error})") from error

    return Benchmark(tuple(i for file in files for i in read(file)), tuple(i for file in shots for i in read(file)))


def _lettered(question: str, options: Sequence[str], answer: str, subject: str, intro: str, ask: str) -> Item:
    lines = "".join(f"\n{letter}. {option}" for letter, option in zip("ABCD", options, strict=True))
    choices = tuple(f" {letter}" for letter in "ABCD")
    return Item(f"{question.strip()}{lines}\n{ask}", choices, "ABCD".index(answer), subject, intro)


def mmlu(path: PathLike) -> Benchmark:
    """Folders test/ and dev/ of csv files without header (Hendrycks et al., 2021)."""

    def item(row: Sequence[str], subject: str) -> Item:
        intro = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
        return _lettered(row[0], row[1:5], row[5], subject, intro, "Answer:")

    return _multiple_choice(path, False, item)


def cmmlu(path: PathLike) -> Benchmark:
    """Folders test/ (or val/) and dev/ of csv files: number, question, A to D, answer (CMMLU; C-Eval likewise)."""

    def item(row: Sequence[str], subject: str) -> Item:
        return _lettered(
            row[1], row[2:6], row[6], subject, "以下是单项选择题，请直接给出正确答案的选项。\n\n", "答案："
        )

    return _multiple_choice(path, True, item)


# name -> reader of a file or folder
READERS: dict[str, Callable[[PathLike], Benchmark]] = {
    "hellaswag": hellaswag,
    "arc": arc,
    "lambada": lambada,
    "gsm8k": gsm8k,
    "mmlu": mmlu,
    "cmmlu": cmmlu,
    "ceval": cmmlu,
}


def read_benchmark(name: str, path: PathLike) -> Benchmark:
    """Reads a benchmark's file or folder.

    Raises:
      DataError: not there, or of another format.
    """
    if not as_path(path).exists():
        raise DataError(f"{path}: no such file ({name})")
    try:
        return READERS[name](path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: no UTF-8 ({error})") from error
