"""Times training steps of maxlm against a hand-written PyTorch step on the GPU of this machine.

    pip install -e '.[cuda,fp8]' && pip install torch     # torch may stand in an environment of its own: --torch-python
    python tools/bench_gpu.py                             # Llama 1B at 4096 and GPT-2 124M at 1024, bf16, then fp8
    python tools/bench_gpu.py --small                     # the same at toy sizes, on whatever device there is

Every candidate is a process of its own, one after the other, so that each has all of the memory; the whole is done
--rounds times over. A sample is the mean of --steps steps, which the device is given at once; the best sample counts.
MFU: model FLOPs (6 per matrix parameter and token, attention over the causal half, nothing for rematerialisation) over
the vendor's dense bf16 figure (maxlm/parallel/chips.py), for fp8 as well; on a CPU over what a float32 product reaches.
"""

import argparse
import sys
from pathlib import Path

from bench_step import Worker, flops_per_step

from maxlm.parallel.chips import CHIPS

HERE = Path(__file__).parent
LLAMA_1B = {
    "num_layers": 16, "embed": 2048, "num_heads": 32, "num_kv_heads": 8, "head_dim": 64, "mlp": 8192, "vocab": 128_256,
    "batch": 4, "seq_len": 4096, "family": "llama",
}  # fmt: skip
GPT2_124M = {
    "num_layers": 12, "embed": 768, "num_heads": 12, "num_kv_heads": 12, "head_dim": 64, "mlp": 3072, "vocab": 50_304,
    "batch": 32, "seq_len": 1024, "family": "gpt2",
}  # fmt: skip
CASES = {"Llama 3.2 1B": LLAMA_1B, "GPT-2 124M": GPT2_124M}
TOY = {"num_layers": 2, "embed": 64, "num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "mlp": 128, "vocab": 512}
TOY |= {"batch": 2, "seq_len": 128}


def commands(args, shape):
    """(candidate, command) for one shape."""
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in shape.items())
    flags += f" --dtype {'float32' if args.small else 'bfloat16'}"
    if args.torch_python:
        device = "cpu" if args.small else "cuda"
        worker = f"{args.torch_python} {HERE / 'bench_step_torch.py'} {flags} --device {device}"
        yield "torch eager", worker
        yield "torch.compile", f"{worker} --compile"
    # jax would take three quarters of the memory at once, and the peak would say nothing.
    ours = f"XLA_PYTHON_CLIENT_PREALLOCATE=false {sys.executable} {HERE / 'bench_step_maxlm.py'} {flags}"
    for policy in args.remat.split(","):
        yield f"maxlm, {policy}", f"{ours} --remat {policy}"
        yield f"maxlm fp8, {policy}", f"{ours} --remat {policy} --matmul fp8"


def measure(name, command, args):
    """Best seconds of a step, peak memory, peak rate of products where the chip is not known, loss, device."""
    try:
        worker = Worker(name, command)
    except RuntimeError as error:  # out of memory, or a kernel that a device does not have: the others still count
        print(f"{name}: {error}", flush=True)
        return None
    try:
        worker.ask(args.warmup)
        samples = [worker.ask(args.steps) for _ in range(args.samples)]
        device = worker.ready.get("device", "")
        peak = CHIPS[device].peak_flops if device in CHIPS else worker.ask("peak")["flops_per_s"]
        memory = worker.ask("memory")["gib"]
    finally:
        worker.close()
    return {"seconds": min(s["seconds"][0] for s in samples), "gib": memory, "peak": peak, "loss": samples[-1]["loss"]}


def print_table(case, shape, found):
    tokens, flops = shape["batch"] * shape["seq_len"], flops_per_step(shape)
    peak = max(one["peak"] for name, one in found.items() if name.startswith("maxlm"))  # the same chip for all
    yardstick = found.get("torch.compile")
    print(f"\n{case}: batch {shape['batch']} × {shape['seq_len']}, {flops / 1e12:.3g} TFLOP a step", flush=True)
    print(f"{'candidate':24s}{'ms/step':>10s}{'tokens/s':>12s}{'MFU':>8s}{'GiB':>8s}{'loss':>8s}  × torch.compile")
    for name, one in found.items():
        ratio = f"{yardstick['seconds'] / one['seconds']:.2f}" if yardstick else "-"
        print(
            f"{name:24s}{one['seconds'] * 1e3:10.1f}{tokens / one['seconds']:12.0f}"
            f"{flops / one['seconds'] / peak:8.1%}{one['gib']:8.1f}{one['loss']:8.3f}  {ratio}",
            flush=True,
        )


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--torch-python", default=sys.executable, help="interpreter that has torch; '' leaves torch out"
    )
    parser.add_argument("--small", action="store_true", help="toy sizes in float32, to see that all of it runs")
    parser.add_argument("--only", default="", metavar="CASE", help="of the cases those whose name has this in it")
    parser.add_argument("--remat", default="none,dots", help="policies to try (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=3, help="steps before the first sample")
    parser.add_argument("--steps", type=int, default=10, help="steps of a sample")
    parser.add_argument("--samples", type=int, default=3)
    return parser.parse_args()


def main():
    args = parse_args()
    for case, full in CASES.items():
        if args.only not in case:
            continue
        shape = full | TOY if args.small else full
        found = {}
        for _ in range(args.rounds):
            for name, command in commands(args, shape):
                one, best = measure(name, command, args), found.get(name)
                if one and (best is None or one["seconds"] < best["seconds"]):
                    found[name] = one
        print_table(case, shape, found)


if __name__ == "__main__":
    main()
