"""Imports go down only. The floors stand in docs/design.md; deferred imports count like all others."""

import pytest

from tests.house.modules import imported, modules, within

FLOOR_1 = ("maxlm.errors", "maxlm.config", "maxlm.paths", "maxlm.journal", "maxlm.page", "maxlm.blocks")
FLOOR_2 = ("maxlm.models", "maxlm.parallel", "maxlm.monitor", "maxlm.interop", "maxlm.tokenizer")
# The one part of the data side that runs a model. Nothing imports it but on demand: tests/data_pipeline/score.
ENCODER = ("data_pipeline.score.classifier", "data_pipeline.score.finetune")
EVERYTHING = ("maxlm", "data_pipeline", "tools")

# package -> what of ours it may import, itself included; of two that fit, the longer name counts
MAY_IMPORT = {
    **dict.fromkeys(FLOOR_1, FLOOR_1),
    **dict.fromkeys(FLOOR_2, (*FLOOR_1, *FLOOR_2)),
    "maxlm.train": (*FLOOR_1, *FLOOR_2, "maxlm.train"),
    "maxlm.generate": (*FLOOR_1, *FLOOR_2, "maxlm.train", "maxlm.generate"),
    "maxlm.eval": (*FLOOR_1, *FLOOR_2, "maxlm.train", "maxlm.generate", "maxlm.eval"),
    "maxlm.scaling": (*FLOOR_1, *FLOOR_2, "maxlm.scaling"),
    "maxlm.report": (*FLOOR_1[:-1], "maxlm.report"),
    "maxlm.cli": ("maxlm",),
    "data_pipeline": (*FLOOR_1, "maxlm.tokenizer", "data_pipeline"),
    **dict.fromkeys(ENCODER, (*FLOOR_1, *FLOOR_2, "data_pipeline")),
    "tools": EVERYTHING,
}
# Who may be imported by name from anywhere: the version, and nothing else of the package itself.
OPEN_TO_ALL = ("maxlm",)


def _rule(name: str) -> tuple[str, ...]:
    fitting = [package for package in MAY_IMPORT if within(name, package)]
    assert fitting, f"{name}: on no floor; give it a line in MAY_IMPORT and in docs/design.md"
    return MAY_IMPORT[max(fitting, key=len)]


def _ours(name: str) -> set[str]:
    return {target for target in imported(name) if any(within(target, package) for package in EVERYTHING)}


@pytest.mark.parametrize("name", modules())
def test_imports_go_down(name):
    if name in OPEN_TO_ALL:
        assert not _ours(name), f"{name}/__init__.py: holds the version only"
        return
    allowed = _rule(name)
    wrong = [
        target
        for target in _ours(name)
        if target not in OPEN_TO_ALL and not any(within(target, package) for package in allowed)
    ]
    assert not wrong, f"{name} imports {', '.join(sorted(wrong))}, from above or beside it; move the code, not the rule"


@pytest.mark.parametrize("name", [n for n in modules() if not within(n, "maxlm.cli") and not within(n, "tools")])
def test_command_lines_are_on_top(name):
    """Nothing imports a command line, but tools and other commands."""
    assert not [t for t in _ours(name) if within(t, "maxlm.cli") or within(t, "data_pipeline.cli")]


HEAVY = ("jax", "flax", "optax", "orbax")


LIGHT = (*FLOOR_1, "maxlm.report", "maxlm.tokenizer", "data_pipeline")


@pytest.mark.parametrize(
    "name", [n for n in modules() if any(within(n, package) for package in LIGHT) and n not in ENCODER]
)
def test_data_and_reports_need_no_accelerator_library(name):
    heavy = [target for target in imported(name) if any(within(target, package) for package in HEAVY)]
    assert not heavy, f"{name} imports {', '.join(heavy)}"


def test_no_circles():
    """Between modules, not only between packages."""
    graph = {name: _ours(name) & modules().keys() - {name} for name in modules()}
    while graph:
        leaves = [name for name, targets in graph.items() if not targets & graph.keys()]
        assert leaves, f"these modules import each other in a circle: {', '.join(sorted(_circle(graph)))}"
        for name in leaves:
            del graph[name]


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle among modules that all import another one that is left."""
    path = [next(iter(graph))]
    while (following := min(graph[path[-1]] & graph.keys())) not in path:
        path.append(following)
    return path[path.index(following) :]


def test_every_rule_is_about_something():
    """A package that went away leaves no rule behind."""
    packages = {package for package in MAY_IMPORT if any(within(name, package) for name in modules())}
    assert MAY_IMPORT.keys() - packages <= {"tools"}
