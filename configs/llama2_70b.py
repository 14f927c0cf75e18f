"""Llama 2 70B: 68,976,648,192 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("llama2", embed=8192, num_layers=80, num_heads=64, num_kv_heads=8, mlp=28_672))
    config.model.dtype = "bfloat16"
    return config
