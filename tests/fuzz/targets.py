"""What others may hand us, and our own readers of it: valid files to begin with, and all that is done with them.

Each target makes a folder, says how its files are made hostile (a name of mutation.MUTATORS), and reads it as our
commands do. `seal` puts checksums right, for whoever damages a file on purpose can reckon them anew.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maxlm.errors import UserError

BOUND_MB = 256  # of memory, beyond what reading the valid files takes
SECONDS = 20  # for a case


@dataclass(frozen=True)
class Target:
    make: Callable[[Path], None]
    kinds: dict[str, str]  # pattern of file names -> name of a mutator
    read: Callable[[Path], None]
    seal: Callable[[Path], None] = lambda folder: None


def _as_typed(main: Callable[[list[str]], int], *line: str) -> None:
    """A command; a mistake that it tells of in one line is raised again."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = main(list(line))
    if code:
        raise UserError(said.getvalue().removeprefix("error: ").removesuffix("\n"))


# A data set


def _make_dataset(folder: Path) -> None:
    from maxlm.blocks.reader import ReaderPosition, report_progress
    from maxlm.journal import Journal
    from tests.synthetic import make_varied_dataset

    make_varied_dataset(folder, blocks=2, rows={16: 8, 8: 4})
    Journal(folder / "journal.jsonl").append("redraw", from_block=5)
    report_progress(folder, "a-run", ReaderPosition(1, False))


def _read_dataset(folder: Path) -> None:
    from maxlm.blocks.format import to_batch
    from maxlm.blocks.reader import BlockStore, reading_positions
    from maxlm.train.loader import open_block

    store = BlockStore(folder)
    reading_positions(folder)
    for block in store.finished():
        store.ready(block)
        manifest = store.verify(block)
        store.info.steps(block, 4)
        for length, rows in manifest.rows_by_length.items():
            for row in store.source(block, length).__getitems__(list(range(min(rows, 20)))):
                to_batch(store.info.format_of(length).decode([row]))
        batches = open_block(store, manifest, batch=4, seed=0)
        for index in range(min(len(batches), 4)):
            batches[index]


def _seal_dataset(folder: Path) -> None:
    for manifest in folder.glob("blocks/*/manifest.json"):
        values = json.loads(manifest.read_bytes())
        for shard in values["shards"]:
            shard["sha256"] = hashlib.sha256((manifest.parent / Path(shard["file"]).name).read_bytes()).hexdigest()
        manifest.write_text(json.dumps(values))


# A checkpoint


def _make_checkpoint(folder: Path) -> None:
    from maxlm import config as configs
    from maxlm.models.decoder import DecoderFunction
    from maxlm.train.checkpoint import Checkpoints, Meta, Position
    from maxlm.train.config import Config, OptimizerConfig
    from maxlm.train.optimizer import make_optimizer
    from maxlm.train.state import init_state
    from tests import tiny

    model = tiny.model(num_layers=1)
    tx = make_optimizer(OptimizerConfig(), lambda _: 1e-3)
    checkpoints = Checkpoints(folder)
    state = init_state(DecoderFunction(model), tx, tiny.one_device(), seed=0)
    checkpoints.save(state, Meta(Position(step=4), configs.to_dict(Config(model=model)), model.vocab_size))
    checkpoints.close()
    for item in ("params", "optimizer"):  # what the database holds, to be changed by its structure
        store, inner = _database(folder / "checkpoints" / "4" / item), folder / "arrays" / item
        inner.mkdir(parents=True)
        for key in store.list().result():
            if key.endswith(b".zarray"):
                (inner / key.decode().replace("/", "!")).write_bytes(store.read(key).result().value)


def _database(folder: Path):
    import tensorstore as ts

    return ts.KvStore.open({"driver": "ocdbt", "base": f"file://{folder}/"}).result()


def _read_checkpoint(folder: Path) -> None:
    """As `train` takes it up, and as `eval`, `generate` and `export` do, which know the model from it alone."""
    import jax

    from maxlm.models.decoder import DecoderFunction
    from maxlm.train.checkpoint import Checkpoints, check_model, choose_step
    from maxlm.train.config import OptimizerConfig
    from maxlm.train.optimizer import make_optimizer
    from maxlm.train.state import abstract_state
    from tests import tiny

    checkpoints, ours = Checkpoints(folder), tiny.model(num_layers=1)
    try:
        step = choose_step(checkpoints, None)
        meta = checkpoints.meta(step)
        check_model(meta, ours, folder)
        tx = make_optimizer(OptimizerConfig(), lambda _: 1e-3)
        checkpoints.restore(step, abstract_state(DecoderFunction(ours), tx, tiny.one_device()))
        model = DecoderFunction(checkpoints.config(step).model)
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), model.abstract_params()
        )
        checkpoints.restore_params(step, abstract)
        stored, _ = checkpoints.stored(step)
        for name in sorted(stored.names):
            stored.read(name)
    finally:
        checkpoints.close()


def _seal_checkpoint(folder: Path) -> None:
    """Arrays whose description was changed go into the database so; digests are written anew."""
    from etils import epath

    from maxlm.train.integrity import write_digests

    for item in ("params", "optimizer"):
        for changed in (folder / "arrays" / item).iterdir():
            key, there = changed.name.replace("!", "/"), changed.read_bytes()
            store = _database(folder / "checkpoints" / "4" / item)
            if store.read(key).result().value != there:
                store.write(key, there).result()
    write_digests(epath.Path(folder / "checkpoints" / "4"))


# Tokenizers


def _make_tokenizer(kind: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from maxlm.tokenizer.settings import TokenizerSettings
        from maxlm.tokenizer.train import train

        words = "the quick brown fox jumps over the lazy dog while numbers 0123456789 pass by\n" * 20
        words += "who would have thought that such a small creature might ever become famous\n" * 10
        settings = TokenizerSettings(kind=kind, vocab_size=384, spare_tokens=60, user_tokens=("<code>",))
        train(iter([words]), folder, settings)

    return make


def _read_tokenizer(folder: Path) -> None:
    from maxlm.interop.tokenizer_files import export_tokenizer, import_tokenizer
    from maxlm.tokenizer.load import load_tokenizer

    tokenizer = load_tokenizer(folder)
    for text in ("the quick fox <code> é 数 \0", "", "<s>"):
        tokenizer.decode(tokenizer.encode(text))
    tokenizer.encode_bytes(b"\xff\xfe the")
    tokenizer.token_bytes()
    tokenizer.files()
    export_tokenizer(folder, folder / "exported")
    (folder / "tokenizer_info.json").unlink(missing_ok=True)
    import_tokenizer(folder, folder / "imported", {"bos_token_id": 0, "eos_token_id": [1]}, 512)


def _seal_tokenizer(folder: Path) -> None:
    from maxlm.tokenizer.base import digest_of

    info = json.loads((folder / "tokenizer_info.json").read_bytes())
    model = next((folder / name for name in ("tokenizer.model",) if (folder / name).exists()), None)
    raw = model.read_bytes() if model else b""
    if model is None:
        raw = (folder / "tokenizer.json").read_bytes() + (folder / "tokenizer_config.json").read_bytes()
    info["digest"] = digest_of(raw, info["vocab_size"])
    (folder / "tokenizer_info.json").write_text(json.dumps(info))


# Rows of text


def _make_rows(folder: Path) -> None:
    rows = [
        {"text": "The first text.", "source": "a", "domain": "en", "meta": {"url": "http://x/1", "score": 0.5}},
        {"prompt": "1 + 1 =", "completion": " 2", "language": "en", "ids": [1, 2, 3]},
        {
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a", "calls": [{"x": {"y": 1}}]},
            ]
        },
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "tools": '[{"name": "f"}]'},
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        {"prompt": "q", "chosen": [{"role": "assistant", "content": "a"}], "rejected": "b", "tools": [{"name": "f"}]},
        {"content": "另一段文字。", "date": "2026-01-01", "nested": {"a": {"b": [None, True, 1e9]}}},
    ]
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    (folder / "list.json").write_text(json.dumps(rows))


def _read_rows(folder: Path) -> None:
    """Rows, or what is bad with them: none of it may be an error."""
    from data_pipeline.config import SourceConfig
    from data_pipeline.ingest.readers import read
    from data_pipeline.ingest.row import Row
    from data_pipeline.ingest.stage import _document
    from data_pipeline.ingest.units import files_of

    for source in (
        SourceConfig(path=str(folder), metadata=("*",), max_row_bytes=50_000),
        SourceConfig(path=str(folder), text_key="meta.url", columns={"id": "ids"}, max_row_bytes=50_000),
    ):
        for unit in files_of(source):
            for row in read(unit):
                if isinstance(row, Row):
                    _document(row, unit)
                else:
                    row.sample.encode()


# A run's folder


def _make_run(folder: Path) -> None:
    """A run of the present formats, over one block, and its data set."""
    import tarfile

    with tarfile.open("tests/fixtures/format-3.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    config = folder / "run" / "config.json"
    values = json.loads(config.read_text())
    values["data"]["dataset"] = str(folder / "data")
    config.write_text(json.dumps(values))


def _read_run(folder: Path) -> None:
    from maxlm.cli.main import main

    run = f"--workdir={folder / 'run'}"
    lines = [["status", run], ["status", run, "--data"], ["rollback", run, "--to-block=0", "--dry-run"]]
    if folder.name.endswith("7"):  # it draws its curves, which takes seconds: one case in ten
        lines.append(["report", run])
    problems = []
    for line in lines:
        try:
            _as_typed(main, *line)
        except UserError as error:
            problems.append(error)
    if problems:
        raise problems[0]


# A model of others


def _make_model(folder: Path) -> None:
    import numpy as np

    from maxlm.interop.decoder import param_shapes, save_decoder
    from tests import tiny

    _make_tokenizer("bytelevel")(folder)
    config = tiny.model(num_layers=1, vocab_size=384)
    shapes = param_shapes(config)

    def read(path: tuple[str, ...], layer: int | None):
        return np.ones(shapes[path] if layer is None else shapes[path][1:], np.float32)

    (folder / "tokenizer_info.json").unlink()
    save_decoder(folder, config, read, max_length=64, tokens={"bos_token_id": 0, "eos_token_id": 1}, shard_bytes=30_000)


def _read_model(folder: Path) -> None:
    from maxlm.interop.decoder import FolderModel, pieces
    from maxlm.interop.tokenizer_files import import_tokenizer

    model = FolderModel(folder)
    for path, layer in pieces(model.shapes):
        model.read(path, layer)
    import_tokenizer(
        folder, folder / "made", json.loads((folder / "config.json").read_bytes()), model.config.vocab_size
    )


TARGETS: dict[str, Target] = {
    "dataset": Target(
        _make_dataset,
        {
            "*/manifest.json": "json", "dataset.json": "json", "journal.jsonl": "lines", "readers/*": "json",
            "*.array_record": "bytes",
        },
        _read_dataset,
        _seal_dataset,
    ),
    "checkpoint": Target(
        _make_checkpoint,
        {
            "arrays/*/*": "json", "*/meta/metadata": "json", "*/digests.json": "json", "*/_METADATA": "json",
            "*/_CHECKPOINT_METADATA": "json", "*/_sharding": "json", "*/manifest.ocdbt": "bytes", "*/d/*": "bytes",
        },
        _read_checkpoint,
        _seal_checkpoint,
    ),
    "sentencepiece": Target(
        _make_tokenizer("sentencepiece"),
        {"tokenizer.model": "sentencepiece", "*.json": "json"},
        _read_tokenizer,
        _seal_tokenizer,
    ),
    "bytelevel": Target(_make_tokenizer("bytelevel"), {"*.json": "json"}, _read_tokenizer, _seal_tokenizer),
    "rows": Target(_make_rows, {"*.jsonl": "lines", "*.json": "json"}, _read_rows),
    "run": Target(
        _make_run,
        {
            "run/config.json": "json", "run/journal.jsonl": "lines", "*/metrics.jsonl": "lines",
            "*/hosts.jsonl": "lines", "*/meta/metadata": "json",
        },
        _read_run,
    ),
    "model": Target(
        _make_model, {"*.safetensors": "safetensors", "*.json": "json"}, _read_model
    ),
}  # fmt: skip
