"""Small tokenizers of both kinds, on made-up text; nothing may be written into their folders."""

import pytest

from maxlm.tokenizer.load import load_tokenizer
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train
from tests import texts

KINDS = ("sentencepiece", "bytelevel")
USER_TOKENS = ("ai.listen.music", "阿莫西林", "vitamin C", "ai.listen")


@pytest.fixture(scope="session", params=KINDS)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    documents = (text for _, text in texts.corpus(documents=120))
    settings = TokenizerSettings(kind=request.param, vocab_size=640, spare_tokens=10, user_tokens=USER_TOKENS)
    train(documents, folder, settings)
    return folder


@pytest.fixture(scope="session")
def tokenizer(folder):
    return load_tokenizer(folder)
