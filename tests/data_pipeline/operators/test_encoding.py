import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.base import Draft
from data_pipeline.operators.encoding import DamagedText, RepairEncoding
from tests.data_pipeline.operators.drafts import edit, reason

DAMAGE = [
    ("Das Café ist schön – „sehr“ schön.", "cp1252"),
    ("naïve façade, 20 °C, 5 £", "latin-1"),
    ("Привет, как дела?", "cp1251"),
    ("我们的时候，今天", "gb18030"),
]
INTACT = [
    "C’est-à-dire… « Noël », à « Paris »",
    "Ärger über Öl: Größe ±2 °C",
    "Он сказал: «Да», и ушёл… РФ и США",
    "锛子是一种工具。",  # a character that GBK makes of commas, meant
    "x ≤ y ⇒ ∀ε>0 ∃δ>0: |x−a|<δ",
    'assert "é".encode() == b"\\xc3\\xa9"  # Ã',
    "日本語とひらがな、한국어, ไทย",
]


@pytest.mark.parametrize(("text", "codec"), DAMAGE)
def test_repair(text, codec):
    wrong = text.encode().decode(codec)
    made, counts = edit(RepairEncoding(), f"fine\n{wrong}\nfine")
    assert made == f"fine\n{text}\nfine"
    assert counts == {"line": 1}


@pytest.mark.parametrize("text", INTACT)
def test_what_is_right_stays(text):
    made, counts = edit(RepairEncoding(), text)
    assert made == text
    assert not any(counts.values())


@pytest.mark.parametrize("text", [text.encode().decode(codec) for text, codec in DAMAGE[:3]])
def test_no_repair_is_missed_that_ftfy_makes(text):
    assert edit(RepairEncoding(), text)[0] == ftfy.fix_encoding(text) != text


@given(
    st.text()
    | st.text().map(lambda text: text.encode().decode("latin-1"))
    | st.text().map(lambda text: text.encode().decode("cp1252", "ignore"))
    | st.text().map(lambda text: text.encode().decode("gb18030", "ignore"))
    | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x4FF))
)
def test_once_is_enough(text):
    once = edit(RepairEncoding(), text)[0]
    twice, counts = edit(RepairEncoding(), once)
    assert twice == once
    assert not any(counts.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" * 2000 + "\ufffd", None),
        ("a" * 500 + "\ufffd", "damaged_text"),
        ("锟斤拷锟斤拷", "damaged_text"),
    ],
)
def test_what_is_past_repair(text, expected):
    assert reason(DamagedText(), text) == expected


def test_damage_is_shown():
    finding = DamagedText().check(Draft("é 烫烫烫 x"))
    assert finding is not None
    assert (finding.start, finding.end) == (2, 5)
