"""The first ten minutes: from raw text to a trained, sampled model, by the commands that a person would type.

Every command is shown before it runs. The data process runs beside the training process, as it does in earnest.

    python tools/quickstart.py [--corpus=DIR] [--out=runs/quickstart]
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maxlm.report.collect import collect_run
from maxlm.report.plots import save_png

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = ("import os", "The module", "春天")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", default="", help="folder of txt, jsonl or Parquet; by default the machine's text")
    parser.add_argument("--out", default="runs/quickstart", help="where everything is written")
    parser.add_argument("--train-args", default="", help="more arguments for maxlm train, e.g. to make it smaller")
    parser.add_argument("--data-args", default="", help="more arguments for maxlm-data, likewise")
    args = parser.parse_args()
    corpus = Path(args.corpus).expanduser().resolve() if args.corpus else None
    os.chdir(ROOT)
    dataset, workdir = f"{args.out}/data", f"{args.out}/run"
    for folder in (dataset, workdir):  # of an earlier quickstart, perhaps on another corpus
        shutil.rmtree(folder, ignore_errors=True)
    config = shlex.quote("configs/data/quickstart.py" + (f":{corpus}" if corpus else ""))
    data = f"--config={config} --dataset={dataset} {args.data_args}"
    train = (
        f"maxlm train --config=configs/quickstart.py --workdir={workdir} "
        f"--config.data.dataset={dataset} {args.train_args}"
    )
    started = time.monotonic()

    say("1. Clean a corpus, and see what was thrown away")
    for stage in ("ingest", "clean", "dedup"):
        run(f"maxlm-data {stage} {data}")
    run(f"maxlm-data report --dataset={dataset}")
    say("2. Train a tokenizer on it")
    run(f"maxlm-data tokenizer {data}")
    say("3. Produce blocks of tokens, and train on them meanwhile")
    with beside(f"maxlm-data produce {data}", f"{args.out}/produce.log") as producer:
        run(train, needs=producer)
    say("4. Go back a block, and on")
    blocks = collect_run(workdir).blocks_done
    run(f"maxlm rollback --workdir={workdir} --to-block={blocks - 2}")
    run(train)
    run(f"maxlm status --workdir={workdir}")
    say("5. What has it learnt? Held-out loss beside a unigram model of the same tokens")
    run(f"maxlm eval --workdir={workdir}")
    for prompt in PROMPTS:
        run(f"maxlm generate --workdir={workdir} --max-tokens=120 --prompt={shlex.quote(prompt)}")
    run(f"maxlm report --workdir={workdir}")
    save_png(collect_run(workdir), f"{args.out}/loss.png")
    say(f"Done in {(time.monotonic() - started) / 60:.1f} minutes. Loss curves: {args.out}/loss.png")
    return 0


def say(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def command(line: str) -> list[str]:
    """The command line as typed, from the environment that this script runs in."""
    name, *rest = shlex.split(line)
    return [str(Path(sys.executable).parent / name), *rest]


def run(line: str, needs: subprocess.Popen | None = None) -> None:
    """Runs a command in the foreground; if the process that it `needs` fails, it is stopped."""
    print(f"\n$ {line}", flush=True)
    process = subprocess.Popen(command(line))
    try:
        while process.poll() is None:
            time.sleep(0.1)
            if needs is not None and needs.poll():
                process.terminate()
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        sys.exit(process.returncode if process.returncode > 0 else 1)


@contextmanager
def beside(line: str, log: str) -> Iterator[subprocess.Popen]:
    """Runs a command in the background; it ends by itself once the run in the foreground is finished."""
    print(f"\n$ {line} > {log} &", flush=True)
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as file:
        process = subprocess.Popen(command(line), stdout=file, stderr=subprocess.STDOUT)
        try:
            yield process
            process.wait()
        finally:
            process.kill()
            process.wait()
            print(Path(log).read_text(), flush=True)
    if process.returncode:
        sys.exit(process.returncode)


if __name__ == "__main__":
    sys.exit(main())
