"""Every key of a data config with its default; what each one means stands in data_pipeline/config.py."""

from ml_collections import ConfigDict

from data_pipeline.config import DataConfig
from maxlm.config import config_dict


def get_config() -> ConfigDict:
    return config_dict(DataConfig())
