import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.base import Draft, Finding, judge
from data_pipeline.operators.c4 import C4, num_sentences

LONG = "w" * 1001
PAGE = "\n".join(f"This is sentence number {i}." for i in range(5))


def run(text, action="drop", **params):
    return judge(Draft(text), [("c4", C4(**params), action)])


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("No end to this line", "lines_without_punctuation"),
        ("This trails off...", "lines_without_punctuation"),
        ("Two words.", "short_lines"),
        ("Please turn on JavaScript now.", "javascript_lines"),
        ("See our Privacy Policy for more.", "policy_lines"),
        ("This site uses cookies, sorry.", "policy_lines"),
        (f"A word {LONG} too long.", "lines_with_long_words"),
    ],
)
def test_lines_that_go(line, rule):
    verdict = run(f"{PAGE}\n{line}\n\nThis one stays.")
    assert verdict.text == f"{PAGE}\nThis one stays."
    assert verdict.edits == {f"c4.{rule}": 1}


@pytest.mark.parametrize(
    "line", ["“Is it so?”", 'He said "yes, it is."', "  Three words only!  ", "It's his' and that'"]
)
def test_lines_that_stay(line):
    verdict = run(f"{PAGE}\n{line}", terminal_punctuation=not line.endswith("”"))
    assert verdict.text == f"{PAGE}\n{line.strip()}"
    assert not verdict.edits


page_lines = st.lists(st.text(st.sampled_from("a. \t\xa0床\u3000"), max_size=8), max_size=8)


@given(page_lines)
def test_a_page_without_a_hint_of_other_rules_is_sifted_alike(lines):
    quick = run("\n".join(lines), terminal_punctuation=False, min_sentences=2)
    slow = run("\n".join([*lines, "javascript is here"]), terminal_punctuation=False, min_sentences=2)
    assert (quick.text if quick.finding is None else None) == (slow.text if slow.finding is None else None)
    if quick.finding is None:
        assert slow.edits - quick.edits == {"c4.javascript_lines": 1}
    assert quick.finding == slow.finding


def test_citations_go_and_count():
    verdict = run(f"{PAGE}\nIt was so[1][citation needed] and thus.[23]")
    assert verdict.text.endswith("\nIt was so and thus.")
    assert verdict.edits == {"c4.citations": 3}


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("Lorem Ipsum dolor sit amet.", Finding("lorem_ipsum", None, len(PAGE) + 1, len(PAGE) + 28)),
        ("if (x) { return 1; }.", Finding("curly_bracket", None, len(PAGE) + 1, len(PAGE) + 22)),
    ],
)
def test_pages_that_go_for_a_passage_keep_their_lines(line, finding):
    verdict = run(f"{PAGE}\n{line}\nAnd a line more")
    assert verdict.finding == finding
    assert verdict.text == f"{PAGE}\n{line}\nAnd a line more"
    assert not verdict.edits


def test_what_stands_in_a_line_that_goes_does_not_count_against_the_page():
    assert run(f"{PAGE}\nvar x = {{}}").reason is None


def test_a_page_of_few_sentences_goes():
    four = PAGE.rsplit("\n", 1)[0]
    assert run(four).finding == Finding("too_few_sentences", 4)
    assert run(four, min_sentences=4).reason is None
    assert run(f"{four}\nBut some lines hold two of them. Like this one.").reason is None


def test_marking_leaves_the_text():
    verdict = run("Too few.", action="mark")
    assert (verdict.marks, verdict.text) == (["c4.too_few_sentences"], "Too few.")


def test_chinese_words_are_characters():
    verdict = run("这是一句话。也是一句话！\n太短", terminal_punctuation=False, min_sentences=2)
    assert (verdict.text, verdict.reason) == ("这是一句话。也是一句话！", None)


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("One. Two! Three? Four", 4),
        ('"Is it?" he said. "It is."', 3),
        ("Mr. J. Smith of the U.S. paid 3.14 dollars, e.g. in cash.", 1),
        ("Wait... what?! Yes.", 2),
        ("It can't. Tellson's. “Good.” ***", 3),
        ("第一句。第二句！“第三句？”第四句", 4),
        ("no end", 1),
    ],
)
def test_sentences(line, sentences):
    assert num_sentences(line) == sentences
