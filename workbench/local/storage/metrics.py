"""What a job measured, step by step, and the result file that shows it.

The size of a result file is kept with every step, so that listing files reads no curve.
"""

import json
import time
from collections.abc import Mapping

from workbench.local.storage.database import Database
from workbench.local.storage.events import finite
from workbench.local.storage.ids import derived_id
from workbench.local.storage.results import columns_of, render_csv, render_line

TABLES = """
CREATE TABLE IF NOT EXISTS metrics (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    step INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (job_id, step)
) STRICT, WITHOUT ROWID;
"""


class Metrics:
    """The measurements of all jobs of one service."""

    def __init__(self, db: Database) -> None:
        """Keep them in ``db``."""
        self._db = db

    def open_results(self, job_id: str) -> str:
        """The id of the job's result file, which is made when it has none yet."""
        file_id = derived_id("file", job_id, "results")
        with self._db.change() as db:
            db.execute(
                "INSERT OR IGNORE INTO files (id, filename, purpose, created_at, bytes, job_id)"
                " VALUES (?, 'results.csv', 'fine-tune-results', ?, ?, ?)",
                (file_id, int(time.time()), len(self.csv(job_id)), job_id),
            )
        return file_id

    def add(self, job_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Write what was measured at a step; a number that stands there already stays as it is."""
        columns = self._columns(job_id)
        with self._db.change() as db:
            row = db.execute(
                "SELECT body FROM metrics WHERE job_id = ? AND step = ?", (job_id, step)
            ).fetchone()
            known = json.loads(row["body"]) if row else {}
            merged = {**finite(metrics), **known}
            if row and merged == known:
                return
            db.execute(
                "INSERT INTO metrics (job_id, step, body) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET body = excluded.body",
                (job_id, step, json.dumps(merged)),
            )
            grown = len(render_line(step, merged, columns))
            grown -= len(render_line(step, known, columns)) if row else 0
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
        grader = "json_type(body, '$.method.supervised.grader') AS grader"
        row = self._db.one(f"SELECT {grader} FROM jobs WHERE id = ?", (job_id,))
        return columns_of(graded=bool(row and row["grader"]))
