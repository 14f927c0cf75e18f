"""What the data process tells: one line that changes on a terminal, a line per event elsewhere."""

from types import TracebackType

from rich.console import Console
from rich.status import Status

from maxlm.blocks.manifest import Manifest
from maxlm.blocks.reader import ReaderPosition


class Progress:
    """Writes to standard error, so that a command's output stays its own."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._last = ""

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(f"produce: {line}", markup=False)

    def working(self, what: str) -> None:
        """What is being done now."""
        self._now(f"{what} …")

    def waiting(self, readers: dict[str, ReaderPosition]) -> None:
        """That enough blocks are ahead, and of whom."""
        at = ", ".join(f"{name} at block {reader.block}" for name, reader in readers.items() if not reader.finished)
        self._now(f"far enough ahead; waiting for the training run ({at or 'none has begun'})")

    def finished(self, what: str, manifest: Manifest, seconds: float, waited_s: float = 0.0) -> None:
        """A block that stands, with its shares and its speed."""
        written = manifest.account.written
        parts = [f"{name} {tokens / max(1, written):.1%}" for name, tokens in manifest.domain_tokens.items()]
        line = f"{what}: {written:,} tokens in {manifest.rows:,} rows ({', '.join(parts)})"
        if seconds:
            line += f", {written / seconds:,.0f} tokens/s"
        if waited_s >= 1:
            line += f", after {waited_s:.0f} s of waiting"
        self.say(line)

    def _now(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)
        elif text != self._last:  # a log gets each state once
            self.say(text)
        self._last = text
