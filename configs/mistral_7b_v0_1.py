"""Mistral 7B v0.1: 7,241,732,096 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("mistral", embed=4096, num_layers=32, num_heads=32, mlp=14_336))
    config.model.dtype = "bfloat16"
    return config
