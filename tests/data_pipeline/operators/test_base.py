from dataclasses import dataclass

from data_pipeline.operators.base import Draft, Edit, Filter, Finding, judge


@dataclass(frozen=True)
class Without(Filter):
    word: str = ""

    def check(self, draft):
        start = draft.text.find(self.word)
        return Finding("has_word", 1, start, start + len(self.word)) if start >= 0 else None


@dataclass(frozen=True)
class Upper(Edit):
    def edit(self, draft):
        return draft.text.upper(), {"letters": sum(map(str.islower, draft.text)), "other": 0}


def test_operators_run_in_order_up_to_the_first_that_drops():
    steps = [("upper", Upper(), "drop"), ("no_b", Without("B"), "drop"), ("no_c", Without("C"), "drop")]
    verdict = judge(Draft("abc"), steps)
    assert (verdict.operator, verdict.reason, verdict.text) == ("no_b", "has_word", "ABC")
    assert verdict.finding == Finding("has_word", 1, 1, 2)


def test_edits_are_counted_under_the_operators_name_without_zeros():
    verdict = judge(Draft("abC"), [("upper", Upper(), "drop"), ("again", Upper(), "drop")])
    assert verdict.reason is None
    assert verdict.edits == {"upper.letters": 2}


def test_a_filter_that_marks_lets_the_document_go_on():
    verdict = judge(Draft("abc"), [("no_a", Without("a"), "mark"), ("no_c", Without("c"), "drop")])
    assert (verdict.marks, verdict.operator) == (["no_a.has_word"], "no_c")


def test_an_analysis_is_made_once_for_as_long_as_the_text_stays():
    seen = []

    def length(text):
        seen.append(text)
        return len(text)

    draft = Draft("abc")
    assert (draft.of(length), draft.of(length)) == (3, 3)
    draft.text = "abc"  # the same text
    assert draft.of(length) == 3
    draft.text = "ab"
    assert draft.of(length) == 2
    assert seen == ["abc", "ab"]
