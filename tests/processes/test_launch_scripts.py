"""The scripts of tools/launch: their own logic, with the launcher replaced by one that notes down what it is told."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.runs import ROOT

LAUNCH = ROOT / "tools" / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
# Notes its arguments, one call a line, and ends with the next of CODES if it is told to train.
STUB = """#!/usr/bin/env bash
printf '%s|' "$@" | tr '\\n' ' ' >> "$NOTES"; echo >> "$NOTES"
case "$*" in
*"maxlm train --"* | *"maxlm|train|"* | *"bin/maxlm train "*)
  read -r code rest < "$CODES" || true
  echo "$rest" > "$CODES"
  exit "${code:-0}" ;;
esac
"""


@pytest.fixture
def launch(tmp_path):
    """Runs a script with arguments; gives its exit code and what its launcher was told to train with."""
    for name in ("gcloud", "srun", "scontrol", "sleep"):
        stub = tmp_path / name
        stub.write_text(STUB if name != "sleep" else "#!/usr/bin/env bash\n")
        stub.chmod(0o755)
    notes, codes = tmp_path / "notes", tmp_path / "codes"

    def run(script: str, codes_of_starts: str, **variables: str) -> tuple[int, list[str]]:
        notes.write_text("")
        codes.write_text(codes_of_starts + "\n")
        environment = {
            **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "NOTES": str(notes), "CODES": str(codes),
            **variables,
        }  # fmt: skip
        line = ["bash", str(LAUNCH / script), "--config=configs/base.py", "--workdir=gs://a bucket/run"]
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, notes.read_text().splitlines()

    return run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_reads_them(script):
    subprocess.run(["bash", "-n", script], check=True)


SLURM = {"SLURM_SUBMIT_DIR": "/shared/maxlm", "SLURM_JOB_ID": "77"}
TPU = {"TPU": "my-slice", "ZONE": "somewhere"}


@pytest.mark.parametrize(
    ("codes", "ends_with", "starts"),
    [("0", 0, 1), ("75 134 0", 0, 3), ("2", 2, 1), ("75 2", 2, 2), ("9 9 9 9 9", 9, 3)],
)
def test_restarts_on_a_tpu_slice(launch, codes, ends_with, starts):
    """Not after mistakes, and not for ever where every start ends at once."""
    code, notes = launch("tpu_vm.sh", codes, **TPU)
    trained = [line for line in notes if "maxlm train --" in line]
    assert (code, len(trained)) == (ends_with, starts)
    assert all("ssh|my-slice|--zone=somewhere|--worker=all|" in line for line in trained)
    assert trained[0].endswith(r"maxlm train --config=configs/base.py --workdir=gs://a\ bucket/run|")


@pytest.mark.parametrize(
    ("codes", "ends_with", "starts"), [("0", 0, 1), ("75 134 0", 0, 3), ("2", 2, 1), ("75 2", 2, 2)]
)
def test_restarts_under_slurm(launch, codes, ends_with, starts):
    code, notes = launch("slurm.sbatch", codes, **SLURM)
    assert code == ends_with
    expected = (
        "--kill-on-bad-exit=1|/shared/maxlm/.venv/bin/maxlm|train|--config=configs/base.py|--workdir=gs://a bucket/run|"
    )
    assert notes == [expected] * starts


def test_a_job_that_can_not_go_on_is_put_back_into_the_queue(launch):
    code, notes = launch("slurm.sbatch", "75 75 75", **SLURM, RESTARTS="2")
    assert (code, len(notes), notes[-1]) == (0, 4, "requeue|77|")


def test_what_is_missing_is_named(launch, tmp_path: Path):
    assert launch("tpu_vm.sh", "0", TPU="") == (1, [])
