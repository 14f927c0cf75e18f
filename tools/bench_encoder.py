"""An encoder fine-tuned from a public checkpoint beside linear classifiers; and, without one, on the titles of TNEWS.

    python tools/bench_encoder.py CORPORA --start=CHECKPOINT [--peer=PYTHON] [--sets mmlu prose-few harmless]
    python tools/bench_encoder.py CORPORA [--out=DIR] [--only PART ...]

CHECKPOINT is a folder with an English encoder of the BERT family. Each of the sets (bench_score_sets.py) is learnt from
and tested on the same texts by our linear classifier, scikit-learn's (PYTHON has it) and the encoder with the settings
that it has by default, but for the length of its windows.

Without CHECKPOINT: CORPORA/train/zh/fewclue/tnews holds FewCLUE's files (Xu et al., 2021, arXiv 2107.07498). From
scratch, and from a checkpoint that learns what the linear model, taught by the same labelled titles, says of 20,000
unlabelled ones (self-training; the test set is never seen). Every part prints a line as it ends, and leaves what it
made in DIR.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_score import ours, theirs
from bench_score_sets import SETS, Rows

from data_pipeline.score import labelled, linear, measures
from data_pipeline.score.encoder import EncoderScorer, train
from data_pipeline.score.encoder_settings import EncoderSettings
from data_pipeline.score.linear import LinearScorer, LinearSettings

_WINDOW = 128  # tokens: few texts of the sets are longer
_SETTINGS = EncoderSettings(
    text_key="sentence", label_key="label_desc", max_tokens=64, epochs=12, patience=4, learning_rate=1e-3
)


def taught_titles(files: list[Path], tnews: Path, out: Path) -> Path:
    """The unlabelled titles with the label that the linear model gives them; none that the test set has."""
    linear.train(files, out / "linear", LinearSettings(text_key="sentence", label_key="label_desc"))
    test = {row["sentence"] for row in _rows(tnews / "test_public.json")}
    titles = [row["sentence"] for row in _rows(tnews / "unlabeled.json") if row["sentence"] not in test]
    _, labels = LinearScorer.load(out / "linear").score(titles)
    rows = [{"text": title, "label": label} for title, label in zip(titles, labels, strict=True)]
    (out / "taught.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return out / "taught.jsonl"


def _rows(file: Path) -> Iterator[dict]:
    return (json.loads(line) for line in file.read_text().splitlines())


def of_linear(model: Path, test: Path) -> None:
    """What the linear model itself comes to."""
    rows = labelled.read([test], "sentence", "label_desc")
    scorer = LinearScorer.load(model)
    assert scorer.labels == rows.labels
    found = measures.of_classes(scorer.outputs(rows.texts), rows.targets)
    print("linear: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()), flush=True)


def fit(name: str, files: list[Path], out: Path, settings: EncoderSettings, held_out: list[Path]) -> None:
    """Trains one encoder and prints what it came to."""
    start = time.monotonic()
    report = train(files, out / name, settings, held_out, lambda line: print(f"  {line}", file=sys.stderr, flush=True))
    found, raw = report["held_out"], report["uncalibrated"]
    print(
        f"{name}: {report['texts']} texts, {len(report['labels'])} labels, {len(report['epochs'])} epochs, "
        f"{time.monotonic() - start:.0f} s; on {found['texts']} held-out texts: accuracy {found['accuracy']:.3f}, "
        f"macro F1 {found['macro_f1']:.3f}, calibration error {raw['calibration_error']:.3f} → "
        f"{found['calibration_error']:.3f} at temperature {report['temperature']:.2f}",
        flush=True,
    )


def speed(model: Path, tnews: Path) -> None:
    """Documents a second: titles as they are, and texts of 4 to 480 characters glued from them; compiled before."""
    titles = [row["sentence"] for row in _rows(tnews / "unlabeled.json")][:4000]
    rng = np.random.default_rng(0)
    mixed = ["".join(titles[i : i + 20])[: rng.integers(4, 480)] for i in range(0, 2000, 4)]
    for name, texts in (("titles", titles), ("4 to 480 characters", mixed)):
        scorer = EncoderScorer.load(model)
        scorer.score(texts)
        start = time.monotonic()
        scorer.score(texts)
        seconds = time.monotonic() - start
        size = sum(len(text.encode()) for text in texts) / 1e6
        print(f"speed, {name}: {len(texts) / seconds:.0f} documents/s, {size / seconds:.2f} MB/s", flush=True)


def from_checkpoint(corpora: Path, name: str, start: str, peer: str, out: Path, settings: EncoderSettings) -> None:
    """Prints what each classifier comes to on one set of labelled texts."""
    train_rows, test_rows = SETS[name](corpora)
    print(f"{name}: {len(train_rows)} texts, {len({label for _, label in train_rows})} labels", flush=True)
    _told("linear", ours(train_rows, test_rows, settings.seed), len(test_rows))
    if peer:
        _told("scikit-learn", theirs(name, train_rows, test_rows, peer), len(test_rows))
    files = [
        _written(rows, out / f"{name}-{part}.jsonl") for part, rows in (("train", train_rows), ("test", test_rows))
    ]
    begun = time.monotonic()
    report = train(
        files[:1], out / name, replace(settings, start=start), files[1:],
        lambda line: print(f"  {line}", file=sys.stderr, flush=True),
    )  # fmt: skip
    found = {**report["held_out"], "train_s": time.monotonic() - begun}
    scorer, texts = EncoderScorer.load(out / name), [text for text, _ in test_rows]
    scorer.score(texts)  # compiles
    begun = time.monotonic()
    scorer.score(texts)
    seconds = time.monotonic() - begun
    found["mb_per_s"] = sum(len(text.encode()) for text in texts) / 1e6 / seconds
    _told(f"encoder, {len(report['epochs'])} epochs", found, len(test_rows))
    raw = report["uncalibrated"]["calibration_error"]
    print(
        f"    temperature {report['temperature']:.2f}, before it {raw:.3f}; {len(texts) / seconds:.0f} texts/s",
        flush=True,
    )


def _told(who: str, found: dict[str, float], count: int) -> None:
    error = (found["accuracy"] * (1 - found["accuracy"]) / count) ** 0.5
    print(
        f"  {who}: accuracy {found['accuracy']:.3f} ± {error:.3f}, macro F1 {found['macro_f1']:.3f}, calibration error "
        f"{found['calibration_error']:.3f}; {found['train_s']:.0f} s of training, {found['mb_per_s']:.2f} MB/s",
        flush=True,
    )


def _written(rows: Rows, file: Path) -> Path:
    """A jsonl file of labelled texts."""
    lines = (json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in rows)
    file.write_text("".join(lines), encoding="utf-8")
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--out", type=Path, default=Path("bench_encoder"))
    parts = ("scratch", "checkpoint", "tuned", "speed")
    parser.add_argument("--only", choices=parts, nargs="+", default=parts)
    parser.add_argument("--start", default="", help="a folder with a checkpoint: fine-tune it on the sets")
    parser.add_argument("--peer", default="", help="a Python with scikit-learn")
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=("mmlu", "prose-few", "harmless"))
    parser.add_argument("--epochs", type=int, default=6, help="of the checkpoint; called again, it goes on from there")
    options = parser.parse_args()
    tnews, out = options.corpora / "train/zh/fewclue/tnews", options.out
    out.mkdir(parents=True, exist_ok=True)
    if options.start:
        for name in options.sets:
            settings = EncoderSettings(max_tokens=_WINDOW)
            from_checkpoint(options.corpora, name, options.start, options.peer, out, settings)
        return
    files, test = [tnews / "train_few_all.json", tnews / "dev_few_all.json"], [tnews / "test_public.json"]
    if "scratch" in options.only:
        fit("scratch", files, out, _SETTINGS, test)
    if "checkpoint" in options.only:
        begun = (out / "checkpoint" / "config.json").exists()
        titles = replace(
            _SETTINGS, text_key="text", label_key="label", epochs=options.epochs, holdout=0.1,
            start=str(out / "checkpoint") if begun else "",
        )  # fmt: skip
        taught = out / "taught.jsonl"
        fit("checkpoint", [taught if begun else taught_titles(files, tnews, out)], out, titles, [])
        of_linear(out / "linear", test[0])
    if "tuned" in options.only:
        start = replace(_SETTINGS, start=str(out / "checkpoint"), learning_rate=2e-4, epochs=6)
        fit("tuned", files, out, start, test)
    if "speed" in options.only:
        speed(out / "scratch", tnews)


if __name__ == "__main__":
    main()
