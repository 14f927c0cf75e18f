"""Random texts are what they claim to be, and a tokenizer that loses something is caught."""

from itertools import islice

import pytest

from data_pipeline.tokenizer import round_trip
from maxlm.tokenizer.huggingface import TOKENIZER_FILE
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.spm import SentencePieceTokenizer
from maxlm.tokenizer.train import train_model
from tests import texts


@pytest.fixture(scope="module", params=["sentencepiece", "bytelevel"])
def tokenizer(request):
    documents = (text for _, text in texts.corpus(documents=120))
    return train_model(documents, TokenizerSettings(kind=request.param, vocab_size=640, user_tokens=("ai.listen",)))


def test_the_strings_reach_everywhere():
    strings = list(islice(round_trip.random_texts(0), 5000))
    assert strings == list(islice(round_trip.random_texts(0), 5000))
    assert strings != list(islice(round_trip.random_texts(1), 5000))
    every = set("".join(strings))
    assert {"\0", "\u2581", "\u2585", "\ufeff", "\u200d", "\u202e", "\ud7ff", "\ue000", "\U0010ffff", "\u0301"} <= every
    assert not any(0xD800 <= ord(c) <= 0xDFFF for c in every)
    assert any("<|im_start|>" in text for text in strings)
    raws = list(islice(round_trip.random_bytes(0), 2000))
    invalid = sum("\ufffd" in raw.decode(errors="replace") for raw in raws)
    assert 200 < invalid < 2000


def test_trained_tokenizers_lose_nothing(tokenizer):
    told = round_trip.check(tokenizer, 2000)
    assert (told["failed_strings"], told["failed_byte_strings"], told["takes_surrogates"]) == ([], [], False)
    strings = list(islice(round_trip.random_texts(3), 2000))
    assert round_trip.differing(tokenizer, tokenizer.files()[TOKENIZER_FILE], strings) == []


class Lossy(SentencePieceTokenizer):
    """Loses tabs, and takes a role's name for the role."""

    def encode_batch(self, texts, num_threads=1):
        encoded = super().encode_batch([text.replace("\t", "") for text in texts], num_threads)
        return [
            [self.special["<|im_end|>"]] if text == "<|im_end|>" else ids
            for text, ids in zip(texts, encoded, strict=True)
        ]


def test_loss_is_caught(tokenizer):
    if tokenizer.kind != "sentencepiece":
        return
    told = round_trip.check(Lossy(tokenizer.model), 1000)
    assert told["failed_strings"]
    assert told["failed_byte_strings"]
    other = train_model(iter(["quite another text, " * 90]), TokenizerSettings(vocab_size=384, spare_tokens=90))
    assert round_trip.differing(tokenizer, other.files()[TOKENIZER_FILE], ["kamiren tomi"]) == ["kamiren tomi"]
