"""Compiles the training step for devices that are not there, and says whether and how well it would run.

What XLA's compiler allocates here is what a run would allocate. FLOPs are the model's own count (models/cost.py): the
compiler's counts a loop over layers once.
"""

import dataclasses
import math
import re
import time
from collections import defaultdict
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.experimental.compilation_cache import compilation_cache

from maxlm.blocks.format import Batch
from maxlm.errors import ConfigError
from maxlm.models import cost
from maxlm.models.decoder import DecoderFunction
from maxlm.models.kernels import best_kernel
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.parallel.chips import CHIPS, Chip
from maxlm.parallel.mesh import batch_sharding, make_mesh
from maxlm.train import hlo
from maxlm.train.absent import absent_devices
from maxlm.train.config import Config, check_divides
from maxlm.train.optimizer import optimizer_for
from maxlm.train.state import TrainState, abstract_state
from maxlm.train.step import make_train_step

_GIB = 2**30
_SIZE = r"([\d.]+)([KMGT])"
_DOES_NOT_FIT = re.compile(rf"{_SIZE} of {_SIZE} hbm|\({_SIZE}\) exceeds available HBM \({_SIZE}\)")
_UNITS_GIB = {"K": 2**-20, "M": 2**-10, "G": 1, "T": 2**10}


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Collectives of one kind in a step, per device."""

    runs: int
    gib: float  # that a device sends
    hidden_runs: int  # between whose begin and end products run
    hidden_gib: float


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What compiling found, per device."""

    topology: str
    devices: int
    kind: str
    mesh: dict[str, int]
    attention: str  # name of the kernel
    compile_s: float
    num_params: int
    tokens_per_step: int
    parameters_gib: float
    optimizer_gib: float
    batch_gib: float
    temporaries_gib: float
    peak_gib: float
    host_gib: float  # of the host's memory, for what is moved there
    memory_gib: float  # that the chip has
    link_bytes_per_s: float
    flops: float  # of a step: the model's, and what rematerialisation adds
    model_flops: float
    collectives: dict[str, Traffic]
    largest_logits: tuple[int, ...]  # the largest float32 array with a dimension of the vocabulary that is no table
    logits_gib: float  # what logits of all of a device's tokens would take in float32

    @property
    def chip(self) -> Chip:
        return CHIPS[self.kind]

    @property
    def compute_s(self) -> float:
        return self.flops / self.chip.peak_flops

    @property
    def hidden_s(self) -> float:
        """Communication beside which products run."""
        return sum(one.hidden_gib for one in self.collectives.values()) * _GIB / self.link_bytes_per_s

    @property
    def exposed_s(self) -> float:
        """Communication that everything waits for."""
        return sum(one.gib - one.hidden_gib for one in self.collectives.values()) * _GIB / self.link_bytes_per_s

    @property
    def step_s(self) -> float:
        """Seconds of a step by the roofline: products at the peak rate, or what they hide if that takes longer, and
        what nothing hides."""
        return max(self.compute_s, self.hidden_s) + self.exposed_s

    @property
    def mfu(self) -> float:
        """Model FLOPs utilisation in such a step: an upper bound, since no product reaches the peak."""
        return self.model_flops / self.chip.peak_flops / self.step_s

    @property
    def all_logits(self) -> bool:
        """Whether float32 logits of all of a device's tokens exist at a time."""
        return 4 * math.prod(self.largest_logits or (0,)) >= self.logits_gib * _GIB


def compile_step(config: Config, topology: str, seq_len: int) -> Compiled:
    """Compiles the step of `config` for a TPU slice, e.g. "v5p:4x4x4", or hosts of GPUs, "h100:8".

    Raises:
      ConfigError: unknown devices, sizes that do not divide, no vocabulary, or a step that does not fit into memory.
    """
    if not config.model.vocab_size:
        raise ConfigError("config.model.vocab_size: say how large the vocabulary is; there is no data set to ask")
    devices = absent_devices(topology)
    kind = devices[0].device_kind
    if kind not in CHIPS:
        raise ConfigError(f"--topology={topology}: {kind!r} does not stand in maxlm/parallel/chips.py")
    mesh = make_mesh(config.mesh, devices)
    check_divides(config, mesh, {seq_len: config.train.batch})
    started = time.monotonic()
    state, compiled = _compile(config, mesh, seq_len, topology)
    found = _described(config, mesh, seq_len, topology, state, compiled, time.monotonic() - started)
    if found.peak_gib > found.memory_gib:  # compilers for GPUs don't say so by themselves
        raise _does_not_fit(topology, kind, found.peak_gib, found.memory_gib)
    return found


def _described(
    config: Config, mesh: Any, seq_len: int, topology: str, state: TrainState, compiled: Any, seconds: float
) -> Compiled:
    memory, text, chip = compiled.memory_analysis(), compiled.as_text(), CHIPS[mesh.devices.flat[0].device_kind]
    tokens, model = config.train.batch * seq_len, config.model
    mine = tokens / mesh.size
    parameters, optimizer = (_bytes_of(tree) / _GIB for tree in (state.params, state.opt_state))
    hosts = {getattr(device, "process_index", 0) for device in mesh.devices.flat}
    with jax.set_mesh(mesh):
        attention = best_kernel() if model.attention == "auto" else model.attention
    return Compiled(
        topology=topology,
        devices=mesh.size,
        kind=mesh.devices.flat[0].device_kind,
        mesh=dict(mesh.shape),
        attention="context" if mesh.shape["context"] > 1 else attention,
        compile_s=seconds,
        num_params=cost.num_params(model),
        tokens_per_step=tokens,
        parameters_gib=parameters,
        optimizer_gib=optimizer,
        batch_gib=memory.argument_size_in_bytes / _GIB - parameters - optimizer,
        temporaries_gib=memory.temp_size_in_bytes / _GIB,
        peak_gib=memory.peak_memory_in_bytes / _GIB,
        host_gib=memory.host_temp_size_in_bytes / _GIB,
        memory_gib=chip.memory_gib,
        link_bytes_per_s=chip.network_bytes_per_s
        if chip.network_bytes_per_s and len(hosts) > 1
        else chip.link_bytes_per_s,
        flops=(cost.train_flops_per_token(model, seq_len) + cost.recomputed_flops_per_token(model, seq_len)) * mine,
        model_flops=cost.train_flops_per_token(model, seq_len) * mine,
        collectives=_traffic(text),
        largest_logits=_largest_logits(text, model.vocab_size, model.embed, mesh.shape["tensor"]),
        logits_gib=4 * mine * model.vocab_size / _GIB,
    )


def _traffic(text: str) -> dict[str, Traffic]:
    rows: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0, 0.0])
    for one in hlo.collectives(text):
        row, gib = rows[one.kind], one.times * one.bytes / _GIB
        rows[one.kind] = [row[0] + one.times, row[1] + gib, row[2] + one.times * one.hidden, row[3] + gib * one.hidden]
    return {kind: Traffic(int(a), b, int(c), d) for kind, (a, b, c, d) in sorted(rows.items())}


def _bytes_of(tree: Any) -> int:
    """Of a device's share of abstract arrays."""
    return sum(leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in jax.tree.leaves(tree))


def _compile(config: Config, mesh: Any, seq_len: int, topology: str) -> tuple[TrainState, Any]:
    """The abstract state, and the compiled step."""
    model, schedule = DecoderFunction(config.model), optax.constant_schedule(config.optimizer.learning_rate)
    tx = optimizer_for(config, schedule)
    step = make_train_step(model, tx, schedule, config.train, mesh, num_domains=8)
    dtypes = Batch(jnp.int32, jnp.int32, jnp.int32, jnp.int32, jnp.float32, jnp.int32)
    shape, sharding = (config.train.batch, seq_len), batch_sharding(mesh)
    batch = Batch(*(jax.ShapeDtypeStruct(shape, dtype, sharding=sharding) for dtype in dtypes))
    state = abstract_state(model, tx, mesh)
    with jax.set_mesh(mesh):  # from here on nothing may be computed: the mesh's devices are not there
        platform = {"gpu": "cuda"}.get(mesh.devices.flat[0].platform, mesh.devices.flat[0].platform)
        lowered = step.trace(state, batch, NO_LIMITS).lower(lowering_platforms=(platform,))
    cached = jax.config.values["jax_enable_compilation_cache"]
    try:
        _use_cache(False)  # a program for absent devices can be written to it, and cannot be read back
        return state, lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if not (found := _DOES_NOT_FIT.search(str(error))):
            raise
        number, unit, limit, limit_unit = (part for part in found.groups() if part is not None)
        needed, there = float(number) * _UNITS_GIB[unit], float(limit) * _UNITS_GIB[limit_unit]
        raise _does_not_fit(topology, mesh.devices.flat[0].device_kind, needed, there) from error
    finally:
        _use_cache(cached)


def _use_cache(on: bool) -> None:
    jax.config.update("jax_enable_compilation_cache", on)
    compilation_cache.reset_cache()  # jax looks at the setting once


def _does_not_fit(topology: str, kind: str, needed_gib: float, there_gib: float) -> ConfigError:
    return ConfigError(
        f"does not fit on {topology} ({kind}): by {needed_gib - there_gib:.1f} GiB a device ({needed_gib:.1f} of "
        f"{there_gib:.1f}); try config.model.remat='full', more of config.mesh.fsdp, config.train.accumulate, or a "
        "smaller batch"
    )


def _largest_logits(text: str, vocab: int, embed: int, tensor: int) -> tuple[int, ...]:
    """Shape of the largest float32 array with a dimension of the vocabulary, whole or split over tensor.

    The tables, their gradients and moments have no further dimension than `embed`, or a part of it.
    """
    for shape in hlo.largest_arrays(text, "f32", 1):
        others = [n for n in shape if n not in (1, vocab, vocab // tensor)]
        is_table = len(others) == 1 and embed % others[0] == 0
        if len(others) < sum(n != 1 for n in shape) and others and not is_table:
            return shape
    return ()
