"""`maxlm compile --config=configs/X.py --topology=v5p:4x4x4`"""

import argparse
import dataclasses
import json
import os

import jax
from rich.console import Console
from rich.table import Table

from maxlm import config as configs
from maxlm.config import Overrides
from maxlm.parallel import xla_flags
from maxlm.train.aot import Compiled, compile_step
from maxlm.train.config import Config

# libtpu looks for the slice that this machine would belong to, complains when there is none, and wants to be alone.
_NO_TPU = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE[:ARGS]", help="a config file")
    parser.add_argument(
        "--topology", required=True, metavar="NAME", help="a TPU slice: v5p:4x4x4, v6e:8x8 …; GPUs: h100:8, h200:4x8 …"
    )
    parser.add_argument("--seq-len", type=int, default=4096, metavar="N", help="tokens of a row (default: %(default)s)")
    parser.add_argument("--tokens", type=float, default=1e12, metavar="D", help="of the whole run, for its duration")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.epilog = (
        "Needs no TPU and no GPU: pip install 'maxlm[tpu]' or 'maxlm[cuda-compile]' on any Linux machine. Config keys "
        "can be set as for train."
    )


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    os.environ.update(_NO_TPU)
    jax.config.update("jax_platforms", "cpu")  # the plugin for CUDA then does without a driver
    xla_flags.apply()
    config = configs.load(arguments.config, overrides, Config)
    found = compile_step(config, arguments.topology, arguments.seq_len)
    if arguments.json:
        derived = {name: getattr(found, name) for name in ("compute_s", "hidden_s", "exposed_s", "step_s", "mfu")}
        print(json.dumps({**dataclasses.asdict(found), **derived}, indent=2))
    else:
        Console(highlight=False).print(table(found, arguments.tokens))


def table(found: Compiled, tokens: float) -> Table:
    """The figures for a person."""
    rows = Table(title=f"{found.num_params:,} parameters on {found.topology}", show_header=False)
    rows.add_row("devices", f"{found.devices} × {found.kind}, " + " ".join(f"{k}={n}" for k, n in found.mesh.items()))
    share = found.peak_gib / found.memory_gib
    rows.add_row("memory a device", f"{found.peak_gib:.1f} GiB at the peak, {share:.0%} of {found.memory_gib:.0f}")
    parts = {"parameters": found.parameters_gib, "optimizer": found.optimizer_gib, "batch": found.batch_gib}
    parts["temporaries"] = found.temporaries_gib
    rows.add_row("", ", ".join(f"{name} {gib:.2f}" for name, gib in parts.items()) + " GiB")
    if found.host_gib:
        rows.add_row("memory of the host", f"{found.host_gib:.1f} GiB for a device")
    rows.add_row("float32 logits", _logits(found))
    rows.add_row("attention", found.attention)
    rows.add_row("tokens a step", f"{found.tokens_per_step:,}")
    rows.add_row("FLOPs a device", f"{found.flops:.3g}, of them the model's {found.model_flops:.3g}")
    for kind, one in found.collectives.items():
        hidden = f"{one.hidden_gib / one.gib:.0%} of it in {one.hidden_runs} beside products" if one.gib else "nothing"
        rows.add_row(kind, f"{one.runs} a step, {one.gib:.2f} GiB sent; {hidden}")
    rows.add_row("products", f"{found.compute_s:.3f} s a step at the peak rate")
    rows.add_row(
        "communication", f"{found.hidden_s:.3f} s beside them, {found.exposed_s:.3f} s alone, at the links' rate"
    )
    rows.add_row("a step by the roofline", f"{found.step_s:.3f} s; MFU at most {found.mfu:.0%}")
    days = tokens / found.tokens_per_step * found.step_s / 86_400
    rows.add_row(f"days for {tokens:.3g} tokens", f"{days:.1f} at least")
    rows.add_row("compiled in", f"{found.compile_s:.0f} s")
    return rows


def _logits(found: Compiled) -> str:
    if found.all_logits:
        return f"of all tokens at a time: {found.logits_gib:.2f} GiB"
    if not found.largest_logits:
        return "none in memory"
    size = "×".join(map(str, found.largest_logits))
    return f"never of all tokens ({found.logits_gib:.2f} GiB); the largest piece is {size}"
