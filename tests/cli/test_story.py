"""The way as typed: pretrained, out, in, more tokens, another domain with and without replay, longer rows, tuned."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_pipeline.cli import run as maxlm_data_here
from maxlm.cli.main import main
from maxlm.report.collect import collect_run
from maxlm.report.forgetting import forgetting_of
from maxlm.tokenizer.load import load_tokenizer
from tests import texts
from tests.faults.outcome import params_of
from tests.runs import TINY, maxlm

BLOCK = 4096  # tokens
DATA = [
    "--config=configs/data/base.py", "--config.produce.holdout=0.2", f"--config.produce.block_tokens={BLOCK}",
    "--config.produce.num_blocks=3", "--config.produce.seq_len=64", "--config.tokenizer.vocab_size=512",
    "--config.tokenizer.spare_tokens=0", "--config.partitions=2",
]  # fmt: skip


def _data(step: str, dataset: Path, *more: str) -> None:
    maxlm_data_here([step, f"--dataset={dataset}", *DATA, *more])


def _train(workdir: Path, dataset: Path, *more: str) -> str:
    where = [f"--workdir={workdir}", f"--config.data.dataset={dataset}", "--config.data.num_blocks=3"]
    rates = ["--config.train.batch=4", "--config.optimizer.learning_rate=0.01"]
    done = maxlm("train", *where, *rates, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Path:
    """base: English documents' blocks; run: pretrained on them; wide: out, in, with Chinese characters."""
    folder = tmp_path_factory.mktemp("story")
    rng = np.random.default_rng(0)
    made = {"en": [texts.english(rng, 120) for _ in range(60)], "zh": [texts.chinese(rng, 300) for _ in range(60)]}
    rows = [{"text": text, "domain": domain} for domain, several in made.items() for text in several]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    source = json.dumps([{"path": str(folder / "corpus.jsonl"), "columns": {"domain": "domain"}}])
    for step in ("ingest", "clean", "dedup"):
        _data(step, folder / "base", f"--config.sources={source}")
    for step in ("tokenizer", "produce"):
        _data(step, folder / "base", '--config.mixture.shares={"en": 1.0}')
    _train(folder / "run", folder / "base", "--config=configs/base.py", *TINY)
    assert main(["export", f"--workdir={folder / 'run'}", f"--to={folder / 'hf'}"]) == 0
    assert main(["import", f"--from={folder / 'hf'}", f"--workdir={folder / 'imported'}"]) == 0
    (folder / "terms.txt").write_text("".join(f"{c}\n" for c in texts._ZH))
    _data("tokenizer", folder / "base", f"--extend={folder / 'terms.txt'}", f"--out={folder / 'tokenizer'}")
    line = ["resize", f"--from={folder / 'imported'}", f"--tokenizer={folder / 'tokenizer'}"]
    assert main([*line, f"--workdir={folder / 'wide'}"]) == 0
    return folder


def _continued(story: Path, name: str, shares: dict[str, float]) -> dict[str, Any]:
    """A run that goes on from `wide` with these shares; its last stage has rows twice as long and a larger base."""
    dataset = story / f"data-{name}"
    for part in ("documents", "tokenizer"):
        shutil.copytree(story / ("base" if part == "documents" else "") / part, dataset / part)
    stages = [
        {"name": "short", "tokens": 2 * BLOCK, "row_lengths": {"32": 1.0}},
        {"name": "long", "tokens": BLOCK, "row_lengths": {"64": 1.0}},
    ]
    _data("produce", dataset, f"--config.mixture.shares={json.dumps(shares)}", f"--config.stages={json.dumps(stages)}")
    stages = [{"name": "short", "blocks": 2}, {"name": "long", "changes": {"model.rope_base": 1e5}}]
    said = _train(
        story / name, dataset, "--config=configs/continual.py", f"--from={story / 'wide'}", "--fresh",
        f"--config.stages={json.dumps(stages)}",
    )  # fmt: skip
    assert "before the first step: validation loss" in said
    record = collect_run(story / name)
    assert record.config["model"]["embed"] == 32  # of the run that it goes on from; no key was typed
    assert main(["export", f"--workdir={story / name}", f"--to={story / 'out' / name}"]) == 0
    described = json.loads((story / "out" / name / "config.json").read_text())
    assert (described["rope_theta"], described["max_position_embeddings"]) == (1e5, 64)
    return {one.domain: one for one in forgetting_of(record)}


def test_another_domain_with_and_without_replay(story, capsys):
    wide = load_tokenizer(story / "wide" / "tokenizer")
    assert wide.vocab_size > load_tokenizer(story / "imported" / "tokenizer").vocab_size
    found = {
        name: _continued(story, name, shares)
        for name, shares in {"without": {"zh": 1.0}, "with": {"zh": 0.5, "en": 0.5}}.items()
    }
    for name in found:
        assert found[name]["zh"].bpb[1] < 0.8 * found[name]["zh"].bpb[0]  # learnt
    assert found["without"]["en"].loss[0] == found["with"]["en"].loss[0]  # both began with one model
    rises = {name: found[name]["en"].bpb[1] - found[name]["en"].bpb[0] for name in found}
    assert rises["without"] > 0.1
    assert rises["with"] < 0.5 * rises["without"]
    capsys.readouterr()
    assert main(["status", f"--workdir={story / 'without'}"]) == 0
    assert "most was forgotten of en" in " ".join(capsys.readouterr().out.split())
    assert main(["report", f"--workdir={story / 'without'}"]) == 0
    assert "most was forgotten of en" in (story / "without" / "report.html").read_text()


def test_it_is_evaluated_and_writes(story, capsys):
    rows = [{"text": "ka lo mi"}, {"text": "ren to sul"}]
    (story / "lambada.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    where = f"--workdir={story / 'wide'}"
    assert main(["eval", where, f"--tasks=lambada:{story / 'lambada.jsonl'}", "--max-length=64"]) == 0
    assert "perplexity" in capsys.readouterr().out
    assert main(["generate", where, "--prompt=ka", "--max-tokens=8", "--temperature=0"]) == 0
    assert capsys.readouterr().out.startswith("ka")


def _tuned(story: Path, name: str, source: str, rows: list[dict[str, Any]], *more: str) -> Path:
    """A run that goes on from `source` with configs/NAME.py on these rows."""
    folder, dataset = story / f"rows-{name}", story / f"data-{name}"
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    kind = {"sft": "sft", "dpo": "preferences"}[name]
    sizes = {"seq_len": 128, "block_tokens": 2048, "row_multiple": 4, "num_blocks": 1, "holdout": 0.2}
    line = [f"--config=configs/data/{kind}.py:{folder}", f"--dataset={dataset}", "--config.partitions=2"]
    line += [f"--config.produce.{key}={value}" for key, value in sizes.items()]
    for step in ("ingest", "clean", "dedup"):
        maxlm_data_here([step, *line])
    shutil.copytree(story / source / "tokenizer", dataset / "tokenizer")
    maxlm_data_here(["produce", *line])
    _train(
        story / name, dataset, f"--config=configs/{name}.py", f"--from={story / source}", "--fresh",
        "--config.data.num_blocks=1", *more,
    )  # fmt: skip
    return story / name


def test_tuned_on_conversations_and_preferences(story, capsys):
    rng = np.random.default_rng(1)
    chats = [{"instruction": texts.english(rng, 3), "output": "ka lo mi " * (1 + i % 3)} for i in range(120)]
    frozen = ["--config.optimizer.freeze=('embedding',)", "--config.train.batch=2"]
    tuned = _tuned(story, "sft", "wide", chats, *frozen)
    kept = [np.array_equal(*two) for two in zip(params_of(story / "wide"), params_of(tuned), strict=True)]
    assert kept == [True] + [False] * (len(kept) - 1)  # the embedding stands first
    found = {one.domain: one for one in forgetting_of(collect_run(tuned))}
    assert found["chat"].loss[1] < 0.9 * found["chat"].loss[0]
    adapted = "--config.optimizer.lora_rank=4"
    pairs = [{"prompt": texts.english(rng, 3), "chosen": "ka lo mi", "rejected": "ren to sul"} for _ in range(120)]
    record = collect_run(_tuned(story, "dpo", "sft", pairs, "--config.train.log_every=1", adapted))
    metrics, (before, after) = record.metrics, record.validation
    assert metrics[0]["rewards/margin"] == pytest.approx(0, abs=1e-4)  # it begins as its own reference
    assert metrics[-1]["rewards/margin"] > 0
    assert metrics[-1]["rewards/accuracy"] > 0.5
    assert "loss/preferences" in metrics[-1]
    assert before["validation/rewards/margin"] == 0
    assert after["validation/rewards/margin"] > 0  # of pairs that it was not trained on
    assert after["validation/pairs/likelier"] >= before["validation/pairs/likelier"]
    capsys.readouterr()
    where = [f"--workdir={story / 'dpo'}", "--temperature=0", "--max-tokens=8"]
    assert main(["generate", *where, "--chat", "--prompt=ka lo", "--system=mi"]) == 0
    assert "<|im_" not in capsys.readouterr().out
    assert main(["generate", *where, "--prompt=ka lo"]) == 0
    assert capsys.readouterr().out.startswith("ka lo")
    assert main(["generate", *where, "--prompt=a", "--system=b"]) == 2
    assert "--system: belongs to --chat" in capsys.readouterr().err
    assert main(["export", f"--workdir={story / 'dpo'}", f"--to={story / 'out' / 'dpo'}"]) == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("resize --from={none} --tokenizer={new} --workdir={made}", "none: not a run (no checkpoints)"),
        ("resize --from={run} --tokenizer={none} --workdir={made}", "none: no such file; maxlm-data tokenizer"),
        ("resize --from={wide} --tokenizer={old} --workdir={made}", "this tokenizer does not extend the other: id "),
        ("resize --from={run} --tokenizer={new} --workdir={wide}", "holds checkpoints already; name a new --workdir"),
        ("resize --from={run} --tokenizer={new} --workdir={made} --step=5", "no checkpoint of step 5"),
        ("import --from={none} --workdir={made}", "none/config.json: no such file"),
        ("train --config=configs/continual.py --from={none} --fresh --workdir={made}", "none: not a run"),
        ("train --config=configs/continual.py --from={run} --from-step=5 --workdir={made}", "no checkpoint of step 5"),
    ],
)
def test_mistakes_leave_nothing_behind(story, tmp_path, capsys, line, message):
    places = {name: story / name for name in ("run", "wide", "none")} | {"made": tmp_path / "made"}
    places |= {"new": story / "tokenizer", "old": story / "run" / "tokenizer"}
    capsys.readouterr()
    assert main(line.format(**places).split()) == 2
    assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_tokenizer_that_is_not_the_runs(story, tmp_path):
    """Blocks of the extended tokenizer on the run before; the way out is named, and no folder is left."""
    dataset = story / "base"
    done = maxlm(
        "train", "--config=configs/continual.py", f"--from={story / 'wide'}", "--fresh",
        f"--workdir={tmp_path / 'made'}", f"--config.data.dataset={dataset}",
    )  # fmt: skip
    assert done.returncode == 2
    assert f"maxlm resize --from={story / 'wide'}" in done.stderr
    assert not (tmp_path / "made").exists()


def test_a_shape_that_contradicts(story, tmp_path):
    done = maxlm(
        "train", "--config=configs/continual.py", f"--from={story / 'run'}", "--fresh",
        f"--workdir={tmp_path / 'made'}", f"--config.data.dataset={story / 'base'}", "--config.model.mlp=96",
    )  # fmt: skip
    assert done.returncode == 2
    assert "another shape (mlp 64 → 96); leave the keys out" in done.stderr
    assert not (tmp_path / "made").exists()


def test_benchmarks_and_positions_while_it_trains(story, tmp_path, capsys):
    rows = [{"text": "ka lo mi"}, {"text": "ren to sul"}, {"text": "never asked"}]
    (tmp_path / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = f'--config.train.benchmarks=["lambada:{tmp_path / "words.jsonl"}"]'
    said = _train(
        tmp_path / "run", story / "base", "--config=configs/continual.py", f"--from={story / 'run'}", "--fresh",
        "--config.data.num_blocks=1", asked, "--config.train.benchmark_questions=2",
    )  # fmt: skip
    assert "benchmark/lambada/acc" in said
    assert "validation/position" not in said
    first, last = collect_run(tmp_path / "run").validation
    assert first["benchmark/lambada/perplexity"] != last["benchmark/lambada/perplexity"]
    places = sorted(int(key.rsplit("/", 1)[1]) for key in last if key.startswith("validation/position/"))
    assert places == [1, 2, 4, 8, 16, 32, 64]  # rows of 64 tokens
    line = ["eval", f"--workdir={tmp_path / 'run'}", "--json"]
    assert main([*line, f"--tasks=lambada:{tmp_path / 'words.jsonl'}", "--limit=2"]) == 0
    assert json.loads(capsys.readouterr().out)["lambada"]["perplexity"] == pytest.approx(
        last["benchmark/lambada/perplexity"], rel=1e-4
    )
    assert main(["report", f"--workdir={tmp_path / 'run'}"]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "lambada/perplexity" in page
    assert "tokens of the document before it" in page
    capsys.readouterr()
    assert main(["eval", f"--workdir={tmp_path / 'run'}", "--tasks=passkey", "--max-length=256"]) == 0
    assert "256 tokens" in capsys.readouterr().out
