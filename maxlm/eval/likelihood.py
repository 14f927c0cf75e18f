"""Log-likelihoods of continuations after contexts, batched by length on the mesh."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maxlm.errors import ConfigError
from maxlm.generate.load import TrainedModel
from maxlm.parallel.mesh import batch_ways, replicated, rows_sharding
from maxlm.tokenizer.base import Tokenizer

_WIDTH_STEP = 64  # widths of batches are multiples of this, so that few programs are compiled
_CHUNK = 32  # positions whose logits are made at a time

Pair = tuple[list[int], list[int]]  # ids of a context, at least one, and of its continuation


class Likelihood(NamedTuple):
    """Of a continuation."""

    nats: float  # natural logarithm of its probability
    greedy: bool  # whether each of its tokens is the likeliest at its place


def encode_pair(tokenizer: Tokenizer, context: str, continuation: str) -> Pair:
    """Ids of both, cut where the context ends when both are encoded as one text, as lm-evaluation-harness does it.

    Blanks at the context's end are counted to the continuation. An empty context becomes BOS.
    """
    if not context:
        return [tokenizer.bos_id], tokenizer.encode(continuation)
    bare = context.rstrip()
    whole = tokenizer.prompt(context + continuation)
    first = tokenizer.prompt(bare) if bare else tokenizer.prompt(context)[:1]
    return first, whole[len(first) :]


class Scorer:
    """Compiled forward passes of one model.

    Attributes:
      params: of the model; others of the same shapes may take their place.
    """

    def __init__(
        self,
        trained: TrainedModel,
        max_length: int,
        batch: int = 8,
        progress: Callable[[int], object] = lambda done: None,
    ):
        """`max_length`: tokens that the model reads at most; what is longer is cut at its beginning.

        `batch`: rows at a time, rounded up to what the mesh splits them into. `progress`: is told of pairs done.

        Raises:
          ConfigError: the mesh splits layers or sequences.
        """
        for axis in ("stage", "context"):
            if (size := trained.mesh.shape[axis]) > 1:
                raise ConfigError(f"config.mesh.{axis}={size}: evaluation splits by data, fsdp and tensor alone")
        self._trained, self._progress, self.params = trained, progress, trained.params
        self._positions = trained.config.model.max_positions  # of a model that has learned them; else 0
        self._max_length = min(max_length, self._positions) if self._positions else max_length
        ways = batch_ways(trained.mesh)
        self._batch = -(-batch // ways) * ways
        self._score = jax.jit(self._score_fn, out_shardings=replicated(trained.mesh))

    def _score_fn(self, params, tokens_BT, targets_BT):
        """Log-probability of each target, and whether it is the likeliest."""
        B, T = tokens_BT.shape
        decoder = self._trained.model.bind(params)
        positions_BT = jnp.broadcast_to(jnp.arange(T, dtype=jnp.int32), (B, T))
        hidden_BTD, _ = decoder(tokens_BT, positions_BT, jnp.ones_like(tokens_BT))

        def chunk(inputs):
            hidden_BCD, targets_BC = inputs
            logits_BCV = decoder.logits(hidden_BCD)
            chosen_BC = jnp.take_along_axis(logits_BCV, targets_BC[..., None], axis=-1)[..., 0]
            return chosen_BC - jax.nn.logsumexp(logits_BCV, axis=-1), jnp.argmax(logits_BCV, axis=-1) == targets_BC

        def parts(x):
            """[chunks, batch, chunk, …], the last one filled up with zeros."""
            x = jnp.pad(x, [(0, 0), (0, -T % _CHUNK), *[(0, 0)] * (x.ndim - 2)])
            return x.reshape(B, -1, _CHUNK, *x.shape[2:]).swapaxes(0, 1)

        nats, greedy = jax.lax.map(chunk, (parts(hidden_BTD), parts(targets_BT)))
        return nats.swapaxes(0, 1).reshape(B, -1)[:, :T], greedy.swapaxes(0, 1).reshape(B, -1)[:, :T]

    def __call__(self, pairs: Sequence[Pair]) -> list[Likelihood]:
        """The likelihood of each continuation; 0 nats for one without tokens."""
        found = [Likelihood(0.0, True)] * len(pairs)
        with jax.set_mesh(self._trained.mesh):
            for places in self._batches(pairs):
                for place, likelihood in zip(places, self._of_batch([pairs[i] for i in places]), strict=False):
                    found[place] = likelihood
                self._progress(len(places))
        return found

    def _batches(self, pairs: Sequence[Pair]) -> Iterator[list[int]]:
        """Places of pairs, the longest first: what does not fit into memory shows at once."""
        lengths = [len(context) + len(continuation) for context, continuation in pairs]
        order = sorted(range(len(pairs)), key=lambda i: -lengths[i])
        for start in range(0, len(order), self._batch):
            yield order[start : start + self._batch]

    def _of_batch(self, pairs: Sequence[Pair]) -> list[Likelihood]:
        rows = [(context + continuation)[-self._max_length - 1 :] for context, continuation in pairs]
        longest = max(len(row) for row in rows) - 1
        width = -(-longest // _WIDTH_STEP) * _WIDTH_STEP
        if self._positions:
            width = min(width, self._positions)
        tokens_BT = np.zeros((self._batch, width + 1), np.int32)
        for i, row in enumerate(rows):
            tokens_BT[i, : len(row)] = row
        inputs = jax.device_put((tokens_BT[:, :-1], tokens_BT[:, 1:]), rows_sharding(self._trained.mesh))
        nats_BT, greedy_BT = map(np.asarray, self._score(self.params, *inputs))
        likelihoods = []
        for i, (row, (_, continuation)) in enumerate(zip(rows, pairs, strict=True)):
            span = slice(max(0, len(row) - 1 - len(continuation)), len(row) - 1)
            nats = float(nats_BT[i, span].sum(dtype=np.float64))
            likelihoods.append(Likelihood(nats, bool(greedy_BT[i, span].all())))
        return likelihoods
