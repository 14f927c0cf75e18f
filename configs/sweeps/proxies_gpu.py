"""The sweep of proxies.py one to two orders larger, for a GPU: 3M to 98M parameters by 0.25B to 2B tokens.

    python tools/proxies.py --corpus=FOLDER --out=runs/proxies_gpu --configs=proxies_gpu --mixtures=0

About 2.3e18 FLOPs (6ND). Not measured: its learning rate and its time are a beginning, not a finding.
"""

from maxlm.scaling.sweep import base, shape

# Width, depth, mlp; the largest first, since its runs take longest.
SHAPES = {
    "98M": (768, 12, 2048), "40M": (512, 10, 1408), "15M": (320, 8, 896), "6M": (192, 6, 512), "3M": (128, 4, 384),
}  # fmt: skip


def get_config(dataset: str):
    config = base()
    config.config = "configs/proxy.py"
    config.set = (
        "train.batch=32", "model.dtype=bfloat16", "model.mup_base_embed=128", "model.init_std=0.09",
        "optimizer.b2=0.95", "schedule.warmup_share=0.01",
    )  # fmt: skip
    config.sizes = tuple({"name": name, "set": shape(*sizes, head_dim=64)} for name, sizes in SHAPES.items())
    config.data = ({"name": "natural", "dataset": dataset},)
    config.budgets = (60, 120, 240, 480)  # blocks
    return config
