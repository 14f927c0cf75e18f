"""Links between documents: pairs of ordinals, int64 [links, 2]."""

import numpy as np
import pyarrow as pa

from data_pipeline import exchange
from data_pipeline.engine import Scattered


def stars(keys: np.ndarray, ordinals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of each key's least ordinal, and links (int64 [links, 2]) that join what shares a key."""
    order = np.lexsort((ordinals, keys))
    keys, ordinals = keys[order], ordinals[order]
    begins = np.ones(len(keys), bool)
    begins[1:] = keys[1:] != keys[:-1]
    firsts = ordinals[begins][np.cumsum(begins) - 1] if len(keys) else ordinals
    return order[begins], contract(np.stack([ordinals[~begins], firsts[~begins]], axis=1))


def contract(links: np.ndarray) -> np.ndarray:
    """Links (int64 [links, 2]) that connect the same nodes: each of a component but its least, with that one."""
    if not len(links):
        return np.empty((0, 2), np.int64)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes, ends = np.unique(links, return_inverse=True)
    ends = ends.reshape(links.shape)
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(len(nodes), len(nodes)))
    labels = connected_components(graph, directed=False)[1]
    least = nodes[np.unique(labels, return_index=True)[1]][labels]  # nodes ascend: the first of a label is its least
    return np.stack([nodes, least], axis=1)[nodes != least]


def both_ways(links: np.ndarray, parts: int) -> Scattered:
    """Links as rows of node and neighbour, one from each end, for the partition of the node."""
    rows = pa.table({"node": links.ravel(), "neighbour": links[:, ::-1].ravel()})
    return exchange.scatter(rows, "node", parts)
