import ast
import json
import textwrap

import pytest

from data_pipeline.ingest.docstrings import split

SOURCE = '''\
"""The module,
in two lines."""

import os  # kept

class A:
    """The class."""
    x = "no docstring"

    def only(self):
        """All there is."""

    async def some(self):
        # a comment before
        """Über die Funktion."""
        return """not a docstring"""

def one(): "On one line."
def two(): "With more."; return 2

if True:
    def nested():
        r"""Raw \\d."""
        return 1
'''


def test_code_and_docstrings_part():
    code, texts = split(SOURCE)
    assert texts == [
        "The module,\nin two lines.",
        "The class.",
        "All there is.",
        "Über die Funktion.",
        "On one line.",
        "With more.",
        "Raw \\d.",
    ]
    assert "no docstring" in code
    assert "not a docstring" in code
    assert "# kept" in code
    for text in texts:
        assert text.splitlines()[0] not in code
    assert "    def only(self):\n        pass\n" in code


def test_what_is_left_runs_as_before():
    space: dict = {}
    exec(split(SOURCE)[0], space)
    assert (space["two"](), space["one"](), space["nested"]()) == (2, None, 1)


@pytest.mark.parametrize("module", [ast, json, textwrap, pytest])
def test_real_modules_lose_their_docstrings_and_nothing_else(module):
    with open(module.__file__, encoding="utf-8") as file:
        source = file.read()
    code, texts = split(source)

    def bare(tree):
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                if ast.get_docstring(node) is not None:
                    node.body = node.body[1:]
                node.body = [n for n in node.body if not isinstance(n, ast.Pass)]
        return ast.dump(tree)

    assert bare(ast.parse(code)) == bare(ast.parse(source))
    assert all(ast.get_docstring(n) is None for n in ast.walk(ast.parse(code)) if isinstance(n, ast.ClassDef))
    assert texts


def test_no_python_is_refused():
    with pytest.raises(SyntaxError):
        split("def :")
