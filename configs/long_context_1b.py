"""Llama 3.2 1B in three stages on one data set: 4K, then 32K on the last tenth of the tokens, then down to zero.

    maxlm-data produce --config=configs/data/long_context.py:/data/corpora --dataset=/data/long
    maxlm train --config=configs/long_context_1b.py --workdir=RUN --config.data.dataset=/data/long

The data config has the same stages by the same names; docs/training/stages.md tells how the two go together.
"""

from maxlm.models.families import family
from maxlm.train.config import base


def get_config():
    config = base()
    config.model.update(family("llama3.2", embed=2048, num_layers=16, num_heads=32, head_dim=64))
    config.model.dtype = "bfloat16"
    config.model.remat = "full"
    config.model.rope_base = 10_000.0
    config.model.rope_scaling = {"kind": "none"}
    config.data.num_blocks = 100  # of a billion tokens
    config.train.batch = 32  # rows of 32,768, or 256 of 4,096: a million tokens a step
    config.schedule.decay_share = 0.0  # wsd: warm-up, then stable until a stage says otherwise
    config.schedule.warmup_share = 0.02
    config.stages = (
        {"name": "stable", "blocks": 88},
        {"name": "long", "blocks": 10, "changes": {"model.rope_base": 500_000.0, "mesh.context": 2}},
        {
            "name": "anneal",
            "changes": {"model.rope_base": 500_000.0, "mesh.context": 2, "schedule.name": "linear"},
        },
    )
    return config
