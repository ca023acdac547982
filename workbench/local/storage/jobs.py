"""The jobs of the service and how they stand; rows come back as the API shows them.

A change of state names the states it may come from, so that of two changes at once the first
one wins.
"""

import json
import shutil
import sqlite3
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Unpack

from workbench.errors import DataError
from workbench.local.storage.database import Database
from workbench.local.storage.events import Events
from workbench.local.storage.ids import new_id
from workbench.local.storage.metrics import Metrics
from workbench.local.storage.rows import JSON, Job, JobChanges, JobError

UNFINISHED = ("pending", "running", "pausing", "paused", "resuming")
FINISHED = ("succeeded", "failed", "cancelled")
DELETED = "deleted"  # nobody sees such a job; its row stays for the models that came from it
ENQUEUED = "Job enqueued. Waiting for jobs ahead to complete."

TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,                     -- the job as the API shows it
    status TEXT NOT NULL AS (json_extract(body, '$.status'))
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, n);
"""


class Jobs:
    """The jobs of one service."""

    def __init__(self, db: Database, root: Path, events: Events, metrics: Metrics) -> None:
        """Keep them in ``db``, and what their workers need in ``root/jobs``."""
        self._db, self._root, self._events, self._metrics = db, root, events, metrics
        (root / "jobs").mkdir(parents=True, exist_ok=True)

    def add(self, body: Mapping[str, JSON]) -> Job:
        """Queue a job; ``body`` is its request in the words of the API, already checked."""
        job: dict[str, JSON] = {
            "id": new_id("ftjob"),
            "created_at": int(time.time()),
            "object": "fine_tuning.job",
            "status": "pending",
            **{name: value for name, value in body.items() if value is not None},
        }
        with self._db.change() as db:
            db.execute("INSERT INTO jobs (id, body) VALUES (?, ?)", (job["id"], json.dumps(job)))
            self._events.add(str(job["id"]), ENQUEUED)
        return self.need(str(job["id"]))

    def get(self, job_id: str) -> Job | None:
        """One job, or ``None``."""
        row = self._db.one("SELECT body FROM jobs WHERE id = ? AND status != ?", (job_id, DELETED))
        return _read(row) if row else None

    def need(self, job_id: str) -> Job:
        """One job that is known to be there; raises ``DataError`` when it is not."""
        found = self.get(job_id)
        if found is None:
            raise DataError(f"There is no job {job_id[:80]!r} on this service.")
        return found

    def page(
        self, *, after: str | None, limit: int, metadata: Mapping[str, str] | None = None
    ) -> tuple[list[Job], bool]:
        """A page of jobs, newest first, and whether more follow; only those with all of ``metadata``."""
        one = "EXISTS (SELECT 1 FROM json_each(body, '$.metadata') WHERE key = ? AND value = ?)"
        wanted = list((metadata or {}).items())
        where = " AND ".join(["status != ?", *[one] * len(wanted)])
        values = (DELETED, *(part for pair in wanted for part in pair))
        rows, more = self._db.page("jobs", where, values, after=after, limit=limit)
        return [_read(row) for row in rows], more

    def in_states(self, *states: str) -> list[Job]:
        """All jobs in one of ``states``, oldest first."""
        marks = ", ".join("?" * len(states))
        rows = self._db.all(f"SELECT body FROM jobs WHERE status IN ({marks}) ORDER BY n", states)
        return [_read(row) for row in rows]

    def update(
        self, job_id: str, *, expect: Collection[str] | None = None, **changes: Unpack[JobChanges]
    ) -> Job | None:
        """Change a job; ``None``, and nothing changed, when its status is not one of ``expect``.

        ``None`` as a value takes a field away. Hyperparameters also change where ``method``
        repeats them. A running job has a result file; one that ended has ``finished_at``.
        """
        with self._db.change() as db:
            row = db.execute("SELECT body, status FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if row is None or row["status"] == DELETED or (expect and row["status"] not in expect):
                return None
            job: dict[str, Any] = json.loads(row["body"]) | changes
            if "hyperparameters" in changes and "method" in job:
                job["method"][job["method"]["type"]]["hyperparameters"] = job["hyperparameters"]
            if job["status"] == "running" and "result_files" not in job:
                job["result_files"] = [self._metrics.open_results(job_id)]
            if job["status"] in FINISHED:
                job.setdefault("finished_at", int(time.time()))
            body = json.dumps({name: value for name, value in job.items() if value is not None})
            db.execute("UPDATE jobs SET body = ? WHERE id = ?", (body, job_id))
            return self.need(job_id)

    def fail(self, job_id: str, *, code: str, message: str, param: str | None = None) -> Job | None:
        """End a job that did not end otherwise, saying why."""
        error: JobError = {"code": code, "message": message, "param": param}
        return self.update(job_id, expect=UNFINISHED, status="failed", error=error)

    def delete(self, job_id: str) -> bool:
        """Forget a job that has ended, its log and its result files; what it has trained stays usable.

        ``False``, and nothing deleted, while it has not ended.
        """
        with self._db.change() as db:
            marks = ", ".join("?" * len(FINISHED))
            db.execute(
                "DELETE FROM files WHERE id IN"
                " (SELECT value FROM jobs, json_each(jobs.body, '$.result_files')"
                f" WHERE jobs.id = ? AND status IN ({marks}))",
                (job_id, *FINISHED),
            )
            gone = db.execute(
                f"UPDATE jobs SET body = json_object('id', id, 'status', ?)"
                f" WHERE id = ? AND status IN ({marks})",
                (DELETED, job_id, *FINISHED),
            )
            if not gone.rowcount:
                return False
            for table in ("events", "metrics", "files"):
                db.execute(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))
        self.forget_state(job_id)
        return True

    def folder(self, job_id: str) -> Path:
        """The folder in which the workers of this job keep their own state."""
        folder = self._root / "jobs" / job_id
        folder.mkdir(exist_ok=True)
        return folder

    def forget_state(self, job_id: str) -> None:
        """Remove what the workers of a job kept, which will never go on."""
        shutil.rmtree(self._root / "jobs" / job_id, ignore_errors=True)

    def tidy(self) -> None:
        """Remove the state of jobs that will never go on."""
        going_on = {job["id"] for job in self.in_states(*UNFINISHED)}
        for folder in (self._root / "jobs").iterdir():
            if folder.name not in going_on:
                self.forget_state(folder.name)


def _read(row: sqlite3.Row) -> Job:
    job: Job = json.loads(row["body"])
    return job
