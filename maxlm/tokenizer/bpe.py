"""Byte-pair encoding as an algorithm: which pieces a vocabulary can produce, and by which merge each comes about.

Encoding always makes the merge of the best rank, and of equal ones the leftmost (Sennrich et al. 2016, arXiv
1508.07909). From that follows what this module stands on: *a piece comes about by one merge only, the same wherever
it stands.* For as long as no merge crosses the ends of the piece's span, the merges within it are made in the same
order as if the span stood alone; and one that crosses them would keep the piece from ever coming about. So:

- a piece is produced somewhere if, and only if, its own string becomes it;
- SentencePiece, which merges any two neighbours whose string is a piece, equals a list with one merge for each piece;
- a piece that no text produces can go without changing how any text is encoded;
- merges that rank after all others make no older piece unreachable: none is made while an older one can be.
"""

from collections.abc import Callable, Iterable

Merge = tuple[str, str]
Rank = Callable[[str, str], int | None]


def by_string(ranks: dict[str, int]) -> Rank:
    """The rank of a merge as SentencePiece sees it: that of the string that it makes."""
    return lambda left, right: ranks.get(left + right)


def by_pair(ranks: dict[Merge, int]) -> Rank:
    """The rank of a merge as its place in a list of pairs, Hugging Face's form."""
    return lambda left, right: ranks.get((left, right))


def ranked(merges: Iterable[Merge]) -> dict[Merge, int]:
    """Each merge's place."""
    return {merge: i for i, merge in enumerate(merges)}


def encode(symbols: Iterable[str], rank: Rank) -> tuple[list[str], Merge | None]:
    """What is left when nothing more can be merged, and the last merge. Quadratic; for pieces, not for texts."""
    symbols, last = list(symbols), None
    while len(symbols) > 1:
        found = [(r, i) for i in range(len(symbols) - 1) if (r := rank(symbols[i], symbols[i + 1])) is not None]
        if not found:
            break
        i = min(found)[1]
        last = (symbols[i], symbols[i + 1])
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
    return symbols, last


def merges_of(pieces: Iterable[str], rank: Rank) -> dict[str, Merge]:
    """The merge that each piece comes about by. Those of one symbol have none; what can't be produced is left out."""
    found = {}
    for piece in pieces:
        symbols, last = encode(piece, rank)
        if last is not None and len(symbols) == 1:
            found[piece] = last
    return found


def chain(symbols: Iterable[str], ranks: dict[Merge, int]) -> list[Merge]:
    """The merges that make one piece of `symbols`, from the left on, beyond those in `ranks`, which takes them up."""
    symbols, added = list(symbols), []
    while len(left := encode(symbols, by_pair(ranks))[0]) > 1:
        added.append((left[0], left[1]))
        ranks[added[-1]] = len(ranks)
    return added
