"""The corpus half killed at random instants and started again: the same bytes as if nothing had happened."""

import multiprocessing
import random
import time

import numpy as np
import pytest

from data_pipeline import dedup, ingest, recipe
from data_pipeline.config import (
    DataConfig,
    DecontaminateConfig,
    DedupConfig,
    OperatorConfig,
    SegmentsConfig,
    SourceConfig,
)
from tests.data_pipeline.tables import contents, write_jsonl
from tests.texts import corpus

KILLS = 10


def prepare(config: DataConfig, dataset: str) -> None:
    for stage in (ingest, recipe, dedup):
        stage.run(config, dataset)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A small corpus with copies of all degrees, repeated lines and a benchmark item, through every stage."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    texts = [text for _, text in corpus(documents=120)]
    copies = [" ".join(w for w in text.split(" ") if rng.random() > 0.02) for text in texts[:60]]
    footer = "\nSubscribe to our letter, and share this page."
    for number in range(4):
        rows = [text + footer for text in [*texts[number::4], *copies[number::4], texts[number]]]
        write_jsonl(folder / f"{number}.jsonl", *rows)
    item = " ".join(texts[8].split()[:30])
    (folder / "benchmarks").mkdir()
    write_jsonl(folder / "benchmarks" / "quiz.jsonl", item)
    return DataConfig(
        sources=(SourceConfig(str(folder / "*.jsonl")),),
        recipe=(OperatorConfig("redact"), OperatorConfig("length", (), {"min_words": 10})),
        segments=SegmentsConfig(unit="line"),
        decontaminate=DecontaminateConfig(benchmarks=(str(folder / "benchmarks" / "*.jsonl"),)),
        dedup=DedupConfig(part_documents=20),
        partitions=6,
    )


@pytest.fixture(scope="module")
def server():
    """Processes that start with everything imported, so that the instants fall into the work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data_pipeline.ingest", "data_pipeline.recipe", "data_pipeline.dedup", __name__])
    return context


@pytest.fixture(scope="module")
def undisturbed(config, server, tmp_path_factory):
    """What an undisturbed run leaves, and how long it takes, in seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for attempt in ("warm", "timed"):
        start = time.perf_counter()
        process = server.Process(target=prepare, args=(config, str(folder / attempt)))
        process.start()
        process.join()
        assert process.exitcode == 0
    taken = time.perf_counter() - start
    assert contents(folder / "warm") == contents(folder / "timed")
    return contents(folder / "timed"), taken


@pytest.mark.parametrize("kill", range(KILLS))
def test_killed_and_started_again_it_makes_the_same_bytes(config, server, undisturbed, tmp_path, kill):
    expected, taken = undisturbed
    process = server.Process(target=prepare, args=(config, str(tmp_path)))
    process.start()
    time.sleep(random.Random(kill).uniform(0, taken))
    process.kill()
    process.join()
    prepare(config, str(tmp_path))
    assert contents(tmp_path) == expected
