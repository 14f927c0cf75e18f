"""Connected components of links by alternating large and small stars, each a round of exchanges.

Kiveris et al. 2014 (see links.py). A round reads and writes the links twice; no process sees all of them.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from data_pipeline import engine, exchange
from data_pipeline.config import DataConfig
from data_pipeline.dedup import buckets, origins
from data_pipeline.dedup.links import both_ways, contract, large_star, small_star
from data_pipeline.dedup.origins import Origins
from data_pipeline.engine import Scattered
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path

COMPONENTS = "corpus/dedup/components"  # rows of ordinal, component (its least ordinal); sent to the ordinal's origin
ROUNDS = "corpus/dedup/rounds"
_MAX_ROUNDS = 40  # a path of n documents takes about log2 n
_VERSION = 2
_LINK_BYTES = 64  # a round's work beside that of the texts


def stage_digest(config: DataConfig, dataset: PathLike, found: Origins) -> str:
    """What components depend on: the links."""
    return engine.digest("components", [_VERSION, buckets.stage_digest(config, dataset, found)])


def run(config: DataConfig, dataset: PathLike, found: Origins) -> None:
    """Writes DATASET/corpus/dedup/components for all documents that share a bucket with another.

    Raises:
      DataError: the components are not found within the rounds allowed.
    """
    dataset = as_path(dataset)
    digest, size_bytes = stage_digest(config, dataset, found), found.size_bytes // _LINK_BYTES
    if not engine.is_complete(dataset / COMPONENTS, digest):
        buckets.run(config, dataset, found)
        sources = [dataset / name for name in buckets.LINKS]
        links = to_stars(sources, dataset / ROUNDS, found.parts, digest, config.runner, size_bytes)
        stage = engine.Stage("components", (dataset / COMPONENTS,), digest, config.runner)
        work = partial(_label, links, len(found))
        engine.make_partitions(stage, work, found.part_jobs(), size_bytes)
    for name in (ROUNDS, buckets.BUCKETS, *buckets.LINKS):
        if (dataset / name).exists():
            (dataset / name).rmtree()


def to_stars(
    sources: Sequence[PathLike],
    rounds: PathLike,
    parts: int,
    digest: str,
    runner: str = "native",
    size_bytes: int = 0,
    most: int = _MAX_ROUNDS,
) -> str:
    """Turns links into stars, one about the least node of each component.

    Args:
      sources: folders of links, both ways, exchanged by node.
      rounds: where the rounds are kept.
      parts: partitions that nodes are exchanged among.
      digest: of what the links were made from.
      most: how many rounds it may take.

    Returns:
      The folder of links (node, neighbour) from each node to its star's centre, exchanged by node.

    Raises:
      DataError: it takes more rounds.
    """
    numbers = {engine.partition_name(number): number for number in range(parts)}
    paths = [str(source) for source in sources]
    for count in range(most):
        large, left, small = (as_path(rounds) / f"{count:02d}-{name}" for name in ("large", "left", "small"))
        made = engine.digest("round", [digest, count])
        stage = engine.Stage(f"components, round {count + 1}", (large, left), made, runner)
        engine.make_partitions(stage, partial(_large_star, paths, parts), numbers, size_bytes)
        if not sum(engine.read_partition(left / name)["left"][0].as_py() for name in numbers):
            return str(large)
        stage = engine.Stage(stage.name, (small,), made, runner)
        engine.make_partitions(stage, partial(_small_star, str(large), parts), numbers, size_bytes)
        paths = [str(small)]
    raise DataError(
        f"{rounds}: the components of near-duplicates were not found in {most} rounds; buckets link documents into "
        "long chains: a higher config.dedup.threshold or config.dedup.lowest makes fewer links"
    )


def _large_star(sources: list[str], parts: int, number: int) -> tuple[Scattered, pa.Table]:
    tables = [exchange.gather(source, number) for source in sources]
    nodes, neighbours = _columns(pa.concat_tables(tables))
    if parts == 1:  # all links are here: no rounds
        links, between = contract(np.stack([nodes, neighbours], axis=1)), 0
    else:
        links, between = large_star(nodes, neighbours)
    made = pa.table({"node": links[:, 0], "neighbour": links[:, 1]})
    return exchange.scatter(made, "node", parts), pa.table({"left": [between]})


def _small_star(source: str, parts: int, number: int) -> tuple[Scattered]:
    links = small_star(*_columns(exchange.gather(source, number)))
    return (both_ways(links, parts),)


def _columns(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    return table["node"].to_numpy(), table["neighbour"].to_numpy()


def _label(source: str, num_origins: int, number: int) -> tuple[Scattered]:
    nodes, centres = _columns(exchange.gather(source, number))
    ordinals = np.concatenate([nodes, centres])
    ordinals, first = np.unique(ordinals, return_index=True)
    labels = pa.table({"ordinal": ordinals, "component": np.concatenate([centres, centres])[first]})
    return (exchange.send(labels, origins.place(ordinals)[0], num_origins),)
