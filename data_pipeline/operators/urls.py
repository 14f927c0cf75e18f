"""Addresses: how much of a text they are, and documents that come from places that are not wanted."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import re2

from data_pipeline.operators.base import Draft, Filter, Finding
from maxlm.errors import ConfigError

_URL = re2.compile(r"(?i)(?:https?://|ftp://|\bwww\.)[^\s<>\"'`（）《》“”，。；、！？】」]+")
# Where metadata may keep a document's address, Common Crawl's name of it among them.
_KEYS = ("url", "uri", "URL", "WARC-Target-URI", "warc_target_uri", "target_uri", "source_url", "link")
_HOST = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:)?(?://)?(?:[^/?#@\s]*@)?([^/?#@:\s\[\]]+)(?::\d+)?(?=[/?#]|$)([^?#\s]*)", re.I
)
_WORD = re.compile(r"[^\W_]+")
_BUILT_IN = Path(__file__).parent / "lists" / "hosts.txt"


@dataclass(frozen=True)
class UrlShare(Filter):
    """Drops text of which more than `max_share` of the characters are addresses: link lists and spam.

    A rule of our own. Addresses with a scheme or `www.` count.
    """

    max_share: float = 0.2

    def check(self, draft: Draft) -> Finding | None:
        raw = draft.of(str.encode)
        if b"://" not in raw and b"www." not in raw and b"WWW." not in raw:
            return None
        spans = [match.span() for match in _URL.finditer(raw)]
        share = sum(len(raw[start:end].decode()) for start, end in spans) / len(draft.text)
        if share <= self.max_share:
            return None
        start, end = max(spans, key=lambda span: span[1] - span[0])
        return Finding("too_many_urls", share, len(raw[:start].decode()), len(raw[:end].decode()))


@dataclass(frozen=True)
class UrlBlocklist(Filter):
    """Drops documents whose address (`url` in their metadata) is on a list, or holds one of `words`.

    A list is a file with one domain a line, which stands for all hosts below it (`example.com`: also `a.example.com`),
    or a domain with the beginning of a path (`example.com/ads`); `#` begins a comment, and the form of a hosts file
    (`0.0.0.0 example.com`) is read too. The lists of RefinedWeb (Penedo et al. 2023, arXiv 2306.01116, appendix G.1) or
    of dsi.ut-capitole.fr/blacklists can be given by their paths; `built-in` is a handful of examples.
    """

    lists: tuple[str, ...] = ("built-in",)
    hosts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()  # dropped where one is a whole word of the address, in any case

    def __post_init__(self) -> None:
        _blocked(self.lists, self.hosts)

    def check(self, draft: Draft) -> Finding | None:
        url = url_of(draft.metadata)
        if not url or not (found := _HOST.match(url)):
            return None
        host, path = _plain_host(found[1]), found[2]
        if _is_blocked(host, path, _blocked(self.lists, self.hosts)):
            return Finding("blocked_host")
        if self.words and not set(_WORD.findall(url.lower())).isdisjoint(self.words):
            return Finding("blocked_word_in_url")
        return None


def url_of(metadata: str | None) -> str:
    """The address in a document's metadata (a JSON object); "" where there is none."""
    if not metadata or not any(key in metadata for key in _KEYS):
        return ""
    values = json.loads(metadata)
    return next((values[key] for key in _KEYS if isinstance(values.get(key), str)), "")


def _is_blocked(host: str, path: str, blocked: frozenset[str]) -> bool:
    while host:
        if host in blocked:
            return True
        ends = [i for i, sign in enumerate(path) if sign == "/" and i] + [len(path)] if path else []
        if any(host + path[:end].rstrip("/") in blocked for end in ends):
            return True
        host = host.partition(".")[2]
    return False


def _plain_host(host: str) -> str:
    """In lower case and, for names in other scripts, as the DNS has it."""
    host = host.lower().rstrip(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


@cache
def _blocked(lists: tuple[str, ...], hosts: tuple[str, ...]) -> frozenset[str]:
    """All entries of the lists.

    Raises:
      ConfigError: a list can't be read; names it.
    """
    entries = list(hosts)
    for path in lists:
        try:
            lines = (_BUILT_IN if path == "built-in" else Path(path)).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"url_blocklist: can't read the list {path}: {error}") from error
        entries += [words[-1] for line in lines if (words := line.partition("#")[0].split())]
    parts = ((entry.partition("://")[2] or entry).rstrip("/").partition("/") for entry in entries)
    return frozenset(_plain_host(host) + slash + path for host, slash, path in parts)
