"""An encoder fitted to labelled texts under a mesh, calibrated and saved.

Letters: B rows of a batch, S places of a row, C classes (1 for a regression), T texts.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from data_pipeline.score import buckets, measures, probe
from data_pipeline.score.classifier import Classifier, mesh_of, ways
from data_pipeline.score.encoder_settings import REPORT_FILE, SCORE_FILE, EncoderSettings
from data_pipeline.score.labelled import Labelled
from maxlm.errors import ConfigError, DataError
from maxlm.interop.encoder import CONFIG_FILE, LoadedEncoder, load_encoder, save_encoder
from maxlm.models.encoder import EncoderFunction
from maxlm.models.encoder_config import Dtype, EncoderConfig
from maxlm.parallel.mesh import replicated, rows_sharding
from maxlm.parallel.sharding import optimizer_shardings
from maxlm.paths import write_json
from maxlm.tokenizer.wordpiece import EncoderTokenizer


class _State(NamedTuple):
    params: Any
    opt_state: Any
    step: Any  # int32 []


def fit(
    fitted: Labelled,
    held: Labelled,
    judged: Labelled,
    out: epath.Path,
    settings: EncoderSettings,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Trains on `fitted`, chooses the epoch and calibrates by `held`, reports on `judged`, and writes to `out`."""
    mesh = mesh_of(settings.mesh)
    if settings.batch % ways(mesh):
        raise ConfigError(f"encoder: batch={settings.batch} does not divide by the mesh's data × fsdp={ways(mesh)}")
    encoder, tokenizer = _start(fitted, settings)
    classifier = Classifier(encoder, tokenizer, mesh, settings.max_tokens, settings.windows)
    mean, spread = (fitted.targets.mean(), fitted.targets.std() or 1.0) if settings.regression else (0.0, 1.0)
    fitted = fitted._replace(targets=(fitted.targets - mean) / spread) if settings.regression else fitted
    best, epochs, head_alone = _best_params(classifier, fitted, held, settings, mean, spread, tell)

    classifier.params = jax.device_put(best, classifier.splits)
    raw_TC = classifier.outputs(judged.texts) * spread + mean
    heat = 1.0
    if settings.regression:
        after = before = measures.of_values(raw_TC[:, 0], judged.targets)
    else:
        heat = measures.temperature(classifier.outputs(held.texts), held.targets)
        before = measures.of_classes(raw_TC, judged.targets)
        after = measures.of_classes(raw_TC / heat, judged.targets)
    # The head takes it in, so that whoever loads the folder gets values as they are and probabilities as calibrated.
    head = best["head"]
    best["head"] = {"kernel": head["kernel"] * (spread / heat), "bias": head["bias"] * (spread / heat) + mean / heat}
    report = {
        "kind": "encoder",
        "labels": list(fitted.labels),
        "positive": settings.positive,
        "texts": len(fitted.texts),
        "chosen_by": len(held.texts),
        "head_alone": head_alone,
        "epochs": epochs,
        "temperature": heat,
        "uncalibrated": before,
        "held_out": {"texts": len(judged.texts), **after},
        "settings": asdict(settings),
    }
    # An older model's config goes first and the new one's comes last: whoever dies in between leaves no mixture.
    (out / CONFIG_FILE).unlink(missing_ok=True)
    tokenizer.save(out)
    write_json(out / REPORT_FILE, report)
    applied = {
        "positive": settings.positive,
        "max_tokens": classifier.max_tokens,
        "windows": settings.windows,
        "dtype": settings.dtype,
    }
    write_json(out / SCORE_FILE, applied)
    save_encoder(out, encoder._replace(params=best))
    return report


def _start(fitted: Labelled, settings: EncoderSettings) -> tuple[LoadedEncoder, EncoderTokenizer]:
    """The checkpoint to start from, or a fresh encoder with a tokenizer of these texts."""
    labels = fitted.labels or ("score",)
    if settings.start:
        loaded = load_encoder(settings.start, labels, cast(Dtype, settings.dtype), settings.seed)
        return loaded._replace(regression=settings.regression), EncoderTokenizer.load(settings.start)
    tokenizer = EncoderTokenizer.train(fitted.texts, settings.vocab_size)
    config = EncoderConfig(
        vocab_size=-(-tokenizer.vocab_size // 128) * 128,
        embed=settings.embed,
        num_layers=settings.num_layers,
        num_heads=settings.num_heads,
        mlp=settings.mlp,
        max_positions=settings.max_tokens,
        num_labels=len(labels),
        dtype=cast(Dtype, settings.dtype),
    )
    params = jax.jit(EncoderFunction(config).init)(jax.random.key(settings.seed))
    params = jax.tree.map(np.asarray, params)
    return LoadedEncoder(config, params, labels, "bert", settings.regression, ("all",)), tokenizer


def _best_params(
    classifier: Classifier,
    fitted: Labelled,
    held: Labelled,
    settings: EncoderSettings,
    mean: float,
    spread: float,
    tell: Callable[[str], None],
) -> tuple[dict[str, Any], list[dict[str, float]], dict[str, float]]:
    """The parameters of the epoch with the least held-out loss, on the host, and what each epoch came to.

    Also what a fresh head on the layers as they came came to; {}: none was fitted.
    """
    sequences, owners = classifier.sequences(fitted.texts)
    targets = fitted.targets[owners]
    held_sequences, held_owners = classifier.sequences(held.texts)

    def judged() -> dict[str, float]:
        found_TC = classifier.outputs_of(held_sequences, held_owners, len(held.texts)) * spread + mean
        return _held_out(found_TC, held)

    best: dict[str, Any] = {}
    least, since, head_alone = np.inf, 0, dict[str, float]()
    if "head" in classifier.encoder.fresh:
        held_targets = (held.targets - mean) / spread if settings.regression else held.targets
        _fit_head(classifier, sequences, targets, held_sequences, held_targets[held_owners], settings)
        best, head_alone = jax.device_get(classifier.params), judged()
        least = head_alone["loss"]
        tell("the head alone: " + _in_words(head_alone))
    steps = settings.epochs * -(-len(sequences) // settings.batch)
    state, step = _stepper(classifier, _optimizer(settings, steps), settings)
    epochs: list[dict[str, float]] = []
    for number in range(settings.epochs):
        seed = settings.seed * 1_000_003 + number
        state, loss = _epoch(classifier, state, step, sequences, targets, settings.batch, seed)
        classifier.params = state.params
        epochs.append({"train_loss": loss, **judged()})
        tell(f"epoch {number + 1}: " + _in_words(epochs[-1]))
        since += 1
        if epochs[-1]["loss"] < least:
            best, least, since = jax.device_get(state.params), epochs[-1]["loss"], 0
        if since >= settings.patience:
            break
    if not best:
        raise DataError("training came to no finite loss: lower learning_rate")
    return best, epochs, head_alone


def _in_words(told: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.4f}" for key, value in told.items())


def _fit_head(
    classifier: Classifier,
    sequences: list[list[int]],
    targets: np.ndarray,
    held_sequences: list[list[int]],
    held_targets: np.ndarray,
    settings: EncoderSettings,
) -> None:
    """Gives a classifier the head that suits its layers as they are."""
    seen, held = classifier.pooled_of(sequences), classifier.pooled_of(held_sequences)
    labels = classifier.encoder.config.num_labels
    head = probe.fit_head(seen, targets, held, held_targets, labels, settings.regression, settings.seed)
    classifier.params = {**classifier.params, "head": jax.device_put(head, classifier.splits["head"])}


def _epoch(
    classifier: Classifier,
    state: _State,
    step: Callable[..., tuple[_State, jax.Array]],
    sequences: list[list[int]],
    targets: np.ndarray,
    batch_rows: int,
    seed: int,
) -> tuple[_State, float]:
    """The state after every sequence was seen once, and the mean loss of the steps."""
    losses = []
    pad_id = classifier.encoder.config.pad_id
    with jax.set_mesh(classifier.mesh):
        for batch in buckets.epoch(sequences, classifier.max_tokens, batch_rows, pad_id, seed):
            rows = np.resize(batch.rows, batch_rows)  # a short batch's empty rows weigh nothing
            weights = (np.arange(batch_rows) < len(batch.rows)).astype(np.float32)
            state, loss = step(state, batch.tokens_BS, batch.mask_BS, targets[rows], weights)
            losses.append(loss)
    return state, float(np.mean([float(loss) for loss in losses]))


def _held_out(found_TC: np.ndarray, held: Labelled) -> dict[str, float]:
    """The loss by which epochs are chosen: squared error, or cross-entropy at the temperature that is best for it."""
    if not held.labels:
        return {"loss": float(np.mean((found_TC[:, 0] - held.targets) ** 2))}
    heat = measures.temperature(found_TC, held.targets)
    return {
        "loss": measures.cross_entropy(found_TC / heat, held.targets),
        "accuracy": measures.accuracy(found_TC, held.targets),
    }


def _optimizer(settings: EncoderSettings, steps: int) -> optax.GradientTransformation:
    """AdamW with a linear rise and fall of the learning rate, matrices decaying (Devlin et al., 2019, A.2)."""
    rise = max(round(settings.warmup_share * steps), 1)
    schedule = optax.join_schedules(
        [
            lambda count: settings.learning_rate * (count + 1) / rise,  # the first step learns already
            optax.linear_schedule(settings.learning_rate, 0.0, max(steps - rise, 1)),
        ],
        [rise],
    )

    def decays(params: Any) -> Any:
        names = ("scale", "bias")
        return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key not in names, params)

    adamw = optax.adamw(schedule, weight_decay=settings.weight_decay, mask=decays)
    return optax.chain(optax.clip_by_global_norm(settings.clip_norm), adamw)


def _stepper(
    classifier: Classifier, tx: optax.GradientTransformation, settings: EncoderSettings
) -> tuple[_State, Callable[..., tuple[_State, jax.Array]]]:
    """The first state, and the compiled update, which takes the old state's memory."""
    function, mesh = classifier.function, classifier.mesh
    optimizer = optimizer_shardings(mesh, tx, function.abstract_params(), classifier.splits)
    splits, batch = _State(classifier.splits, optimizer, replicated(mesh)), rows_sharding(mesh)

    def update(state: _State, tokens_BS, mask_BS, targets_B, weights_B) -> tuple[_State, jax.Array]:
        keys = jax.random.split(jax.random.fold_in(jax.random.key(settings.seed), state.step))

        def loss_fn(params: Any) -> jax.Array:
            encoder = function.bind(params)
            outputs_BC = encoder.logits(encoder(tokens_BS, mask_BS, key=keys[0]), keys[1])
            if settings.regression:
                losses_B = jnp.square(outputs_BC[:, 0] - targets_B)
            else:
                losses_B = optax.softmax_cross_entropy_with_integer_labels(outputs_BC, targets_B)
            return jnp.sum(losses_B * weights_B) / jnp.sum(weights_B)

        loss, grads = jax.value_and_grad(loss_fn)(state.params)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        return _State(optax.apply_updates(state.params, updates), opt_state, state.step + 1), loss

    # A copy: the classifier's own parameters must outlive the first update, which takes the state's memory.
    params = jax.jit(partial(jax.tree.map, jnp.copy), out_shardings=classifier.splits)(classifier.params)
    opt_state = jax.jit(tx.init, out_shardings=optimizer)(params)
    step = jax.jit(
        update,
        in_shardings=(splits, batch, batch, batch, batch),
        out_shardings=(splits, replicated(mesh)),
        donate_argnums=0,
    )
    return _State(params, opt_state, jax.device_put(jnp.int32(0), replicated(mesh))), step
