"""How many bytes of text a token stands for, by domain, measured on a sample: what sizes in tokens are told by."""

import numpy as np

from data_pipeline.mix.corpus import Corpus
from maxlm.tokenizer.base import Tokenizer

_ROW_GROUPS = 64  # looked into, evenly spaced: a row group is read whole
_POINTS = 256  # of each domain, evenly spaced over the bytes there: long documents count for what they weigh
_CHARACTERS = 4096  # encoded of a document, from its head
_UNKNOWN = 4.0  # of a domain that the row groups hold nothing of


def domain_ratios(corpus: Corpus, tokenizer: Tokenizer) -> np.ndarray:
    """Bytes per token of each domain, BOS and EOS counted, float64 `[domains]`."""
    ordinals, domains = _sample(corpus)
    unique, inverse = np.unique(ordinals, return_inverse=True)
    per_byte = np.empty(len(unique))  # tokens
    for part, texts in corpus.texts(unique):
        heads = [text[:_CHARACTERS] for text in texts]
        tokens = np.array([len(ids) for ids in tokenizer.encode_batch(heads)])
        head_bytes = np.array([max(1, len(head.encode())) for head in heads])
        whole = np.maximum(corpus.bytes[part].astype(np.int64), 1)
        per_byte[np.searchsorted(unique, part)] = tokens / head_bytes + 2 / whole
    sums = np.bincount(domains, per_byte[inverse], minlength=len(corpus.domains))
    counts = np.bincount(domains, minlength=len(corpus.domains))
    return np.where(counts > 0, counts / np.maximum(sums, 1e-9), _UNKNOWN)


def _sample(corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """Ordinals drawn in proportion to their bytes, and their domains; some more than once."""
    firsts = corpus.index.row_groups
    chosen = np.unique(np.linspace(0, len(firsts) - 2, min(_ROW_GROUPS, len(firsts) - 1)).astype(int))
    there = np.concatenate([np.arange(int(firsts[i]), int(firsts[i + 1])) for i in chosen.tolist()])
    there = there[~corpus.held_out[there]]
    found = [np.empty(0, np.int64)]
    for domain in range(len(corpus.domains)):
        members = there[corpus.domain[there] == domain]
        ends = np.cumsum(corpus.bytes[members], dtype=np.int64)
        if len(members) and ends[-1]:
            points = (np.arange(_POINTS) + 0.5) / _POINTS * ends[-1]
            found.append(members[np.searchsorted(ends, points, side="right")])
    ordinals = np.concatenate(found)
    return ordinals, corpus.domain[ordinals].astype(np.int64)
