"""Starting several processes on 127.0.0.1."""

import socket
import subprocess
import sys
from collections.abc import Sequence

from tests.runs import ROOT, environment


def free_port(lowest: int = 0) -> int:
    """A port that nobody listens on, at or above `lowest`."""
    for port in range(lowest, 65536) if lowest else (0,):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise AssertionError("no free port")


def by_hand(port: int, index: int, count: int = 2) -> dict[str, str]:
    return {
        "MAXLM_COORDINATOR": f"127.0.0.1:{port}", "MAXLM_NUM_PROCESSES": str(count), "MAXLM_PROCESS_ID": str(index),
    }  # fmt: skip


def start(command: Sequence[str], variables: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, env={**environment(), **variables}, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]
