"""Qwen2.5 1.5B: 1,543,714,304 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(
        family(
            "qwen2.5",
            vocab_size=151_936,
            embed=1536,
            num_layers=28,
            num_heads=12,
            num_kv_heads=2,
            mlp=8960,
            tie_embeddings=True,
        )
    )
    config.model.dtype = "bfloat16"
    return config
