"""Checkpoints: saved states of jobs that answer as models, and what safety checks found in them."""

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from workbench.local.store import database
from workbench.local.store.database import Database, Tidied
from workbench.local.store.jobs import DELETED, UNFINISHED, Jobs, finite
from workbench.local.store.rows import Checkpoint

# The saved states of jobs that can be used as models, by the names that Azure gives them.

TABLES = """
CREATE TABLE IF NOT EXISTS checkpoints (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL REFERENCES jobs (id),
    step INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    model TEXT NOT NULL UNIQUE COLLATE NOCASE,
    base_model TEXT NOT NULL,
    folder TEXT NOT NULL,                   -- relative to the service's folder, so that a home can be moved
    metrics TEXT NOT NULL,
    UNIQUE (job_id, step)
) STRICT;
CREATE TRIGGER IF NOT EXISTS forget_checkpoint AFTER DELETE ON checkpoints
    BEGIN INSERT OR IGNORE INTO forgotten VALUES (old.folder); END;
CREATE TABLE IF NOT EXISTS safety (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    data TEXT NOT NULL,                     -- harm types, in JSON
    model TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
# What lies in an adapter's folder for a database that has never heard of it.
NOTE = {"job_id": str, "step": int, "created_at": int, "model": str, "base_model": str, "metrics": dict}


BASES_SINCE = 1730332800  # 31 October 2024, when SmolLM2 appeared


class Model(NamedTuple):
    """A model that can answer and be tuned: a base model, or one with the adapter in a folder."""

    name: str
    base_model: str
    adapter: Path | None = None
    job_id: str | None = None
    created_at: int = BASES_SINCE


class Checkpoints:
    """The checkpoints of all jobs of one service, and the tuned models among them."""

    def __init__(self, db: Database, root: Path, jobs: Jobs) -> None:
        """Keep them in ``db``, their adapters in ``root/adapters``."""
        self._db, self._root, self._jobs = db, root, jobs
        (root / "adapters").mkdir(parents=True, exist_ok=True)

    def folder(self, job_id: str, step: int) -> Path:
        """Where this job saves its adapter of this step; the folder is the worker's to make."""
        return self._root / "adapters" / job_id / f"step-{step}"

    def add(self, job_id: str, step: int, model_name: str, metrics: Mapping[str, float], path: Path) -> None:
        """Make the adapter in ``path``, a folder of ``folder``, usable as ``model_name``."""
        job = self._jobs.need(job_id)
        tuned = self.model(job["model"])
        base_model = tuned.base_model if tuned else job["model"].partition(".ft-")[0]
        note = {
            "job_id": job_id,
            "step": step,
            "created_at": int(time.time()),
            "model": model_name,
            "base_model": base_model,
            "metrics": {"step": step, **finite(metrics)},
        }
        if path.is_dir():
            database.write_note(path / "checkpoint.json", note)
        with self._db.change() as db:
            self._insert(db, note, path)

    def page(self, job_id: str, *, after: str | None, limit: int) -> tuple[list[Checkpoint], bool]:
        """A page of the job's checkpoints, newest first, and whether more follow."""
        rows, more = self._db.page("checkpoints", "job_id = ?", (job_id,), after=after, limit=limit)
        return [_show(row) for row in rows], more

    def of_job(self, job_id: str, checkpoint_id: str) -> Checkpoint | None:
        """One checkpoint of a job by its id or by its name as a model, or ``None``."""
        row = self._db.one(
            "SELECT * FROM checkpoints WHERE job_id = ? AND (id = ? OR model = ?)",
            (job_id, checkpoint_id, checkpoint_id),
        )
        return _show(row) if row else None

    def forget(self, job_id: str, step: int) -> None:
        """Take a checkpoint away, and its adapter; nothing happens when there is none."""
        self._db.delete("checkpoints", "job_id = ? AND step = ?", job_id, step)
        database.discard(self.folder(job_id, step))
        database.hold_reserve(self._root)

    def model(self, name: str) -> Model | None:
        """The tuned model or checkpoint of this name, upper and lower case alike, or ``None``."""
        row = self._db.one("SELECT * FROM checkpoints WHERE model = ?", (name,))
        return self._show_model(row) if row else None

    def models(self) -> list[Model]:
        """All tuned models and checkpoints, oldest first."""
        return [self._show_model(row) for row in self._db.all("SELECT * FROM checkpoints ORDER BY n")]

    def delete_model(self, name: str) -> None:
        """Forget a tuned model or checkpoint, and its adapter."""
        row = self._db.one("SELECT job_id, step FROM checkpoints WHERE model = ?", (name,))
        if row is not None:
            self.forget(row["job_id"], row["step"])

    def tidy(self) -> Tidied:
        """Remove half an adapter, take up those that a lost database knew, set aside what says nothing.

        A job that goes on may be about to name its own.
        """
        known = {self._root / row["folder"]: row for row in self._db.all("SELECT * FROM checkpoints")}
        going_on = {job["id"] for job in self._jobs.in_states(*UNFINISHED)}
        taken_up, aside = [], 0
        for folder in sorted((self._root / "adapters").glob("*/*")):
            if row := known.get(folder):
                if not (folder / "checkpoint.json").exists():  # of an earlier workbench, which wrote none
                    note = {name: row[name] for name in NOTE} | {"metrics": json.loads(row["metrics"])}
                    database.write_note(folder / "checkpoint.json", note)
            elif folder.parent.name in going_on:
                continue
            elif folder.suffix == ".new":
                database.discard(folder)
            elif found := self._read_note(folder):
                taken_up.append((found, folder))
            else:
                database.set_aside(folder, self._root)
                aside += 1
        with self._db.change() as db:
            for note, folder in sorted(taken_up, key=lambda pair: (pair[0]["created_at"], pair[0]["step"])):
                # Unless its job was taken up before, nobody sees that any more, as if it were deleted.
                body = json.dumps({"id": note["job_id"], "status": DELETED})
                self._db.insert("jobs", {"id": note["job_id"], "body": body}, known="IGNORE")
                self._insert(db, note, folder)
        for folder in (self._root / "adapters").iterdir():
            if folder.name not in going_on and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        return Tidied(len(taken_up), aside)

    def _insert(self, db: sqlite3.Connection, note: Mapping[str, Any], path: Path) -> None:
        folder = path.relative_to(self._root).as_posix()
        db.execute("DELETE FROM forgotten WHERE name = ?", (folder,))
        db.execute(
            "INSERT INTO checkpoints (id, job_id, step, created_at, model, base_model, folder, metrics)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job_id, step) DO UPDATE"
            " SET model = excluded.model, folder = excluded.folder, metrics = excluded.metrics",
            (
                database.derived_id("ftchkpt", note["job_id"], str(note["step"])),
                *(note[name] for name in ("job_id", "step", "created_at", "model", "base_model")),
                folder,
                json.dumps(note["metrics"]),
            ),
        )

    def _read_note(self, folder: Path) -> dict[str, Any] | None:
        """What is known about an adapter that the database does not know, if that is true."""
        note = database.read_note(folder / "checkpoint.json", NOTE)
        parts = (folder / name for name in ("adapter_config.json", "adapter_model.safetensors"))
        if (
            note is None
            or not all(part.is_file() for part in parts)
            or folder != self.folder(note["job_id"], note["step"])
        ):
            return None
        return note if self.model(note["model"]) is None else None

    def _show_model(self, row: sqlite3.Row) -> Model:
        path = self._root / row["folder"]
        return Model(row["model"], row["base_model"], path, row["job_id"], row["created_at"])


def _show(row: sqlite3.Row) -> Checkpoint:
    return {
        "id": row["id"],
        "created_at": row["created_at"],
        "fine_tuned_model_checkpoint": row["model"],
        "fine_tuning_job_id": row["job_id"],
        "metrics": json.loads(row["metrics"]),
        "object": "fine_tuning.job.checkpoint",
        "step_number": row["step"],
    }


# What the safety checks are to find in a job's data or in its model, where that fault is injected.
#
# Nothing is ever found that was not asked for: the local service has no check of its own.


class Safety:
    """The findings that one service is to have."""

    def __init__(self, db: Database) -> None:
        """Keep them in ``db``."""
        self._db = db

    def expect(self, job_id: str, *, data: Iterable[str], model: Iterable[str]) -> None:
        """Let a job's data, its model or both fail with these harm types."""
        findings = {"data": json.dumps(list(data)), "model": json.dumps(list(model))}
        self._db.insert("safety", {"job_id": job_id, **findings}, known="REPLACE")

    def data_problem(self, job_id: str) -> str | None:
        """What is wrong with a job's data, in Azure's words."""
        found = self._found(job_id, "data")
        return found and (
            f"The provided training data failed RAI checks for harm types: [{found}]. "
            "Please fix the data and try again."
        )

    def model_problem(self, job_id: str) -> str | None:
        """Why a job's model cannot be deployed, in Azure's words."""
        return model_refusal(found) if (found := self._found(job_id, "model")) else None

    def _found(self, job_id: str, where: str) -> str | None:
        row = self._db.one(f"SELECT {where} FROM safety WHERE job_id = ?", (job_id,))
        return ", ".join(json.loads(row[where])) or None if row else None


def model_refusal(harms: str) -> str:
    """Why a model cannot be deployed, in Azure's words."""
    return (
        "This model is unable to be deployed. Model evaluation identified that this fine tuned model "
        f"scores above acceptable thresholds for [{harms}]. "
        "Please review your training data set and resubmit the job."
    )
