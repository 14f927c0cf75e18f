"""C4's rules: lines that are no text are removed, and pages that hold code, filler or too few sentences dropped.

Raffel et al. 2020 (T5), arXiv 1910.10683, section 2.2, read as datatrove's C4QualityFilter does, which adds rules that
stand in C4's code only: citation marks, policy lines and very long words.
"""

import re
import sys
from collections import Counter
from dataclasses import dataclass

import re2

from data_pipeline.operators.base import Action, Draft, Finding, Operator, Verdict
from data_pipeline.operators.words import has_words, split_words

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_LINE_ENDS = (".", "?", "!", '"', "'")
_POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")

# White space next to other on the same line; RE2's \s knows none beyond ASCII.
_SPACE = r"[ \t\x1f\xa0\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]"
_SPACES = re2.compile(f" {_SPACE}|{_SPACE} ")
# A sentence ends in . ! or ?, maybe closing quotes, and white space, and wherever Chinese says so; not in an ellipsis,
# nor after an initial or an abbreviation.
_MARKS = re.compile(r"""([.!?…。！？]+)["'”’»)\]」』）]*""")
_CHINESE_MARKS = frozenset("。！？")
_ABBREVIATION = re.compile(
    r"(?:(?<![\w'’])[A-Za-z]|\b(?:Mr|Mrs|Ms|Dr|Prof|Rev|St|Jr|Sr|Gen|Col|Capt|Lt|Sen|Rep|Gov|Inc|Ltd|Co|Corp|Mt|vs|Jan"
    r"|Feb|Mar|Apr|Aug|Sept?|Oct|Nov|Dec|a\.m|p\.m|e\.g|i\.e|U\.S))$"
)


@dataclass(frozen=True)
class C4(Operator):
    """Removes lines, counted by rule, and judges the page by those that are left. Blank lines go uncounted.

    A page that is dropped keeps its lines, so that the passage can be looked at.
    """

    terminal_punctuation: bool = True  # a line that doesn't end in . ? ! " or ' goes; FineWeb leaves this out
    min_line_words: int = 3  # a line of fewer goes; 0: none does, and blank lines stay
    max_word_chars: int = 1000  # a line with a longer one goes; 0: no limit
    javascript: bool = True  # a line that names it goes
    policies: bool = True  # a line about cookies, privacy or terms of use goes
    citations: bool = True  # marks such as [1] and [edit] go
    lorem_ipsum: bool = True  # a page with it is dropped
    curly_brackets: bool = True  # a page with an opening one is dropped
    min_sentences: int = 5  # a page of fewer is dropped; 0: none is

    def apply(self, name: str, draft: Draft, verdict: Verdict, action: Action) -> None:
        kept, removed, finding = self._sift(draft)
        if finding is not None:
            self.object(name, finding, verdict, action)
            return
        verdict.edits.update({f"{name}.{kind}": count for kind, count in removed.items() if count})
        draft.text = "\n".join(kept).strip()

    def _sift(self, draft: Draft) -> tuple[list[str], Counter[str], Finding | None]:
        """The lines that stay, how many went by each rule, and what is against the page."""
        text, lowered = draft.text, draft.text.lower()
        found = {
            "lorem_ipsum": self.lorem_ipsum and "lorem ipsum" in lowered,
            "javascript_lines": self.javascript and "javascript" in lowered,
            "curly_bracket": self.curly_brackets and "{" in text,
            "policy_lines": self.policies and any(phrase in lowered for phrase in _POLICIES),
        }
        watched = frozenset(rule for rule, is_there in found.items() if is_there)  # most pages need no look at any
        citations = self.citations and "[" in text
        lines = text.splitlines()
        if not watched and not citations and not self.terminal_punctuation:
            if not self.max_word_chars or max(map(len, lines), default=0) <= self.max_word_chars:
                return self._sift_plain(draft, lines)
        kept: list[str] = []
        removed: Counter[str] = Counter()
        sentences = 0
        for raw in lines:
            line = raw.strip()
            if citations and "[" in line:
                line, count = _CITATION.subn("", line)
                removed["citations"] += count
            rule = self._rule_against(line, raw, watched)
            if rule in ("lorem_ipsum", "curly_bracket"):
                start = text.find(raw)
                return kept, removed, Finding(rule, None, start, start + len(raw))
            if rule:
                removed[rule] += bool(line)
                continue
            if line and sentences < self.min_sentences:
                sentences += num_sentences(line, self.min_sentences - sentences)
            kept.append(line)
        return kept, removed, self._judge_sentences(sentences)

    def _sift_plain(self, draft: Draft, lines: list[str]) -> tuple[list[str], Counter[str], Finding | None]:
        """As `_sift`, where the one rule that lines can break is the one on short ones."""
        lines = [line.strip() for line in lines]
        # Where no white space follows upon other, each space ends a word.
        enough = len(draft.text) if _SPACES.search(draft.of(str.encode)) else self.min_line_words - 1
        kept = [line for line in lines if line.count(" ") >= enough or has_words(line, self.min_line_words)]
        removed = Counter(short_lines=sum(map(bool, lines)) - sum(map(bool, kept)))
        sentences = 0
        for line in filter(None, kept):
            if sentences >= self.min_sentences:
                break
            sentences += num_sentences(line, self.min_sentences - sentences)
        return kept, removed, self._judge_sentences(sentences)

    def _judge_sentences(self, sentences: int) -> Finding | None:
        return Finding("too_few_sentences", sentences) if sentences < self.min_sentences else None

    def _rule_against(self, line: str, raw: str, watched: frozenset[str]) -> str:
        """The first rule that `line`, `raw` without its citations, breaks; "": none. The order is datatrove's."""
        if self.max_word_chars and len(raw) > self.max_word_chars:
            if max(map(len, split_words(raw))) > self.max_word_chars:
                return "lines_with_long_words"
        if self.terminal_punctuation and (not line.endswith(_LINE_ENDS) or line.endswith("...")):
            return "lines_without_punctuation"
        if not has_words(raw, self.min_line_words):
            return "short_lines"
        if not watched:
            return ""
        lowered = line.lower()
        if "lorem_ipsum" in watched and "lorem ipsum" in lowered:
            return "lorem_ipsum"
        if "javascript_lines" in watched and "javascript" in lowered:
            return "javascript_lines"
        if "curly_bracket" in watched and "{" in line:
            return "curly_bracket"
        if "policy_lines" in watched and any(phrase in lowered for phrase in _POLICIES):
            return "policy_lines"
        return ""


def num_sentences(line: str, most: int = sys.maxsize) -> int:
    """The sentences of a line, the last of which need not end; at least 1. Counts no further than `most`."""
    last = len(line)
    while last and not line[last - 1].isalnum():
        last -= 1
    ends = 1
    for match in _MARKS.finditer(line, 0, last):
        if ends >= most:
            break
        start, end = match.span()
        if not _CHINESE_MARKS.isdisjoint(match[0]):
            ends += 1
        elif line[end].isspace() and (match[1] == "." or "!" in match[1] or "?" in match[1]):
            ends += _ABBREVIATION.search(line, max(0, start - 8), start) is None
    return ends
