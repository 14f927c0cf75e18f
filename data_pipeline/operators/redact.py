"""Personal data and secrets, put out of sight behind typed placeholders such as `<email>`."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from data_pipeline.operators.base import Draft, Edit
from data_pipeline.operators.redaction import addresses, emails, names, numbers, phones, secrets
from data_pipeline.operators.redaction.view import Span, View, view_of

Kind = Literal["secret", "email", "ip", "id_number", "bank_card", "phone", "name"]

# Where two overlap, the one that stands first here is taken.
_FINDERS: dict[Kind, Callable[[View], Iterable[Span]]] = {
    "secret": secrets.find,
    "email": emails.find,
    "ip": addresses.find,
    "id_number": numbers.find_id_numbers,
    "bank_card": numbers.find_bank_cards,
    "phone": phones.find,
    "name": names.find,
}


@dataclass(frozen=True)
class Redact(Edit):
    """Replaces what names or reaches a person, and what opens an account, by `<kind>`, and counts by kind.

    All else stays as it is, to the byte. `name` (a personal name behind its title) is found by rules of thumb and must
    be asked for. A text that was redacted comes back unchanged.
    """

    kinds: tuple[Kind, ...] = ("secret", "email", "ip", "id_number", "bank_card", "phone")

    def edit(self, draft: Draft) -> tuple[str, dict[str, int]]:
        text, counts = draft.text, Counter[str]()
        # A replacement may clear the way for its neighbour. Each takes characters away for good, so this ends.
        while places := find(text, self.kinds):
            text = _replace(text, places)
            counts.update(kind for kind, _, _ in places)
        return text, dict(counts)


def find(text: str, kinds: Iterable[Kind]) -> list[tuple[Kind, int, int]]:
    """What there is to redact: (kind, start, end) in characters, in order, without overlaps."""
    view = view_of(text)
    wanted = set(kinds)
    taken: list[tuple[Kind, int, int]] = []
    for kind, finder in _FINDERS.items():
        if kind in wanted and (spans := sorted(finder(view))):
            taken = _merged(taken, [(kind, *span) for span in spans])
    return taken


def _merged(first: list[tuple[Kind, int, int]], second: list[tuple[Kind, int, int]]) -> list[tuple[Kind, int, int]]:
    """Both, in order, without those of `second` that overlap one of `first`."""
    merged, rest = [], iter(first)
    ahead = next(rest, None)
    for place in second:
        while ahead is not None and ahead[2] <= place[1]:
            merged.append(ahead)
            ahead = next(rest, None)
        if ahead is None or place[2] <= ahead[1]:
            merged.append(place)
    return [*merged, *([] if ahead is None else [ahead]), *rest]


def _replace(text: str, places: list[tuple[Kind, int, int]]) -> str:
    pieces, end = [], 0
    for kind, start, stop in places:
        pieces += [text[end:start], f"<{kind}>"]
        end = stop
    return "".join([*pieces, text[end:]])
