"""Blocks of conversations and preferences, as typed, and what people get wrong. test_story.py trains on such blocks."""

import json
import shutil

import numpy as np
import pytest

from data_pipeline import cli
from maxlm.blocks.reader import BlockStore
from tests import texts
from tests.runs import make_tokenised_dataset

SIZES = (
    "--config.produce.seq_len=127 --config.produce.block_tokens=4096 --config.produce.row_multiple=4 "
    "--config.produce.num_blocks=1 --config.produce.holdout=0.1"
).split()


def data_main(line):
    """`maxlm-data …` within this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["maxlm-data", *line])
        return cli.main()


def chats(count):
    rng = np.random.default_rng(0)
    for i in range(count):
        turns = [("user", f"{i}: {texts.english(rng, 4)}"), ("assistant", texts.english(rng, 3))]
        yield {"messages": [{"role": role, "content": content} for role, content in turns]}


def pairs(count):
    rng = np.random.default_rng(1)
    for i in range(count):
        asked = f"\n\nHuman: {i} {texts.english(rng, 3)}\n\nAssistant:"
        yield {name: f"{asked} {texts.english(rng, 3)}" for name in ("chosen", "rejected")}


def prepare(folder, rows, config, tokenizer, *more):
    """The data commands one after the other; returns what the last one returned."""
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    where = [f"--config=configs/data/{config}.py:{folder / 'in'}", f"--dataset={folder / 'data'}", *SIZES, *more]
    for command in ("ingest", "clean", "dedup"):
        if code := data_main([command, *where]):
            return code
    shutil.copytree(tokenizer, folder / "data" / "tokenizer")
    return data_main(["produce", *where])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenised_dataset(tmp_path_factory.mktemp("tuning"), blocks=1) / "tokenizer"


def test_blocks(tokenizer, tmp_path, capsys):
    for name, rows, is_pairs in (("sft", chats(60), False), ("preferences", pairs(60), True)):
        assert prepare(tmp_path / name, rows, name, tokenizer) == 0
        manifest = BlockStore(tmp_path / name / "data").verify(0)
        assert manifest.pairs is is_pairs
        assert 0 < manifest.account.masked < manifest.account.written
        assert data_main(["inspect", f"--dataset={tmp_path / name / 'data'}", "--block=0", "-n", "1"]) == 0
    assert "pairs: a preferred answer" in capsys.readouterr().out


def test_a_template_is_kept_with_the_data(tokenizer, tmp_path, capsys):
    template, folder = tmp_path / "mine.jinja", tmp_path / "a"
    template.write_text("{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}")
    more = f"--config.conversations.template={template}"
    assert prepare(folder, chats(40), "sft", tokenizer, more) == 0
    assert (folder / "data" / "tokenizer" / "chat_template.jinja").read_text() == template.read_text()
    where = [f"--config=configs/data/sft.py:{folder / 'in'}", f"--dataset={folder / 'data'}", *SIZES, more]
    assert data_main(["produce", *where]) == 0
    template.write_text("another")
    assert data_main(["produce", *where]) == 2
    assert "was begun with this chat template, and config.conversations.template=" in capsys.readouterr().err


def test_the_template_that_is_in_use_may_be_named(tokenizer, tmp_path):
    """That of the tokenizer's, ChatML here, is the same whether it is named or not."""
    assert prepare(tmp_path / "a", chats(40), "sft", tokenizer) == 0
    where = [f"--config=configs/data/sft.py:{tmp_path / 'a' / 'in'}", f"--dataset={tmp_path / 'a' / 'data'}", *SIZES]
    assert data_main(["produce", *where, "--config.conversations.template=chatml"]) == 0
    (tmp_path / "other.jinja").write_text("another")
    assert data_main(["produce", *where, f"--config.conversations.template={tmp_path / 'other.jinja'}"]) == 2


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "turns of loops and calls"),
        ("{{ 'x' * 10**9 }}", "makes a text or list"),
        ("{% for %}", "no chat template"),
        (None, "no such file (a chat template)"),
    ],
)
def test_templates_that_can_not_be_used(tokenizer, tmp_path, capsys, template, message):
    path = tmp_path / "bad.jinja"
    if template is not None:
        path.write_text(template)
    more = f"--config.conversations.template={path}"
    assert prepare(tmp_path / "a", chats(40), "sft", tokenizer, more) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in told
    assert ".jinja" in told


def test_rows_that_are_no_conversations(tokenizer, tmp_path, capsys):
    bad = [{"messages": [{"role": "wizard", "content": "x"}]}, {"prompt": "p", "chosen": "a", "rejected": "a"}]
    assert prepare(tmp_path / "a", [*chats(40), *bad], "sft", tokenizer) == 0
    assert data_main(["inspect", f"--dataset={tmp_path / 'a' / 'data'}", "--quarantine", "-n", "9"]) == 0
    told = capsys.readouterr().out
    assert "unknown_role" in told
    assert "same_answers" in told


def test_pairs_among_chats(tokenizer, tmp_path, capsys):
    assert prepare(tmp_path / "a", [*chats(40), *pairs(40)], "sft", tokenizer) == 2
    assert "make a data set of pairs alone" in capsys.readouterr().err
