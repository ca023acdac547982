"""What the safety checks are to find in a job's data or in its model, where somebody rehearses that.

Nothing is ever found that was not asked for: the local service has no check of its own.
"""

import json
from collections.abc import Iterable

from workbench.local.storage.database import Database

TABLES = """
CREATE TABLE IF NOT EXISTS safety (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    data TEXT NOT NULL,                     -- harm types, in JSON
    model TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""


class Safety:
    """The findings that one service is to have."""

    def __init__(self, db: Database) -> None:
        """Keep them in ``db``."""
        self._db = db

    def expect(self, job_id: str, *, data: Iterable[str], model: Iterable[str]) -> None:
        """Let a job's data, its model or both fail with these harm types."""
        findings = (json.dumps(list(data)), json.dumps(list(model)))
        with self._db.change() as db:
            db.execute("INSERT OR REPLACE INTO safety VALUES (?, ?, ?)", (job_id, *findings))

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
