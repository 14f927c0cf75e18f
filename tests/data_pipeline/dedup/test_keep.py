import numpy as np

from data_pipeline.dedup.clusters import Candidate
from data_pipeline.dedup.keep import EXACT, NEAR, Removal, drop_exact, drop_near, follow


def candidate(ordinal, characters=10, source="s", name=""):
    return Candidate(ordinal, name or f"id{ordinal}", source, characters, np.empty(0, np.int64))


def by_ordinal(*candidates):
    return {candidate.ordinal: candidate for candidate in candidates}


def test_the_longest_stays_then_the_first_source_then_the_first_id():
    group = [1, 2, 3, 4]
    longest = by_ordinal(candidate(1), candidate(2, 12), candidate(3), candidate(4))
    assert {removal.kept for removal in drop_exact([group], longest).values()} == {2}
    sources = by_ordinal(candidate(1), candidate(2), candidate(3, source="r"), candidate(4))
    assert {removal.kept for removal in drop_exact([group], sources).values()} == {3}
    ids = by_ordinal(candidate(1), candidate(2), candidate(3), candidate(4, name="a"))
    assert {removal.kept for removal in drop_exact([group], ids).values()} == {4}


def test_a_chain_keeps_the_end_that_differs():
    candidates = by_ordinal(candidate(1, 30), candidate(2, 20), candidate(3, 10))
    scores = {(2, 1): 0.8, (3, 1): 0.5, (3, 2): 0.8}
    removed = drop_near([[1, 2, 3]], candidates, lambda a, b: scores[a, b], 0.7)
    assert removed == {2: Removal(1, NEAR, 0.8)}


def test_a_removal_names_the_nearest_that_stays():
    candidates = by_ordinal(candidate(1, 30), candidate(2, 20), candidate(3, 10))
    scores = {(2, 1): 0.5, (3, 1): 0.75, (3, 2): 0.9}
    removed = drop_near([[1, 2, 3]], candidates, lambda a, b: scores[a, b], 0.7)
    assert removed == {3: Removal(2, NEAR, 0.9)}


def test_an_equal_copy_of_a_document_that_goes_points_at_the_one_that_stays():
    exact = {2: Removal(1, EXACT, 1.0), 5: Removal(4, EXACT, 1.0)}
    near = {1: Removal(9, NEAR, 0.8)}
    assert follow(exact, near) == {2: Removal(9, NEAR, 0.8), 5: Removal(4, EXACT, 1.0), 1: Removal(9, NEAR, 0.8)}
