"""GPT-2 774M: 774,030,080 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("gpt2", embed=1280, num_layers=36, num_heads=20, num_kv_heads=20, mlp=5120))
    config.model.dtype = "bfloat16"
    return config
