"""`maxlm train --config=configs/X.py --workdir=RUN [--config.a.b=v …]`"""

import argparse
import json
import os
import time
from contextlib import nullcontext

import jax
from jax.sharding import Mesh

from maxlm import config as configs
from maxlm.blocks.reader import BlockStore
from maxlm.config import Overrides
from maxlm.errors import ConfigError, DataError, naming_full_disk
from maxlm.eval.perplexity import Validation
from maxlm.eval.suite import Suite
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.clock import Clock, process_age_s
from maxlm.parallel import xla_flags
from maxlm.parallel.distributed import Group, initialize, leaving_at_once
from maxlm.paths import PathLike, as_path
from maxlm.report.goodput import goodput_of
from maxlm.tokenizer.base import INFO_FILE
from maxlm.tokenizer.load import copy_tokenizer, load_tokenizer
from maxlm.train.checkpoint import quieten_failed_saves
from maxlm.train.config import Config
from maxlm.train.hardware import keep_freed_memory
from maxlm.train.history import run_folder
from maxlm.train.origin import has_checkpoints, with_model_of_origin
from maxlm.train.recovery import train_and_recover
from maxlm.train.run import Evaluate

_POLL_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", required=True, metavar="FILE[:ARGS]", help="a config file, e.g. configs/quickstart.py"
    )
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run; the same one goes on")
    parser.add_argument(
        "--from", dest="branch", metavar="RUN", help="go on from another run's checkpoint, in this folder of its own"
    )
    parser.add_argument("--from-step", type=int, metavar="S", help="with --from: its checkpoint; the newest by default")
    parser.add_argument("--stage", metavar="NAME", help="with --from: the stage of config.stages to begin with")
    parser.add_argument(
        "--fresh", action="store_true", help="with --from: the parameters alone; steps and optimizer begin anew"
    )
    group = parser.add_argument_group("several processes", "found on TPU slices, in SLURM and in Open MPI")
    group.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 runs, with a free port there")
    group.add_argument("--num-processes", type=int, metavar="N", help="how many there are")
    group.add_argument("--process-id", type=int, metavar="I", help="which of them this is, from 0")
    parser.add_argument("--print-config", action="store_true", help="print the resolved config and stop")
    parser.epilog = (
        "Any key of the config can be set: --config.model.num_layers=4 --config.data.dataset=DIR. "
        "Give the same command again to go on after a stop or a crash."
    )


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    config = configs.load(arguments.config, [*overrides, *_branch_overrides(arguments)], Config)
    # What was typed comes last: a key set to its default is meant as well.
    config = configs.with_overrides(with_model_of_origin(config, arguments.workdir), overrides)
    if arguments.print_config:
        print(json.dumps(configs.to_dict(config), indent=2))
        return
    for group, values in configs.to_dict(config).items():  # resolved: defaults, file and command line
        lines = values if isinstance(values, list) else [values]  # stages stand below one another
        for line in lines:
            print(f"{group:10s} " + " ".join(f"{key}={value}" for key, value in line.items()))
    if not config.data.dataset:
        raise ConfigError("config.data.dataset: name the data set to train on (--config.data.dataset=DIR)")
    clock = Clock(process_age_s())
    keep_freed_memory()
    xla_flags.apply()
    quieten_failed_saves()
    initialize(Group(arguments.coordinator, arguments.num_processes, arguments.process_id))
    with leaving_at_once():
        _train(config, arguments.workdir, clock)


def _train(config: Config, workdir: str, clock: Clock) -> None:
    first = jax.process_index() == 0  # the others share its folder
    lock = run_folder(workdir, f"{workdir}: this run is training already")
    with lock if first else nullcontext():
        with clock.spending("data_wait"):
            store = wait_for_dataset(config.data.dataset, config.data.wait_s)
        evaluator = make_validation if config.train.eval_every_blocks else None
        with naming_full_disk("a run", workdir):
            if first:
                keep_tokenizer(store, workdir, "" if has_checkpoints(workdir) else config.branch.run)
            train_and_recover(config, workdir, store, evaluator, clock=clock)
    if first and (account := goodput_of(workdir)):
        print(account.sentence())


def _branch_overrides(arguments: argparse.Namespace) -> Overrides:
    """--from and what belongs to it, as keys of the config, so that the run's config.json tells them."""
    given = {"step": arguments.from_step, "stage": arguments.stage, "fresh": arguments.fresh or None}
    given = {key: str(value) for key, value in given.items() if value is not None}
    if given and not arguments.branch:
        raise ConfigError("--from-step, --stage and --fresh need --from=RUN, the run to go on from")
    if not arguments.branch:
        return []
    run = os.fspath(as_path(arguments.branch).resolve())
    return [("branch.run", run), *((f"branch.{key}", value) for key, value in given.items())]


def wait_for_dataset(dataset: PathLike, wait_s: float) -> BlockStore:
    """Opens a data set, giving the data process time to begin it."""
    deadline = time.monotonic() + wait_s
    path = as_path(dataset)
    if not path.exists():
        raise DataError(
            f"{path}: no such data set; make one with maxlm-data (ingest, clean, dedup, tokenizer, produce)"
        )
    while not (path / "dataset.json").exists():
        if time.monotonic() > deadline:
            raise DataError(f"{path / 'dataset.json'}: not there after {wait_s:.0f} s; is maxlm-data produce running?")
        time.sleep(_POLL_S)
    return BlockStore(path)


def keep_tokenizer(store: BlockStore, workdir: PathLike, branch: PathLike = "") -> None:
    """Copies the data set's tokenizer into the run, so that the run's models can be used without the data.

    Raises:
      DataError: the tokenizer is not the one that the blocks were made with, or not the one that the run,
        or the one that it branches from, began with.
    """
    source, target = store.dataset / "tokenizer", as_path(workdir) / "tokenizer"
    found = load_tokenizer(source)
    if found.digest != store.info.tokenizer_digest:
        raise DataError(
            f"{source}: this tokenizer ({found.digest[:12]}) is not the one that the blocks were made with "
            f"({store.info.tokenizer_digest[:12]})"
        )
    if (target / INFO_FILE).exists() and load_tokenizer(target).digest != found.digest:
        raise DataError(
            f"{source}: not the tokenizer that {workdir} was begun with; go back to its data set, or train into a new "
            "--workdir"
        )
    if branch and load_tokenizer(as_path(branch) / "tokenizer").digest != found.digest:
        raise DataError(
            f"{source}: not the tokenizer of {branch}, which this run goes on from; its ids would not fit; if it "
            f"extends that one, go on from what maxlm resize --from={branch} --tokenizer={source} makes"
        )
    copy_tokenizer(source, target)


def make_validation(config: Config, store: BlockStore, model: DecoderFunction, mesh: Mesh, length: int) -> Evaluate:
    """The evaluation after a block: held-out loss and bits per byte, on rows of `length`, and benchmarks."""
    tokenizer = load_tokenizer(store.dataset / "tokenizer")
    validation = Validation(config, store, model, mesh, tokenizer.token_bytes(), length)
    if not config.train.benchmarks or mesh.shape["stage"] * mesh.shape["context"] > 1:
        return validation
    benchmarks = Suite(config, model, mesh, tokenizer, length)
    return lambda params, reference: validation(params, reference) | benchmarks(params)
