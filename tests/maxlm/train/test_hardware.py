"""What the machine is and can do: an unknown chip is told, a CPU is measured."""

import pytest

from maxlm.errors import ConfigError
from maxlm.train.hardware import measure_matmul, memory_in_use, peak_flops


class _Device:
    platform = "gpu"

    def __init__(self, kind: str):
        self.device_kind = kind


def test_an_unknown_chip_is_an_error_and_no_guess():
    unknown = _Device("NVIDIA H300 Ultra")
    with pytest.raises(ConfigError, match=r"'NVIDIA H300 Ultra': set config\.train\.peak_flops, or add it to"):
        peak_flops(unknown, "bfloat16")
    assert peak_flops(unknown, "bfloat16", override=2e15) == 2e15
    assert peak_flops(_Device("NVIDIA H200"), "bfloat16") == 989e12


def test_a_cpu_is_measured():
    assert 1e8 < measure_matmul(256, repeats=2) < 1e14


def test_memory_of_a_cpu_is_the_process(tmp_path):
    before = memory_in_use()
    assert set(before) == {"memory/process_gib", "memory/process_peak_gib"}
    block = b"x" * (256 << 20)
    during = memory_in_use()
    assert during["memory/process_gib"] - before["memory/process_gib"] == pytest.approx(0.25, abs=0.02)
    assert during["memory/process_peak_gib"] >= during["memory/process_gib"] - 0.01
    assert len(block) == 256 << 20
