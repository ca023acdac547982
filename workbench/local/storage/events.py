"""What jobs report, line by line; a page of a long log reads no more than itself."""

import json
import math
import time
from collections.abc import Mapping
from typing import TypeVar

from workbench.local.storage.database import Database
from workbench.local.storage.ids import derived_id
from workbench.local.storage.rows import JSON, Event

Value = TypeVar("Value")

TABLES = """
CREATE TABLE IF NOT EXISTS events (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL REFERENCES jobs (id),
    body TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_job ON events (job_id, n);
"""


class Events:
    """The logs of all jobs of one service."""

    def __init__(self, db: Database) -> None:
        """Keep them in ``db``."""
        self._db = db

    def add(
        self,
        job_id: str,
        message: str,
        *,
        level: str = "info",
        type: str = "message",
        data: Mapping[str, JSON] | None = None,
        key: str | None = None,
    ) -> None:
        """Write a line into the job's log; one with the same ``key`` (or else text) is written only once."""
        event: Event = {
            "id": derived_id("ftevent", job_id, key or message),
            "created_at": int(time.time()),
            "level": level,
            "message": message,
            "object": "fine_tuning.job.event",
            "type": type,
        }
        if data is not None:
            event["data"] = finite(data)
        with self._db.change() as db:
            db.execute(
                "INSERT OR IGNORE INTO events (id, job_id, body) VALUES (?, ?, ?)",
                (event["id"], job_id, json.dumps(event)),
            )

    def page(self, job_id: str, *, after: str | None, limit: int) -> tuple[list[Event], bool]:
        """A page of the job's log, newest first, and whether more follow."""
        rows, more = self._db.page("events", "job_id = ?", (job_id,), after=after, limit=limit)
        return [json.loads(row["body"]) for row in rows], more


def finite(values: Mapping[str, Value]) -> dict[str, Value]:
    """Without the numbers that JSON cannot say; a curve shows them as a gap."""
    return {
        name: value for name, value in values.items() if not isinstance(value, float) or math.isfinite(value)
    }
