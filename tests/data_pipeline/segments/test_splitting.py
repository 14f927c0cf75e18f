import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.segments.splitting import cut, fenced, split

# What texts are made of here: enough of each sort of mark, break and letter for all rules to meet.
TEXTS = st.text("aB1 \n\t\r.!?…。！？；”\"')“(天地Éé\u3000-", max_size=60)
UNITS = st.sampled_from(["line", "paragraph", "sentence"])


def units(text, unit):
    return [text[start:end] for start, end in split(text, unit)]


def test_lines_and_paragraphs():
    text = "\n  One line\nand another \n\n \n\tA block.\n"
    assert units(text, "line") == ["One line", "and another ", "A block."]
    assert units(text, "paragraph") == ["One line\nand another ", "A block."]


# English cases after the "golden rules" of Dias's Pragmatic Segmenter (github.com/diasks2/pragmatic_segmenter, MIT).
@pytest.mark.parametrize(
    "sentences",
    [
        ["Hello World.", "My name is Jonas."],
        ["What is your name?", "My name is Jonas."],
        ["There it is!", "I found it."],
        ["My name is Jonas E. Smith."],
        ["Please turn to p. 55."],
        ["Were Jane and co. at the party?"],
        ["They closed the deal with Pitt, Briggs & Co. at noon."],
        ["Let's ask Jane and co.", "They should know."],
        ["I can see Mt. Fuji from here."],
        ["St. Michael's Church is on 5th st. near the light."],
        ["That is JFK Jr.'s book."],
        ["I visited the U.S.A. last year."],
        ["I live in the E.U.", "How about you?"],
        ["She has $100.00 in her bag."],
        ["She has $100.00.", "It is in her bag."],
        ["He teaches science (He previously worked for 5 years as an engineer.) at the local University."],
        ["Her email is Jane.Doe@example.com.", "I sent her an email."],
        ["The site is: https://www.example.50.com/new-site/awesome_content.html.", "Please check it out."],
        ["She turned to him, 'This is great.' she said."],
        ['She turned to him, "This is great."', "She held the book out to show him."],
        ["Hello!!", "Long time no see."],
        ["Hello?!", "Is that you?"],
        ["I never meant that....", "She left the store."],
        ["He left ... and then came back."],
        ["Version 3.14.1 of e.g. the tool vs. Dr. Brown's, i.e. No. 7."],
        ["你好。", "你吃了吗？", "“我吃过了。”", "他说……"],
        ["圆周率是3.14，e是2.718。", "对吗？！"],
        ["第一；", "第二！", "第三…", "完"],
        ["「そうです。」", "と言った。"],
        ["ठीक है।", "चलो।"],
        ["كيف حالك؟", "بخير."],
    ],
)
def test_sentences(sentences):
    for text in (" ".join(sentences), "\n".join(sentences)):
        assert units(text, "sentence") == sentences
    if not sentences[0].isascii() and not any(mark in sentences[0] for mark in "।؟"):
        assert units("".join(sentences), "sentence") == sentences


def test_a_line_end_ends_a_sentence_unless_the_next_line_goes_on():
    assert units("Home\nAbout us\nIt was the best\nof times.", "sentence") == [
        "Home",
        "About us",
        "It was the best\nof times.",
    ]


@given(TEXTS, UNITS)
def test_units_hold_all_of_the_text_but_white_space(text, unit):
    spans = split(text, unit)
    ends = [0, *(place for span in spans for place in span), len(text)]
    assert ends == sorted(ends)
    assert all(text[start:end].strip() and not text[start].isspace() for start, end in spans)
    left = ends[::2], ends[1::2]
    assert not "".join(text[a:b] for a, b in zip(*left, strict=True)).strip()


@given(TEXTS, UNITS, st.data())
def test_a_cut_leaves_the_other_units_and_their_order(text, unit, data):
    spans = split(text, unit)
    gone = data.draw(st.sets(st.integers(0, max(0, len(spans) - 1))))
    left = cut(text, spans, gone)
    kept = [text[start:end] for i, (start, end) in enumerate(spans) if i not in gone]
    assert "".join(left.split()) == "".join("".join(kept).split())
    assert cut(text, spans, set()) == text or not spans
    place = 0
    for piece in kept:  # each stands whole, after the one before
        place = left.index(piece, place) + len(piece)


def test_fenced_code():
    text = "Text\n```py\nimport this\n```\nmore ``` text\n  ~~~\nopen"
    assert [text[start:end] for start, end in fenced(text)] == ["```py\nimport this\n```", "  ~~~\nopen"]
    assert fenced("a ``` b") == []
    assert fenced("```\n```") == [(0, 7)]


def test_a_cut_mends_the_gap():
    lines = "A title\n\nSubscribe now!\n\nText.\n    indented\nfooter\n"
    assert cut(lines, split(lines, "line"), {1, 4}) == "A title\n\nText.\n    indented\n"
    prose = "One. Two.\n\nThree. Four. Five."
    spans = split(prose, "sentence")
    assert cut(prose, spans, {1}) == "One.\n\nThree. Four. Five."
    assert cut(prose, spans, {3}) == "One. Two.\n\nThree. Five."
    assert cut(prose, spans, {0}) == "Two.\n\nThree. Four. Five."
    assert cut(prose, spans, {0, 1, 2, 3, 4}) == ""


def test_time_grows_with_length_only():
    # Quadratic splitting of any of these would take minutes.
    for text in (" " * 300_000, "." * 300_000, "\n" * 300_000, "a." * 150_000, ". " * 150_000, '."(' * 100_000):
        for unit in ("line", "paragraph", "sentence"):
            split(text, unit)
