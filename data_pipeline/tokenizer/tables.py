"""An audit as tables on the terminal."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_SHOWN = 20  # dirty or dead tokens listed


def print_audit(told: dict[str, Any], console: Console) -> None:
    """Compression, then what there is of tokens, then what is wrong, or that nothing is."""
    console.print(_compression(told))
    console.print(_vocabulary(told))
    for name in ("dirty", "unreachable"):
        for number, text, *why in told[name][:_SHOWN]:
            console.print(escape(f"{name} {number} {text!r} {' '.join(why)}"))
    for warning in told["warnings"]:
        console.print(f"warning: {escape(warning)}")
    for finding in told["findings"]:
        console.print(f"finding: {escape(finding)}")
    if not told["findings"]:
        console.print("clean: no dirty token, none that can't be produced, nothing lost")


def _compression(told: dict[str, Any]) -> Table:
    table = Table("tokenizer", "pieces", "text", "bytes/token", "characters/token", "Chinese characters/token")
    for name, measured in told["compression"].items():
        for group in ("domains", "languages"):
            for key, row in measured[group].items():
                figures = [row["bytes_per_token"], row["chars_per_token"], row.get("han_per_token")]
                cells = ["–" if figure is None else f"{figure:.3f}" for figure in figures]
                table.add_row(escape(name), f"{measured['pieces']:,}", f"{group[:-1]} {key or '–'}", *cells)
        table.add_section()
    return table


def _vocabulary(told: dict[str, Any]) -> Table:
    table = Table("vocabulary", "")
    gb2312, words, trip, parts = told["gb2312"], told["words"], told["round_trip"], told["parts_of_characters"]
    table.add_row("kind", told["kind"])
    table.add_row("pieces, rows", f"{told['pieces']:,}, {told['vocab_size']:,}")
    table.add_row("dirty; left out in training", f"{len(told['dirty'])}; {len(told.get('left_out', {}))}")
    table.add_row("that no text becomes", f"{len(told['unreachable'])}")
    table.add_row(
        "parts of characters", f"{parts['tokens']}, of them {parts['only_on_the_way']} on the way to whole ones only"
    )
    table.add_row("GB2312 level 1 as single tokens", f"{gb2312['single']:,} of {gb2312['wanted']:,}")
    table.add_row("commonest English words as single tokens", f"{words['single']:,} of {words['wanted']:,}")
    table.add_row("of the first 1,000", f"{words['of_first_1000']:,}")
    for name, lengths in told["blanks"].items():
        table.add_row(f"runs of {name.replace('_', ' ')} as single tokens", ", ".join(map(str, lengths)))
    lost = len(trip["failed_strings"]), len(trip["failed_byte_strings"])
    table.add_row(
        "random strings, byte strings lost", f"{lost[0]} of {trip['strings']:,}, {lost[1]} of {trip['byte_strings']:,}"
    )
    if form := told.get("hugging_face"):
        table.add_row("texts with other ids by tokenizer.json", f"{len(form['differing'])} of {form['texts']:,}")
    return table


def print_extension(told: dict[str, Any], console: Console) -> None:
    """What was added, and what that changes."""
    table = Table("id", "token", "replaces")
    for number, text in list(told["added"].items())[:_SHOWN]:
        table.add_row(str(number), escape(repr(text)), " ".join(map(str, told["replaces"][number])) or "–")
    console.print(table)
    if (more := len(told["added"]) - _SHOWN) > 0:
        console.print(f"and {more:,} more (extension.json)")
    if told["already"]:
        console.print(escape(f"one token already: {', '.join(map(repr, told['already']))}"))
    before, after = told["tokens_before"], told["tokens_after"]
    changed = f"{told['changed']:,} of {told['texts']:,} texts change: {before:,} tokens before, {after:,} after"
    console.print(f"{changed}; {told['rows_before']:,} rows before, {told['rows_after']:,} after")
    for example in told["examples"]:
        console.print(escape(f"  … {example}"))
