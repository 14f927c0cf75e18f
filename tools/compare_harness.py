"""A run asked three ways: by our readers, and by lm-evaluation-harness through our adapter and through `transformers`.

    python tools/compare_harness.py RUN hellaswag:hellaswag_val.jsonl gsm8k:test.jsonl [--limit=100]

Needs pip install 'maxlm[eval,reference]'. The tasks are the harness's own, but read from the files and without shots.
Prints how many are right each way, and every example that came out otherwise than by our readers; ends with 1 if any.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lm_eval
import numpy as np
from lm_eval.models.huggingface import HFLM

from maxlm.eval.benchmark import evaluate
from maxlm.eval.formats import read_benchmark
from maxlm.eval.harness import MaxLM
from maxlm.generate.load import load_model
from maxlm.train.transfer import export_run

MOST_NATS = 2e-3  # by which likelihoods of an ending may differ: float32, summed up in another order


class Example(NamedTuple):
    """What came of one."""

    right: tuple[bool, bool]  # HellaSwag: acc, acc_norm; GSM8K: exact, flexible
    nats: tuple[float, ...] = ()  # of each ending
    text: str = ""


class Asked(NamedTuple):
    """A run, and what it is asked."""

    run: Path
    task: str
    file: Path
    limit: int | None = None
    batches: tuple[int, int, int] = (64, 64, 64)  # rows at a time: our readers, our adapter, transformers
    max_length: int = 512


def hellaswag(file: Path) -> dict[str, Any]:
    """The harness's task, of a file."""

    def of_row(row: dict[str, Any]) -> dict[str, Any]:
        from lm_eval.tasks.hellaswag.utils import preprocess

        query = preprocess(f"{row['activity_label']}: {row['ctx']}")
        return {"query": query, "choices": [preprocess(ending) for ending in row["endings"]], "gold": row["label"]}

    accuracies = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]
    return _of_file(
        file, output_type="multiple_choice", doc_to_text="{{query}}", doc_to_target="{{gold}}", doc_to_choice="choices",
        metric_list=accuracies, process_docs=lambda rows: rows.map(of_row),
    )  # fmt: skip


def gsm8k(file: Path) -> dict[str, Any]:
    """The harness's task, of a file."""
    exact = {
        "metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True,
        "ignore_punctuation": False, "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"],
    }  # fmt: skip
    strict = [{"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"}, {"function": "take_first"}]
    numbers = {"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"}
    return _of_file(
        file, output_type="generate_until", doc_to_text="Question: {{question}}\nAnswer:",
        doc_to_target="{{answer}}", metric_list=[exact],
        generation_kwargs={"until": ["Question:", "</s>", "<|im_end|>"], "do_sample": False, "temperature": 0.0},
        filter_list=[{"name": "strict", "filter": strict},
                     {"name": "loose", "filter": [numbers, {"function": "take_first"}]}],
    )  # fmt: skip


def _of_file(file: Path, **more: Any) -> dict[str, Any]:
    files = {"data_files": {"test": str(file)}}
    return {"task": "here", "dataset_path": "json", "dataset_kwargs": files, "test_split": "test", **more}


TASKS: dict[str, Callable[[Path], dict[str, Any]]] = {"hellaswag": hellaswag, "gsm8k": gsm8k}


def by_readers(asked: Asked) -> list[Example]:
    trained = load_model(asked.run, overrides=[("mesh.fsdp", "1"), ("mesh.data", "-1")])
    benchmark = read_benchmark(asked.task, asked.file).first(asked.limit)
    found = evaluate(trained, benchmark, asked.max_length, batch=asked.batches[0]).samples
    if asked.task == "gsm8k":
        return [Example((one["exact"], one["flexible"]), text=one["text"]) for one in found]
    return [Example((one["acc"], one["acc_norm"]), tuple(one["nats"])) for one in found]


def by_adapter(asked: Asked) -> list[Example]:
    return _by_harness(asked, MaxLM(workdir=str(asked.run), batch_size=asked.batches[1], max_length=asked.max_length))


def by_transformers(asked: Asked) -> list[Example]:
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/exported"
        export_run(asked.run, out)
        length = asked.max_length
        model = HFLM(pretrained=out, dtype="float32", device="cpu", batch_size=asked.batches[2], max_length=length)
        return _by_harness(asked, model)


def _by_harness(asked: Asked, model: Any) -> list[Example]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        found = lm_eval.simple_evaluate(
            model=model, tasks=[TASKS[asked.task](asked.file)], num_fewshot=0, limit=asked.limit, bootstrap_iters=0
        )
    samples = sorted(found["samples"]["here"], key=lambda sample: sample["doc_id"])
    if asked.task == "hellaswag":
        nats = [tuple(float(answer[0][0]) for answer in one["resps"]) for one in samples]
        return [Example((one["acc"], one["acc_norm"]), said) for one, said in zip(samples, nats, strict=True)]
    strict, loose = ([one for one in samples if one["filter"] == name] for name in ("strict", "loose"))
    return [
        Example((a["exact_match"], b["exact_match"]), text=a["resps"][0][0]) for a, b in zip(strict, loose, strict=True)
    ]


def differing(found: list[Example], expected: list[Example]) -> list[tuple[int, Example, Example]]:
    """Examples that are right in one way and not in the other, or whose likelihoods or texts differ.

    Bytes of a text that are no UTF-8 are left out: each of the two shows them its own way.
    """

    def same(one: Example, other: Example) -> bool:
        texts = one.text == other.text or "\ufffd" in one.text + other.text
        return one.right == other.right and np.allclose(one.nats, other.nats, rtol=0, atol=MOST_NATS) and texts

    pairs = enumerate(zip(found, expected, strict=True))
    return [(place, one, other) for place, (one, other) in pairs if not same(one, other)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("files", nargs="+", metavar="TASK:FILE", help=f"TASK is one of {', '.join(TASKS)}")
    parser.add_argument("--limit", type=int, help="only the first so many questions")
    arguments = parser.parse_args()
    any_differs = False
    for one in arguments.files:
        task, _, file = one.partition(":")
        if task not in TASKS or not Path(file).is_file():
            parser.error(f"{one}: give TASK:FILE with a task of {', '.join(TASKS)} and a file that is there")
        any_differs |= _compared(Asked(arguments.run, task, Path(file), arguments.limit))
    sys.exit(1 if any_differs else 0)


def _compared(asked: Asked) -> bool:
    expected: list[Example] = []
    any_differs = False
    for name, ask in (("our readers", by_readers), ("our adapter", by_adapter), ("transformers", by_transformers)):
        started = time.perf_counter()
        found = ask(asked)
        right = np.array([one.right for one in found], int).sum(axis=0)
        seconds = time.perf_counter() - started
        print(f"{asked.task}, {name}: {right[0]} and {right[1]} of {len(found)} right, {seconds:.0f} s", flush=True)
        expected = expected or found
        if asked.task == "hellaswag":
            apart = max(np.abs(np.subtract(a.nats, b.nats)).max() for a, b in zip(found, expected, strict=True))
            print(f"  endings differ by at most {apart:.1e} nats")
        for place, one, other in differing(found, expected):
            any_differs = True
            print(f"  question {place}: {one}, by our readers {other}")
    return any_differs


if __name__ == "__main__":
    main()
