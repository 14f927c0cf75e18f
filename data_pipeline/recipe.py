"""A recipe: the operators that each domain's documents go through, in order. Their verdicts stand beside documents."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from data_pipeline import engine
from data_pipeline.config import DataConfig, OperatorConfig
from data_pipeline.document import ATTRIBUTES, INGESTED, JUDGEMENT
from data_pipeline.operators.base import Action, Branch, Draft, Edit, Finding, Operator, Verdict, judge_all
from maxlm.errors import ConfigError, did_you_mean
from maxlm.paths import PathLike, as_path, write_json

CLEANED = f"{ATTRIBUTES}/clean"
RECIPE_FILE = "recipe.json"  # beside the partitions
_KEYS = ("name", "domains", "action", "process")
_NOTHING = Finding("")
# Documents that are judged together, operator by operator; few where they are long, since their analyses are kept.
_BLOCK_DOCUMENTS = 64
_BLOCK_CHARACTERS = 1_000_000
# Counts with the recipe into the stage's digest: raise it when an operator comes to answer otherwise.
_VERSION = 4


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
    work = partial(clean, config.recipe)
    engine.map_partitions(stage, work, [dataset / INGESTED], names, light=not config.recipe)
    # For people and the report: what was run here, in order.
    write_json(dataset / CLEANED / RECIPE_FILE, {"steps": [asdict(step) for step in config.recipe]})


def stage_digest(config: DataConfig, dataset: PathLike) -> str:
    """What the clean stage depends on: the recipe, the lists that it names, and the documents."""
    steps = [[asdict(step), _listed_files(step.params)] for step in config.recipe]
    return engine.digest("clean", [_VERSION, steps], [as_path(dataset) / INGESTED])


def _listed_files(params: Mapping[str, Any]) -> dict[str, str]:
    """The digests of the files that an operator's `lists` name: what they hold counts like a parameter."""
    files = (Path(name) for name in params.get("lists", ()) if Path(name).is_file())
    return {str(file): hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest() for file in files}


def build(recipe: Sequence[OperatorConfig]) -> list[tuple[OperatorConfig, Operator]]:
    """The operators of a recipe.

    Raises:
      ConfigError: no such operator or parameter, or one that cannot mark; names its place in the recipe.
    """
    return [(step, _build_step(step, f"config.recipe[{i}]")) for i, step in enumerate(recipe)]


def _build_step(step: OperatorConfig, where: str) -> Operator:
    from data_pipeline.operators import table  # all operators, which those who ask for a digest alone don't need

    operator = table.build(step.name, step.params, where)
    if step.action == "mark" and isinstance(operator, Edit):
        raise ConfigError(f"{where}: {step.name} edits and cannot mark; a recipe as a whole can (`branch`)")
    return operator


def clean(recipe: Sequence[OperatorConfig], documents: pa.Table) -> pa.Table:
    """The attributes of a table of documents."""
    built = build(recipe)
    by_domain = {
        domain: _operators([(step, op) for step, op in built if not step.domains or domain in step.domains])
        for domain in set(documents["domain"].to_pylist())
    }
    said: dict[str, list[Any]] = {name: [] for name in JUDGEMENT.names[1:]}
    columns = (documents[name].to_pylist() for name in ("text", "domain", "language", "source", "metadata"))
    for text, verdict in _judged(zip(*columns, strict=True), by_domain):
        finding = verdict.finding or _NOTHING
        said["operator"].append(verdict.operator)
        said["reason"].append(verdict.reason)
        said["value"].append(finding.value)
        said["start"].append(finding.start)
        said["end"].append(finding.end)
        said["evidence"].append(finding.evidence)
        said["marks"].append(verdict.marks)
        said["text"].append(None if verdict.text == text else verdict.text)
        said["edits"].append(sorted(verdict.edits.items()))
    arrays = [pa.array(said[name], JUDGEMENT.field(name).type) for name in said]
    return pa.table([documents["id"], *arrays], schema=JUDGEMENT)


def _judged(
    rows: Iterable[tuple[Any, ...]], by_domain: Mapping[str, list[tuple[str, Operator, Action]]]
) -> Iterator[tuple[str, Verdict]]:
    """Each row's text and verdict, in order; rows are (text, domain, language, source, metadata)."""
    rows = iter(rows)
    while True:
        block, characters = [], 0
        for row in islice(rows, _BLOCK_DOCUMENTS):
            block.append((row[0], Draft(*row)))
            characters += len(row[0])
            if characters > _BLOCK_CHARACTERS:
                break
        if not block:
            return
        verdicts: dict[Draft, Verdict] = {}
        for domain in {draft.domain: None for _, draft in block}:
            drafts = [draft for _, draft in block if draft.domain == domain]
            verdicts.update(zip(drafts, judge_all(drafts, by_domain[domain]), strict=True))
        yield from ((text, verdicts[draft]) for text, draft in block)


def _operators(steps: Sequence[tuple[OperatorConfig, Operator]]) -> list[tuple[str, Operator, Action]]:
    """What `judge_all` runs: each step of the recipe itself, and each branch as one operator."""
    operators: list[tuple[str, Operator, Action]] = []
    for branch, group in groupby(steps, key=lambda step: step[0].branch):
        if branch:
            operators.append((branch, Branch((step.name, operator) for step, operator in group), "mark"))
        else:
            operators.extend((step.name, operator, step.action) for step, operator in group)
    return operators


def read(path: PathLike) -> list[dict[str, Any]]:
    """The steps that a recipe file holds, for a config's `recipe`.

    The file says which domains it is for (none: all), and lists operators with their parameters in order, in the style
    of data-juicer::

        domains: [en]
        process:
          - length: {min_words: 50}
          - stop_words: {action: mark}    # notes it in the document's marks instead of dropping it

    With `action: mark` beside `domains` the recipe as a whole marks: nothing is dropped or edited for the recipes that
    share the pass, and what it holds against a document stands in its marks as NAME.operator.reason. NAME is what
    `name` says, else the file's name.

    Raises:
      ConfigError: the file is missing or is no recipe.
    """
    path = Path(path)
    value = _load_yaml(path)
    if unknown := sorted(map(str, value.keys() - set(_KEYS))):
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}{did_you_mean(unknown[0], _KEYS)}")
    marks = _action(value, str(path)) == "mark"
    branch = str(value.get("name") or path.stem) if marks else ""
    steps = []
    for i, item in enumerate(value.get("process") or []):
        where = f"{path}, process[{i}]"
        named = {item: {}} if isinstance(item, str) else item
        if not isinstance(named, dict) or len(named) != 1:
            raise ConfigError(f"{where}: expected `name: {{parameters}}`, found {item!r}")
        [(name, params)] = named.items()
        params = dict(params or {})
        action = _action(params, where)
        params.pop("action", None)
        step = OperatorConfig(name, tuple(value.get("domains") or ()), params, action, branch)
        _build_step(step, where)
        steps.append({**asdict(step), "domains": list(step.domains)})
    return steps


def _action(value: dict[str, Any], where: str) -> Action:
    action = value.get("action", "drop")
    if action not in ("drop", "mark"):
        raise ConfigError(f"{where}: action is drop or mark, found {action!r}")
    return action


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: no such recipe") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: a recipe holds the keys {', '.join(_KEYS)}")
    return value
