"""Generation with a cache beside `transformers`, on the CPU, greedy: python tools/bench_generate.py [--model=124m]

Needs pip install 'maxlm[reference]'. The same random weights on both sides, so that the tokens must be the same. Rounds
alternate, and the first of each side (compiling, warming up) is left out. Prints tokens a second and ratios.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np
import torch
import transformers

from maxlm.generate.engine import Engine
from maxlm.generate.load import TrainedModel
from maxlm.generate.sampling import Sampling
from maxlm.interop.decoder import save_decoder
from maxlm.models.config import ModelConfig
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.mesh import MeshConfig, make_mesh
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train_model
from maxlm.train.checkpoint import Meta, Position
from maxlm.train.config import Config

GREEDY = Sampling(temperature=0.0)
MODELS = {
    "14m": {"vocab_size": 8192, "embed": 384, "num_layers": 6, "num_heads": 6, "num_kv_heads": 6, "mlp": 1024},
    "124m": {"vocab_size": 32768, "embed": 768, "num_layers": 12, "num_heads": 12, "num_kv_heads": 12, "mlp": 2048},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="14m")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    ours, theirs = _both(ModelConfig(**MODELS[arguments.model], head_dim=64))
    shape = (arguments.batch, arguments.prompt_tokens)
    prompts = np.random.default_rng(0).integers(260, 300, shape).tolist()

    def by_us() -> np.ndarray:
        return np.stack(list(ours.stream(prompts, arguments.tokens)), axis=1)

    def by_them() -> np.ndarray:
        tokens = torch.tensor(prompts)
        with torch.no_grad():
            found = theirs.generate(
                tokens, attention_mask=torch.ones_like(tokens), do_sample=False, min_new_tokens=arguments.tokens,
                max_new_tokens=arguments.tokens, pad_token_id=0,
            )  # fmt: skip
        return found[:, arguments.prompt_tokens :].numpy()

    a, b = by_us(), by_them()
    print(f"same tokens: {(a == b[:, : a.shape[1]]).mean():.1%} of {a.size}")
    times: dict[str, list[tuple[float, float]]] = {"maxlm": [], "transformers": []}
    for _ in range(arguments.rounds):
        times["maxlm"].append(_timed(by_us))
        times["transformers"].append(_timed(by_them))
    count = arguments.batch * a.shape[1]
    wall = {name: statistics.median(t for t, _ in found) for name, found in times.items()}
    cpu = {name: statistics.median(c for _, c in found) for name, found in times.items()}
    for name in times:
        print(f"{name:13s} {count / wall[name]:8.1f} tokens/s   {count / cpu[name]:8.1f} tokens to a CPU second")
    ratios = wall["transformers"] / wall["maxlm"], cpu["transformers"] / cpu["maxlm"]
    print(f"maxlm × transformers: {ratios[0]:.2f} by the clock, {ratios[1]:.2f} by CPU time")


def _both(model: ModelConfig) -> tuple[Engine, transformers.PreTrainedModel]:
    """Our engine, and the same weights in transformers."""
    function = DecoderFunction(model)
    params = jax.jit(function.init)(jax.random.key(0))
    words = "the quick brown fox jumps over the lazy dog while numbers 0123456789 pass by\n" * 20
    tokenizer = train_model(iter([words]), TokenizerSettings(vocab_size=384, spare_tokens=60))
    tokenizer.num_pieces = model.vocab_size  # any row may be drawn
    meta = Meta(Position(), {}, model.vocab_size)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    engine = Engine(TrainedModel(Config(model=model), function, params, tokenizer, meta, mesh), GREEDY)

    def read(path: tuple[str, ...], layer: int | None) -> np.ndarray:
        value = params
        for key in path:
            value = value[key]
        return np.asarray(value if layer is None else value[layer])

    with tempfile.TemporaryDirectory() as folder:
        save_decoder(folder, model, read, max_length=2048, tokens={"eos_token_id": tokenizer.eos_id})
        return engine, transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def _timed(act: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
