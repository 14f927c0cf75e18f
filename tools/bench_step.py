"""Times one training step of maxlm against plain PyTorch on the CPU of this machine.

Every candidate is a live worker process commanded over pipes, one step at a time and in
turn, so that no two ever run together and slow spells of the machine hit all alike. CPU
time used by other processes during a step is measured from /proc; a step during which
they took more than --max-disturbance of the machine is set aside.

A worker reads lines from standard input, a number of steps or the word ``peak`` or ``memory``, and
answers each with one line of JSON; ``bench_step_torch.py`` and ``bench_step_maxlm.py`` are such workers.

    make bench                                   # torch eager, torch.compile and maxlm, 14M parameters
    python tools/bench_step.py --rounds=8 --candidate='scanned=python tools/bench_step_maxlm.py --scan-layers'
"""

import argparse
import dataclasses
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SHAPE = {
    "num_layers": 6, "embed": 384, "num_heads": 6, "num_kv_heads": 6, "head_dim": 64,
    "mlp": 1024, "vocab": 8192, "batch": 8, "seq_len": 512,
}  # fmt: skip


@dataclasses.dataclass
class Sample:
    seconds: float
    disturbance: float  # share of the machine taken by other processes
    cpu_seconds: float  # of the worker, all threads
    loss: float


class Worker:
    """A live process that runs training steps on command."""

    def __init__(self, name: str, command: str):
        self.name = name
        words = shlex.split(command)
        environment = dict(os.environ)
        while "=" in words[0]:
            key, value = words.pop(0).split("=", 1)
            environment[key] = value
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.samples = []
        self.ready = self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"worker {self.name!r} ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        return self._answer()

    def run_step(self):
        start, busy, own = time.perf_counter(), machine_cpu_s(), process_cpu_s(self.process.pid)
        answer = self.ask("1")
        wall = time.perf_counter() - start
        own = process_cpu_s(self.process.pid) - own
        others = max(0.0, machine_cpu_s() - busy - own)
        disturbance = others / (wall * os.cpu_count())
        self.samples.append(Sample(answer["seconds"][0], disturbance, own, answer["loss"]))

    def quiet_seconds(self, max_disturbance):
        return [s.seconds for s in self.samples if s.disturbance <= max_disturbance]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def machine_cpu_s():
    """CPU seconds used by all processes, and by other guests of the host (steal)."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / CLOCK_TICKS_PER_S


def process_cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S


def flops_per_step(shape):
    """Model FLOPs: 6 per matrix parameter and token, plus causal attention at half of its square."""
    width = shape["num_heads"] * shape["head_dim"]
    kv_width = shape["num_kv_heads"] * shape["head_dim"]
    matrices = 2 if shape.get("family") == "gpt2" else 3  # of an MLP
    layer = shape["embed"] * (2 * width + 2 * kv_width + matrices * shape["mlp"])
    params = shape["num_layers"] * layer + shape["vocab"] * shape["embed"]
    attention = 6 * shape["num_layers"] * width * shape["seq_len"]
    return (6 * params + attention) * shape["batch"] * shape["seq_len"]


def wait_until_quiet(max_disturbance, patience_s, probe_s=0.5):
    """Returns once other processes leave the machine alone, or patience runs out."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        busy = machine_cpu_s()
        time.sleep(probe_s)
        if machine_cpu_s() - busy <= max_disturbance * probe_s * os.cpu_count():
            return


def run_rounds(workers, rounds, max_disturbance, time_limit_s):
    """Steps the workers in turn until each has ``rounds`` undisturbed samples or time is up."""
    deadline = time.monotonic() + time_limit_s
    while time.monotonic() < deadline:
        for worker in workers:
            wait_until_quiet(max_disturbance, min(10.0, deadline - time.monotonic()))
            worker.run_step()
        if all(len(w.quiet_seconds(max_disturbance)) >= rounds for w in workers):
            return


def print_table(workers, peaks, shape, max_disturbance):
    tokens, flops = shape["batch"] * shape["seq_len"], flops_per_step(shape)
    kept = {w.name: w.quiet_seconds(max_disturbance) or [s.seconds for s in w.samples] for w in workers}
    best = {name: min(seconds) for name, seconds in kept.items()}
    references = [w.name for w in workers if w.name.startswith("torch")]
    header = ["candidate", "ms/step", "median", "quiet", "cpu s", "tokens/s", "GFLOP/s", "of peak"]
    rows = [header + [f"x {name}" for name in references]]
    for w in workers:
        speed = flops / best[w.name]
        quiet = len(w.quiet_seconds(max_disturbance))
        row = [
            w.name, f"{best[w.name] * 1e3:.0f}", f"{statistics.median(kept[w.name]) * 1e3:.0f}",
            f"{quiet}/{len(w.samples)}", f"{min(s.cpu_seconds for s in w.samples):.2f}",
            f"{tokens / best[w.name]:.0f}", f"{speed / 1e9:.1f}",
            f"{speed / peaks[w.name]:.2f}" if w.name in peaks else "-",
        ]  # fmt: skip
        rows.append(row + [f"{best[name] / best[w.name]:.2f}" for name in references])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [c.rjust(n) for c, n in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells), flush=True)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--torch-python", default=sys.executable, help="interpreter that has torch; '' leaves torch out"
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--candidate", action="append", default=[], metavar="NAME=COMMAND",
        help="a further worker; its command may begin with VARIABLE=value words",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="undisturbed steps wanted of each")
    parser.add_argument("--max-disturbance", type=float, default=0.05)
    parser.add_argument("--time-limit-s", type=float, default=240)
    for name, default in SHAPE.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    return parser.parse_args()


def worker_commands(args, shape):
    flags = f"--dtype {args.dtype} " + " ".join(f"--{name.replace('_', '-')} {value}" for name, value in shape.items())
    if args.torch_python:
        yield "torch eager", f"{args.torch_python} {HERE / 'bench_step_torch.py'} {flags}"
        yield "torch.compile", f"{args.torch_python} {HERE / 'bench_step_torch.py'} --compile {flags}"
    yield "maxlm", f"{sys.executable} {HERE / 'bench_step_maxlm.py'} {flags}"
    for text in args.candidate:
        name, command = text.split("=", 1)
        yield name, f"{command} {flags}"


def main():
    args = parse_args()
    shape = {name: getattr(args, name) for name in SHAPE}
    workers = []
    try:
        for name, command in worker_commands(args, shape):
            workers.append(Worker(name, command))
        run_rounds(workers, args.rounds, args.max_disturbance, args.time_limit_s)
        peaks = {}
        for _ in range(3):
            for w in workers:
                peaks[w.name] = max(peaks.get(w.name, 0), w.ask("peak")["flops_per_s"])
        print_table(workers, peaks, shape, args.max_disturbance)
        for w in workers:
            print(f"{w.name}: loss {w.samples[-1].loss:.4f} after {len(w.samples)} steps; {w.ready}")
    finally:
        for w in workers:
            w.close()


if __name__ == "__main__":
    main()
