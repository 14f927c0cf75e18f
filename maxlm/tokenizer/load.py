"""Opening a tokenizer, of whichever kind."""

from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path, read_json
from maxlm.tokenizer.base import INFO_FILE, Tokenizer, digest_of
from maxlm.tokenizer.bytelevel import ByteLevelTokenizer
from maxlm.tokenizer.huggingface import SETTINGS_FILE, TOKENIZER_FILE
from maxlm.tokenizer.spm import MODEL_FILE, SentencePieceTokenizer


def load_tokenizer(path: PathLike, vocab_size: int | None = None) -> Tokenizer:
    """Reads a tokenizer's folder (tokenizer.model, else tokenizer.json), or a bare file of these.

    `vocab_size`: rows of the embedding where no tokenizer_info.json says it.

    Raises:
      DataError: missing, damaged, or not the model that the tokenizer_info.json beside it describes.
    """
    path = as_path(path)
    if path.is_dir():
        path = next((p for name in (MODEL_FILE, TOKENIZER_FILE) if (p := path / name).exists()), path / MODEL_FILE)
    if not path.exists():
        raise DataError(f"{path}: no such file; maxlm-data tokenizer trains a tokenizer")
    info_path = path.parent / INFO_FILE
    info = read_json(info_path, "description of a tokenizer") if info_path.exists() else {}
    rows = info.get("vocab_size", vocab_size)
    if info and not isinstance(rows, int):
        raise DataError(f"{info_path}: names no vocab_size; train the tokenizer again, or copy its folder whole")
    parts = [path.read_bytes()]
    if path.suffix == ".json":
        settings = path.parent / SETTINGS_FILE
        if not settings.exists():
            raise DataError(f"{settings}: no such file; it says which tokens of {path.name} stand around a document")
        parts.append(settings.read_bytes())
    if info and info.get("digest") != digest_of(b"".join(parts), rows):
        raise DataError(f"{path}: damaged, or not the model that {info_path.name} beside it describes")
    kind = ByteLevelTokenizer if len(parts) == 2 else SentencePieceTokenizer
    tokenizer = kind(*parts, vocab_size=rows, where=path)
    tokenizer.bos_before_prompts = info.get("bos_before_prompts", True) is True
    return tokenizer


def copy_tokenizer(source: PathLike, target: PathLike) -> None:
    """Copies the files of a tokenizer's folder; the one that says that all is there comes last."""
    source, target = as_path(source), as_path(target)
    target.mkdir(parents=True, exist_ok=True)
    files = (path for path in source.iterdir() if path.is_file())
    for path in sorted(files, key=lambda path: path.name == INFO_FILE):
        path.copy(target / path.name, overwrite=True)
