"""What the store asks of the disk: that something stays, and whether any room is left."""

import errno
import os
import sqlite3
from pathlib import Path


def sync(path: Path) -> None:
    """Return when a file, or the list of names in a folder, survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_disk_full(error: BaseException) -> bool:
    """Whether this is SQLite's or the operating system's way to say that no space is left."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
