"""Generation with a key/value cache: the prompts in one pass, then a token at a time."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from maxlm.errors import UserError
from maxlm.generate.load import TrainedModel
from maxlm.generate.sampling import Sampling, sample
from maxlm.models.cache import KVCache, empty_cache

_CACHE_STEP = 64  # cache lengths are multiples of this, so that few programs are compiled


class Engine:
    """Compiled prefill and decode steps of one model."""

    def __init__(self, trained: TrainedModel, sampling: Sampling):
        self._trained, self._sampling = trained, sampling
        self._decoder = trained.model
        vocab = trained.tokenizer.num_pieces
        self._allowed_V = jnp.arange(trained.config.model.vocab_size) < vocab  # spare rows have no text
        # Some tokenizers have no padding of their own and lend it EOS, which must stay possible.
        for control in {trained.tokenizer.bos_id, trained.tokenizer.pad_id} - {trained.tokenizer.eos_id}:
            self._allowed_V = self._allowed_V.at[control].set(False)
        self._advance = jax.jit(self._advance_fn, donate_argnums=1)

    def _advance_fn(self, params, cache: KVCache, tokens_BT, positions_BT, last_B, key):
        """Adds tokens to the cache and draws the one after each row's last real token."""
        decoder = self._decoder.bind(params)
        hidden_BTD, new_cache = decoder(tokens_BT, positions_BT, jnp.ones_like(tokens_BT), cache)
        last_B1D = jnp.take_along_axis(hidden_BTD, last_B[:, None, None], axis=1)
        logits_BV = decoder.logits(last_B1D)[:, 0]
        return new_cache, sample(logits_BV, self._allowed_V, key, self._sampling)

    def stream(self, prompts: Sequence[Sequence[int]], max_tokens: int, seed: int = 0) -> Iterator[np.ndarray]:
        """The next token of every row, int32 `[batch]`, one array a step; ends when all rows have said EOS.

        A row that has ended goes on with EOS. Prompts are token ids, each with at least one (BOS).
        """
        if not prompts or any(not prompt for prompt in prompts):
            raise UserError("a prompt must hold at least one token")
        lengths_B = np.array([len(prompt) for prompt in prompts], np.int32)
        width = int(lengths_B.max())
        tokens_BT = np.zeros((len(prompts), width), np.int32)
        for row, prompt in enumerate(prompts):
            tokens_BT[row, : len(prompt)] = prompt
        # Past its end a short prompt's places are written beyond all that is read: position = cache length is dropped.
        max_len = -(-(width + max_tokens) // _CACHE_STEP) * _CACHE_STEP
        index_T = np.arange(width, dtype=np.int32)
        positions_BT = np.where(index_T < lengths_B[:, None], index_T, max_len).astype(np.int32)
        with jax.set_mesh(self._trained.mesh):
            yield from self._decode(tokens_BT, positions_BT, lengths_B, max_len, max_tokens, jax.random.key(seed))

    def _decode(self, tokens_BT, positions_BT, lengths_B, max_len: int, max_tokens: int, key) -> Iterator[np.ndarray]:
        eos = self._trained.tokenizer.eos_id
        cache = empty_cache(self._trained.config.model, len(lengths_B), max_len)
        last_B, ended_B = lengths_B - 1, np.zeros(len(lengths_B), bool)
        for step in range(max_tokens):
            cache, next_B = self._advance(
                self._trained.params, cache, tokens_BT, positions_BT, last_B, jax.random.fold_in(key, step)
            )
            chosen_B = np.where(ended_B, eos, np.asarray(next_B))
            ended_B |= chosen_B == eos
            yield chosen_B
            if ended_B.all():
                return
            tokens_BT, positions_BT = chosen_B[:, None], (lengths_B + step)[:, None]
            last_B = np.zeros_like(lengths_B)


def generate_text(
    trained: TrainedModel, prompts: Sequence[str], max_tokens: int, sampling: Sampling, seed: int = 0
) -> list[str]:
    """Continues each prompt; returns the continuations, without the prompts."""
    tokenizer = trained.tokenizer
    encoded = [[tokenizer.bos_id, *tokenizer.encode(prompt)] for prompt in prompts]
    columns = list(Engine(trained, sampling).stream(encoded, max_tokens, seed))
    rows = np.stack(columns, axis=1) if columns else np.zeros((len(prompts), 0), np.int32)
    return [tokenizer.decode([int(t) for t in row if t != tokenizer.eos_id]) for row in rows]
