from dataclasses import dataclass

from data_pipeline.operators.base import Edit, Filter, judge


@dataclass(frozen=True)
class Without(Filter):
    word: str = ""

    def reason(self, text):
        return "has_word" if self.word in text else None


@dataclass(frozen=True)
class Upper(Edit):
    def edit(self, text):
        return text.upper(), {"letters": sum(map(str.islower, text)), "other": 0}


def test_operators_run_in_order_up_to_the_first_that_drops():
    verdict = judge("abc", [("upper", Upper()), ("no_b", Without("B")), ("no_c", Without("C"))])
    assert (verdict.operator, verdict.reason, verdict.text) == ("no_b", "has_word", "ABC")


def test_edits_are_counted_under_the_operators_name_without_zeros():
    verdict = judge("abC", [("upper", Upper()), ("again", Upper())])
    assert verdict.reason is None
    assert verdict.edits == {"upper.letters": 2}
