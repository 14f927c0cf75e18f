"""Qwen2.5 3B: 3,085,938,688 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(
        family(
            "qwen2.5",
            vocab_size=151_936,
            embed=2048,
            num_layers=36,
            num_heads=16,
            num_kv_heads=2,
            mlp=11_008,
            tie_embeddings=True,
        )
    )
    config.model.dtype = "bfloat16"
    return config
