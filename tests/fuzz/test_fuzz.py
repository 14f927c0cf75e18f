"""What fuzzing found stays mended, and a few cases more of each target. `python -m tests.fuzz` goes on for longer.

Here cases are read within this process: those that ended one are mended.
"""

import fnmatch
import json
import shutil
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from maxlm.tokenizer.spm_proto import _ModelProto
from tests.fuzz.cases import Case, Files, cases, put
from tests.fuzz.mutation import FOLDER, PIPE, Content, Link
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import put_right, read

DEEP = b"[" * 100_000 + b"]" * 100_000


def changed(**fields: object) -> Callable[[bytes], bytes]:
    return lambda raw: json.dumps(json.loads(raw) | fields).encode()


def line(text: bytes) -> Callable[[bytes], bytes]:
    return lambda raw: raw + text + b"\n"


def far_off(raw: bytes) -> bytes:
    """A token whose id asks for billions of rows."""
    values = json.loads(raw)
    values["model"]["vocab"][min(values["model"]["vocab"])] = 1 << 31
    return json.dumps(values).encode()


def nested_rows(raw: bytes) -> bytes:
    return raw.replace(b'"rows": 12', b'"rows": ' + b"[" * 900 + b"]" * 900)


def sized(raw: bytes) -> bytes:
    """An array whose chunks are larger than itself."""
    values = json.loads(raw)
    return json.dumps(values | {"chunks": [size << 40 for size in values["chunks"]]}).encode()


def without_piece(raw: bytes) -> bytes:
    """A character gone of which others are made."""
    model = _ModelProto()
    model.ParseFromString(raw)
    (place,) = [i for i, piece in enumerate(model.pieces) if piece.piece == "e"]
    del model.pieces[place]
    return model.SerializeToString()


def without_unknown(raw: bytes) -> bytes:
    model = _ModelProto()
    model.ParseFromString(raw)
    model.pieces[0].type = 3
    return model.SerializeToString()


def with_deep_line(raw: bytes) -> bytes:
    return raw + DEEP + b"\n"


READ_ON = (without_unknown, with_deep_line)  # a model without a form of Hugging Face's; a line that is none is left out
# target, file, what it becomes, whether checksums are put right: each was a crash, a hang, a traceback, memory without
# bound, or a message that named no file
FOUND: list[tuple[str, str, Content | Callable[[bytes], Content], bool]] = [
    ("dataset", "dataset.json", FOLDER, False),
    ("dataset", "*/block-00001/manifest.json", PIPE, False),
    ("dataset", "*/block-00000/shard-00000*", Link("/dev/zero"), False),
    ("dataset", "*/block-00000/manifest.json", nested_rows, False),
    ("dataset", "*/block-00000/manifest.json", changed(rows=10**18), False),
    ("dataset", "dataset.json", changed(vocab_size=1 << 31), False),
    ("dataset", "dataset.json", changed(rows=[{"9" * 5000: 8}]), False),
    ("dataset", "journal.jsonl", line(b'{"event": "redraw", "time": "2026-11-25T23:49:00+00:00"}'), False),
    ("dataset", "journal.jsonl", with_deep_line, False),
    ("checkpoint", "arrays/optimizer/*attention_norm*", DEEP, True),
    ("checkpoint", "arrays/params/embedding*", sized, True),
    ("checkpoint", "*/optimizer/d/*", PIPE, False),
    ("checkpoint", "*/_CHECKPOINT_METADATA", b"0", False),
    ("checkpoint", "*/meta/metadata", changed(config={"model": "NaN"}), True),
    ("checkpoint", "*/meta/metadata", changed(config={"model": {"max_positions": "0x10"}}), True),
    ("bytelevel", "tokenizer_info.json", changed(vocab_size=1 << 53), True),
    ("bytelevel", "tokenizer.json", far_off, True),
    ("bytelevel", "tokenizer.json", Link("/dev/zero"), False),
    ("bytelevel", "tokenizer_config.json", changed(additional_special_tokens=-1871), True),
    ("sentencepiece", "tokenizer.json", changed(truncation=2), False),
    ("sentencepiece", "tokenizer.json", changed(more="\ud800"), False),
    ("sentencepiece", "tokenizer.model", without_piece, True),
    ("sentencepiece", "tokenizer.model", without_unknown, True),
    ("sentencepiece", "tokenizer.model", lambda raw: raw[:300] + b"\xff" * 8 + raw[300:], True),
    ("run", "run/metrics/metrics.jsonl", line(b'{"time": 1.0, "spent": null, "step": 9}'), False),
    ("run", "run/metrics/metrics.jsonl", line(b'{"step": 9, "loss": [1]}'), False),
    ("run", "run/metrics/metrics.jsonl", with_deep_line, False),
    ("run", "run/journal.jsonl", line(b'{"event": "x", "time": "/2026-11-26T00:27:44+00:00"}'), False),
    ("run", "run/config.json", changed(data=[]), False),
    ("model", "config.json", changed(architectures=31), False),
    ("model", "config.json", changed(model_type={}), False),
    ("model", "config.json", changed(num_attention_heads=0), False),
    ("model", "config.json", changed(num_hidden_layers=1 << 31), False),
    ("model", "*00003*.safetensors", PIPE, False),
]  # fmt: skip


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """Valid files by target, made once."""
    made: dict[str, Files] = {}

    def of(target: str) -> Files:
        if target not in made:
            folder = tmp_path_factory.mktemp(target) / "valid"
            TARGETS[target].make(folder)
            made[target] = Files(folder, TARGETS[target].kinds)
        return made[target]

    return of


def _outcome(target: str, files: Files, case: Case, folder) -> dict:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(files.folder, folder)
    for name, content in case.files.items():
        put(folder / name, content)
    if case.seal:
        put_right(TARGETS[target], folder)
    return read(TARGETS[target], folder)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # reads that a failed restore leaves
@pytest.mark.parametrize(("target", "pattern", "content", "seal"), FOUND)
def test_what_was_found_stays_mended(valid, tmp_path, target, pattern, content, seal):
    files = valid(target)
    name = next(name for name in files.contents if fnmatch.fnmatch(name, pattern))
    left_out = content in READ_ON
    content = content(files.contents[name][1]) if callable(content) else content
    found = _outcome(target, files, Case({name: content}, seal), tmp_path / "case")
    assert not found["finding"], found["message"]
    assert found["outcome"] == "refused" or left_out, found


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("target", ["dataset", "bytelevel", "sentencepiece", "rows", "model"])
def test_a_few_cases_more(valid, tmp_path, target):
    files = valid(target)

    @settings(max_examples=25, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def some(data):
        found = _outcome(target, files, data.draw(cases(files)), tmp_path / "case")
        assert not found["finding"], found["message"]

    some()
