"""One update, compiled: a batch and the state in, the new state and its metrics out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from maxlm.blocks.format import Batch
from maxlm.models.context_attention import gathered, spread
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import Limits
from maxlm.monitor.norms import norms_when
from maxlm.parallel.axes import CONTEXT, ways
from maxlm.parallel.mesh import batch_sharding, replicated
from maxlm.train.config import TrainSettings
from maxlm.train.losses import TokenLosses, auto_chunks, next_token_loss, sums_by_domain
from maxlm.train.preference import Answers, answers, num_pairs, reference_of, token_weights
from maxlm.train.state import TrainState, state_shardings
from maxlm.train.trainable import applied, gradients_of

Metrics = dict[str, Any]


def batch_loss(
    model: DecoderFunction,
    params: dict[str, Any],
    batch: Batch,
    settings: TrainSettings,
    total: jax.Array | None = None,
    reference: dict[str, Any] | None = None,
) -> TokenLosses:
    """The loss that training minimises, and the cross-entropy of each token.

    `total`: weight (of pairs: number) of all rows of the step, where the batch is only some of them.
    `reference`: the parameters that a loss of pairs compares with.
    """
    compared = None if reference is None else answers(batch_loss(model, reference, batch, settings).nll_BT, batch)
    split, decoder = ways(CONTEXT), model.bind(params)
    batch = jax.tree.map(lambda x_BT: spread(x_BT, split), batch) if split > 1 else batch
    hidden_BTD, _ = decoder(batch.inputs, batch.positions, batch.segments)
    B, T, _ = hidden_BTD.shape
    chunks = settings.loss_chunks or auto_chunks(B, T, model.config.vocab_size)
    table_VD = decoder.unembedding()
    if compared is None:
        losses = next_token_loss(
            hidden_BTD, table_VD, batch.targets, batch.weights, z_loss=settings.z_loss, chunks=chunks, total=total
        )
    else:
        losses = _pair_loss(hidden_BTD, table_VD, batch, settings, compared, chunks, total)
    return losses._replace(nll_BT=gathered(losses.nll_BT, split)) if split > 1 else losses


def _pair_loss(
    hidden_BTD: jax.Array,
    table_VD: jax.Array,
    batch: Batch,
    settings: TrainSettings,
    compared: Answers,
    chunks: int,
    total: jax.Array | None,
) -> TokenLosses:
    """A loss of pairs: its value, and for its gradient a loss of tokens with the weights that have the same one."""
    frozen = jax.lax.stop_gradient((hidden_BTD, table_VD))
    nll_BT = next_token_loss(*frozen, batch.targets, batch.weights, chunks=chunks).nll_BT
    total = num_pairs(batch) if total is None else total
    value, weights_BT, figures = token_weights(nll_BT, batch, compared, settings, total)
    one = jnp.ones(())
    pulls = next_token_loss(hidden_BTD, table_VD, batch.targets, weights_BT, chunks=chunks, total=one).loss
    nothing = pulls - jax.lax.stop_gradient(pulls)  # but for its gradient; added last, it rounds nothing away
    return TokenLosses(value + nothing, nll_BT, figures)


def make_train_step(
    model: DecoderFunction,
    tx: optax.GradientTransformationExtraArgs,
    schedule: optax.Schedule,
    settings: TrainSettings,
    mesh: Mesh,
    num_domains: int,
) -> Callable[[TrainState, Batch, Limits], tuple[TrainState, Metrics]]:
    """The jitted update. The old state's memory is given to the new one.

    An update whose loss or gradient is not finite, or beyond the limits, is not applied: parameters and optimizer
    stay, and the metric `skipped` is 1. The device decides that by itself; nothing waits for the host.
    """

    def train_step(state: TrainState, batch: Batch, limits: Limits) -> tuple[TrainState, Metrics]:
        reference = reference_of(settings, state.opt_state, state.params)
        (loss, (nll_BT, figures)), grads = gradients(model, settings, state.params, batch, reference)
        updates, opt_state = tx.update(grads, state.opt_state, state.params, step=state.step)
        grads = gradients_of(updates, grads)
        grad_norm = optax.tree.norm(grads)
        updated = applied(state.params, updates), opt_state
        applies = jnp.isfinite(loss) & jnp.isfinite(grad_norm) & (loss <= limits.loss) & (grad_norm <= limits.grad_norm)
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(applies, new, old), updated, (state.params, state.opt_state)
        )
        metrics: Metrics = {
            "loss": loss,
            "grad_norm": grad_norm,
            "skipped": 1.0 - applies,
            "learning_rate": jnp.asarray(schedule(state.step)),
            "domain_nll": sums_by_domain(nll_BT * batch.weights, batch.domains, num_domains),
            "domain_tokens": sums_by_domain(batch.weights, batch.domains, num_domains),
        }
        if figures:
            metrics["figures"] = figures
        if settings.log_norms:  # of the parameters that the gradient belongs to
            held = gradients_of(updates, state.params)
            metrics["norms"] = norms_when((state.step + 1) % settings.log_every == 0, held, grads)
        return TrainState(params, opt_state, state.step + 1, state.key), metrics

    state_split, batch_split = state_shardings(model, tx, mesh), batch_sharding(mesh)
    return jax.jit(
        train_step,
        in_shardings=(state_split, batch_split, replicated(mesh)),
        out_shardings=(state_split, replicated(mesh)),
        donate_argnums=0,
    )


def gradients(
    model: DecoderFunction,
    settings: TrainSettings,
    params: dict[str, Any],
    batch: Batch,
    reference: dict[str, Any] | None = None,
) -> tuple[tuple[jax.Array, tuple[jax.Array, Any]], dict[str, Any]]:
    """(loss, (cross-entropy of each token, figures)), gradients; summed over `settings.accumulate` parts in float32."""
    count, total = settings.accumulate, batch.weights.sum() if reference is None else num_pairs(batch)

    def loss_fn(params: dict[str, Any], rows: Batch) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        losses = batch_loss(model, params, rows, settings, total, reference)
        return losses.loss, (losses.nll_BT, losses.figures)

    gradient = jax.value_and_grad(loss_fn, has_aux=True)
    if count == 1:
        return gradient(params, batch)

    def add(sums: tuple[jax.Array, dict[str, Any]], rows: Batch) -> tuple[Any, Any]:
        (loss, shown), grads = gradient(params, rows)
        return jax.tree.map(jnp.add, sums, (loss, grads)), shown

    start = (jnp.float32(0), jax.tree.map(jnp.zeros_like, params))
    # Rows j, j + count, … make part j: every device then has its share of each part where its rows are already.
    parts = jax.tree.map(lambda x_BT: x_BT.reshape(-1, count, x_BT.shape[1]).swapaxes(0, 1), batch)
    (loss, grads), (nll, figures) = jax.lax.scan(add, start, parts)
    figures = jax.tree.map(lambda sums: sums.sum(axis=0), figures)
    return (loss, (nll.swapaxes(0, 1).reshape(batch.targets.shape), figures)), grads


def make_eval_step(
    model: DecoderFunction, mesh: Mesh, settings: TrainSettings
) -> Callable[[dict[str, Any], Batch], jax.Array]:
    """The jitted forward pass: cross-entropy of each token in nats, float32 `[batch, seq_len]`."""

    def eval_step(params: dict[str, Any], batch: Batch) -> jax.Array:
        return batch_loss(model, params, batch, settings).nll_BT

    return jax.jit(eval_step, in_shardings=(None, batch_sharding(mesh)), out_shardings=replicated(mesh))
