import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from data_pipeline import attributes, cli, dedup, engine, ingest, recipe
from data_pipeline.config import DataConfig, DecontaminateConfig, OperatorConfig, SegmentsConfig, SourceConfig
from data_pipeline.decontamination import benchmarks, contamination
from data_pipeline.decontamination import stage as decontaminate
from data_pipeline.document import DOCUMENTS, INGESTED, REMOVED_DOCUMENTS
from data_pipeline.ingest.stage import document_id
from maxlm.errors import ConfigError, DataError
from tests.data_pipeline.tables import contents, rows_of, write_jsonl

QUESTION = (
    "Mia picks twelve apples on Monday, nine on Tuesday and gives a third of all of them to her neighbour; "
    "how many apples does she have left?"
)
CHINESE = "小明早上从家里出发去学校，走了一半的路程以后发现忘了带数学作业本，于是又回家去拿。"
ITEMS = [{"question": QUESTION, "answer": "fourteen"}, {"question": CHINESE}, {"question": "What is one and one?"}]


def prose(seed, count):
    """Words that no benchmark holds."""
    return " ".join(f"{letter}{seed}x{i}" for i, letter in enumerate("abcdefgh" * (count // 8 + 1)) if i < count)


def prepared(tmp_path, texts, items=(), steps=(), partitions=3, **options):
    write_jsonl(tmp_path / "in.jsonl", *texts, source="web")
    bench = tmp_path / "bench" / "test.jsonl"
    bench.parent.mkdir()
    bench.write_text("".join(json.dumps(item) + "\n" for item in items or ITEMS))
    config = DataConfig(
        sources=(SourceConfig(str(tmp_path / "in.jsonl")),),
        recipe=steps,
        partitions=partitions,
        decontaminate=DecontaminateConfig(benchmarks=(f"{tmp_path}/bench/*",), **options),
    )
    ingest.run(config, tmp_path / "data")
    recipe.run(config, tmp_path / "data")
    return config, tmp_path / "data"


def run(tmp_path, texts, items=(), **options):
    config, dataset = prepared(tmp_path, texts, items, **options)
    decontaminate.run(config, dataset)
    return dataset


def said(dataset):
    """By text as it came: what decontamination says of it."""
    texts = {row["id"]: row["text"] for row in rows_of(dataset / INGESTED)}
    return {texts[row["id"]]: row for row in rows_of(dataset / decontaminate.DECONTAMINATED)}


def left(dataset):
    found = {}
    for name in engine.require(dataset / INGESTED, "ingest"):
        documents = engine.read_partition(dataset / INGESTED / name)
        tables = [engine.read_partition(dataset / f"corpus/attributes/{s}" / name) for s in ("clean", "decontaminate")]
        found |= zip(documents["text"].to_pylist(), attributes.current_texts(documents, tables), strict=True)
    return found


def test_an_item_in_other_dress_is_found_and_the_rest_stays(tmp_path):
    leak = prose(1, 30) + " " + QUESTION.upper().replace(" ", "\n").replace(",", " ,") + " " + prose(2, 9)
    near = " ".join(QUESTION.split()[:12])  # a word less than a run
    chinese = prose(3, 5) + CHINESE.replace("，", " ")
    dataset = run(tmp_path, [leak, near, chinese, prose(4, 50)])
    rows = said(dataset)
    assert {text for text, row in rows.items() if row["reason"]} == {leak, chinese}
    assert all(set(row.values()) == {row["id"], None} for text, row in rows.items() if not row["reason"])
    row = rows[leak]
    assert (row["operator"], row["reason"]) == ("decontaminate", "benchmark_overlap")
    runs = len(QUESTION.split()) - 12
    assert row["value"] == runs
    passage = leak[row["start"] : row["end"]]
    assert " ".join(passage.lower().split()) == QUESTION.lower().replace(",", " ,").rstrip("?")
    assert row["evidence"] == f"{runs} of {runs} runs of test.jsonl item 0: {passage}"[: len(row["evidence"])]
    assert left(dataset) == {leak: None, near: near, chinese: None, prose(4, 50): prose(4, 50)}


def test_hits_are_listed_and_shown(tmp_path):
    leak = prose(1, 3) + " " + QUESTION
    dataset = run(tmp_path, [leak, CHINESE + prose(1, 3), prose(2, 9)])
    hits = {row["item"]: row for row in rows_of(dataset / contamination.HITS)}
    assert hits.keys() == {0, 1}
    start = leak.index("Mia")
    assert hits[0] == {
        "id": document_id("web", leak),
        "source": "web",
        "benchmark": "test.jsonl",
        "item": 0,
        "runs": len(QUESTION.split()) - 12,
        "of": len(QUESTION.split()) - 12,
        "start": start,
        "end": len(leak) - 1,
        "text": leak[start:-1],
        "action": "drop",
    }
    assert contamination.count(dataset) == (2, 2)
    console = Console(record=True, width=200)
    contamination.show_hits(dataset, 5, console)
    shown = console.export_text()
    assert "test.jsonl, item 0" in shown
    assert QUESTION[:60] in shown


def test_marking_leaves_the_document(tmp_path):
    dataset = run(tmp_path, [QUESTION, prose(1, 20)], action="mark")
    assert all(text == after for text, after in left(dataset).items())
    row = said(dataset)[QUESTION]
    assert row["marks"] == ["decontaminate.benchmark_overlap"]
    assert "test.jsonl item 0" in row["evidence"]


def test_cutting_takes_the_passage_and_a_margin(tmp_path):
    text = prose(1, 60) + "\n" + QUESTION + "\n" + prose(2, 60)
    row = said(run(tmp_path / "a", [text], action="cut", margin=10))[text]
    assert row["reason"] is None
    assert row["edits"] == [("decontaminate.passage", 1)]
    before, after = row["text"].split("\n")
    # Of the margin of 10 characters on either side one is the line's end (and, behind, one the question mark); the word
    # that it cuts goes with it.
    assert prose(1, 60) == f"{before} {' '.join(prose(1, 60).split()[-2:])}"
    assert prose(2, 60) == f"{' '.join(prose(2, 60).split()[:2])} {after}"
    dropped = said(run(tmp_path / "b", [text], action="cut", margin=10, max_cut_share=0.1))[text]
    assert dropped["reason"] == "benchmark_overlap"


def test_what_stands_in_many_documents_condemns_only_copies(tmp_path):
    phrase = " ".join(QUESTION.split()[:14])
    texts = [f"{phrase} {prose(i, 20)}" for i in range(4)] + [QUESTION]
    dataset = run(tmp_path / "held", texts, max_documents=4)
    assert {text for text, row in said(dataset).items() if row["reason"]} == {QUESTION}
    summary = json.loads((dataset / contamination.SUMMARY).read_text())
    assert summary["common_runs"] == 2
    assert {row["documents"] for row in summary["most_common"]} == {5}
    assert all(row["text"] in QUESTION for row in summary["most_common"])
    for name, limit in (("more", 5), ("off", 0)):
        dataset = run(tmp_path / name, texts, max_documents=limit)
        assert {text for text, row in said(dataset).items() if row["reason"]} == set(texts)


def test_numbers_in_a_row_are_listed_only(tmp_path):
    numbers = "[" + ", ".join(map(str, range(40))) + "]"
    items = [{"code": f"assert total({numbers}) == 780"}, {"code": QUESTION}]
    texts = [f"The first forty numbers are {numbers}", f"{numbers} {QUESTION}"]
    dataset = run(tmp_path, texts, items, whole_share=1.0)
    assert {text for text, row in said(dataset).items() if row["reason"]} == {texts[1]}
    hits = {(row["id"], row["item"]): row for row in rows_of(dataset / contamination.HITS)}
    first, second = (document_id("web", text) for text in texts)
    assert {key: row["action"] for key, row in hits.items()} == {
        (first, 0): "listed",
        (second, 0): "listed",
        (second, 1): "drop",
    }
    assert contamination.count(dataset) == (1, 1)


def test_a_least_overlap_can_be_asked_for(tmp_path):
    texts = [" ".join(QUESTION.split()[:14]) + " " + prose(1, 5), QUESTION]
    assert said(run(tmp_path, texts, min_overlap=3))[texts[0]]["reason"] is None


def test_texts_count_as_the_stages_before_leave_them(tmp_path):
    leak = QUESTION.replace("Mia", "mia@example.com Mia")
    steps = (OperatorConfig("redact"), OperatorConfig("length", params={"max_words": 40, "min_words": 1}))
    texts = [leak, QUESTION + prose(1, 60)]
    rows = said(run(tmp_path, texts, steps=steps))
    assert rows[leak]["reason"] == "benchmark_overlap"
    assert rows[leak]["start"] == len("<email> ")
    assert rows[texts[1]]["reason"] is None  # the recipe dropped it


WORDS = st.lists(st.sampled_from("abcdef"), max_size=12).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=5), st.lists(WORDS, max_size=6), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_scan_as_a_loop_over_places(items, texts, ngram):
    runs = [item.split()[i : i + ngram] for item in items for i in range(len(item.split()) - ngram + 1)]
    config = DecontaminateConfig(benchmarks=("x",), ngram=ngram, min_words=20, max_items=100)
    built = [benchmarks.Item(i, (item,)) for i, item in enumerate(items)]
    known = benchmarks.find_runs(config, built)
    assert len(known.run) == len({(tuple(words), i) for i, item in enumerate(items) for words in grams(item, ngram)})
    if not runs:
        return
    found = decontaminate.scan(benchmarks.Index(known.table()), texts).to_pylist()
    expected = [
        (row, 2 * i, 2 * (i + ngram) - 1)
        for row, text in enumerate(texts)
        for i, words in enumerate(grams(text, ngram))
        if words in runs
    ]
    assert [(row["row"], row["start"], row["end"]) for row in found] == expected


def grams(text, ngram):
    words = text.split()
    return [words[i : i + ngram] for i in range(len(words) - ngram + 1)]


def test_a_text_longer_than_a_piece_is_scanned_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(decontaminate, "_PIECE_CHARACTERS", 1000)
    monkeypatch.setattr(decontaminate, "_OVERLAP_CHARACTERS", 300)
    config, _ = prepared(tmp_path, ["x"])
    [index] = [benchmarks.Index(benchmarks.build(config.decontaminate, benchmarks.files(config.decontaminate))[2])]
    whole = {row["run"] for row in decontaminate.scan(index, [QUESTION]).to_pylist()}
    assert len(whole) == len(QUESTION.split()) - 12
    for at in range(0, 3000, 97):
        text = ("y" * 9 + " ") * (at // 10) + QUESTION + " " + "z " * 700
        found = decontaminate.scan(index, [text]).to_pylist()
        assert {row["run"] for row in found} == whole
        assert len(found) == len(whole)
        assert min(row["start"] for row in found) == text.index("Mia")


def test_killed_and_started_again_it_comes_out_the_same(tmp_path):
    config, dataset = prepared(tmp_path, [QUESTION + prose(i, 5) for i in range(6)])
    decontaminate.run(config, dataset)
    whole = contents(dataset)
    partition = engine.partition_names(3)[1]
    for path in ("corpus/decontamination/found", contamination.COMMON, decontaminate.DECONTAMINATED):
        (dataset / path / partition).unlink()
        decontaminate.run(config, dataset)
        assert contents(dataset) == whole


def test_other_benchmarks_start_again(tmp_path):
    config, dataset = prepared(tmp_path, [QUESTION, prose(1, 30)])
    decontaminate.run(config, dataset)
    (tmp_path / "bench" / "more.txt").write_text(prose(1, 30))
    decontaminate.run(config, dataset)
    assert all(row["reason"] for row in said(dataset).values())


def test_dedup_cuts_and_decontaminates_first_and_decides_by_all(tmp_path):
    banner = "Read more stories like this one on our pages."
    leak = f"{banner}\n{QUESTION}"
    texts = [leak, *(f"{banner}\n{prose(i, 40)}" for i in range(3))]
    config, dataset = prepared(tmp_path, texts)
    config = replace(config, segments=SegmentsConfig(unit="line", min_documents=4))
    dedup.run(config, dataset)
    assert {row["text"] for row in rows_of(dataset / DOCUMENTS)} == {prose(i, 40) for i in range(3)}
    [gone] = rows_of(dataset / REMOVED_DOCUMENTS)
    assert (gone["operator"], gone["reason"]) == ("decontaminate", "benchmark_overlap")
    assert gone["evidence"].startswith("15 of 15 runs of test.jsonl item 0: Mia picks")
    assert gone["text"][gone["start"] : gone["end"]] == QUESTION[:-1]


def test_the_commands(tmp_path, capsys):
    write_jsonl(tmp_path / "in.jsonl", QUESTION, prose(1, 40))
    write_jsonl(tmp_path / "bench.jsonl", QUESTION)
    for command, asked in (("segments", "config.segments.unit"), ("decontaminate", "config.decontaminate.benchmarks")):
        with pytest.raises(ConfigError, match=re.escape(asked)):
            cli.run([command, "--config=configs/data/base.py", f"--dataset={tmp_path}/data"])
    (tmp_path / "config.py").write_text(f"""
from data_pipeline.config import base
def get_config():
    config = base()
    config.sources = [{{"path": "{tmp_path}/in.jsonl"}}]
    config.segments.unit = "line"
    config.decontaminate.benchmarks = ("{tmp_path}/bench.jsonl",)
    return config
""")
    for command in ("ingest", "clean", "segments", "decontaminate"):
        cli.run([command, f"--config={tmp_path}/config.py", f"--dataset={tmp_path}/data"])
    cli.run(["inspect", f"--dataset={tmp_path}/data", "--hits"])
    told = capsys.readouterr().out
    assert "repeats to be cut from 0 documents" in told
    assert "1 benchmark items found in 1 documents (look: maxlm-data inspect --hits)" in told
    assert "bench.jsonl, item 0: 15 of 15 runs" in told


def test_off_without_benchmarks_and_refused_without_documents(tmp_path):
    decontaminate.run(DataConfig(), tmp_path)
    assert not list(tmp_path.iterdir())
    assert "decontaminate" not in attributes.stages(DataConfig())
    config = DataConfig(decontaminate=DecontaminateConfig(benchmarks=("x",)))
    assert attributes.stages(config)[:2] == ("clean", "decontaminate")
    with pytest.raises(DataError, match="run `maxlm-data ingest` first"):
        decontaminate.run(config, tmp_path)
    with pytest.raises(DataError, match="run `maxlm-data decontaminate` first"):
        contamination.show_hits(tmp_path, 1, Console())
    with pytest.raises(ConfigError, match=r"config.decontaminate.ngram: 0 is less than 1"):
        DecontaminateConfig(ngram=0)
