"""Qwen3 14B: 14,768,307,200 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("qwen3", embed=5120, num_layers=40, num_heads=40, mlp=17_408))
    config.model.dtype = "bfloat16"
    return config
