"""Runs our filters and datatrove's over the same documents, one by one, and prints where they disagree.

    python tools/compare_filters.py FOLDER [--documents=20000] [--chinese=5000] [--show=2] [--words=ours|theirs]

FOLDER holds text; long files are cut at blank lines, and as many documents are drawn with a seed. Takes ten minutes.
Needs datatrove with what its English tokenizer needs: pip install datatrove spacy regex. Each rule is run by itself,
since a filter stops at the first that is broken, and the filters as wholes. By default datatrove is given our words
(white space, and each character of Chinese); sentences are its own. docs/corpus/filters.md explains what differs.
"""

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pages import pages

from data_pipeline.operators.base import Draft, Operator, judge
from data_pipeline.operators.c4 import C4
from data_pipeline.operators.census import census
from data_pipeline.operators.fineweb import FineWeb
from data_pipeline.operators.gopher import AlphabeticWords, LineMarks, StopWords, SymbolRatio
from data_pipeline.operators.length import Length, WordLength
from data_pipeline.operators.repetition import Repetition, Runs
from data_pipeline.operators.words import split_words

INFINITE = 1e9
SCRIPTS = ("with spaces only", "with Chinese or the like in it")
GOPHER = (
    "min_doc_words",
    "max_doc_words",
    "min_avg_word_length",
    "max_avg_word_length",
    "max_symbol_word_ratio",
    "max_bullet_lines_ratio",
    "max_ellipsis_lines_ratio",
    "max_non_alpha_words_ratio",
    "min_stop_words",
)
LINES = ("max_duplicate_lines", "max_duplicate_line_chars", "max_duplicate_paragraphs", "max_duplicate_paragraph_chars")
OUR_LINES_OFF: dict[str, Any] = {**dict.fromkeys(LINES, INFINITE), "max_top": {}, "max_duplicate": {}}
THEIR_LINES = ("dup_line_frac", "dup_line_char_frac", "dup_para_frac", "dup_para_char_frac")
THEIR_LINES_OFF: dict[str, Any] = {**dict.fromkeys(THEIR_LINES), "top_n_grams": (), "dup_n_grams": ()}
FINEWEB_OFF = {
    "min_punctuated_lines": 0.0,
    "max_short_lines": 1.0,
    "max_duplicate_line_chars": 1.0,
    "max_line_ends": INFINITE,
}
THEIR_FINEWEB_OFF = {
    "line_punct_thr": 0.0,
    "short_line_thr": 1.0,
    "char_duplicates_ratio": 1.0,
    "new_line_ratio": INFINITE,
}
C4_OFF = {
    "terminal_punctuation": False,
    "min_line_words": 0,
    "max_word_chars": 0,
    "javascript": False,
    "policies": False,
    "citations": False,
    "lorem_ipsum": False,
    "curly_brackets": False,
    "min_sentences": 0,
}
THEIR_C4_OFF = {
    "filter_no_terminal_punct": False,
    "min_words_per_line": -1,
    "max_word_length": -1,
    "filter_javascript": False,
    "filter_policy": False,
    "remove_citations": False,
    "filter_lorem_ipsum": False,
    "filter_curly_bracket": False,
    "min_num_sentences": -1,
}

Answer = tuple[bool, str]  # whether the document stays, and the text that C4's rules leave of it


@dataclass
class Tally:
    """What came of one rule on documents of one script."""

    documents: int = 0
    dropped: int = 0  # by datatrove
    causes: Counter[str] = field(default_factory=Counter)


def rules(language: Any) -> dict[str, tuple[list[Operator], Any]]:
    """Rule -> our operators and datatrove's filter."""
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    def gopher(operator: Operator, name: str) -> tuple[list[Operator], Any]:
        defaults = dict(zip(GOPHER, (50, 100_000, 3, 10, 0.1, 0.9, 0.3, 0.8, 2), strict=True))
        off = {key: value if key == name else None for key, value in defaults.items()}
        return [operator], GopherQualityFilter(**off, language=language)

    def repetition(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[list[Operator], Any]:
        return (
            [Repetition(**{**OUR_LINES_OFF, **ours}, min_top_count=1)],
            GopherRepetitionFilter(**{**THEIR_LINES_OFF, **theirs}, language=language),
        )

    def c4(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[list[Operator], Any]:
        return [C4(**{**C4_OFF, **ours})], C4QualityFilter(**{**THEIR_C4_OFF, **theirs})

    def fineweb(ours: str, theirs: str, value: float) -> tuple[list[Operator], Any]:
        return (
            [FineWeb(**{**FINEWEB_OFF, ours: value})],
            FineWebQualityFilter(**{**THEIR_FINEWEB_OFF, theirs: value}, language=language),
        )

    table = {
        "gopher: fewest words": gopher(Length(50, 0), "min_doc_words"),
        "gopher: most words": gopher(Length(0, 100_000), "max_doc_words"),
        "gopher: shortest words": gopher(WordLength(max_mean=INFINITE), "min_avg_word_length"),
        "gopher: longest words": gopher(WordLength(min_mean=0), "max_avg_word_length"),
        "gopher: symbols": gopher(SymbolRatio(), "max_symbol_word_ratio"),
        "gopher: bullets": gopher(LineMarks(max_ellipsis_share=1), "max_bullet_lines_ratio"),
        "gopher: ellipsis lines": gopher(LineMarks(max_bullet_share=1), "max_ellipsis_lines_ratio"),
        "gopher: alphabetic words": gopher(AlphabeticWords(), "max_non_alpha_words_ratio"),
        "gopher: stop words": gopher(StopWords(), "min_stop_words"),
    }
    quality = [Length(), WordLength(), SymbolRatio(), LineMarks(), AlphabeticWords(), StopWords()]
    table["gopher quality"] = (quality, GopherQualityFilter(language=language))
    for ours, theirs, limit in zip(LINES, THEIR_LINES, (0.3, 0.2, 0.3, 0.2), strict=True):
        table[f"repetition: {ours[4:]}"] = repetition({ours: limit}, {theirs: limit})
    for n, limit in Repetition().max_top.items():
        table[f"repetition: top {n}"] = repetition({"max_top": {n: limit}}, {"top_n_grams": ((int(n), limit),)})
    for n, limit in Repetition().max_duplicate.items():
        theirs = {"dup_n_grams": ((int(n), limit),)}
        table[f"repetition: duplicate {n}"] = repetition({"max_duplicate": {n: limit}}, theirs)
    table["gopher repetition"] = ([Repetition(min_top_count=1)], GopherRepetitionFilter(language=language))
    table["gopher repetition by default"] = ([Repetition()], GopherRepetitionFilter(language=language))
    for ours, theirs, value in zip(C4_OFF, THEIR_C4_OFF, (True, 3, 1000, *[True] * 5, 5), strict=True):
        table[f"c4: {ours}"] = c4({ours: value}, {theirs: value})
    table["c4"] = ([C4()], C4QualityFilter())
    table["c4 as FineWeb has it"] = ([C4(terminal_punctuation=False)], C4QualityFilter(filter_no_terminal_punct=False))
    for ours, theirs, value in zip(FINEWEB_OFF, THEIR_FINEWEB_OFF, (0.12, 0.67, 0.01, 0.3), strict=True):
        table[f"fineweb: {ours[4:]}"] = fineweb(ours, theirs, value)
    table["fineweb"] = ([FineWeb()], FineWebQualityFilter(language=language))
    return table


def our_answer(operators: list[Operator], text: str, draft: Draft | None = None) -> Answer:
    """What our operators say; `draft`: one of the same text, whose census is used again."""
    fork = (draft or Draft(text)).fork()
    verdict = judge(fork, [("", operator, "drop") for operator in operators])
    return verdict.finding is None, verdict.text if verdict.finding is None else ""


def their_answer(block: Any, text: str) -> tuple[Answer, str]:
    """What datatrove's filter says, with its reason; C4's writes the lines that stay into the document."""
    from datatrove.data import Document

    document = Document(text=text, id="")
    answer = block.filter(document)
    stays, reason = (answer, "") if isinstance(answer, bool) else answer
    return (stays, document.text if stays else ""), reason


def same(ours: Answer, theirs: Answer) -> bool:
    """Whether both keep the document, with the same lines, or both drop it."""
    return ours[0] == theirs[0] and ours[1].strip().split("\n") == theirs[1].strip().split("\n")


def cause(rule: str, operators: list[Operator], block: Any, text: str, ours: Answer, reason: str) -> str:
    """Which of the known differences explains a disagreement; "": none."""
    if reason.startswith("top_") and ours[0]:
        if rule.endswith("default") and Runs(census(text)).commonest(int(reason[4]))[0] < 2:
            return "a run that occurs once is no repetition"
        if unspaced(text):
            return "between Chinese characters stand no spaces"
    stripped = text.strip("\n")
    if text != stripped and same(our_answer(operators, stripped), their_answer(block, stripped)[0]):
        return "line ends around the text are no lines"
    if rule.startswith("c4"):
        plain = [replace(operator, min_sentences=0) for operator in operators if isinstance(operator, C4)]
        sentences, block.min_num_sentences = block.min_num_sentences, -1
        agree = same(our_answer([*plain], text), their_answer(block, text)[0])
        block.min_num_sentences = sentences
        if agree:
            return "sentences are counted otherwise"
        return "Chinese words are characters" if unspaced(text) else ""
    return ""


def unspaced(text: str) -> bool:
    """Whether a text holds characters of a script without spaces."""
    return len(split_words(text)) != len(text.split())


def drawn(folder: Path, chars: int, documents: int, chinese: int, seed: int) -> list[str]:
    """Documents drawn at random: so many of text with spaces, and so many with other scripts in them."""
    by_script: tuple[list[str], list[str]] = ([], [])
    for text in pages(folder, chars):
        if text.split():
            by_script[unspaced(text)].append(text)
    draw = random.Random(seed)
    counts = zip(by_script, (documents, chinese), strict=True)
    return [text for texts, count in counts for text in draw.sample(texts, min(count, len(texts)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--chinese", type=int, default=5_000, help="documents with Chinese or the like in them")
    parser.add_argument("--chars", type=int, default=1500, help="least characters of a document that is cut")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=2, help="disagreements of each rule and cause to print")
    parser.add_argument("--words", choices=("ours", "theirs"), default="ours")
    args = parser.parse_args()
    texts = drawn(args.folder, args.chars, args.documents, args.chinese, args.seed)
    compared = rules(_our_words() if args.words == "ours" else "eng")
    tallies = {rule: {script: Tally() for script in SCRIPTS} for rule in compared}
    unexplained = "UNEXPLAINED" if args.words == "ours" else "other words, or unexplained"
    seconds = [0.0, 0.0]
    for text in texts:
        draft, script = Draft(text), SCRIPTS[unspaced(text)]
        for rule, (operators, block) in compared.items():
            times = [time.perf_counter()]
            ours = our_answer(operators, text, draft)
            times.append(time.perf_counter())
            theirs, reason = their_answer(block, text)
            times.append(time.perf_counter())
            seconds = [total + end - start for total, start, end in zip(seconds, times[:2], times[1:], strict=True)]
            tally = tallies[rule][script]
            tally.documents += 1
            tally.dropped += not theirs[0]
            if not same(ours, theirs):
                why = cause(rule, operators, block, text, ours, reason) or unexplained
                tally.causes[why] += 1
                if tally.causes[why] <= args.show:
                    print(f"-- {rule}: {why}; ours {ours[0]}, theirs {theirs[0]}: {text[:200]!r}", file=sys.stderr)
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts)} documents, {size:.1f} MB; all rules: ours {seconds[0]:.0f} s, datatrove {seconds[1]:.0f} s")
    for script in SCRIPTS:
        _print(script, {rule: by_script[script] for rule, by_script in tallies.items()})


def _print(script: str, tallies: dict[str, Tally]) -> None:
    documents = max(tally.documents for tally in tallies.values())
    print(f"\n{documents} documents {script}\n")
    print("| rule | datatrove drops | agree | disagree, and why |\n|---|---|---|---|")
    for rule, tally in tallies.items():
        agree = 1 - sum(tally.causes.values()) / max(documents, 1)
        why = "; ".join(f"{count}: {name}" for name, count in tally.causes.most_common())
        print(f"| {rule} | {tally.dropped} | {100 * agree:.3f} % | {why} |")


def _our_words() -> Any:
    """A tokenizer for datatrove that splits as we do."""
    from datatrove.utils.word_tokenizers import WhitespaceTokenizer

    class OurWords(WhitespaceTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return list(split_words(text))

    return OurWords()


if __name__ == "__main__":
    main()
