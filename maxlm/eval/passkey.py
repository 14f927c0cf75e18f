"""A number hidden in a long text, to be said at its end: how far back does a model find what it has read?

The test is that of Mohtashami and Jaggi (2023, arXiv 2305.16300). Its text is made up here, so that it needs no file,
and the same every time: for each length and each depth a few numbers.
"""

import itertools
import random

from maxlm.errors import ConfigError
from maxlm.eval.formats import Benchmark, Item
from maxlm.tokenizer.base import Tokenizer

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # where the number stands: at the begin of the filler, …, at its end
KEYS = 4  # numbers for each length and depth
SHORTEST = 128  # tokens
_TASK = "Somewhere in this text a pass key is hidden. Remember it.\n"
_FILLER = (
    "The river runs to the sea. ", "The wind comes from the west. ", "The road goes over the hill. ",
    "The day is long. ", "The birds are in the trees. ",
)  # fmt: skip
_KEY = "\nThe pass key is {key}. Remember it. {key} is the pass key.\n"
_ASK = "\nWhat is the pass key? The pass key is"


def passkey(tokenizer: Tokenizer, max_length: int) -> Benchmark:
    """Questions of `max_length` tokens, of half of it, and so on down to SHORTEST; the answer counts among the tokens.

    Each item has one continuation, the number; its group names length and depth. The first of them, where only some are
    asked, are of all lengths, the longest first, and all depths.

    Raises:
      ConfigError: `max_length` is too short to hide anything.
    """
    lengths = []
    while max_length >= SHORTEST:
        lengths.append(max_length)
        max_length //= 2
    if not lengths:
        raise ConfigError(f"passkey: a context of {max_length} tokens hides nothing; {SHORTEST} or more")
    return Benchmark(tuple(
        _item(tokenizer, length, depth, number)
        for number in range(KEYS) for depth in DEPTHS for length in lengths
    ))  # fmt: skip


def _item(tokenizer: Tokenizer, length: int, depth: float, number: int) -> Item:
    key = str(random.Random(f"{length} {depth} {number}").randint(10_000, 99_999))
    fixed = len(tokenizer.prompt(_TASK + _KEY.format(key=key) + _ASK + f" {key}"))
    sentences = max(0, length - fixed) * len(_FILLER) // len(tokenizer.encode("".join(_FILLER)))
    while True:  # pieces may be cut otherwise where they meet, so the whole is counted
        filler = list(itertools.islice(itertools.cycle(_FILLER), sentences))
        before = round(depth * sentences)
        context = "".join([_TASK, *filler[:before], _KEY.format(key=key), *filler[before:], _ASK])
        if not sentences or len(tokenizer.prompt(f"{context} {key}")) <= length:
            return Item(context, (f" {key}",), 0, group=f"{length} tokens, depth {depth:.0%}")
        sentences -= 1
