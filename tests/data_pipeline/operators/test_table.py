import pytest

from data_pipeline.operators.base import Draft, judge
from data_pipeline.operators.length import Length
from data_pipeline.operators.table import OPERATORS, build
from maxlm.errors import ConfigError


def test_parameters_reach_the_operator():
    assert build("length", {"min_words": 7}, "here") == Length(min_words=7)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("lenght", {}, "here: no operator 'lenght'; did you mean 'length'"),
        ("length", {"min_word": 3}, "here.length.min_word: unknown key; did you mean 'min_words'"),
        ("length", {"min_words": "many"}, "here.length.min_words: expected int"),
        ("redact", {"kinds": ["fax"]}, "'fax' is not a choice"),
    ],
)
def test_mistakes_are_named(name, params, message):
    with pytest.raises(ConfigError, match=message):
        build(name, params, "here")


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_has_defaults_and_bears_empty_text(name):
    assert judge(Draft(""), [(name, build(name, {}, "here"), "drop")]).text == ""
