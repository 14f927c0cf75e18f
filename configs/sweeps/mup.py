"""Three widths by five learning rates, with muP and without: does the best rate of the narrowest hold for the others?

    maxlm sweep --sweep=configs/sweeps/mup.py:DATA --workdir=SWEEP
    python tools/bench_mup.py --data=DATA --sweep=SWEEP --out=mup.png

DATA as for configs/proxy.py. At the base width both are the same, and are run once.
"""

from maxlm.scaling.sweep import base, shape

BASE, WIDTHS = 32, (32, 96, 192)


def get_config(dataset: str):
    config = base()
    config.config = "configs/proxy.py"
    config.set = ("train.eval_rows=256",)
    config.sizes = tuple(
        {"name": f"{kind}-{width}", "set": _shape(width, BASE if kind == "mup" else 0)}
        for width in WIDTHS
        for kind in ("mup", "standard")
        if width != BASE or kind == "mup"
    )
    config.data = ({"name": "natural", "dataset": dataset},)
    config.learning_rates = (1e-3, 2e-3, 4e-3, 8e-3, 16e-3)
    config.budgets = (2,)
    config.branch = False
    config.workers = 2  # of one thread each, as in configs/sweeps/proxies.py
    config.env = {"NPROC": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    return config


def _shape(width: int, mup_base: int) -> tuple[str, ...]:
    return (*shape(width, 2, 8 * width // 3 // 16 * 16, head_dim=16), f"model.mup_base_embed={mup_base}")
