"""Qwen3 32B: 32,762,123,264 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("qwen3", embed=5120, num_layers=64, num_heads=64, mlp=25_600))
    config.model.dtype = "bfloat16"
    return config
