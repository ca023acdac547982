"""Files that come in parts: each part is safely on the disk when it is answered for.

An upload that nobody completes expires after two hours, and its parts with it.
"""

import hashlib
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path

from workbench.errors import DataError
from workbench.local.clock import Clock
from workbench.local.storage.database import Database
from workbench.local.storage.disk import Tidied, discard, hold_reserve, set_aside, sync
from workbench.local.storage.files import Files
from workbench.local.storage.ids import new_id
from workbench.local.storage.rows import Upload, UploadPart

LIFETIME = 7_200  # seconds
CHUNK = 1024 * 1024  # bytes in memory at a time

TABLES = """
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


class Uploads:
    """The uploads of one service."""

    def __init__(self, db: Database, root: Path, files: Files, clock: Clock) -> None:
        """Keep parts in ``root/parts`` until ``files`` gets them as one; uploads expire by ``clock``."""
        self._db, self._root, self._files, self._clock = db, root, files, clock
        self._parts = root / "parts"
        self._parts.mkdir(parents=True, exist_ok=True)

    def add(self, filename: str, purpose: str, size: int, *, expires_after: int | None = None) -> Upload:
        """Announce a file of ``size`` bytes."""
        upload_id = new_id("upload", joint="_")
        with self._db.change() as db:
            db.execute(
                "INSERT INTO uploads (id, created_at, filename, purpose, bytes, expires_after, status)"
                " VALUES (?, ?, ?, ?, ?, ?, 'pending')",
                (upload_id, int(self._clock.now()), filename, purpose, size, expires_after),
            )
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

    @contextmanager
    def receive(self) -> Iterator[BufferedWriter]:
        """A place on the store's disk to write a part to; gone afterwards unless ``keep`` took it."""
        path = self._parts / f"{uuid.uuid4().hex}.new"
        try:
            with path.open("xb") as incoming:
                yield incoming
        finally:
            path.unlink(missing_ok=True)

    def keep(self, upload_id: str, incoming: BufferedWriter) -> UploadPart | None:
        """Add what was received as a part; ``None``, and nothing kept, when no more parts are wanted."""
        incoming.flush()
        os.fsync(incoming.fileno())
        part: UploadPart = {
            "id": f"part_{Path(incoming.name).stem}",
            "object": "upload.part",
            "created_at": int(self._clock.now()),
            "upload_id": upload_id,
        }
        sync(self._parts)
        with self._db.change() as db:
            wanted = db.execute(
                "INSERT INTO upload_parts (id, upload_id, created_at, bytes)"
                " SELECT ?, id, ?, ? FROM uploads WHERE id = ? AND status = 'pending'",
                (part["id"], part["created_at"], incoming.tell(), upload_id),
            )
        if not wanted.rowcount:
            return None
        os.replace(incoming.name, self._parts / part["id"])  # after a kill just before, ``tidy`` does it
        return part

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
                    raise DataError(
                        f"The bytes of {part_id} are gone from the disk of the local service, by nothing "
                        "that it did itself; send that part again, and complete the upload with the new id."
                    )
                with (self._parts / part_id).open("rb") as part:
                    while chunk := part.read(CHUNK):
                        whole.write(chunk)
                        digest.update(chunk)
            if whole.tell() != upload["bytes"]:
                raise DataError(
                    f"The parts have {whole.tell():,} bytes, but {upload['bytes']:,} were announced; "
                    "list every part once, in order, or start the upload anew."
                )
            if md5 is not None and md5.lower() != digest.hexdigest():
                raise DataError(
                    f"The parts arrived with the md5 {digest.hexdigest()}, not {md5[:40]}; "
                    "check the order of part_ids and send the damaged part again."
                )
            if examine is not None:
                examine(whole, upload["filename"], upload["purpose"])
            whole.flush()
            os.fsync(whole.fileno())  # now, because nobody can use the database below
            with self._db.change() as db:
                row = db.execute("SELECT * FROM uploads WHERE id = ?", (upload_id,)).fetchone()
                if row["status"] != "pending":
                    raise DataError(f"{upload_id} is {row['status']} already.")
                file = self._files.keep(
                    whole, upload["filename"], upload["purpose"], expires_after=row["expires_after"]
                )
                db.execute(
                    "UPDATE uploads SET status = 'completed', file_id = ? WHERE id = ?",
                    (file["id"], upload_id),
                )
        self._drop_parts(upload_id)
        return self._need(upload_id)

    def cancel(self, upload_id: str) -> Upload | None:
        """Take no more parts and forget those that came; ``None`` when the upload is not open any more."""
        if not self._end(upload_id, "cancelled"):
            return None
        return self._need(upload_id)

    def tidy(self) -> Tidied:
        """Remove parts that a killed service left half done; set those aside of which nobody knows."""
        self._expire()
        ended = "SELECT DISTINCT upload_id FROM upload_parts JOIN uploads ON upload_id = uploads.id"
        for row in self._db.all(f"{ended} WHERE status != 'pending'"):  # killed before this was done
            self._drop_parts(row["upload_id"])
        rows = self._db.all(
            "SELECT upload_parts.id FROM upload_parts JOIN uploads ON upload_id = uploads.id"
            " WHERE status = 'pending'"
        )
        needed, aside = {row["id"] for row in rows}, 0
        for part in sorted(self._parts.iterdir()):
            if part.suffix == ".new" and f"part_{part.stem}" in needed:
                part.replace(self._parts / f"part_{part.stem}")
            elif part.suffix == ".new":
                discard(part)
            elif part.name not in needed:
                set_aside(part, self._root)
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
        self._db.remove(lambda db: db.execute("DELETE FROM upload_parts WHERE upload_id = ?", (upload_id,)))
        for part_id in part_ids:
            (self._parts / part_id).unlink(missing_ok=True)
        hold_reserve(self._root)

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
