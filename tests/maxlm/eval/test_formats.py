"""Benchmark files, each format from a few rows as published, and rows that are none."""

import json
import os
from pathlib import Path

import pytest

from maxlm.errors import DataError
from maxlm.eval.formats import READERS, read_benchmark

HELLASWAG = {
    "activity_label": "Baking [1]", "ctx_a": "A man [title] stirs.", "ctx_b": "he then", "label": "2",
    "endings": ["pours  it.", "sings [substeps] on.", "eats.", "waits."],
}  # fmt: skip
ARC = {
    "question": {"stem": "What falls?", "choices": [{"text": "rain", "label": "1"}, {"text": "smoke", "label": "2"}]},
    "answerKey": "1",
}  # fmt: skip
FLAT_ARC = {"question": "What falls?", "choices": {"text": ["rain", "smoke"], "label": ["A", "B"]}, "answerKey": "A"}
GSM8K = {"question": "1 + 1?", "answer": "It is <<1+1=2>>2.\n#### 2"}


def _lines(path: Path, *rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_hellaswag(tmp_path):
    (item,) = read_benchmark("hellaswag", _lines(tmp_path / "val.jsonl", HELLASWAG)).items
    assert item.context == "Baking : A man. stirs. He then"
    assert (item.choices, item.answer) == ((" pours it.", " sings on.", " eats.", " waits."), 2)
    whole = {key: value for key, value in HELLASWAG.items() if key not in ("ctx_a", "ctx_b")} | {"ctx": "A man. he"}
    (item,) = read_benchmark("hellaswag", _lines(tmp_path / "ctx.jsonl", whole)).items
    assert item.context == "Baking : A man. he"


@pytest.mark.parametrize("row", [ARC, FLAT_ARC])
def test_arc(tmp_path, row):
    (item,) = read_benchmark("arc", _lines(tmp_path / "test.jsonl", row)).items
    assert (item.context, item.choices, item.answer) == ("Question: What falls?\nAnswer:", (" rain", " smoke"), 0)


def test_lambada(tmp_path):
    (item,) = read_benchmark("lambada", _lines(tmp_path / "test.jsonl", {"text": "so said the fox"})).items
    assert (item.context, item.choices) == ("so said the", (" fox",))


def test_gsm8k_with_shots(tmp_path):
    path = _lines(tmp_path / "test.jsonl", GSM8K | {"question": "2 + 2?"})
    assert read_benchmark("gsm8k", path).shots == ()
    _lines(tmp_path / "train.jsonl", GSM8K)
    benchmark = read_benchmark("gsm8k", path)
    shot = "Question: 1 + 1?\nAnswer: It is <<1+1=2>>2.\n#### 2\n\n"
    assert benchmark.prompt(benchmark.items[0], 1) == shot + "Question: 2 + 2?\nAnswer:"
    with pytest.raises(DataError, match="--shots=2: the benchmark comes with 1 to show"):
        benchmark.prompt(benchmark.items[0], 2)


@pytest.mark.parametrize("name", ["mmlu", "cmmlu", "ceval"])
def test_a_file_for_each_subject(tmp_path, name):
    """Shots are of the question's own subject."""
    part = "val" if name == "ceval" else "test"
    for folder, subject, word in ((part, "law", "q"), ("dev", "law", "s"), ("dev", "art", "t"), (part, "art", "r")):
        suffix = f"_{folder}" if name != "cmmlu" else ""
        row = f'"{word}, why?",one,two,three,four,C\n'
        path = tmp_path / folder / f"{subject}{suffix}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(row if name == "mmlu" else f"id,question,A,B,C,D,answer\n0,{row}")
    benchmark = read_benchmark(name, tmp_path)
    assert [(item.group, item.answer) for item in benchmark.items] == [("art", 2), ("law", 2)]
    prompt = benchmark.prompt(benchmark.items[1], 1)
    intro, asks = {
        "mmlu": ("The following are multiple choice questions (with answers) about law.\n\n", "Answer:"),
    }.get(name, ("以下是单项选择题，请直接给出正确答案的选项。\n\n", "答案："))  # fmt: skip
    options = "\nA. one\nB. two\nC. three\nD. four\n"
    assert prompt == f"{intro}s, why?{options}{asks} C\n\nq, why?{options}{asks}"
    assert benchmark.first(1).items == benchmark.items[:1]
    assert len(read_benchmark(name, next((tmp_path / part).iterdir())).items) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("hellaswag", "{}\n", "line 1: no row of this benchmark .KeyError: 'ctx'"),
        ("hellaswag", '{"a": 1}\n\n[1]\n', "a JSON object was expected|no row"),
        ("arc", json.dumps(FLAT_ARC | {"answerKey": "E"}), "line 1: no row of this benchmark .ValueError"),
        ("lambada", '{"text": "one"}', "no row of this benchmark"),
        ("gsm8k", "no json", "line 1: no JSON"),
        ("gsm8k", "\n", "holds no questions"),
        ("mmlu", "a,b,c\n", "no file of this benchmark"),
        ("cmmlu", "x\n0,q,a,b,c,d,Z\n", "no file of this benchmark"),
    ],
)
def test_other_files(tmp_path, name, content, message):
    (tmp_path / "file").write_text(content)
    with pytest.raises(DataError, match=message):
        read_benchmark(name, tmp_path / "file")


def test_places_without_a_benchmark(tmp_path):
    with pytest.raises(DataError, match=r"none: no such file \(arc\)"):
        read_benchmark("arc", tmp_path / "none")
    with pytest.raises(DataError, match="neither a csv file nor a folder with test"):
        read_benchmark("mmlu", tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match="no UTF-8"):
        read_benchmark("gsm8k", tmp_path / "bytes")


CORPORA = os.environ.get("MAXLM_CORPORA", "")


@pytest.mark.skipif(not CORPORA, reason="MAXLM_CORPORA names no folder with eval/ in it")
def test_published_files():
    places = {
        "hellaswag": ("hellaswag/hellaswag_val.jsonl", 10042), "lambada": ("lambada/lambada_test.jsonl", 5153),
        "gsm8k": ("gsm8k/grade_school_math/data/test.jsonl", 1319), "mmlu": ("mmlu", 14042), "cmmlu": ("cmmlu", 11582),
    }  # fmt: skip
    assert places.keys() <= READERS.keys()
    for name, (path, count) in places.items():
        benchmark = read_benchmark(name, Path(CORPORA) / "eval" / path)
        assert len(benchmark.items) == count, name
        assert len({item.context for item in benchmark.items}) > 0.9 * count, name
