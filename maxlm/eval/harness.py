"""A run's model for lm-evaluation-harness, under the name `maxlm` in its registry.

    python -m maxlm.eval.harness --model maxlm --model_args workdir=RUN --tasks hellaswag

is the harness's own command line with this model known to it; in Python, importing this module registers it.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

from lm_eval.api.instance import Instance  # pyright: ignore[reportMissingImports]
from lm_eval.api.model import TemplateLM  # pyright: ignore[reportMissingImports]
from lm_eval.api.registry import register_model  # pyright: ignore[reportMissingImports]
from lm_eval.evaluator import simple_evaluate  # pyright: ignore[reportMissingImports]
from lm_eval.models.utils import normalize_gen_kwargs  # pyright: ignore[reportMissingImports]
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window  # pyright: ignore[reportMissingImports]

from maxlm.errors import UserError
from maxlm.eval.benchmark import Result, write
from maxlm.eval.likelihood import Scorer
from maxlm.generate.engine import Engine
from maxlm.generate.load import TrainedModel, load_model
from maxlm.generate.sampling import Sampling
from maxlm.paths import PathLike
from maxlm.train.transfer import longest_context

_MAX_WRITTEN = 256  # tokens, where a task does not say


@register_model("maxlm")
class MaxLM(TemplateLM):
    """Answers the harness's requests. Several hosts are not supported: it asks one process alone."""

    def __init__(
        self,
        workdir: str,
        step: int | None = None,
        average: bool = False,
        batch_size: int | str = 8,
        max_length: int | None = None,
        trained: TrainedModel | None = None,
        **unused: Any,
    ):
        """`max_length`: tokens read at most; None: as the run's data set has them. `trained`: already loaded.

        Raises:
          CheckpointError, ConfigError, DataError: see `load_model` and `longest_context`.
        """
        super().__init__()
        self._trained = load_model(workdir, step, average=average) if trained is None else trained
        self._tokenizer = self._trained.tokenizer
        self.max_length = int(max_length or longest_context(workdir, self._trained.config))
        self._batch = int(batch_size) if str(batch_size).isdigit() else 8
        self._scorer = Scorer(self._trained, self.max_length, self._batch)
        self._engines: dict[Sampling, Engine] = {}
        self._workdir = workdir

    @property
    def eot_token_id(self) -> int:
        return self._tokenizer.eos_id

    @property
    def prefix_token_id(self) -> int:
        return self._tokenizer.bos_id

    @property
    def tokenizer_name(self) -> str:
        """Under which the harness keeps what it has prepared."""
        return f"maxlm-{self._tokenizer.digest[:16]}"

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        if add_special_tokens is False:
            return self._tokenizer.encode(string)
        return self._tokenizer.prompt(string)

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        found = self._scorer([(context, continuation) for _, context, continuation in requests])
        answers = [(likelihood.nats, likelihood.greedy) for likelihood in found]
        for (text, _, _), answer in zip(requests, answers, strict=True):
            if text is not None:
                self.cache_hook.add_partial("loglikelihood", text, answer)
        return answers

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        windows = [list(self._windows(request.args[0])) for request in requests]
        found = iter(self._scorer(list(itertools.chain(*windows))))
        totals = [sum(next(found).nats for _ in parts) for parts in windows]
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def _windows(self, text: str) -> Iterator[tuple[list[int], list[int]]]:
        """Contexts and continuations that together say each token of a text once."""
        tokens = self._tokenizer.encode(text)
        for window in get_rolling_token_windows(tokens, self.prefix_token_id, self.max_length, context_len=1):
            yield make_disjoint_window(window)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        texts = [""] * len(requests)
        groups: dict[str, list[int]] = {}  # requests that are to be sampled alike
        for place, request in enumerate(requests):
            groups.setdefault(repr(list(request.args)[1]), []).append(place)
        for places in groups.values():
            asked: list[Any] = [requests[i].args for i in places]
            found = self._write([prompt for prompt, _ in asked], asked[0][1])
            for place, arguments, text in zip(places, asked, found, strict=True):
                texts[place] = text
                self.cache_hook.add_partial("generate_until", arguments, text)
        return texts

    def _write(self, prompts: Sequence[str], options: dict[str, Any]) -> list[str]:
        values: dict[str, Any] = dict(normalize_gen_kwargs(options, _MAX_WRITTEN))
        tokens, stop = int(values.pop("max_gen_toks")), values.pop("until", [])
        drawn, temperature = bool(values.pop("do_sample", False)), float(values.pop("temperature", 0.0))
        known = {key: values.pop(key) for key in ("top_k", "top_p", "min_p", "repetition_penalty") if key in values}
        if values:
            raise UserError(f"generation option {sorted(values)[0]!r} of a task is not supported")
        if tokens >= self.max_length:
            raise UserError(
                f"max_gen_toks={tokens} leaves no room for a prompt; the model reads {self.max_length} tokens"
            )
        sampling = Sampling(temperature if drawn else 0.0, **known)
        engine = self._engines.setdefault(sampling, Engine(self._trained, sampling))
        return write(engine, self._tokenizer, prompts, self.max_length, self._batch, tokens, stop)


def evaluate_tasks(
    trained: TrainedModel,
    names: Sequence[str],
    workdir: PathLike,
    max_length: int,
    *,
    shots: int,
    batch: int,
    limit: int | None,
) -> dict[str, Result]:
    """Tasks of the harness by name, on a loaded model.

    Raises:
      UserError: the harness has no such task, or can't reach its data.
    """
    make: Any = MaxLM  # whose type the registry's decorator does not tell
    model = make(os.fspath(workdir), batch_size=batch, max_length=max_length, trained=trained)
    try:
        found: Any = simple_evaluate(model=model, tasks=list(names), num_fewshot=shots or None, limit=limit)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"--tasks={','.join(names)}: {' '.join(str(error).split())[:300]}") from error
    return {name: _result(values, found["samples"].get(name, [])) for name, values in found["results"].items()}


def _result(values: dict[str, Any], samples: list[dict[str, Any]]) -> Result:
    numbers = {key.removesuffix(",none"): value for key, value in values.items() if isinstance(value, float)}
    metrics = {key: value for key, value in numbers.items() if "_stderr" not in key}
    stderr = {key.replace("_stderr", ""): value for key, value in numbers.items() if "_stderr" in key}
    return Result(metrics, stderr, samples)


def main() -> None:
    """The harness's command line."""
    from lm_eval.__main__ import cli_evaluate  # pyright: ignore[reportMissingImports]

    cli_evaluate()


if __name__ == "__main__":
    main()
