"""Llama 3.2 1B: 1,235,814,400 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("llama3.2", embed=2048, num_layers=16, num_heads=32, head_dim=64))
    config.model.dtype = "bfloat16"
    return config
