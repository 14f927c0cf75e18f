"""Benchmarks by name, as `maxlm eval --tasks` and config.train.benchmarks give them."""

from maxlm.errors import UserError, did_you_mean
from maxlm.eval.formats import READERS, Benchmark, read_benchmark

PASSKEY = "passkey"  # made for a tokenizer and a length: maxlm/eval/passkey.py


def read_tasks(text: str, where: str = "--tasks", ours_alone: bool = False) -> dict[str, Benchmark | None]:
    """Benchmarks by name; None for those without a file: the harness's, and PASSKEY.

    Args:
      text: NAME:PATH or NAME, with commas between.
      where: it was given, for errors.
      ours_alone: the harness is not asked.

    Raises:
      DataError: a file is missing or of another format.
      UserError: no such benchmark.
    """
    found: dict[str, Benchmark | None] = {}
    for part in filter(None, text.split(",")):
        name, colon, path = part.partition(":")
        if colon and name not in READERS:
            raise UserError(f"{where}: no reader for {name!r}{did_you_mean(name, READERS)}")
        if not colon and name in READERS:
            raise UserError(f"{where}={name}: needs its file ({name}:PATH)")
        if not colon and ours_alone and name != PASSKEY:
            raise UserError(f"{where}={name}: only benchmarks on disk ({', '.join(READERS)}) and {PASSKEY}")
        found[name] = read_benchmark(name, path) if colon else None
    if not found:
        raise UserError(f"{where}: names no task")
    return found
