"""Tokens that nobody wants in a vocabulary: what spam and markup leave in it. Each is told with why."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from data_pipeline.tokenizer.config import TokenizerConfig
from maxlm.errors import ConfigError

_LISTS = Path(__file__).parent / "lists"
_RULES = {
    # Ends of domains that are not names in programs as well (.net, .info are).
    "url": re.compile(r"https?:/|://\w|www\.|\.(?:com|cn|org)(?![a-z])", re.IGNORECASE),
    "markup": re.compile(
        r"nbsp|&(?:lt|gt|amp|quot|ldquo|rdquo|hellip|mdash|middot|#x?\d*);?"
        r"|</?(?:div|span|font|br|td|tr|th|li|ul|ol|img|script|style|table|tbody|iframe|strong)(?![a-z])",
        re.IGNORECASE,
    ),
    # Of letters five ("aaaaa", "哈哈哈哈哈"); of blanks and signs, which indent and underline, more than 32.
    "run": re.compile(r"([^\W\d_])\1{4}|(.)\2{32}", re.DOTALL),
    # Of a telephone; of a hash, which has both letters and digits.
    "number": re.compile(r"\d{7}|(?<![0-9a-z])(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8}", re.IGNORECASE),
}


def finder(config: TokenizerConfig) -> Callable[[str], str]:
    """A function that says why a token is dirt, as "rule: evidence"; "" where it is none.

    Raises:
      ConfigError: a list can't be read.
    """
    listed = _listed(config.dirt_lists) if "listed" in config.dirt else None
    rules = [(name, _RULES[name]) for name in config.dirt if name != "listed"]

    @cache
    def why(token: str) -> str:
        if listed and (found := listed.search(token.lower())):
            return f"listed: {found[0]}"
        return next((f"{name}: {found[0]}" for name, rule in rules if (found := rule.search(token))), "")

    return why


def _listed(lists: tuple[str, ...]) -> re.Pattern[str] | None:
    """A pattern of all phrases of the lists, without regard to case. A phrase counts anywhere in a token."""
    phrases: set[str] = set()
    for name in lists:
        path = Path(name) if "/" in name or name.endswith(".txt") else _LISTS / f"{name}.txt"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"config.tokenizer.dirt_lists: can't read the list {name}: {error}") from error
        phrases |= {line.strip().lower() for line in lines if line.strip() and not line.startswith("#")}
    return re.compile("|".join(map(re.escape, sorted(phrases)))) if phrases else None
