"""The same model three ways: our readers, lm-evaluation-harness with our adapter, and it with `transformers`.

pip install 'maxlm[eval]' and the reference extra run these; each example must come out the same.
"""

import json
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from maxlm.eval.benchmark import evaluate
from maxlm.eval.formats import read_benchmark
from maxlm.generate.load import load_model
from maxlm.interop.decoder import save_decoder
from maxlm.interop.tokenizer_files import export_tokenizer
from maxlm.models.decoder import DecoderFunction
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train
from maxlm.train.transfer import export_run, import_run
from tests import tiny

pytest.importorskip("torch", reason="torch is not installed: pip install 'maxlm[reference]'")
pytest.importorskip("transformers", reason="transformers is not installed: the reference extra has it")
lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install 'maxlm[eval]'")
pytestmark = pytest.mark.filterwarnings("default")  # theirs

MAX_LENGTH = 512
WORDS = "the quick brown fox jumps over the lazy dog while numbers 0123456789 pass by\n"


class Place(NamedTuple):
    """A run, and the files that it is asked about."""

    run: Path
    hellaswag: Path
    gsm8k: Path
    limit: int | None
    batches: tuple[int, int, int]  # rows at a time: our readers, our adapter, transformers


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    """A run made of random weights, and questions made of few words; or a real one (MAXLM_RUN) and real files."""
    if run := os.environ.get("MAXLM_RUN"):
        corpora = Path(os.environ["MAXLM_CORPORA"]) / "eval"
        limit = int(os.environ.get("MAXLM_LIMIT", "0")) or None
        gsm8k = corpora / "gsm8k" / "grade_school_math" / "data" / "test.jsonl"
        return Place(Path(run), corpora / "hellaswag" / "hellaswag_val.jsonl", gsm8k, limit, (64, 64, 64))
    folder, rng = tmp_path_factory.mktemp("harness"), np.random.default_rng(0)
    tokenizer = train(iter([WORDS * 20]), folder / "tokenizer", TokenizerSettings(vocab_size=384, spare_tokens=60))
    config = tiny.model(vocab_size=tokenizer.vocab_size)
    params = jax.tree.map(lambda leaf: np.asarray(leaf) * 4, DecoderFunction(config).init(jax.random.key(0)))
    # As in a trained model, tokens without a text are never the likeliest: we do not write them, transformers might.
    silent = [tokenizer.bos_id, tokenizer.pad_id, *range(tokenizer.num_pieces, tokenizer.vocab_size)]
    silent += tokenizer.byte_ids  # bytes put together at random are no text
    params["embedding"][silent] = 0

    def read(path: tuple[str, ...], layer: int | None) -> np.ndarray:
        value: Any = params
        for key in path:
            value = value[key]
        return value if layer is None else value[layer]

    tokens = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    save_decoder(folder / "model", config, read, max_length=MAX_LENGTH, tokens=tokens)
    export_tokenizer(folder / "tokenizer", folder / "model")
    import_run(folder / "model", folder / "run")

    def text(count: int) -> str:
        return " ".join(rng.choice(WORDS.split(), count))

    hellaswag = [
        {"activity_label": text(1), "ctx": text(int(n)), "endings": [text(int(m)) for m in rng.integers(1, 9, 4)],
         "label": int(n) % 4} for n in rng.integers(1, 20, 16)
    ]  # fmt: skip
    gsm8k = [{"question": text(int(n)), "answer": f"{text(2)}\n#### {n}"} for n in rng.integers(1, 9, 4)]
    for name, rows in (("hellaswag", hellaswag), ("gsm8k", gsm8k)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Place(folder / "run", folder / "hellaswag.jsonl", folder / "gsm8k.jsonl", None, (8, 4, 1))


def _tasks(place: Place) -> list[dict[str, Any]]:
    """HellaSwag and GSM8K as the harness defines them, but read from disk and without shots."""

    def hellaswag(row: dict[str, Any]) -> dict[str, Any]:
        from lm_eval.tasks.hellaswag.utils import preprocess

        query = preprocess(f"{row['activity_label']}: {row['ctx']}")
        return {"query": query, "choices": [preprocess(ending) for ending in row["endings"]], "gold": row["label"]}

    def of_file(name: str, path: Path, **more: Any) -> dict[str, Any]:
        files = {"data_files": {"test": str(path)}}
        return {"task": name, "dataset_path": "json", "dataset_kwargs": files, "test_split": "test", **more}

    accuracies = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]
    exact = {
        "metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True,
        "ignore_punctuation": False, "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"],
    }  # fmt: skip
    strict = [{"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"}, {"function": "take_first"}]
    numbers = {"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"}
    return [
        of_file(
            "hellaswag_here", place.hellaswag, output_type="multiple_choice", doc_to_text="{{query}}",
            doc_to_target="{{gold}}", doc_to_choice="choices", metric_list=accuracies,
            process_docs=lambda rows: rows.map(hellaswag),
        ),
        of_file(
            "gsm8k_here", place.gsm8k, output_type="generate_until", doc_to_text="Question: {{question}}\nAnswer:",
            doc_to_target="{{answer}}", metric_list=[exact],
            generation_kwargs={"until": ["Question:", "</s>", "<|im_end|>"], "do_sample": False, "temperature": 0.0},
            filter_list=[{"name": "strict", "filter": strict},
                         {"name": "loose", "filter": [numbers, {"function": "take_first"}]}],
        ),
    ]  # fmt: skip


def _by_harness(place: Place, model: Any) -> dict[str, list[tuple]]:
    """Of each example, in order, what counts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = lm_eval.simple_evaluate(
            model=model, tasks=_tasks(place), num_fewshot=0, limit=place.limit, bootstrap_iters=0
        )
    said = found["samples"]
    hellaswag = sorted(said["hellaswag_here"], key=lambda sample: sample["doc_id"])
    gsm8k = {
        name: [sample for sample in sorted(said["gsm8k_here"], key=lambda s: s["doc_id"]) if sample["filter"] == name]
        for name in ("strict", "loose")
    }
    return {
        "hellaswag": [(sample["acc"], sample["acc_norm"]) for sample in hellaswag],
        "nats": [tuple(float(answer[0][0]) for answer in sample["resps"]) for sample in hellaswag],
        "gsm8k": [
            (a["resps"][0][0], a["exact_match"], b["exact_match"])
            for a, b in zip(gsm8k["strict"], gsm8k["loose"], strict=True)
        ],
    }


@pytest.fixture(scope="module")
def ours(place) -> dict[str, list[tuple]]:
    trained = load_model(place.run, overrides=[("mesh.fsdp", "1"), ("mesh.data", "-1")])
    hellaswag, gsm8k = (
        evaluate(trained, read_benchmark(name, path).first(place.limit), MAX_LENGTH, batch=place.batches[0]).samples
        for name, path in (("hellaswag", place.hellaswag), ("gsm8k", place.gsm8k))
    )
    return {
        "hellaswag": [(sample["acc"], sample["acc_norm"]) for sample in hellaswag],
        "nats": [tuple(sample["nats"]) for sample in hellaswag],
        "gsm8k": [(sample["text"], sample["exact"], sample["flexible"]) for sample in gsm8k],
    }


def _assert_same(found: dict[str, list[tuple]], expected: dict[str, list[tuple]]) -> None:
    nats, expected_nats = np.array(found["nats"]), np.array(expected["nats"])
    for name in ("hellaswag", "gsm8k"):
        right = np.array([row[-2:] for row in found[name]], int).sum(axis=0)
        print(f"{name}: {right[0]} and {right[1]} of {len(found[name])} right")
    print(f"nats of {nats.size} endings differ by at most {np.abs(nats - expected_nats).max():.1e}")
    assert len(found["hellaswag"]) == len(expected["hellaswag"])
    other = np.flatnonzero([a != b for a, b in zip(found["hellaswag"], expected["hellaswag"], strict=True)])
    assert not other.size, [(int(i), nats[i].tolist(), expected_nats[i].tolist()) for i in other]
    np.testing.assert_allclose(nats, expected_nats, atol=2e-3)
    texts = [(row, of) for row, of in zip(found["gsm8k"], expected["gsm8k"], strict=True) if row[1:] != of[1:]]
    assert not texts, texts
    # Of bytes that are no UTF-8 each makes its own U+FFFD.
    texts = [
        (a, b) for (a, *_), (b, *_) in zip(found["gsm8k"], expected["gsm8k"], strict=True) if "\ufffd" not in a + b
    ]
    print(f"{sum(a == b for a, b in texts)} of {len(texts)} texts without bytes that are no UTF-8 are equal")
    assert not (others := [(a, b) for a, b in texts if a != b]), others


def test_our_adapter(place, ours):
    from maxlm.eval.harness import MaxLM

    _assert_same(
        _by_harness(place, MaxLM(workdir=str(place.run), batch_size=place.batches[1], max_length=MAX_LENGTH)), ours
    )


def test_transformers_on_the_exported_folder(place, ours, tmp_path):
    from lm_eval.models.huggingface import HFLM

    export_run(place.run, tmp_path / "out")
    out, batch = str(tmp_path / "out"), place.batches[2]
    theirs = HFLM(pretrained=out, dtype="float32", device="cpu", batch_size=batch, max_length=MAX_LENGTH)
    _assert_same(_by_harness(place, theirs), ours)


def test_in_the_registry(place):
    """As `lm_eval --model maxlm --model_args workdir=RUN` makes it; texts without context, in windows."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.registry import get_model

    import maxlm.eval.harness  # noqa: F401

    model = get_model("maxlm").create_from_arg_string(f"workdir={place.run},max_length=8", {"batch_size": 2})
    text = WORDS[:-1]
    (total,) = model.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0)])
    ((whole, _),) = (
        get_model("maxlm")
        .create_from_arg_string(f"workdir={place.run},max_length=256", {"batch_size": 2})
        .loglikelihood([Instance("loglikelihood", {}, ("", text), 0)])
    )
    assert total < 0
    assert total != pytest.approx(whole)  # windows of 8 tokens know less, or other things
    assert total == pytest.approx(whole, rel=0.5)
