"""What a tokenizer makes of a corpus, and what is wrong with it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.mix.corpus import Corpus
from data_pipeline.tokenizer import compression, coverage, dirt, round_trip, sample
from maxlm.tokenizer.base import Tokenizer
from maxlm.tokenizer.huggingface import TOKENIZER_FILE
from maxlm.tokenizer.reach import partial, unreachable

_USUAL = (1.3, 1.8)  # characters of Chinese text a token
_WORDS_BYTES = 5_000_000  # English text that the commonest words are taken from


def audit(
    config: DataConfig, corpus: Corpus, tokenizer: Tokenizer, strings: int, compare: Sequence[str] = ()
) -> dict[str, Any]:
    """All that can be told. `strings`: random ones for the round trip. `compare`: other tokenizers' files.

    Returns:
      What audit.json holds; `findings` is empty where the tokenizer is clean, and each says what to do.
    """
    trained = sample.to_train(config, corpus)
    measured = sample.to_measure(corpus, trained, config.tokenizer.seed)
    texts = list(sample.texts(corpus, measured))
    domains = [corpus.domains[i] for i in corpus.domain[measured]]
    names, language = sample.languages(corpus)
    english = _english(corpus, trained[[names[i] == "en" for i in language[trained]]])
    encoders = [compression.of_tokenizer(tokenizer, "this"), *map(compression.open_encoder, compare)]
    told: dict[str, Any] = {
        "kind": tokenizer.kind,
        "digest": tokenizer.digest,
        "vocab_size": tokenizer.vocab_size,
        "pieces": tokenizer.num_pieces,
        "sample_bytes": int(corpus.bytes[trained].sum()),
        "compression": {
            encoder.name: {
                "pieces": encoder.pieces,
                "domains": compression.by_group(encoder, texts, domains),
                "languages": compression.by_group(encoder, texts, [names[i] for i in language[measured]]),
            }
            for encoder in encoders
        },
        "dirty": dirty(config, tokenizer),
        "unreachable": [[i, tokenizer.decode([i])] for i in unreachable(tokenizer)],
        "parts_of_characters": _parts(tokenizer),
        "gb2312": coverage.characters(tokenizer),
        "words": coverage.words(tokenizer, sample.texts(corpus, english)),
        "blanks": coverage.blanks(tokenizer),
        "round_trip": round_trip.check(tokenizer, strings),
    }
    if form := tokenizer.files().get(TOKENIZER_FILE):
        made_up = [text for text, _ in zip(round_trip.random_texts(1), range(strings), strict=False)]
        other = round_trip.differing(tokenizer, form, [*texts, *made_up])
        told["hugging_face"] = {"texts": len(texts) + strings, "differing": [ascii(text[:200]) for text in other[:20]]}
    told["findings"] = findings(config, corpus, told)
    told["warnings"] = warnings(told)
    return told


def dirty(config: DataConfig, tokenizer: Tokenizer) -> list[list[Any]]:
    """[id, token, why] of tokens that nobody wants; user tokens are wanted."""
    why = dirt.finder(config.tokenizer)
    texts = [(i, raw.decode(errors="ignore")) for i, raw in enumerate(tokenizer.pieces())]
    return [[i, text, reason] for i, text in texts if text not in tokenizer.user_tokens and (reason := why(text))]


def wants_characters(config: DataConfig, corpus: Corpus) -> bool:
    """Whether config.tokenizer.characters asks for GB2312's first level, "auto" resolved."""
    return config.tokenizer.wants_gb2312(sample.is_chinese(corpus))


def findings(config: DataConfig, corpus: Corpus, told: dict[str, Any]) -> list[str]:
    """What is wrong, each with what to do."""
    again = "train again (maxlm-data tokenizer)"
    found = []
    if n := len(told["dirty"]):
        found.append(
            f"{n} dirty tokens, e.g. {told['dirty'][0][1]!r} ({told['dirty'][0][2]}): {again}; training leaves them out"
        )
    if n := len(told["unreachable"]):
        found.append(f"{n} tokens that no text becomes, e.g. {told['unreachable'][0][1]!r}: {again}")
    if wants_characters(config, corpus) and (missing := told["gb2312"]["missing"]):
        found.append(
            f"{len(missing)} characters of GB2312's first level are several tokens, e.g. {missing[:5]}: {again}"
        )
    trip = told["round_trip"]
    if lost := [*trip["failed_strings"], *trip["failed_byte_strings"]]:
        found.append(f"{len(lost)} random texts do not come back, e.g. {lost[0]}: the tokenizer loses text; {again}")
    if trip["takes_surrogates"]:
        found.append(f"lone surrogates pass without an error: {again}")
    if others := told.get("hugging_face", {}).get("differing"):
        found.append(f"{TOKENIZER_FILE} gives other ids for {len(others)} texts, e.g. {others[0]}: {again}")
    return found


def warnings(told: dict[str, Any]) -> list[str]:
    """What is unusual, and may be meant."""
    low, high = _USUAL
    measured = told["compression"]["this"]["languages"].get("zh")
    if not measured or low <= measured["chars_per_token"] <= high:
        return []
    return [
        f"Chinese: {measured['chars_per_token']:.2f} characters a token; {low} to {high} is usual "
        "(less: too few Chinese pieces; more: a vocabulary of phrases)"
    ]


def _parts(tokenizer: Tokenizer) -> dict[str, int]:
    found = partial(tokenizer)
    return {"tokens": len(found), "only_on_the_way": sum(text is None for text in found.values())}


def _english(corpus: Corpus, members: np.ndarray) -> np.ndarray:
    """The first of the English documents of the sample, a few megabytes of them; code is none."""
    of_code = corpus.domains.index("code") if "code" in corpus.domains else -1
    members = members[corpus.domain[members] != of_code]
    return members[: int(np.searchsorted(np.cumsum(corpus.bytes[members]), _WORDS_BYTES)) + 1]
