"""Qwen2.5 14B: 14,770,033,664 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("qwen2.5", embed=5120, num_layers=48, num_heads=40, num_kv_heads=8, mlp=13_824))
    config.model.dtype = "bfloat16"
    return config
