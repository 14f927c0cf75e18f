"""Llama 2 7B: 6,738,415,616 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("llama2", embed=4096, num_layers=32, num_heads=32, num_kv_heads=32, mlp=11_008))
    config.model.dtype = "bfloat16"
    return config
