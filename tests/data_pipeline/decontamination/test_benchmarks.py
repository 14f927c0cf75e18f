import bz2
import csv
import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipeline.config import DecontaminateConfig
from data_pipeline.decontamination import benchmarks, wordruns
from maxlm.errors import ConfigError, DataError

QUESTION = "How many apples are left in the basket when three of the nine are eaten by the children?"
OTHER = "Which of the four rivers that are named below flows through the most countries of Europe today?"


def words(letter, count):
    return " ".join(f"{letter}{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(count))


def build(tmp_path, *items, name="bench.jsonl", **options):
    (tmp_path / name).write_text("\n".join(json.dumps(item, ensure_ascii=False) for item in items), encoding="utf-8")
    config = DecontaminateConfig(benchmarks=(str(tmp_path / name),), **options)
    return benchmarks.build(config, benchmarks.files(config))


def counts(tmp_path, *items, **options):
    return build(tmp_path, *items, **options)[1]["runs"].to_pylist()


def formats(tmp_path):
    rows = [{"question": QUESTION, "choices": ["six", "nine"], "n": 1}, {"question": OTHER, "choices": ["a", "b"]}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text("\ufeff" + lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "c.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "d.json").write_text(json.dumps({"keywords": "x", "few": [{"a": "b"}], "example": rows}))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "e.parquet")
    (tmp_path / "f.txt.bz2").write_bytes(bz2.compress(f"{QUESTION}\n\n{OTHER}\n".encode()))
    with open(tmp_path / "g.csv", "w", newline="") as file:
        csv.writer(file).writerows([["question", "A", "B"], [QUESTION, "six", "nine"], [OTHER, "a", "b\nc"]])


def test_all_formats_hold_the_same_items(tmp_path):
    formats(tmp_path)
    for file in benchmarks.files(DecontaminateConfig(benchmarks=(str(tmp_path),))):
        items = list(benchmarks.read_items(file.path))
        long = [string.strip() for item in items for string in item.strings if len(string) > 50]
        assert long == [QUESTION, OTHER], file
    *_, rows = benchmarks.read_items(str(tmp_path / "g.csv")), list(benchmarks.read_items(str(tmp_path / "g.csv")))
    assert [(item.row, item.strings[1:]) for item in rows[1:]] == [(1, ("six", "nine")), (2, ("a", "b\nc"))]


def test_only_the_fields_that_are_named(tmp_path):
    formats(tmp_path)
    for name in ("a.jsonl", "e.parquet", "g.csv"):
        items = benchmarks.read_items(str(tmp_path / name), ["question"])
        assert [item.strings for item in items if item.strings] == [(QUESTION,), (OTHER,)]
    assert [item.strings for item in benchmarks.read_items(str(tmp_path / "a.jsonl"), ["choices"])] == [
        ("six", "nine"),
        ("a", "b"),
    ]


def test_names_are_those_below_the_wildcards(tmp_path):
    (tmp_path / "deep/er").mkdir(parents=True)
    for name in ("deep/er/b.jsonl", "deep/a.csv", "deep/notes.pdf"):
        (tmp_path / name).write_text("")
    for pattern in (f"{tmp_path}/**/*", f"{tmp_path}/*/**", str(tmp_path)):
        files = benchmarks.files(DecontaminateConfig(benchmarks=(pattern,)))
        assert [file.name for file in files] == ["deep/a.csv", "deep/er/b.jsonl"]
    [file] = benchmarks.files(DecontaminateConfig(benchmarks=(f"{tmp_path}/deep/a.csv",)))
    assert file.name == "a.csv"


def test_each_run_of_thirteen_words_counts_once(tmp_path):
    text = words("w", 20)
    assert counts(tmp_path, {"q": text}, {"q": words("v", 13)}, {"q": text, "again": text}) == [8, 1, 8]


def test_runs_do_not_go_on_from_string_to_string(tmp_path):
    assert counts(tmp_path, {"a": words("w", 12), "b": words("v", 13), "c": words("u", 12)}) == [1]


def test_a_short_item_is_taken_whole_if_it_is_long_enough(tmp_path):
    items, runs = build(tmp_path, {"q": words("w", 8), "a": "no"}, {"q": words("v", 7)}, {"q": words("u", 12)})[1:]
    assert items["runs"].to_pylist() == [1, 0, 1]
    assert sorted(runs["length"].to_pylist()) == [8, 12]
    whole = wordruns.words_of([words("w", 8)])
    [(_, _, hashes)] = wordruns.runs(whole, [8])
    assert hashes[0] in runs["run"].to_numpy()


def test_scripts_without_spaces_have_their_own_lengths(tmp_path):
    han = "".join(chr(0x4E00 + i) for i in range(25))
    found = counts(tmp_path, {"q": han}, {"q": han[:19]}, {"q": han[:12]}, {"q": han[:11]})
    assert found == [6, 1, 1, 0]


def test_runs_of_numbers_are_told_apart(tmp_path):
    numbers = " ".join(map(str, range(100, 120)))
    half = " ".join(f"{i} w{chr(97 + i)}" for i in range(7))
    runs = build(tmp_path, {"q": numbers}, {"q": "1 2 3 4 5 6 7 8 9"}, {"q": half})[2].to_pylist()
    assert {(row["item"], row["plain"]) for row in runs} == {(0, False), (1, False), (2, False), (2, True)}


def test_what_many_items_share_is_a_template(tmp_path):
    prompt = "Read the passage with care and then choose the one best answer of these four: "
    items = [{"q": prompt + words(chr(97 + i), 13)} for i in range(6)]
    templates, table, runs = build(tmp_path, *items, max_items=5)
    [template] = templates.to_pylist()
    length = len(prompt.split())
    assert template == {"file": "bench.jsonl", "items": 6, "runs": length - 12, "text": template["text"]}
    assert template["text"] in prompt
    assert table["runs"].to_pylist() == [13] * 6  # those that begin in the prompt and end in the item are its own
    assert build(tmp_path, *items, max_items=6)[0].num_rows == 0
    assert len(set(runs["run"].to_pylist())) == 6 * 13


def test_the_index_finds_what_is_there_and_nothing_else(tmp_path):
    runs = build(tmp_path, {"q": words("w", 40)}, {"q": words("w", 30)})[2]
    index = benchmarks.Index(runs)
    known = np.unique(runs["run"].to_numpy())
    generator = np.random.default_rng(1)
    asked = np.concatenate([generator.integers(0, 2**64, 100_000, np.uint64), known, known + np.uint64(1)])
    generator.shuffle(asked)
    which, place = index.find(asked, 13)
    assert sorted(which.tolist()) == np.flatnonzero(np.isin(asked, known)).tolist()
    assert (index.runs[place] == asked[which]).all()
    of, items = index.items_of(place)
    found = {(int(asked[which[i]]), int(item)) for i, item in zip(of, items, strict=True)}
    assert found == set(zip(runs["run"].to_pylist(), runs["item"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("a.jsonl", b'{"q": "a"}\n{"q": '),
        ("a.json", b"[" * 100_000),
        ("a.csv", b"caf\xe9,1\n"),
        ("a.txt", "text".encode("utf-16")),
        ("a.parquet", b"PAR1 no"),
        ("a.jsonl.gz", gzip.compress(b'{"q": "a"}\n' * 1000, mtime=0)[:-20]),
    ],
)
def test_damaged_files_are_named(tmp_path, name, raw):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(DataError, match=rf"{name}: not a readable benchmark file"):
        list(benchmarks.read_items(str(tmp_path / name)))


def test_patterns_that_name_nothing_are_refused(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"")
    for pattern, message in (("none/*.jsonl", "no such file"), ("a.pdf", "unknown type of file")):
        with pytest.raises(ConfigError, match=rf"config.decontaminate.benchmarks: .*{message}"):
            benchmarks.files(DecontaminateConfig(benchmarks=(f"{tmp_path}/{pattern}",)))


def test_benchmarks_without_long_text_are_refused(tmp_path):
    with pytest.raises(DataError, match="no file holds text under answer that is long enough"):
        build(tmp_path, {"q": QUESTION, "answer": "42"}, fields=("answer",))
