"""Who works on the parts of a block: this process, or processes on a Ray cluster. The bytes are the same."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from data_pipeline import engine
from data_pipeline.config import DataConfig
from data_pipeline.mix.corpus import Corpus
from data_pipeline.produce.dialogue import Dialogues
from data_pipeline.produce.part import Part
from maxlm.blocks.manifest import DatasetInfo
from maxlm.errors import DataError
from maxlm.paths import PathLike
from maxlm.tokenizer.base import Tokenizer

_POLL_S = 0.5
What = tuple[Corpus, Tokenizer, Dialogues, DatasetInfo, str]  # what a part works on and where its scratch files go


class Crew(Protocol):
    """Calls a method of every part."""

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """``part.method(*arguments[i])`` for the i-th part of all, in order. Raises what the first to fail raised."""
        ...

    def close(self) -> None: ...


def make_crew(
    config: DataConfig,
    dataset: PathLike,
    info: DatasetInfo,
    corpus: Corpus,
    tokenizer: Tokenizer,
    check: Callable[[], None],
) -> Crew:
    """The crew that `config.runner` asks for. `check` ends the work by what it raises."""
    dialogues = Dialogues(corpus, tokenizer, config.conversations, dataset, info.row_format.row_tokens)
    what = (corpus, tokenizer, dialogues, info, str(dataset))
    if config.runner == "ray":
        return _OnRay(config, what, check)
    return _Here([Part(*what, config.produce.workers, check) for _ in range(config.produce.parts)])


class _Here:
    """One part after the other, each on all threads."""

    def __init__(self, parts: list[Part]):
        self._parts = parts

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        return [getattr(part, method)(*args) for part, args in zip(self._parts, arguments, strict=True)]

    def close(self) -> None:
        for part in self._parts:
            part.close()


class _OnRay:
    """Actors of one core each, which take the parts in turn."""

    def __init__(self, config: DataConfig, what: What, check: Callable[[], None]):
        self._ray, self._check = engine.ray_module(), check
        cores = config.produce.workers or int(self._ray.cluster_resources().get("CPU", 1))
        actor = self._ray.remote(num_cpus=1, max_concurrency=config.produce.parts + 1)(_Worker)
        shared = self._ray.put(what)
        self._actors = [actor.remote(shared) for _ in range(min(cores, config.produce.parts))]

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        all_calls = [self._of(part).call.remote(part, method, args) for part, args in enumerate(arguments)]
        waiting = list(all_calls)
        try:
            while waiting:
                done, waiting = self._ray.wait(waiting, timeout=_POLL_S)
                self._ray.get(done)
                self._check()
            return self._ray.get(all_calls)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayActorError as error:
            raise DataError(
                "a worker process on Ray died, most likely for want of memory; run the same command again"
            ) from error
        finally:
            if waiting:  # nobody writes any more when what was written is removed
                self._ray.wait([actor.stop.remote() for actor in self._actors], num_returns=len(self._actors))
                self._ray.wait(all_calls, num_returns=len(all_calls))

    def _of(self, part: int) -> Any:
        return self._actors[part % len(self._actors)]

    def close(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)


class _Worker:
    """An actor: the parts that it was given, one call after the other, and an ear for being stopped."""

    def __init__(self, what: What):
        self._what, self._parts, self._stopped, self._busy = what, {}, False, threading.Lock()

    def call(self, number: int, method: str, arguments: tuple[Any, ...]) -> Any:
        with self._busy:
            if number not in self._parts:
                self._parts[number] = Part(*self._what, 1, self._check)
            return getattr(self._parts[number], method)(*arguments)

    def stop(self) -> None:
        self._stopped = True

    def _check(self) -> None:
        if self._stopped:
            raise NotWantedError


class NotWantedError(Exception):
    """The process that gave the work does not want it any more."""
