"""The same model three ways: our readers, lm-evaluation-harness with our adapter, and it with `transformers`.

pip install 'maxlm[eval]' and the reference extra run these; each example must come out the same. For a trained model
and whole files: tools/compare_harness.py.
"""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from maxlm.interop.decoder import save_decoder
from maxlm.interop.tokenizer_files import export_tokenizer
from maxlm.models.decoder import DecoderFunction
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train
from maxlm.train.transfer import import_run
from tests import tiny

pytest.importorskip("torch", reason="torch is not installed: pip install 'maxlm[reference]'")
pytest.importorskip("transformers", reason="transformers is not installed: the reference extra has it")
pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install 'maxlm[eval]'")
pytestmark = pytest.mark.filterwarnings("default")  # theirs

WORDS = "the quick brown fox jumps over the lazy dog while numbers 0123456789 pass by\n"
ROWS = (8, 4, 1)  # at a time: our readers, our adapter, transformers


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run made of random weights, and questions made of few words."""
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
    save_decoder(folder / "model", config, read, max_length=512, tokens=tokens)
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
    return folder


@pytest.mark.parametrize("task", ["hellaswag", "gsm8k"])
def test_three_ways(folder, task):
    from tools import compare_harness as ways

    asked = ways.Asked(folder / "run", task, folder / f"{task}.jsonl", batches=ROWS)
    expected = ways.by_readers(asked)
    assert len(expected) == {"hellaswag": 16, "gsm8k": 4}[task]
    assert len({one.nats or one.text for one in expected}) == len(expected)
    for ask in (ways.by_adapter, ways.by_transformers):
        assert not ways.differing(ask(asked), expected)


def test_what_differs_is_told(folder):
    from tools import compare_harness as ways

    one = ways.Example((True, False), (-3.0, -4.0))
    assert not ways.differing([one], [one._replace(nats=(-3.001, -4.0))])
    for other in (one._replace(right=(True, True)), one._replace(nats=(-3.1, -4.0)), one._replace(text="a")):
        assert ways.differing([one, one], [one, other]) == [(1, one, other)]
    assert not ways.differing([one._replace(text="\ufffd")], [one._replace(text="\ufffd\ufffd")])


def test_in_the_registry(folder):
    """As `lm_eval --model maxlm --model_args workdir=RUN` makes it; texts without context, in windows."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.registry import get_model

    import maxlm.eval.harness  # noqa: F401

    model = get_model("maxlm").create_from_arg_string(f"workdir={folder / 'run'},max_length=8", {"batch_size": 2})
    text = WORDS[:-1]
    (total,) = model.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0)])
    ((whole, _),) = (
        get_model("maxlm")
        .create_from_arg_string(f"workdir={folder / 'run'},max_length=256", {"batch_size": 2})
        .loglikelihood([Instance("loglikelihood", {}, ("", text), 0)])
    )
    assert total < 0
    assert total != pytest.approx(whole)  # windows of 8 tokens know less, or other things
    assert total == pytest.approx(whole, rel=0.5)
