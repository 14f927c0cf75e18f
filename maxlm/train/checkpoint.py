"""Checkpoints: one after every block, saved by orbax while training goes on, published by one rename.

A checkpoint is CHECKPOINTS/<step>/ with three items: `params`, `optimizer` (moments, step, random key) and `meta`
(position in the data, the config). Parameters are always stacked over layers, so that the layout does not depend on
scanning, mesh or flags.
"""

import dataclasses
import logging
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from maxlm import config as configs
from maxlm.errors import (
    CheckpointError,
    ConfigError,
    DamagedCheckpointError,
    DataError,
    DiskFullError,
    did_you_mean,
    is_disk_full,
    naming_full_disk,
)
from maxlm.models.config import ModelConfig
from maxlm.monitor.detectors import Seen
from maxlm.parallel.distributed import any_of_all, wait_for_all
from maxlm.paths import PathLike, as_path, is_local, read_json
from maxlm.train.config import Config
from maxlm.train.integrity import check_digests, write_digests
from maxlm.train.state import TrainState
from maxlm.train.stored import CHUNK_BYTES, Path, Read, StoredArrays, StreamSave, described

FORMAT_VERSION = 2  # 1: without what the detectors had seen
_MOST_STEPS = 1 << 62  # and blocks, and batches
_PARTS = ("model", "data", "train")  # of the config, that a run goes by when it is taken up
_METADATA_BYTES = 1 << 20  # what orbax writes beside the arrays
# What decides the parameters' shapes; a checkpoint and a model that differ here don't go together.
_SHAPE_KEYS = (
    "vocab_size", "embed", "num_layers", "num_heads", "num_kv_heads", "head_dim", "mlp", "mlp_kind", "norm", "bias",
    "qk_norm", "position", "max_positions", "tie_embeddings",
)  # fmt: skip


@dataclass(frozen=True)
class Position:
    """Where in its data a run stands: the next batch that it will read."""

    step: int = 0  # updates done
    blocks_done: int = 0  # blocks finished, those left out not counted
    block: int = 0  # the block being read, or the next one
    batch: int = 0  # index of the next batch within it
    finished_block: int = -1  # the last block finished; -1: none


@dataclass(frozen=True)
class Meta:
    """What a checkpoint says of itself."""

    position: Position
    config: dict[str, Any]
    vocab_size: int
    seen: Seen = Seen()  # by the detectors of config.watch
    format_version: int = FORMAT_VERSION


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, workdir: PathLike):
        logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax tells every step of every save
        self.folder = as_path(workdir) / "checkpoints"
        self._saving: int | None = None  # step of the save that is under way
        options = ocp.CheckpointManagerOptions(
            enable_async_checkpointing=True,
            async_options=ocp.AsyncOptions(
                post_finalization_callback=self._note_digests,
                # In the background, a folder that can't be made would be waited for, for many minutes.
                create_directories_asynchronously=False,
            ),
        )
        items = ("params", "optimizer", "meta")
        try:
            self._manager = ocp.CheckpointManager(self.folder, options=options, item_names=items)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:  # times that are none, and the like
            raise CheckpointError(
                f"{self.folder}: orbax can't read the _CHECKPOINT_METADATA of a checkpoint there ({_brief(error)}); it "
                "holds times alone: remove the damaged file"
            ) from error

    def steps(self) -> list[int]:
        """Steps of all complete checkpoints, ascending."""
        steps = self._manager.all_steps()  # with the one that is being written
        return sorted(step for step in steps if step != self._saving or (self.folder / str(step)).exists())

    def save(self, state: TrainState, meta: Meta) -> None:
        """Begins to save; training may go on. A checkpoint of this step that is there already is left alone.

        Raises:
          DiskFullError: this save, or the one before it, found no space.
          CheckpointError: the folder can't be written to.
        """
        step = meta.position.step
        with naming_full_disk("a checkpoint", self.folder):
            self.wait()  # at most one save is under way
            if step in self._manager.all_steps():
                return
            self._check_space(state)
            self._saving = step
            args = ocp.args.Composite(
                params=ocp.args.StandardSave(state.params, save_args=_cut(state.params)),
                optimizer=ocp.args.StandardSave(_rest(state)),
                meta=ocp.args.JsonSave(dataclasses.asdict(meta)),
            )
            try:
                self._manager.save(step, args=args)
            except OSError as error:
                if is_disk_full(error):
                    raise
                raise CheckpointError(
                    f"{self.folder}: a checkpoint can't be written ({_brief(error)}); see to it, and give the same "
                    "command again: it goes on from the checkpoint before"
                ) from error

    def save_params(self, shapes: Mapping[Path, tuple[int, ...]], read: Read, meta: Meta) -> None:
        """Writes a checkpoint of parameters alone, from which training can begin; one layer is in memory at a time.

        Raises:
          DiskFullError: no space left.
        """
        with naming_full_disk("a checkpoint", self.folder):
            items = {"params": StreamSave(shapes, read), "meta": ocp.args.JsonSave(dataclasses.asdict(meta))}
            self._saving = meta.position.step
            self._manager.save(self._saving, args=ocp.args.Composite(**items))
            self.wait()

    def stored(self, step: int, average: bool = False) -> tuple[StoredArrays, str]:
        """The parameters of `step` to be read one by one, and what stands before their names.

        `average`: the moving average that the optimizer keeps, instead.

        Raises:
          CheckpointError: it can't be read, or no average is kept.
          DamagedCheckpointError: its files are not what was written.
        """
        self._compare(step, "optimizer" if average else "params")
        if not average:
            return StoredArrays(self.folder / str(step) / "params"), ""
        folder = self.folder / str(step) / "optimizer"
        arrays = StoredArrays(folder) if folder.exists() else None
        found = [name for name in arrays.names if name.endswith(".average.embedding")] if arrays else []
        if not found or arrays is None:
            raise CheckpointError(
                f"{self.folder / str(step)}: keeps no average of the parameters; "
                "training with config.optimizer.ema_decay above 0 does"
            )
        return arrays, found[0].removesuffix("embedding")

    def has_optimizer(self, step: int) -> bool:
        """Whether the checkpoint holds more than parameters."""
        return (self.folder / str(step) / "optimizer").exists()

    def _check_space(self, state: TrainState) -> None:
        """Raises DiskFullError before anything is written if the state can't fit beside what is there."""
        if not is_local(self.folder):
            return
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + _METADATA_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise DiskFullError(
                f"{self.folder}: disk full: a checkpoint takes up to {needed / 1e6:,.1f} MB and {free / 1e6:,.1f} MB "
                "are free; free some space and run the same command again; the checkpoints before it are whole"
            )

    def _note_digests(self) -> None:
        """Runs in the thread that is about to publish a checkpoint; training does not wait for it."""
        if jax.process_index() == 0:
            unpublished = sorted(self.folder.glob(f"{self._saving}.orbax-checkpoint-tmp*"))
            write_digests(unpublished[-1] if unpublished else self.folder / str(self._saving))  # in buckets: in place

    def remove(self, step: int) -> None:
        self._manager.delete(step)

    def set_aside(self, step: int) -> epath.Path:
        """Moves a damaged checkpoint out of the way; returns where it is now."""
        source = self.folder / str(step)
        target = self.folder.parent / "damaged" / f"{step}-{time.time_ns():x}"
        if jax.process_index() == 0:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
        wait_for_all(f"checkpoint {step} set aside")
        self._manager.reload()
        return target

    def wait(self) -> None:
        """Waits until what was begun is published.

        Raises:
          DiskFullError: a save found no space.
        """
        with naming_full_disk("a checkpoint", self.folder):
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def meta(self, step: int) -> Meta:
        """What the checkpoint of `step` says of itself.

        Raises:
          CheckpointError: its description is missing or damaged, or of another format.
        """
        return read_meta(self.folder / str(step))

    def config(self, step: int) -> Config:
        """The config that the checkpoint of `step` carries. Raises CheckpointError like `meta`, or if it is none."""
        try:
            return configs.freeze(Config, self.meta(step).config)
        except ConfigError as error:
            raise CheckpointError(f"{self.folder / str(step)}: the config that it carries: {error}") from error

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state of `step`, onto the shardings of `abstract`, whatever mesh it was saved from.

        Raises:
          DamagedCheckpointError: its files are not what was written.
        """
        self._compare(step, "params", "optimizer")
        items = self._restore(step, params=abstract.params, optimizer=_rest(abstract))
        rest = items["optimizer"]
        return TrainState(items["params"], rest["opt_state"], rest["step"], rest["key"])

    def restore_params(self, step: int, abstract_params: dict[str, Any], average: bool = False) -> dict[str, Any]:
        """The parameters alone, or with `average` the moving average of them.

        Raises:
          CheckpointError: it can't be read, or no average is kept.
          DamagedCheckpointError: its files are not what was written.
        """
        if not average:
            self._compare(step, "params")
            return self._restore(step, params=abstract_params)["params"]
        arrays, prefix = self.stored(step, average=True)

        def read(path: Any, like: jax.ShapeDtypeStruct) -> jax.Array:
            return arrays.array(prefix + ".".join(key.key for key in path), like)

        return jax.tree_util.tree_map_with_path(read, abstract_params)

    def _compare(self, step: int, *items: str) -> None:
        """Raises DamagedCheckpointError in all processes of a group if one finds damage in its share of these items."""
        found = None
        try:
            part = (jax.process_index(), jax.process_count())
            check_digests(self.folder / str(step), ("meta", *items), part)
        except DamagedCheckpointError as error:
            found = error
        if any_of_all(found is not None):  # alone, one would leave the others waiting in the restore
            raise found or DamagedCheckpointError(f"{self.folder / str(step)}: another process found it damaged")

    def _restore(self, step: int, **abstract: Any) -> Any:
        args = {name: ocp.args.StandardRestore(item) for name, item in abstract.items()}
        for name in abstract:
            described(self.folder / str(step) / name)
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**args))
        except jax.errors.JaxRuntimeError:  # a device or another process: no fault of the checkpoint's
            raise
        except Exception as error:  # orbax raises whatever it meets, a bare Exception among it
            raise CheckpointError(
                f"{self.folder / str(step)}: can't be restored ({_brief(error)}); "
                "roll back to an earlier block (maxlm rollback); or, if what the optimizer keeps has changed "
                "(config.optimizer, config.train.loss), begin with the parameters alone (--from=RUN --fresh)"
            ) from error

    def close(self) -> None:
        self._manager.close()


def read_meta(path: epath.Path) -> Meta:
    """What the checkpoint in the folder `path` says of itself. Raises CheckpointError like `Checkpoints.meta`."""
    try:
        # Read as a file, not by orbax: that would have all processes wait for one another.
        found = read_json(path / "meta" / "metadata", "description of a checkpoint")
        _check_version(path, found)
        meta = configs.freeze(Meta, found, "meta")
    except (ConfigError, DataError) as error:
        raise DamagedCheckpointError(f"{path}: the checkpoint's description can't be read ({_brief(error)})") from error
    counts = dataclasses.astuple(meta.position)
    if str(meta.position.step) != path.name or not -1 <= min(counts) <= max(counts) < _MOST_STEPS:
        raise DamagedCheckpointError(f"{path}: its description is not that of step {path.name}: {meta.position}")
    if odd := [part for part in _PARTS if not isinstance(meta.config.get(part, {}), dict)]:
        raise DamagedCheckpointError(f"{path}: the config in its description has an odd {odd[0]!r}")
    return meta


def quieten_failed_saves() -> None:
    """Keeps the tracebacks that orbax's threads leave on a full disk off the terminal. For command lines.

    Nothing is lost: such an error comes back from `save` or `wait`, and is reported there in one line.
    """
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    before = threading.excepthook

    def report_unless_disk_full(args: threading.ExceptHookArgs) -> None:
        if not is_disk_full(args.exc_value):
            before(args)

    threading.excepthook = report_unless_disk_full


def _check_version(path: epath.Path, meta: dict[str, Any]) -> None:
    """Raises CheckpointError for a checkpoint of a later format, which is no damage."""
    version = meta.get("format_version", 1)
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise CheckpointError(f"{path}: format {version}, and this program reads up to {FORMAT_VERSION}; update maxlm")


def _cut(params: dict[str, Any]) -> dict[str, ocp.SaveArgs]:
    """Large leaves are stored in pieces of one layer at the most, so that a layer can be read without the others."""

    def cut(path: Any, leaf: jax.Array) -> ocp.SaveArgs:
        if leaf.nbytes <= CHUNK_BYTES:
            return ocp.SaveArgs()
        return ocp.SaveArgs(chunk_byte_size=CHUNK_BYTES, shard_axes=(0,) if path[0].key == "layers" else ())

    return jax.tree_util.tree_map_with_path(cut, params)


def _rest(state: TrainState) -> dict[str, Any]:
    return {"opt_state": state.opt_state, "step": state.step, "key": state.key}


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def check_model(meta: Meta, model: ModelConfig, where: object) -> None:
    """Raises CheckpointError, naming each key, if the checkpoint's parameters have other shapes than the model's."""
    values = {**meta.config.get("model", {}), "vocab_size": meta.vocab_size}
    try:
        saved = configs.freeze(ModelConfig, values, "config.model")
    except ConfigError as error:
        raise CheckpointError(f"{where}: the config that it carries: {error}") from error
    differing = [key for key in _SHAPE_KEYS if getattr(saved, key) != getattr(model, key)]
    if differing:
        words = ", ".join(f"{key} {getattr(saved, key)} → {getattr(model, key)}" for key in differing)
        raise CheckpointError(
            f"{where}: the checkpoint holds a model of another shape ({words}); leave the keys out (a run has the "
            "model of the checkpoint that it goes on from), or train from nothing into a new --workdir"
        )


def choose_step(checkpoints: Checkpoints, step: int | None) -> int:
    """`step`, or the newest.

    Raises:
      CheckpointError: there is none, or not that one.
    """
    steps = checkpoints.steps()
    if not steps:
        raise CheckpointError(f"{checkpoints.folder}: no complete checkpoint; has a block been trained (maxlm train)?")
    if step is not None and step not in steps:
        raise CheckpointError(
            f"{checkpoints.folder}: no checkpoint of step {step}{did_you_mean(str(step), map(str, steps))}"
        )
    return steps[-1] if step is None else step
