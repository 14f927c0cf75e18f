"""The page about a run: one file that reads nothing from elsewhere, with all foreign text escaped."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from etils import epath

from maxlm.report import plots
from maxlm.report.collect import BlockRecord, RunRecord
from maxlm.report.goodput import Goodput
from maxlm.report.html import page, table

NASTY = '<script>alert("x")</script>&$\\frac{$'
SIZES = {"documents": 12, "characters": 3456, "bytes": 4000}
CORPUS = {
    "ingested": {"domain": {"code": SIZES, NASTY: SIZES}},
    "kept": {"domain": {"code": SIZES}},
    "removed": {"domain": {NASTY: {"length": {f"short_{NASTY}": SIZES}}}},
    "edits": {"code": {NASTY: 3}},
    "quarantine": {NASTY: 1},
}

ACCOUNT = Goodput(2, {"productive": 60.0, "compile": 30.0, NASTY: 10.0})


def _line(step: int) -> dict[str, float]:
    return {
        "step": step, "loss": 5.0 - step / 100, "loss/code": 4.0, f"loss/{NASTY}": 6.0, "learning_rate": 1e-3,
        "grad_norm": 0.5, "tokens_per_s": 1e4, "mfu": 0.25, "data_wait_share": 0.001, "mfu_square": 0.5,
        "mfu_no_attention": 0.125, "step_s/p50": 1.0, "step_s/p90": 2.0, "step_s/p99": 3.0, "step_s/max": 4.0,
        "memory/process_gib": 1.5, "memory/process_peak_gib": step / 10,
        **{f"{kind}_norm/layers/{layer:03d}": 10.0**layer for kind in ("grad", "param") for layer in range(3)},
    }  # fmt: skip


def _record(**fields) -> RunRecord:
    rollback = {"time": "2026-01-02T03:04:05.678+00:00", "to_block": 0, "from_step": 30, "to_step": 10, "skipped": [1]}
    record = RunRecord(
        workdir=epath.Path(f"/runs/{NASTY.replace('/', '')}"),
        config={"data": {"num_blocks": 4, "dataset": NASTY}},
        state=NASTY,
        step=20,
        blocks=[BlockRecord(0, 10, 4.5), BlockRecord(1, 20, None, undone=True), BlockRecord(2, 20, 4.25)],
        rollbacks=[rollback],
        skipped=[1],
        checkpoints=[10, 20],
        metrics=[_line(5), _line(10), _line(15), _line(20)],
        validation=[
            {"step": 20, "validation/loss": 4.25, "validation/bpb": 1.5, f"validation/loss/{NASTY}": 7.125,
             f"validation/bpb/{NASTY}": 2.5},
        ],
        undone=[[_line(15), _line(20)]],
        hosts=[
            {"step": step, "step_s/p50": [1.0, 1.0], "step_s/max": [2.0, 2.0], "step_s/host": [0.1, 0.7 + step / 100]}
            for step in (10, 20)
        ],
        alarms=[
            {"time": "2026-01-02T03:04:05.678+00:00", "detector": f"loss of {NASTY}", "step": 17, "value": 9.5,
             "median": 2.25, "limit": 3.0, "policy": "warn"},
            {"time": "2026-01-02T03:04:05.678+00:00", "detector": "loss", "step": 18, "value": "nan",
             "median": None, "limit": None, "policy": "stop"},
        ],
    )  # fmt: skip
    for name, value in fields.items():
        setattr(record, name, value)
    return record


class _Page(HTMLParser):
    """Elements, what they refer to, and the text between them."""

    def __init__(self, source: str):
        super().__init__()
        self.elements: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"<{tag} {name}=…> runs a script"
            if name in ("src", "srcset", "href", "xlink:href", "data", "action", "poster", "background"):
                self.references.append(value or "")
            self.references += re.findall(r"url\(([^)]*)\)", value or "")

    def handle_comment(self, data):
        self.words.append(unescape(data))  # figures draw their text, and say beside it what it is

    def handle_data(self, data):
        self.references += re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", data) and [data]
        self.words.append(data)


@pytest.fixture(scope="module")
def source() -> str:
    return page(_record(), CORPUS, ACCOUNT)


def test_one_file_that_reads_nothing_from_elsewhere(source):
    parsed = _Page(source)
    assert parsed.elements.count("html") == parsed.elements.count("body") == 1
    assert not {"script", "link", "iframe", "img", "object", "embed", "base"} & set(parsed.elements)
    assert parsed.references  # figures use their own parts
    assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in parsed.references)
    assert parsed.elements.count("svg") == 10


def test_foreign_text_is_shown_and_does_nothing(source):
    assert "<script" not in source.lower()
    text = "".join(_Page(source).words)
    assert text.count(NASTY) >= 8  # state, dataset, held-out table, figures and the corpus's tables


def test_what_is_told(source):
    text = " ".join(" ".join(_Page(source).words).split())
    for words in (
        "blocks done 2 of 4", "blocks left out 1", "checkpoints 10, 20", "waiting for data 0.10%",
        "2026-01-02T03:04:05 0 30 10 1", "Goodput 60.00% of 100 s, over 2 starts", "compiling 30.0 30.00%",
        "full square, as PaLM (appendix B) counts, 50.00%; without attention 12.50%", "at the peak 2.00 GiB",
        "host step_s/p50 step_s/max step_s/host 1 1 2 0.85 0 1 2 0.1", "2 of 2 are shown", "17 loss of",
        "9.5 2.25 3 warn", "18 loss nan – – stop", "Norms of the gradients", "Norms of the parameters",
        "7.1250 2.5000", "4.2500 kept", "– rolled back", "rolled back from 30",
    ):  # fmt: skip
        assert words in text, words


def test_the_same_run_gives_the_same_page(source):
    assert page(_record(), CORPUS, ACCOUNT) == source


def test_a_run_without_metrics_or_corpus():
    text = " ".join(_Page(page(_record(metrics=[], undone=[], validation=[], rollbacks=[]), None, None)).words)
    assert "No rollbacks." in text
    assert "The corpus's own report is not at hand" in text


def test_tables_escape_every_cell():
    html = table(("<a>",), [("<b>",), ("&",)], classes=("", "undone"))
    assert _Page(html).elements == ["table", "thead", "tr", "th", "tbody", "tr", "td", "tr", "td"]
    assert _Page(html).words == ["<a>", "<b>", "&"]


def test_figures_name_domains_as_they_are():
    svg = plots.composition({"a$b$": 1.0, "_hidden": 1.0}, {"a$b$": 1.0}, "documents")
    assert {"a$b$ 50%", "_hidden 50%", "a$b$ 100%"} <= {words.strip() for words in _Page(svg).words}


def test_loss_by_position_is_marked_with_plain_numbers():
    losses = {f"validation/position/{1 << power}": 5.0 - power / 4 for power in range(10)}
    record = _record(validation=[{"step": step, **losses} for step in (10, 20)])
    svg = plots.loss_by_position(record)
    assert "mathdefault" not in svg
    assert {"1", "64", "step 10", "step 20"} <= {words.strip() for words in _Page(svg).words}


def test_a_picture_file(tmp_path):
    plots.save_png(_record(), str(tmp_path / "loss.png"))
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
