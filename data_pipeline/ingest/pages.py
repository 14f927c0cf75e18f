"""HTML: the main content of a page as text.

Resiliparse (Bevendorff et al. 2018, resiliparse.chatnoir.eu) takes the main content: on DataComp-LM it gave models as
good as trafilatura's extraction and ran eight times as fast (Li et al. 2024, arXiv 2406.11794, section 4.2).
"""

import re
from collections.abc import Iterator
from typing import Any

from data_pipeline.ingest import encodings
from data_pipeline.ingest.row import Bad, Row, plain_metadata, sample
from data_pipeline.ingest.storage import open_bytes
from data_pipeline.ingest.text import decode
from data_pipeline.ingest.units import Unit

_MAX_DEPTH = 1_000  # elements within elements: the time to extract grows with its square; browsers stop at 512
_MANY_TAGS = 2_000  # fewer can't be nested so deeply that it matters
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_VOID = set("area base br col embed hr img input link meta param source track wbr p li td th tr option dt dd".split())
_META_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]+)", re.IGNORECASE)
_HEAD_BYTES = 4096  # in which a page says its encoding; the standard asks for it in the first 1,024
_MAX_REPLACED = 0.001  # of a page's characters may be none in the encoding that it names
# What pages call their encoding, where Python calls by that name only a part of it (WHATWG Encoding, section 4.2).
_WIDER = {
    "gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "iso-8859-1": "cp1252", "latin1": "cp1252",
    "ascii": "cp1252", "us-ascii": "cp1252", "big5": "big5hkscs", "big5-hkscs": "big5hkscs", "shift_jis": "cp932",
    "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "x-sjis": "cp932", "iso-8859-9": "cp1254", "tis-620": "cp874",
    "utf8": "utf-8", "utf-16": "utf-8", "utf-16le": "utf-8",
}  # fmt: skip


def read_html(unit: Unit) -> Iterator[Row | Bad]:
    """A page as one row; its title and its address, where it names one, are metadata."""
    limit = unit.options.max_row_bytes
    with open_bytes(unit.file) as stream:
        raw = stream.read(limit + 1)
    if len(raw) > limit:
        yield Bad(0, "row_too_long", f"more than {limit:,} bytes")
    else:
        yield page(raw, 0, unit, unit.options.encoding)


def page(raw: bytes, number: int, unit: Unit, charset: str = "", about: dict[str, Any] | None = None) -> Row | Bad:
    """The row of one page.

    Args:
      charset: the encoding that whoever sent the page named.
      about: what else is known of it, for the metadata.
    """
    html = page_text(raw, charset)
    if isinstance(html, Bad):
        return Bad(number, html.reason, html.sample)
    if html.count("<") > _MANY_TAGS and _depth(html) > _MAX_DEPTH:
        return Bad(number, "nested_too_deeply", f"more than {_MAX_DEPTH:,} elements within one another")
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(html.replace("\0", "\ufffd"))  # as the standard has it
    text = extract_plain_text(tree, main_content=True, preserve_formatting=True, alt_texts=False)
    said = {"title": " ".join((tree.title or "").split()), "url": _address(tree), **(about or {})}
    return Row(number, text, metadata=plain_metadata({k: v for k, v in said.items() if v}, unit.options))


def page_text(raw: bytes, charset: str = "") -> str | Bad:
    """The characters of a page: by its byte-order mark, as sent, as it says itself, as UTF-8, or as it shows.

    A page that names its encoding may break it here and there, as browsers bear it.
    """
    said = _META_CHARSET.search(raw[:_HEAD_BYTES])
    named = [_wider(name) for name in (charset, said[1].decode("ascii") if said else "") if name]
    named = [name for name in named if encodings.known(name)]
    for name in [encodings.by_mark(raw), *named, "utf-8"]:
        try:
            if name:
                return raw.decode(name)
        except UnicodeDecodeError:
            continue
    text = decode(raw)
    for name in [*named, "utf-8"]:
        if isinstance(text, str):
            break
        broken = raw.decode(name, errors="replace")
        text = broken if broken.count("\ufffd") <= _MAX_REPLACED * len(broken) else text
    return text


def _wider(name: str) -> str:
    name = name.strip().strip("\"'").lower()
    return _WIDER.get(name, name)


def _depth(html: str) -> int:
    """About how deeply a page's elements stand in one another; those that end by themselves don't count."""
    depth = deepest = 0
    for end, name in _TAG.findall(html):
        if name.lower() not in _VOID:
            depth = max(depth - 1, 0) if end else depth + 1
            deepest = max(deepest, depth)
    return deepest


def _address(tree: Any) -> str:
    link = tree.document.query_selector("link[rel=canonical]")
    address = (link.getattr("href", "") or "") if link else ""
    return sample(address) if address.startswith(("http://", "https://")) and len(address) < 2_000 else ""
