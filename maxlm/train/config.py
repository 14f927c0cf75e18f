"""Everything a training run can be told, with its defaults; the root of a config file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import ml_collections
from jax.sharding import Mesh

from maxlm.config import config_dict
from maxlm.errors import ConfigError
from maxlm.models.config import ModelConfig
from maxlm.monitor.config import ProfileConfig, WandbConfig, WatchConfig
from maxlm.parallel.axes import BATCH_AXES
from maxlm.parallel.mesh import MeshConfig


@dataclass(frozen=True)
class DataSettings:
    dataset: str = ""  # the folder that maxlm-data produce writes
    num_blocks: int = 1  # blocks to train on; sets the number of steps
    seed: int = 0  # order of the rows within a block
    verify: bool = True  # compare every shard with its checksum before it is read
    wait_s: float = 3600.0  # how long to wait for a block that the data process has not finished


@dataclass(frozen=True)
class OptimizerConfig:
    """The rules stand in maxlm/train/optimizer.py."""

    name: Literal["adamw", "muon", "lion", "adafactor", "sgd"] = "adamw"
    learning_rate: float = 3e-4  # peak
    b1: float = 0.9  # sgd: its momentum
    b2: float = 0.95
    eps: float = 1e-8
    muon_momentum: float = 0.95
    weight_decay: float = 0.1  # on matrices; norms and biases are left alone
    decay_tables: bool = True  # whether embeddings decay too; under muon they never do
    clip_norm: float = 1.0  # largest global norm of the gradient; 0: not clipped
    ema_decay: float = 0.0  # keeps a moving average of the parameters beside them for --average; 0: none
    freeze: tuple[str, ...] = ()  # patterns of names of parameters that are not trained: "embedding", "layers.mlp.*"
    lora_rank: int = 0  # trains adapters of this rank (LoRA) beside matrices of the layers, and nothing else; 0: none
    lora_alpha: float = 16.0  # adapters count alpha / rank times
    lora_on: tuple[str, ...] = ()  # the matrices that have one, as ("query", "value"); (): all of the layers

    def __post_init__(self) -> None:
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"config.optimizer.ema_decay: {self.ema_decay} is outside [0, 1)")
        if self.learning_rate <= 0:
            raise ConfigError(f"config.optimizer.learning_rate: {self.learning_rate} is not positive")
        if self.lora_rank < 0 or self.lora_alpha <= 0:
            raise ConfigError("config.optimizer: lora_rank must be at least 0, and lora_alpha above it")
        if self.lora_rank and self.name == "muon":
            raise ConfigError("config.optimizer.name='muon': adapters (lora_rank) take another rule, as adamw")
        if self.lora_on and not self.lora_rank:
            raise ConfigError("config.optimizer.lora_on: needs lora_rank above 0; else the whole model is trained")
        if self.ema_decay and (self.freeze or self.lora_rank):
            raise ConfigError("config.optimizer.ema_decay: an average is kept where all parameters are trained")


@dataclass(frozen=True)
class ScheduleConfig:
    name: Literal["wsd", "cosine", "linear", "constant"] = "wsd"
    warmup_share: float = 0.05  # of all steps, rising linearly from 0
    decay_share: float = 0.2  # of all steps, at the end; wsd only
    final_share: float = 0.0  # learning rate at the end, as a share of the peak


@dataclass(frozen=True)
class CheckpointConfig:
    keep: int = 0  # how many of the newest to keep; 0: all. Above 0, the following say what stays beside them
    keep_every_blocks: int = 0  # each that so many blocks, or a multiple, were done at; 0: none
    keep_stage_ends: bool = True  # the last one of each stage
    keep_best: int = 0  # so many with the lowest loss on held-out text
    keep_spread: bool = False  # some 1, 2, 4, 8, … blocks back
    every_steps: int = 0  # also within a block, every so many steps; 0: only after each block


@dataclass(frozen=True)
class TrainSettings:
    batch: int = 8  # rows in a step, over all devices
    accumulate: int = 1  # parts in which a step's rows are worked off, one after the other, to save memory
    seed: int = 0  # of the initial parameters
    # What is minimised: the cross-entropy of the next token, or of pairs of answers a loss of maxlm/train/preference.py
    loss: Literal["next_token", "dpo", "ipo"] = "next_token"
    beta: float = 0.1  # of dpo and ipo: how strongly the reference holds
    label_smoothing: float = 0.0  # of dpo: the share of pairs that are labelled the wrong way round, as one assumes
    z_loss: float = 0.0  # weight of log²Z (PaLM, section 5), which keeps logits from drifting; 1e-4 is usual
    loss_chunks: int = 0  # pieces in which the logits are made; 0: chosen to hold about 32 MiB of them at a time
    log_every: int = 10  # steps between lines and metrics
    log_norms: bool = False  # with each of them, norms of gradients and parameters by layer
    eval_every_blocks: int = 1  # validation loss after every so many blocks; 0: never
    eval_rows: int = 256  # rows of the validation block to look at; 0: all
    # With each evaluation also these: NAME:FILE as for `maxlm eval --tasks`, or passkey; not in stages whose mesh
    # splits layers or sequences
    benchmarks: tuple[str, ...] = ()
    benchmark_questions: int = 200  # the first so many of each; 0: all
    peak_flops: float = 0.0  # per device, for model FLOPs utilisation; 0: from the table, measured on a CPU


@dataclass(frozen=True)
class StageSettings:
    """A part of a run, and what differs in it from the rest of the config: maxlm/train/stages.py."""

    name: str
    # Its length: blocks of the data set, or tokens, rounded to whole blocks. The last stage gives neither: it goes on
    # until data.num_blocks are done.
    blocks: int = 0
    tokens: int = 0
    changes: dict[str, Any] = field(default_factory=dict)  # "group.key" -> value, e.g. {"model.rope_base": 1e6}

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("config.stages: a stage without a name")
        if min(self.blocks, self.tokens) < 0 or (self.blocks and self.tokens):
            raise ConfigError(f"config.stages: {self.name!r}: give its length in blocks or in tokens, not below 0")


@dataclass(frozen=True)
class BranchSettings:
    """The run that this one goes on from, in a folder of its own. `maxlm train --from=RUN` sets it."""

    run: str = ""  # folder of that run; "": none, parameters are made anew
    step: int = -1  # its checkpoint; -1: the newest
    stage: str = ""  # of config.stages, to begin with; "": where that run stood
    fresh: bool = False  # take the parameters alone: steps, blocks and the optimizer begin anew


@dataclass(frozen=True)
class Config:
    """The root of a config file."""

    model: ModelConfig = ModelConfig()
    mesh: MeshConfig = MeshConfig()
    data: DataSettings = DataSettings()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    train: TrainSettings = TrainSettings()
    stages: tuple[StageSettings, ...] = ()
    branch: BranchSettings = BranchSettings()
    watch: WatchConfig = WatchConfig()
    profile: ProfileConfig = ProfileConfig()
    wandb: WandbConfig = WandbConfig()

    def __post_init__(self) -> None:
        if self.train.beta <= 0 or not 0 <= self.train.label_smoothing < 0.5:
            raise ConfigError("config.train: beta must be above 0, and label_smoothing lie in [0, 0.5)")
        if self.train.loss != "dpo" and self.train.label_smoothing:
            raise ConfigError("config.train.label_smoothing: belongs to the loss 'dpo'")
        if self.train.loss != "next_token" and self.train.z_loss:
            raise ConfigError("config.train.z_loss: belongs to the loss of the next token")
        if self.train.accumulate < 1:
            raise ConfigError(f"config.train.accumulate: {self.train.accumulate} is less than 1")
        if self.train.batch < 1 or self.data.num_blocks < 1 or self.train.log_every < 1:
            raise ConfigError("config: train.batch, train.log_every and data.num_blocks must be at least 1")
        shares = (self.schedule.warmup_share, self.schedule.decay_share, self.schedule.final_share)
        if any(not 0 <= share <= 1 for share in shares) or shares[0] + shares[1] > 1:
            raise ConfigError(f"config.schedule: shares lie in [0, 1] and warm-up + decay within 1, found {shares}")


def check_divides(config: Config, mesh: Mesh, rows: Mapping[int, int]) -> None:
    """Raises ConfigError, naming both sides, if model, batch or sequences can't be split evenly as asked.

    `rows`: length of sequences -> how many of them a step takes.
    """
    ways, model = dict(mesh.shape), config.model
    batch_ways, parts = math.prod(ways[axis] for axis in BATCH_AXES), config.train.accumulate
    checks = [
        ("model.num_heads", model.num_heads, "tensor", ways["tensor"]),
        ("model.num_kv_heads", model.num_kv_heads, "tensor", ways["tensor"]),
        ("model.mlp", model.mlp, "tensor", ways["tensor"]),
        ("model.vocab_size", model.vocab_size, "tensor", ways["tensor"]),
        ("model.embed", model.embed, "fsdp × context", ways["fsdp"] * ways["context"]),
    ]
    if batch_ways % jax.process_count():
        raise ConfigError(
            f"config.mesh: data × fsdp × stage={batch_ways} is no multiple of the {jax.process_count()} processes; "
            "each must read rows of its own, so split less by tensor"
        )
    for key, size, axis, number in checks:
        if size % number:
            raise ConfigError(f"config.{key}={size} does not divide by the mesh's {axis}={number}")
    for length, count in rows.items():
        shorter = "" if count == config.train.batch else f" ({count} rows of {length} tokens)"
        batch = f"config.train.batch={config.train.batch}{shorter}"
        if count % batch_ways:
            raise ConfigError(f"{batch} does not divide by the mesh's data × fsdp × stage={batch_ways}")
        if count % (batch_ways * parts):
            raise ConfigError(
                f"{batch} does not divide by the mesh's data × fsdp × stage, times train.accumulate={parts},="
                f"{batch_ways * parts}"
            )
        if ways["context"] > 1 and length % (2 * ways["context"]):
            raise ConfigError(
                f"config.mesh.context={ways['context']}: sequences of {length} tokens do not divide into "
                f"{2 * ways['context']} chunks, two for each device"
            )
        if config.train.loss_chunks and length // ways["context"] % config.train.loss_chunks:
            raise ConfigError(
                f"config.train.loss_chunks={config.train.loss_chunks} does not divide the data set's sequences of "
                f"{length} tokens; 0 chooses a number that does"
            )


def base() -> ml_collections.ConfigDict:
    """All keys with their defaults, for a config file to change."""
    return config_dict(Config())
