"""Qwen3 0.6B: 596,049,920 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("qwen3", embed=1024, num_layers=28, num_heads=16, mlp=3072, tie_embeddings=True))
    config.model.dtype = "bfloat16"
    return config
