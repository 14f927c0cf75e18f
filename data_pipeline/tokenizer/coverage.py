"""Which characters and words have a token of their own."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from maxlm.tokenizer.base import Tokenizer
from maxlm.tokenizer.settings import gb2312_level_1

WORDS = 5000  # most frequent words that are looked at
_WORD = re.compile(r"(?<![\w'])[a-z]{2,}(?![\w'])")


def characters(tokenizer: Tokenizer) -> dict[str, Any]:
    """The characters of GB2312's first level that are several tokens each."""
    wanted = gb2312_level_1()
    missing = [c for c, ids in zip(wanted, tokenizer.encode_batch(list(wanted)), strict=True) if len(ids) != 1]
    return {"wanted": len(wanted), "single": len(wanted) - len(missing), "missing": "".join(missing)}


def words(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, Any]:
    """How many of the commonest English words of `texts` are one token, with the space before them.

    The list is the text's own: words in small letters, by how often they occur.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_WORD.findall(text))
    common = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:WORDS]]
    encoded = tokenizer.encode_batch([f" {word}" for word in common])
    several = [word for word, ids in zip(common, encoded, strict=True) if len(ids) != 1]
    first = set(common[:1000])
    return {
        "wanted": len(common),
        "single": len(common) - len(several),
        "of_first_1000": len(first) - len(first.intersection(several)),
        "first_missing": several[:50],
    }


def blanks(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Lengths of runs of spaces, tabs and line ends, up to 32, that are one token."""
    signs = {"spaces": " ", "tabs": "\t", "line_ends": "\n"}
    lengths = range(1, 33)
    return {
        name: [
            n
            for n, ids in zip(lengths, tokenizer.encode_batch([sign * n for n in lengths]), strict=True)
            if len(ids) == 1
        ]
        for name, sign in signs.items()
    }
