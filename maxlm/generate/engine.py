"""Generation with a key/value cache: the prompts in one pass, then a token at a time. On a mesh the cache is split."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from maxlm.errors import ConfigError, UserError
from maxlm.generate.load import TrainedModel
from maxlm.generate.sampling import Sampling, sample
from maxlm.generate.text import Continuation
from maxlm.models.cache import KVCache, empty_cache
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.mesh import batch_ways, rows_sharding

_CACHE_STEP, _WIDTH_STEP = 64, 16  # lengths are multiples of these or more, so that few programs are compiled

# Whether a row (its number) ends with a token
Ends = Callable[[int, int], bool]


class Engine:
    """Compiled prefill and decode steps of one model.

    Once it has written it holds the parameters a second time, set apart for generation. On a CPU it computes in float32
    whatever the config says: XLA has no fast products of bfloat16 there.
    """

    def __init__(self, trained: TrainedModel, sampling: Sampling):
        """Raises ConfigError: the mesh splits layers or sequences."""
        for axis in ("stage", "context"):
            if (size := trained.mesh.shape[axis]) > 1:
                raise ConfigError(f"config.mesh.{axis}={size}: generation splits by data, fsdp and tensor alone")
        self._trained, self._sampling = trained, sampling
        self._model, self._decoder = trained.config.model, trained.model
        on_cpu = trained.mesh.devices.flat[0].platform == "cpu"
        if on_cpu and self._model.matmul == "plain" and self._model.dtype != "float32":
            self._model = dataclasses.replace(self._model, dtype="float32")
            self._decoder = DecoderFunction(self._model)
        vocab = trained.tokenizer.num_pieces
        self._allowed_V = jnp.arange(trained.config.model.vocab_size) < vocab  # spare rows have no text
        # Some tokenizers have no padding of their own and lend it EOS, which must stay possible.
        for control in {trained.tokenizer.bos_id, trained.tokenizer.pad_id} - {trained.tokenizer.eos_id}:
            self._allowed_V = self._allowed_V.at[control].set(False)
        self._set_apart = jax.jit(self._decoder.for_generation)
        self.params = trained.params
        self._advance = jax.jit(self._advance_fn, donate_argnums=(1, 2))

    @property
    def params(self) -> dict[str, Any]:
        """May be replaced by others of the same shapes, as while a model is trained."""
        return self._params

    @params.setter
    def params(self, params: dict[str, Any]) -> None:
        self._params, self._apart = params, None

    def _advance_fn(self, params, cache: KVCache, held_BV, tokens_BT, positions_BT, last_B, key):
        """Adds tokens to the cache and draws the one after each row's last real token."""
        decoder = self._decoder.bind(params)
        if held_BV is not None:  # padding stands past the end of the cache
            rows, real_BT = jnp.arange(len(tokens_BT))[:, None], positions_BT < cache[0].keys.shape[2]
            held_BV = held_BV.at[rows, jnp.where(real_BT, tokens_BT, held_BV.shape[1])].set(True, mode="drop")
        hidden_BTD, new_cache = decoder(tokens_BT, positions_BT, jnp.ones_like(tokens_BT), cache)
        last_B1D = jnp.take_along_axis(hidden_BTD, last_B[:, None, None], axis=1)
        logits_BV = decoder.logits(last_B1D)[:, 0]
        return new_cache, held_BV, sample(logits_BV, self._allowed_V, key, self._sampling, held_BV)

    def stream(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, seed: int = 0, ends: Ends | None = None
    ) -> Iterator[np.ndarray]:
        """The next token of every row, int32 `[batch]`, one array a step; stops when all rows have ended.

        A row ends with EOS, or where `ends` says so, and goes on with EOS. Prompts are token ids, each with at least
        one (BOS).
        """
        if not prompts or any(not prompt for prompt in prompts):
            raise UserError("a prompt must hold at least one token")
        count, ways = len(prompts), batch_ways(self._trained.mesh)
        prompts = [*prompts, *[prompts[0]] * (-count % ways)]  # a row more for each device that would have none
        lengths_B = np.array([len(prompt) for prompt in prompts], np.int32)
        longest = int(lengths_B.max())
        max_len = self._cache_length(longest + max_tokens)
        width = min(_rounded(longest, _WIDTH_STEP), max_len)
        tokens_BT = np.zeros((len(prompts), width), np.int32)
        for row, prompt in enumerate(prompts):
            tokens_BT[row, : len(prompt)] = prompt
        # Past its end a short prompt's places are written beyond all that is read: position = cache length is dropped.
        index_T = np.arange(width, dtype=np.int32)
        positions_BT = np.where(index_T < lengths_B[:, None], index_T, max_len).astype(np.int32)
        ends = ends or (lambda row, token: False)
        with jax.set_mesh(self._trained.mesh):
            for chosen_B in self._decode(tokens_BT, positions_BT, lengths_B, max_len, max_tokens, seed, ends, count):
                yield chosen_B[:count]

    def _cache_length(self, needed: int) -> int:
        model = self._model
        if model.position == "learned" and needed > model.max_positions:
            raise UserError(
                f"prompt and continuation take {needed} tokens; the model knows {model.max_positions} positions"
            )
        rounded = _rounded(needed, _CACHE_STEP)
        return min(rounded, model.max_positions) if model.position == "learned" else rounded

    def _decode(self, tokens_BT, positions_BT, lengths_B, max_len: int, max_tokens: int, seed: int, ends: Ends, count):
        eos, key, batch = self._trained.tokenizer.eos_id, jax.random.key(seed), len(lengths_B)
        rows, model = rows_sharding(self._trained.mesh), self._model
        self._apart = self._apart or self._set_apart(self._params)
        params, cache, held_BV = self._apart, empty_cache(model, batch, max_len), None
        if self._sampling.repetition_penalty != 1:
            held_BV = jnp.zeros((batch, model.vocab_size), bool, device=rows)
        last_B, ended_B = lengths_B - 1, np.arange(batch) >= count
        for step in range(max_tokens):
            inputs = jax.device_put((tokens_BT, positions_BT, last_B), rows)
            cache, held_BV, next_B = self._advance(params, cache, held_BV, *inputs, jax.random.fold_in(key, step))
            chosen_B = np.where(ended_B, eos, np.asarray(next_B))
            for row in np.flatnonzero(~ended_B):
                ended_B[row] = chosen_B[row] == eos or ends(int(row), int(chosen_B[row]))
            yield chosen_B
            if ended_B.all():
                return
            tokens_BT, positions_BT = chosen_B[:, None], (lengths_B + step)[:, None]
            last_B = np.zeros_like(lengths_B)

    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        max_tokens: int,
        seed: int = 0,
        stop: Sequence[str] = (),
        show: Callable[[str], object] = lambda text: None,
    ) -> list[str]:
        """The texts that continue prompts of token ids.

        Args:
          stop: strings that end a continuation, which then lacks them.
          show: is given the first prompt's continuation piece by piece, as it is written.
        """
        written = [Continuation(self._trained.tokenizer, stop) for _ in prompts]

        def ends(row: int, token: int) -> bool:
            piece = written[row].add(token)
            if row == 0:
                show(piece)
            return written[row].ended

        for _ in self.stream(prompts, max_tokens, seed, ends):
            pass
        for row, continuation in enumerate(written):
            piece = continuation.finish()
            if row == 0:
                show(piece)
        return [continuation.text for continuation in written]


def _rounded(length: int, step: int) -> int:
    """The next multiple of `step`, and of longer steps where these are at most a quarter of the length."""
    step = max(step, 1 << max(0, length.bit_length() - 3))
    return -(-length // step) * step


def generate_text(
    trained: TrainedModel,
    prompts: Sequence[str],
    max_tokens: int,
    sampling: Sampling,
    seed: int = 0,
    stop: Sequence[str] = (),
    show: Callable[[str], object] = lambda text: None,
) -> list[str]:
    """Continues each prompt; returns the continuations, without the prompts. `stop`, `show`: see `Engine.complete`."""
    encoded = [trained.tokenizer.prompt(prompt) for prompt in prompts]
    return Engine(trained, sampling).complete(encoded, max_tokens, seed, stop, show)
