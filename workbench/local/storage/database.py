"""The one database file of the service: its transactions, its pages, its complaints.

Server and worker processes have the same file open at the same time. A change is on the disk
when its transaction ends.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from workbench.errors import DataError, SetupError
from workbench.local.storage.disk import is_disk_full, release_reserve

VERSION = 1
Result = TypeVar("Result")


class Database:
    """One open connection, usable from several threads, one at a time."""

    def __init__(self, path: Path, tables: Iterable[str] = ()) -> None:
        """Open the file, making it first if need be.

        ``tables`` are the rooms' own: ``CREATE TABLE IF NOT EXISTS …`` statements, each ended by ``;``
        and a line break, so that a room that comes later finds its place in an older file.

        Raises ``SetupError`` when it is damaged, out of reach, or made by a newer workbench.
        """
        self.path = path
        self._lock = threading.RLock()
        self._undo: list[Callable[[], object]] = []
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        tables = tuple(tables)
        try:
            try:
                version = self._prepare(tables)
            except sqlite3.OperationalError as error:
                if not is_disk_full(error) or not release_reserve(path.parent):
                    raise
                version = self._prepare(tables)
        except sqlite3.OperationalError as error:  # full, locked, not allowed: the file itself may be fine
            self.close()
            raise SetupError(
                f"{path} cannot be opened: {error}. Look at the disk's free space and rights."
            ) from error
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

    def on_rollback(self, undo: Callable[[], object]) -> None:
        """Call ``undo`` when the transaction that is open comes to nothing."""
        self._undo.append(undo)

    def remove(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        """``action`` as one transaction that makes room: on a full disk it may use the space kept aside."""
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

    def all(self, query: str, values: Iterable[object] = ()) -> list[sqlite3.Row]:
        """All rows that ``query`` finds."""
        with self._lock:
            return self._connection.execute(query, tuple(values)).fetchall()

    def one(self, query: str, values: Iterable[object] = ()) -> sqlite3.Row | None:
        """The first row that ``query`` finds, if any."""
        rows = self.all(query, values)
        return rows[0] if rows else None

    def page(
        self,
        table: str,
        where: str,
        values: tuple[object, ...],
        *,
        after: str | None,
        limit: int,
        order: Literal["asc", "desc"] = "desc",
    ) -> tuple[list[sqlite3.Row], bool]:
        """Up to ``limit`` rows in order of arrival, the newest first, and whether more follow.

        Continues after the row whose id is ``after``; raises ``DataError`` when there is none.
        """
        if after is not None:
            last = self.one(f"SELECT n FROM {table} WHERE id = ? AND {where}", (after, *values))
            if last is None:
                raise DataError(
                    f"There is no {after[:80]!r} in this list; give the last id of the page before."
                )
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
                connection.execute(f"PRAGMA user_version = {VERSION}")
                version = VERSION
            for room in tables:
                # One by one: executescript would commit the transaction first.
                for statement in room.split(";\n"):
                    connection.execute(statement)
        return version

    def _damaged(self, finding: object) -> str:
        return (
            f"{self.path} is damaged ({finding}). Put back a copy of it, or move it and its -wal and -shm "
            "companions away: the next start makes a new one and takes up the files, the jobs that have "
            "ended and the tuned models that lie beside it. Jobs that have not ended, deployments and "
            "stored completions are in the damaged file only."
        )
