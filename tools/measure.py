"""Seconds, CPU seconds and resident memory of a command with all of its processes (Linux)."""

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_S = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Figures:
    """What a command took. `peak_mb` is the largest sum of its processes' resident sizes, sampled ten times a second;
    pages that processes share count once for each."""

    seconds: float
    cpu_seconds: float
    peak_mb: float

    def __add__(self, other: "Figures") -> "Figures":
        """Of one command after another."""
        return Figures(
            self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds, max(self.peak_mb, other.peak_mb)
        )


def measure(command: Sequence[str], **options: object) -> Figures:
    """Runs a command to its end; `options` go to subprocess.Popen.

    Raises:
      SystemExit: it failed; holds the end of what it printed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)  # type: ignore[call-overload]
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(_resident_bytes, _family(process.pid))))
            time.sleep(_SAMPLE_S)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)}\n{output.read()[-4000:].decode(errors='replace')}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(time.perf_counter() - start, cpu, peak / 2**20)


def compile_packages(python: str, *folders: Path) -> None:
    """Gives an interpreter the byte code of all its packages and of `folders`, as an installation by pip does.

    Without it (installed by uv, or with PYTHONDONTWRITEBYTECODE set) every process compiles what it imports anew.
    """
    script = "import compileall, sys; [compileall.compile_dir(f, quiet=2) for f in sys.argv[1:]]"
    packages = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    subprocess.run([python, "-c", script, packages.strip(), *map(str, folders)], check=True)


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for member in found:
        try:
            tasks = list(Path(f"/proc/{member}/task").iterdir())
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
    return found


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0
