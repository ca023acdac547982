"""Files and uploads in the store: their bytes, their rows, expiry, and what is recovered after a loss."""

import hashlib
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from io import BufferedWriter
from pathlib import Path
from typing import Any

from workbench.errors import DataError
from workbench.local.emulation import Clock
from workbench.local.store import database
from workbench.local.store.database import Database, Tidied
from workbench.local.store.jobs import UNFINISHED, Metrics
from workbench.local.store.rows import JSON, Order, StoredFile, Upload

# The files of the service: what was uploaded, and the result files that jobs write.
#
# A file that was answered for is on the disk, whole, and beside it lies what a database that is
# lost needs to know about it again (``file-….json``). An uploaded one may carry the hour at which it
# is removed; a result file is rendered from its job's metrics and lies nowhere.

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
CREATE TABLE IF NOT EXISTS forgotten (
    name TEXT PRIMARY KEY                   -- below the service's folder; to be removed from it
) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS forget_file AFTER DELETE ON files WHEN old.job_id IS NULL
    BEGIN INSERT OR IGNORE INTO forgotten VALUES ('files/' || old.id); END;
CREATE TABLE IF NOT EXISTS uploads (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    filename TEXT NOT NULL,
    purpose TEXT NOT NULL,
    bytes INTEGER NOT NULL,                 -- announced, and checked when the upload is completed
    expires_after INTEGER,                  -- seconds that the file will live; NULL: for good
    status TEXT NOT NULL,
    file_id TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS upload_parts (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    upload_id TEXT NOT NULL REFERENCES uploads (id),
    created_at INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS parts_by_upload ON upload_parts (upload_id, n);
CREATE TRIGGER IF NOT EXISTS forget_part AFTER DELETE ON upload_parts
    BEGIN INSERT OR IGNORE INTO forgotten VALUES ('parts/' || old.id); END;
"""
NOTE = {"id": str, "filename": str, "purpose": str, "created_at": int, "bytes": int}
WITH_EXPIRY = "files LEFT JOIN expiries ON file_id = id"


class LostContentError(DataError):
    """A file that the store knows has lost its bytes, by somebody else's doing."""


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

    def receive(self) -> AbstractContextManager[BufferedWriter]:
        """A place on the store's disk to write an upload to; gone afterwards unless ``keep`` took it."""
        return database.scratch(self._root / "incoming" / uuid.uuid4().hex)

    def keep(
        self, incoming: BufferedWriter, filename: str, purpose: str, *, expires_after: int | None = None
    ) -> StoredFile:
        """Turn what was received into a file of the store, for ``expires_after`` seconds or for good."""
        database.flush(incoming)
        file_id = database.new_id("file")
        note = {
            "id": file_id,
            "filename": filename,
            "purpose": purpose,
            "created_at": int(self._clock.now()),
            "bytes": incoming.tell(),
            "expires_after": expires_after,
        }
        try:
            database.write_note(self._note(file_id), note)
            os.replace(incoming.name, self.path(file_id))
            database.sync(self._root / "files")
            with self._db.change():
                self._db.on_rollback(lambda: self._discard(file_id))
                self._insert(note)
        except BaseException:
            self._discard(file_id)
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
        self, purpose: str | None = None, *, after: str | None, limit: int, order: Order = "desc"
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

    def content(self, file_id: str) -> Path:
        """Where the content of an uploaded file lies, whole; raises ``LostContentError`` when it does not."""
        path = self.path(file_id)
        row = self._db.one("SELECT filename, bytes FROM files WHERE id = ?", (file_id,))
        size = path.stat().st_size if path.exists() else None
        if size is not None and (row is None or size == row["bytes"]):
            return path
        name = f"{file_id} ({row['filename']})" if row else file_id
        wanted = f" instead of {row['bytes']:,}" if row else ""
        found = "is gone from" if size is None else f"has {size:,} bytes{wanted} on"
        raise LostContentError(
            f"The content of {name} {found} the disk of the local service, by nothing that it did itself. "
            f"Put the file back at {path}, or delete it here, upload it again and start what needed it anew."
        )

    def delete(self, file_id: str) -> bool:
        """Forget a file, also on a full disk; a job that still needs it keeps its content until it ends."""
        deleted = self._db.delete("files", "id = ?", file_id) > 0
        if deleted:
            self._note(file_id).unlink(missing_ok=True)
            if file_id not in self.in_use():
                self.path(file_id).unlink(missing_ok=True)
            database.hold_reserve(self._root)
        return deleted

    def job_of(self, file_id: str) -> str | None:
        """The job whose metrics this result file shows; ``None`` for an uploaded file."""
        row = self._db.one("SELECT job_id FROM files WHERE id = ?", (file_id,))
        return row["job_id"] if row else None

    def holdings(self, purpose: str) -> tuple[int, int]:
        """How many files there are for ``purpose``, and their bytes together."""
        self._remove_expired()
        query = "SELECT count(*) AS files, coalesce(sum(bytes), 0) AS bytes FROM files WHERE purpose = ?"
        row = self._db.all(query, (purpose,))[0]
        return row["files"], row["bytes"]

    def in_use(self) -> set[str]:
        """The files whose content a job that has not ended needs, also deleted ones."""
        marks = ", ".join("?" * len(UNFINISHED))
        fields = "json_extract(body, '$.training_file'), json_extract(body, '$.validation_file')"
        rows = self._db.all(f"SELECT {fields} FROM jobs WHERE status IN ({marks})", UNFINISHED)
        return {file_id for row in rows for file_id in row if file_id}

    def tidy(self) -> Tidied:
        """Remove what a killed service left half done; take up files that a lost database knew.

        What no note speaks of is set aside.
        """
        for leftover in (self._root / "incoming").iterdir():
            database.discard(leftover)
        rows = {row["id"]: row for row in self._db.all(f"SELECT * FROM {WITH_EXPIRY} WHERE job_id IS NULL")}
        needed = rows.keys() | self.in_use()
        there = {path.name: path for path in (self._root / "files").iterdir()}
        taken_up, aside = [], 0
        for name, path in there.items():
            content = name.removesuffix(".new").removesuffix(".json")
            if content in needed:
                continue
            if content != name:
                if content not in there:  # the note of a file that did not come to be
                    path.unlink()
            elif note := self._read_note(path):
                taken_up.append(note)
            else:
                database.set_aside(path, self._root)
                aside += 1
                self._root.joinpath("files", f"{name}.json").unlink(missing_ok=True)
        with self._db.change():
            for note in sorted(taken_up, key=lambda note: (note["created_at"], note["id"])):
                self._insert(note)
        for file_id in rows.keys() & there.keys():
            if f"{file_id}.json" not in there:  # of an earlier workbench, which wrote none
                note = {name: rows[file_id][name] for name in NOTE}
                database.write_note(self._note(file_id), note | {"expires_after": rows[file_id]["seconds"]})
        return Tidied(len(taken_up), aside)

    def _remove_expired(self) -> None:
        for row in self._db.all("SELECT id, created_at, seconds FROM expiries JOIN files ON file_id = id"):
            if self._clock.since(row["created_at"]) >= row["seconds"]:
                self.delete(row["id"])

    def _insert(self, note: Mapping[str, object]) -> None:
        # Known already: a start took the file up between its arrival and this transaction of a worker.
        self._db.insert("files", {name: note[name] for name in NOTE}, known="IGNORE")
        if note.get("expires_after") is not None:
            expiry = {"file_id": note["id"], "seconds": note["expires_after"]}
            self._db.insert("expiries", expiry, known="IGNORE")

    def _note(self, file_id: str) -> Path:
        return self.path(file_id).with_name(f"{file_id}.json")

    def _read_note(self, content: Path) -> dict[str, Any] | None:
        """What is known about a content that the database does not know, if that is true."""
        note = database.read_note(content.with_name(f"{content.name}.json"), NOTE)
        if note is None or note["id"] != content.name or note["bytes"] != content.stat().st_size:
            return None
        return note if isinstance(note.get("expires_after"), int | None) else None

    def _discard(self, file_id: str) -> None:
        self.path(file_id).unlink(missing_ok=True)
        self._note(file_id).unlink(missing_ok=True)

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


# Files that come in parts: each part is safely on the disk when it is answered for.
#
# An upload that nobody completes expires after two hours, and its parts with it.

LIFETIME = 7_200  # seconds
CHUNK = 1024 * 1024  # bytes in memory at a time


class Uploads:
    """The uploads of one service."""

    def __init__(self, db: Database, root: Path, files: Files, clock: Clock) -> None:
        """Keep parts in ``root/parts`` until ``files`` gets them as one; uploads expire by ``clock``."""
        self._db, self._root, self._files, self._clock = db, root, files, clock
        self._parts = root / "parts"
        self._parts.mkdir(parents=True, exist_ok=True)

    def add(self, filename: str, purpose: str, size: int, *, expires_after: int | None = None) -> Upload:
        """Announce a file of ``size`` bytes."""
        upload_id = database.new_id("upload", joint="_")
        announced = {"filename": filename, "purpose": purpose, "bytes": size, "expires_after": expires_after}
        now = int(self._clock.now())
        self._db.insert("uploads", {"id": upload_id, "created_at": now, **announced, "status": "pending"})
        return self._need(upload_id)

    def get(self, upload_id: str) -> Upload | None:
        """One upload, or ``None``."""
        self._expire()
        row = self._db.one("SELECT * FROM uploads WHERE id = ?", (upload_id,))
        return self._show(row) if row else None

    def received(self, upload_id: str) -> int:
        """The bytes of all parts together."""
        query = "SELECT coalesce(sum(bytes), 0) AS bytes FROM upload_parts WHERE upload_id = ?"
        return int(self._db.all(query, (upload_id,))[0]["bytes"])

    def receive(self) -> AbstractContextManager[BufferedWriter]:
        """A place on the store's disk to write a part to; gone afterwards unless ``keep`` took it."""
        return database.scratch(self._parts / f"{uuid.uuid4().hex}.new")

    def keep(self, upload_id: str, incoming: BufferedWriter) -> dict[str, JSON] | None:
        """Add what was received as a part; ``None``, and nothing kept, when no more parts are wanted."""
        database.flush(incoming)
        part_id, now = f"part_{Path(incoming.name).stem}", int(self._clock.now())
        database.sync(self._parts)
        wanted = self._db.write(
            "INSERT INTO upload_parts (id, upload_id, created_at, bytes)"
            " SELECT ?, id, ?, ? FROM uploads WHERE id = ? AND status = 'pending'",
            (part_id, now, incoming.tell(), upload_id),
        )
        if not wanted:
            return None
        os.replace(incoming.name, self._parts / part_id)  # after a kill just before, ``tidy`` does it
        return {"id": part_id, "object": "upload.part", "created_at": now, "upload_id": upload_id}

    def complete(
        self,
        upload_id: str,
        part_ids: Sequence[str],
        *,
        md5: str | None = None,
        examine: Callable[[BufferedWriter, str, str], None] | None = None,
    ) -> Upload:
        """Make one file of the parts, in the order given; ``md5`` is that of the whole, in hexadecimal.

        Raises ``DataError`` when the parts are not what was announced, and whatever ``examine`` raises of
        the whole, its name and its purpose; the upload then stays open.
        """
        upload = self._need(upload_id)
        known = self._part_ids(upload_id)
        strangers = [part_id for part_id in part_ids if part_id not in known]
        if strangers:
            raise DataError(f"{strangers[0][:80]!r} is no part of {upload_id}; it has {len(known)} parts.")
        with self._files.receive() as whole:
            digest = hashlib.md5(usedforsecurity=False)
            for part_id in part_ids:
                if not (self._parts / part_id).exists():
                    found = f"The bytes of {part_id} are gone from the disk of the local service"
                    raise DataError(f"{found}; send that part again, and complete with the new id.")
                with (self._parts / part_id).open("rb") as part:
                    while chunk := part.read(CHUNK):
                        whole.write(chunk)
                        digest.update(chunk)
            if whole.tell() != upload["bytes"]:
                found = f"The parts have {whole.tell():,} bytes, but {upload['bytes']:,} were announced"
                raise DataError(f"{found}; list every part once, in order, or start the upload anew.")
            if md5 is not None and md5.lower() != digest.hexdigest():
                found = f"The parts arrived with the md5 {digest.hexdigest()}, not {md5[:40]}"
                raise DataError(f"{found}; check the order of part_ids and send the damaged part again.")
            if examine is not None:
                examine(whole, upload["filename"], upload["purpose"])
            database.flush(whole)  # now, because nobody can use the database below
            with self._db.change() as db:
                row = db.execute("SELECT * FROM uploads WHERE id = ?", (upload_id,)).fetchone()
                if row["status"] != "pending":
                    raise DataError(f"{upload_id} is {row['status']} already.")
                name, purpose = upload["filename"], upload["purpose"]
                file = self._files.keep(whole, name, purpose, expires_after=row["expires_after"])
                change = "UPDATE uploads SET status = 'completed', file_id = ? WHERE id = ?"
                db.execute(change, (file["id"], upload_id))
        self._drop_parts(upload_id)
        return self._need(upload_id)

    def cancel(self, upload_id: str) -> Upload | None:
        """Take no more parts and forget those that came; ``None`` when the upload is not open any more."""
        return self._need(upload_id) if self._end(upload_id, "cancelled") else None

    def tidy(self) -> Tidied:
        """Remove parts that a killed service left half done; set those aside of which nobody knows."""
        self._expire()
        ended = "SELECT DISTINCT upload_id FROM upload_parts JOIN uploads ON upload_id = uploads.id"
        for row in self._db.all(f"{ended} WHERE status != 'pending'"):  # killed before this was done
            self._drop_parts(row["upload_id"])
        parts = "SELECT upload_parts.id FROM upload_parts JOIN uploads ON upload_id = uploads.id"
        needed = {row["id"] for row in self._db.all(f"{parts} WHERE status = 'pending'")}
        aside = 0
        for part in sorted(self._parts.iterdir()):
            if part.suffix == ".new" and f"part_{part.stem}" in needed:
                part.replace(self._parts / f"part_{part.stem}")
            elif part.suffix == ".new":
                database.discard(part)
            elif part.name not in needed:
                database.set_aside(part, self._root)
                aside += 1
        return Tidied(set_aside=aside)

    def _expire(self) -> None:
        for row in self._db.all("SELECT id, created_at FROM uploads WHERE status = 'pending'"):
            if self._clock.since(row["created_at"]) >= LIFETIME:
                self._end(row["id"], "expired")

    def _end(self, upload_id: str, status: str) -> bool:
        change = "UPDATE uploads SET status = ? WHERE id = ? AND status = 'pending'"
        ended = self._db.remove(lambda db: db.execute(change, (status, upload_id)).rowcount)
        if ended:
            self._drop_parts(upload_id)
        return bool(ended)

    def _drop_parts(self, upload_id: str) -> None:
        part_ids = self._part_ids(upload_id)
        self._db.delete("upload_parts", "upload_id = ?", upload_id)
        for part_id in part_ids:
            (self._parts / part_id).unlink(missing_ok=True)
        database.hold_reserve(self._root)

    def _part_ids(self, upload_id: str) -> set[str]:
        rows = self._db.all("SELECT id FROM upload_parts WHERE upload_id = ?", (upload_id,))
        return {row["id"] for row in rows}

    def _need(self, upload_id: str) -> Upload:
        found = self.get(upload_id)
        if found is None:
            raise DataError(f"There is no upload {upload_id[:80]!r} on this service.")
        return found

    def _show(self, row: sqlite3.Row) -> Upload:
        upload: Upload = {
            "id": row["id"],
            "object": "upload",
            "bytes": row["bytes"],
            "created_at": row["created_at"],
            "filename": row["filename"],
            "purpose": row["purpose"],
            "status": row["status"],
            "expires_at": int(self._clock.ends(row["created_at"], LIFETIME)),
        }
        file = self._files.get(row["file_id"]) if row["file_id"] else None
        if file is not None:
            upload["file"] = file
        return upload
