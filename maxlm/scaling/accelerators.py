"""Accelerators by the names that people use for them."""

from maxlm.errors import ConfigError, did_you_mean
from maxlm.parallel.chips import CHIPS, Chip

NICKNAMES = {
    "a100": "NVIDIA A100-SXM4-80GB", "a100-40": "NVIDIA A100-SXM4-40GB", "a100-pcie": "NVIDIA A100 80GB PCIe",
    "h100": "NVIDIA H100 80GB HBM3", "h200": "NVIDIA H200", "v4": "TPU v4", "v5e": "TPU v5 lite", "v5p": "TPU v5p",
    "v6e": "TPU v6 lite", "v7x": "TPU7x", "h100-pcie": "NVIDIA H100 PCIe", "b200": "NVIDIA B200", "l4": "NVIDIA L4",
    "l40s": "NVIDIA L40S", "4090": "NVIDIA GeForce RTX 4090",
}  # fmt: skip


def find_chip(name: str) -> Chip:
    """A chip by jax's name for it or by a short one, "h100" or "v5e".

    Raises:
      ConfigError: no such chip.
    """
    if name in CHIPS:
        return CHIPS[name]
    if name.lower() not in NICKNAMES:
        raise ConfigError(f"chip {name!r} is unknown{did_you_mean(name.lower(), NICKNAMES)}")
    return CHIPS[NICKNAMES[name.lower()]]
