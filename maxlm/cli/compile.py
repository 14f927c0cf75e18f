"""`maxlm compile --config=configs/X.py --topology=v5p:4x4x4`"""

import argparse
import dataclasses
import json
import os

from rich.console import Console
from rich.table import Table

from maxlm import config as configs
from maxlm.config import Overrides
from maxlm.train.aot import Compiled, compile_step
from maxlm.train.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE[:ARGS]", help="a config file")
    parser.add_argument("--topology", required=True, metavar="SLICE", help="a TPU slice: v5e:4x4, v5p:4x4x4, v6e:8x8 …")
    parser.add_argument("--seq-len", type=int, default=4096, metavar="N", help="tokens of a row (default: %(default)s)")
    parser.add_argument("--tokens", type=float, default=1e12, metavar="D", help="of the whole run, for its duration")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.epilog = "Needs no TPU: pip install 'maxlm[tpu]' on any Linux machine. Config keys can be set as for train."


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    # libtpu looks for the slice that this machine would belong to, and complains when there is none.
    os.environ.update({"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"})
    config = configs.load(arguments.config, overrides, Config)
    found = compile_step(config, arguments.topology, arguments.seq_len)
    if arguments.json:
        print(json.dumps({**dataclasses.asdict(found), "step_s": found.step_s(), "mfu": found.mfu()}, indent=2))
    else:
        Console(highlight=False).print(table(found, arguments.tokens))


def table(found: Compiled, tokens: float) -> Table:
    """The figures for a person."""
    rows = Table(title=f"{found.num_params:,} parameters on {found.topology}", show_header=False)
    share = found.peak_gib / found.memory_gib
    rows.add_row("devices", f"{found.devices} × {found.kind}, " + " ".join(f"{k}={n}" for k, n in found.mesh.items()))
    rows.add_row("memory a device", f"{found.peak_gib:.1f} GiB at the peak, {share:.0%} of {found.memory_gib:.0f}")
    rows.add_row("", f"arguments {found.arguments_gib:.1f}, temporaries {found.temporaries_gib:.1f} GiB")
    rows.add_row("tokens a step", f"{found.tokens_per_step:,}")
    rows.add_row("FLOPs a device", f"{found.flops:.3g}, of them the model's {found.model_flops:.3g}")
    for kind, (times, gib, overlapping) in found.collectives.items():
        rows.add_row(kind, f"{times} a step, {gib:.1f} GiB; {overlapping} begin and end apart")
    best, worst = found.step_s()
    rows.add_row("products", f"{found.compute_s:.2f} s a step at the peak rate")
    rows.add_row("communication", f"{found.communication_s:.2f} s at the links' rate")
    rows.add_row("a step by the roofline", f"{best:.2f} s if all of it is hidden, {worst:.2f} s if none is")
    rows.add_row("MFU, at most", " to ".join(f"{mfu:.0%}" for mfu in reversed(found.mfu())))
    days = [tokens / found.tokens_per_step * seconds / 86_400 for seconds in (best, worst)]
    rows.add_row(f"days for {tokens:.3g} tokens", f"{days[0]:.1f} to {days[1]:.1f}")
    wide = ", ".join("×".join(map(str, shape)) for shape in found.wide_logits)
    rows.add_row("float32 logits of all tokens", wide or "none")
    return rows
