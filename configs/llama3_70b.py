"""Llama 3 70B: 70,553,706,496 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("llama3", embed=8192, num_layers=80, num_heads=64, mlp=28_672))
    config.model.dtype = "bfloat16"
    return config
