"""Links between documents: pairs of ordinals, int64 [links, 2], and the two halves of a round that makes them stars.

Kiveris et al. 2014, "Connected Components in MapReduce and Beyond" (SoCC): a large star joins a node's larger
neighbours to the least of all, a small star its smaller ones and itself. Components never change, and after few rounds
each is a star about its least node.
"""

import numpy as np
import pyarrow as pa

from data_pipeline import exchange
from data_pipeline.engine import Scattered


def stars(keys: np.ndarray, ordinals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of each key's least ordinal, and links (int64 [links, 2]) that join what shares a key."""
    order = np.argsort(keys)
    keys = keys[order]
    begins = np.ones(len(keys) + 1, bool)
    begins[1:-1] = keys[1:] != keys[:-1]
    # Most keys are one document's alone: only among the others does the order of ordinals count.
    shared = np.flatnonzero(~(begins[1:] & begins[:-1]))
    order[shared] = order[shared][np.lexsort((ordinals[order[shared]], keys[shared]))]
    ordinals, begins = ordinals[order], begins[:-1]
    firsts = ordinals[begins][np.cumsum(begins) - 1] if len(keys) else ordinals
    return order[begins], contract(np.stack([ordinals[~begins], firsts[~begins]], axis=1))


def contract(links: np.ndarray) -> np.ndarray:
    """Links that connect the same nodes: each of a component but its least, with that one."""
    while True:
        larger, between = large_star(links.ravel(), links[:, ::-1].ravel())
        if not between:
            return larger
        links = small_star(larger[:, 0], larger[:, 1])


def large_star(nodes: np.ndarray, neighbours: np.ndarray) -> tuple[np.ndarray, int]:
    """The links (larger, smaller) of a round's first half, from all neighbours of these nodes.

    Also the number of nodes that stand between others: none is left when every component is a star about its least.
    """
    nodes, neighbours = _sorted_pairs(nodes, neighbours)
    begins, group = _groups(nodes)
    least = neighbours[begins]
    between = int(((least < nodes[begins]) & (np.diff(begins, append=len(nodes)) > 1)).sum())
    centre = np.minimum(least, nodes[begins])[group]
    larger = neighbours > nodes
    return np.stack([neighbours[larger], centre[larger]], axis=1), between


def small_star(nodes: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """The links (larger, smaller) of a round's second half, from all smaller neighbours of these nodes."""
    nodes, neighbours = _sorted_pairs(nodes, neighbours)
    begins, group = _groups(nodes)
    least = neighbours[begins]
    moved = np.stack([neighbours, least[group]], axis=1)
    return np.concatenate([np.stack([nodes[begins], least], axis=1), moved[moved[:, 0] != moved[:, 1]]])


def _sorted_pairs(nodes: np.ndarray, neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs in order, each once."""
    order = np.lexsort((neighbours, nodes))
    nodes, neighbours = nodes[order], neighbours[order]
    new = np.ones(len(nodes), bool)
    new[1:] = (nodes[1:] != nodes[:-1]) | (neighbours[1:] != neighbours[:-1])
    return nodes[new], neighbours[new]


def _groups(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each node's pairs begin, and the number of its group for each pair."""
    new = np.ones(len(nodes), bool)
    new[1:] = nodes[1:] != nodes[:-1]
    return np.flatnonzero(new), np.cumsum(new) - 1


def both_ways(links: np.ndarray, parts: int) -> Scattered:
    """Links as rows of node and neighbour, one from each end, for the partition of the node."""
    rows = pa.table({"node": links.ravel(), "neighbour": links[:, ::-1].ravel()})
    return exchange.scatter(rows, "node", parts)
