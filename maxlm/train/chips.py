"""What accelerators can do, by jax's name for a device; from the vendors' data sheets. One jax device each.

A TPU v7x chip is two devices; a v4 or v5p chip is one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    peak_flops: float  # dense bf16, without sparsity, per second
    memory_gib: float  # of HBM
    memory_bytes_per_s: float
    link_bytes_per_s: float  # to all neighbours together, one way: ICI on TPUs, NVLink on GPUs


CHIPS: dict[str, Chip] = {
    "NVIDIA A100-SXM4-40GB": Chip(312e12, 40, 1555e9, 300e9),
    "NVIDIA A100-SXM4-80GB": Chip(312e12, 80, 2039e9, 300e9),
    "NVIDIA A100 80GB PCIe": Chip(312e12, 80, 1935e9, 32e9),
    "NVIDIA H100 80GB HBM3": Chip(989e12, 80, 3352e9, 450e9),
    "NVIDIA H200": Chip(989e12, 141, 4800e9, 450e9),
    "TPU v4": Chip(275e12, 32, 1228e9, 150e9),
    "TPU v5 lite": Chip(197e12, 16, 819e9, 100e9),
    "TPU v5": Chip(459e12, 95, 2765e9, 300e9),
    "TPU v5p": Chip(459e12, 95, 2765e9, 300e9),
    "TPU v6 lite": Chip(918e12, 32, 1640e9, 224e9),
    "TPU7x": Chip(1153.5e12, 96, 3690e9, 300e9),
}
