"""Preference tuning: of two answers the preferred one is to become likelier, measured against a frozen reference.

A row holds pairs: segments 1 and 2 are the preferred answer and the other one, each after the prompt, then 3 and 4, and
so on. The reference is the model that the run began with; it lies in the optimizer's state, beside the moments.

The loss depends on sums over whole answers, so that its gradient is known only when all logits have been seen. They are
made twice: once for the sums, and once for the gradient, as next-token losses with a weight for each token.

Letters: B batch, T position, P pair within a row.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from maxlm.blocks.format import Batch
from maxlm.blocks.manifest import Manifest
from maxlm.errors import DataError
from maxlm.train.config import TrainSettings
from maxlm.train.trainable import filled

_LEAST_TOKENS = 4  # of a pair: each answer has one token before it, and one of its own


class Answers(NamedTuple):
    """What a model says of the pairs of a batch, the preferred answer first."""

    logprobs_BP2: jax.Array  # log-probability of the answer, summed over its tokens
    tokens_BP2: jax.Array  # how many these are
    there_BP: jax.Array  # bool, whether there is such a pair


def answers(nll_BT: jax.Array, batch: Batch) -> Answers:
    """Sums over the segments of each row, from the cross-entropy of each token."""
    B, T = batch.segments.shape
    most = max(1, (T + 1) // _LEAST_TOKENS)

    def of_segments(values_T: jax.Array, segments_T: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(values_T, segments_T, 2 * most + 1)[1:]  # 0 is padding

    summed = jax.vmap(of_segments)
    logprobs = -summed(nll_BT * batch.weights, batch.segments).reshape(B, most, 2)
    tokens = summed(batch.weights, batch.segments).reshape(B, most, 2)
    there_BP = jnp.arange(most) < _pairs_in_rows(batch)[:, None]
    return Answers(logprobs, tokens, there_BP)


def num_pairs(batch: Batch) -> jax.Array:
    """Pairs of a batch, float32 []."""
    return _pairs_in_rows(batch).sum().astype(jnp.float32)


def _pairs_in_rows(batch: Batch) -> jax.Array:
    return batch.segments.max(axis=1) // 2


def pair_losses(
    found: Answers, reference: Answers, settings: TrainSettings, total: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss, its sum over the pairs divided by `total`; figures, each a sum and what it is to be divided by."""
    losses_BP = LOSSES[settings.loss](found, reference, settings)
    rewards_BP2 = settings.beta * (found.logprobs_BP2 - reference.logprobs_BP2)
    margins_BP = rewards_BP2[..., 0] - rewards_BP2[..., 1]
    shown = {
        "rewards/chosen": rewards_BP2[..., 0],
        "rewards/rejected": rewards_BP2[..., 1],
        "rewards/margin": margins_BP,
        "rewards/accuracy": (margins_BP > 0).astype(jnp.float32),
    }
    count = found.there_BP.sum().astype(jnp.float32)
    figures = {name: jnp.stack([jnp.where(found.there_BP, x, 0).sum(), count]) for name, x in shown.items()}
    return jnp.where(found.there_BP, losses_BP, 0).sum() / jnp.maximum(total, 1.0), figures


def _dpo(found: Answers, reference: Answers, settings: TrainSettings) -> jax.Array:
    """Rafailov et al., 2023 (arXiv 2305.18290), equation 7; labels smoothed as in Mitchell, 2023 (cDPO), equation 3."""
    ratios_BP2 = found.logprobs_BP2 - reference.logprobs_BP2
    logits_BP = settings.beta * (ratios_BP2[..., 0] - ratios_BP2[..., 1])
    smoothed = settings.label_smoothing
    return -(1 - smoothed) * jax.nn.log_sigmoid(logits_BP) - smoothed * jax.nn.log_sigmoid(-logits_BP)


def _ipo(found: Answers, reference: Answers, settings: TrainSettings) -> jax.Array:
    """Azar et al., 2023 (arXiv 2310.12036), equation 17, of log-probabilities averaged over an answer's tokens."""
    ratios_BP2 = (found.logprobs_BP2 - reference.logprobs_BP2) / jnp.maximum(found.tokens_BP2, 1.0)
    return (ratios_BP2[..., 0] - ratios_BP2[..., 1] - 1 / (2 * settings.beta)) ** 2


LOSSES: dict[str, Callable[[Answers, Answers, TrainSettings], jax.Array]] = {"dpo": _dpo, "ipo": _ipo}


def token_weights(
    nll_BT: jax.Array, batch: Batch, reference: Answers, settings: TrainSettings, total: jax.Array
) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """The loss, its derivative with respect to each token's cross-entropy `[batch, seq_len]`, and figures."""

    def loss(nll_BT: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        return pair_losses(answers(nll_BT, batch), reference, settings, total)

    (value, figures), weights_BT = jax.value_and_grad(loss, has_aux=True)(nll_BT)
    return value, weights_BT, figures


class ReferenceState(NamedTuple):
    reference: Any  # the trained ones of the parameters that the run began with


def keep_reference(pick: Callable[[Any], Any]) -> optax.GradientTransformation:
    """Keeps the parameters that training begins with; changes nothing. `pick`: those that are trained."""

    def init(params: optax.Params) -> ReferenceState:
        return ReferenceState(jax.tree.map(lambda leaf: leaf, pick(params)))

    def update(updates: optax.Updates, state: Any, params: Any = None) -> tuple[optax.Updates, ReferenceState]:
        return updates, state

    return optax.GradientTransformation(init, update)


def reference_of(settings: TrainSettings, opt_state: Any, params: Any) -> Any:
    """The parameters that the run began with; None for a loss that needs none."""
    return filled(params, optax.tree.get(opt_state, "reference")) if settings.loss in LOSSES else None


def check_pairs(settings: TrainSettings, manifest: Manifest, where: object) -> None:
    """Raises DataError unless the block holds pairs where the loss is of pairs, and none where it is not."""
    if manifest.pairs != (settings.loss in LOSSES):
        holds = "holds pairs of answers, of which only config.train.loss='dpo' (or 'ipo') learns the preferred one"
        lacks = f"holds no pairs of answers, which config.train.loss={settings.loss!r} compares"
        raise DataError(f"{where}: {holds if manifest.pairs else lacks}; see docs/training/tuning.md")
