"""Documents of a prompt and its completion: the text is both, the metadata says where the prompt ends.

Beside the prompt's length stands a digest of it: whoever edits the text afterwards can't move the boundary unnoticed.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

_BYTES, _DIGEST = "prompt_bytes", "prompt_digest"


class EditedError(Exception):
    """A text does not begin with its prompt any more. `number`: which of the texts."""

    def __init__(self, number: int):
        super().__init__(
            "the text was edited, and its prompt can't be told from its completion any more; keep recipes, segments "
            "and decontamination by cutting away from the domains of such documents"
        )
        self.number = number


def described(prompt: str) -> dict[str, Any]:
    """What the metadata of a document says of its prompt."""
    raw = prompt.encode()
    return {_BYTES: len(raw), _DIGEST: _digest(raw)}


def sizes(texts: Sequence[bytes], metadata: Sequence[str | None]) -> np.ndarray:
    """How many bytes of each text are its prompt, int64 `[texts]`; 0 where it has none.

    Raises:
      EditedError: a text does not begin with its prompt.
    """
    found = np.zeros(len(texts), np.int64)
    for i, (text, said) in enumerate(zip(texts, metadata, strict=True)):
        if said is None or _BYTES not in said:
            continue
        values = orjson.loads(said)
        if (size := values.get(_BYTES)) is None:  # it is another key's value
            continue
        if not isinstance(size, int) or not 0 <= size <= len(text) or _digest(text[:size]) != values.get(_DIGEST):
            raise EditedError(i)
        found[i] = size
    return found


def _digest(prompt: bytes) -> str:
    return hashlib.blake2b(prompt, digest_size=8).hexdigest()
