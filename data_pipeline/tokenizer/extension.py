"""Adds tokens to a data set's tokenizer, into another folder, and tells which texts that changes."""

from typing import Any

from data_pipeline.config import DataConfig
from data_pipeline.document import TOKENIZER
from data_pipeline.mix.corpus import Corpus
from data_pipeline.tokenizer import sample
from maxlm.errors import ConfigError, DataError, naming_full_disk
from maxlm.paths import PathLike, as_path, write_json
from maxlm.tokenizer.extend import Extension, Way, extend
from maxlm.tokenizer.load import load_tokenizer

REPORT = "extension.json"
_EXAMPLES = 5
_AROUND = 20  # characters of an example on either side of what changed


def run(config: DataConfig, dataset: PathLike, tokens: PathLike, out: PathLike, way: Way) -> dict[str, Any]:
    """Adds the tokens of a file, one a line, to DATASET/tokenizer and writes the new one to `out`.

    Returns:
      What OUT/extension.json holds: what is new, the ids that each new one replaces (for the rows of an embedding:
      maxlm.tokenizer.extend.extended_table), and which of the texts that an audit measures on are encoded otherwise.

    Raises:
      ConfigError: a string that can't be a token, or one that would hide an old one.
      DataError: no tokens, no tokenizer, no documents, or another tokenizer in `out`.
    """
    out, old = as_path(out), load_tokenizer(as_path(dataset) / TOKENIZER)
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: not empty; name a new folder (--out)")
    extension = extend(old, _read(tokens), way)
    new = extension.tokenizer
    if not extension.added:
        raise DataError(f"{tokens}: all of these are tokens already: {', '.join(map(repr, extension.already[:10]))}")
    corpus = Corpus(dataset, config.produce.holdout)
    chosen = sample.to_measure(corpus, sample.to_train(config, corpus), config.tokenizer.seed)
    texts = list(sample.texts(corpus, chosen))
    pairs = list(zip(texts, old.encode_batch(texts), new.encode_batch(texts), strict=True))
    changed = [(text, after) for text, before, after in pairs if before != after]
    told = {
        "from": old.digest,
        "to": new.digest,
        "way": way,
        "added": {str(i): text for i, text in extension.added.items()},
        "replaces": {str(i): ids for i, ids in extension.replaces.items()},
        "already": extension.already,
        "rows_before": old.vocab_size,
        "rows_after": new.vocab_size,
        "texts": len(texts),
        "changed": len(changed),
        "tokens_before": sum(len(before) for _, before, _ in pairs),
        "tokens_after": sum(len(after) for _, _, after in pairs),
        "examples": [_example(extension, text, after) for text, after in changed[:_EXAMPLES]],
    }
    with naming_full_disk("the tokenizer", out):
        new.save(out, extended_from=old.digest)
        write_json(out / REPORT, told)
    return told


def _read(path: PathLike) -> list[str]:
    """The tokens of a file: its lines as they are, but for empty ones."""
    path = as_path(path)
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read as UTF-8 text ({error})") from error
    if not (tokens := [line for line in lines if line]):
        raise DataError(f"{path}: holds no tokens; one a line is expected")
    return tokens


def _example(extension: Extension, text: str, ids: list[int]) -> str:
    """The text around its first new token."""
    first = next((k for k, i in enumerate(ids) if i in extension.added), 0)
    start = len(extension.tokenizer.decode(ids[:first]))
    end = start + len(extension.tokenizer.decode([ids[first]]))
    return text[max(0, start - _AROUND) : end + _AROUND].replace("\n", " ")
