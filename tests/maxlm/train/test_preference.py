"""Losses of pairs of answers: the formulas of the papers, on any mesh, and runs that resume where they were."""

import dataclasses
import functools
import itertools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.blocks.format import PADDING_DOMAIN, to_batch
from maxlm.blocks.reader import BlockStore
from maxlm.errors import CheckpointError, ConfigError, DataError
from maxlm.eval.perplexity import Validation
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.parallel.mesh import batch_sharding
from maxlm.parallel.sharding import param_shardings
from maxlm.train.checkpoint import Checkpoints
from maxlm.train.config import (
    BranchSettings,
    CheckpointConfig,
    Config,
    DataSettings,
    OptimizerConfig,
    ScheduleConfig,
    TrainSettings,
)
from maxlm.train.loop import train
from maxlm.train.optimizer import optimizer_for
from maxlm.train.state import abstract_state, begin_state
from maxlm.train.step import batch_loss, make_train_step
from tests import tiny
from tests.synthetic import make_dataset, make_pairs

MODEL = DecoderFunction(tiny.model())
BATCH, ROW = 8, 25
SETTINGS = TrainSettings(batch=BATCH, loss="dpo", beta=0.3, label_smoothing=0.1)
KINDS = {
    "dpo": TrainSettings(loss="dpo", beta=0.3),
    "smoothed": SETTINGS,
    "ipo": TrainSettings(loss="ipo", beta=0.3),
}


def pairs(seed=0, rows=BATCH):
    return make_pairs(np.random.default_rng(seed), rows, ROW, tiny.VOCAB)


@functools.cache
def params(seed):
    return jax.tree.map(lambda leaf: 3 * leaf, MODEL.init(jax.random.key(seed)))


def log_softmax(logits):
    top = logits - logits.max(axis=-1, keepdims=True)
    return top - np.log(np.exp(top).sum(axis=-1, keepdims=True))


@jax.jit
def logits_of(params, tokens):
    decoder, places = MODEL.bind(params), jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return decoder.logits(decoder(tokens, places, jnp.ones_like(tokens))[0])


def expected(rows, settings):
    """The mean loss, margin and share of pairs in order, from each answer in a row of its own; as trl's trainer."""
    alone, learnt = [], []
    for tokens, starts, learn, domains in zip(*rows, strict=True):
        held = int((domains != PADDING_DOMAIN).sum())
        for begin, end in itertools.pairwise([*np.flatnonzero(starts).tolist(), held]):
            alone.append(np.pad(tokens[begin:end], (0, ROW - (end - begin))))
            learnt.append(np.pad(learn[begin:end], (0, ROW - (end - begin))))
    alone, learnt = np.array(alone), np.array(learnt)[:, 1:]
    sums = []
    for seed in (0, 1):
        logp = log_softmax(np.asarray(logits_of(params(seed), jnp.asarray(alone, jnp.int32)), np.float64))
        of_next = np.take_along_axis(logp[:, :-1], alone[:, 1:, None], axis=-1)[..., 0]
        sums.append((of_next * learnt).sum(axis=1))
    ratios = sums[0] - sums[1]
    margins = settings.beta * (ratios[::2] - ratios[1::2])
    if settings.loss == "ipo":
        ratios = ratios / learnt.sum(axis=1)
        losses = (ratios[::2] - ratios[1::2] - 1 / (2 * settings.beta)) ** 2
    else:
        smoothed = settings.label_smoothing
        losses = (1 - smoothed) * np.log1p(np.exp(-margins)) + smoothed * np.log1p(np.exp(margins))
    likelier = (sums[0][::2] > sums[0][1::2]).mean()
    return losses.mean(), margins.mean(), (margins > 0).mean(), len(losses), likelier


@pytest.mark.parametrize("kind", KINDS)
def test_formulas(kind, one_device):
    settings, rows = KINDS[kind], pairs(rows=3)
    with jax.set_mesh(one_device):
        compared = jax.jit(lambda now, before: batch_loss(MODEL, now, to_batch(rows), settings, reference=before))
        found = compared(params(0), params(1))
        loss, margin, accuracy, count, _ = expected(rows, settings)
    assert count > 5
    np.testing.assert_allclose(found.loss, loss, rtol=1e-5)
    sums, counts = np.array(list(found.figures.values())).T
    figures = dict(zip(found.figures, sums / counts, strict=True))
    assert set(counts) == {count}
    np.testing.assert_allclose(figures["rewards/margin"], margin, rtol=1e-4)
    np.testing.assert_allclose(figures["rewards/accuracy"], accuracy)
    np.testing.assert_allclose(figures["rewards/chosen"] - figures["rewards/rejected"], margin, rtol=1e-4)


@pytest.mark.parametrize("kind", ["smoothed", "ipo"])
def test_of_held_out_pairs(kind, one_device, tmp_path):
    store = BlockStore(make_dataset(tmp_path, blocks=1, pairs=True, seq_len=ROW - 1, validation_rows=11))
    config = Config(model=tiny.model(), train=dataclasses.replace(KINDS[kind], batch=4, eval_rows=0))
    rows = make_pairs(np.random.default_rng([0, 10_000]), 11, ROW, tiny.VOCAB)
    with jax.set_mesh(one_device):
        validation = Validation(config, store, MODEL, one_device, np.ones(tiny.VOCAB, np.int64))
        found, again = validation(params(0), params(1)), validation(params(1), params(1))
        loss, margin, accuracy, count, likelier = expected(rows, config.train)
        alone = Validation(config, store, MODEL, one_device, np.ones(tiny.VOCAB, np.int64))(params(0))
    assert count > 20
    assert 0 < likelier < 1
    np.testing.assert_allclose(found["validation/pairs/loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(found["validation/rewards/margin"], margin, rtol=1e-4)
    np.testing.assert_allclose(found["validation/rewards/accuracy"], accuracy)
    np.testing.assert_allclose(found["validation/pairs/likelier"], likelier)
    assert again["validation/rewards/margin"] == 0  # beside itself
    assert alone["validation/pairs/likelier"] == found["validation/pairs/likelier"]
    assert not any("rewards" in name for name in alone)  # there is nothing to compare with


def plainly(now, reference, batch, settings):
    """The loss as one would write it down, for autodiff: all logits, and a mask for each segment."""

    def sums(params):
        decoder = MODEL.bind(params)
        logits = decoder.logits(decoder(batch.inputs, batch.positions, batch.segments)[0])
        logp = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.targets[..., None], axis=-1)[..., 0]
        masks = batch.weights * (batch.segments == jnp.arange(1, ROW)[:, None, None])
        return (logp * masks).sum(-1), masks.sum(-1)

    (policy, tokens), (before, _) = sums(now), sums(reference)
    there = jnp.any(batch.segments == jnp.arange(2, ROW, 2)[:, None, None], axis=-1)
    ratio = policy - before
    if settings.loss == "ipo":
        ratio = ratio / jnp.maximum(tokens, 1)
    margin = ratio[0::2] - ratio[1::2]
    if settings.loss == "ipo":
        losses = (margin - 1 / (2 * settings.beta)) ** 2
    else:
        smoothed = settings.label_smoothing
        up, down = jax.nn.log_sigmoid(settings.beta * margin), jax.nn.log_sigmoid(-settings.beta * margin)
        losses = -(1 - smoothed) * up - smoothed * down
    return jnp.where(there, losses, 0).sum() / there.sum()


@pytest.mark.parametrize("kind", ["smoothed", "ipo"])
def test_gradients(kind, one_device):
    settings, batch = dataclasses.replace(KINDS[kind], loss_chunks=2), to_batch(pairs())
    with jax.set_mesh(one_device):
        loss = jax.grad(lambda now, before: batch_loss(MODEL, now, batch, settings, reference=before).loss)
        ours = jax.jit(loss)(params(0), params(1))
        theirs = jax.jit(jax.grad(lambda now, before: plainly(now, before, batch, settings)))(params(0), params(1))
    for (path, a), b in zip(jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        assert np.linalg.norm(a - b) < 1e-4 * np.linalg.norm(b), jax.tree_util.keystr(path)


def steps(settings, mesh, count=2, **optimizer):
    config = Config(model=tiny.model(), train=settings, optimizer=OptimizerConfig(**optimizer))
    tx = optimizer_for(config, lambda _: 1e-2)
    start = jax.device_put(jax.device_get(params(0)), param_shardings(mesh, MODEL.param_axes()))
    with jax.set_mesh(mesh):
        begun = begin_state(start, MODEL, tx, mesh, 0)
        step = make_train_step(MODEL, tx, lambda _: 1e-2, settings, mesh, num_domains=2)
        found = []
        for seed in range(count):
            begun, metrics = step(begun, jax.device_put(to_batch(pairs(seed)), batch_sharding(mesh)), NO_LIMITS)
            found.append(jax.device_get(metrics))
    return begun, found


def test_a_mesh_of_eight_accumulation_and_one_device_agree():
    (one, expected), (eight, found), (parts, summed) = (
        steps(SETTINGS, tiny.one_device()),
        steps(SETTINGS, tiny.mesh(data=2, fsdp=4)),
        steps(dataclasses.replace(SETTINGS, accumulate=4), tiny.one_device()),
    )
    assert float(expected[0]["loss"]) == pytest.approx(np.log(2), rel=1e-5)  # it begins as its own reference
    assert float(expected[1]["figures"]["rewards/margin"][0]) != 0
    for other in (found, summed):
        for ours, theirs in zip(other, expected, strict=True):
            for name in ("loss", "grad_norm"):
                np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4)
            for name, figure in theirs["figures"].items():
                if name == "rewards/accuracy" and theirs is expected[0]:
                    continue  # of margins that are zero, but for rounding
                np.testing.assert_allclose(ours["figures"][name], figure, rtol=1e-3, atol=1e-5)
    for state in (eight, parts):
        for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(one.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)


def test_with_adapters_the_reference_is_no_more_than_what_they_change():
    state, (first, second) = steps(
        TrainSettings(batch=BATCH, loss="dpo"), tiny.one_device(), lora_rank=2, lora_on=("query",)
    )
    (reference,) = jax.tree.leaves(state.opt_state[-1].reference)
    np.testing.assert_array_equal(reference, params(0)["layers"]["attention"]["query"])
    assert float(first["loss"]) == pytest.approx(np.log(2), rel=1e-5)
    assert np.abs(second["figures"]["rewards/margin"]).max() > 1e-4  # the model has moved away from it


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A pretrained run, and a run of preferences that began with it: (config, its folder)."""
    folder = tmp_path_factory.mktemp("preferences")
    text, both = make_dataset(folder / "text", blocks=1), make_dataset(folder / "pairs", blocks=2, pairs=True)
    base = Config(
        model=tiny.model(vocab_size=0),
        data=DataSettings(text, num_blocks=1, wait_s=0.0),
        schedule=ScheduleConfig(warmup_share=0.0),
        train=TrainSettings(batch=BATCH, log_every=1, peak_flops=1e12),
    )
    train(base, folder / "base", BlockStore(text), devices=jax.devices()[:1])
    config = dataclasses.replace(
        base,
        data=DataSettings(both, num_blocks=2, wait_s=0.0),
        train=dataclasses.replace(base.train, loss="dpo"),
        checkpoint=CheckpointConfig(every_steps=1),
        branch=BranchSettings(run=str(folder / "base"), fresh=True),
    )
    train(config, folder / "dpo", BlockStore(both), devices=jax.devices()[:1])
    return config, folder / "dpo"


def state_of(config, workdir):
    config = dataclasses.replace(config, model=tiny.model())
    checkpoints = Checkpoints(workdir)
    tx = optimizer_for(config, lambda _: 0.0)
    state = checkpoints.restore(checkpoints.steps()[-1], abstract_state(MODEL, tx, tiny.one_device()))
    checkpoints.close()
    return state


def test_a_run_that_was_killed_ends_in_the_same_bits(tuned, tmp_path):
    config, workdir = tuned
    killed = tmp_path / "killed"
    shutil.copytree(workdir, killed)
    for path in (killed / "checkpoints").iterdir():
        if int(path.name) > 1:  # in the middle of the first block
            shutil.rmtree(path)
    train(config, killed, BlockStore(config.data.dataset), devices=jax.devices()[:1])
    tiny.assert_equal(state_of(config, killed), state_of(config, workdir))


def test_what_a_run_shows(tuned):
    _, workdir = tuned
    lines = [json.loads(line) for line in (workdir / "metrics" / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "rewards/accuracy" in line]
    assert len(lines) == 4
    assert lines[0]["loss"] == pytest.approx(np.log(2), rel=1e-5)
    for line in lines:
        assert 0 <= line["rewards/accuracy"] <= 1
        assert line["rewards/chosen"] - line["rewards/rejected"] == pytest.approx(line["rewards/margin"], abs=1e-6)


def test_a_branch_with_another_loss_begins_anew(tuned, tmp_path):
    config, _ = tuned
    config = dataclasses.replace(config, branch=dataclasses.replace(config.branch, fresh=False))
    with pytest.raises(CheckpointError, match=r"what the optimizer keeps has changed .*--from=RUN --fresh"):
        train(config, tmp_path / "run", BlockStore(config.data.dataset), devices=jax.devices()[:1])


def test_pairs_for_text_and_text_for_pairs(tuned, tmp_path):
    config, _ = tuned
    text = dataclasses.replace(config, train=dataclasses.replace(config.train, loss="next_token"))
    with pytest.raises(DataError, match=r"block-00000: holds pairs of answers, of which only config.train.loss='dpo'"):
        train(text, tmp_path / "a", BlockStore(config.data.dataset), devices=jax.devices()[:1])
    dataset = make_dataset(tmp_path / "text", blocks=2)
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, dataset=dataset))
    with pytest.raises(DataError, match=r"block-00000: holds no pairs of answers, which config.train.loss='dpo'"):
        train(other, tmp_path / "b", BlockStore(dataset), devices=jax.devices()[:1])


@pytest.mark.parametrize(
    "settings", [{"beta": 0.0}, {"label_smoothing": 0.5}, {"loss": "dpo", "z_loss": 1e-4}, {"label_smoothing": -0.1}]
)
def test_settings_that_can_not_be(settings):
    with pytest.raises(ConfigError, match=r"config.train"):
        Config(train=TrainSettings(**settings))
