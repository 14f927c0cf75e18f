"""What an operator is: a small frozen dataclass whose fields are its parameters. The counting is done here."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Verdict:
    """What became of one document: its text as it now stands, what was edited, and who dropped it and why."""

    text: str
    operator: str | None = None
    reason: str | None = None  # None: kept
    edits: Counter[str] = field(default_factory=Counter)  # "operator.kind" -> how many


class Operator(ABC):
    """One step of a recipe."""

    @abstractmethod
    def apply(self, name: str, verdict: Verdict) -> None:
        """Judges or edits ``verdict.text`` and notes the outcome in `verdict` under the operator's `name`."""


class Filter(Operator):
    """An operator that keeps a text or names a reason against it."""

    @abstractmethod
    def reason(self, text: str) -> str | None:
        """None to keep `text`; else a reason, from a small fixed set of words that reports count by."""

    def apply(self, name: str, verdict: Verdict) -> None:
        if reason := self.reason(verdict.text):
            verdict.operator, verdict.reason = name, reason


class Edit(Operator):
    """An operator that changes a text."""

    @abstractmethod
    def edit(self, text: str) -> tuple[str, dict[str, int]]:
        """The new text, and how many places of each kind were changed ({}: none)."""

    def apply(self, name: str, verdict: Verdict) -> None:
        verdict.text, counts = self.edit(verdict.text)
        verdict.edits.update({f"{name}.{kind}": count for kind, count in counts.items() if count})


def judge(text: str, operators: Iterable[tuple[str, Operator]]) -> Verdict:
    """Runs (name, operator) pairs over a text in order, up to the first that drops it."""
    verdict = Verdict(text)
    for name, operator in operators:
        operator.apply(name, verdict)
        if verdict.reason is not None:
            break
    return verdict
