import pytest

from data_pipeline.operators.shares import CharacterShares
from tests.data_pipeline.operators.drafts import reason as reason_of


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("aab1 .", None),
        ("ab11 .", "too_few_letters"),  # 2 of 5
        ("aaab 111", "too_many_digits"),  # 3 of 7
        ("aaab ...", "too_many_marks"),
        ("aaab _+…", "too_many_marks"),
        ("  ", None),
        ("", None),
    ],
)
def test_shares_of_characters_other_than_white_space(text, reason):
    operator = CharacterShares(min_letters=0.5, max_digits=0.4, max_marks=0.4)
    assert reason_of(operator, text) == reason


@pytest.mark.parametrize(
    ("operator", "text", "reason"),
    [
        (CharacterShares(min_letters=0.9), "春眠不觉晓", None),
        (CharacterShares(min_zh=0.5), "春眠ab", None),
        (CharacterShares(min_zh=0.5), "春眠abc", "too_few_zh_characters"),
        (CharacterShares(min_zh=0.5), "ひらがなカナ", "too_few_zh_characters"),
        (CharacterShares(max_zh=0.5), "春眠不觉晓a", "too_many_zh_characters"),
        (CharacterShares(min_en=0.9), "déjà vu", None),
        (CharacterShares(min_en=0.9), "Привет", "too_few_en_letters"),
        (CharacterShares(max_en=0.4), "春眠ab", "too_many_en_letters"),
    ],
)
def test_shares_of_scripts(operator, text, reason):
    assert reason_of(operator, text) == reason
