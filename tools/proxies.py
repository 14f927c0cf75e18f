"""A real sweep on small proxies: sizes by budgets, and mixtures of three domains, from raw text to the pages.

    python tools/proxies.py --corpus=FOLDER --out=runs/proxies [--mixtures=12]

FOLDER holds a folder of text for each domain of configs/data/proxies.py. Each command is shown before it runs; given
again, it goes on where it stopped. Seconds on the clock and of CPU are kept in costs.jsonl, a line for each command.
"""

import argparse
import json
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.dataset

DOMAINS = ("en", "code", "zh")
WHOLE, PIECES, PREPARED, COSTS = "whole", "pieces", "prepared", "costs.jsonl"
PIECE = 2_000  # characters: three rows or so
BLOCKS = 6  # of a mixture
LEAST = 0.02  # share of a domain in a mixture that is tried
SEEDS = "(0,1)"  # of that and of the natural mixture


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--out", default="runs/proxies")
    parser.add_argument("--configs", default="proxies", help="files of this name in configs/data and configs/sweeps")
    parser.add_argument("--mixtures", type=int, default=12, help="0: none; of configs/sweeps/mixtures.py")
    args = parser.parse_args()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    prepare(out, args.configs, args.corpus)
    data = settings(args.configs, out / PIECES)
    produce(out, data, out / "natural", None)
    sweep(args.configs, out / "natural", out / "sizes")
    if args.mixtures:
        mixtures(out, data, args.mixtures)
    report(*(out / name for name in ("sizes", "mixed", "compared") if (out / name).exists()))
    tell_costs(out)
    return 0


def mixtures(out: Path, data: str, number: int) -> None:
    """Mixtures drawn at random, the law of their losses, and the one it recommends run beside the natural one."""
    drawn = np.random.default_rng(0).dirichlet(np.ones(len(DOMAINS)), number)
    for i, shares in enumerate(LEAST + (1 - LEAST * len(DOMAINS)) * drawn):
        produce(out, data, out / "mixtures" / f"m{i:02d}", shares.tolist())
    natural = natural_shares(out / "natural")
    named = dict(zip(DOMAINS, (round(share, 4) for share in natural), strict=True))
    sweep("mixtures", out / "mixtures", out / "mixed", shlex.quote(f"--config.natural={named}"))
    report(out / "mixed")
    best = json.loads((out / "mixed" / "fits.json").read_text())["mixture"]["constants"]
    produce(out, data, out / "chosen" / "natural", natural)
    produce(out, data, out / "chosen" / "recommended", [best[f"share/{name}"] for name in DOMAINS])
    sweep("mixtures", out / "chosen", out / "compared", f"--config.seeds={SEEDS}")
    tell_comparison(out / "compared" / "results.jsonl")


def tell_comparison(results: Path) -> None:
    """Mean over the domains of each run's held-out loss, by mixture and seed."""
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    for row in sorted(rows, key=lambda row: (row["data"], row["seed"])):
        losses = {name: round(row[f"loss/{name}"], 4) for name in DOMAINS}
        print(f"{row['data']}, seed {row['seed']}: {losses}, mean {sum(losses.values()) / len(losses):.4f}")


def settings(configs: str, folder: str | Path) -> str:
    return f"--config={shlex.quote(f'configs/data/{configs}.py:{folder}')}"


def prepare(out: Path, configs: str, corpus: str) -> None:
    """Documents without repetitions, cut into pieces: whole books would make blocks, and held-out text, of one each."""
    if (out / PREPARED / "tokenizer" / "tokenizer_info.json").exists():
        return
    for stage in ("ingest", "clean", "dedup"):
        run(out, "data", f"maxlm-data {stage} {settings(configs, corpus)} --dataset={out / WHOLE}")
    table = pyarrow.dataset.dataset(out / WHOLE / "documents").to_table(["text", "domain"])
    for domain in DOMAINS:
        (out / PIECES / domain).mkdir(parents=True, exist_ok=True)
        with open(out / PIECES / domain / "pieces.jsonl", "w") as file:
            for text in table.filter(pyarrow.dataset.field("domain") == domain)["text"].to_pylist():
                file.writelines(json.dumps({"text": piece}) + "\n" for piece in pieces(text))
    for stage in ("ingest", "clean", "dedup", "tokenizer"):
        run(out, "data", f"maxlm-data {stage} {settings(configs, out / PIECES)} --dataset={out / PREPARED}")


def pieces(text: str) -> Iterator[str]:
    """Whole lines together up to PIECE characters; a longer line is a piece of its own."""
    held = ""
    for line in text.splitlines(keepends=True):
        if held and len(held) + len(line) > PIECE:
            yield held
            held = ""
        held += line
    if held.strip():
        yield held


def produce(out: Path, data: str, dataset: Path, shares: list[float] | None) -> None:
    """A data set of its own from the prepared corpus, with these shares of tokens."""
    if (dataset / "done").exists():
        return
    shutil.rmtree(dataset, ignore_errors=True)
    shutil.copytree(out / PREPARED, dataset)
    more = ""
    if shares is not None:
        rounded = [round(share, 3) for share in shares[:-1]]
        named = dict(zip(DOMAINS, [*rounded, round(1 - sum(rounded), 3)], strict=True))
        (dataset / "shares.json").write_text(json.dumps(named))
        more = shlex.quote(f"--config.mixture.shares={named}") + f" --config.produce.num_blocks={BLOCKS}"
    run(out, "data", f"maxlm-data produce {data} --dataset={dataset} {more}")
    (dataset / "done").touch()


def natural_shares(dataset: Path) -> list[float]:
    """Shares of the domains in the blocks of a data set that names none: as the corpus has them."""
    manifests = [json.loads(path.read_text()) for path in sorted(dataset.glob("blocks/*/manifest.json"))]
    tokens = [sum(manifest["domain_tokens"][name] for manifest in manifests) for name in DOMAINS]
    return [number / sum(tokens) for number in tokens]


def sweep(config: str, data: Path, workdir: Path, more: str = "") -> None:
    line = f"maxlm sweep --sweep=configs/sweeps/{config}.py:{data} --workdir={workdir} {more}"
    run(workdir.parent, workdir.name, line)


def report(*workdirs: Path) -> None:
    out = workdirs[0].parent
    sweeps = " ".join(f"--sweep={workdir}" for workdir in workdirs)
    run(out, "fits and pages", f"maxlm report {sweeps} --out={out / 'report.html'}")


def run(out: Path, part: str, line: str) -> None:
    """Runs a command, and notes what it took, with all processes below it, whether it ends well or not."""
    print(f"\n$ {line}", flush=True)
    name, *rest = shlex.split(line)
    started, before = time.monotonic(), cpu_s()
    try:
        code = subprocess.run([str(Path(sys.executable).parent / name), *rest]).returncode
    finally:
        took = {"part": part, "wall_s": round(time.monotonic() - started, 1), "cpu_s": round(cpu_s() - before, 1)}
        with open(out / COSTS, "a") as file:
            file.write(json.dumps({**took, "command": line}) + "\n")
    if code:
        sys.exit(code)


def cpu_s() -> float:
    """Seconds of CPU of all processes that this one started and that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tell_costs(out: Path) -> None:
    """Minutes by part, summed over all calls of this tool."""
    lines = [json.loads(line) for line in (out / COSTS).read_text().splitlines()]
    for part in [*dict.fromkeys(line["part"] for line in lines), ""]:
        of_it = [line for line in lines if part in ("", line["part"])]
        wall, cpu = (sum(line[key] for line in of_it) / 60 for key in ("wall_s", "cpu_s"))
        print(f"{part or 'in all':16}{wall:6.1f} minutes, {cpu:6.1f} of CPU")


if __name__ == "__main__":
    sys.exit(main())
