"""Which tokens a text can become: planted dead ones are found, parts of characters are told apart."""

import json

from maxlm.tokenizer import bpe, huggingface
from maxlm.tokenizer.bytelevel import ByteLevelTokenizer, assemble, signs
from maxlm.tokenizer.reach import partial, unreachable
from maxlm.tokenizer.spm import SentencePieceTokenizer
from maxlm.tokenizer.spm_proto import Model

SPECIAL = ("<s>", "</s>", "<pad>")


def bytelevel(*pieces, merges=()):
    ranks: dict[bpe.Merge, int] = {}
    for piece in pieces:
        bpe.chain(signs(piece.encode()), ranks)
    model = assemble(SPECIAL, (), [*ranks, *merges], 1)
    return ByteLevelTokenizer(model.encode(), huggingface.settings(SPECIAL).encode())


def test_trained_tokenizers_have_none(tokenizer):
    assert unreachable(tokenizer) == []


def test_a_piece_without_merges_is_dead(tokenizer):
    if tokenizer.kind == "sentencepiece":
        raw = Model(tokenizer.model).extended(merge=["qxzqxz"])
        assert unreachable(SentencePieceTokenizer(raw)) == [630]
    else:
        data = json.loads(tokenizer.files()["tokenizer.json"])
        data["model"]["vocab"]["qxzqxz"] = 630
        dead = ByteLevelTokenizer(json.dumps(data).encode(), tokenizer.files()["tokenizer_config.json"])
        assert unreachable(dead) == [630]


def test_a_piece_that_the_pattern_splits_is_dead():
    tokenizer = bytelevel("ab", merges=[("ab", "1")])
    assert [tokenizer.decode([i]) for i in unreachable(tokenizer)] == ["ab1"]


def test_parts_of_characters():
    """E4 B8 is met where the rest of the character has no merge; with all 64 of them merged it is but a way."""
    tokenizer = bytelevel("中")
    [(i, text)] = partial(tokenizer).items()
    assert tokenizer.decode_bytes([i]) == b"\xe4\xb8"
    assert text != "中"
    assert i in tokenizer.encode(text)
    every = bytelevel(*[chr(point) for point in range(0x4E00, 0x4E40)])
    assert list(partial(every).values()) == [None]
    assert unreachable(every) == []
    behind = bytelevel("中", merges=[(signs(b"\xae"), signs(b"\xe4\xb8"))])
    assert partial(behind)[behind.num_pieces - 1]


def test_single_bytes_and_special_tokens_are_left_out(tokenizer):
    looked_at = {*unreachable(tokenizer), *partial(tokenizer)}
    assert not looked_at & {*tokenizer.byte_ids, *tokenizer.special.values()}
