"""The files of a tokenizer, carried in and out of folders as Hugging Face lays them out."""

import json
from collections.abc import Mapping
from typing import Any

from maxlm.errors import ConfigError, DataError
from maxlm.paths import PathLike, as_path, read_json, read_whole, write_atomic, write_json
from maxlm.tokenizer.base import MODEL_FILES, Tokenizer
from maxlm.tokenizer.huggingface import SETTINGS_FILE, TOKENIZER_FILE, parse, special_of
from maxlm.tokenizer.load import load_tokenizer

# What belongs to a tokenizer there; all else in a folder is left.
FILES = (
    *MODEL_FILES, "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja",
    "chat_template.json",
)  # fmt: skip


_QWENS_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def import_tokenizer(source: PathLike, target: PathLike, config: Mapping[str, Any], rows: int) -> Tokenizer:
    """Copies a tokenizer's files and describes them in tokenizer_info.json, so that our commands open them.

    Where tokenizer_config.json names no BOS or EOS, those of config.json are written into the copy; a tokenizer that
    has no BOS (Qwen's) takes EOS for it, as GPT-2's does.

    Args:
      config: the values of the model's config.json.
      rows: of the model's embedding.

    Raises:
      ConfigError: it comes with code of its own.
      DataError: no tokenizer, or one that we can't use; nothing is written then.
    """
    source, target = as_path(source), as_path(target)
    found = [name for name in FILES if (source / name).exists()]
    if not {*MODEL_FILES[:2]} & {*found}:
        raise DataError(f"{source}: neither {MODEL_FILES[0]} nor {MODEL_FILES[1]}; --tokenizer names another folder")
    files: dict[str, bytes] = {name: read_whole(source / name, "a tokenizer") for name in found}
    values = read_json(source / SETTINGS_FILE, "settings of a tokenizer") if SETTINGS_FILE in files else {}
    if values.get("auto_map"):
        raise ConfigError(f"{source / SETTINGS_FILE}: auto_map: the tokenizer needs code of its own, which is not run")
    if MODEL_FILES[0] not in files:
        named = _with_ends(values, files[TOKENIZER_FILE], config, source)
        if named != values:
            files[SETTINGS_FILE] = (json.dumps(named, indent=2, ensure_ascii=False) + "\n").encode()
    target.mkdir(parents=True, exist_ok=True)
    try:
        for name, raw in files.items():
            write_atomic(target / name, raw)
        tokenizer = load_tokenizer(target, rows)
    except DataError:
        for name in files:
            (target / name).unlink(missing_ok=True)
        raise
    tokenizer.bos_before_prompts = _adds_bos(values, files.get(TOKENIZER_FILE), tokenizer.bos_id, source)
    tokenizer.describe(target, origin=str(source))
    return tokenizer


def _with_ends(values: dict[str, Any], model: bytes, config: Mapping[str, Any], where: object) -> dict[str, Any]:
    """The settings with BOS and EOS named."""
    bos, eos, *_ = special_of(values, where)
    if bos and eos:
        return values
    inner = parse(model, f"{where}/{TOKENIZER_FILE}")

    def by_id(key: str) -> str | None:
        found = config.get(key)
        first = found[0] if isinstance(found, list) and found else found
        return inner.id_to_token(first) if isinstance(first, int) and first >= 0 else None

    eos = eos or by_id("eos_token_id")
    bos = bos or by_id("bos_token_id") or eos
    return values | {key: name for key, name in (("bos_token", bos), ("eos_token", eos)) if name}


def _adds_bos(values: dict[str, Any], model: bytes | None, bos_id: int, where: object) -> bool:
    """Whether texts begin with BOS where this tokenizer comes from."""
    if isinstance(values.get("add_bos_token"), bool):
        return values["add_bos_token"]
    if model is None:
        return True  # SentencePiece alone: Llama 2 and Mistral
    return parse(model, f"{where}/{TOKENIZER_FILE}").encode("a", add_special_tokens=True).ids[:1] == [bos_id]


def export_tokenizer(source: PathLike, target: PathLike) -> None:
    """Copies a run's tokenizer, so that `transformers` encodes as the run does.

    One of ours gets a rule that puts BOS before each text, as in training; its own tokenizer.json has none, since it
    is to give the very ids of the text.
    """
    source, target = as_path(source), as_path(target)
    tokenizer = load_tokenizer(source)
    target.mkdir(parents=True, exist_ok=True)
    files = tokenizer.files()  # a folder of an older version may lack the Hugging Face form
    for name in FILES:
        if (source / name).exists() or name in files:
            raw = read_whole(source / name, "a tokenizer") if (source / name).exists() else files[name]
            write_atomic(target / name, raw)
    path = target / TOKENIZER_FILE
    if path.exists() and tokenizer.bos_before_prompts:
        values = read_json(path, "a tokenizer")
        if values.get("post_processor") is None:
            bos = special_of(read_json(target / SETTINGS_FILE, "settings of a tokenizer"), target)[0]
            write_json(path, values | {"post_processor": _bos_first(bos, tokenizer.bos_id)})


def splits_like_qwen(folder: PathLike) -> bool:
    """Whether a tokenizer normalises and splits texts as Qwen's does: `transformers` makes any qwen2 folder's do so."""
    path = as_path(folder) / TOKENIZER_FILE
    values = read_json(path, "a tokenizer") if path.exists() else {}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    match values.get("normalizer"), values.get("pre_tokenizer"):
        case {"type": "NFC"}, {"type": "Sequence", "pretokenizers": [{"type": "Split"} as split, dict() as rest]}:
            words = {"pattern": {"Regex": _QWENS_WORDS}, "behavior": "Isolated", "invert": False}
            return all(split.get(key) == value for key, value in words.items()) and rest.items() >= byte_level.items()
    return False


def _bos_first(name: str, bos_id: int) -> dict[str, Any]:
    """A post-processor as tokenizer.json holds it: BOS, then the text; for pairs, twice."""

    def special(kind: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": kind}}

    first, second = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [special(0), first],
        "pair": [special(0), first, special(1), second],
        "special_tokens": {name: {"id": name, "ids": [bos_id], "tokens": [name]}},
    }
