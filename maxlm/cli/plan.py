"""`maxlm plan --params=10B`, `--tokens=1T`, `--chips=100 --chip=a100 --days=30` …: the rest of a run"""

import argparse
import dataclasses
import json
import subprocess
import sys
from typing import Any

from maxlm import config as configs
from maxlm.cli.plan_table import show
from maxlm.config import Overrides
from maxlm.errors import ConfigError
from maxlm.models import cost
from maxlm.models.config import ModelConfig
from maxlm.parallel.mesh import MESH_AXES, MeshConfig, mesh_shape
from maxlm.paths import as_path, write_atomic
from maxlm.scaling import answer
from maxlm.scaling.law_file import read_law
from maxlm.scaling.laws import DEFAULT, LAWS, law
from maxlm.scaling.plan import Known, Plan, solve
from maxlm.scaling.suggest import Wishes, batch_tokens, config_file, learning_rate, suggest
from maxlm.train.config import Config

_REMAT_FROM = 1e9  # parameters
_LEFT_TO_THE_COMPILER = 0.85  # share of a device's memory that an estimate may fill
_SUFFIXES = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_KNOWN = {
    "params": "parameters N",
    "tokens": "tokens D, repetitions counted",
    "flops": "compute C, FLOPs of the model",
    "loss": "target loss, nats per token",
    "chips": "number of chips",
    "days": "time",
    "mfu": "model FLOPs utilisation, 0 to 1",
    "tokens-per-s": "throughput of all chips together",
    "unique-tokens": "tokens there are; more are repetitions",
    "price": "of a chip for an hour",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    known = parser.add_argument_group("what is known; any sufficient part (numbers like 10B, 1.5T, 3e23)")
    for name, meaning in _KNOWN.items():
        known.add_argument(f"--{name}", type=number, metavar="X", help=meaning)
    known.add_argument("--chip", metavar="KIND", help="kind of chip: a100, h100, v5e, v5p … or jax's name for it")
    known.add_argument("--inference-gib", type=number, metavar="X", help="memory for weights and cache: the largest N")
    known.add_argument("--config", metavar="FILE[:ARGS]", help="a config file; its own parameters and FLOPs")
    known.add_argument("--law", default=DEFAULT, help=f"{', '.join(LAWS)} (default: %(default)s)")
    known.add_argument("--fit", metavar="FILE", help="a law of your own, as maxlm fit writes it, in place of --law")
    known.add_argument("--versus", type=number, metavar="N", help="a second number of parameters, beside the first")
    shape = parser.add_argument_group("training and use")
    shape.add_argument("--seq-len", type=int, default=4096, metavar="N", help="tokens of a row (default: %(default)s)")
    shape.add_argument(
        "--batch", type=int, metavar="ROWS", help="rows of a step; by default the config's, or DeepSeek's"
    )
    shape.add_argument("--mesh", default="", metavar="fsdp=8,tensor=2", help="devices along the axes of the mesh")
    shape.add_argument("--vocab", type=int, default=0, metavar="N", help="rows of the vocabulary; chosen by size")
    shape.add_argument("--serve", default="h100", metavar="KIND", help="the card to use it on (default: %(default)s)")
    shape.add_argument("--serve-batch", type=int, default=1, metavar="N", help="prompts at a time (default: 1)")
    shape.add_argument("--context", type=int, default=8192, metavar="N", help="tokens of each (default: %(default)s)")
    shape.add_argument("--weight-bits", type=int, default=16, metavar="N", help="of a weight in use (default: 16)")
    shape.add_argument("--cache-bits", type=int, default=16, metavar="N", help="of a cached number (default: 16)")
    out = parser.add_argument_group("output")
    out.add_argument("--suggest", metavar="FILE", help="write a config file of a well-proportioned model of that size")
    out.add_argument("--topology", metavar="SLICE", help="with --suggest: compile it for a TPU slice, as v5p:4x4x4")
    out.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def number(text: str) -> float:
    """A number as people type it: 10B, 1.5T, 300M, 1e23."""
    factor = _SUFFIXES.get(text[-1:], 1.0)
    try:
        return float(text[:-1] if text[-1:] in _SUFFIXES else text) * factor
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number like 10B, 1.5T or 3e23") from error


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    if arguments.topology and not arguments.suggest:
        raise ConfigError(
            "--topology compiles what --suggest=FILE writes; for a config of your own there is maxlm compile"
        )
    if arguments.suggest and arguments.config:
        raise ConfigError("--suggest writes a config of its own; leave --config out")
    chosen = read_law(arguments.fit) if arguments.fit else law(arguments.law)
    names = [field.name for field in dataclasses.fields(Known)]
    known = Known(**{name: getattr(arguments, name) for name in names})
    use = answer.Use(
        arguments.serve, arguments.serve_batch, arguments.context, arguments.weight_bits, arguments.cache_bits
    )
    if arguments.inference_gib is not None:
        if known.params is not None or arguments.config:
            raise ConfigError("--inference-gib says the largest N; leave --params and --config out")
        known = dataclasses.replace(known, params=answer.params_for_memory(arguments.inference_gib, use))
    if overrides and not arguments.config:
        raise ConfigError(f"--config.{overrides[0][0]}: name the config file that it changes (--config=FILE)")
    config = configs.load(arguments.config, overrides, Config) if arguments.config else None
    per_token = None
    if config is not None:
        if known.params is not None:
            raise ConfigError("--params and --config: a config has a size of its own; leave one out")
        if not config.model.vocab_size:
            raise ConfigError("config.model.vocab_size: say how large the vocabulary is; there is no data set to ask")
        known = dataclasses.replace(known, params=float(cost.num_params(config.model)))
        per_token = cost.train_flops_per_token(config.model, arguments.seq_len)
    plan = solve(known, chosen, per_token)
    if config is None and plan.chip and plan.chips is None:
        plan.assumptions.append("memory per device is not told without --chips or --mesh")
    mesh = _mesh(arguments.mesh, config, plan)
    model = config.model if config is not None else _shape(plan, mesh, arguments)
    if mesh is None and model is not None:
        mesh = _all_chips(plan, model)
    found = answer.of_run(plan)
    if arguments.versus:
        other = dataclasses.replace(known, params=arguments.versus, days=None, loss=None, flops=None, mfu=plan.mfu)
        found["versus"] = answer.of_versus(plan, solve(other, chosen))
    found["laws"] = answer.of_laws(plan.flops, known.unique_tokens)
    if model is not None and mesh is not None:
        training = _training(arguments, config, plan, model, mesh)
        found["model"] = answer.of_model(model, arguments.seq_len, plan.tokens)
        found["model"]["config"] = configs.to_dict(model)
        if arguments.mesh or config is not None or plan.chips:
            found["training_memory"] = answer.of_training(model, training, known.chip)
        found["inference"] = answer.of_use(model, use)
        if arguments.suggest:
            found["suggested"] = _write(arguments, plan, model, training)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        show(found, suggested=config is None)


def _shape(plan: Plan, mesh: dict[str, int] | None, arguments: argparse.Namespace) -> ModelConfig | None:
    """A model of that size; a run that none is asked of may be of any size."""
    ways = mesh or dict.fromkeys(MESH_AXES, 1)
    wishes = Wishes(arguments.vocab, ways["stage"], ways["tensor"], ways["fsdp"] * ways["context"])
    try:
        model = suggest(plan.params, wishes)
    except ConfigError as error:
        if arguments.suggest or arguments.mesh:
            raise
        plan.warnings.append(str(error))
        return None
    return dataclasses.replace(model, remat="full" if plan.params >= _REMAT_FROM else "none")


def _mesh(text: str, config: Config | None, plan: Plan) -> dict[str, int] | None:
    """Devices along each axis, as asked or as the config says over the chips; None: nothing is said."""
    sizes: dict[str, int] = dict.fromkeys(MESH_AXES, 1)
    if text:
        for part in text.split(","):
            axis, _, size = part.partition("=")
            if axis not in sizes or not size.isdigit() or int(size) < 1:
                raise ConfigError(f"--mesh={text}: axis=N,… of {', '.join(MESH_AXES)}; found {part!r}")
            sizes[axis] = int(size)
        return sizes
    if config is None or config.mesh == MeshConfig():
        return None
    return sizes | dict(zip(MESH_AXES, mesh_shape(config.mesh, _devices(plan)), strict=True))


def _all_chips(plan: Plan, model: ModelConfig) -> dict[str, int]:
    """All chips, as many of them as divide the width over fsdp and the rest over data."""
    chips = _devices(plan)
    fsdp = max(ways for ways in range(1, chips + 1) if chips % ways == 0 and model.embed % ways == 0)
    return {**dict.fromkeys(MESH_AXES, 1), "data": chips // fsdp, "fsdp": fsdp}


def _devices(plan: Plan) -> int:
    return max(int(plan.chips or 1), 1)


def _training(
    arguments: argparse.Namespace, config: Config | None, plan: Plan, model: ModelConfig, mesh: dict[str, int]
) -> answer.Training:
    """Batch as asked, as the config says, or by DeepSeek's law; then in as many parts as it takes to fit."""
    ways = mesh["data"] * mesh["fsdp"] * mesh["stage"]
    rows = arguments.batch or (
        config.train.batch if config else max(round(batch_tokens(plan.flops) / arguments.seq_len / ways), 1) * ways
    )
    if config is not None:
        return answer.Training(mesh, rows, arguments.seq_len, config.optimizer.name, config.train.accumulate)
    each, found = max(rows // ways, 1), answer.Training(mesh, rows, arguments.seq_len)
    for parts in range(1, each + 1):  # every device works off the same number of rows in each part
        found = dataclasses.replace(found, accumulate=parts)
        if each % parts == 0 and (
            not plan.chip or answer.of_training(model, found, plan.chip)["share"] < _LEFT_TO_THE_COMPILER
        ):
            return found
    plan.warnings.append("does not fit these chips with one row at a time on each: more chips, or --mesh with tensor")
    return found


def _write(arguments: argparse.Namespace, plan: Plan, model: ModelConfig, training: answer.Training) -> dict[str, Any]:
    """Writes the config file, reads it as `maxlm train` would, and compiles it where a slice is named."""
    settings: dict[str, object] = {
        **{f"mesh.{axis}": size for axis, size in training.mesh.items() if axis != "fsdp" and size > 1},
        "train.batch": training.batch,
        **({"train.accumulate": training.accumulate} if training.accumulate > 1 else {}),
        "optimizer.learning_rate": float(f"{learning_rate(plan.flops):.2g}"),
    }
    title = (
        f"{cost.num_params(model):,} parameters for {plan.tokens:.4g} tokens ({plan.flops:.3g} FLOPs), by maxlm plan."
        "\n\n"
        f"Rows of {training.seq_len} tokens; batch and learning rate by DeepSeek's laws for that compute. Set\n"
        "config.data.dataset and config.data.num_blocks before training.\n"
    )
    path = as_path(arguments.suggest)
    write_atomic(path, config_file(model, title, settings))
    config = configs.load(str(path), [], Config)
    found: dict[str, Any] = {"file": str(path), "parameters": cost.num_params(config.model)}
    if arguments.topology:
        found["topology"] = arguments.topology
        found["memory_share"] = _compiled_share(str(path), arguments.topology, arguments.seq_len)
    return found


def _compiled_share(config: str, topology: str, seq_len: int) -> float:
    """Share of a device's memory that the step takes, by `maxlm compile` in a process of its own."""
    line = [f"--config={config}", f"--topology={topology}", f"--seq-len={seq_len}", "--json"]
    done = subprocess.run([sys.executable, "-m", "maxlm.cli.main", "compile", *line], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ConfigError(f"{config} is written; compiling it: {said[-1].removeprefix('error: ')}")
    found = json.loads(done.stdout)
    return found["peak_gib"] / found["memory_gib"]
