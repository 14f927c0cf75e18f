"""A command line in a process of its own that has its imports behind it: they take over half of a tiny run's time.

A server imports the packages once, starts nothing, and forks for each command. The environment that jax reads when it
is imported (platform, caches) is therefore the server's; what it reads later, as the number of devices, the command's.
What a command forgets to import is not found out this way: tests/quickstart and tests/faults start real processes.
"""

import atexit
import functools
import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_PRELOADED = ["maxlm.cli.train", "maxlm.train.run", "maxlm.eval.suite", "maxlm.report.html"]


@functools.cache
def _server() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def run(
    module: str, line: list[str], environment: Mapping[str, str], folder: Path, typed: str = "", timeout_s: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs `main()` of a module with these arguments to its end; `typed` is its input.

    Raises TimeoutError: it took too long.
    """
    with tempfile.TemporaryDirectory() as said:
        streams = [Path(said) / name for name in ("in", "out", "err")]
        for stream in streams:
            stream.write_text(typed if stream.name == "in" else "")
        _, out, err = streams
        process = _server().Process(target=_run, args=(module, line, dict(environment), folder, streams))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{line}: not done after {timeout_s} s; said {err.read_text()[-3000:]}")
        return subprocess.CompletedProcess(line, process.exitcode, out.read_text(), err.read_text())


def _run(module: str, line: list[str], environment: dict[str, str], folder: Path, streams: list[Path]) -> None:
    for number, (path, how) in enumerate(zip(streams, (os.O_RDONLY, os.O_APPEND, os.O_APPEND), strict=True)):
        opened = os.open(path, how if number == 0 else how | os.O_WRONLY)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # multiprocessing has put nothing in its place
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["maxlm", *line]
    try:
        code = importlib.import_module(module).main()
    finally:
        atexit._run_exitfuncs()  # multiprocessing's children leave without; a crash there is the command's
    sys.exit(code)
