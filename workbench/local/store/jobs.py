"""Jobs in the store, with their events, metrics and result files; rows come back as the API shows them."""

import csv
import io
import json
import math
import sqlite3
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Unpack

from workbench.catalog.methods import METHODS
from workbench.errors import DataError
from workbench.local.store import database
from workbench.local.store.database import Database, Tidied
from workbench.local.store.rows import JSON, Event, Job, JobChanges, JobError, Pairs

# What jobs report, line by line; a page of a long log reads no more than itself.

# The jobs of the service and how they stand; rows come back as the API shows them.
#
# A change of state names the states it may come from, so that of two changes at once the first
# one wins. A job that has ended is also written beside the database (``ended/ftjob-….json``, with its
# metrics and its log), for the day on which that is lost.

Value = TypeVar("Value")


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
        data: Mapping[str, JSON] | None = None,
        key: str | None = None,
    ) -> None:
        """Write a line into the job's log; one with the same ``key`` (or else text) is written only once."""
        event: Event = {
            "id": database.derived_id("ftevent", job_id, key or message),
            "created_at": int(time.time()),
            "level": level,
            "message": message,
            "object": "fine_tuning.job.event",
            "type": "message" if data is None else "metrics",
        }
        if data is not None:
            event["data"] = finite(data)
        self.take_up(job_id, event)

    def take_up(self, job_id: str, event: Event) -> None:
        """Write a line as it is, unless it stands there."""
        row = {"id": event["id"], "job_id": job_id, "body": json.dumps(event)}
        self._db.insert("events", row, known="IGNORE")

    def page(self, job_id: str, *, after: str | None, limit: int) -> tuple[list[Event], bool]:
        """A page of the job's log, newest first, and whether more follow."""
        rows, more = self._db.page("events", "job_id = ?", (job_id,), after=after, limit=limit)
        return [json.loads(row["body"]) for row in rows], more


def finite(values: Mapping[str, Value]) -> dict[str, Value]:
    """Without the numbers that JSON cannot say; a curve shows them as a gap."""
    bad = {name for name, value in values.items() if isinstance(value, float) and not math.isfinite(value)}
    return {name: value for name, value in values.items() if name not in bad}


# A job's result file: its metrics as CSV, one line a step, in the columns of its method.


def render_csv(
    steps: Iterable[tuple[int, Mapping[str, float]]], columns: Sequence[str], *, header: bool = True
) -> bytes:
    """The file's content, or lines of it without ``header``; a cell is blank where nothing was measured."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        table.writeheader()
    table.writerows({"step": step, **metrics} for step, metrics in steps)
    return text.getvalue().encode()


# What a job measured, step by step, and the result file that shows it.
#
# The size of a result file is kept with every step, so that listing files reads no curve.


class Metrics:
    """The measurements of all jobs of one service."""

    def __init__(self, db: Database) -> None:
        """Keep them in ``db``."""
        self._db = db

    def open_results(self, job_id: str) -> str:
        """The id of the job's result file, which is made when it has none yet."""
        file_id = database.derived_id("file", job_id, "results")
        row: dict[str, object] = {"id": file_id, "filename": "results.csv", "purpose": "fine-tune-results"}
        with self._db.change():
            row |= {"created_at": int(time.time()), "bytes": len(self.csv(job_id)), "job_id": job_id}
            self._db.insert("files", row, known="IGNORE")
        return file_id

    def add(self, job_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Write what was measured at a step; a number that stands there already stays as it is."""
        columns = self._columns(job_id)
        with self._db.change() as db:
            query = "SELECT body FROM metrics WHERE job_id = ? AND step = ?"
            row = self._db.one(query, (job_id, step))
            known = json.loads(row["body"]) if row else {}
            merged = {**finite(metrics), **known}
            if row and merged == known:
                return
            body = json.dumps(merged)
            self._db.insert("metrics", {"job_id": job_id, "step": step, "body": body}, known="REPLACE")
            before, after = ([(step, one)] for one in (known, merged))
            grown = len(render_csv(after, columns, header=False))
            grown -= len(render_csv(before, columns, header=False)) if row else 0
            db.execute("UPDATE files SET bytes = bytes + ? WHERE job_id = ?", (grown, job_id))

    def last_step(self, job_id: str) -> int:
        """The last step with metrics; 0 before the first."""
        row = self._db.one("SELECT max(step) AS step FROM metrics WHERE job_id = ?", (job_id,))
        return (row["step"] if row else None) or 0

    def csv(self, job_id: str) -> bytes:
        """The job's result file as it stands: one line a step, blank where nothing was measured."""
        rows = self._db.all("SELECT step, body FROM metrics WHERE job_id = ? ORDER BY step", (job_id,))
        steps = ((row["step"], json.loads(row["body"])) for row in rows)
        return render_csv(steps, self._columns(job_id))

    def _columns(self, job_id: str) -> tuple[str, ...]:
        """Those of the job's method; a job without one is supervised."""
        query = "SELECT json_extract(body, '$.method') AS method FROM jobs WHERE id = ?"
        row = self._db.one(query, (job_id,))
        asked: dict[str, Any] = json.loads(row["method"]) if row and row["method"] else {"type": "supervised"}
        settings = asked.get(asked["type"]) or {}
        return METHODS.get(asked["type"], METHODS["supervised"]).columns(graded=bool(settings.get("grader")))


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
CREATE TABLE IF NOT EXISTS events (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL REFERENCES jobs (id),
    body TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_job ON events (job_id, n);
CREATE TABLE IF NOT EXISTS metrics (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    step INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (job_id, step)
) STRICT, WITHOUT ROWID;
"""


class Jobs:
    """The jobs of one service."""

    def __init__(self, db: Database, root: Path, events: Events, metrics: Metrics) -> None:
        """Keep them in ``db``, and what their workers need in ``root/jobs``."""
        self._db, self._root, self._events, self._metrics = db, root, events, metrics
        for folder in ("jobs", "ended"):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def add(self, body: Mapping[str, JSON]) -> Job:
        """Queue a job; ``body`` is its request in the words of the API, already checked."""
        job: dict[str, JSON] = {
            "id": database.new_id("ftjob"),
            "created_at": int(time.time()),
            "object": "fine_tuning.job",
            "status": "pending",
            **{name: value for name, value in body.items() if value is not None},
        }
        with self._db.change():
            self._db.insert("jobs", {"id": job["id"], "body": json.dumps(job)})
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

    def page(self, *, after: str | None, limit: int, metadata: Pairs | None = None) -> tuple[list[Job], bool]:
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
        with self._db.change():
            known = self.get(job_id)
            if known is None or (expect is not None and known["status"] not in expect):
                return None
            job: dict[str, Any] = {**known, **changes}
            if "hyperparameters" in changes and "method" in job:
                job["method"][job["method"]["type"]]["hyperparameters"] = job["hyperparameters"]
            if job["status"] == "running" and "result_files" not in job:
                job["result_files"] = [self._metrics.open_results(job_id)]
            if job["status"] in FINISHED:
                job.setdefault("finished_at", int(time.time()))
            body = json.dumps({name: value for name, value in job.items() if value is not None})
            self._db.write("UPDATE jobs SET body = ? WHERE id = ?", (body, job_id))
            return self.need(job_id)

    def fail(self, job_id: str, *, code: str, message: str, param: str | None = None) -> Job | None:
        """End a job that did not end otherwise, saying why."""
        error: JobError = {"code": code, "message": message, "param": param}
        return self.update(job_id, expect=UNFINISHED, status="failed", error=error)

    def delete(self, job_id: str) -> bool:
        """Forget a job that has ended, its log and its result files; what it has trained stays usable.

        ``False``, and nothing deleted, while it has not ended.
        """

        def forget(db: sqlite3.Connection) -> bool:
            if (job := self.get(job_id)) is None or job["status"] not in FINISHED:
                return False
            results = ((file_id,) for file_id in job.get("result_files", ()))
            db.executemany("DELETE FROM files WHERE id = ?", results)
            body = json.dumps({"id": job_id, "status": DELETED})
            db.execute("UPDATE jobs SET body = ? WHERE id = ?", (body, job_id))
            for table in ("events", "metrics", "files"):
                db.execute(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))
            return True

        if not self._db.remove(forget):
            return False
        self._record(job_id).unlink(missing_ok=True)
        self.forget_state(job_id)
        database.hold_reserve(self._root)
        return True

    def keep_record(self, job_id: str) -> None:
        """Write a job that has ended beside the database, with what it measured and said."""
        row = self._db.one("SELECT body, status FROM jobs WHERE id = ?", (job_id,))
        if row is None or row["status"] not in FINISHED:
            return
        metrics = self._db.all("SELECT step, body FROM metrics WHERE job_id = ? ORDER BY step", (job_id,))
        events = self._db.all("SELECT body FROM events WHERE job_id = ? ORDER BY n", (job_id,))
        record = {
            "job": json.loads(row["body"]),
            "metrics": [[line["step"], json.loads(line["body"])] for line in metrics],
            "events": [json.loads(line["body"]) for line in events],
        }
        database.write_note(self._record(job_id), record)

    def folder(self, job_id: str) -> Path:
        """The folder in which the workers of this job keep their own state."""
        folder = self._root / "jobs" / job_id
        folder.mkdir(exist_ok=True)
        return folder

    def forget_state(self, job_id: str) -> None:
        """Remove what the workers of a job kept, which will never go on."""
        database.discard(self._root / "jobs" / job_id)

    def tidy(self) -> Tidied:
        """Take up jobs that a lost database knew; remove the state of those that will never go on.

        State of jobs that nobody knows is set aside.
        """
        status = {row["id"]: row["status"] for row in self._db.all("SELECT id, status FROM jobs")}
        taken_up, aside = [], 0
        for path in sorted((self._root / "ended").iterdir()):
            if path.suffix == ".new" or status.get(path.stem) == DELETED:
                database.discard(path)
            elif status.get(path.stem) in FINISHED:
                continue
            elif record := _read_record(path):
                taken_up.append(record)
            else:
                database.set_aside(path, self._root)
                aside += 1
        with self._db.change():
            for record in sorted(taken_up, key=lambda record: record["job"]["created_at"]):
                self._take_up(record)
        for job_id in (name for name, state in status.items() if state in FINISHED):
            if not self._record(job_id).exists():  # of an earlier workbench, or of a moment ago
                self.keep_record(job_id)
        going_on = {job["id"] for job in self.in_states(*UNFINISHED)}
        known = status.keys() | {record["job"]["id"] for record in taken_up}
        for folder in (self._root / "jobs").iterdir():
            if folder.name not in known:
                database.set_aside(folder, self._root)
                aside += 1
            elif folder.name not in going_on:
                self.forget_state(folder.name)
        return Tidied(len(taken_up), aside)

    def _take_up(self, record: dict[str, Any]) -> None:
        """Add a job that has ended; an older copy of the database may think that it goes on."""
        job_id = record["job"]["id"]
        for table in ("events", "metrics", "files"):
            self._db.write(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))
        self._db.write(
            "INSERT INTO jobs (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (job_id, json.dumps(record["job"])),
        )
        for step, body in record["metrics"]:
            self._db.insert("metrics", {"job_id": job_id, "step": step, "body": json.dumps(body)})
        for event in record["events"]:
            self._events.take_up(job_id, event)
        if "result_files" in record["job"]:
            self._metrics.open_results(job_id)

    def _record(self, job_id: str) -> Path:
        return self._root / "ended" / f"{job_id}.json"


def _read_record(path: Path) -> dict[str, Any] | None:
    record = database.read_note(path, {"job": dict, "metrics": list, "events": list})
    if record is None:
        return None
    job, steps, events = record["job"], record["metrics"], record["events"]
    fits = (
        job.get("id") == path.stem
        and job.get("status") in FINISHED
        and isinstance(job.get("created_at"), int)
        and all(isinstance(line, list) and [*map(type, line)] == [int, dict] for line in steps)
        and all(isinstance(event, dict) and isinstance(event.get("id"), str) for event in events)
    )
    return record if fits else None


def _read(row: sqlite3.Row) -> Job:
    job: Job = json.loads(row["body"])
    return job
