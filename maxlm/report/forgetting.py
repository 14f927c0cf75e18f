"""What a run that took over a trained model has learnt and forgotten: held-out text by domain, before and after.

Both come from the same rows of the same tokenizer, so that nats can be compared within a run; between runs with other
tokenizers, bits per byte can.
"""

from dataclasses import dataclass

from maxlm.report.collect import RunRecord

TITLES = ("domain", "loss before", "after", "change", "bits/byte before", "after", "change")


@dataclass(frozen=True)
class Forgetting:
    """One domain's figures, or those of all text."""

    domain: str
    loss: tuple[float, float]  # nats per token: before, after
    bpb: tuple[float, float]  # bits per byte of text

    def cells(self) -> tuple[str, ...]:
        """A row under TITLES. What is above 0 was forgotten."""
        pairs = (self.loss, self.bpb)
        return (self.domain, *(text for a, b in pairs for text in (f"{a:.4f}", f"{b:.4f}", f"{b - a:+.4f}")))


def forgetting_of(record: RunRecord) -> list[Forgetting]:
    """Domain by domain, and all at the end; [] for a run that began with nothing or has not been evaluated twice."""
    lines = record.validation
    if record.begins_trained is None or len(lines) < 2 or lines[0]["step"] != record.begins_trained:
        return []
    before, after = lines[0], lines[-1]
    names = sorted(key.removeprefix("validation/loss/") for key in before if key.startswith("validation/loss/"))
    found = []
    for name, suffix in [*((name, f"/{name}") for name in names), ("all", "")]:
        loss, bpb = f"validation/loss{suffix}", f"validation/bpb{suffix}"
        if {loss, bpb} <= before.keys() & after.keys():
            found.append(Forgetting(name, (before[loss], after[loss]), (before[bpb], after[bpb])))
    return found


def sentence(record: RunRecord, found: list[Forgetting]) -> str:
    """What the table shows, in words."""
    worst = max(found, key=lambda one: one.bpb[1] - one.bpb[0])
    steps = f"steps {record.validation[0]['step']:.0f} and {record.validation[-1]['step']:.0f}"
    if worst.bpb[1] <= worst.bpb[0]:
        return f"held-out text at {steps}: no domain was forgotten"
    return (
        f"held-out text at {steps}; most was forgotten of {worst.domain}: {worst.bpb[1] - worst.bpb[0]:+.4f} bits/byte"
    )
