"""Llama 3 8B: 8,030,261,248 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("llama3", embed=4096, num_layers=32, num_heads=32, mlp=14_336))
    config.model.dtype = "bfloat16"
    return config
