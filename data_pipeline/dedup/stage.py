"""Deduplication from signatures to the decision what to drop, in stages over exchanges.

1. signatures   origin by origin: a digest and a MinHash signature of each document
2. buckets      bands of signatures, exchanged: documents that share one are linked
3. components   rounds of exchanges, until each document knows its component
4. members      signatures and ranks, exchanged by component
5. shingles     of pairs whose similarity is in doubt, fetched from the origins
6. verdicts     the best stay; what goes has evidence; sent back to the origins

Each stage goes on where it was killed. A new threshold starts at 5, or at 2 where it needs other bands.
"""

from contextlib import AbstractContextManager
from dataclasses import replace

from data_pipeline import decide, engine, score
from data_pipeline.config import DataConfig
from data_pipeline.dedup import components, exact, members, origins, signatures, verdicts
from data_pipeline.dedup.origins import Origins
from data_pipeline.dedup.target import Kept, serving, table
from data_pipeline.segments import stage as segments
from maxlm.paths import PathLike, as_path, exclusive

LOCK = "corpus/dedup/lock"  # held while stages are made


def run(config: DataConfig, dataset: PathLike) -> None:
    """Finds exact and near-duplicates, then writes what stays to DATASET/documents and what goes to DATASET/removed.

    Raises:
      UserError: another process is at it, or a producer reads the documents that stand.
      DataError: a stage before hasn't been run with this config, or nothing is left.
    """
    with _alone(dataset):
        found = prepare(config, dataset)
        exact.run(config, dataset, found)
        verdicts.run(config, dataset, found)
    decide.run(config, dataset)


def _alone(dataset: PathLike) -> AbstractContextManager[None]:
    return exclusive(as_path(dataset) / LOCK, f"{dataset}: another process is deduplicating there; wait for it")


def prepare(config: DataConfig, dataset: PathLike) -> Origins:
    """All that no threshold changes: the members of each component, ranked.

    Raises:
      DataError: a stage before hasn't been run with this config.
    """
    segments.run(config, dataset)  # each where the config asks for it
    if config.decontaminate.benchmarks:
        from data_pipeline.decontamination import stage as decontaminate  # with all that shows hits to people

        decontaminate.run(config, dataset)
    score.run(config, dataset)
    found = origins.find(config, dataset)
    signatures.run(config, dataset, found)
    components.run(config, dataset, found)
    members.run(config, dataset, found)
    return found


def try_thresholds(config: DataConfig, dataset: PathLike) -> tuple[DataConfig, list[Kept]]:
    """What each of a grid of thresholds would leave, and the config whose bands serve all of them.

    Raises:
      DataError: a stage before hasn't been run with this config.
    """
    config = replace(config, dedup=serving(config.dedup))
    with _alone(dataset):
        return config, table(config, dataset, prepare(config, dataset))


def require_current(config: DataConfig, dataset: PathLike) -> None:
    """Makes sure that what is said of duplicates is said of these documents, with this config.

    Raises:
      DataError: it isn't, or not yet; names the command to run.
    """
    dataset, found = as_path(dataset), origins.find(config, dataset)
    for folder, digest in (
        (signatures.SIGNATURES, signatures.stage_digest(config, found)),
        (components.COMPONENTS, components.stage_digest(config, dataset, found)),
        (members.MEMBERS, members.stage_digest(config, dataset)),
        (exact.REQUESTS, exact.request_digest(config, dataset)),
        (exact.SHINGLES, exact.stage_digest(config, dataset)),
        (verdicts.VERDICTS, verdicts.verdict_digest(dataset)),
        (verdicts.DEDUPED, verdicts.stage_digest(dataset)),
    ):
        engine.require(dataset / folder, "dedup", digest)
