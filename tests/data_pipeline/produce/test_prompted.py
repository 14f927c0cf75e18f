"""Rows of prompt and completion, from jsonl to batches: what is learnt is the completion, all of it."""

import dataclasses
import json

import numpy as np
import pytest

from data_pipeline.config import ConversationsConfig, SourceConfig
from data_pipeline.dedup import stage as dedup
from data_pipeline.ingest import stage as ingest
from data_pipeline.mix.config import MixtureConfig
from data_pipeline.produce import producer
from data_pipeline.produce.inspect import show_block
from data_pipeline.recipe import run as clean
from maxlm.blocks.format import PADDING_DOMAIN, to_batch
from maxlm.blocks.reader import BlockStore
from maxlm.errors import ConfigError, DataError
from maxlm.tokenizer.load import load_tokenizer
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train
from tests import texts
from tests.data_pipeline.produce import made


def tuned(folder, rows, **produce):
    """A data set of instructions as people keep them."""
    (folder / "in.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    columns = {"prompt": "instruction", "completion": "output"}
    source = SourceConfig(path=str(folder / "in.jsonl"), name="tune", domain="chat", columns=columns)
    config = dataclasses.replace(made.config({}, **produce), sources=(source,), partitions=2)
    dataset = folder / "dataset"
    ingest.run(config, dataset)
    clean(config, dataset)
    dedup.run(config, dataset)
    train(
        (text for _, text in texts.corpus(documents=120)),
        dataset / "tokenizer",
        TokenizerSettings(vocab_size=512, spare_tokens=8),
    )
    return config, dataset


def instructions(count):
    rng = np.random.default_rng(1)
    return [
        {"instruction": f"第{i}题：{texts.chinese(rng, 16)}", "output": texts.english(rng, int(rng.integers(1, 8)))}
        for i in range(count)
    ]


def test_the_completion_alone_is_learnt(tmp_path):
    rows = instructions(40)
    config, dataset = tuned(
        tmp_path, rows, pack="best_fit", seq_len=127, block_tokens=128 * 16, num_blocks=1, holdout=0.05
    )
    producer.run(config, dataset)
    store, tokenizer = BlockStore(dataset), load_tokenizer(dataset / "tokenizer")
    manifest = store.verify(0)
    source = store.source(0)
    packed = store.info.row_format.decode(source.__getitems__(list(range(len(source)))))
    batch = to_batch(packed)
    answers = {row["instruction"] + row["output"]: row["output"] for row in rows}
    seen, masked = 0, 0
    places = np.cumsum(packed.starts, axis=1) * (packed.domains != PADDING_DOMAIN)
    for segments, tokens, learn, weights in zip(places, packed.tokens, packed.learn, batch.weights, strict=True):
        for number in range(1, segments.max() + 1):
            at = np.flatnonzero(segments == number)
            masked += int((~learn[at]).sum())
            assert tokens[at[0]] == tokenizer.bos_id
            assert tokens[at[-1]] == tokenizer.eos_id
            text = tokenizer.decode(tokens[at].tolist())
            answer = at[learn[at]]
            assert tokenizer.decode(tokens[answer].tolist()) == answers[text]
            assert answer[-1] == at[-1]  # that it ends there is learnt too
            assert weights[answer - 1].all()
            assert not weights[np.setdiff1d(at[1:], answer) - 1].any()
            seen += 1
    assert seen > 20
    assert manifest.account.masked == masked
    assert 0 < masked < manifest.account.written


@pytest.mark.parametrize("too_long", ["drop", "cut"])
def test_what_is_longer_than_a_row_is_counted(tmp_path, too_long):
    rows = [*instructions(40), {"instruction": "word " * 200, "output": "yes"}]
    rows += [{"instruction": f"{i}?", "output": "word " * 200} for i in range(3)]
    sizes = {"seq_len": 127, "block_tokens": 128 * 24, "num_blocks": 2, "holdout": 0.0, "pack": "best_fit"}
    config, dataset = tuned(tmp_path, rows, **sizes)
    producer.run(dataclasses.replace(config, conversations=ConversationsConfig(too_long=too_long)), dataset)
    first, second = (BlockStore(dataset).verify(number) for number in range(2))
    assert first.packing.conversations_too_long + second.packing.conversations_too_long >= 4
    for manifest in (first, second):
        packing, account = manifest.packing, manifest.account
        assert (packing.documents_cut, packing.documents_split) == (0, 0)
        lost = packing.tokens_too_long / max(1, packing.conversations_too_long)
        assert lost == 0 or lost > (128 if too_long == "drop" else 70)
        assert account.truncated == packing.tokens_too_long  # none is cut by a budget
    assert sum(made.counted(dataset)) == first.documents + second.documents
    before = made.block_bytes(dataset)
    made.remove_block(dataset, 1)
    producer.run(dataclasses.replace(config, conversations=ConversationsConfig(too_long=too_long)), dataset)
    assert made.block_bytes(dataset) == before
    other = ConversationsConfig(too_long="cut" if too_long == "drop" else "drop")
    with pytest.raises(DataError, match=r"begun with config.conversations.too_long="):
        producer.run(dataclasses.replace(config, conversations=other), dataset)


def test_none_fits_into_a_row(tmp_path):
    rows = [{"instruction": f"{i}?", "output": "word " * 200} for i in range(9)]
    config, dataset = tuned(tmp_path, rows, num_blocks=1, holdout=0.0, pack="best_fit")
    with pytest.raises(
        DataError,
        match=r"domain chat: none of the conversations fits into a row of 64 tokens; raise config.produce.seq",
    ):
        producer.run(config, dataset)
    larger = dataclasses.replace(config.produce, seq_len=1023, block_tokens=1024 * 8)
    producer.run(dataclasses.replace(config, produce=larger), dataset)
    assert BlockStore(dataset).verify(0).packing.conversations_too_long == 0


TURNS = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('System role not supported') }}", "none of the conversations can be used: .*System role"),
        ("{% if messages[0].content[0] == '1' %}{{ raise_exception('No ones') }}{% endif %}" + TURNS, None),
    ],
)
def test_chats_that_the_template_refuses(tmp_path, capsys, template, message):
    """Some are left out and counted; if none can be written, it is told at once: among other text, too."""
    rows = [
        {"messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": "a"}]} for i in range(20)
    ]
    config, dataset = tuned(tmp_path, rows, num_blocks=1, holdout=0.1, pack="best_fit", block_tokens=64 * 16)
    (tmp_path / "mine.jinja").write_text(template)
    config = dataclasses.replace(config, conversations=ConversationsConfig(template=str(tmp_path / "mine.jinja")))
    if message:
        with pytest.raises(DataError, match=message):
            producer.run(config, dataset)
        assert not (dataset / "dataset.json").exists()
        return
    producer.run(config, dataset)
    manifest = BlockStore(dataset).verify(0)
    assert 0 < manifest.packing.conversations_unusable < manifest.documents
    assert manifest.account.truncated == manifest.packing.conversations_too_long == 0
    told = " ".join(capsys.readouterr().err.split())
    counted = f"{manifest.packing.conversations_unusable} of {manifest.documents} documents"
    assert f"block 0: {counted} are conversations that can't be used, and are left out" in told
    assert "row group 0, row" in told
    assert "chat_template.jinja: No ones" in told
    show_block(dataset, 0, 0)
    assert "conversations left out" in capsys.readouterr().out


def test_a_domain_without_anything_to_learn_among_others(tmp_path):
    """What it is compared with are its own documents, not all: theirs would be looked through again and again."""
    long = [{"instruction": f"{i}?", "output": "word " * 200, "domain": "long"} for i in range(3)]
    config, dataset = tuned(tmp_path, [*instructions(60), *long], num_blocks=1, holdout=0.0, pack="best_fit")
    mixture = MixtureConfig(shares={"chat": 0.5, "long": 0.5})
    with pytest.raises(DataError, match="domain long: none of the conversations fits"):
        producer.run(dataclasses.replace(config, mixture=mixture), dataset)


def test_an_edit_that_moved_the_boundary(tmp_path):
    config, dataset = tuned(tmp_path, instructions(10), num_blocks=1, holdout=0.0, pack="best_fit")
    made.edit_texts(dataset, lambda text: text.replace("第", "", 1))
    with pytest.raises(DataError, match=r"parquet, row group 0, row 0: the text was edited, and who said what can't"):
        producer.run(config, dataset)
    assert not (dataset / "blocks/block-00000").exists()


@pytest.mark.parametrize(("produce", "key"), [({"pack": "concatenate"}, "pack"), (made.VARIED, "row_lengths")])
def test_conversations_are_not_cut_by_rows(tmp_path, produce, key):
    config, dataset = tuned(tmp_path, instructions(40), num_blocks=1, holdout=0.0, **produce)
    with pytest.raises(ConfigError, match=rf"config.produce.{key}: conversations are not cut"):
        producer.run(config, dataset)
    assert not (dataset / "blocks/block-00000").exists()
    mended = dataclasses.replace(config.produce, pack="best_fit", row_lengths={}, overlap=0)
    producer.run(dataclasses.replace(config, produce=mended), dataset)  # as it was told to
    assert BlockStore(dataset).verify(0).account.masked
