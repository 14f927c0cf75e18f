"""Digests of a checkpoint's files: published with them, compared before they are restored."""

import hashlib
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

from etils import epath

from maxlm.errors import DamagedCheckpointError, DataError
from maxlm.paths import is_regular, read_json, write_json

FILE = "digests.json"
_PASSED_OVER = (FILE, "_CHECKPOINT_METADATA", "commit_success.txt")  # the latter two orbax writes at publication
_CHUNK = 1 << 22
_THREADS = 4  # hashing lets go of the interpreter


def write_digests(folder: epath.Path) -> None:
    """Notes the SHA-256 of every file below `folder`."""
    write_json(folder / FILE, {"sha256": _digests(folder, _names(folder))})


def check_digests(folder: epath.Path, items: Collection[str] = (), part: tuple[int, int] = (0, 1)) -> bool:
    """Compares the files below `folder` with what was noted.

    Whatever is no regular file would be waited for; it is refused, noted or not.

    Args:
      items: subfolders that are about to be read, whose files are compared; none: all files.
      part: (i, n): of n processes, the share of the i-th.

    Returns:
      Whether there was something to compare with: checkpoints of the first versions have no digests.

    Raises:
      DamagedCheckpointError: a file is missing, or its bytes are not those that were written.
    """
    if odd := [path for path in _files(folder) if not is_regular(path)]:
        raise DamagedCheckpointError(f"{odd[0]}: not a regular file")
    if not (folder / FILE).exists():
        return False
    try:
        noted = read_json(folder / FILE, "digests of a checkpoint").get("sha256")
    except DataError as error:
        raise DamagedCheckpointError(str(error)) from error
    if not isinstance(noted, dict):
        raise DamagedCheckpointError(f"{folder / FILE}: damaged: no list of digests")
    there, (index, count) = set(_names(folder)), part
    if missing := sorted(noted.keys() - there):
        raise DamagedCheckpointError(f"{folder / missing[0]}: gone, though the checkpoint was written with it")
    mine = sorted(name for name in noted if not items or name.split("/")[0] in items)[index::count]
    found = _digests(folder, mine)
    if wrong := [name for name in mine if found[name] != noted[name]]:
        raise DamagedCheckpointError(f"{folder / wrong[0]}: damaged: its SHA-256 is not the one that was written")
    return True


def _names(folder: epath.Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in _files(folder) if path.name not in _PASSED_OVER)


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    for path in folder.iterdir():  # epath has no rglob: in a bucket it would be slow
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _digests(folder: epath.Path, names: list[str]) -> dict[str, str]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(names, pool.map(lambda name: _sha256(folder / name), names), strict=True))


def _sha256(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
