"""`maxlm plan` as typed."""

import json

import pytest

from maxlm.cli.main import main


@pytest.fixture
def plan(capsys):
    def answer(*line: str) -> dict:
        assert main(["plan", *line, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return answer


def test_how_much_data_for_10b(plan):
    found = plan("--params=10B")
    assert found["parameters"] == 10e9
    assert found["tokens"] == pytest.approx(202.7e9, rel=1e-3)
    assert found["laws"]["chinchilla-1"]["tokens"] == pytest.approx(205.1e9, rel=0.01)


def test_the_four_questions_as_tables(capsys):
    """Plan a 10B model; 1T tokens collected; 100 A100s for a month; what would 100B give?"""
    for line, words in (
        (["--params=10B"], ["202.7B", "data-constrained", "assumed: C = 6 · N · D"]),
        (["--tokens=1T"], ["53.58B"]),
        (["--chips=100", "--chip=a100", "--days=30"], ["16.51B", "MFU 40%", "training on data=5 fsdp=20"]),
        (["--params=10B", "--versus=100B"], ["100B", "2.130", "1.958"]),
    ):
        assert main(["plan", *line]) == 0
        said = capsys.readouterr().out
        for word in words:
            assert word in said


def test_a_config_is_counted_exactly(plan):
    found = plan("--config=configs/gpt2_124m.py", "--tokens=10B", "--seq-len=1024", "--chips=8", "--chip=h100")
    assert found["parameters"] == found["model"]["parameters"] == 124_439_808
    assert found["model"]["flops_6nd"] == 6 * 124_439_808 * 10e9
    assert found["model"]["tensors"]["position"]["parameters"] == 1024 * 768
    per = found["model"]["flops_per_token"]
    assert per["forward"] == sum(found["model"]["forward_flops_per_token"].values())
    assert per["backward"] == 2 * per["forward"]
    assert found["flops"] == pytest.approx(per["model"] * 10e9)
    assert found["days"] == pytest.approx(found["flops"] / (8 * 989e12 * 0.4) / 86_400)


def test_a_suggestion_is_a_config_that_loads(plan, capsys, tmp_path):
    file = tmp_path / "mine.py"
    found = plan("--chips=64", "--chip=h100", "--days=10", f"--suggest={file}", "--mesh=fsdp=16,tensor=4")
    assert main(["train", f"--config={file}", "--workdir=none", "--print-config"]) == 0
    config = json.loads(capsys.readouterr().out)
    assert config["model"]["num_heads"] % 8 == 0
    assert found["suggested"]["parameters"] == pytest.approx(found["parameters"], rel=0.01)
    assert config["mesh"]["tensor"] == 4


def test_what_does_not_fit_is_said(capsys):
    assert main(["plan", "--params=70B", "--tokens=1T", "--chips=4", "--chip=a100"]) == 0
    assert "does not fit these chips" in capsys.readouterr().out


def test_memory_where_it_is_used_gives_the_size(plan):
    found = plan("--inference-gib=72")
    assert 35e9 < found["parameters"] < 38.6e9
    assert found["inference"]["cards"] == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ([], "too little is known"),
        (["--params=1B", "--chip=h1000"], "did you mean 'h100'"),
        (["--params=1B", "--law=chinchila-1"], "did you mean 'chinchilla-1'"),
        (["--params=1B", "--mesh=fdsp=2"], "'fdsp=2'"),
        (["--params=1B", "--serve=h101"], "h101"),
        (["--params=1B", "--config=configs/llama3_8b.py"], "leave one out"),
        (["--config=configs/base.py", "--tokens=1B"], "config.model.vocab_size"),
        (["--params=1B", "--config.model.mlp=8"], "--config=FILE"),
        (["--params=1B", "--fit=nowhere.json"], "nowhere.json"),
        (["--params=50M", "--mesh=tensor=64"], "tensor=64"),
        (["--params=1B", "--topology=v5e:4x4"], "--suggest=FILE"),
        (["--config=configs/llama3_8b.py", "--tokens=1T", "--suggest=x.py"], "leave --config out"),
    ],
)
def test_mistakes(capsys, line, words):
    assert main(["plan", *line]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert words in said


def test_no_number(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["plan", "--params=10Q"])
    assert "'10Q' is no number like 10B" in capsys.readouterr().err
