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
    config.config = "configs/proxy.py"
    config.sizes = ({"name": "0.5M"},)
    config.data = tuple(
        {"name": path.parent.name, "dataset": str(path.parent), "shares": json.loads(path.read_text())}
        for path in sorted(Path(folder).glob("*/shares.json"))
    )
    config.budgets = (6,)
    config.branch = False
    config.bounds = {name: (0.05, 1.0) for name in ("en", "code", "zh")}  # of what is recommended
    config.workers = 2  # of one thread each, as in configs/sweeps/proxies.py
    config.env = {"NPROC": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    return config
