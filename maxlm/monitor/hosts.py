"""Every host's step times on one page, so that a slow one shows. Nobody waits for them."""

import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from maxlm.paths import PathLike, as_path, is_local

FIGURES = ("step_s/p50", "step_s/p90", "step_s/p99", "step_s/max", "step_s/host", "data_wait_share")


class HostTimes:
    """Gathers FIGURES from all processes into RUN/metrics/hosts.jsonl; one process has nothing to gather.

    What is gathered is read when the next figures come, so that no process waits for the gathering, which the devices
    do after the step that is under way.
    """

    def __init__(self, workdir: PathLike):
        self._count = jax.process_count()
        if self._count == 1:
            return
        by_process = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
        grid = np.array(by_process).reshape(self._count, -1)
        mesh = Mesh(grid, ("process", "device"))
        self._one_row_each = NamedSharding(mesh, PartitionSpec("process"))
        self._gather = jax.jit(lambda rows: rows, out_shardings=NamedSharding(mesh, PartitionSpec()))
        self._pending: tuple[int, Any] | None = None
        self._file = as_path(workdir) / "metrics" / "hosts.jsonl"
        self._writes = jax.process_index() == 0 and is_local(self._file)  # buckets cannot append

    def share(self, step: int, scalars: Mapping[str, float]) -> None:
        """Begins to gather this process's figures of the steps up to `step`. All processes call this alike."""
        if self._count == 1:
            return
        self.flush()
        own = np.array([[scalars.get(name, 0.0) for name in FIGURES]], np.float32)
        rows = jax.make_array_from_process_local_data(self._one_row_each, own)
        self._pending = (step, self._gather(rows))

    def flush(self) -> None:
        """Writes what has been gathered."""
        if self._count == 1 or self._pending is None:
            return
        (step, gathered), self._pending = self._pending, None
        if not self._writes:
            return
        columns = np.asarray(gathered.addressable_data(0)).T.round(6).tolist()
        with open(self._file, "a") as file:
            file.write(json.dumps({"step": step, **dict(zip(FIGURES, columns, strict=True))}) + "\n")
