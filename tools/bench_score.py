"""The linear classifier against scikit-learn's hashed logistic regression, in one run, on sets of labelled texts.

    python tools/bench_score.py CORPORA --peer=VENV/bin/python [--sets=tnews,prose] [--seed=0]

CORPORA is the folder with train/ and tune/; VENV has scikit-learn. Each set is learnt from and tested on the same
texts by both. The peer is HashingVectorizer (2**20 buckets; n-grams of 1-2 words, of 1-3 characters for Chinese;
without signs) and LogisticRegression, its C chosen from 1, 10 and 100 by 3 folds. Buckets that no training text has are
cut away for it, which changes nothing but its time. Both may use all cores.
Applying is measured on the test texts, repeated to 8 MB, in one process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_score_sets import SETS, Rows

CHINESE = {"tnews", "iflytek", "reviews"}
APPLY_BYTES = 8_000_000
FOLDS, STRENGTHS = 3, (1, 10, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--peer", required=True, help="a Python with scikit-learn")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--as-peer", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.as_peer:
        _peer(Path(args.as_peer))
        return
    print(f"{'set':<12} {'train':>6} {'test':>6} {'classes':>7}  {'':7} {'accuracy':>8} {'macro F1':>8} {'ECE':>6} "
          f"{'AUC':>6} {'train s':>7} {'MB/s':>6}")  # fmt: skip
    for name in args.sets.split(","):
        train, test = SETS[name](args.corpora)
        for who, found in (
            ("maxlm", ours(train, test, args.seed)),
            ("sklearn", theirs(name, train, test, args.peer)),
        ):
            sizes = f"{name:<12} {len(train):>6} {len(test):>6} {len({label for _, label in train}):>7}"
            print(f"{sizes}  {who:7} {found['accuracy']:>8.4f} {found['macro_f1']:>8.4f} "
                  f"{found['calibration_error']:>6.3f} {found['auc']:>6.4f} {found['train_s']:>7.1f} "
                  f"{found['mb_per_s']:>6.1f}", flush=True)  # fmt: skip


def _judged(outputs, names: list[str], test: Rows) -> dict[str, float]:
    import numpy as np

    from data_pipeline.score import measures

    wanted = np.array([names.index(label) for _, label in test])
    found = measures.of_classes(outputs, wanted)
    found["auc"] = measures.auc(outputs[:, 1] - outputs[:, 0], wanted == 1) if len(names) == 2 else float("nan")
    return found


def _enough(texts: list[str]) -> list[str]:
    size = sum(len(text.encode()) for text in texts)
    return texts * max(1, round(APPLY_BYTES / size))


def _rate(function, texts: list[str]) -> float:
    start = time.perf_counter()
    function(texts)
    return sum(len(text.encode()) for text in texts) / 1e6 / (time.perf_counter() - start)


def ours(train: Rows, test: Rows, seed: int) -> dict[str, float]:
    import numpy as np

    from data_pipeline.score import linear

    texts, labels = zip(*train, strict=True)
    names = sorted(set(labels))
    start = time.perf_counter()
    targets = np.eye(len(names))[[names.index(label) for label in labels]]
    scorer, facts = linear.fit(texts, targets, tuple(names), linear.LinearSettings(seed=seed))
    seconds = time.perf_counter() - start
    print("   ", facts, file=sys.stderr)
    found = _judged(scorer.outputs([text for text, _ in test]), names, test)
    return {**found, "train_s": seconds, "mb_per_s": _rate(scorer.score, _enough([text for text, _ in test]))}


def theirs(name: str, train: Rows, test: Rows, peer: str) -> dict[str, float]:
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder, "job.json")
        job.write_text(json.dumps({"train": train, "test": test, "chinese": name in CHINESE}), encoding="utf-8")
        subprocess.run([peer, __file__, ".", "--peer=", f"--as-peer={job}"], check=True)
        answer = json.loads(job.read_text(encoding="utf-8"))
    logits = np.log(np.maximum(np.array(answer["probabilities"]), 1e-300))
    return {**answer, **_judged(logits, answer["names"], test)}


def _peer(path: Path) -> None:
    """Runs under the other Python: reads the texts from `path` and writes what scikit-learn says in their place."""
    import warnings

    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    warnings.simplefilter("ignore", ConvergenceWarning)
    job = json.loads(path.read_text(encoding="utf-8"))
    shape = {"analyzer": "char", "ngram_range": (1, 3)} if job["chinese"] else {"ngram_range": (1, 2)}
    hashing = HashingVectorizer(alternate_sign=False, **shape)
    texts, labels = zip(*job["train"], strict=True)
    start = time.perf_counter()
    rows = hashing.transform(texts)
    kept = np.flatnonzero(np.bincount(rows.indices, minlength=rows.shape[1]))
    rows = rows.tocsc()[:, kept].tocsr()
    search = GridSearchCV(LogisticRegression(max_iter=300), {"C": list(STRENGTHS)}, cv=FOLDS, n_jobs=2)
    search.fit(rows, labels)
    seconds = time.perf_counter() - start
    model = search.best_estimator_
    # To apply it as people do: on rows of all buckets.
    full = LogisticRegression()
    full.classes_, full.intercept_ = model.classes_, model.intercept_
    full.coef_ = np.zeros((len(model.coef_), 2**20))
    full.coef_[:, kept] = model.coef_
    test = [text for text, _ in job["test"]]
    answer = {
        "names": list(model.classes_),
        "probabilities": full.predict_proba(hashing.transform(test)).tolist(),
        "train_s": seconds,
        "mb_per_s": _rate(lambda texts: full.predict_proba(hashing.transform(texts)), _enough(test)),
    }
    path.write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
