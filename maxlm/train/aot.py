"""Compiles the training step for devices that are not there, and says whether and how well it would run.

XLA's own TPU compiler, out of the libtpu wheel, works on a machine without a TPU (jax.experimental.topologies). What it
allocates is what a run would allocate. FLOPs are the model's own count (models/cost.py): the compiler's counts a loop
over layers once.
"""

import dataclasses
import re
from collections import defaultdict
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.experimental import topologies
from jax.experimental.compilation_cache import compilation_cache

from maxlm.blocks.format import Batch
from maxlm.errors import ConfigError
from maxlm.models import cost
from maxlm.models.decoder import DecoderFunction
from maxlm.models.kernels import BEST_FOR_DEVICE
from maxlm.parallel.mesh import batch_sharding, make_mesh
from maxlm.train import hlo
from maxlm.train.chips import CHIPS, Chip
from maxlm.train.config import Config, check_divides
from maxlm.train.optimizer import make_optimizer
from maxlm.train.state import abstract_state
from maxlm.train.step import make_train_step

_GIB = 2**30
_SIZE = r"([\d.]+)([KMGT])"
_DOES_NOT_FIT = re.compile(rf"{_SIZE} of {_SIZE} hbm|\({_SIZE}\) exceeds available HBM \({_SIZE}\)")
_UNITS_GIB = {"K": 2**-20, "M": 2**-10, "G": 1, "T": 2**10}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What compiling found, per device."""

    topology: str
    devices: int
    kind: str
    mesh: dict[str, int]
    num_params: int
    tokens_per_step: int
    arguments_gib: float  # parameters, optimizer state and batch; the step gives their memory to its results
    temporaries_gib: float
    peak_gib: float
    memory_gib: float  # that the chip has
    flops: float  # of a step: the model's, and what rematerialisation adds
    model_flops: float
    collectives: dict[str, tuple[int, float, int]]  # kind -> runs in a step, GiB moved, runs that overlap
    wide_logits: tuple[tuple[int, ...], ...]  # float32 arrays as large as a device's logits; there should be none

    @property
    def chip(self) -> Chip:
        return CHIPS[self.kind]

    @property
    def compute_s(self) -> float:
        return self.flops / self.chip.peak_flops

    @property
    def communication_s(self) -> float:
        return sum(gib for _, gib, _ in self.collectives.values()) * _GIB / self.chip.link_bytes_per_s

    def step_s(self) -> tuple[float, float]:
        """Seconds of a step by the roofline: all communication hidden behind the products, and none of it."""
        return max(self.compute_s, self.communication_s), self.compute_s + self.communication_s

    def mfu(self) -> tuple[float, float]:
        """Model FLOPs utilisation in those two cases; an upper bound, since no product reaches the peak."""
        best, worst = (self.model_flops / self.chip.peak_flops / seconds for seconds in self.step_s())
        return best, worst


def compile_step(config: Config, topology: str, seq_len: int) -> Compiled:
    """Compiles the step of `config` for a TPU slice, e.g. "v5p:4x4x4".

    Raises:
      ConfigError: an unknown slice, sizes that do not divide, no vocabulary, or a step that does not fit into memory.
    """
    devices = _devices(topology)
    kind = devices[0].device_kind
    if kind not in CHIPS:
        raise ConfigError(f"--topology={topology}: {kind!r} does not stand in maxlm/train/chips.py")
    if not config.model.vocab_size:
        raise ConfigError("config.model.vocab_size: say how large the vocabulary is; there is no data set to ask")
    if config.model.attention == "auto":
        config = dataclasses.replace(
            config, model=dataclasses.replace(config.model, attention=BEST_FOR_DEVICE[devices[0].platform])
        )
    mesh = make_mesh(config.mesh, devices)
    check_divides(config, mesh, {seq_len: config.train.batch})
    compiled = _compile(config, mesh, seq_len, topology, kind)
    memory, text = compiled.memory_analysis(), compiled.as_text()
    moved: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0])
    for one in hlo.collectives(text):
        row = moved[one.kind]
        row[0] += one.times
        row[1] += one.times * one.bytes / _GIB
        row[2] += one.times * one.overlaps
    tokens = config.train.batch * seq_len
    model_flops = cost.train_flops_per_token(config.model, seq_len) * tokens / len(devices)
    return Compiled(
        topology=topology,
        devices=len(devices),
        kind=kind,
        mesh=dict(mesh.shape),
        num_params=cost.num_params(config.model),
        tokens_per_step=tokens,
        arguments_gib=memory.argument_size_in_bytes / _GIB,
        temporaries_gib=memory.temp_size_in_bytes / _GIB,
        peak_gib=memory.peak_memory_in_bytes / _GIB,
        memory_gib=CHIPS[kind].memory_gib,
        flops=model_flops * (4 / 3 if config.model.remat == "full" else 1),  # the forward pass once more
        model_flops=model_flops,
        collectives={name: (int(a), b, int(c)) for name, (a, b, c) in sorted(moved.items())},
        wide_logits=tuple(_wide_logits(text, config, tokens // len(devices))),
    )


def _devices(topology: str) -> list[Any]:
    jax.devices()  # the host's own platform is set up first
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    except Exception as error:  # the plug-in raises whatever it likes, and all of it means this
        first = str(error).splitlines()[0]
        raise ConfigError(
            f"--topology={topology}: {first}; slices are named like v5e:4x4, v5p:4x4x4, v6e:16x16 or tpu7x:2x2x1, and "
            "pip install 'maxlm[tpu]' brings their compiler"
        ) from error


def _compile(config: Config, mesh: Any, seq_len: int, topology: str, kind: str) -> Any:
    model, schedule = DecoderFunction(config.model), optax.constant_schedule(config.optimizer.learning_rate)
    tx = make_optimizer(config.optimizer, schedule, config.model.width_multiplier)
    step = make_train_step(model, tx, schedule, config.train, mesh, num_domains=8)
    dtypes = Batch(jnp.int32, jnp.int32, jnp.int32, jnp.int32, jnp.float32, jnp.int32)
    shape, sharding = (config.train.batch, seq_len), batch_sharding(mesh)
    batch = Batch(*(jax.ShapeDtypeStruct(shape, dtype, sharding=sharding) for dtype in dtypes))
    state = abstract_state(model, tx, mesh)
    with jax.set_mesh(mesh):  # from here on nothing may be computed: the mesh's devices are not there
        lowered = step.trace(state, batch).lower(lowering_platforms=("tpu",))
    cached = jax.config.values["jax_enable_compilation_cache"]
    try:
        _use_cache(False)  # a program for absent devices can be written to it, and cannot be read back
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if not (found := _DOES_NOT_FIT.search(str(error))):
            raise
        number, unit, limit, limit_unit = (part for part in found.groups() if part is not None)
        needed, there = float(number) * _UNITS_GIB[unit], float(limit) * _UNITS_GIB[limit_unit]
        raise ConfigError(
            f"does not fit on {topology} ({kind}): by {needed - there:.1f} GiB a device ({needed:.1f} of {there:.1f}); "
            "try config.model.remat='full', more of config.mesh.fsdp, config.train.accumulate, or a smaller batch"
        ) from error
    finally:
        _use_cache(cached)


def _use_cache(on: bool) -> None:
    jax.config.update("jax_enable_compilation_cache", on)
    compilation_cache.reset_cache()  # jax looks at the setting once


def _wide_logits(text: str, config: Config, tokens: int) -> list[tuple[int, ...]]:
    """Arrays of float32 logits of all of a device's tokens, whole or split over tensor."""
    vocab = config.model.vocab_size
    shapes = hlo.largest_arrays(text, "f32", tokens * vocab // max(config.mesh.tensor, 1))
    table = config.model.embed
    return [s for s in shapes if table not in s and any(n in (vocab, vocab // config.mesh.tensor) for n in s)]
