"""Errors that a person can mend: one line on the terminal, exit code 2, no traceback.

Anything that is not a UserError is a bug of ours and keeps its traceback.
"""

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_MOST_CHARACTERS = 1000  # of a message: a file that others made may hold a value of a gigabyte
EXIT_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: nobody made a mistake, and the same command may well succeed


class UserError(Exception):
    """A mistake or a fault outside the program. The message names the file, key or row, and the way out.

    Whatever it quotes, it is one line of a bounded length that can do nothing to a terminal.
    """

    def __init__(self, message: object = ""):
        super().__init__(_one_line(str(message)))


class ConfigError(UserError):
    """A config that can't be used: unknown key, wrong type, sizes that don't divide."""


class DataError(UserError):
    """Input data, or a block, that can't be used: missing, empty, damaged, made by another tokenizer."""


class DamagedBlockError(DataError):
    """A block whose files are not what its manifest says. The data process can make it again."""


class CheckpointError(UserError):
    """A checkpoint that can't be used: missing, damaged, of another shape."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint whose files are not what was written. The one before it can still be used."""


class StoppedError(UserError):
    """The process was asked to stop (SIGTERM), and has put everything in order."""


class DiskFullError(UserError):
    """The file system refused a write for want of space."""


def _one_line(text: str) -> str:
    """`text` with what is no sign that prints escaped, and its middle left out where it is long."""
    if len(text) > _MOST_CHARACTERS:
        head, tail = text[: _MOST_CHARACTERS * 2 // 3], text[-_MOST_CHARACTERS // 4 :]
        text = f"{head} … ({len(text) - len(head) - len(tail):,} characters) … {tail}"
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` with the nearest of `known`, or all of them where none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"


_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# C++ libraries below us (array_record, tensorstore) report a full disk in words only.
_FULL_WORDS = ("no space left on device", "disk quota exceeded", "file too large")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether `error`, or one of the errors it came from, says that the file system is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL_ERRNOS:
            return True
        if any(words in str(error).lower() for words in _FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def naming_full_disk(what: str, path: object) -> Iterator[None]:
    """Turns any form of "no space left" inside the block into a DiskFullError that names `path`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise DiskFullError(
            f"disk full while writing {what} to {path}: free some space and run the same command again; "
            "nothing half written will be used"
        ) from error
