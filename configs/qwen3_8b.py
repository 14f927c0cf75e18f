"""Qwen3 8B: 8,190,735,360 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("qwen3", embed=4096, num_layers=36, num_heads=32, mlp=12_288))
    config.model.dtype = "bfloat16"
    return config
