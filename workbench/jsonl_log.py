"""Files of JSON lines that only grow, and files that are replaced: on disk, whole, when a call returns.

A crash costs the line that it cut short and no other. Several threads and several kernels may write to
the same file. Here too: what a disk or a user's text file refuses, said in a sentence.
"""

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from workbench.errors import DataError, SetupError

JSON: TypeAlias = "str | int | float | bool | Sequence[JSON] | Mapping[str, JSON] | None"

PATIENCE = 600.0  # seconds; whoever holds a lock may be uploading a file


def append(path: Path, line: bytes) -> None:
    """Write a line, without its end, behind the others."""
    with locked(path.with_suffix(".lock"), path.name), writing(path), path.open("a+b") as file:
        torn = False
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"  # by a crash; what it left must not swallow this line
        file.write((b"\n" if torn else b"") + line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def objects(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of all whole lines, oldest first; what a crash left of a line is none."""
    for line in path.read_bytes().split(b"\n") if path.is_file() else ():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def new_lines(path: Path, read_to: int) -> tuple[list[bytes], int]:
    """The whole lines behind the byte ``read_to``, and the byte that they end at.

    A file that is shorter than ``read_to`` was deleted and begun anew: then all its lines are given, and
    their end lies before ``read_to``.
    """
    size = path.stat().st_size if path.is_file() else 0
    start = read_to if size >= read_to else 0
    if size == start:
        return [], start
    with path.open("rb") as file:
        file.seek(start)
        # What stands behind the last line's end was cut by a crash, or is just being written.
        whole, end, _ = file.read().rpartition(b"\n")
    return whole.split(b"\n"), start + len(whole + end)


@contextmanager
def locked(path: Path, what: str, timeout: float = PATIENCE) -> Iterator[None]:
    """Let only one kernel at a time work on ``what``; ``timeout`` is in seconds.

    The system frees the lock when its holder ends, however that ends.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    with writing(path):
        try:
            lock.acquire(timeout=timeout)
        except Timeout as error:
            raise SetupError(
                f"Another kernel has been at work on {what} for {timeout:.0f} s; "
                "wait for it or shut it down, then run this again."
            ) from error
    try:
        yield
    finally:
        lock.release()


def read_text(path: Path) -> str:
    """The text of a user's file; ``DataError`` where it cannot be read, or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8.") from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, in the place of one that is there."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with writing(path):
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make the folder of ``path``, and say in a sentence when the disk refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise SetupError(
            f"{path} cannot be written: {error.strerror or error}. "
            "Free some space, or set WORKBENCH_HOME to another folder."
        ) from error
