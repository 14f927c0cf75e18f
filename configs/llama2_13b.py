"""Llama 2 13B: 13,015,864,320 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("llama2", embed=5120, num_layers=40, num_heads=40, num_kv_heads=40, mlp=13_824))
    config.model.dtype = "bfloat16"
    return config
