"""Fuzzes a target for a while: ``python -m tests.fuzz --target=dataset --seconds=600``.

Prints each kind of finding once, with the smallest case of it, and at the end how many cases were read, refused, or
made trouble, and the most memory that one took beyond what the process had.
"""

import argparse
import collections
import time

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from tests.fuzz.cases import Case, Reader, cases
from tests.fuzz.targets import TARGETS

_ROUND = 200  # cases to a round; each round has a seed of its own


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", required=True, choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    arguments = parser.parse_args()
    reader, deadline = Reader(arguments.target), time.monotonic() + arguments.seconds
    outcomes: collections.Counter[str] = collections.Counter()
    findings: dict[str, int] = {}
    peak_mb = slowest_s = 0.0

    def read(case: Case) -> None:
        nonlocal peak_mb, slowest_s
        if time.monotonic() > deadline:
            return
        found = reader.read(case)
        outcomes[found["outcome"]] += 1
        peak_mb, slowest_s = max(peak_mb, found["grown_mb"]), max(slowest_s, found["seconds"])
        if what := found["finding"]:
            if what not in findings:
                print(f"FINDING {what}: {case}\n{found['message']}\n", flush=True)
            findings[what] = findings.get(what, 0) + 1

    number = arguments.seed
    while time.monotonic() < deadline:
        tested = seeded(number)(given(cases(reader.files))(read))
        settings(
            max_examples=_ROUND, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(tested)()  # fmt: skip
        number += 1
    reader.close()
    total = sum(outcomes.values())
    print(f"{arguments.target}: {total:,} cases in {arguments.seconds:g} s: {dict(outcomes)}; findings: {findings}")
    print(f"most memory for a case {peak_mb:.0f} MB, slowest {slowest_s:.1f} s; seeds {arguments.seed} to {number - 1}")


if __name__ == "__main__":
    main()
