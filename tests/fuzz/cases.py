"""Hostile cases of a target: drawn by hypothesis, read in a process of their own, judged."""

import fnmatch
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.mutation import FOLDER, GONE, MUTATORS, PIPE, Content, Link, mutate_file
from tests.fuzz.targets import BOUND_MB, SECONDS, TARGETS
from tests.house.modules import ROOT

_START_S = 180


@dataclass(frozen=True)
class Case:
    """What was put in place of which files, and whether checksums were put right."""

    files: dict[str, Content]
    seal: bool = False

    def __repr__(self) -> str:
        shown = {name: repr(content)[:3000] for name, content in self.files.items()}
        return f"Case({{{', '.join(f'{name!r}: {content}' for name, content in shown.items())}}}, seal={self.seal})"


class Files:
    """Valid files: their folder, and name -> (mutator, bytes) of those that a target wants changed."""

    def __init__(self, folder: Path, kinds: dict[str, str]):
        self.folder, self.contents = folder, {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_file() and (kind := _kind(name, kinds)):
                self.contents[name] = kind, path.read_bytes()


class Reader:
    """The process that reads cases of one target; started anew where a case ended it."""

    def __init__(self, target: str):
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._target, self._folder = target, Path(tempfile.mkdtemp(prefix=f"fuzz-{target}-", dir=base))
        self.valid, self._number = self._folder / "valid", 0
        self._process: subprocess.Popen[str] | None = None
        self._start()
        self.files = Files(self.valid, TARGETS[target].kinds)

    def _start(self) -> None:
        line = [sys.executable, "-m", "tests.fuzz.worker", self._target, str(self.valid)]
        self._errors = open(self._folder / "stderr", "w+")
        self._process = subprocess.Popen(
            line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        said = self._answer(_START_S)
        assert said == "ready\n", (said, (self._folder / "stderr").read_text()[-3000:])

    def _answer(self, patience_s: float) -> str | None:
        """A line; "" where the process ended, None where nothing came in time."""
        assert self._process is not None
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], patience_s)[0]:
            return None
        return self._process.stdout.readline()

    def read(self, case: Case) -> dict[str, Any]:
        """What came of a case: "finding" is "" where nothing is wrong with that."""
        self._number += 1
        folder = self._folder / f"case-{self._number}"
        shutil.copytree(self.valid, folder)
        try:
            for name, content in case.files.items():
                put(folder / name, content)
            return self._judged(folder, case)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _judged(self, folder: Path, case: Case) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"folder": str(folder), "seal": case.seal}) + "\n")
        self._process.stdin.flush()
        answer = self._answer(SECONDS)
        if answer:
            found = json.loads(answer)
            if not found["finding"] and found["grown_mb"] > BOUND_MB:
                found["finding"] = f"memory above {BOUND_MB} MB"
            return found
        if answer is None:
            self._process.kill()
        code = self._process.wait()
        words = f"nothing in {SECONDS} s" if answer is None else f"the process ended with {code}"
        stderr = (self._folder / "stderr").read_text()[-2000:]
        self._start()
        return {"outcome": "crashed", "finding": words, "message": stderr, "seconds": SECONDS, "grown_mb": 0.0}

    def close(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._errors.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _kind(name: str, kinds: dict[str, str]) -> str:
    return next((kind for pattern, kind in kinds.items() if fnmatch.fnmatch(name, pattern)), "")


def put(path: Path, content: Content) -> None:
    path.unlink(missing_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, Link):
        path.symlink_to(content.to)
    elif content == FOLDER:
        path.mkdir()
    elif content == PIPE:
        os.mkfifo(path)
    else:
        assert content == GONE


@st.composite
def cases(draw: Any, valid: Files) -> Case:
    """One or two files made hostile."""
    names = draw(st.lists(st.sampled_from(sorted(valid.contents)), min_size=1, max_size=2, unique=True))
    files = {}
    for name in names:
        kind, raw = valid.contents[name]
        files[name] = mutate_file(draw, raw, MUTATORS[kind])
    return Case(files, draw(st.booleans()) and all(isinstance(content, bytes) for content in files.values()))
