"""What accelerators can do, by jax's name for a device; from the vendors' data sheets. One jax device each.

A TPU v7x chip is two devices; a v4 or v5p chip is one.
"""

from dataclasses import dataclass

from maxlm.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Chip:
    peak_flops: float  # dense bf16, without sparsity, per second
    memory_gib: float  # of HBM
    memory_bytes_per_s: float
    link_bytes_per_s: float  # to all neighbours together, one way: ICI on TPUs, NVLink on GPUs


CHIPS: dict[str, Chip] = {
    "Tesla V100-SXM2-32GB": Chip(125e12, 32, 900e9, 150e9),  # float16; it has no bf16
    "NVIDIA A100-SXM4-40GB": Chip(312e12, 40, 1555e9, 300e9),
    "NVIDIA A100-SXM4-80GB": Chip(312e12, 80, 2039e9, 300e9),
    "NVIDIA A100 80GB PCIe": Chip(312e12, 80, 1935e9, 32e9),
    "NVIDIA H100 80GB HBM3": Chip(989e12, 80, 3352e9, 450e9),
    "NVIDIA H200": Chip(989e12, 141, 4800e9, 450e9),
    "NVIDIA L4": Chip(121e12, 24, 300e9, 32e9),
    "NVIDIA L40S": Chip(362e12, 48, 864e9, 32e9),
    "TPU v4": Chip(275e12, 32, 1228e9, 150e9),
    "TPU v5 lite": Chip(197e12, 16, 819e9, 100e9),
    "TPU v5": Chip(459e12, 95, 2765e9, 300e9),
    "TPU v5p": Chip(459e12, 95, 2765e9, 300e9),
    "TPU v6 lite": Chip(918e12, 32, 1640e9, 224e9),
    "TPU7x": Chip(1153.5e12, 96, 3690e9, 300e9),
}
NICKNAMES = {
    "v100": "Tesla V100-SXM2-32GB", "a100": "NVIDIA A100-SXM4-80GB", "a100-40": "NVIDIA A100-SXM4-40GB",
    "a100-pcie": "NVIDIA A100 80GB PCIe", "h100": "NVIDIA H100 80GB HBM3", "h200": "NVIDIA H200", "l4": "NVIDIA L4",
    "l40s": "NVIDIA L40S", "v4": "TPU v4", "v5e": "TPU v5 lite", "v5p": "TPU v5p", "v6e": "TPU v6 lite",
    "v7x": "TPU7x",
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
