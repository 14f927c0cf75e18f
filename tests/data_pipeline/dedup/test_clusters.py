from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.dedup.clusters import join


def test_only_verified_pairs_join():
    near = {(1, 2), (2, 3), (5, 6)}
    groups = [[1, 2, 3], [3, 4], [5, 6], [1, 6]]
    assert join(groups, lambda a, b: (a, b) in near) == [[1, 2, 3], [5, 6]]


def test_pairs_that_stand_joined_are_not_compared_again():
    compared = []

    def is_near(a, b):
        compared.append((a, b))
        return True

    assert join([[1, 2, 3], [1, 2, 3], [2, 3]], is_near) == [[1, 2, 3]]
    assert compared == [(1, 2), (1, 3)]


pairs = st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] < pair[1]))


@given(pairs, st.randoms(use_true_random=False))
def test_clusters_do_not_depend_on_order(near, rng):
    groups = [list(pair) for pair in sorted(near)]
    shuffled = rng.sample(groups, len(groups))
    clusters = join(groups, lambda a, b: True)
    assert join(shuffled, lambda a, b: True) == clusters
    of = {member: i for i, cluster in enumerate(clusters) for member in cluster}
    assert all(of[a] == of[b] for a, b in near)
    assert len(of) == len({member for pair in near for member in pair})
