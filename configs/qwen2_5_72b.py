"""Qwen2.5 72B: 72,706,203,648 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("qwen2.5", embed=8192, num_layers=80, num_heads=64, num_kv_heads=8, mlp=29_568))
    config.model.dtype = "bfloat16"
    return config
