"""GPT-2 1558M: 1,557,611,200 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("gpt2", embed=1600, num_layers=48, num_heads=25, num_kv_heads=25, mlp=6400))
    config.model.dtype = "bfloat16"
    return config
