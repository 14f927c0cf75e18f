"""What is SentencePiece's alone: its file, and models that others trained."""

import io

import pytest
import sentencepiece

from maxlm.errors import DataError
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.spm import SentencePieceTokenizer
from maxlm.tokenizer.spm_proto import Model
from maxlm.tokenizer.train import train_model
from tests import texts


@pytest.fixture(scope="module")
def plain():
    settings = TokenizerSettings(vocab_size=640, user_tokens=("ai.listen.music",))
    return train_model((text for _, text in texts.corpus(documents=120)), settings)


def foreign(**options):
    """A model as SentencePiece trains it by default."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for _, text in texts.corpus(documents=60)]), model_writer=model, vocab_size=600,
        model_type="bpe", character_coverage=0.98, hard_vocab_limit=False, minloglevel=2, **options,
    )  # fmt: skip
    return model.getvalue()


def test_the_processor_alone_gives_the_same_ids(plain):
    processor = sentencepiece.SentencePieceProcessor(model_proto=plain.model)
    documents = [text for _, text in texts.corpus(3)]
    assert plain.encode_batch(documents) == processor.encode(documents)
    assert [plain.decode(ids) for ids in plain.encode_batch(documents)] == documents


def test_too_many_pieces_for_the_rows(plain):
    with pytest.raises(DataError, match="640 pieces do not fit into 512 rows"):
        SentencePieceTokenizer(plain.model, 512)


def test_a_model_that_puts_a_space_before_texts(tmp_path):
    tokenizer = SentencePieceTokenizer(foreign(byte_fallback=True, normalization_rule_name="identity"))
    assert tokenizer.decode(tokenizer.encode("karen tomi")) == "karen tomi"
    assert not Model(tokenizer.model).is_plain()
    assert set(tokenizer.files()) == {"tokenizer.model"}  # no Hugging Face form that would not be the same


def test_a_model_without_begin_and_end():
    with pytest.raises(DataError, match="no BOS or no EOS"):
        SentencePieceTokenizer(foreign(bos_id=-1))


def test_without_a_piece_others_are_made(plain):
    """Taking pieces out leaves the rest reachable, in order, and moves later merges up."""
    model = Model(plain.model)
    several = [piece for piece in model.of_type(1) if len(piece) > 1]
    unwanted = set(several[60:63])
    less = Model(model.without(unwanted, 600))
    rest = [piece for piece in less.of_type(1) if len(piece) > 1]
    assert len(less.pieces) == 600
    assert not unwanted & set(rest)
    assert rest == [piece for piece in several if piece in set(rest)]
    assert [piece for piece, kind in less.pieces if kind != 1] == [piece for piece, kind in model.pieces if kind != 1]
    tokenizer = SentencePieceTokenizer(model.without(unwanted, 600))
    for i, (piece, kind) in enumerate(less.pieces):
        if kind == 1:
            assert tokenizer.encode(piece.replace("\u2581", " ")) == [i]
    assert model.without((), len(model.pieces)) == model.without((), 10_000)
