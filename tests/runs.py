"""Runs of the command line for tests: a small data set with a real tokenizer, and `maxlm` as a person types it."""

import os
import subprocess
import sys
from pathlib import Path

from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train as train_tokenizer
from tests import forked
from tests.synthetic import make_dataset

ROOT = Path(__file__).resolve().parent.parent
TINY = (
    "--config.model.embed=32 --config.model.num_layers=2 --config.model.num_heads=4 --config.model.num_kv_heads=2 "
    "--config.model.head_dim=8 --config.model.mlp=64 --config.train.batch=4 --config.train.log_every=1 "
    "--config.optimizer.learning_rate=0.01"
).split()


def make_tokenised_dataset(folder: Path, kind: str = "sentencepiece", **sizes: int) -> Path:
    """A synthetic data set with the tokenizer that its manifests name."""
    words = "the quick brown fox jumps over the lazy dog while numbers 0123456789 pass by\n" * 20
    words += "who would have thought that such a small creature might ever become famous\n" * 10
    settings = TokenizerSettings(kind=kind, vocab_size=384, spare_tokens=60)
    tokenizer = train_tokenizer(iter([words]), folder / "tokenizer", settings)
    make_dataset(folder, vocab=tokenizer.vocab_size, digest=tokenizer.digest, **sizes)
    return folder


def environment(devices: int = 1) -> dict[str, str]:
    """One CPU device by default, as bit-exactness is promised there; compiled programs are shared between runs."""
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        # Machine code left unoptimised, as in conftest.py: half of what a run this small takes is compiling.
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "COLUMNS": "200",
    }


def command(line: list[str], module: str = "maxlm.cli.main") -> list[str]:
    return [sys.executable, "-c", f"import sys; from {module} import main; sys.exit(main())", *line]


def maxlm(*line: str, devices: int = 1, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Runs `maxlm …` to its end, in a process of its own; `typed` is its input."""
    return forked.run("maxlm.cli.main", list(line), environment(devices), ROOT, typed)


def maxlm_data(*line: str, **options) -> subprocess.CompletedProcess[str]:
    """Runs `maxlm-data …` to its end."""
    return subprocess.run(
        command(list(line), "data_pipeline.cli"),
        env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=300, **options,
    )  # fmt: skip


def train_line(dataset: Path, workdir: Path, *more: str) -> list[str]:
    """The arguments of `maxlm train` for a tiny model."""
    where = [f"--workdir={workdir}", f"--config.data.dataset={dataset}"]
    return ["train", "--config=configs/base.py", *where, *TINY, *more]
