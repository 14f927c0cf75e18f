"""Llama 3.2 3B: 3,212,749,824 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("llama3.2", embed=3072, num_layers=28, num_heads=24, head_dim=128))
    config.model.dtype = "bfloat16"
    return config
