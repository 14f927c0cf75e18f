"""Peak FLOP/s: a wrong table is the field's most repeated mistake, so it stands here once more."""

import pytest

from maxlm.parallel.chips import CHIPS, peak_of

# Dense TFLOP/s of one jax device: bfloat16, float32 as jax multiplies it by default, float8 (or int8).
TERA = {
    "NVIDIA A100-SXM4-40GB": (312, 156, 624),
    "NVIDIA A100-SXM4-80GB": (312, 156, 624),
    "NVIDIA A100 80GB PCIe": (312, 156, 624),
    "NVIDIA L4": (121, 60.5, 242),  # the sheet's 242 TFLOP/s of bfloat16 are with sparsity
    "NVIDIA L40S": (362, 183, 733),
    "NVIDIA GeForce RTX 4090": (165.2, 82.6, 330.3),  # accumulating in float32
    "NVIDIA H100 PCIe": (756, 378, 1513),
    "NVIDIA H100 80GB HBM3": (989, 494.5, 1979),  # the sheet's 1979 TFLOP/s of bfloat16 are with sparsity
    "NVIDIA H200": (989, 494.5, 1979),
    "NVIDIA B200": (2250, 1125, 4500),
    "TPU v4": (275, 275, 275),  # a whole chip, both of its cores
    "TPU v5 lite": (197, 197, 393),
    "TPU v5": (459, 459, 918),  # v5p by its name in older jax
    "TPU v5p": (459, 459, 918),
    "TPU v6 lite": (918, 918, 1836),
    "TPU7x": (2307 / 2, 2307 / 2, 4614 / 2),  # two devices a chip
}


@pytest.mark.parametrize("kind", sorted(TERA.keys() | CHIPS.keys()))
def test_the_table(kind):
    found = [peak_of(kind, dtype) / 1e12 for dtype in ("bfloat16", "float32", "float8")]
    assert found == pytest.approx(TERA[kind])
    assert peak_of(kind, "int8") == peak_of(kind, "float8")
