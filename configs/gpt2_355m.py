"""GPT-2 355M: 354,823,168 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("gpt2", embed=1024, num_layers=24, num_heads=16, num_kv_heads=16, mlp=4096))
    config.model.dtype = "bfloat16"
    return config
