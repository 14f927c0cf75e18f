from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline import engine, exchange
from data_pipeline.dedup import components
from data_pipeline.dedup.links import both_ways, contract, large_star, small_star, stars
from maxlm.errors import DataError


def least_of_component(pairs):
    """The least node that each node is connected to, by walking."""
    neighbours = {}
    for a, b in pairs:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    least = {}
    for start in sorted(neighbours):
        reached = [start] if start not in least else []
        for node in reached:
            least[node] = start
            reached += neighbours[node] - set(reached)
    return least


def links_of(pairs):
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


pairs_of_nodes = st.sets(st.tuples(st.integers(0, 30), st.integers(0, 30)).filter(lambda pair: pair[0] != pair[1]))


@given(pairs_of_nodes)
def test_contracted_links_connect_the_same_nodes(pairs):
    contracted = {tuple(link) for link in contract(links_of(pairs)).tolist()}
    assert contracted == {(node, least) for node, least in least_of_component(pairs).items() if node != least}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), unique=True))
def test_what_shares_a_key_is_linked(rows):
    keys = np.array([key for key, _ in rows], np.uint64)
    ordinals = np.array([ordinal for _, ordinal in rows], np.int64)
    firsts, links = stars(keys, ordinals)
    groups = {key: sorted(o for k, o in rows if k == key) for key, _ in rows}
    assert {(keys[i], ordinals[i]) for i in firsts} == {(key, group[0]) for key, group in groups.items()}
    expected = {(group[0], other) for group in groups.values() for other in group[1:]}
    linked = {tuple(link) for link in links.tolist()}
    assert least_of_component(linked) == least_of_component(expected)


def test_a_bucket_that_all_share_gives_a_link_a_document():
    _, links = stars(np.full(20_000, 7, np.uint64), np.arange(20_000)[::-1].copy())
    assert sorted(links.tolist()) == [[node, 0] for node in range(1, 20_000)]


def to_stars(tmp_path, pairs, parts=3, digest="d", **options):
    """Stars by the rounds of exchanges, with the links in two files."""
    links = links_of(pairs)
    jobs = {name: links[i::parts] for i, name in enumerate(engine.partition_names(parts))}
    stage = engine.Stage("links", (tmp_path / "links",), digest)
    engine.make_partitions(stage, lambda some: (both_ways(some, parts),), jobs, 0)
    folder = components.to_stars([tmp_path / "links"], tmp_path / "rounds", parts, digest, **options)
    tables = [exchange.gather(folder, number) for number in range(parts)]
    return {row["node"]: row["neighbour"] for table in tables for row in table.to_pylist()}


def folder_for_links(tmp_path):
    (tmp_path / "links").mkdir()
    return tmp_path


@settings(max_examples=8, deadline=None)
@given(pairs_of_nodes, st.integers(1, 4))
def test_rounds_of_exchanges_find_the_components(tmp_path_factory, pairs, parts):
    found = to_stars(folder_for_links(tmp_path_factory.mktemp("rounds")), pairs, parts)
    assert found == {node: least for node, least in least_of_component(pairs).items() if node != least}


@given(pairs_of_nodes)
def test_stars_in_memory_connect_the_same_nodes(pairs):
    links = links_of(pairs)
    for _ in range(20):
        large, between = large_star(links.ravel(), links[:, ::-1].ravel())
        if not between:
            break
        links = small_star(large[:, 0], large[:, 1])
    stars_found = {tuple(link) for link in large.tolist()}
    assert stars_found == {(node, least) for node, least in least_of_component(pairs).items() if node != least}


def test_a_long_path_takes_few_rounds_and_too_few_are_an_error(tmp_path):
    order = np.random.default_rng(0).permutation(1000).tolist()
    path = set(pairwise(order))
    assert set(to_stars(folder_for_links(tmp_path), path, most=12).values()) == {0}
    with pytest.raises(DataError, match=r"not found in 2 rounds.*higher config\.dedup\.threshold"):
        to_stars(tmp_path, path, digest="again", most=2)
