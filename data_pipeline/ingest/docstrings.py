"""Python source in two: the code without its docstrings, and the docstrings, each of them text of another domain."""

import ast
import inspect
from collections.abc import Iterator

_OWNERS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_STATEMENT_FIELDS = ("body", "orelse", "finalbody", "handlers", "cases")


def split(source: str) -> tuple[str, list[str]]:
    """The source with each docstring taken out, and the docstrings, unindented, in order of appearance.

    What is left is still Python: a body that was only a docstring becomes ``pass``.

    Raises:
      SyntaxError, ValueError: `source` is no Python of this version.
    """
    lines = source.encode().splitlines(keepends=True)
    found = sorted(_docstrings(ast.parse(source)), key=lambda pair: pair[0].lineno)
    for node, is_whole_body in reversed(found):
        _cut(lines, node, is_whole_body)
    texts = [inspect.cleandoc(str(ast.literal_eval(node.value))) for node, _ in found]
    return b"".join(lines).decode(), [text for text in texts if text]


def _docstrings(tree: ast.Module) -> Iterator[tuple[ast.Expr, bool]]:
    """Each docstring's statement, with whether it's all that its body holds."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, _OWNERS) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            if isinstance(first, ast.Expr):
                yield first, len(node.body) == 1 and not isinstance(node, ast.Module)
        # Statements hold definitions, expressions don't: a fifth of the nodes that ast.walk would visit.
        for field in _STATEMENT_FIELDS:
            pending += getattr(node, field, ())


def _cut(lines: list[bytes], node: ast.Expr, is_whole_body: bool) -> None:
    """Removes a statement's lines, or puts ``pass`` in its place where its body or its line would break without."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
    if is_whole_body or before.strip() or after.strip():
        lines[first : last + 1] = [before + b"pass" + after]
    else:
        del lines[first : last + 1]
