"""Everything the service knows: uploaded files, jobs, their events, metrics and checkpoints.

Server and workers use it alike. Every call is one short transaction that is on the disk when
it returns; what a killed process left half done is invisible. Rows come back as the API shows
them. What a field may hold is decided elsewhere.
"""

import hashlib
import json
import math
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, Unpack

from workbench.errors import DataError
from workbench.local.storage.database import Database
from workbench.local.storage.results import render_csv
from workbench.local.storage.rows import JSON, Checkpoint, Event, Job, JobChanges, JobError, StoredFile

Value = TypeVar("Value")

FINISHED = ("succeeded", "failed", "cancelled")
ENQUEUED = "Job enqueued. Waiting for jobs ahead to complete."


class TunedModel(NamedTuple):
    """A model this store can serve: a base model and the folder of the adapter that changes it."""

    name: str
    base_model: str
    path: Path
    job_id: str
    created_at: int


class Store:
    """The database and the folders of one service."""

    def __init__(self, home: Path) -> None:
        """Open what lies in ``home/service``, making it first if need be.

        Raises ``SetupError`` when the database is damaged.
        """
        self.home = home
        self.root = home / "service"
        for folder in ("files", "incoming", "adapters", "jobs"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)  # uploads are nobody else's business
        self._db = Database(self.root / "service.db")

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()

    def tidy(self) -> None:
        """Check the database and remove what a killed service left half done, before a new one listens.

        Raises ``SetupError`` when the database is damaged.
        """
        self._db.check()
        for leftover in (self.root / "incoming").iterdir():
            leftover.unlink()
        needed = {row["id"] for row in self._db.all("SELECT id FROM files")} | self._files_in_use()
        for content in (self.root / "files").iterdir():
            if content.name not in needed:
                content.unlink()

    # Files

    def add_file(self, filename: str, purpose: str, chunks: Iterable[bytes]) -> StoredFile:
        """Keep ``chunks`` as a file; once this has returned it survives a power cut."""
        with self.receive() as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            return self.keep(incoming, filename, purpose)

    @contextmanager
    def receive(self) -> Iterator[BufferedWriter]:
        """A place on the store's disk to write an upload to; gone afterwards unless ``keep`` took it."""
        path = self.root / "incoming" / uuid.uuid4().hex
        try:
            with path.open("xb") as incoming:
                yield incoming
        finally:
            path.unlink(missing_ok=True)

    def keep(self, incoming: BufferedWriter, filename: str, purpose: str) -> StoredFile:
        """Turn what was received into a file of the store."""
        incoming.flush()
        os.fsync(incoming.fileno())
        file_id = f"file-{uuid.uuid4().hex}"
        os.replace(incoming.name, self.file_path(file_id))
        try:
            _sync_folder(self.root / "files")
            with self._db.change() as db:
                db.execute(
                    "INSERT INTO files (id, filename, purpose, created_at, bytes) VALUES (?, ?, ?, ?, ?)",
                    (file_id, filename, purpose, int(time.time()), incoming.tell()),
                )
        except BaseException:
            self.file_path(file_id).unlink(missing_ok=True)
            raise
        return self._need_file(file_id)

    def file(self, file_id: str) -> StoredFile | None:
        """One file, or ``None``; the size of a result file is what it holds at this moment."""
        row = self._db.one("SELECT * FROM files WHERE id = ?", (file_id,))
        return self._show_file(row) if row else None

    def files(
        self,
        purpose: str | None = None,
        *,
        after: str | None,
        limit: int,
        order: Literal["asc", "desc"] = "desc",
    ) -> tuple[list[StoredFile], bool]:
        """A page of files and whether more follow; ``DataError`` when ``after`` is none of them."""
        where, values = ("purpose = ?", (purpose,)) if purpose else ("TRUE", ())
        rows, more = self._db.page("files", where, values, after=after, limit=limit, order=order)
        return [self._show_file(row) for row in rows], more

    def file_path(self, file_id: str) -> Path:
        """Where the content of an uploaded file lies; a result file has none (see ``results_csv``)."""
        name = file_id.removeprefix("file-")
        if len(name) != 32 or not set(name) <= set("0123456789abcdef"):
            raise DataError(f"{file_id[:80]!r} is no file id: those are file- and 32 hexadecimal digits.")
        return self.root / "files" / f"file-{name}"

    def delete_file(self, file_id: str) -> bool:
        """Forget a file; a job that still needs it keeps its content until it ends."""
        with self._db.change() as db:
            deleted = db.execute("DELETE FROM files WHERE id = ?", (file_id,)).rowcount > 0
        if deleted and file_id not in self._files_in_use():
            self.file_path(file_id).unlink(missing_ok=True)
        return deleted

    def job_of_result_file(self, file_id: str) -> str | None:
        """The job whose metrics this result file shows; ``None`` for an uploaded file."""
        row = self._db.one("SELECT job_id FROM files WHERE id = ?", (file_id,))
        return row["job_id"] if row else None

    # Jobs

    def add_job(self, body: Mapping[str, JSON]) -> Job:
        """Queue a job; ``body`` is its request in the words of the API, already checked."""
        job: dict[str, JSON] = {
            "id": f"ftjob-{uuid.uuid4().hex}",
            "created_at": int(time.time()),
            "object": "fine_tuning.job",
            "status": "pending",
            **{name: value for name, value in body.items() if value is not None},
        }
        with self._db.change() as db:
            db.execute("INSERT INTO jobs (id, body) VALUES (?, ?)", (job["id"], json.dumps(job)))
            self.add_event(str(job["id"]), ENQUEUED)
        return self._need_job(str(job["id"]))

    def job(self, job_id: str) -> Job | None:
        """One job, or ``None``."""
        row = self._db.one("SELECT body FROM jobs WHERE id = ?", (job_id,))
        return _read_job(row) if row else None

    def jobs(
        self, *, after: str | None, limit: int, metadata: Mapping[str, str] | None = None
    ) -> tuple[list[Job], bool]:
        """A page of jobs, newest first, and whether more follow; only those with all of ``metadata``."""
        one = "EXISTS (SELECT 1 FROM json_each(body, '$.metadata') WHERE key = ? AND value = ?)"
        wanted = list((metadata or {}).items())
        where = " AND ".join([one] * len(wanted)) or "TRUE"
        values = tuple(part for pair in wanted for part in pair)
        rows, more = self._db.page("jobs", where, values, after=after, limit=limit)
        return [_read_job(row) for row in rows], more

    def jobs_in(self, *states: str) -> list[Job]:
        """All jobs in one of ``states``, oldest first."""
        marks = ", ".join("?" * len(states))
        rows = self._db.all(f"SELECT body FROM jobs WHERE status IN ({marks}) ORDER BY n", states)
        return [_read_job(row) for row in rows]

    def update_job(
        self, job_id: str, *, expect: Collection[str] | None = None, **changes: Unpack[JobChanges]
    ) -> Job | None:
        """Change a job; ``None``, and nothing changed, when its status is not one of ``expect``.

        ``None`` as a value takes a field away. Hyperparameters also change where ``method``
        repeats them. A running job has a result file; one that ended has ``finished_at``.
        """
        with self._db.change() as db:
            row = db.execute("SELECT body, status FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if row is None or (expect is not None and row["status"] not in expect):
                return None
            job: dict[str, Any] = json.loads(row["body"]) | changes
            if "hyperparameters" in changes and "method" in job:
                job["method"][job["method"]["type"]]["hyperparameters"] = job["hyperparameters"]
            if job["status"] == "running" and "result_files" not in job:
                job["result_files"] = [self._add_result_file(db, job_id)]
            if job["status"] in FINISHED:
                job.setdefault("finished_at", int(time.time()))
                size = len(self.results_csv(job_id))
                db.execute("UPDATE files SET bytes = ? WHERE job_id = ?", (size, job_id))
            body = json.dumps({name: value for name, value in job.items() if value is not None})
            db.execute("UPDATE jobs SET body = ? WHERE id = ?", (body, job_id))
            return self._need_job(job_id)

    def fail_job(self, job_id: str, *, code: str, message: str, param: str | None = None) -> Job | None:
        """End a job that did not end otherwise, saying why."""
        error: JobError = {"code": code, "message": message, "param": param}
        return self.update_job(job_id, expect=("pending", "running"), status="failed", error=error)

    def job_folder(self, job_id: str) -> Path:
        """The folder in which the workers of this job keep their own state."""
        folder = self.root / "jobs" / job_id
        folder.mkdir(exist_ok=True)
        return folder

    # Events

    def add_event(
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
            "id": _derived("ftevent", job_id, key or message),
            "created_at": int(time.time()),
            "level": level,
            "message": message,
            "object": "fine_tuning.job.event",
            "type": type,
        }
        if data is not None:
            event["data"] = _finite(data)
        with self._db.change() as db:
            db.execute(
                "INSERT OR IGNORE INTO events (id, job_id, body) VALUES (?, ?, ?)",
                (event["id"], job_id, json.dumps(event)),
            )

    def events(self, job_id: str, *, after: str | None, limit: int) -> tuple[list[Event], bool]:
        """A page of the job's log, newest first, and whether more follow."""
        rows, more = self._db.page("events", "job_id = ?", (job_id,), after=after, limit=limit)
        return [json.loads(row["body"]) for row in rows], more

    # Metrics

    def add_metrics(self, job_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Write what was measured at a step; a number that stands there already stays as it is."""
        with self._db.change() as db:
            db.execute(
                "INSERT INTO metrics (job_id, step, body) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET body = json_patch(excluded.body, body)",
                (job_id, step, json.dumps(_finite(metrics))),
            )

    def last_step(self, job_id: str) -> int:
        """The last step with metrics; 0 before the first."""
        row = self._db.one("SELECT max(step) AS step FROM metrics WHERE job_id = ?", (job_id,))
        return (row["step"] if row else None) or 0

    def results_csv(self, job_id: str) -> bytes:
        """The job's result file as it stands: one line a step, blank where nothing was measured."""
        rows = self._db.all("SELECT step, body FROM metrics WHERE job_id = ? ORDER BY step", (job_id,))
        job = self._need_job(job_id)
        supervised = job.get("method", {}).get("supervised")
        with_reward = isinstance(supervised, dict) and "grader" in supervised
        return render_csv(((row["step"], json.loads(row["body"])) for row in rows), with_reward=with_reward)

    # Checkpoints and tuned models

    def adapter_folder(self, job_id: str, step: int) -> Path:
        """Where this job saves its adapter of this step; the folder is the worker's to make."""
        return self.root / "adapters" / job_id / f"step-{step}"

    def add_checkpoint(
        self, job_id: str, step: int, model_name: str, metrics: Mapping[str, float], path: Path
    ) -> None:
        """Make the adapter in ``path``, a folder of ``adapter_folder``, usable as ``model_name``."""
        job = self._need_job(job_id)
        tuned = self.tuned_model(job["model"])
        base_model = tuned.base_model if tuned else job["model"]
        with self._db.change() as db:
            db.execute(
                "INSERT INTO checkpoints (id, job_id, step, created_at, model, base_model, folder, metrics)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job_id, step) DO UPDATE"
                " SET model = excluded.model, folder = excluded.folder, metrics = excluded.metrics",
                (
                    _derived("ftchkpt", job_id, str(step)),
                    job_id,
                    step,
                    int(time.time()),
                    model_name,
                    base_model,
                    path.relative_to(self.root).as_posix(),
                    json.dumps({"step": step, **_finite(metrics)}),
                ),
            )

    def checkpoints(self, job_id: str, *, after: str | None, limit: int) -> tuple[list[Checkpoint], bool]:
        """A page of the job's checkpoints, newest first, and whether more follow."""
        rows, more = self._db.page("checkpoints", "job_id = ?", (job_id,), after=after, limit=limit)
        return [_show_checkpoint(row) for row in rows], more

    def keep_checkpoints(self, job_id: str, newest: int) -> None:
        """Forget all but the newest checkpoints of a job, and delete their adapters."""
        with self._db.change() as db:
            old = db.execute(
                "SELECT step FROM checkpoints WHERE job_id = ? ORDER BY step DESC LIMIT -1 OFFSET ?",
                (job_id, newest),
            ).fetchall()
            db.executemany(
                "DELETE FROM checkpoints WHERE job_id = ? AND step = ?", [(job_id, *row) for row in old]
            )
        for (step,) in old:
            shutil.rmtree(self.adapter_folder(job_id, step), ignore_errors=True)

    def adapter_of(self, model: str) -> tuple[str, Path] | None:
        """The base model and the adapter's folder behind a tuned model or checkpoint, or ``None``."""
        tuned = self.tuned_model(model)
        return (tuned.base_model, tuned.path) if tuned else None

    def tuned_model(self, name: str) -> TunedModel | None:
        """The tuned model or checkpoint of this name, upper and lower case alike, or ``None``."""
        row = self._db.one("SELECT * FROM checkpoints WHERE model = ?", (name,))
        return self._show_model(row) if row else None

    def tuned_models(self) -> list[TunedModel]:
        """All tuned models and checkpoints, oldest first."""
        return [self._show_model(row) for row in self._db.all("SELECT * FROM checkpoints ORDER BY n")]

    # Inside

    def _need_file(self, file_id: str) -> StoredFile:
        found = self.file(file_id)
        if found is None:
            raise DataError(f"There is no file {file_id[:80]!r} on this service.")
        return found

    def _need_job(self, job_id: str) -> Job:
        found = self.job(job_id)
        if found is None:
            raise DataError(f"There is no job {job_id[:80]!r} on this service.")
        return found

    def _show_file(self, row: sqlite3.Row) -> StoredFile:
        size = row["bytes"] if row["bytes"] is not None else len(self.results_csv(row["job_id"]))
        return {
            "id": row["id"],
            "bytes": size,
            "created_at": row["created_at"],
            "filename": row["filename"],
            "object": "file",
            "purpose": row["purpose"],
            "status": "processed",
        }

    def _show_model(self, row: sqlite3.Row) -> TunedModel:
        path = self.root / row["folder"]
        return TunedModel(row["model"], row["base_model"], path, row["job_id"], row["created_at"])

    def _files_in_use(self) -> set[str]:
        rows = self._db.all("SELECT body FROM jobs WHERE status NOT IN (?, ?, ?)", FINISHED)
        jobs = [_read_job(row) for row in rows]
        return {job["training_file"] for job in jobs} | {job.get("validation_file", "") for job in jobs}

    def _add_result_file(self, db: sqlite3.Connection, job_id: str) -> str:
        file_id = _derived("file", job_id, "results")
        db.execute(
            "INSERT OR IGNORE INTO files (id, filename, purpose, created_at, job_id)"
            " VALUES (?, 'results.csv', 'fine-tune-results', ?, ?)",
            (file_id, int(time.time()), job_id),
        )
        return file_id


def _read_job(row: sqlite3.Row) -> Job:
    job: Job = json.loads(row["body"])
    return job


def _show_checkpoint(row: sqlite3.Row) -> Checkpoint:
    return {
        "id": row["id"],
        "created_at": row["created_at"],
        "fine_tuned_model_checkpoint": row["model"],
        "fine_tuning_job_id": row["job_id"],
        "metrics": json.loads(row["metrics"]),
        "object": "fine_tuning.job.checkpoint",
        "step_number": row["step"],
    }


def _derived(kind: str, *parts: str) -> str:
    """An id that is the same whenever it is made of the same parts."""
    return f"{kind}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"


def _finite(values: Mapping[str, Value]) -> dict[str, Value]:
    """Without the numbers that JSON cannot say; a curve shows them as a gap."""
    return {
        name: value for name, value in values.items() if not isinstance(value, float) or math.isfinite(value)
    }


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
