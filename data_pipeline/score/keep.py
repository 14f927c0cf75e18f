"""Rules over scores, and labels as domains: what the decision makes of score columns."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.attributes import SCORE
from data_pipeline.config import KeepConfig

OPERATOR = "score"
_VERDICT = pa.schema([("operator", pa.string()), ("reason", pa.string()), ("value", pa.float64())])


def domains(domain_from: str, documents: pa.Table, attributes: Mapping[str, pa.Table]) -> pa.ChunkedArray:
    """The domain of each document: its label by the score `domain_from`, where it has one."""
    if not domain_from:
        return documents["domain"]
    labels = attributes[SCORE + domain_from]["label"]
    return pc.call_function("coalesce", [labels, documents["domain"]])


def judge(rules: Sequence[KeepConfig], domain: pa.ChunkedArray, attributes: Mapping[str, pa.Table]) -> pa.Table:
    """The first rule that each document breaks, as operator, reason ("NAME_below", "NAME_above") and value; or nulls.

    A document without the score, or of another domain, breaks no rule.
    """
    reasons = np.full(len(domain), "", object)
    values = np.full(len(domain), np.nan)
    names = np.array(domain.to_pylist(), object)
    for rule in rules:
        score = attributes[SCORE + rule.score]["score"].to_numpy()  # NaN: none
        asked = np.isin(names, rule.domains) if rule.domains else np.ones(len(names), bool)
        for limit, breaks, word in ((rule.min, np.less, "below"), (rule.max, np.greater, "above")):
            if limit is not None:
                rows = asked & (reasons == "") & breaks(score, limit)
                reasons[rows], values[rows] = f"{rule.score}_{word}", score[rows]
    stays = reasons == ""
    operators = np.full(len(reasons), OPERATOR, object)
    return pa.table([pa.array(column, mask=stays) for column in (operators, reasons, values)], schema=_VERDICT)
