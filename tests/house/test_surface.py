"""What users and files in the world rely on, written down once more. A change here is a decision, not an accident."""

import ast
import dataclasses
import tomllib
import typing

import numpy as np
import pytest

from data_pipeline.cli import STEPS
from data_pipeline.cli import _parser as data_parser
from data_pipeline.config import DataConfig
from maxlm.blocks import format as block_format
from maxlm.blocks.manifest import DatasetInfo, Manifest, Packing, Shard, TokenAccount
from maxlm.cli.main import COMMANDS
from maxlm.train import checkpoint
from maxlm.train.config import Config
from tests.house.modules import ROOT, modules, tree, within

MEANT = "If that is meant, change it here too, and tell users what to do in the README and the commit message: "

TRAIN_KEYS = """
model.vocab_size model.embed model.num_layers model.num_heads model.num_kv_heads model.head_dim model.mlp
model.mlp_kind model.norm model.norm_eps model.bias model.qk_norm model.position model.max_positions model.rope_base
model.rope_scaling.kind model.rope_scaling.factor model.rope_scaling.original_length
model.rope_scaling.low_freq_factor model.rope_scaling.high_freq_factor model.rope_scaling.beta_fast
model.rope_scaling.beta_slow model.sliding_window model.tie_embeddings model.init_std model.mup_base_embed
model.mup_base_layers model.dtype
model.matmul model.attention model.scan_layers model.remat model.pipeline_microbatches model.pipeline_repeats
mesh.stage mesh.data mesh.fsdp mesh.context mesh.tensor mesh.dcn_stage mesh.dcn_data mesh.dcn_fsdp
data.dataset data.num_blocks data.seed data.verify data.wait_s
optimizer.name optimizer.learning_rate optimizer.b1 optimizer.b2 optimizer.eps optimizer.muon_momentum
optimizer.weight_decay optimizer.decay_tables optimizer.clip_norm optimizer.ema_decay
optimizer.freeze optimizer.lora_rank optimizer.lora_alpha optimizer.lora_on
schedule.name schedule.warmup_share schedule.decay_share schedule.final_share
checkpoint.keep checkpoint.keep_every_blocks checkpoint.keep_stage_ends checkpoint.keep_best checkpoint.keep_spread
checkpoint.every_steps
train.batch train.accumulate train.seed train.loss train.beta train.label_smoothing
train.z_loss train.loss_chunks train.log_every train.log_norms
train.eval_every_blocks train.eval_rows train.benchmarks train.benchmark_questions train.peak_flops
watch.loss.policy watch.loss.window watch.loss.threshold watch.loss.in_a_row
watch.grad_norm.policy watch.grad_norm.window watch.grad_norm.threshold watch.grad_norm.in_a_row
watch.domain_loss.policy watch.domain_loss.window watch.domain_loss.threshold watch.domain_loss.in_a_row
watch.not_finite watch.max_not_finite watch.max_skipped watch.max_rollbacks watch.corruption.policy
watch.corruption.every watch.stuck.policy watch.stuck.limit_s
profile.start profile.steps wandb.project wandb.entity wandb.name
stages[].name stages[].blocks stages[].tokens stages[].changes branch.run branch.step branch.stage branch.fresh
"""

DATA_KEYS = """
sources[].path sources[].name sources[].domain sources[].text_key sources[].columns sources[].metadata
sources[].split sources[].encoding sources[].format sources[].max_row_bytes
recipe[].name recipe[].domains recipe[].params recipe[].action recipe[].branch
segments.unit segments.scope segments.min_documents segments.keep segments.span segments.min_characters
segments.max_cut_share segments.skip_domains segments.sample segments.seed
decontaminate.benchmarks decontaminate.fields decontaminate.ngram decontaminate.ngram_characters
decontaminate.min_words decontaminate.min_characters decontaminate.min_overlap decontaminate.max_items
decontaminate.max_documents decontaminate.whole_share decontaminate.action decontaminate.margin
decontaminate.max_cut_share
scores[].name scores[].model scores[].domains scores[].positive
scores[].train.labelled scores[].train.positive scores[].train.negative scores[].train.unlabelled
scores[].train.text_key scores[].train.label_key scores[].train.regression scores[].train.holdout
scores[].train.buckets scores[].train.max_chars scores[].train.max_texts scores[].train.encoder scores[].train.seed
keep[].score keep[].min keep[].max keep[].domains domain_from
dedup.threshold dedup.thresholds dedup.lowest dedup.num_perm dedup.ngram dedup.seed dedup.score dedup.against
dedup.part_documents dedup.max_shingles
tokenizer.kind tokenizer.vocab_size tokenizer.spare_tokens tokenizer.digits tokenizer.special_tokens
tokenizer.user_tokens tokenizer.characters tokenizer.character_coverage
tokenizer.sample_bytes tokenizer.seed tokenizer.dirt tokenizer.dirt_lists
mixture.by mixture.shares mixture.weights mixture.tokens mixture.temperature mixture.max_uses mixture.max_uses_of
mixture.exhausted order.by order.descending order.noise order.lot select.decay select.spread_tokens
stages[].name stages[].tokens stages[].mixture stages[].order stages[].row_lengths
stages[].filter.domains stages[].filter.languages stages[].filter.sources stages[].filter.marks
stages[].filter.without_marks stages[].filter.always_sources
stages[].filter.scores[].score stages[].filter.scores[].min stages[].filter.scores[].max stages[].filter.scores[].top
stages[].filter.scores[].domains
produce.seq_len produce.block_tokens produce.row_multiple produce.num_blocks produce.ahead produce.shard_rows
produce.pack produce.overlap produce.row_lengths produce.remove_passed produce.parts
produce.holdout produce.holdout_tokens produce.seed produce.poll_s produce.workers
conversations.template conversations.learn conversations.too_long
runner partitions
"""

JOURNAL_EVENTS = """
imported resized run_started resumed branched stage_started block_started block_finished checkpoint checkpoint_damaged
verified stopped evaluated rollback rollback_undone run_finished
alarm stuck
skip unskip redraw
"""

# A row of 9 tokens: two documents and two places of padding.
ROW = block_format.Rows(
    tokens=np.array([[1, 258, 65535, 2, 1, 40000, 7, 0, 0]]),
    starts=np.array([[1, 0, 0, 0, 1, 0, 0, 1, 0]], bool),
    learn=np.array([[1, 1, 1, 1, 0, 0, 1, 0, 0]], bool),
    domains=np.array([[0, 0, 0, 0, 3, 3, 3, 255, 255]], np.uint8),
)
ROW_BYTES = {  # tokens, starts, learn, domains, by size of the vocabulary
    65_536: "01000201ffff02000100409c07000000000091004f0000000000030303ffff",
    65_537: "0100000002010000ffff00000200000001000000409c000007000000000000000000000091004f0000000000030303ffff",
}


def _keys(schema: type, prefix: str = "") -> list[str]:
    """Dotted keys of a tree of dataclasses; ``[]`` stands for an index into a list."""
    found, hints = [], typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        kind, name = hints[field.name], prefix + field.name
        if typing.get_origin(kind) is tuple and dataclasses.is_dataclass(typing.get_args(kind)[0]):
            kind, name = typing.get_args(kind)[0], name + "[]"
        found += _keys(kind, name + ".") if dataclasses.is_dataclass(kind) else [name]
    return found


def _fields(*schemas: type) -> dict[str, list[str]]:
    return {schema.__name__: [field.name for field in dataclasses.fields(schema)] for schema in schemas}


@pytest.mark.parametrize(("schema", "frozen"), [(Config, TRAIN_KEYS), (DataConfig, DATA_KEYS)])
def test_config_keys(schema, frozen):
    found, frozen = set(_keys(schema)), set(frozen.split())
    assert found == frozen, (
        f"keys of {schema.__name__} have changed: new {sorted(found - frozen)}, gone {sorted(frozen - found)}. {MEANT}"
        "config files and saved checkpoints that name a key that is gone are refused."
    )


def test_commands():
    assert set(COMMANDS) == {
        "train",
        "eval",
        "generate",
        "status",
        "rollback",
        "report",
        "compile",
        "plan",
        "fit",
        "sweep",
        "import",
        "resize",
        "export",
    }, f"the commands of maxlm have changed. {MEANT}scripts call them."
    (choices,) = [a.choices for a in data_parser()._actions if a.dest == "command"]
    assert set(choices) == {*STEPS, "inspect", "ledger", "report"} == {
        "ingest", "clean", "segments", "decontaminate", "score", "dedup", "decide", "tokenizer", "produce", "inspect",
        "ledger", "report",
    }, f"the commands of maxlm-data have changed. {MEANT}scripts call them."  # fmt: skip


def test_entry_points():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"maxlm": "maxlm.cli.main:main", "maxlm-data": "data_pipeline.cli:main"}


def test_block_format():
    versions = (block_format.FORMAT_VERSION, block_format.PADDING_DOMAIN, checkpoint.FORMAT_VERSION)
    assert versions == (2, 255, 2), f"a format version has changed. {MEANT}older files are refused from now on."


@pytest.mark.parametrize("vocab_size", ROW_BYTES)
def test_row_bytes(vocab_size):
    layout = block_format.RowFormat(8, vocab_size)
    assert layout.encode(ROW).tobytes().hex() == ROW_BYTES[vocab_size], (
        "the bytes of a row have changed: blocks that stand would be read as something else. Put it back, or raise "
        "FORMAT_VERSION in maxlm/blocks/format.py."
    )
    decoded = layout.decode([bytes.fromhex(ROW_BYTES[vocab_size])])
    for found, expected in zip(decoded, ROW, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_manifests():
    found = _fields(Manifest, Shard, TokenAccount, Packing, DatasetInfo)
    # fmt: off
    assert found == {
        "Manifest": [
            "block", "seq_len", "rows", "shards", "account", "domain_tokens", "source_tokens", "documents", "seed",
            "tokenizer_digest", "selection", "stage", "packing", "pairs", "draw", "format_version",
        ],
        "Shard": ["file", "rows", "bytes", "sha256", "seq_len"],
        "TokenAccount": ["selected", "written", "truncated", "padded", "repeated", "masked"],
        "Packing": [
            "packer", "fill", "documents_cut", "tokens_cut", "documents_split", "tokens_split",
            "conversations_too_long", "tokens_too_long", "conversations_unusable",
        ],
        "DatasetInfo": [
            "tokenizer_digest", "vocab_size", "seq_len", "rows", "domains", "format_version", "creation",
        ],
    }, f"manifests have changed. {MEANT}older blocks, or older programs, may be refused: raise FORMAT_VERSION."
    # fmt: on


def test_checkpoints():
    found = _fields(checkpoint.Meta, checkpoint.Position)
    assert found == {
        "Meta": ["position", "config", "vocab_size", "seen", "format_version"],
        "Position": ["step", "blocks_done", "block", "batch", "finished_block"],
    }, f"what a checkpoint says of itself has changed. {MEANT}raise FORMAT_VERSION in maxlm/train/checkpoint.py."


def _journal_events() -> set[str]:
    """First arguments of every ``journal.append("…", …)``, whatever the journal's variable is called."""
    found = set()
    for name in modules():
        for node in ast.walk(tree(name)) if within(name, "maxlm") or within(name, "data_pipeline") else ():
            if isinstance(node, ast.Call) and _appends_to_a_journal(node.func):
                event = node.args[0]
                names = [event.body, event.orelse] if isinstance(event, ast.IfExp) else [event]
                found |= {part.value for part in names if isinstance(part, ast.Constant)}
    return found


def _appends_to_a_journal(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "append"
        and ast.unparse(function.value).endswith(("journal", "events"))
    )


def test_journal_events():
    found, frozen = _journal_events(), set(JOURNAL_EVENTS.split())
    assert found == frozen, (
        f"journal events have changed: new {sorted(found - frozen)}, gone {sorted(frozen - found)}. {MEANT}"
        "journals in the world keep the old names, and readers of a journal pass over names that they don't know."
    )
