"""More tokens: old ids and old tokens stay, new ones can be produced, and a model's rows follow."""

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from maxlm.errors import ConfigError
from maxlm.models.config import ModelConfig
from maxlm.models.decoder import Decoder
from maxlm.tokenizer.extend import extend, extended_table, extension_of
from maxlm.tokenizer.load import load_tokenizer
from maxlm.tokenizer.reach import unreachable
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train_model
from tests import texts
from tests.maxlm.tokenizer.conftest import KINDS

LONG, SHORT = "中华人民共和国", "中华人民"


@pytest.fixture(scope="module", params=KINDS)
def old(request):
    """A tokenizer in which 中华人民共和国 is a token and 中华人民 is none."""
    names = [LONG, "人民共和国", "人民共和国", "共和国", "中华", "人民"]
    chinese = ["".join(f"{name}{c}" for c in "一二三四五六七八九十" for name in names)] * 3
    chinese += [text for _, text in texts.corpus(documents=100)]
    settings = TokenizerSettings(kind=request.param, vocab_size=640, spare_tokens=12, user_tokens=("ai.listen",))
    return train_model(iter(chinese), settings)


def pieces(tokenizer):
    return [tokenizer.decode_bytes([i]) for i in range(tokenizer.num_pieces)]


def holds(old, extension):
    """What an extension must never break."""
    new = extension.tokenizer
    assert pieces(new)[: old.num_pieces] == pieces(old)
    assert not unreachable(new)
    assert new.digest != old.digest
    assert (new.bos_id, new.eos_id, new.pad_id) == (old.bos_id, old.eos_id, old.pad_id)
    for i, ids in extension.replaces.items():
        assert old.decode_bytes(ids) == new.decode_bytes([i])


def test_the_name_of_the_state(old):
    """A shorter token, made by merges behind all others, does not hide the longer one; matched in any text it would."""
    assert len(old.encode(LONG)) == 1 < len(old.encode(SHORT))
    extension = extend(old, [SHORT])
    holds(old, extension)
    new = extension.tokenizer
    assert len(new.encode(SHORT)) == 1
    assert new.encode(LONG) == old.encode(LONG)
    assert new.encode(f"{SHORT}，{LONG}万岁")[-1] == old.encode(f"{LONG}万岁")[-1]
    with pytest.raises(ConfigError, match=f"token '{SHORT}' would hide 1 that are there, '{LONG}'.*add it as merge"):
        extend(old, [SHORT], "always")


@given(words=st.lists(st.text("中华人民共和国万岁ab", min_size=1, max_size=6), min_size=1, max_size=3), data=st.data())
def test_any_tokens_by_merges(old, words, data):
    try:
        extension = extend(old, words)
    except ConfigError as error:
        if old.kind != "bytelevel" or "split within it" not in str(error):  # Han and Latin are split before merging
            raise
        return
    if extension.added:
        holds(old, extension)
    for word in words:
        assert len(extension.tokenizer.encode(word)) == 1
    text = data.draw(st.text("中华人民共和国万岁ab ", max_size=30))
    before, after = old.encode(text), extension.tokenizer.encode(text)
    assert extension.tokenizer.decode(after) == text
    # Undone, the new encoding is the old one: nothing but neighbours were joined.
    assert [i for new in after for i in extension.replaces.get(new, [new])] == before


def test_the_spare_slots_come_first_then_whole_tiles(old):
    extension = extend(old, ["kamiren", "kamisul"])
    assert min(extension.added) == old.num_pieces == 628
    assert extension.tokenizer.vocab_size == 640
    many = extend(old, [f"<|reserved_{i}|>" for i in range(50)], "special")
    assert (many.tokenizer.num_pieces, many.tokenizer.vocab_size) == (678, 768)
    assert extend(extension.tokenizer, ["kamiwen"]).tokenizer.num_pieces > extension.tokenizer.num_pieces


def test_always_is_wherever_it_stands(old, tmp_path):
    extension = extend(old, ["ai.listen.music", "ai.listen"], "always")
    holds(old, extension)
    assert extension.already == ["ai.listen"]
    extension.tokenizer.save(tmp_path)
    new = load_tokenizer(tmp_path)
    assert new.encode("xai.listen.musicy中ai.listen.music7").count(628) == 2
    assert new.user_tokens == ("ai.listen", "ai.listen.music")


def test_special_tokens_are_no_text(old, tmp_path):
    extension = extend(old, ["<|think|>", "<|im_start|>"], "special")
    assert (extension.added, extension.replaces) == ({628: "<|think|>"}, {628: []})
    assert extension.already == ["<|im_start|>"]
    extension.tokenizer.save(tmp_path)
    new = load_tokenizer(tmp_path)
    assert new.special["<|think|>"] == 628
    assert new.encode("<|think|>") == old.encode("<|think|>")


def test_what_cannot_be(old):
    for token, way in (
        ("", "merge"),
        ("  a", "merge"),
        (" a", "always"),
        ("a\n", "merge"),
        ("a\u2581", "special"),
    ):
        with pytest.raises(ConfigError, match="empty, with blanks around it"):
            extend(old, [token], way)
    with pytest.raises(ConfigError, match="is one already, made by merges"):
        extend(old, [LONG], "always")
    for token in ("xai.listeny", "ai.listen2"):
        with pytest.raises(ConfigError, match="a user token stands within it"):
            extend(old, [token])
    with pytest.raises(ConfigError, match="is one already"):
        extend(old, [LONG], "special")
    assert extend(old, [LONG, "ai.listen"]).added == {}


def test_rows_are_the_mean_of_what_they_replace(old):
    extension = extend(old, ["kamiren", " kamiren"])
    more = extend(extension.tokenizer, [f"<|reserved_{i}|>" for i in range(30)], "special")
    table = np.random.default_rng(0).normal(size=(640, 8)).astype(np.float32)
    made = extended_table(table, extension)
    assert (made.shape, made.dtype) == ((640, 8), np.float32)
    for i, ids in extension.replaces.items():
        np.testing.assert_allclose(made[i], table[ids].astype(np.float64).mean(axis=0), rtol=1e-6)
    untouched = [i for i in range(640) if i not in extension.replaces]
    np.testing.assert_array_equal(made[untouched], table[untouched])
    wide = extended_table(made, more)
    assert wide.shape == (768, 8)
    mean = made[: extension.tokenizer.num_pieces].astype(np.float64).mean(axis=0)
    for row in (*more.added, 767):
        np.testing.assert_allclose(wide[row], mean, rtol=1e-5, atol=1e-7)
    for rows in (600, 1024):
        with pytest.raises(ConfigError, match=f"a table of {rows} rows"):
            extended_table(np.zeros((rows, 8)), extension)


@pytest.mark.parametrize("tied", [True, False])
def test_the_extended_models_logits_on_old_texts_are_unchanged(old, tied):
    extension = extend(old, [LONG + "万岁", *[f"kamiren{c}" for c in "abcdefghijklmnop"]])
    rows = extension.tokenizer.vocab_size
    assert rows == 768
    sizes = {"embed": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "mlp": 32}
    small, large = (
        Decoder(ModelConfig(vocab_size=size, tie_embeddings=tied, **sizes), rngs=nnx.Rngs(0)) for size in (640, rows)
    )
    nnx.update(large, _extended(nnx.state(small), extension))
    ids = np.array([old.encode(f"{LONG}，中华人民 kami ren 7")])
    places = np.arange(ids.shape[1])[None]
    logits = [model.logits(model(ids, places, np.ones_like(ids))[0]) for model in (small, large)]
    np.testing.assert_array_equal(logits[0][..., : old.num_pieces], logits[1][..., : old.num_pieces])
    assert logits[1].shape[-1] == rows


def _extended(state, extension):
    """The parameters, every matrix of vocabulary rows extended."""
    return jax.tree.map(lambda x: extended_table(np.asarray(x), extension) if x.shape[:1] == (640,) else x, state)


@pytest.mark.parametrize(("token", "way"), [(SHORT, "merge"), ("阿莫西林胶囊", "always"), ("<|start|>", "special")])
def test_told_from_two_tokenizers(old, tmp_path, token, way):
    """What was added is seen in the folders alone, whoever added it."""
    extension = extend(old, [token], way)
    extension.tokenizer.save(tmp_path)
    found = extension_of(old, load_tokenizer(tmp_path))
    assert (found.added, found.replaces) == (extension.added, extension.replaces)
    with pytest.raises(ConfigError, match=rf"does not extend the other: id {old.num_pieces} stood for"):
        extension_of(extension.tokenizer, old)
