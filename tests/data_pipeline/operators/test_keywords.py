import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.base import Draft
from data_pipeline.operators.keywords import Keywords, Matcher
from maxlm.errors import ConfigError
from tests.data_pipeline.operators.drafts import reason


@pytest.mark.parametrize(
    ("words", "text", "hits"),
    [
        (["ass"], "class ass assess", ["ass"]),
        (["bad word"], "A BAD WORD, bad words, bad word.", ["BAD WORD", "bad word"]),
        (["赌场"], "网上赌场，大赌场里", ["赌场", "赌场"]),
        (["iphone"], "买iPhone手机", ["iPhone"]),
        (["vip会员"], "成为VIP会员吧", ["VIP会员"]),
        (["as a", "a bomb"], "was a bomb", ["a bomb"]),  # the one that doesn't count hides none that does
        (["new", "new york"], "new york, new", ["new york", "new"]),
        (["c++"], "I like C++, not c+++", ["C++", "c++"]),
        (["élan"], "İ ÉLAN élan", ["ÉLAN", "élan"]),  # İ has a lower case of two characters
        (["слово"], "Слово, словом", ["Слово"]),
        ([], "nothing", []),
    ],
)
def test_hits(words, text, hits):
    assert [text[hit.start : hit.end] for hit in Matcher(tuple(words))(text)] == hits


@given(st.lists(st.text("ab ", min_size=1), max_size=4), st.text("ab "))
def test_as_regular_expressions_find_them(words, text):
    stripped = {word.strip() for word in words} - {""}
    longest_first = "|".join(re.escape(word) for word in sorted(stripped, key=len, reverse=True))
    expected = [m.span() for m in re.finditer(rf"\b(?:{longest_first})\b", text)] if stripped else []
    assert [(hit.start, hit.end) for hit in Matcher(tuple(words))(text)] == expected


def test_limits():
    text = "坏词 bad 坏词"
    operator = Keywords(lists=(), words=("坏词", "bad"), max_hits=2)
    finding = operator.check(Draft(text))
    assert finding is not None
    assert (finding.reason, finding.value, text[finding.start : finding.end]) == ("listed_words", 3, "坏词")
    assert finding.evidence == "listed words: 坏词, bad"
    assert reason(Keywords(lists=(), words=("坏词", "bad"), max_hits=3), text) is None
    assert reason(Keywords(lists=(), words=("坏词",), max_hits=0, min_distinct=2), text) is None


def test_languages():
    operator = Keywords(lists=(), words=("gift",), languages=("en",), max_hits=0)
    assert operator.check(Draft("a gift", language="en")) is not None
    assert operator.check(Draft("das Gift", language="de")) is None


def test_lists(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("# ours\nfirst\n\nsecond phrase\n", encoding="utf-8")
    operator = Keywords(lists=(str(file),), max_hits=0)
    assert reason(operator, "the second phrase") == "listed_words"
    assert reason(operator, "# ours") is None
    assert reason(Keywords(), "在线赌场，时时彩平台，注册送彩金") == "listed_words"
    assert reason(Keywords(), "online casino bonus, free spins, no deposit bonus") == "listed_words"
    with pytest.raises(ConfigError, match="xx"):
        Keywords(lists=("xx",))
