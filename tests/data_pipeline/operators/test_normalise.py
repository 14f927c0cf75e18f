import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.normalise import Normalise
from tests.data_pipeline.operators.drafts import edit

# Characters that one rule makes and another looks at.
TRICKY = st.text(
    st.sampled_from(
        "ab é\u0301\u0338=\\\n\r\t\u3000\xa0\u200b\u200c\u200d\u2060\ufeff\u2028😀👩🏽🏴\U000e0067\U000e007fب\u0645मि"
        "\u2329\uff21ﾊﾞ\ufb01\u0085\x00\xad\ufe0f\u1100\u1161\ufe7c\u2f00²"
    )
)


@pytest.mark.parametrize(
    ("text", "expected", "kind"),
    [
        ("a\r\nb\rc\u2028d\x0ce", "a\nb\nc\nd\ne", "line_end"),
        ("nul\x00 and \x1b[1mescape\x7f\x9f", "nul and [1mescape", "control"),
        ("\ufeffby\u200bte\xad or\u2060der\u202e", "byte order", "zero_width"),
        ("plain\u200d and\u200c simple", "plain and simple", "joiner"),
        ("hidden\U000e0041\U000e0042", "hidden", "zero_width"),
        ("cafe\u0301", "café", "form"),
        ("a  \nb\t\u3000\nc \xa0", "a\nb\nc", "trailing_space"),
        ("\n\na\n\n\n\nb\n\n", "a\n\nb\n", "blank_line"),
    ],
)
def test_what_goes(text, expected, kind):
    made, counts = edit(Normalise(), text)
    assert made == expected
    assert [name for name, count in counts.items() if count] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "می‌خواهم و آن‌ها",  # ZWNJ between Persian letters
        "क्‍ष और क्‌ष",  # both joiners in Devanagari
        "👩‍👩‍👧‍👦 ❤️‍🔥 🏳️‍🌈 👩🏽‍🚀",
        "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",  # the flag of Wales
        "f\u2061(x) and a\u2062b and 1\u20641",  # operators that don't show
        "tab\tstays, and so do  two spaces",
        "a\n\nb\n",
        "end of a line in TeX\\ \nnext",
    ],
)
def test_what_stays(text):
    made, counts = edit(Normalise(), text)
    assert made == text
    assert not any(counts.values())


def test_forms():
    assert edit(Normalise("NFKC"), "ＡＢＣ１２３，ｶﾞ ﬁne ﷼ ⽉\xa0x² ½ ℝ ① ™")[0] == "ABC123，ガ fine ریال 月 x² ½ ℝ ① ™"
    assert edit(Normalise("NFC"), "ＡＢＣ ﬁne")[0] == "ＡＢＣ ﬁne"
    assert edit(Normalise("none"), "cafe\u0301")[0] == "cafe\u0301"


def test_parts_can_be_left_out():
    assert edit(Normalise(spaces=False), "a \n\n\n\nb\u200b")[0] == "a \n\n\n\nb"
    assert edit(Normalise(invisible=False), "a \n\n\n\nb\u200b")[0] == "a\n\nb\u200b"
    assert edit(Normalise(max_blank_lines=2), "a\n\n\n\n\nb")[0] == "a\n\n\nb"


def test_long_runs_of_spaces_cost_no_more_than_their_length():
    text = " " * 1_000_000 + "x"  # a rule that starts anew at each space takes hours
    assert edit(Normalise(), text + " \n") == (text + "\n", {"trailing_space": 1, "blank_line": 0})


@pytest.mark.parametrize("operator", [Normalise(), Normalise("NFKC", max_blank_lines=0), Normalise(spaces=False)])
@given(st.text() | TRICKY)
def test_once_is_enough(operator, text):
    once = edit(operator, text)[0]
    twice, counts = edit(operator, once)
    assert twice == once
    assert not any(counts.values())


@given(st.text() | TRICKY)
def test_nothing_but_the_form_changes_a_letter(text):
    def letters(text):
        return [c for c in unicodedata.normalize("NFD", text) if c.isalnum()]

    assert letters(edit(Normalise(), text)[0]) == letters(text)
