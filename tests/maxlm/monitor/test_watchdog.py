"""A process that hangs shows where, and ends with an exit code that a launcher restarts on."""

import subprocess
import sys
import time

import pytest

from maxlm.errors import EXIT_TRY_AGAIN
from maxlm.monitor.config import StuckConfig
from maxlm.monitor.watchdog import Watchdog
from tests.runs import ROOT

HANGS = """
import time
from maxlm.journal import Journal
from maxlm.monitor.config import StuckConfig
from maxlm.monitor.watchdog import Watchdog

def tell(doing, silent_s):
    {tell}

def hang_in_a_collective():
    time.sleep({sleeps})

dog = Watchdog(StuckConfig({policy!r}, 0.4), tell)
for _ in range(3):
    time.sleep(0.2)
    dog.beat("waiting for the step after 3")
with dog.resting():
    time.sleep(0.8)
print("rested", flush=True)
hang_in_a_collective()
dog.close()
print("ended by itself", flush=True)
"""


def _run(policy: str, sleeps: float = 60.0, tell: str = "print(f'told: {doing}', flush=True)"):
    code = HANGS.format(policy=policy, sleeps=sleeps, tell=tell)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50)


def test_what_hangs_is_shown_and_ended():
    done = _run("stop")
    assert done.returncode == EXIT_TRY_AGAIN == 75
    assert done.stdout.split("\n")[:2] == ["rested", "told: waiting for the step after 3"]
    assert "error: nothing has happened for 0 s, while waiting for the step after 3; all threads" in done.stderr
    assert "in hang_in_a_collective" in done.stderr


def test_a_journal_that_hangs_too_does_not_keep_it():
    started = time.monotonic()
    assert _run("stop", tell="time.sleep(600)").returncode == EXIT_TRY_AGAIN
    assert time.monotonic() - started < 30


def test_a_warning_comes_once_and_the_run_goes_on():
    done = _run("warn", sleeps=1.5)
    assert (done.returncode, done.stdout.split("\n")[1:3]) == (
        0,
        ["told: waiting for the step after 3", "ended by itself"],
    )
    assert done.stderr.count("nothing has happened") == 1


def test_switched_off_there_is_no_thread():
    import threading

    before = threading.active_count()
    dog = Watchdog(StuckConfig("off", 0.01), lambda doing, silent_s: pytest.fail("it is off"))
    dog.beat("training")
    assert threading.active_count() == before
    dog.close()
