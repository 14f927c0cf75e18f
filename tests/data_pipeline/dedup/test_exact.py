import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.dedup import exact
from tests.data_pipeline.dedup.test_keep import CONFIG, ranked

# Few values, so that sets meet; spread over all 64 bits, so that halving leaves some of them out.
VALUES = np.sort(np.random.default_rng(0).integers(0, 2**64, 60, dtype=np.uint64))
sets = st.lists(st.sets(st.integers(0, 59), max_size=40), min_size=2, max_size=20)


@given(sets, st.integers(4, 50), st.integers(0, 3))
def test_similarity_is_that_of_the_sets_held_one_by_one_or_many_at_once(chosen, most, unknown):
    part, _ = ranked(CONFIG, [f"text number {i} of them" for i in range(len(chosen))])
    sampled = [exact.sampled(VALUES[sorted(one)], most) for one in chosen]
    known = range(min(unknown, len(chosen) - 1), len(chosen))
    hashes = pa.array([sampled[i][0] for i in known], pa.large_list(pa.uint64()))
    halvings = [sampled[i][1] for i in known]
    table = pa.table([part.ordinals[known.start :], halvings, hashes], schema=exact.SHINGLE_SET)
    mates = np.arange(len(chosen) - 1)
    found = exact.ShingleSets(part, table).similarity(len(chosen) - 1, mates)
    for mate in mates.tolist():
        if mate not in known:
            assert np.isnan(found[mate])
            continue
        limit = 1 << (64 - max(sampled[mate][1], sampled[-1][1]))
        a, b = ({value for value in sampled[i][0].tolist() if value < limit} for i in (mate, -1))
        assert found[mate] == pytest.approx(len(a & b) / max(len(a | b), 1))


@given(st.lists(st.text("ab 中", max_size=30).filter(str.strip), max_size=8), st.integers(1, 4))
def test_shingles_of_texts_taken_together_are_those_of_each(texts, ngram):
    together = exact.shingle_sets(texts, ngram)
    for text, found in zip(texts, together, strict=True):
        np.testing.assert_array_equal(found, exact.shingle_sets([text], ngram)[0])
        words = text.replace("中", " 中 ").split()
        assert len(found) == len({tuple(words[i : i + ngram]) for i in range(len(words) - ngram + 1)})
        assert (found[1:] > found[:-1]).all()
