"""Five sizes, 0.1M to 2M parameters, by four budgets that branch off one stable run each.

    maxlm sweep --sweep=configs/sweeps/proxies.py:DATA --workdir=SWEEP
    maxlm report --sweep=SWEEP

tools/proxies.py makes DATA (configs/data/proxies.py: a vocabulary of 1,120, blocks of 65,536 tokens) and runs both.
"""

from maxlm.scaling.sweep import base, shape

# Width, depth, mlp: of one family, so that nothing but the size differs; each about twice the one before. The largest
# first, since its runs take longest.
SHAPES = {"2M": (160, 6, 432), "1.1M": (128, 5, 344), "0.5M": (96, 4, 256), "0.2M": (64, 3, 176), "0.1M": (48, 2, 128)}
# One thread for each run: matrices this small are not worth two, and two runs fill two cores.
ALONE = {"NPROC": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}


def get_config(dataset: str):
    config = base()
    config.config = "configs/proxy.py"
    config.sizes = tuple({"name": name, "set": shape(*sizes, head_dim=16)} for name, sizes in SHAPES.items())
    config.data = ({"name": "natural", "dataset": dataset},)
    config.set = ("schedule.warmup_share=0.04",)  # of the trunk: most of a block
    config.budgets = (3, 6, 12, 24)  # blocks
    config.workers, config.env = 2, ALONE
    return config
