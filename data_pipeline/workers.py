"""A pool of processes on this machine, for Python code that holds the interpreter's lock."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from typing import Any

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
    with _bar(name, len(jobs)) as advance:
        if count < 2 or size_bytes < _WORTH_PROCESSES_BYTES:
            for key, job in jobs.items():
                work(key, job)
                advance()
        else:
            _run_in_processes(name, work, jobs, advance)


@contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar of progress on a terminal; gives what moves it on by one."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # takes longer to import than a small stage
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total)
        yield lambda: progress.advance(task)


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
