"""Llama 3.1 405B: 405,853,388,800 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("llama3", embed=16_384, num_layers=126, num_heads=128, mlp=53_248))
    config.model.dtype = "bfloat16"
    return config
