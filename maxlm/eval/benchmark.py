"""Benchmarks on a model: choosing by likelihood, or writing an answer; counted as lm-evaluation-harness does it."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maxlm.eval.formats import Benchmark, Item
from maxlm.eval.likelihood import Scorer, encode_pair
from maxlm.generate.engine import Engine
from maxlm.generate.load import TrainedModel
from maxlm.generate.sampling import Sampling
from maxlm.tokenizer.base import Tokenizer

Progress = Callable[[int], object]
GREEDY = Sampling(temperature=0.0)
WRITTEN_TOKENS = 256  # an answer takes at the most
_STOP = ("Question:", "</s>", "<|im_end|>")
_FINAL = re.compile(r"#### (\-?[0-9\.\,]+)")
_NUMBER = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")


@dataclass(frozen=True)
class Result:
    """What came of a benchmark."""

    metrics: dict[str, float]  # accuracies in [0, 1], and what else the benchmark knows
    stderr: dict[str, float]  # of the accuracies, over the items
    samples: list[dict[str, Any]]  # one for each item: what was said, and whether it counts


def evaluate(
    trained: TrainedModel,
    benchmark: Benchmark,
    max_length: int,
    *,
    shots: int = 0,
    batch: int = 8,
    progress: Progress = lambda done: None,
    scorer: Scorer | None = None,
    engine: Engine | None = None,
) -> Result:
    """Puts every question to the model.

    Args:
      max_length: tokens that the model reads and writes at the most.
      shots: solved questions that stand before each.
      batch: rows at a time.
      progress: is told of choices weighed, or answers written, since it was told last.
      scorer, engine: ones that are compiled already, of this model and length; the engine greedy.

    Raises:
      ConfigError: the mesh splits layers or sequences.
      DataError: there are fewer questions to show.
    """
    items = benchmark.items
    prompts = [benchmark.prompt(item, shots) for item in items]
    if items[0].choices:
        return _by_likelihood(trained, items, prompts, scorer or Scorer(trained, max_length, batch, progress))
    return _by_writing(trained, engine or Engine(trained, GREEDY), items, prompts, max_length, batch, progress)


def _by_likelihood(trained: TrainedModel, items: Sequence[Item], prompts: list[str], scorer: Scorer) -> Result:
    pairs = [
        encode_pair(trained.tokenizer, prompt, choice)
        for item, prompt in zip(items, prompts, strict=True)
        for choice in item.choices
    ]
    found = iter(scorer(pairs))
    samples = []
    for item in items:
        likelihoods = [next(found) for _ in item.choices]
        nats = np.array([likelihood.nats for likelihood in likelihoods])
        sample: dict[str, Any] = {"answer": item.answer, "nats": nats.tolist(), "group": item.group}
        if len(item.choices) == 1:  # a word to be said
            sample |= {"acc": likelihoods[0].greedy, "perplexity": -nats[0]}
        else:
            characters = np.array([len(choice) - 1 for choice in item.choices])  # but for the blank before it
            chosen, chosen_norm = int(nats.argmax()), int((nats / np.maximum(characters, 1)).argmax())
            sample |= {"chosen": chosen, "acc": chosen == item.answer, "acc_norm": chosen_norm == item.answer}
        samples.append(sample)
    return _result(samples)


def _by_writing(
    trained: TrainedModel,
    engine: Engine,
    items: Sequence[Item],
    prompts: list[str],
    max_length: int,
    batch: int,
    progress: Progress,
) -> Result:
    tokens = min(WRITTEN_TOKENS, max_length // 2)
    texts = write(engine, trained.tokenizer, prompts, max_length, batch, tokens, _STOP, progress)
    samples = []
    for item, text in zip(items, texts, strict=True):
        gold = _plain(str(item.answer))
        strict, numbers = _FINAL.search(text), _NUMBER.findall(text)
        loose = next((part for part in numbers[-1] if part), "") if numbers else "[invalid]"
        sample = {"answer": item.answer, "text": text, "group": item.group}
        sample |= {"exact": _plain(strict[1] if strict else "[invalid]") == gold, "flexible": _plain(loose) == gold}
        samples.append(sample)
    return _result(samples)


def write(
    engine: Engine,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    max_length: int,
    batch: int,
    tokens: int,
    stop: Sequence[str],
    progress: Progress = lambda done: None,
) -> list[str]:
    """What the engine writes after each prompt, the longest first; prompts that leave no room are cut at their begin.

    Args:
      max_length: tokens of prompt and text together, at the most.
      batch: prompts at a time.
      tokens: to write at the most.
      stop: strings that end a text.
    """
    encoded = [tokenizer.prompt(prompt)[-max(1, max_length - tokens) :] for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda i: -len(encoded[i]))
    texts = [""] * len(prompts)
    for start in range(0, len(order), batch):
        places = order[start : start + batch]
        found = engine.complete([encoded[i] for i in places], tokens, stop=stop)
        for place, text in zip(places, found, strict=True):
            texts[place] = text
        progress(len(places))
    return texts


def _plain(text: str) -> str:
    """An answer without what does not count: commas, dollars, the way to it, a full stop, and the case."""
    for pattern in (r",", r"\$", r"(?s).*#### ", r"\.$"):
        text = re.sub(pattern, "", text)
    return text.lower()


def _result(samples: list[dict[str, Any]]) -> Result:
    names = [name for name in ("acc", "acc_norm", "exact", "flexible") if name in samples[0]]
    columns = {name: np.array([sample[name] for sample in samples], float) for name in names}
    metrics = {name: float(column.mean()) for name, column in columns.items()}
    if "perplexity" in samples[0]:
        metrics["perplexity"] = math.exp(np.mean([sample["perplexity"] for sample in samples]))
    count = len(samples)
    spread = {name: float(column.std(ddof=1)) if count > 1 else math.nan for name, column in columns.items()}
    stderr = {name: value / math.sqrt(count) for name, value in spread.items()}
    return Result(metrics, stderr, samples)
