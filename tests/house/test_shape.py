"""Sizes and names that keep the code readable."""

import ast
import subprocess
import sys

import pytest

from tests.house.modules import ROOT, modules, tree

MAX_FILE, MAX_FUNCTION = 400, 120
ATTICS = {"utils", "util", "common", "misc", "helpers", "helper"}


@pytest.mark.parametrize("name", modules())
def test_file_length(name):
    lines = len(modules()[name].read_text().splitlines())
    assert lines <= MAX_FILE, f"{name} has {lines} lines; a file is one noun, in at most {MAX_FILE}"


@pytest.mark.parametrize("name", modules())
def test_function_length(name):
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= MAX_FUNCTION, f"{name}.{node.name} has {lines} lines; at most {MAX_FUNCTION}"


def test_no_attics():
    named = {name for name in modules() if ATTICS & set(name.split("."))}
    assert not named, f"{', '.join(named)}: say what a module is about; utils is about nothing"


@pytest.mark.parametrize("name", modules())
def test_no_bare_except(name):
    bare = [n.lineno for n in ast.walk(tree(name)) if isinstance(n, ast.ExceptHandler) and n.type is None]
    assert not bare, f"{name}, line {bare}: name what is caught"


@pytest.mark.parametrize("name", [name for name, path in modules().items() if path.name != "__init__.py"])
def test_every_module_says_what_it_is(name):
    assert ast.get_docstring(tree(name)), f"{name} has no docstring"


@pytest.mark.parametrize("name", [name for name, path in modules().items() if path.name == "__init__.py"])
def test_packages_hold_no_code(name):
    kinds = {type(node) for node in tree(name).body}
    assert kinds <= {ast.Expr, ast.Import, ast.ImportFrom, ast.Assign}, f"{name}/__init__.py: re-exports only"


@pytest.mark.parametrize("name", ["maxlm", "maxlm.cli.main", "data_pipeline.cli"])
def test_light_to_import(name):
    """--help answers at once, and a tokenizer is not needed to look at a config."""
    heavy = "jax", "flax", "sentencepiece", "orbax", "daft"
    code = f"import sys, {name}; print(*[m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
