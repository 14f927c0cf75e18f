"""Config files, overrides as typed, and what is said when they are wrong."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from maxlm import config
from maxlm.errors import ConfigError


@dataclass(frozen=True)
class Model:
    num_layers: int = 4
    rate: float = 0.5
    kind: Literal["a", "b", "none"] = "a"
    name: str = "tiny"
    limit: int | None = None
    flag: bool = False


@dataclass(frozen=True)
class Source:
    path: str


@dataclass(frozen=True)
class Root:
    model: Model = Model()
    shares: dict[str, float] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    sizes: tuple[int, ...] = (1, 2)


FILE = """
from ml_collections import ConfigDict
def get_config(arg=""):
    return ConfigDict({"model": {"num_layers": int(arg or 8)}, "sources": [{"path": "x"}]})
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "c.py"
    path.write_text(FILE)
    return str(path)


def load(file, *overrides):
    return config.load(file, config.parse_overrides([f"--config.{o}" for o in overrides]), Root)


def test_file_argument_and_defaults(file):
    assert load(file) == Root(Model(num_layers=8), sources=(Source("x"),))
    assert load(f"{file}:3").model.num_layers == 3


@pytest.mark.parametrize(
    ("override", "get", "value"),
    [
        ("model.num_layers=16", lambda c: c.model.num_layers, 16),
        ("model.num_layers=1e3", lambda c: c.model.num_layers, 1000),
        ("model.rate=2", lambda c: c.model.rate, 2.0),
        ("model.rate=3e-4", lambda c: c.model.rate, 3e-4),
        ("model.kind=b", lambda c: c.model.kind, "b"),
        ("model.kind=none", lambda c: c.model.kind, "none"),
        ("model.name=007", lambda c: c.model.name, "007"),
        ("model.name=1.50", lambda c: c.model.name, "1.50"),
        ("model.name=none", lambda c: c.model.name, "none"),
        ("model.name=a=b", lambda c: c.model.name, "a=b"),
        ("model.limit=5", lambda c: c.model.limit, 5),
        ("model.limit=None", lambda c: c.model.limit, None),
        ("model.flag=true", lambda c: c.model.flag, True),
        ("shares.en=1", lambda c: c.shares, {"en": 1.0}),
        ("params.a.b=[1,'x']", lambda c: c.params, {"a": {"b": [1, "x"]}}),
        ("sizes=(3,4,5)", lambda c: c.sizes, (3, 4, 5)),
        ("sources=[{'path':'y'}]", lambda c: c.sources, (Source("y"),)),
    ],
)
def test_overrides(file, override, get, value):
    found = get(load(file, override))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.num_layer=1", r"--config\.model\.num_layer: unknown key 'num_layer'; did you mean 'num_layers'\?"),
        ("modle.rate=1", "did you mean 'model'"),
        ("model.num_layers=1.5", r"config\.model\.num_layers: expected int, found 1\.5"),
        ("model.num_layers=many", "expected int, found 'many'"),
        ("model.num_layers=true", "expected int, found True"),
        ("model.flag=1", "expected bool, found 1"),
        ("model.kind=c", r"config\.model\.kind: 'c' is not a choice; known: a, b"),
        ("model=3", r"config\.model: expected a group of keys, found 3"),
        ("model.rate.x=3", "no group of keys"),
        ("shares.en.x=3", "no group of keys"),
        ("sources.path=y", "sources is no group of keys"),
        ("sources=[{'pth':'y'}]", r"config\.sources\[0\]\.pth: unknown key"),
        ("sources=[{}]", r"config\.sources\[0\]: needs path"),
        ("sizes=5", r"config\.sizes: expected a list"),
    ],
)
def test_mistakes_are_named(file, override, message):
    with pytest.raises(ConfigError, match=message):
        load(file, override)


def test_arguments_of_another_form():
    assert config.parse_overrides(["--config.a", "1", "--config.b=2"]) == [("a", "1"), ("b", "2")]
    for arguments in (["--confg.a=1"], ["x"], ["--config.a"]):
        with pytest.raises(ConfigError, match=r"unknown argument|needs a value"):
            config.parse_overrides(arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:", "line 1"),
        ("x = 1", r"defines no get_config\(\)"),
        ("import nothing_of_the_kind", "nothing_of_the_kind"),
        ("def get_config():\n    return {}['a']", "'?a'?"),
    ],
)
def test_broken_config_files(tmp_path, text, message):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"bad\.py.*{message}"):
        config.load(str(path), [], Root)


def test_a_missing_file_offers_its_neighbour(file):
    with pytest.raises(ConfigError, match=r"no such file .*did you mean .*c\.py"):
        config.load(file.replace("c.py", "d.py"), [], Root)


def test_digest_and_diff():
    a, b = config.to_dict(Root()), config.to_dict(Root(Model(rate=1.0), shares={"en": 1.0}))
    assert config.digest(a) == config.digest(config.to_dict(Root()))
    assert config.digest(a) != config.digest(b)
    assert config.diff(a, b) == {"model.rate": (0.5, 1.0), "shares": ({}, None), "shares.en": (None, 1.0)}
    assert config.freeze(Root, b) == Root(Model(rate=1.0), shares={"en": 1.0})
