"""The database of the service: transactions, damage, full disks, identifiers; files surely on disk."""

import errno
import hashlib
import json
import os
import shutil
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, TypeAlias, TypeVar

from workbench.errors import DataError, SetupError
from workbench.local.store.rows import Order

# What the store asks of the disk: that something stays, that space is left, that nothing unknown is lost.

# The one database file of the service: its transactions, its pages, its complaints.
#
# Server and worker processes have the same file open at the same time. A change is on the disk
# when its transaction ends.

RESERVE = 2 * 1024 * 1024  # bytes; deleting a file writes a few pages of 4 KiB to the database's log
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def sync(path: Path) -> None:
    """Return when a file, or the list of names in a folder, survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush(stream: IO[Any]) -> None:
    """Return when what was written to ``stream`` survives a power cut."""
    stream.flush()
    os.fsync(stream.fileno())


@contextmanager
def scratch(path: Path) -> Iterator[BufferedWriter]:
    """A new file at ``path`` to write to; gone afterwards unless somebody moved it away."""
    try:
        with path.open("xb") as incoming:
            yield incoming
    finally:
        path.unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether this, or what it came from, says that no space is left: SQLite, the system, or a library.

    torch says that the file it wrote is not the one it meant, and keeps the system's error as the
    context; safetensors has the system's number in its text only.
    """
    if isinstance(error, sqlite3.Error):
        # The second: the index of the log, a file beside it, cannot grow.
        known = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
        says_so = getattr(error, "sqlite_errorcode", None) in known
    elif isinstance(error, OSError):
        says_so = error.errno in NO_SPACE
    else:
        says_so = any(f"(os error {number})" in str(error) for number in NO_SPACE)
    earlier = error.__cause__ or error.__context__
    return says_so or (earlier is not None and is_disk_full(earlier))


def has_space(folder: Path, size: int) -> bool:
    """Whether ``size`` bytes can be written in ``folder`` now; tried, because a quota shows in no number."""
    return _allocate(folder / f"space.{os.getpid()}.new", size, keep=False)


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
    """Make a file of ``size`` bytes that really has them on the disk; nothing stays when it is full."""
    whole = False
    try:
        with path.open("wb") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            else:
                stream.write(bytes(size))
        whole = True
    except OSError as error:
        if error.errno not in NO_SPACE:
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
        flush(stream)
    fresh.replace(path)


def read_note(path: Path, kinds: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any] | None:
    """What ``write_note`` wrote; ``None`` when it is not there, or not of these fields and types."""
    try:
        note = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    fits = isinstance(note, dict) and all(isinstance(note.get(name), kind) for name, kind in kinds.items())
    return note if fits else None


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


VERSION = 1
Result = TypeVar("Result")
Values: TypeAlias = tuple[object, ...]


class Database:
    """One open connection, usable from several threads, one at a time."""

    def __init__(self, path: Path, tables: tuple[str, ...] = ()) -> None:
        """Open the file, making it first if need be.

        ``tables`` are each subject's own: ``CREATE TABLE IF NOT EXISTS …`` statements, each ended by ``;``
        and a line break, so that a table that came later is added to an older file.

        Raises ``SetupError`` when it is damaged, out of reach, or made by a newer workbench.
        """
        self.path = path
        self._lock = threading.RLock()
        self._undo: list[Callable[[], object]] = []
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        try:
            try:
                version = self._prepare(tables)
            except sqlite3.OperationalError as error:
                if not is_disk_full(error) or not release_reserve(path.parent):
                    raise
                version = self._prepare(tables)
        except sqlite3.OperationalError as error:  # full, locked, not allowed: the file itself may be fine
            self.close()
            message = f"{path} cannot be opened: {error}. Look at the disk's free space and rights."
            raise SetupError(message) from error
        except sqlite3.DatabaseError as error:
            self.close()
            raise SetupError(self._damaged(error)) from error
        if version != VERSION:
            self.close()
            raise SetupError(
                f"{path} was made by a newer workbench (its version is {version}, this one knows {VERSION}); "
                "update the workbench, or give WORKBENCH_HOME another folder."
            )

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def check(self) -> None:
        """Read the whole file once; raises ``SetupError`` when it is damaged."""
        try:
            finding = str(self.all("PRAGMA quick_check(1)")[0][0])
        except sqlite3.DatabaseError as error:
            finding = str(error)
        if finding != "ok":
            raise SetupError(self._damaged(finding))

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, or a part of the one that is open."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            try:
                with self._connection:  # commits, or rolls back on an error
                    self._connection.execute("BEGIN IMMEDIATE")
                    yield self._connection
            except BaseException:
                for undo in self._undo:
                    undo()
                raise
            finally:
                self._undo.clear()

    def write(self, statement: str, values: Iterable[object] = ()) -> int:
        """One statement as a transaction, or as a part of the one that is open; how many rows it changed."""
        with self.change() as db:
            return db.execute(statement, tuple(values)).rowcount

    def insert(
        self, table: str, row: Mapping[str, object], *, known: Literal["ABORT", "IGNORE", "REPLACE"] = "ABORT"
    ) -> None:
        """Add a row; ``known`` is what becomes of one that is there already."""
        marks = ", ".join("?" * len(row))
        self.write(f"INSERT OR {known} INTO {table} ({', '.join(row)}) VALUES ({marks})", row.values())

    def on_rollback(self, undo: Callable[[], object]) -> None:
        """Call ``undo`` when the transaction that is open comes to nothing."""
        self._undo.append(undo)

    def remove(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        """``action`` as one transaction that frees space: on a full disk it may use the space kept aside."""
        with self._lock:
            nested = self._connection.in_transaction
            try:
                with self.change() as db:
                    return action(db)
            except sqlite3.OperationalError as error:
                if nested or not is_disk_full(error) or not release_reserve(self.path.parent):
                    raise
            with self.change() as db:
                return action(db)

    def delete(self, table: str, where: str, *values: object) -> int:
        """Delete rows whose files are removed next, so also on a full disk; how many there were."""
        return self.remove(lambda db: db.execute(f"DELETE FROM {table} WHERE {where}", values).rowcount)

    def all(self, query: str, values: Iterable[object] = ()) -> list[sqlite3.Row]:
        """All rows that ``query`` finds."""
        with self._lock:
            return self._connection.execute(query, tuple(values)).fetchall()

    def one(self, query: str, values: Iterable[object] = ()) -> sqlite3.Row | None:
        """The first row that ``query`` finds, if any."""
        return next(iter(self.all(query, values)), None)

    def page(
        self, table: str, where: str, values: Values, *, after: str | None, limit: int, order: Order = "desc"
    ) -> tuple[list[sqlite3.Row], bool]:
        """Up to ``limit`` rows in order of arrival, the newest first, and whether more follow.

        Continues after the row whose id is ``after``; raises ``DataError`` when there is none.
        """
        if after is not None:
            last = self.one(f"SELECT n FROM {table} WHERE id = ? AND {where}", (after, *values))
            if last is None:
                raise DataError(f"There is no {after[:80]!r} in this list; give a page's last id.")
            where, values = f"{where} AND n {'<' if order == 'desc' else '>'} ?", (*values, last["n"])
        query = f"SELECT * FROM {table} WHERE {where} ORDER BY n {order} LIMIT ?"
        rows = self.all(query, (*values, limit + 1))
        return rows[:limit], len(rows) > limit

    def _prepare(self, tables: Iterable[str]) -> int:
        for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {setting}")
        with self.change() as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version == 0:
                connection.execute(f"PRAGMA user_version = {(version := VERSION)}")
            for group in tables:
                # One by one: executescript would commit the transaction first.
                for statement in group.split(";\n"):
                    connection.execute(statement)
        return version

    def _damaged(self, finding: object) -> str:
        return (
            f"{self.path} is damaged ({finding}). Put back a copy of it, or move it and its -wal and -shm "
            "companions away: the next start makes a new one and takes up the files, the jobs that have "
            "ended and the tuned models that lie beside it. Jobs that have not ended, deployments and "
            "stored completions are in the damaged file only."
        )


# The ids of everything the service keeps, in the form that Azure gives them.


def new_id(kind: str, *, joint: str = "-") -> str:
    """An id nobody has seen: ``file-`` and 32 hexadecimal digits."""
    return f"{kind}{joint}{uuid.uuid4().hex}"


def derived_id(kind: str, *parts: str) -> str:
    """An id that is the same whenever it is made of the same parts."""
    return f"{kind}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"
