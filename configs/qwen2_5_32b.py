"""Qwen2.5 32B: 32,763,876,352 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("qwen2.5", embed=5120, num_layers=64, num_heads=40, num_kv_heads=8, mlp=27_648))
    config.model.dtype = "bfloat16"
    return config
