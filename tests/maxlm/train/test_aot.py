"""The training step compiled for a TPU slice that is not there."""

import importlib.util

import pytest

from maxlm.errors import ConfigError
from maxlm.models.config import ModelConfig
from maxlm.parallel.mesh import MeshConfig
from maxlm.train.aot import Compiled, compile_step
from maxlm.train.config import Config, TrainSettings

MODEL = ModelConfig(
    vocab_size=512, embed=256, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=128, mlp=512, dtype="bfloat16"
)
needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="XLA's compiler for TPUs comes with pip install 'maxlm[tpu]', 700 MB",
)


def test_figures_follow_from_each_other():
    """A slice whose products take a second at the peak rate, and whose communication takes half of one."""
    found = Compiled(
        topology="v5p:2x2x1", devices=4, kind="TPU v5", mesh={}, num_params=1, tokens_per_step=1, arguments_gib=1.0,
        temporaries_gib=1.0, peak_gib=2.0, memory_gib=95.0, flops=459e12, model_flops=459e12 * 3 / 4,
        collectives={"all-gather": (3, 150e9 / 2**30, 3)}, wide_logits=(),
    )  # fmt: skip
    assert found.compute_s == 1
    assert found.communication_s == pytest.approx(0.5)
    assert found.step_s() == (1, pytest.approx(1.5))
    assert found.mfu() == (0.75, pytest.approx(0.5))


@needs_compiler
def test_compiles_the_step_for_a_slice():
    config = Config(model=MODEL, mesh=MeshConfig(fsdp=2, tensor=2), train=TrainSettings(batch=4))
    found = compile_step(config, "v5e:2x2", seq_len=256)
    assert (found.devices, found.kind, found.memory_gib) == (4, "TPU v5 lite", 16)
    assert found.mesh == {"stage": 1, "data": 1, "fsdp": 2, "context": 1, "tensor": 2}
    assert 0 < found.arguments_gib < found.peak_gib < 1
    assert found.collectives["all-gather"][0] >= 2  # parameters, at least once a layer
    assert found.wide_logits == ()
    with pytest.raises(ConfigError, match=r"does not fit on v5e:2x2 .* by [\d.]+ GiB a device"):
        compile_step(Config(model=MODEL, train=TrainSettings(batch=1 << 16)), "v5e:2x2", seq_len=2048)


@needs_compiler
def test_what_cannot_be_compiled_is_named():
    with pytest.raises(ConfigError, match="--topology=v9:2x2"):
        compile_step(Config(model=MODEL), "v9:2x2", seq_len=256)
    with pytest.raises(ConfigError, match=r"config\.model\.vocab_size: say how large"):
        compile_step(Config(), "v5e:2x2", seq_len=256)
