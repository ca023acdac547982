"""What the service writes into its log: short, bounded at every line, and never a reason to end.

The log is ``service.log`` in the home of a service that was started in the background, else the terminal.
"""

import logging
import os
import stat
import sys
import time
from pathlib import Path

BOUND = 4 * 1024 * 1024  # bytes
KEPT = 1024 * 1024
REPEATS = 5  # how often one message stands in the log within a minute
MINUTE = 60.0  # seconds


def note(message: str) -> None:
    """Write a line into the log; a log that cannot be written to is no reason to stop working."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:  # the disk is full, or the terminal is gone
        return


class Once:
    """Notes a trouble when it begins and, with the same name, not again before it is over."""

    def __init__(self) -> None:
        """Nothing is wrong yet."""
        self._begun: set[str] = set()

    def begins(self, name: str, message: str) -> None:
        """Note the trouble called ``name``, unless it is known."""
        if name not in self._begun:
            self._begun.add(name)
            note(message)

    def is_over(self, name: str) -> None:
        """The trouble called ``name``, if there was any, is over."""
        self._begun.discard(name)


class BoundedLog(logging.StreamHandler):  # type: ignore[type-arg]
    """The one handler of the service: a message said often is counted, and a log too long loses its head."""

    def __init__(self, log: Path) -> None:
        """Write to the standard error; ``log`` is cut when that is where it leads."""
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._log = log
        self._said: dict[tuple[str, str], int] = {}
        self._since = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless the same one stands there often enough."""
        now = time.monotonic()
        if now - self._since > MINUTE:
            unsaid = sum(max(0, count - REPEATS) for count in self._said.values())
            self._said, self._since = {}, now
            if unsaid:
                note(f"{unsaid:,} more messages like those above were left out.")
        raised = record.exc_info[0] if record.exc_info else None
        message = (f"{record.name}: {str(record.msg)[:200]}", raised.__name__ if raised else "")
        self._said[message] = self._said.get(message, 0) + 1
        if self._said[message] <= REPEATS:
            super().emit(record)
            cut_log(self._log)


def cut_log(log: Path) -> None:
    """Keep the end of a log that has grown beyond the bound; raises no ``OSError``."""
    try:
        if not log.exists() or log.stat().st_size <= BOUND:
            return
        with log.open("r+b") as stream:
            stream.seek(-KEPT, os.SEEK_END)
            kept = stream.read()
            stream.truncate(0)
            stream.seek(0)
            stream.write(kept)
    except OSError:
        _empty_standard_error()


def _empty_standard_error() -> None:
    """The last resort where no file can be opened: the log is open already as the standard error."""
    try:
        found = os.fstat(2)
        if stat.S_ISREG(found.st_mode) and found.st_size > 2 * BOUND:
            os.ftruncate(2, 0)
    except OSError:
        return
