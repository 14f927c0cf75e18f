"""Qwen2.5 7B: 7,615,616,512 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("qwen2.5", embed=3584, num_layers=28, num_heads=28, num_kv_heads=4, mlp=18_944))
    config.model.dtype = "bfloat16"
    return config
