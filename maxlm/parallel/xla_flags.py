"""Flags of XLA that matter for speed, each with its reason: the one place for them.

The compiler reads them when jax is first used, so `apply` comes before that. What a user has set stays as it is. An
unknown flag ends the process: all of these are tried by tests/maxlm/parallel/test_xla_flags.py.
"""

import os
import re
from collections.abc import MutableMapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    name: str
    value: str
    why: str


# environment variable -> flags. XLA_FLAGS is for CPUs and GPUs, LIBTPU_INIT_ARGS for TPUs.
FLAGS: dict[str, tuple[Flag, ...]] = {
    "XLA_FLAGS": (
        Flag(
            "xla_gpu_enable_latency_hiding_scheduler",
            "true",
            "begins a collective as early and waits for it as late as its data allow, so that products run meanwhile",
        ),
        Flag(
            "xla_gpu_enable_pipelined_all_gather",
            "true",
            "gathers the next layer's parameters, in the loop over layers, while this layer computes",
        ),
        Flag(
            "xla_gpu_enable_pipelined_reduce_scatter",
            "true",
            "sums up a layer's gradients, in the loop over layers, while the next one's are computed",
        ),
        Flag(
            "xla_gpu_enable_while_loop_double_buffering",
            "true",
            "unrolls the loop over layers by two, without which what was pipelined would be copied in every turn",
        ),
    ),
    "LIBTPU_INIT_ARGS": (
        Flag(
            "xla_tpu_enable_async_collective_fusion",
            "true",
            "runs pieces of a collective within the products beside it",
        ),
        Flag(
            "xla_tpu_enable_async_collective_fusion_fuse_all_gather",
            "true",
            "the same for the gathering of parameters (fsdp), the most frequent collective",
        ),
        Flag(
            "xla_tpu_enable_async_collective_fusion_multiple_steps",
            "true",
            "lets one collective spread over several products, where one is too short to hide it",
        ),
        Flag("xla_tpu_overlap_compute_collective_tc", "true", "lets products and collectives share the tensor core"),
        Flag("xla_enable_async_all_gather", "true", "splits a gathering into a begin and an end, so that work goes on"),
        Flag(
            "xla_tpu_enable_sparse_core_collective_offload_reduce_scatter",
            "true",
            "sums gradients up on the sparse cores (v5p, v6e, v7x), while the tensor core goes on; the same within "
            "products (..._fuse_reduce_scatter) ran out of the core's own memory for Llama 3 8B",
        ),
        Flag("xla_tpu_use_tc_device_shape_on_sc", "true", "what the sparse cores' collectives need: the same mesh"),
        Flag("xla_sc_disable_megacore_partitioning", "true", "and one sparse core for both halves of a chip"),
    ),
}


def apply(environment: MutableMapping[str, str] = os.environ) -> None:
    """Adds the flags to the environment, but for those that it sets already."""
    for variable, flags in FLAGS.items():
        given = environment.get(variable, "")
        names = set(re.findall(r"--(\w+)", given))
        more = [f"--{flag.name}={flag.value}" for flag in flags if flag.name not in names]
        environment[variable] = " ".join(filter(None, [given, *more]))
