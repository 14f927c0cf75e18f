"""Qwen3 4B: 4,022,468,096 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("qwen3", embed=2560, num_layers=36, num_heads=32, mlp=9728, tie_embeddings=True))
    config.model.dtype = "bfloat16"
    return config
