import pytest

from data_pipeline.operators.base import Draft
from data_pipeline.operators.language import Language
from tests.data_pipeline.operators.drafts import reason

ENGLISH = "It rained so hard this morning that the river is much higher than yesterday."
GERMAN = "Heute Morgen hat es so stark geregnet, dass der Fluss viel höher steht als gestern."
CHINESE = "今天早上下了一场大雨，河水比昨天高了很多。"


@pytest.mark.parametrize(
    ("languages", "text", "expected"),
    [
        (("en",), ENGLISH, None),
        (("en",), GERMAN, "other_language"),
        (("en", "de"), GERMAN, None),
        (("zh",), CHINESE, None),
        (("en",), CHINESE, "other_language"),
        (("en",), "Rain, rain: go away", "unsure_language"),
    ],
)
def test_by_language_and_confidence(languages, text, expected):
    operator = Language(languages, min_confidence=0.95 if expected == "unsure_language" else 0.65)
    assert reason(operator, text) == expected


def test_confidence_is_told():
    finding = Language(("en",), min_confidence=1.01).check(Draft(ENGLISH))
    assert finding is not None
    assert 0.65 < (finding.value or 0) <= 1


def test_without_a_limit_the_label_counts():
    operator = Language(("en",), min_confidence=0)
    assert operator.check(Draft(GERMAN, language="en")) is None
    assert operator.check(Draft(ENGLISH, language="de")) is not None
    assert operator.check(Draft(ENGLISH)) is None  # without a label, what the text shows
