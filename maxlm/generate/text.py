"""From tokens, one by one, to text that may be shown: whole characters, and nothing that may yet be a stop string."""

import codecs
from collections.abc import Sequence

from maxlm.tokenizer.base import Tokenizer


class Continuation:
    """What is written after one prompt.

    Attributes:
      text: all of it so far, without the stop string that ended it.
      ended: whether the end of the text, a stop string or a special token of that name has come.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()):
        self._tokenizer, self._stop = tokenizer, [text for text in stop if text]
        # A special token has no text; it ends the text where it is named as a stop string.
        self._last = {tokenizer.eos_id} | {tokenizer.special[name] for name in stop if name in tokenizer.special}
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._shown = 0
        self.text, self.ended = "", False

    def add(self, token: int) -> str:
        """Takes a token in and returns what of the text may be shown beyond what was before."""
        if self.ended:
            return ""
        if token in self._last:
            return self.finish()
        self._take(self._bytes.decode(self._tokenizer.decode_bytes([token])))
        return self._show(len(self.text) if self.ended else len(self.text) - self._may_stop())

    def finish(self) -> str:
        """No more tokens come: half a character becomes U+FFFD, and what was held back may be shown."""
        if not self.ended:
            self._take(self._bytes.decode(b"", final=True))
            self.ended = True
        return self._show(len(self.text))

    def _take(self, more: str) -> None:
        """Adds to the text, and cuts it where a stop string begins."""
        longest = max(map(len, self._stop), default=0)
        start = max(0, len(self.text) - longest + 1)  # one may have begun before
        self.text += more
        found = [place for stop in self._stop if (place := self.text.find(stop, start)) >= 0]
        if found:
            self.text, self.ended = self.text[: min(found)], True

    def _may_stop(self) -> int:
        """Characters at the end that begin a stop string."""
        lengths = [n for stop in self._stop for n in range(1, len(stop)) if self.text.endswith(stop[:n])]
        return max(lengths, default=0)

    def _show(self, until: int) -> str:
        shown, self._shown = self._shown, max(self._shown, until)
        return self.text[shown : self._shown]
