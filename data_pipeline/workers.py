"""A pool of processes on this machine, for Python code that holds the interpreter's lock."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any

from rich.console import Console
from rich.progress import Progress

from maxlm.errors import DataError

# Below this much input, starting processes (half a second and their imports) takes longer than the work.
_WORTH_PROCESSES_BYTES = 2_000_000


def run(name: str, work: Callable[[str, Any], None], jobs: Mapping[str, Any], size_bytes: int) -> None:
    """Calls ``work(key, job)`` for all `jobs`, on all cores where `size_bytes` of input are worth it.

    Raises:
      DataError: a process died (killed, or out of memory).
      Exception: whatever `work` raised first; jobs not yet begun are dropped.
    """
    count = min(os.cpu_count() or 1, len(jobs))
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=len(jobs))
        if count < 2 or size_bytes < _WORTH_PROCESSES_BYTES:
            for key, job in jobs.items():
                work(key, job)
                progress.advance(bar)
        else:
            _run_in_processes(name, work, jobs, lambda: progress.advance(bar))


def _run_in_processes(
    name: str,
    work: Callable[[str, Any], None],
    jobs: Mapping[str, Any],
    advance: Callable[[], None],
) -> None:
    futures = [_pool().submit(work, key, job) for key, job in jobs.items()]
    try:
        for future in as_completed(futures):
            future.result()
            advance()
    except BrokenProcessPool as error:
        _pool.cache_clear()
        raise DataError(
            f"{name}: a worker process died, most likely for want of memory: "
            "more partitions make each smaller (--config.partitions), then run the command again"
        ) from error
    finally:
        for future in futures:
            future.cancel()
        wait(futures)  # what is under way ends before anybody looks at its folder


@cache
def _pool() -> ProcessPoolExecutor:
    """One pool for all stages of a command: a process takes half a second to start and to import what it needs."""
    # spawn: forking a process that already runs Arrow's or Daft's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(os.cpu_count() or 1, mp_context=context, initializer=_prepare_worker)


def _prepare_worker() -> None:
    """Lets a worker die quietly: at once on Ctrl-C, and when the process that started it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
