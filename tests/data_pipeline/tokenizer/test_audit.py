"""An audit finds what is wrong with a tokenizer, and says so where nothing is; as typed, too."""

import dataclasses
import json
import shutil

import pytest

from data_pipeline import cli
from data_pipeline.mix.corpus import Corpus
from data_pipeline.tokenizer import audit, compression, coverage, stage
from data_pipeline.tokenizer.config import TokenizerConfig
from maxlm.errors import DataError, UserError
from maxlm.tokenizer.extend import extend
from maxlm.tokenizer.load import load_tokenizer
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.spm import SentencePieceTokenizer
from maxlm.tokenizer.spm_proto import Model
from maxlm.tokenizer.train import train, train_model
from tests import texts
from tests.data_pipeline.produce import made
from tests.runs import maxlm_data

SPAM = "点击进入大发彩票平台 http://www.kamiren.com/ "


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Documents, a tenth of them with spam."""
    folder = tmp_path_factory.mktemp("dataset")
    documents = [
        (domain, SPAM * 5 + text if i % 10 == 3 else text)
        for i, (domain, text) in enumerate(texts.corpus(documents=80))
    ]
    made.write_documents(folder, documents)
    return folder


def config(**tokenizer_config):
    return dataclasses.replace(made.CONFIG, tokenizer=TokenizerConfig(**{"vocab_size": 640, **tokenizer_config}))


@pytest.mark.parametrize("kind", ["sentencepiece", "bytelevel"])
def test_dirt_is_left_out_and_listed(dataset, tmp_path, kind):
    shutil.copytree(dataset, tmp_path / "d")
    dirty_config = config(kind=kind, dirt=())
    stage.run(dirty_config, tmp_path / "d")
    dirty = load_tokenizer(tmp_path / "d" / "tokenizer")
    corpus = Corpus(tmp_path / "d", 0.1)
    told = audit.audit(config(kind=kind), corpus, dirty, 100)
    removed = {text for _, text, _ in told["dirty"]}
    assert any("彩票平台" in text for text in removed)
    assert "dirty tokens, e.g." in told["findings"][0]
    assert "train again" in told["findings"][0]
    clean = stage.run(config(kind=kind), tmp_path / "d")
    assert (clean["dirty"], clean["findings"]) == ([], [])
    assert removed <= clean["left_out"].keys()
    tokenizer = load_tokenizer(tmp_path / "d" / "tokenizer")
    for text in (SPAM, *removed):  # no text becomes a removed token
        found = {tokenizer.decode([i]) for i in tokenizer.encode(text)}
        assert not found & removed
    assert tokenizer.num_pieces == 640


def test_user_tokens_are_no_dirt(dataset):
    tokenizer = train_model(
        (text for _, text in texts.corpus(documents=60)),
        TokenizerSettings(vocab_size=512, user_tokens=("www.mine.com",)),
    )
    assert audit.dirty(config(), tokenizer) == []


def test_what_is_wrong_is_found(dataset):
    """A dead piece, an address, missing characters; another form; and Chinese that takes a token a character."""
    good = train_model((text for _, text in texts.corpus(documents=60)), TokenizerSettings(vocab_size=512))
    bad = SentencePieceTokenizer(Model(good.model).extended(merge=["qxzqxz"], always=["www.a.com"]))
    object.__setattr__(bad, "user_tokens", ())
    asked = config(characters="gb2312")
    told = audit.audit(asked, Corpus(dataset, 0.1), bad, 50)
    words = " | ".join(told["findings"])
    assert "1 dirty tokens, e.g. 'www.a.com' (url: www.)" in words
    assert "1 tokens that no text becomes, e.g. 'qxzqxz'" in words
    assert "characters of GB2312's first level are several tokens" in words
    assert all("train again" in finding for finding in told["findings"])
    assert any("Chinese: " in warning and "1.3 to 1.8 is usual" in warning for warning in told["warnings"])
    told |= {"round_trip": {"failed_strings": ["'x'"], "failed_byte_strings": [], "takes_surrogates": True}}
    told |= {"hugging_face": {"differing": ["'y'"]}}
    more = " | ".join(audit.findings(asked, Corpus(dataset, 0.1), told))
    assert "1 random texts do not come back, e.g. 'x'" in more
    assert "lone surrogates pass" in more
    assert "tokenizer.json gives other ids for 1 texts, e.g. 'y'" in more


def test_chinese_characters_are_counted_over_their_runs():
    encoder = compression.Encoder("two a token", 9, lambda texts: [[0] * -(-len(text) // 2) for text in texts])
    told = compression.compression(encoder, ["中文字a中", "abcd"])
    assert told == {
        "bytes": 17, "chars": 9, "tokens": 5, "bytes_per_token": 3.4, "chars_per_token": 1.8, "han": 4,
        "han_per_token": round(4 / 3, 4),
    }  # fmt: skip
    assert "han" not in compression.compression(encoder, ["abcd"])
    groups = compression.by_group(encoder, ["ab", "中文", "cd"], ["en", "zh", "en"])
    assert (list(groups), groups["en"]["tokens"]) == (["en", "zh"], 2)


def test_words_are_the_texts_own():
    documents = ["the cat and the hat " * 20 + "zyxwvu it's Not_this 2abc"]
    tokenizer = train_model(
        iter([*documents, *[text for _, text in texts.corpus()]]), TokenizerSettings(vocab_size=512)
    )
    told = coverage.words(tokenizer, documents)
    assert (told["wanted"], told["first_missing"][-1]) == (5, "zyxwvu")
    assert told["single"] == 5 - len(told["first_missing"])


def test_as_typed(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "data")
    other = tmp_path / "other"
    settings = TokenizerSettings(kind="bytelevel", vocab_size=512, digits=3)
    train((text for _, text in texts.corpus(documents=60)), other, settings)
    where = ["--config=configs/data/quickstart.py", f"--dataset={tmp_path}/data", "--config.tokenizer.vocab_size=640"]
    trained = maxlm_data("tokenizer", *where)
    assert "audited and clean" in trained.stdout, trained.stderr
    both = [f"--compare={other}", f"--compare={other}/tokenizer.json"]
    more = maxlm_data("tokenizer", *where, "--audit", *both, "--strings=3000")
    assert more.returncode == 0, more.stderr
    for words in (
        "domain zh",
        "language en",
        "0 of 3,000, 0 of 3,000",
        "GB2312 level 1",
        "clean: no dirty",
        str(other),
    ):
        assert words in more.stdout
    told = json.loads((tmp_path / "data/tokenizer/audit.json").read_text())
    assert list(told["compression"]) == ["this", str(other), f"{other}/tokenizer.json"]
    assert told["compression"][str(other)] == told["compression"][f"{other}/tokenizer.json"]
    assert told["left_out"]
    wrong = maxlm_data("tokenizer", *where, f"--compare={tmp_path}/nothing")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "no such file" in wrong.stderr


def test_a_damaged_file_to_compare_with(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match=r"tokenizer\.json: damaged, or no tokenizer\.json"):
        compression.open_encoder(tmp_path)
    (tmp_path / "x.model").write_text("no model")
    with pytest.raises(DataError, match=r"x\.model: damaged"):
        compression.open_encoder(tmp_path / "x.model")


def test_an_extension(dataset, tmp_path, capsys):
    shutil.copytree(dataset, tmp_path / "data")
    documents = [text for _, text in texts.corpus(documents=80)]
    train(iter(documents), tmp_path / "data/tokenizer", TokenizerSettings(vocab_size=640, spare_tokens=40))
    word = max((w for w in " ".join(documents).split() if w.isalpha() and w.isascii()), key=len)
    (tmp_path / "tokens.txt").write_text(f"{word}\n\n的\nai.listen.music\n")
    where = ["tokenizer", "--config=configs/data/quickstart.py", f"--dataset={tmp_path}/data"]
    line = [*where, f"--extend={tmp_path}/tokens.txt", f"--out={tmp_path}/new"]
    cli.run(line)
    said = capsys.readouterr().out
    assert "texts change" in said
    assert "one token already: '的'" in said
    told = json.loads((tmp_path / "new/extension.json").read_text())
    old, new = load_tokenizer(tmp_path / "data/tokenizer"), load_tokenizer(tmp_path / "new")
    assert (told["from"], told["to"], told["already"]) == (old.digest, new.digest, ["的"])
    assert told["added"] == {str(i): text for i, text in extend(old, [word, "ai.listen.music"]).added.items()}
    assert len(new.encode("ai.listen.music")) == 1
    out = f"--out={tmp_path}/x"
    for wrong, words in (
        (line, "not empty"),
        ([*where, f"--extend={tmp_path}/tokens.txt"], "--out=DIR"),
        ([*where, out], "belong to --extend"),
        ([*line, "--audit"], "goes without --audit"),
        ([*where, f"--extend={tmp_path}/none", out], "can't be read"),
        ([*line, "--as=never"], "invalid choice"),
        ([*where, "--audit", "--strings=-5"], "-5 is less than 0"),
    ):
        with pytest.raises(UserError, match=words):
            cli.run(wrong)
    for content, words in (("的\n", "all of these are tokens already"), ("\n", "holds no tokens")):
        (tmp_path / "tokens.txt").write_text(content)
        with pytest.raises(DataError, match=words):
            cli.run([*where, f"--extend={tmp_path}/tokens.txt", out])
    assert not (tmp_path / "x").exists()
