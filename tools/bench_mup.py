"""Whether widths and depths transfer under model.mup_base_embed and mup_base_layers: two checks and a picture.

    python tools/bench_mup.py --check                       # how far activations move in a few steps; a minute
    python tools/bench_mup.py --data=DATA --out=docs/mup.png  # and the best learning rate, by width; minutes

DATA is a data set for configs/proxy.py. The second takes the runs of configs/sweeps/mup.py, in --sweep, which goes on
where it stopped. "Standard": the same config without these keys, one learning rate for all matrices.

muP: Yang et al., 2022 (arXiv 2203.03466). CompleteP: Dey et al., 2025 (arXiv 2505.01618).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx

from maxlm.models import rope
from maxlm.models.config import ModelConfig
from maxlm.models.decoder import Decoder, DecoderFunction
from maxlm.models.layers import Places
from maxlm.train.config import OptimizerConfig
from maxlm.train.optimizer import make_optimizer

BASE, BASE_LAYERS = 32, 2  # at which both parametrisations are the same
WIDTHS, DEPTHS, STEPS, RATE = (32, 64, 128, 256), (2, 4, 8), 5, 3e-3
NAMES = {"mup": "muP", "standard": "standard"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only the activations")
    parser.add_argument("--data", help="a data set for configs/proxy.py")
    parser.add_argument("--sweep", default="runs/mup")
    parser.add_argument("--out", default="mup.png")
    args = parser.parse_args()
    by_width = {kind: changes([model(w, transfer=kind == "mup") for w in WIDTHS], steps=STEPS) for kind in NAMES}
    by_depth = {kind: changes([model(layers=n, transfer=kind == "mup") for n in DEPTHS], steps=STEPS) for kind in NAMES}
    for what, sizes, found in (("width", WIDTHS, by_width), ("depth", DEPTHS, by_depth)):
        for kind, moved in found.items():
            powers = ", ".join(f"{name} {growth(sizes, moved[name]):+.2f}" for name in moved)
            print(f"{NAMES[kind]}: change after {STEPS} steps, as a power of the {what}: {powers}")
    if args.check:
        return 0
    if not args.data:
        parser.error("--data is needed, or --check")
    command = ["maxlm", "sweep", f"--sweep=configs/sweeps/mup.py:{args.data}", f"--workdir={args.sweep}"]
    subprocess.run([str(Path(sys.executable).with_name(command[0])), *command[1:]], check=True)
    losses = losses_by_rate(Path(args.sweep) / "results.jsonl")
    for (kind, width), by_rate in losses.items():
        best = min(by_rate, key=lambda rate: by_rate[rate])
        row = "  ".join(f"{rate:g}: {loss:.3f}" for rate, loss in by_rate.items())
        print(f"{NAMES[kind]:9}width {width:4}  {row}  best {best:g}")
    draw(by_width, losses, args.out)
    return 0


def losses_by_rate(results: Path) -> dict[tuple[str, int], dict[float, float]]:
    """(parametrisation, width) -> learning rate -> held-out loss; at the base width the same for both."""
    found: dict[tuple[str, int], dict[float, float]] = {}
    for line in results.read_text().splitlines():
        row = json.loads(line)
        kind, width = row["size"].split("-")
        for which in NAMES if int(width) == BASE else (kind,):
            found.setdefault((which, int(width)), {})[row["learning_rate"]] = row["loss"]
    return {key: dict(sorted(found[key].items())) for key in sorted(found)}


def draw(moved: dict[str, dict[str, np.ndarray]], losses: dict[tuple[str, int], dict[float, float]], out: str) -> None:
    """Above: how far activations move, by width; below: loss by learning rate, a line for each width."""
    figure, panels = plt.subplots(2, 2, figsize=(9, 6.4), sharey="row", layout="constrained")
    for (kind, title), above, below in zip(NAMES.items(), *panels, strict=True):
        for name, sizes in moved[kind].items():
            above.plot(WIDTHS, sizes[-1], "o-", markersize=3, label=name)
        above.set(xscale="log", yscale="log", xlabel="width", title=f"{title}: change after {STEPS} steps")
        above.set_xticks(WIDTHS, [str(width) for width in WIDTHS], minor=False)
        above.minorticks_off()
        for (which, width), by_rate in losses.items():
            if which == kind:
                (line,) = below.plot(list(by_rate), list(by_rate.values()), "o-", markersize=3, label=f"width {width}")
                best = min(by_rate, key=lambda rate: by_rate[rate])
                below.plot([best], [by_rate[best]], "*", markersize=13, color=line.get_color())
        below.set(xscale="log", xlabel="learning rate", title=f"{title}: loss by learning rate")
    panels[0][0].set_ylabel("root mean square")
    panels[1][0].set_ylabel("held-out loss, nats per token")
    for panel in (panels[0][0], panels[1][0]):
        panel.legend(frameon=False, fontsize=8)
    figure.savefig(out, dpi=110)
    plt.close(figure)


def changes(models: Sequence[ModelConfig], *, steps: int, rate: float = RATE) -> dict[str, np.ndarray]:
    """How far activations have moved from where they began, `[steps, models]` for each part that all models have.

    The root of the mean square over batch, positions and width, after each step of AdamW on one batch of tokens drawn
    at random. What grows with the width or depth would need another learning rate.
    """
    found = [_changes(model, steps, rate) for model in models]
    names = [name for name in found[0] if all(name in one for one in found)]
    return {name: np.stack([one[name] for one in found], axis=1) for name in names}


def growth(sizes: Sequence[int], moved: np.ndarray) -> float:
    """The power of the width, or depth, with which the last step's changes grow."""
    return float(np.polyfit(np.log(sizes), np.log(moved[-1]), 1)[0])


def model(width: int = BASE, layers: int = BASE_LAYERS, *, transfer: bool) -> ModelConfig:
    heads = width // 16
    return ModelConfig(
        vocab_size=128, embed=width, num_layers=layers, num_heads=heads, num_kv_heads=heads, head_dim=16, mlp=2 * width,
        init_std=0.1, mup_base_embed=BASE * transfer, mup_base_layers=BASE_LAYERS * transfer,
    )  # fmt: skip


def _changes(config: ModelConfig, steps: int, rate: float) -> dict[str, np.ndarray]:
    decoder = DecoderFunction(config)
    params = decoder.init(jax.random.key(0))
    tokens_BT = jax.random.randint(jax.random.key(1), (4, 33), 0, config.vocab_size)
    settings = OptimizerConfig(learning_rate=rate, weight_decay=0.0)
    tx = make_optimizer(settings, optax.constant_schedule(rate), config.width_multiplier)

    def loss(params):
        logits_BTV = activations(decoder.bind(params), tokens_BT[:, :-1])["logits"]
        return optax.softmax_cross_entropy_with_integer_labels(logits_BTV, tokens_BT[:, 1:]).mean()

    @jax.jit
    def step(params, state):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    @jax.jit
    def change(params, first):
        now = activations(decoder.bind(params), tokens_BT[:, :-1])
        return {name: jnp.sqrt(jnp.mean((now[name] - first[name]) ** 2)) for name in now}

    first, state, found = activations(decoder.bind(params), tokens_BT[:, :-1]), tx.init(params), []
    for _ in range(steps):
        params, state = step(params, state)
        found.append(change(params, first))
    return {name: np.array([float(one[name]) for one in found]) for name in first}


def activations(decoder: Decoder, tokens_BT: jax.Array) -> dict[str, jax.Array]:
    """What each part of the model makes of the tokens, each row one document."""
    config = decoder.config
    positions_BT = jnp.broadcast_to(jnp.arange(tokens_BT.shape[1]), tokens_BT.shape)
    angles = rope.angles(positions_BT, tokens_BT.shape[1], config.head_dim, config.rope_base, config.rope_scaling)
    places = Places(positions_BT, jnp.ones_like(tokens_BT), angles)
    x_BTD = decoder.embedding[...][tokens_BT]
    graph, layers = nnx.split(decoder.layers)
    found = {"embedding": x_BTD}
    for i in range(config.num_layers):
        block = nnx.merge(graph, jax.tree.map(lambda leaf, i=i: leaf[i], layers))
        attended_BTD, _ = block.attention(block.attention_norm(x_BTD), places, None)
        attended_BTD = block.share * attended_BTD
        x_BTD = x_BTD + attended_BTD
        made_BTD = block.share * block.mlp(block.mlp_norm(x_BTD))
        x_BTD = x_BTD + made_BTD
        found |= {f"attention {i}": attended_BTD, f"MLP {i}": made_BTD}
    hidden_BTD, _ = decoder(tokens_BT, positions_BT, places.segments)
    return {**found, "stream": x_BTD, "logits": decoder.logits(hidden_BTD)}


if __name__ == "__main__":
    sys.exit(main())
