"""Anonymous memory of an import or export, beside the largest tensor in float32.

    python tools/bench_transfer.py make RUN [VOCABULARY LAYERS]   # 375M random parameters, largest tensor 134 MB
    python tools/bench_transfer.py export RUN FOLDER [bfloat16]   # each in a process of its own
    python tools/bench_transfer.py import FOLDER OTHER_RUN

With 131072 and 4 it is 319M parameters, of which the largest tensor takes 537 MB.
Pages of mapped files do not count: the system takes them back.
"""

import dataclasses
import sys
import threading
import time

import numpy as np

from maxlm import config as configs
from maxlm.interop.decoder import param_shapes
from maxlm.models.config import ModelConfig
from maxlm.paths import as_path, write_json
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train as train_tokenizer
from maxlm.train.checkpoint import Checkpoints, Meta, Position
from maxlm.train.config import Config
from maxlm.train.transfer import export_run, import_run

MODEL = ModelConfig(
    vocab_size=32_768, embed=1024, num_layers=24, num_heads=16, num_kv_heads=16, head_dim=64, mlp=2816,
    tie_embeddings=False,
)  # fmt: skip


def main() -> None:
    act, source, *rest = sys.argv[1:]
    if act == "make":
        make(source, *map(int, rest))
    else:
        measure(act, source, *rest)


def make(run: str, vocab_size: int = MODEL.vocab_size, num_layers: int = MODEL.num_layers) -> None:
    """A run whose parameters are drawn at random, with a tokenizer of a few pieces."""
    model = dataclasses.replace(MODEL, vocab_size=vocab_size, num_layers=num_layers)
    shapes, rng, saved = param_shapes(model), np.random.default_rng(0), configs.to_dict(Config(model=model))

    def read(path: tuple[str, ...], layer: int | None) -> np.ndarray:
        shape = shapes[path] if layer is None else shapes[path][1:]
        return rng.standard_normal(shape, np.float32)

    text = "the quick brown fox jumps over the lazy dog while numbers 0123456789 pass by\n" * 20
    train_tokenizer(iter([text]), as_path(run) / "tokenizer", TokenizerSettings(vocab_size=384, spare_tokens=60))
    checkpoints = Checkpoints(run)
    checkpoints.save_params(shapes, read, Meta(Position(), saved, vocab_size))
    checkpoints.close()
    write_json(as_path(run) / "config.json", saved)


def measure(act: str, source: str, target: str, *dtype: str) -> None:
    before, peak, done = _anonymous_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], _anonymous_mb())

    watcher, started = threading.Thread(target=watch, daemon=True), time.perf_counter()
    watcher.start()
    if act == "import":
        import_run(source, target)
    else:
        export_run(source, target, dtype=dtype[0] if dtype else "float32", max_length=2048)
    done.set()
    print(f"{act}: {peak[0] - before:.0f} MB more than before, {time.perf_counter() - started:.1f} s")


def _anonymous_mb() -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024


if __name__ == "__main__":
    main()
