"""Pass keys: where they stand, how long the texts are, and models that find them or do not."""

import re

import numpy as np
import pytest

from maxlm.errors import ConfigError
from maxlm.eval.passkey import DEPTHS, KEYS, passkey
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train_model
from tests import texts


@pytest.fixture(scope="module", params=["sentencepiece", "bytelevel"])
def tokenizer(request):
    documents = [text for _, text in texts.corpus(documents=40)]
    return train_model(iter(documents), TokenizerSettings(kind=request.param, vocab_size=512, spare_tokens=0))


def test_lengths_depths_and_numbers(tokenizer):
    items = passkey(tokenizer, 1000).items
    assert len(items) == 3 * len(DEPTHS) * KEYS  # 1000, 500 and 250 tokens
    assert items == passkey(tokenizer, 1000).items
    shares = {}
    for item in items:
        length, depth = re.fullmatch(r"(\d+) tokens, depth (\d+)%", item.group).groups()
        whole = len(tokenizer.prompt(item.context + item.choices[0]))
        assert int(length) - 40 < whole <= int(length)  # hardly a sentence would fit any more
        key = item.choices[0].strip()
        assert item.context.count(key) == 2
        first = item.context.index("The pass key is")
        filler = [place.start() for place in re.finditer(r"green\. |blue\. |yellow\. |go\. |again\. ", item.context)]
        shares.setdefault(int(depth), []).append(np.mean([place < first for place in filler]))
    assert {depth: np.mean(found) for depth, found in shares.items()} == pytest.approx(
        {0: 0, 25: 0.25, 50: 0.5, 75: 0.75, 100: 1}, abs=0.05
    )
    assert len({item.choices for item in items}) > len(items) * 0.9


def test_too_short(tokenizer):
    with pytest.raises(ConfigError, match="passkey: a context of 100 tokens hides nothing; 128 or more"):
        passkey(tokenizer, 100)
