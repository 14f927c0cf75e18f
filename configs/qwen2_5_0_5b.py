"""Qwen2.5 0.5B: 494,032,768 parameters."""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(
        family(
            "qwen2.5",
            vocab_size=151_936,
            embed=896,
            num_layers=24,
            num_heads=14,
            num_kv_heads=2,
            head_dim=64,
            mlp=4864,
            tie_embeddings=True,
        )
    )
    config.model.dtype = "bfloat16"
    return config
