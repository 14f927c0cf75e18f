"""One update, compiled: a batch and the state in, the new state and its metrics out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from maxlm.blocks.format import Batch
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.mesh import batch_sharding, replicated
from maxlm.train.config import TrainSettings
from maxlm.train.losses import TokenLosses, auto_chunks, next_token_loss, sums_by_domain
from maxlm.train.state import TrainState, state_shardings

Metrics = dict[str, jax.Array]


def batch_loss(model: DecoderFunction, params: dict[str, Any], batch: Batch, settings: TrainSettings) -> TokenLosses:
    """The loss that training minimises, and the cross-entropy of each token."""
    decoder = model.bind(params)
    hidden_BTD, _ = decoder(batch.inputs, batch.positions, batch.segments)
    B, T, _ = hidden_BTD.shape
    chunks = settings.loss_chunks or auto_chunks(B, T, model.config.vocab_size)
    return next_token_loss(
        hidden_BTD, decoder.unembedding(), batch.targets, batch.weights, z_loss=settings.z_loss, chunks=chunks
    )


def make_train_step(
    model: DecoderFunction,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    settings: TrainSettings,
    mesh: Mesh,
    num_domains: int,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The jitted update. The old state's memory is given to the new one."""

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        def loss_fn(params):
            losses = batch_loss(model, params, batch, settings)
            return losses.loss, losses.nll_BT

        (loss, nll_BT), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {
            "loss": loss,
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": jnp.asarray(schedule(state.step)),
            "domain_nll": sums_by_domain(nll_BT * batch.weights, batch.domains, num_domains),
            "domain_tokens": sums_by_domain(batch.weights, batch.domains, num_domains),
        }
        return TrainState(params, opt_state, state.step + 1, state.key), metrics

    state_split, batch_split = state_shardings(model, tx, mesh), batch_sharding(mesh)
    return jax.jit(
        train_step,
        in_shardings=(state_split, batch_split),
        out_shardings=(state_split, replicated(mesh)),
        donate_argnums=0,
    )


def make_eval_step(
    model: DecoderFunction, mesh: Mesh, settings: TrainSettings
) -> Callable[[dict[str, Any], Batch], jax.Array]:
    """The jitted forward pass: cross-entropy of each token in nats, float32 `[batch, seq_len]`."""

    def eval_step(params: dict[str, Any], batch: Batch) -> jax.Array:
        return batch_loss(model, params, batch, settings).nll_BT

    return jax.jit(eval_step, in_shardings=(None, batch_sharding(mesh)), out_shardings=replicated(mesh))
