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
LEAST = 0.02  # share of a domain in a mixture that is tried
BOUNDS = "en=0.05:1,code=0.05:1,zh=0.05:1"  # of what is recommended


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
        drawn = np.random.default_rng(0).dirichlet(np.ones(len(DOMAINS)), args.mixtures)
        for i, shares in enumerate(LEAST + (1 - LEAST * len(DOMAINS)) * drawn):
            rounded = [round(float(share), 3) for share in shares[:-1]]
            produce(data, prepared, out / "mixtures" / f"m{i:02d}", [*rounded, round(1 - sum(rounded), 3)])
        sweep(f"configs/sweeps/mixtures.py:{out / 'mixtures'}", out / "mixed")
        if not (out / "mixture.json").exists():
            run(f"maxlm fit --data={out / 'mixed'} --kind=mixture --out={out / 'mixture.json'} --bound=" + BOUNDS)
        best = json.loads((out / "mixture.json").read_text())["constants"]
        compared = {"natural": natural_shares(out / "natural"), "best": [best[f"share/{name}"] for name in DOMAINS]}
        for name, shares in compared.items():
            rounded = [round(share, 3) for share in shares[:-1]]
            produce(data, prepared, out / "mixtures" / name, [*rounded, round(1 - sum(rounded), 3)])
        sweep(f"configs/sweeps/mixtures.py:{out / 'mixtures'}", out / "mixed")
        for line in (out / "mixed" / "results.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row["data"] in compared:
                losses = {name: round(row[f"loss/{name}"], 4) for name in DOMAINS}
                print(f"{row['data']}: {losses}, mean {sum(losses.values()) / len(losses):.4f}")
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


def natural_shares(dataset: Path) -> list[float]:
    """Shares of the domains in the blocks of a data set that names none: as the corpus has them."""
    manifests = [json.loads(path.read_text()) for path in sorted(dataset.glob("blocks/*/manifest.json"))]
    tokens = [sum(manifest["domain_tokens"][name] for manifest in manifests) for name in DOMAINS]
    return [number / sum(tokens) for number in tokens]


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
