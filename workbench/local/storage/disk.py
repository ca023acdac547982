"""What the store asks of the disk: that something stays, that room is left, that nothing unknown is lost."""

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

RESERVE = 2 * 1024 * 1024  # bytes; deleting a file writes a few pages of 4 KiB to the database's log
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def sync(path: Path) -> None:
    """Return when a file, or the list of names in a folder, survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_disk_full(error: BaseException) -> bool:
    """Whether this, or what it came from, says that no space is left: SQLite, the system, or a library.

    torch says that the file it wrote is not the one it meant, and keeps the system's error as the
    context; safetensors has the system's number in its text only.
    """
    return any(_says_full(link) for link in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _says_full(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        # The second: the index of the log, a file beside it, cannot grow.
        known = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
        return getattr(error, "sqlite_errorcode", None) in known
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    return any(f"(os error {number})" in str(error) for number in NO_ROOM)


def has_room(folder: Path, size: int) -> bool:
    """Whether ``size`` bytes can be written in ``folder`` now; tried, because a quota shows in no number."""
    return _allocate(folder / f"room.{os.getpid()}.new", size, keep=False)


def hold_reserve(folder: Path) -> bool:
    """Keep some space aside in ``folder``, if there is any; ``False`` when there is not enough."""
    reserve = folder / "reserve"
    try:
        return reserve.exists() or _allocate(reserve, RESERVE, keep=True)
    except OSError:  # whatever it is, what is to be written next will tell
        return False


def release_reserve(folder: Path) -> bool:
    """Give the space kept aside in ``folder`` to what is to be written next; ``False`` when none was."""
    try:
        (folder / "reserve").unlink()
    except FileNotFoundError:
        return False
    return True


def _allocate(path: Path, size: int, *, keep: bool) -> bool:
    """Make a file of ``size`` bytes that really has them on the disk; nothing stays when there is no room."""
    whole = False
    try:
        with path.open("wb") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            else:
                stream.write(bytes(size))
        whole = True
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
    finally:
        if not (whole and keep):
            path.unlink(missing_ok=True)
    return whole


# What lies beside the database


class Tidied(NamedTuple):
    """What a start found on the disk that the database did not know."""

    taken_up: int = 0
    set_aside: int = 0


def write_note(path: Path, note: Mapping[str, object]) -> None:
    """Write ``note`` as JSON, whole or not at all; it survives a power cut once its folder is synced."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("w", encoding="utf-8") as stream:
        json.dump(note, stream)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def read_note(path: Path, kinds: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any] | None:
    """What ``write_note`` wrote; ``None`` when it is not there, or not of these fields and types."""
    try:
        note = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(note, dict) or not all(
        isinstance(note.get(name), kind) for name, kind in kinds.items()
    ):
        return None
    return note


def set_aside(path: Path, root: Path) -> None:
    """Move what nobody knows to ``root/orphaned``, under the name that it has below ``root``."""
    place = root / "orphaned" / path.relative_to(root)
    place.parent.mkdir(parents=True, exist_ok=True)
    free, number = place, 1
    while free.exists() or free.is_symlink():
        number += 1
        free = place.with_name(f"{place.name}.{number}")
    path.replace(free)


def discard(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
