import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.base import Draft
from data_pipeline.operators.chinese import ChineseScript
from tests.data_pipeline.operators.drafts import edit


@pytest.mark.parametrize(
    ("to", "text", "expected"),
    [
        ("simplified", "頭髮發白的皇后以後", "头发发白的皇后以后"),
        ("simplified", "乾隆年間的乾燥氣候", "乾隆年间的干燥气候"),  # a name, by its phrase
        ("traditional", "头发发白的皇后以后", "頭髮發白的皇后以後"),
        ("taiwan", "鼠标和软件", "滑鼠和軟體"),
        ("hongkong", "里面的台灯", "裏面的枱燈"),
    ],
)
def test_scripts(to, text, expected):
    made, counts = edit(ChineseScript(to), text)
    assert made == expected
    assert counts["character"] > 0


@pytest.mark.parametrize("text", ["漢字と仮名の國語", "plain English", "한국어", "已经是简体字了", ""])
def test_what_is_no_traditional_chinese_stays(text):
    assert edit(ChineseScript(), text) == (text, {})


def test_the_language_decides():
    operator = ChineseScript()
    assert operator.edit(Draft("國語", language="ja"))[0] == "國語"
    assert operator.edit(Draft("國語", language="zh"))[0] == "国语"


@pytest.mark.parametrize("to", ["simplified", "traditional", "taiwan", "hongkong"])
@given(
    st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF) | st.sampled_from("后後干乾幹发髮發台臺里裏面豐"))
)
def test_once_is_enough(to, text):
    once = edit(ChineseScript(to), text)[0]
    assert edit(ChineseScript(to), once) == (once, {})
