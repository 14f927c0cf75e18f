"""GPT-2 124M: 124,439,808 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("gpt2", embed=768, num_layers=12, num_heads=12, num_kv_heads=12, mlp=3072))
    config.model.dtype = "bfloat16"
    return config
