"""The files of the service: what was uploaded, and the result files that jobs write.

A file that was answered for is on the disk, whole. An uploaded one may carry the hour at which
it is removed; a result file is rendered from its job's metrics and lies nowhere.
"""

import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import Literal, NamedTuple

from workbench.errors import DataError
from workbench.local.clock import Clock
from workbench.local.storage.database import Database
from workbench.local.storage.disk import sync
from workbench.local.storage.ids import new_id
from workbench.local.storage.jobs import UNFINISHED
from workbench.local.storage.metrics import Metrics
from workbench.local.storage.rows import StoredFile

TABLES = """
CREATE TABLE IF NOT EXISTS files (
    n INTEGER PRIMARY KEY AUTOINCREMENT,    -- the order of arrival; pages continue from here
    id TEXT NOT NULL UNIQUE,
    filename TEXT NOT NULL,
    purpose TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    bytes INTEGER,                          -- NULL: nobody counted yet; ask the job's metrics
    job_id TEXT UNIQUE REFERENCES jobs (id) -- set: rendered from this job's metrics, nothing on disk
) STRICT;
CREATE TABLE IF NOT EXISTS expiries (
    file_id TEXT PRIMARY KEY REFERENCES files (id) ON DELETE CASCADE,
    seconds INTEGER NOT NULL                -- of the service's clock, since the file was made
) STRICT, WITHOUT ROWID;
"""
WITH_EXPIRY = "files LEFT JOIN expiries ON file_id = id"


class Holdings(NamedTuple):
    """How much is stored for one purpose."""

    files: int
    bytes: int


class Files:
    """The files of one service."""

    def __init__(self, db: Database, root: Path, metrics: Metrics, clock: Clock) -> None:
        """Keep contents in ``root/files``; files expire by ``clock``."""
        self._db, self._root, self._metrics, self._clock = db, root, metrics, clock
        for folder in ("files", "incoming"):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def add(self, filename: str, purpose: str, chunks: Iterable[bytes]) -> StoredFile:
        """Keep ``chunks`` as a file; once this has returned it survives a power cut."""
        with self.receive() as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            return self.keep(incoming, filename, purpose)

    @contextmanager
    def receive(self) -> Iterator[BufferedWriter]:
        """A place on the store's disk to write an upload to; gone afterwards unless ``keep`` took it."""
        path = self._root / "incoming" / uuid.uuid4().hex
        try:
            with path.open("xb") as incoming:
                yield incoming
        finally:
            path.unlink(missing_ok=True)

    def keep(
        self, incoming: BufferedWriter, filename: str, purpose: str, *, expires_after: int | None = None
    ) -> StoredFile:
        """Turn what was received into a file of the store, for ``expires_after`` seconds or for good."""
        incoming.flush()
        os.fsync(incoming.fileno())
        file_id = new_id("file")
        os.replace(incoming.name, self.path(file_id))
        try:
            sync(self._root / "files")
            with self._db.change() as db:
                db.execute(
                    "INSERT INTO files (id, filename, purpose, created_at, bytes) VALUES (?, ?, ?, ?, ?)",
                    (file_id, filename, purpose, int(self._clock.now()), incoming.tell()),
                )
                if expires_after is not None:
                    db.execute("INSERT INTO expiries VALUES (?, ?)", (file_id, expires_after))
        except BaseException:
            self.path(file_id).unlink(missing_ok=True)
            raise
        kept = self.get(file_id)
        assert kept is not None
        return kept

    def get(self, file_id: str) -> StoredFile | None:
        """One file, or ``None``; the size of a result file is what it holds at this moment."""
        self._remove_expired()
        row = self._db.one(f"SELECT * FROM {WITH_EXPIRY} WHERE id = ?", (file_id,))
        return self._show(row) if row else None

    def page(
        self,
        purpose: str | None = None,
        *,
        after: str | None,
        limit: int,
        order: Literal["asc", "desc"] = "desc",
    ) -> tuple[list[StoredFile], bool]:
        """A page of files and whether more follow; ``DataError`` when ``after`` is none of them."""
        self._remove_expired()
        where, values = ("purpose = ?", (purpose,)) if purpose else ("TRUE", ())
        rows, more = self._db.page(WITH_EXPIRY, where, values, after=after, limit=limit, order=order)
        return [self._show(row) for row in rows], more

    def path(self, file_id: str) -> Path:
        """Where the content of an uploaded file lies; a result file has none (see ``Metrics.csv``)."""
        name = file_id.removeprefix("file-")
        if len(name) != 32 or not set(name) <= set("0123456789abcdef"):
            raise DataError(f"{file_id[:80]!r} is no file id: those are file- and 32 hexadecimal digits.")
        return self._root / "files" / f"file-{name}"

    def delete(self, file_id: str) -> bool:
        """Forget a file; a job that still needs it keeps its content until it ends."""
        with self._db.change() as db:
            deleted = db.execute("DELETE FROM files WHERE id = ?", (file_id,)).rowcount > 0
        if deleted and file_id not in self._in_use():
            self.path(file_id).unlink(missing_ok=True)
        return deleted

    def job_of(self, file_id: str) -> str | None:
        """The job whose metrics this result file shows; ``None`` for an uploaded file."""
        row = self._db.one("SELECT job_id FROM files WHERE id = ?", (file_id,))
        return row["job_id"] if row else None

    def holdings(self, purpose: str) -> Holdings:
        """How many files there are for ``purpose``, and their bytes together."""
        self._remove_expired()
        query = "SELECT count(*) AS files, coalesce(sum(bytes), 0) AS bytes FROM files WHERE purpose = ?"
        row = self._db.all(query, (purpose,))[0]
        return Holdings(row["files"], row["bytes"])

    def tidy(self) -> None:
        """Remove what a killed service left half done, and contents that nobody needs any more."""
        for leftover in (self._root / "incoming").iterdir():
            leftover.unlink()
        needed = {row["id"] for row in self._db.all("SELECT id FROM files")} | self._in_use()
        for content in (self._root / "files").iterdir():
            if content.name not in needed:
                content.unlink()

    def _remove_expired(self) -> None:
        for row in self._db.all("SELECT id, created_at, seconds FROM expiries JOIN files ON file_id = id"):
            if self._clock.since(row["created_at"]) >= row["seconds"]:
                self.delete(row["id"])

    def _in_use(self) -> set[str]:
        marks = ", ".join("?" * len(UNFINISHED))
        fields = "json_extract(body, '$.training_file'), json_extract(body, '$.validation_file')"
        rows = self._db.all(f"SELECT {fields} FROM jobs WHERE status IN ({marks})", UNFINISHED)
        return {file_id for row in rows for file_id in row if file_id}

    def _show(self, row: sqlite3.Row) -> StoredFile:
        file: StoredFile = {
            "id": row["id"],
            "bytes": row["bytes"] if row["bytes"] is not None else len(self._metrics.csv(row["job_id"])),
            "created_at": row["created_at"],
            "filename": row["filename"],
            "object": "file",
            "purpose": row["purpose"],
            "status": "processed",
        }
        if row["seconds"] is not None:
            file["expires_at"] = int(self._clock.ends(row["created_at"], row["seconds"]))
        return file
