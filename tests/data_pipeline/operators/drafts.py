"""Short ways to put a text before an operator."""

from data_pipeline.operators.base import Draft, Edit, Filter


def reason(operator: Filter, text: str) -> str | None:
    """Why `operator` is against `text`; None: it isn't."""
    finding = operator.check(Draft(text))
    return None if finding is None else finding.reason


def edit(operator: Edit, text: str) -> tuple[str, dict[str, int]]:
    """What `operator` makes of `text`."""
    return operator.edit(Draft(text))
