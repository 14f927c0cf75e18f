"""A real sweep on small proxies: sizes by budgets, and mixtures of three domains, from raw text to the pages.

    python tools/proxies.py --corpus=FOLDER --out=runs/proxies [--mixtures=12]

FOLDER holds a folder of text for each domain of configs/data/proxies.py. Each command is shown before it runs; given
again, it goes on where it stopped.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

DOMAINS = ("en", "code", "zh")
BLOCKS = 4  # of a mixture


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--out", default="runs/proxies")
    parser.add_argument("--mixtures", type=int, default=12, help="0: none")
    args = parser.parse_args()
    out, started = Path(args.out), time.monotonic()
    data = f"--config={shlex.quote(f'configs/data/proxies.py:{args.corpus}')}"
    prepared = out / "prepared"
    if not (prepared / "tokenizer" / "tokenizer_info.json").exists():
        for stage in ("ingest", "clean", "dedup", "tokenizer"):
            run(f"maxlm-data {stage} {data} --dataset={prepared}")
    produce(data, prepared, out / "natural", None)
    sweep(f"configs/sweeps/proxies.py:{out / 'natural'}", out / "sizes")
    if args.mixtures:
        for i, shares in enumerate(np.random.default_rng(0).dirichlet(np.ones(len(DOMAINS)), args.mixtures)):
            rounded = [round(float(share), 3) for share in shares[:-1]]
            produce(data, prepared, out / "mixtures" / f"m{i:02d}", [*rounded, round(1 - sum(rounded), 3)])
        sweep(f"configs/sweeps/mixtures.py:{out / 'mixtures'}", out / "mixed")
    print(f"{(time.monotonic() - started) / 60:.1f} minutes")
    return 0


def produce(data: str, prepared: Path, dataset: Path, shares: list[float] | None) -> None:
    """A data set of its own from the prepared corpus, with these shares of tokens."""
    if (dataset / "done").exists():
        return
    shutil.rmtree(dataset, ignore_errors=True)
    shutil.copytree(prepared, dataset)
    more = ""
    if shares is not None:
        named = dict(zip(DOMAINS, shares, strict=True))
        (dataset / "shares.json").write_text(json.dumps(named))
        more = shlex.quote(f"--config.mixture.shares={named}") + f" --config.produce.num_blocks={BLOCKS}"
    run(f"maxlm-data produce {data} --dataset={dataset} {more}")
    (dataset / "done").touch()


def sweep(file: str, workdir: Path) -> None:
    run(f"maxlm sweep --sweep={file} --workdir={workdir}")
    run(f"maxlm report --sweep={workdir}")


def run(line: str) -> None:
    print(f"\n$ {line}", flush=True)
    name, *rest = shlex.split(line)
    if code := subprocess.run([str(Path(sys.executable).parent / name), *rest]).returncode:
        sys.exit(code)


if __name__ == "__main__":
    sys.exit(main())
