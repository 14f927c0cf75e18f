import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_pipeline import cli
from data_pipeline.config import DataConfig
from maxlm import config as config_lib
from maxlm.errors import UserError
from tests.data_pipeline.produce import made
from tests.data_pipeline.tables import write_jsonl

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "configs/data/quickstart.py")


def typed(*arguments):
    """Runs maxlm-data as a person does."""
    command = [sys.executable, "-m", "data_pipeline.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_from_a_folder_to_a_report(tmp_path):
    prose = "The cat that we have sat with the dog and " + " ".join(f"number{i}" for i in range(60))
    write_jsonl(tmp_path / "in" / "a.jsonl", prose, prose + " again", "Too short.")
    where = [f"--config={QUICKSTART}:{tmp_path}/in", f"--dataset={tmp_path}/data", "--config.partitions=2"]
    told = [typed(command, *where) for command in ("ingest", "clean", "dedup")]
    assert [run.returncode for run in told] == [0, 0, 0], told
    assert "ingest: 3 documents; 0 pieces of input in quarantine" in told[0].stdout
    assert "3 documents judged, 1 to be dropped" in told[1].stdout
    assert "1 documents kept, 2 removed" in told[2].stdout
    report = typed("report", f"--dataset={tmp_path}/data")
    assert "near_duplicate" in report.stdout
    assert report.returncode == 0
    samples = typed("inspect", f"--dataset={tmp_path}/data", "--removed", "--reason=too_few_words")
    assert "Too short." in samples.stdout
    assert "number1" not in samples.stdout
    assert "corpus/ingested" in typed("inspect", f"--dataset={tmp_path}/data").stdout


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path):
    run = typed("ingest", f"--config={QUICKSTART}:{tmp_path}/none", f"--dataset={tmp_path}/data")
    assert run.returncode == 2
    assert run.stderr == (
        f"error: {tmp_path}/none: no such file or folder; mend config.sources, or leave it to 'machine'\n"
    )
    assert run.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ingst"], "no command 'ingst'; did you mean 'ingest'"),
        (["ingest", "--dataset=d"], "arguments are required: --config"),
        (
            ["ingest", "--config=x.py", "--dataset=d", "--datset=e"],
            "unknown argument '--datset=e'; did you mean '--dataset'",
        ),
        (["ingest", f"--config={QUICKSTART}", "--dataset=d", "--config.dedup"], "--config.dedup: needs a value"),
        (["ingest", f"--config={QUICKSTART}", "--dataset=d", "--config.dedup.treshold=1"], "did you mean 'threshold'"),
        (["report", "--dataset=d", "--config.partitions=2"], "unknown argument '--config.partitions=2'"),
        (["report", "--dataset=/nowhere/at/all"], "does not exist: run `maxlm-data ingest` first"),
        (["inspect", "--dataset=/nowhere/at/all"], "no such data set"),
        (["inspect", "--dataset=d", "-n", "many"], "invalid int value: 'many'"),
    ],
)
def test_mistakes_in_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        cli.run(arguments)


@pytest.mark.parametrize("command", [*cli.STEPS, "inspect", "report"])
def test_every_command_explains_itself_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run([command, "--help"])
    assert stop.value.code == 0
    assert f"example: maxlm-data {command} --" in " ".join(capsys.readouterr().out.split())


def test_an_interruption_is_one_line_and_exit_code_130(tmp_path):
    config = tmp_path / "slow.py"
    config.write_text(
        "import pathlib, time\n\ndef get_config():\n    pathlib.Path(__file__ + '.on').touch()\n    time.sleep(60)\n"
    )
    # Tests that run in the background inherit that SIGINT is ignored; whoever types a command does not.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from data_pipeline.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "ingest", f"--config={config}", f"--dataset={tmp_path}/data"]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not Path(f"{config}.on").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    assert running.communicate()[1] == "interrupted: what is finished stays; the same command goes on from there\n"
    assert running.returncode == 130


@pytest.mark.parametrize("name", ["base", "quickstart", "zh_en_code"])
def test_shipped_configs_hold_together(name):
    from data_pipeline import recipe

    config = config_lib.load(str(ROOT / f"configs/data/{name}.py"), [], DataConfig)
    assert len(recipe.build(config.recipe)) == len(config.recipe)


def test_sources_can_be_given_as_a_list():
    override = ("sources", "[{'path': 'a'}, {'path': 'b', 'domain': 'law'}]")
    config = config_lib.load(QUICKSTART, [override], DataConfig)
    assert [(source.path, source.domain) for source in config.sources] == [("a", "auto"), ("b", "law")]


def test_a_dry_run_foretells_and_writes_no_block(prepared, tmp_path):
    dataset = made.copy(prepared, tmp_path / "dataset")
    where = [f"--config={QUICKSTART}:x", f"--dataset={dataset}", "--config.produce.num_blocks=9"]
    sizes = ["--config.produce.seq_len=63", "--config.produce.block_tokens=8192", "--config.produce.holdout=0.1"]
    mixture = "--config.mixture.weights={'en': 5, 'code': 3, 'zh': 2}"
    told = typed("produce", "--dry-run", *where, *sizes, mixture)
    assert told.returncode == 0, told.stderr
    assert "9 blocks can be made; nothing was written" in told.stdout
    assert re.search(r"│ en +│ \d+ +│ [\d.]+k +│ 50\.0% ", told.stdout)
    assert re.search(r"en was used once by block \d, then it is repeated: \d\.\d uses by block 8", told.stdout)
    assert {path.name for path in dataset.iterdir() if path.is_dir()} == {"documents", "tokenizer", "index"}
    capped = typed("produce", *where, *sizes, mixture, "--config.mixture.max_uses=1")
    assert capped.returncode == 2
    assert re.search(r"config\.mixture: documents last for \d of 9 blocks", capped.stderr)
    assert not (dataset / "dataset.json").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("mixture.shares={'en': 0.5, 'zh': 0.4}", "they sum to 0.9, not to 1: change one by +0.1"),
        ("mixture.weights={'cod': 1}", "config.mixture: no documents of domain 'cod'; did you mean 'code'?"),
        ("order.by=quality", "config.order.by: no document has a score 'quality'"),
        ("stages=[{'name': 'anneal'}]", "config.stages[0]: needs tokens"),
        ("stages=[{'name': 'a', 'tokens': 9}]", "'a' with 9 tokens gets no whole block"),
        ("stages=[{'name': 'a', 'tokens': 99999, 'filter': {'sources': ['en-7']}}]", "no documents of source 'en-7'"),
    ],
)
def test_mixtures_that_cannot_be(prepared, tmp_path, override, message):
    dataset = made.copy(prepared, tmp_path / "dataset")
    sizes = ["--config.produce.seq_len=63", "--config.produce.block_tokens=8192"]
    run = typed("produce", f"--config={QUICKSTART}:x", f"--dataset={dataset}", *sizes, f"--config.{override}")
    assert run.returncode == 2
    assert message in run.stderr
    assert run.stderr.splitlines()[-1].startswith("error: ")
    assert not (dataset / "blocks").exists()
