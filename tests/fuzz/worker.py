"""Reads hostile folders, one after the other, in a process that may crash.

``python -m tests.fuzz.worker TARGET FOLDER`` makes FOLDER and says so; then it takes the path of a case a line, and
answers with what came of it as a line of JSON.
"""

import contextlib
import faulthandler
import json
import os
import re
import resource
import shutil
import sys
import time
import traceback
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from maxlm.errors import UserError
from tests.fuzz.targets import TARGETS, Target

_CEILING_BYTES = 6 << 30  # of address space beyond what the process has when it begins: rather fail than swap
_MOST_CHARACTERS = 1000  # of a message
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def main() -> None:
    faulthandler.enable()
    target, folder, answers = TARGETS[sys.argv[1]], Path(sys.argv[2]), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed meanwhile is no answer
    if not folder.exists():
        target.make(folder)
    warm = folder.with_name("warm")  # what valid files take, imports among it, counts in no case
    shutil.copytree(folder, warm, dirs_exist_ok=True)
    target.seal(warm)
    target.read(warm)
    shutil.rmtree(warm)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + _CEILING_BYTES, size + _CEILING_BYTES))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(_outcome(target, Path(case["folder"]), case["seal"])), file=answers, flush=True)


def _outcome(target: Target, folder: Path, seal: bool) -> dict:
    if seal:
        put_right(target, folder)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began = _memory_mb("VmRSS"), time.perf_counter()
    said = read(target, folder)
    return {
        **said, "seconds": time.perf_counter() - began, "grown_mb": _memory_mb("VmHWM") - before,
    }  # fmt: skip


def put_right(target: Target, folder: Path) -> None:
    """Reckons checksums anew, unless the files are too broken for that: then they stay as they are."""
    with contextlib.suppress(Exception):
        target.seal(folder)


def read(target: Target, folder: Path) -> dict:
    """What came of it; "finding" is what is wrong with that, "" where nothing is."""
    try:
        target.read(folder)
    except UserError as error:
        message = str(error)
        wrong = [
            words
            for words, is_so in (
                ("names no file", str(folder) not in message),
                ("of several lines", "\n" in message),
                ("too long", len(message) > _MOST_CHARACTERS),
                ("with control characters", bool(_CONTROL.search(message))),
            )
            if is_so
        ]
        return {
            "outcome": "refused",
            "message": message[:2000],
            "finding": f"message {', '.join(wrong)}" if wrong else "",
        }
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "/maxlm/" in f.filename or "/data_pipeline/" in f.filename] or frames
        where = f"{Path(ours[-1].filename).name}:{ours[-1].name}"
        return {
            "outcome": "failed",
            "finding": f"{type(error).__name__} in {where}",
            "message": "".join(traceback.format_exception(error))[-3000:],
        }
    return {"outcome": "read", "finding": "", "message": ""}


def _memory_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


if __name__ == "__main__":
    main()
