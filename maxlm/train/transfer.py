"""A run that begins with a model of others or with more tokens, and a run's model in a folder for others."""

import dataclasses
import os

import numpy as np

from maxlm import config as configs
from maxlm.errors import CheckpointError, ConfigError, DataError
from maxlm.interop.decoder import CONFIG_FILE, FolderModel, param_shapes, save_decoder
from maxlm.interop.tokenizer_files import export_tokenizer, import_tokenizer, splits_like_qwen
from maxlm.paths import PathLike, as_path, read_json, write_json
from maxlm.tokenizer.extend import Extension, extended_table, extension_of
from maxlm.tokenizer.load import copy_tokenizer, load_tokenizer
from maxlm.train.checkpoint import Checkpoints, Meta, Position, choose_step
from maxlm.train.config import Config
from maxlm.train.history import journal_of, longest_known, run_folder
from maxlm.train.origin import has_checkpoints


def import_run(source: PathLike, workdir: PathLike, tokenizer: PathLike | None = None) -> FolderModel:
    """Makes a run whose checkpoint of step 0 holds the model of a Hugging Face folder, and its tokenizer.

    A tensor at a time is in memory. `tokenizer`: another folder that holds it.

    Raises:
      CheckpointError: the run holds checkpoints already.
      ConfigError: the model has an option that our decoder does not have.
      DataError: something is missing, damaged, or does not belong together.
      DiskFullError: no space left.
    """
    workdir, model = as_path(workdir), FolderModel(source)
    with run_folder(workdir, f"{workdir}: another process is at work on this run"):
        checkpoints = _empty(workdir)
        values = read_json(as_path(source) / CONFIG_FILE, "description of a model")
        import_tokenizer(tokenizer or source, workdir / "tokenizer", values, model.config.vocab_size)
        config = configs.to_dict(Config(model=model.config))
        checkpoints.save_params(model.shapes, model.read, Meta(Position(), config, model.config.vocab_size))
        checkpoints.close()
        write_json(workdir / "config.json", config)
        where = os.fspath(as_path(source))
        journal = journal_of(workdir)
        journal.append("imported", source=where, model_type=model.model_type, max_length=model.max_length)
    return model


def resize_run(
    source: PathLike, tokenizer: PathLike, workdir: PathLike, step: int | None = None, average: bool = False
) -> Extension:
    """Makes a run whose checkpoint of step 0 holds another run's model with the rows of an extended tokenizer.

    New rows are means of old ones (maxlm/tokenizer/extend.py), everything else is what it was, to the bit. One
    parameter of one layer is in memory at a time.

    Args:
      tokenizer: the folder of the extended one.
      step: of the other run's checkpoints; None: the newest.
      average: the moving average of the parameters, instead of the last ones.

    Raises:
      CheckpointError: no such checkpoint, or the new run holds some already.
      ConfigError: the tokenizer does not extend the run's.
      DataError: a tokenizer is missing or damaged.
      DiskFullError: no space left.
    """
    if not has_checkpoints(source):
        raise CheckpointError(f"--from={source}: not a run (no checkpoints)")
    read_from, workdir = Checkpoints(source), as_path(workdir)
    step = choose_step(read_from, step)
    extension = extension_of(load_tokenizer(as_path(source) / "tokenizer"), load_tokenizer(tokenizer))
    config = read_from.config(step)
    model = dataclasses.replace(config.model, vocab_size=extension.tokenizer.vocab_size)
    arrays, prefix = read_from.stored(step, average)
    tables = {("embedding",), ("output",)}

    def read(path: tuple[str, ...], layer: int | None) -> np.ndarray:
        value = arrays.read(prefix + ".".join(path), layer)
        return extended_table(value, extension) if path in tables else value

    with run_folder(workdir, f"{workdir}: another process is at work on this run"):
        checkpoints, saved = _empty(workdir), configs.to_dict(Config(model=model))
        copy_tokenizer(tokenizer, workdir / "tokenizer")
        checkpoints.save_params(param_shapes(model), read, Meta(Position(), saved, model.vocab_size))
        checkpoints.close()
        write_json(workdir / "config.json", saved)
        known = {"max_length": length} if (length := longest_known(source, config)) else {}
        journal = journal_of(workdir)
        journal.append("resized", source=os.fspath(as_path(source)), step=step, tokens=len(extension.added), **known)
    read_from.close()
    return extension


def _empty(workdir: PathLike) -> Checkpoints:
    """The checkpoints of a run that has none. Raises CheckpointError where it has."""
    checkpoints = Checkpoints(workdir)
    if checkpoints.steps():
        raise CheckpointError(f"{checkpoints.folder}: holds checkpoints already; name a new --workdir")
    return checkpoints


def export_run(
    workdir: PathLike,
    folder: PathLike,
    step: int | None = None,
    *,
    dtype: str = "float32",
    average: bool = False,
    max_length: int | None = None,
) -> int:
    """Writes the model of a checkpoint, the newest by default, as a folder for transformers and vLLM.

    Args:
      dtype: of the weights there: float32, bfloat16 or float16.
      average: the moving average of the parameters (config.optimizer.ema_decay), instead of the last ones.
      max_length: the longest context, tokens; None: the data set's rows, or what an imported model came with.

    Returns:
      The step.

    Raises:
      CheckpointError: no such checkpoint, or it keeps no average.
      ConfigError: transformers has no such model, or the longest context is not known.
      DataError: the folder is not empty, or the run's tokenizer is missing.
      DiskFullError: no space left.
    """
    folder = as_path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: not empty; name a new folder")
    if not (as_path(workdir) / "checkpoints").exists():
        raise CheckpointError(f"{workdir}: no checkpoints")
    checkpoints = Checkpoints(workdir)
    step = choose_step(checkpoints, step)
    config = checkpoints.config(step)
    max_length = max_length or longest_context(workdir, config)
    arrays, prefix = checkpoints.stored(step, average)
    tokenizer = load_tokenizer(as_path(workdir) / "tokenizer")
    tokens = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
    if tokenizer.pad_id != tokenizer.eos_id:
        tokens["pad_token_id"] = tokenizer.pad_id
    save_decoder(
        folder,
        config.model,
        lambda path, layer: arrays.read(prefix + ".".join(path), layer),
        max_length=max_length,
        tokens=tokens,
        dtype=dtype,
        qwens_tokenizer=splits_like_qwen(as_path(workdir) / "tokenizer"),
    )
    export_tokenizer(as_path(workdir) / "tokenizer", folder)
    checkpoints.close()
    return step


def longest_context(workdir: PathLike, config: Config) -> int:
    """Tokens of the longest rows that the run has seen, or of the context that its model came with.

    Raises:
      ConfigError: neither is known.
    """
    if known := longest_known(workdir, config):
        return known
    raise ConfigError(
        f"{workdir}: the data set {config.data.dataset!r} is not there to tell the longest context; "
        "--max-length=TOKENS does"
    )
