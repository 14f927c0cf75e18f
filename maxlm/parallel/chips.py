"""What accelerators can do, by jax's name for a device; from the vendors' data sheets. One jax device each.

A TPU v7x chip is two devices; a v4 or v5p chip is one. All figures are dense, without sparsity.
"""

from dataclasses import dataclass

from maxlm.errors import ConfigError


@dataclass(frozen=True)
class Chip:
    peak_flops: float  # bfloat16 products, per second
    memory_gib: float  # of HBM
    memory_bytes_per_s: float
    link_bytes_per_s: float  # to all neighbours together, one way: ICI on TPUs, NVLink on GPUs
    float32_flops: float  # float32 products as jax makes them by default: TF32 on GPUs, one bfloat16 pass on TPUs
    eight_bit_flops: float  # float8 products, or int8 on chips without float8
    network_bytes_per_s: float = 0.0  # between hosts, where those links end; a GPU's 400 Gbit/s of InfiniBand as in DGX

    def peak_of(self, dtype: str) -> float:
        """Peak FLOP/s of products of `dtype`: "bfloat16", "float32", "float8" or "int8"."""
        peaks = {
            "bfloat16": self.peak_flops,
            "float32": self.float32_flops,
            "float8": self.eight_bit_flops,
            "int8": self.eight_bit_flops,
        }
        return peaks[dtype]


CHIPS: dict[str, Chip] = {
    "NVIDIA A100-SXM4-40GB": Chip(312e12, 40, 1555e9, 300e9, 156e12, 624e12),
    "NVIDIA A100-SXM4-80GB": Chip(312e12, 80, 2039e9, 300e9, 156e12, 624e12),
    "NVIDIA A100 80GB PCIe": Chip(312e12, 80, 1935e9, 32e9, 156e12, 624e12),
    "NVIDIA L4": Chip(121e12, 24, 300e9, 32e9, 60.5e12, 242e12),
    "NVIDIA L40S": Chip(362e12, 48, 864e9, 32e9, 183e12, 733e12),
    "NVIDIA GeForce RTX 4090": Chip(165.2e12, 24, 1008e9, 32e9, 82.6e12, 330.3e12),
    "NVIDIA H100 PCIe": Chip(756e12, 80, 2039e9, 300e9, 378e12, 1513e12),
    "NVIDIA H100 80GB HBM3": Chip(989e12, 80, 3352e9, 450e9, 494.5e12, 1979e12, 50e9),
    "NVIDIA H200": Chip(989e12, 141, 4800e9, 450e9, 494.5e12, 1979e12, 50e9),
    "NVIDIA B200": Chip(2250e12, 180, 8000e9, 900e9, 1125e12, 4500e12),
    "TPU v4": Chip(275e12, 32, 1228e9, 150e9, 275e12, 275e12),
    "TPU v5 lite": Chip(197e12, 16, 819e9, 100e9, 197e12, 393e12),
    "TPU v5": Chip(459e12, 95, 2765e9, 300e9, 459e12, 918e12),
    "TPU v5p": Chip(459e12, 95, 2765e9, 300e9, 459e12, 918e12),
    "TPU v6 lite": Chip(918e12, 32, 1640e9, 224e9, 918e12, 1836e12),
    "TPU7x": Chip(1153.5e12, 96, 3690e9, 300e9, 1153.5e12, 2307e12),
}


def peak_of(kind: str, dtype: str) -> float:
    """Peak FLOP/s of one device of jax's `kind`, for products of `dtype`.

    Raises:
      ConfigError: a device that the table does not know; a guess would make every utilisation wrong.
    """
    if kind not in CHIPS:
        raise ConfigError(
            f"no peak FLOP/s is known for {kind!r}: set config.train.peak_flops, or add it to maxlm/parallel/chips.py"
        )
    return CHIPS[kind].peak_of(dtype)
