"""Five sizes, 0.1M to 2M parameters, by four budgets that branch off one stable run each.

    maxlm sweep --sweep=configs/sweeps/proxies.py:DATA --workdir=SWEEP
    maxlm report --sweep=SWEEP

tools/proxies.py makes DATA, and the mixtures of configs/sweeps/mixtures.py; docs/planning.md shows what came of it.
"""

from maxlm.scaling.sweep import base

SHARED = ("train.batch=16", "schedule.warmup_share=0.1", "train.eval_rows=0", "train.eval_every_blocks=16")


def get_config(dataset: str):
    config = base()
    config.config = "configs/base.py"
    config.set = (*SHARED, "optimizer.learning_rate=0.004")
    config.sizes = tuple(
        {"name": name, "params": params}
        for name, params in (("0.1M", 1e5), ("0.2M", 2.2e5), ("0.5M", 5e5), ("1M", 1e6), ("2M", 2e6))
    )
    config.data = ({"name": "natural", "dataset": dataset},)
    config.budgets = (2, 4, 8, 16)  # blocks of 65,536 tokens
    return config
