"""Self-contained HTML pages: no scripts, no fonts, nothing from the network."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: 1em 0; } th, td { padding: .25em .8em; text-align: right; }
th { border-bottom: 1px solid #999; font-weight: 600; } td { white-space: nowrap; }
td:first-child, th:first-child { text-align: left; white-space: normal; }
tr:nth-child(even) td { background: #f6f6f6; } .undone td { color: #999; text-decoration: line-through; }
svg { max-width: 100%; height: auto; } pre { background: #f6f6f6; padding: 1em; overflow-x: auto; font-size: 13px; }
pre.text { white-space: pre-wrap; overflow-wrap: anywhere; } mark { background: #ffd54d; }
.note { color: #666; font-size: .9em; } .alarm { border-left: 4px solid #c33; padding: .2em 1em; background: #fdf3f3; }
.bar { display: block; height: .6em; background: #9db8d9; } .bar.after { background: #2a6496; }
td.bars { width: 40%; min-width: 10em; } summary { cursor: pointer; }
"""


def document(title: str, body: Iterable[str]) -> str:
    """A whole page: HTML text. `body` is HTML; `title` is escaped."""
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], classes: Sequence[str] = ()) -> str:
    """An HTML table; every cell is escaped, but those that are `Html`."""
    lines = []
    for i, row in enumerate(rows):
        lines.append(f'<tr class="{classes[i] if classes else ""}">{"".join(map(_cell, row))}</tr>')
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


class Html(str):
    """Text that is HTML already."""


def bars(before: float, after: float) -> Html:
    """Two bars, one above the other: shares between 0 and 1."""
    widths = [f"{100 * min(max(share, 0.0), 1.0):.1f}%" for share in (before, after)]
    lower = f'<span class="bar after" style="width:{widths[1]}"></span>'
    return Html(f'<span class="bar" style="width:{widths[0]}"></span>{lower}')


def _cell(value: Any) -> str:
    if isinstance(value, Html):
        return f'<td class="bars">{value}</td>'
    return f"<td>{html.escape(str(value))}</td>"
