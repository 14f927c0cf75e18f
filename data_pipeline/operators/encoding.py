"""Text that was decoded by the wrong table ("Ã©", "鐨勬槸"), read again by the right one; and what is past repair."""

import codecs
import re
from dataclasses import dataclass

import re2

from data_pipeline.operators.base import Draft, Edit, Filter, Finding

# The bytes 80 to BF as cp1252 and Latin-1 show them, and as cp1251 does: what a UTF-8 sequence goes on with.
_LATIN_REST = "\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_CYRILLIC_REST = "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—™љ›њќћџ\xa0ЎўЈ¤Ґ¦§Ё©Є«¬®Ї°±Ііґµ¶·ё№є»јЅѕї"
_LIKELY = re2.compile(f"[Â-ô][{_LATIN_REST}]|[РС][{_CYRILLIC_REST}]|[├┬Γ╬╨╤][\x80-\xff]")
# UTF-8 of Chinese full stops, commas and 的, read as GBK, makes these, which no text is full of.
_LIKELY_GBK = re2.compile("[锛銆鐨]")
_MOST_ROUNDS = 8  # text can have been damaged more than once
_DAMAGE = re2.compile("[\ufffd]|锟斤拷|锟|烫烫烫|屯屯屯")


@dataclass(frozen=True)
class RepairEncoding(Edit):
    """Repairs lines of UTF-8 that were decoded as something else.

    By ftfy (Speer 2019, doi 10.5281/zenodo.2591652), which changes a line only where that makes it look more like text;
    it is slow, so it is asked only about lines with the typical pairs. UTF-8 read as GBK, which ftfy doesn't know, is
    read again where it can be without loss.
    """

    def edit(self, draft: Draft) -> tuple[str, dict[str, int]]:
        raw = draft.of(str.encode)
        if draft.text.isascii() or not (_LIKELY.search(raw) or _LIKELY_GBK.search(raw)):
            return draft.text, {}
        old = draft.text.split("\n")
        new = [_repair_line(line) for line in old]
        return "\n".join(new), {"line": sum(a != b for a, b in zip(old, new, strict=True))}


@dataclass(frozen=True)
class DamagedText(Filter):
    """Drops text in which characters were lost for good: U+FFFD, or what GBK makes of it (锟斤拷, 烫烫烫).

    A rule of our own; the limit lets one lost character in a thousand pass.
    """

    max_share: float = 0.001

    def check(self, draft: Draft) -> Finding | None:
        if draft.text.isascii() or not _DAMAGE.search(draft.of(str.encode)):
            return None
        matches = list(_DAMAGE.finditer(draft.text))
        share = sum(match.end() - match.start() for match in matches) / len(draft.text)
        return Finding("damaged_text", share, *matches[0].span()) if share > self.max_share else None


def _repair_line(line: str) -> str:
    """What `line` was before it was decoded wrongly; itself where it looks as it should."""
    for _ in range(_MOST_ROUNDS):
        repaired = _repair_once(line)
        # A line end that comes out of a repair would be a new line, looked at by itself the next time.
        if repaired == line or re.search("[\n\r\ufffd]", repaired):
            return line
        line = repaired
    return line


def _repair_once(line: str) -> str:
    raw = line.encode()
    if _LIKELY_GBK.search(raw):
        try:
            # A byte that was left over at the end of a line was lost, and with it a character.
            again = codecs.getincrementaldecoder("utf-8")().decode(line.encode("gb18030"))
        except UnicodeDecodeError:
            return line
        return again if len(again) > 1 else line
    if _LIKELY.search(raw):
        import ftfy  # only where it is needed

        return ftfy.fix_encoding(line)
    return line
