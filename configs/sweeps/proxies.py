"""Five sizes, 0.1M to 2.8M parameters, by four budgets that branch off one stable run each.

    maxlm sweep --sweep=configs/sweeps/proxies.py:DATA --workdir=SWEEP
    maxlm report --sweep=SWEEP

tools/proxies.py makes DATA (configs/data/proxies.py: a vocabulary of 1,120, blocks of 65,536 tokens) and runs both.
"""

from maxlm.scaling.sweep import base

# Width, depth, mlp: of one family, so that nothing but the size differs.
SHAPES = {"0.1M": (48, 2, 128), "0.2M": (64, 3, 176), "0.5M": (96, 4, 256), "1M": (128, 5, 344), "2.8M": (192, 6, 512)}


def get_config(dataset: str):
    config = base()
    config.config = "configs/base.py"
    config.set = (
        "train.batch=8", "train.eval_rows=0", "train.eval_every_blocks=16", "schedule.warmup_share=0.1",
        "optimizer.learning_rate=0.003", "model.head_dim=16",
    )  # fmt: skip
    config.sizes = tuple(
        {"name": name, "set": _shape(width, depth, mlp)} for name, (width, depth, mlp) in SHAPES.items()
    )
    config.data = ({"name": "natural", "dataset": dataset},)
    config.budgets = (2, 4, 8, 16)  # blocks
    return config


def _shape(width: int, depth: int, mlp: int) -> tuple[str, ...]:
    heads = width // 16
    return (
        f"model.embed={width}", f"model.num_layers={depth}", f"model.mlp={mlp}", f"model.num_heads={heads}",
        f"model.num_kv_heads={heads}",
    )  # fmt: skip
