"""The training step compiled for devices that are not there."""

import importlib.util
import json
import subprocess
import sys

import pytest

from maxlm.errors import ConfigError
from maxlm.models.config import ModelConfig
from maxlm.parallel.mesh import MeshConfig
from maxlm.train.aot import Compiled, Traffic, compile_step
from maxlm.train.config import Config, TrainSettings

MODEL = ModelConfig(
    vocab_size=65_536, embed=256, num_layers=4, num_heads=2, num_kv_heads=2, head_dim=128, mlp=512, dtype="bfloat16"
)
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="XLA's compiler for TPUs comes with pip install 'maxlm[tpu]', 700 MB",
)
needs_plugin = pytest.mark.skipif(
    importlib.util.find_spec("jax_cuda12_plugin") is None,
    reason="XLA's compiler for GPUs comes with pip install 'maxlm[cuda-compile]', 600 MB",
)


def test_figures_follow_from_each_other():
    """A slice whose products take a second at the peak rate, a third of a second of communication beside them, and as
    much on its own."""
    found = Compiled(
        topology="v5p:2x2x1", devices=4, kind="TPU v5", mesh={}, attention="splash", compile_s=1.0, num_params=1,
        tokens_per_step=1, parameters_gib=1.0, optimizer_gib=2.0, batch_gib=0.0, temporaries_gib=1.0, peak_gib=2.0,
        host_gib=0.0, memory_gib=95.0, link_bytes_per_s=300e9, flops=459e12, model_flops=459e12 * 3 / 4,
        collectives={"all-gather": Traffic(4, 200e9 / 2**30, 2, 100e9 / 2**30)}, largest_logits=(2, 8, 100),
        logits_gib=1.0,
    )  # fmt: skip
    assert found.compute_s == 1
    assert (found.hidden_s, found.exposed_s) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert found.step_s == pytest.approx(4 / 3)
    assert found.mfu == pytest.approx(9 / 16)
    assert not found.all_logits


@needs_libtpu
def test_compiles_the_step_for_a_slice():
    mesh, settings = MeshConfig(fsdp=2, tensor=2), TrainSettings(batch=4, loss_chunks=4)
    found = compile_step(Config(model=MODEL, mesh=mesh, train=settings), "v5p:2x2x1", seq_len=1024)
    assert (found.devices, found.kind, found.memory_gib, found.attention) == (4, "TPU v5", 95, "splash")
    assert found.mesh == {"stage": 1, "data": 1, "fsdp": 2, "context": 1, "tensor": 2}
    assert 2 * found.parameters_gib == pytest.approx(found.optimizer_gib, rel=0.01)  # two moments
    assert found.parameters_gib < found.peak_gib < 1
    assert found.collectives["all-gather"].runs >= 2 * MODEL.num_layers  # parameters, at least once a layer and pass
    assert not found.all_logits
    with pytest.raises(ConfigError, match=r"does not fit on v5p:2x2x1 .* by [\d.]+ GiB a device"):
        compile_step(Config(model=MODEL, train=TrainSettings(batch=1 << 16)), "v5p:2x2x1", seq_len=2048)


@needs_libtpu
@pytest.mark.parametrize("slice_", ["v5e:2x2", "v6e:2x2", "tpu7x:2x2x1"])
def test_every_generation_takes_the_flags(slice_):
    """As a command, since flags are read once in a process."""
    command = ["compile", "--config=configs/llama3_2_1b.py", f"--topology={slice_}", "--seq-len=256", "--json"]
    small = ["embed=256", "mlp=512", "num_layers=2", "num_heads=4", "num_kv_heads=4", "vocab_size=1024"]
    words = [*command, "--config.train.batch=8", *(f"--config.model.{setting}" for setting in small)]
    done = subprocess.run([sys.executable, "-m", "maxlm.cli.main", *words], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["collectives"]["all-gather"]["runs"] > 0


@needs_plugin
def test_compiles_the_step_for_gpus():
    config = Config(model=MODEL, train=TrainSettings(batch=16, loss_chunks=4))
    found = compile_step(config, "h100:2x4", seq_len=1024)
    assert (found.devices, found.kind, found.attention) == (8, "NVIDIA H100 80GB HBM3", "triton")
    assert found.link_bytes_per_s == 50e9  # two hosts
    assert {"all-gather", "reduce-scatter"} <= set(found.collectives)
    assert not found.all_logits
    whole = compile_step(Config(model=MODEL, train=TrainSettings(batch=8, loss_chunks=1)), "h100:8", seq_len=1024)
    assert whole.all_logits
    with pytest.raises(ConfigError, match=r"does not fit on h100:8 .* by [\d.]+ GiB a device"):
        compile_step(Config(model=MODEL, train=TrainSettings(batch=1 << 14)), "h100:8", seq_len=2048)


@needs_libtpu
def test_slices_that_do_not_exist_are_named():
    with pytest.raises(ConfigError, match="--topology=v9:2x2"):
        compile_step(Config(model=MODEL), "v9:2x2", seq_len=256)


def test_what_cannot_be_compiled_is_named(monkeypatch):
    with pytest.raises(ConfigError, match=r"config\.model\.vocab_size: say how large"):
        compile_step(Config(), "v5e:2x2", seq_len=256)
    with pytest.raises(ConfigError, match="--topology=h100:eight: GPUs are named like h100:8"):
        compile_step(Config(model=MODEL), "h100:eight", seq_len=256)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"--topology=h100:8: .* pip install 'maxlm\[cuda-compile\]'"):
        compile_step(Config(model=MODEL), "h100:8", seq_len=256)
    with pytest.raises(ConfigError, match=r"--topology=v5e:2x2: .* pip install 'maxlm\[tpu\]'"):
        compile_step(Config(model=MODEL), "v5e:2x2", seq_len=256)
