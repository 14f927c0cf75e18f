"""Every host's step times on one page, so that a slow one shows. Nobody waits for them."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from maxlm.monitor.lines import LineFile
from maxlm.paths import PathLike, as_path

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
        writes = jax.process_index() == 0
        self._lines = LineFile(as_path(workdir) / "metrics" / "hosts.jsonl") if writes else None

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
        if self._lines is None:
            return
        columns = np.asarray(gathered.addressable_data(0)).T.round(6).tolist()
        self._lines.write({"step": step, **dict(zip(FIGURES, columns, strict=True))})

    def close(self) -> None:
        if self._count > 1 and self._lines is not None:
            self._lines.close()
