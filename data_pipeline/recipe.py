"""A recipe: the operators that each domain's documents go through, in order. Their verdicts stand beside documents."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from data_pipeline import engine
from data_pipeline.config import DataConfig, OperatorConfig
from data_pipeline.document import ATTRIBUTES, INGESTED
from data_pipeline.operators import table
from data_pipeline.operators.base import Action, Draft, Finding, Operator, judge
from maxlm.errors import ConfigError, did_you_mean
from maxlm.paths import PathLike, as_path, write_json

CLEANED = f"{ATTRIBUTES}/clean"
RECIPE_FILE = "recipe.json"  # beside the partitions
# What the recipe says of each document: same rows and order. `reason`: null where it stays; `text`: null unless edited.
CLEAN_ATTRIBUTES = pa.schema(
    [
        ("id", pa.string()),
        ("operator", pa.string()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("marks", pa.list_(pa.string())),
        ("text", pa.string()),
        ("edits", pa.map_(pa.string(), pa.int64())),
    ]
)
# Counts with the recipe into the stage's digest: raise it when an operator comes to answer otherwise.
_VERSION = 2


def run(config: DataConfig, dataset: PathLike) -> None:
    """Judges and edits all ingested documents; writes DATASET/corpus/attributes/clean.

    Raises:
      ConfigError: the recipe names an operator or a parameter that doesn't exist.
      DataError: nothing has been ingested.
    """
    build(config.recipe)  # a mistake in the recipe shows here, not in a worker
    dataset = as_path(dataset)
    names = engine.require(dataset / INGESTED, "ingest")
    stage = engine.Stage("clean", (dataset / CLEANED,), stage_digest(config, dataset), config.runner)
    engine.map_partitions(stage, partial(clean, config.recipe), [dataset / INGESTED], names)
    # For people and the report: what was run here, in order.
    write_json(dataset / CLEANED / RECIPE_FILE, {"steps": [asdict(step) for step in config.recipe]})


def stage_digest(config: DataConfig, dataset: PathLike) -> str:
    """What the clean stage depends on: the recipe and the documents."""
    return engine.digest("clean", [_VERSION, [asdict(step) for step in config.recipe]], [as_path(dataset) / INGESTED])


def build(recipe: Sequence[OperatorConfig]) -> list[tuple[OperatorConfig, Operator]]:
    """The operators of a recipe.

    Raises:
      ConfigError: no such operator or parameter; names its place in the recipe.
    """
    return [(step, table.build(step.name, step.params, f"config.recipe[{i}]")) for i, step in enumerate(recipe)]


def clean(recipe: Sequence[OperatorConfig], documents: pa.Table) -> pa.Table:
    """The attributes of a table of documents."""
    built = build(recipe)
    by_domain: dict[str, list[tuple[str, Operator, Action]]] = {
        domain: [(step.name, op, step.action) for step, op in built if not step.domains or domain in step.domains]
        for domain in set(documents["domain"].to_pylist())
    }
    rows = []
    columns = (documents[name].to_pylist() for name in ("id", "text", "domain", "language", "source", "metadata"))
    for document_id, text, domain, language, source, metadata in zip(*columns, strict=True):
        verdict = judge(Draft(text, domain, language, source, metadata), by_domain[domain])
        finding = verdict.finding or Finding("")
        rows.append(
            {
                "id": document_id,
                "operator": verdict.operator,
                "reason": verdict.reason,
                "value": finding.value,
                "start": finding.start,
                "end": finding.end,
                "marks": verdict.marks,
                "text": verdict.text if verdict.edits else None,
                "edits": sorted(verdict.edits.items()),
            }
        )
    return pa.Table.from_pylist(rows, schema=CLEAN_ATTRIBUTES)


def read(path: PathLike) -> list[dict[str, Any]]:
    """The steps that a recipe file holds, for a config's `recipe`.

    The file says which domains it is for (none: all), and lists operators with their parameters in order::

        domains: [en]
        operators:
          - length: {min_words: 50}
          - stop_words: {action: mark}    # notes it in the document's marks instead of dropping it

    Raises:
      ConfigError: the file is missing or is no recipe.
    """
    value = _load_yaml(Path(path))
    if unknown := sorted(value.keys() - {"domains", "operators"}):
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}{did_you_mean(unknown[0], ['domains', 'operators'])}")
    steps = []
    for i, item in enumerate(value.get("operators") or []):
        named = {item: {}} if isinstance(item, str) else item
        if not isinstance(named, dict) or len(named) != 1:
            raise ConfigError(f"{path}, operators[{i}]: expected `name: {{parameters}}`, found {item!r}")
        [(name, params)] = named.items()
        params = dict(params or {})
        action = params.pop("action", "drop")
        if action not in ("drop", "mark"):
            raise ConfigError(f"{path}, operators[{i}]: action is drop or mark, found {action!r}")
        table.build(name, params, f"{path}, operators[{i}]")
        domains = list(value.get("domains") or [])
        steps.append({"name": name, "domains": domains, "action": action, "params": params})
    return steps


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: no such recipe") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: a recipe holds the keys `domains` and `operators`")
    return value
