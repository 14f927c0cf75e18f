"""Other people's MinHash deduplication, one per call, in an interpreter that has them: see bench_dedup.py.

    python tools/bench_dedup_peers.py TOOL CORPUS.jsonl REMOVED.json WORKDIR SEGMENT

TOOL: datatrove, datasketch, rensa or rensa-matrix. CORPUS: one {"text", "n"} a line. REMOVED gets the numbers of the
documents that the tool would remove. SEGMENT 1: the text is Chinese, and is handed over with spaces between characters,
as these tools split at white space. Threshold 0.7, 128 permutations, 5 words to a shingle.
"""

import json
import os
import sys
from pathlib import Path

THRESHOLD, NUM_PERM, NGRAM = 0.7, 128, 5


def read(corpus: str, segment: bool) -> list[list[str]]:
    """The words of each document, in lower case."""
    with open(corpus, encoding="utf-8") as file:
        texts = [json.loads(line)["text"].lower() for line in file]
    return [list(text) if segment else text.split() for text in texts]


def shingles(words: list[str]) -> list[str]:
    return [" ".join(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)]


def datasketch(corpus: str, workdir: str, segment: bool) -> list[int]:
    """Signatures in bulk with xxhash, candidates from MinHashLSH; keeps the first of each pair."""
    import xxhash
    from datasketch import MinHash, MinHashLSH

    documents = [[shingle.encode() for shingle in shingles(words)] for words in read(corpus, segment)]
    signatures = MinHash.bulk(documents, num_perm=NUM_PERM, hashfunc=xxhash.xxh32_intdigest)
    lsh = MinHashLSH(threshold=THRESHOLD, num_perm=NUM_PERM)
    removed = []
    for number, signature in enumerate(signatures):
        if lsh.query(signature):
            removed.append(number)
        else:
            lsh.insert(number, signature, check_duplication=False)
    return removed


def rensa(corpus: str, workdir: str, segment: bool) -> list[int]:
    """Its deduplicator, which verifies candidates by their signatures and keeps the first."""
    from rensa import RMinHashDeduplicator

    deduplicator = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=NUM_PERM, use_lsh=True)
    documents = ((str(i), shingles(words)) for i, words in enumerate(read(corpus, segment)))
    kept = deduplicator.add_pairs(documents)
    return [i for i, keep in enumerate(kept) if not keep]


def rensa_matrix(corpus: str, workdir: str, segment: bool) -> list[int]:
    """Its bulk interface: a matrix of signatures, flags of documents that have a likely duplicate before them."""
    from rensa import RMinHash, RMinHashLSH

    matrix = RMinHash.digest_matrix_from_token_sets(
        [shingles(words) for words in read(corpus, segment)], num_perm=NUM_PERM, seed=1
    )
    index = RMinHashLSH(threshold=THRESHOLD, num_perm=NUM_PERM, num_bands=16)
    flags = index.query_duplicate_flags_matrix_one_shot(matrix)
    return [i for i, flag in enumerate(flags) if flag]


def datatrove(corpus: str, workdir: str, segment: bool) -> list[int]:
    """Its four steps on two workers, with words that white space separates."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )  # fmt: skip
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    folder = _split(corpus, Path(workdir) / "input", 2, segment)
    buckets, tasks = 16, 2
    config = MinhashConfig(n_grams=NGRAM, num_buckets=buckets, hashes_per_bucket=NUM_PERM // buckets)
    reader = JsonlReader(str(folder))
    removed = str(Path(workdir) / "removed")
    signature = MinhashDedupSignature(f"{workdir}/signatures", config)
    signature.word_tokenizer = Spaces()
    steps = [
        ([reader, signature], tasks),
        ([MinhashDedupBuckets(f"{workdir}/signatures", f"{workdir}/buckets", config=config)], buckets),
        ([MinhashDedupCluster(f"{workdir}/buckets", f"{workdir}/remove", config=config)], 1),
        (
            [
                reader,
                MinhashDedupFilter(f"{workdir}/remove", exclusion_writer=JsonlWriter(removed, compression=None)),
                JsonlWriter(f"{workdir}/kept", compression=None),
            ],
            tasks,
        ),
    ]
    for number, (pipeline, count) in enumerate(steps):
        LocalPipelineExecutor(
            pipeline,
            tasks=count,
            workers=min(count, os.cpu_count() or 1),
            logging_dir=f"{workdir}/logs/{number}",
            start_method="fork",  # forked workers count as children
        ).run()
    files = sorted(Path(removed).glob("*.jsonl"))
    return sorted(json.loads(line)["metadata"]["n"] for file in files for line in file.read_text().splitlines())


class Spaces:
    """A word splitter for datatrove: its own for English is many times slower."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


def _split(corpus: str, folder: Path, parts: int, segment: bool) -> Path:
    folder.mkdir(parents=True)
    lines = Path(corpus).read_text(encoding="utf-8").splitlines()
    for part in range(parts):
        rows = [json.loads(line) for line in lines[part::parts]]
        for row in rows:
            row["text"] = " ".join(row["text"]) if segment else row["text"]
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


TOOLS = {"datatrove": datatrove, "datasketch": datasketch, "rensa": rensa, "rensa-matrix": rensa_matrix}

if __name__ == "__main__":
    tool, corpus, out, workdir, segment = sys.argv[1:]
    Path(out).write_text(json.dumps(TOOLS[tool](corpus, workdir, segment == "1")))
