"""Twelve mixtures of three domains on one small model, then the one that the law recommends.

    maxlm sweep --sweep=configs/sweeps/mixtures.py:FOLDER --workdir=SWEEP
    maxlm fit --data=SWEEP --kind=mixture

FOLDER holds a data set for each mixture, with its shares in shares.json; tools/proxies.py makes them.
"""

import json
from pathlib import Path

from maxlm.scaling.sweep import base


def get_config(folder: str):
    config = base()
    config.config = "configs/base.py"
    config.set = (
        "train.batch=8", "train.eval_rows=0", "train.eval_every_blocks=16", "schedule.warmup_share=0.1",
        "optimizer.learning_rate=0.003", "model.head_dim=16",
    )  # fmt: skip
    shape = ("model.embed=96", "model.num_layers=4", "model.mlp=256", "model.num_heads=6", "model.num_kv_heads=6")
    config.sizes = ({"name": "0.5M", "set": shape},)
    config.data = tuple(
        {"name": path.parent.name, "dataset": str(path.parent), "shares": json.loads(path.read_text())}
        for path in sorted(Path(folder).glob("*/shares.json"))
    )
    config.budgets = (4,)
    config.branch = False
    return config
