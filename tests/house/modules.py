"""The project's modules as syntax trees, and who imports whom."""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("maxlm", "data_pipeline", "tools")


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name; a package goes by the name of its folder."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text())


def imported(name: str) -> set[str]:
    """All dotted names that a module imports, in functions and under TYPE_CHECKING too.

    ``from a import b`` gives ``a.b`` where that is a module of ours, else ``a``.
    """
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _base(name, node)
            found |= {full if (full := f"{base}.{alias.name}") in modules() else base for alias in node.names}
    return found


def _base(name: str, node: ast.ImportFrom) -> str:
    """The package that ``from … import`` names, leading dots resolved."""
    if not node.level:
        return node.module or ""
    is_package = modules()[name].name == "__init__.py"
    parts = name.split(".")
    above = parts[: len(parts) - node.level + is_package]
    return ".".join([*above, *([node.module] if node.module else [])])


def within(name: str, package: str) -> bool:
    """Whether `name` is `package` or lies in it."""
    return name == package or name.startswith(package + ".")
