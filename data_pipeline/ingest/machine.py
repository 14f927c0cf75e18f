"""The text that every machine with Python has: its standard library, its packages' documentation, our Chinese samples.

About 15 MB, there without a download, so that a first run needs nothing but this package.
"""

import ast
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.parser import Parser
from pathlib import Path

from data_pipeline.config import SourceConfig
from data_pipeline.ingest import docstrings
from data_pipeline.ingest.row import Bad, Row
from data_pipeline.ingest.storage import describe, walk
from data_pipeline.ingest.text import read_text
from data_pipeline.ingest.units import Unit

_SAMPLES = Path(__file__).parents[1] / "samples" / "zh"
# Left out of the standard library: tests (some of them broken on purpose), tables of code points and symbols, what
# was generated for this machine, installed packages, and pydoc's topics, which come as documents of their own.
_LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "encodings", "site-packages", "pydoc_data"}
_PACKAGE_DOCS = ("README", "LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS", "CHANGELOG")
_TOPICS = "topics.py"


def machine_units(source: SourceConfig) -> list[Unit]:
    """Everything that this machine has to read, in sorted order."""
    del source  # each part names itself
    library = Path(sysconfig.get_path("stdlib"))
    packages = Path(sysconfig.get_path("purelib"))
    modules = [path for path in map(Path, walk(str(library), _LEFT_OUT)) if path.suffix == ".py"]
    units = [
        _unit(path, "library_module", "stdlib", "code")
        for path in modules
        if not path.name.startswith("_sysconfigdata")
    ]
    units += [_unit(path, "topics", "stdlib-topics") for path in (library / "pydoc_data").glob(_TOPICS)]
    units += [_unit(path, "metadata", "package-docs") for path in sorted(packages.glob("*.dist-info/METADATA"))]
    units += [_unit(path, "text", "package-docs") for path in map(Path, walk(str(packages))) if _is_package_doc(path)]
    units += [_unit(path, "text", "sample-zh") for path in sorted(_SAMPLES.glob("*.txt"))]
    return units


def _unit(path: Path, kind: str, source: str, domain: str = "auto") -> Unit:
    status = describe(str(path))
    size_bytes, changed_ns = status.size_bytes, status.changed_ns
    return Unit(str(path), kind, source, domain, size_bytes=size_bytes, changed_ns=changed_ns, fault=status.fault)


def _is_package_doc(path: Path) -> bool:
    suffix = path.suffix
    return suffix in {".md", ".rst"} or (suffix in {"", ".txt"} and path.name.upper().startswith(_PACKAGE_DOCS))


def read_library_module(unit: Unit) -> Iterator[Row | Bad]:
    """A module's code without docstrings, and its docstrings as one English document."""
    for row in read_text(unit):
        if isinstance(row, Bad):
            yield row
            continue
        try:
            code, texts = docstrings.split(row.text)
        except (SyntaxError, ValueError) as error:
            yield Bad(0, "not_python", str(error))
            continue
        if code.strip():  # a package's marker file may hold nothing else
            yield replace(row, text=code, domain="code", language="python")
        if texts:
            yield replace(row, text="\n\n".join(texts), source="stdlib-docstrings", domain="en")


def read_topics(unit: Unit) -> Iterator[Row | Bad]:
    """The chapters of the language reference that pydoc carries, one row each."""
    for row in read_text(unit):
        if isinstance(row, Bad):
            yield row
            continue
        for node in ast.walk(ast.parse(row.text)):
            if isinstance(node, ast.Dict):
                topics = [ast.literal_eval(value) for value in node.values]
                yield from (Row(i, text) for i, text in enumerate(topics) if isinstance(text, str))


def read_metadata(unit: Unit) -> Iterator[Row | Bad]:
    """A package's long description: the body of its METADATA."""
    for row in read_text(unit):
        if isinstance(row, Bad):
            yield row
            continue
        text = Parser().parsestr(row.text).get_payload()
        if isinstance(text, str) and text.strip():
            yield replace(row, text=text)


MACHINE_READERS: dict[str, Callable[[Unit], Iterator[Row | Bad]]] = {
    "library_module": read_library_module,
    "topics": read_topics,
    "metadata": read_metadata,
}
