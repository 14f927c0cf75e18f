"""Learning from texts as they should be and a heap of unsorted ones, as the quality classifiers of GPT-3 and DCLM do.

To tell wanted texts from the heap is not yet to tell good from bad: the heap holds good ones too. Elkan and Noto (2008)
show the way from one to the other.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from data_pipeline.score import labelled, linear, measures
from data_pipeline.score.linear import NEGATIVE, POSITIVE, LinearScorer, LinearSettings
from maxlm.errors import DataError
from maxlm.paths import PathLike

_LABELS = (NEGATIVE, POSITIVE)  # sorted


def train(
    positive: Sequence[PathLike],
    negative: Sequence[PathLike],
    unlabelled: Sequence[PathLike],
    out: PathLike,
    settings: LinearSettings,
) -> dict[str, Any]:
    """Trains on files of wanted texts and of unwanted or unsorted ones, writes the model to `out`, returns its report.

    The score is the probability that a text is wanted. `held_out` of the report counts unlabelled texts as unwanted, so
    that its accuracy and calibration are bounds only, where there are any; its AUC orders models all the same.

    Raises:
      DataError: files that can't be used, or too few texts.
    """
    kinds = [labelled.read_texts(files, settings.text_key) for files in (positive, negative, unlabelled)]
    rng = np.random.default_rng(settings.seed)
    if (total := sum(map(len, kinds))) > settings.max_texts:
        kinds = [_draw(texts, int(len(texts) * settings.max_texts / total), rng) for texts in kinds]
    settings = replace(settings, positive=POSITIVE)
    start = time.monotonic()
    split = [_split(texts, settings.holdout, rng) for texts in kinds]
    if min(len(split[0][0]), len(split[1][0]) + len(split[2][0])) < 2:
        raise DataError(f"{positive[0]}: {len(kinds[0])} positive and {total - len(kinds[0])} other texts are too few")
    (wanted, held_wanted), (unwanted, held_unwanted), (heap, held_heap) = split
    scorer, facts = fit(wanted, unwanted, heap, settings)
    held = held_wanted + held_unwanted + held_heap
    judged = labelled.Labelled(held, _LABELS, np.arange(len(held)) < len(held_wanted))
    report = {"texts": len(wanted) + len(unwanted) + len(heap), **facts, "seconds": round(time.monotonic() - start, 2)}
    judged = judged._replace(targets=judged.targets.astype(np.int64))
    return linear.save(scorer, {**report, **linear.judge(scorer, judged)}, out)


def fit(
    wanted: Sequence[str], unwanted: Sequence[str], heap: Sequence[str], settings: LinearSettings
) -> tuple[LinearScorer, dict[str, Any]]:
    """A model of the probability that a text is wanted, and facts about its fit.

    A first model g tells wanted texts from the heap. With c its mean answer to wanted texts that it never saw, a text x
    of the heap is wanted with probability (1 - c) / c * g(x) / (1 - g(x)) (Elkan and Noto 2008, section 2, equation 3);
    the second model learns each text of the heap as that much wanted. Where wanted texts can't be told apart from
    others by their n-grams, c is too low and that share too high.
    """
    texts = [*wanted, *unwanted, *heap]
    targets = np.zeros((len(texts), 2))
    targets[: len(wanted), 1] = 1
    targets[:, 0] = 1 - targets[:, 1]
    if not heap:
        return linear.fit(texts, targets, _LABELS, settings)
    asked = [*range(len(wanted)), *range(len(wanted) + len(unwanted), len(texts))]
    own = np.flatnonzero(targets[asked, 1])
    answers = measures.softmax(linear.held_out_logits([texts[i] for i in asked], targets[asked], settings))[:, 1]
    share = float(answers[own].mean())
    found = np.clip(answers[len(own) :], 1e-6, 1 - 1e-6)
    amounts = np.minimum((1 - share) / share * found / (1 - found), 1.0)
    targets[len(wanted) + len(unwanted) :] = np.stack([1 - amounts, amounts], axis=1)
    scorer, facts = linear.fit(texts, targets, _LABELS, settings)
    return scorer, {**facts, "unlabelled": len(heap), "share_wanted_of_unlabelled": round(float(amounts.mean()), 4)}


def _draw(texts: list[str], count: int, rng: np.random.Generator) -> list[str]:
    return [texts[i] for i in np.sort(rng.choice(len(texts), count, replace=False))]


def _split(texts: list[str], share: float, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """What is learnt from, and a share that is held out."""
    order = rng.permutation(len(texts))
    count = round(share * len(texts))
    return [texts[i] for i in order[count:]], [texts[i] for i in order[:count]]
