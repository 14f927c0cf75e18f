"""Qwen3 1.7B: 1,720,574,976 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("qwen3", embed=2048, num_layers=28, num_heads=16, mlp=6144, tie_embeddings=True))
    config.model.dtype = "bfloat16"
    return config
