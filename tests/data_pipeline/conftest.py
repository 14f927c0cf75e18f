"""Data sets that the tests of mixture and producer share."""

import pytest

from data_pipeline.produce import producer
from tests.data_pipeline.produce import made


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Documents and a tokenizer; nothing may be written here."""
    return made.dataset(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def dataset(prepared, tmp_path):
    """Documents and a tokenizer to produce from."""
    return made.copy(prepared, tmp_path / "dataset")


@pytest.fixture(scope="session")
def produced(prepared, tmp_path_factory):
    """Four blocks and the validation block, made without interruption; nothing may be written here."""
    folder = made.copy(prepared, tmp_path_factory.mktemp("produced") / "dataset")
    assert producer.run(made.config(), folder) == 4
    return folder
