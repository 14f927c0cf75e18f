"""The model of a run that goes on from another, or from itself, is taken from there."""

import dataclasses
import json
from pathlib import Path

import pytest

from maxlm import config as configs
from maxlm.errors import ConfigError, DamagedCheckpointError
from maxlm.models.config import RopeScaling
from maxlm.train.checkpoint import Meta, Position
from maxlm.train.config import BranchSettings, Config
from maxlm.train.origin import has_checkpoints, with_model_of_origin
from tests import tiny

SOURCE = tiny.model(bias="qkv", rope_base=5e5, rope_scaling=RopeScaling("linear", 2.0), dtype="bfloat16", remat="full")
LATER = dataclasses.replace(SOURCE, rope_base=1e6)  # as its last stage had it


@pytest.fixture
def run(tmp_path) -> Path:
    """A run's folder as far as it is looked at: its plan, and two checkpoints, the second of a stage with changes."""
    folder = tmp_path / "run"
    for step, model in ((4, SOURCE), (8, LATER)):
        place = folder / "checkpoints" / str(step) / "meta"
        place.mkdir(parents=True)
        meta = Meta(Position(step=step), configs.to_dict(Config(model=model)), tiny.VOCAB)
        (place / "metadata").write_text(json.dumps(dataclasses.asdict(meta)))
    (folder / "checkpoints" / "12.orbax-checkpoint-tmp-1").mkdir()
    (folder / "config.json").write_text(json.dumps(configs.to_dict(Config(model=SOURCE))))
    return folder


def test_nothing_to_go_on_from(tmp_path):
    assert with_model_of_origin(Config(), tmp_path / "new") == Config()
    assert not has_checkpoints(tmp_path / "new")


@pytest.mark.parametrize(
    ("branch", "base"),
    [({"fresh": True}, 1e6), ({"fresh": True, "step": 4}, 5e5), ({}, 5e5), ({"step": 8, "stage": "anneal"}, 5e5)],
)
def test_the_model_is_the_other_runs(run, tmp_path, branch, base):
    """A fresh one is as it was last trained; otherwise the other run's plan goes on, with its stages' changes."""
    config = Config(branch=BranchSettings(str(run), **branch))
    model = with_model_of_origin(config, tmp_path / "new").model
    # How it is computed, and the rows that the data set decides, are the config's own.
    assert model == dataclasses.replace(SOURCE, rope_base=base, dtype="float32", remat="none", vocab_size=0)


def test_what_the_config_says_stays(run, tmp_path):
    said = dataclasses.replace(Config().model, rope_base=2e6, mlp=96, dtype="bfloat16")
    config = Config(model=said, branch=BranchSettings(str(run), fresh=True))
    model = with_model_of_origin(config, tmp_path / "new").model
    assert (model.rope_base, model.mlp, model.dtype) == (2e6, 96, "bfloat16")
    assert (model.embed, model.bias, model.rope_scaling) == (SOURCE.embed, "qkv", SOURCE.rope_scaling)


def test_a_run_that_goes_on_needs_the_other_no_more(run):
    model = with_model_of_origin(Config(branch=BranchSettings("/gone", fresh=True)), run).model
    assert (model.embed, model.rope_base) == (SOURCE.embed, 5e5)


def test_origins_that_can_not_be(run, tmp_path):
    with pytest.raises(ConfigError, match="--from=/gone: not a run"):
        with_model_of_origin(Config(branch=BranchSettings("/gone")), tmp_path / "new")
    with pytest.raises(
        ConfigError, match=r"no checkpoint of step 5; did you mean|no checkpoint of step 5; known: 4, 8"
    ):
        with_model_of_origin(Config(branch=BranchSettings(str(run), step=5)), tmp_path / "new")
    (run / "checkpoints" / "8" / "meta" / "metadata").write_text("{")
    with pytest.raises(DamagedCheckpointError, match="description can't be read"):
        with_model_of_origin(Config(branch=BranchSettings(str(run), fresh=True)), tmp_path / "new")
