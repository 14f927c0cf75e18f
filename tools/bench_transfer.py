"""Anonymous memory of an import or export: bench_transfer.py import FOLDER RUN, or export RUN FOLDER [DTYPE].

Compare it with the largest tensor in float32. Pages of mapped files do not count: the system takes them back.
"""

import sys
import threading
import time

from maxlm.train.transfer import export_run, import_run


def main() -> None:
    act, source, target, *dtype = sys.argv[1:]
    before, peak, done = _anonymous_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], _anonymous_mb())

    watcher, started = threading.Thread(target=watch, daemon=True), time.perf_counter()
    watcher.start()
    if act == "import":
        import_run(source, target)
    else:
        export_run(source, target, dtype=dtype[0] if dtype else "float32")
    done.set()
    print(f"{act}: {peak[0] - before:.0f} MB more than before, {time.perf_counter() - started:.1f} s")


def _anonymous_mb() -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024


if __name__ == "__main__":
    main()
