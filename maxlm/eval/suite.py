"""Benchmarks of a model that is being trained, beside its evaluation on held-out text."""

from typing import Any

from jax.sharding import Mesh

from maxlm.eval.benchmark import GREEDY, evaluate
from maxlm.eval.formats import Benchmark
from maxlm.eval.likelihood import Scorer
from maxlm.eval.passkey import passkey
from maxlm.eval.tasks import PASSKEY, read_tasks
from maxlm.generate.engine import Engine
from maxlm.generate.load import TrainedModel
from maxlm.models.decoder import DecoderFunction
from maxlm.tokenizer.base import Tokenizer
from maxlm.train.checkpoint import Meta, Position
from maxlm.train.config import Config


class Suite:
    """The benchmarks of config.train.benchmarks."""

    def __init__(self, config: Config, model: DecoderFunction, mesh: Mesh, tokenizer: Tokenizer, length: int):
        """`length`: tokens that are read at most.

        Raises:
          ConfigError: the mesh splits layers or sequences.
          DataError, UserError: see `read_tasks`; and a benchmark without a file is not asked here.
        """
        meta = Meta(Position(), {}, tokenizer.vocab_size)
        self._trained = TrainedModel(config, model, {}, tokenizer, meta, mesh)
        self._scorer, self._engine, self._length = Scorer(self._trained, length), Engine(self._trained, GREEDY), length
        tasks: dict[str, Benchmark | None] = {}
        for task in config.train.benchmarks:
            tasks |= read_tasks(task, "config.train.benchmarks", ours_alone=True)
        if PASSKEY in tasks:
            tasks[PASSKEY] = passkey(tokenizer, length)
        self._benchmarks = {
            name: benchmark.first(config.train.benchmark_questions or None)
            for name, benchmark in tasks.items()
            if benchmark is not None
        }

    def __call__(self, params: dict[str, Any]) -> dict[str, float]:
        """``benchmark/NAME/METRIC`` for each."""
        self._scorer.params = self._engine.params = params  # neither is compiled anew
        found = {
            name: evaluate(self._trained, benchmark, self._length, scorer=self._scorer, engine=self._engine).metrics
            for name, benchmark in self._benchmarks.items()
        }
        self._scorer.params = self._engine.params = {}  # training needs the memory
        return {f"benchmark/{name}/{key}": value for name, values in found.items() for key, value in values.items()}
