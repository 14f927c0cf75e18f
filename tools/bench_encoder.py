"""An encoder on the news titles of TNEWS: from scratch, and from a checkpoint trained on titles with other labels.

    python tools/bench_encoder.py CORPORA [--out=DIR] [--only=scratch|checkpoint|tuned|speed ...]

CORPORA/train/zh/fewclue/tnews holds FewCLUE's files (Xu et al., 2021, arXiv 2107.07498). The checkpoint learns the
commonest keyword of each unlabelled title, one of those that stand at ten titles or more; no public checkpoint is
needed. Every part prints a line as it ends; parts that an earlier call left in DIR are used as they are.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_pipeline.score.encoder import EncoderScorer, train
from data_pipeline.score.encoder_settings import EncoderSettings

_RARE = 10  # titles that a keyword needs
_SETTINGS = EncoderSettings(
    text_key="sentence", label_key="label_desc", max_tokens=64, epochs=12, patience=4, learning_rate=1e-3
)


def keyword_titles(tnews: Path, out: Path) -> Path:
    """The unlabelled titles with their commonest keyword as label; none that the test set has."""
    test = {row["sentence"] for row in _rows(tnews / "test_public.json")}
    rows = [row for row in _rows(tnews / "unlabeled.json") if row["sentence"] not in test]
    counts = Counter(word for row in rows for word in set(_keywords(row)))
    with (out / "keywords.jsonl").open("w") as file:
        for row in rows:
            known = [word for word in _keywords(row) if counts[word] >= _RARE]
            if known:
                label = max(known, key=lambda word: (counts[word], word))
                file.write(json.dumps({"text": row["sentence"], "label": label}, ensure_ascii=False) + "\n")
    return out / "keywords.jsonl"


def _rows(file: Path) -> Iterator[dict]:
    return (json.loads(line) for line in file.read_text().splitlines())


def _keywords(row: dict) -> list[str]:
    return [word for word in row["keywords"].split(",") if word]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--out", type=Path, default=Path("bench_encoder"))
    parts = ("scratch", "checkpoint", "tuned", "speed")
    parser.add_argument("--only", choices=parts, nargs="+", default=parts)
    options = parser.parse_args()
    tnews, out = options.corpora / "train/zh/fewclue/tnews", options.out
    out.mkdir(parents=True, exist_ok=True)
    files, test = [tnews / "train_few_all.json", tnews / "dev_few_all.json"], [tnews / "test_public.json"]
    if "scratch" in options.only:
        fit("scratch", files, out, _SETTINGS, test)
    if "checkpoint" in options.only:
        keywords = replace(_SETTINGS, text_key="text", label_key="label", epochs=6, learning_rate=7e-4)
        fit("checkpoint", [keyword_titles(tnews, out)], out, keywords, [])
    if "tuned" in options.only:
        start = replace(_SETTINGS, start=str(out / "checkpoint"), learning_rate=5e-4)
        fit("tuned", files, out, start, test)
    if "speed" in options.only:
        speed(out / "scratch", tnews)


if __name__ == "__main__":
    main()
