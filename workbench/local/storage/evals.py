"""Evals: what is to be asked and how answers are graded, to be run on one model after another."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Literal, TypeAlias

from workbench.local.storage.database import Database
from workbench.local.storage.ids import new_id
from workbench.local.storage.rows import JSON

TABLES = """
CREATE TABLE IF NOT EXISTS evals (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT;
"""

Body: TypeAlias = dict[str, JSON]
Order: TypeAlias = Literal["asc", "desc"]


class Evals:
    """The evals of one service."""

    def __init__(self, db: Database) -> None:
        """Keep them in ``db``."""
        self._db = db

    def add(self, body: Mapping[str, JSON]) -> Body:
        """Keep a new eval."""
        made = {"id": new_id("eval", joint="_"), "object": "eval", **body}
        with self._db.change() as db:
            db.execute("INSERT INTO evals (id, body) VALUES (?, ?)", (made["id"], json.dumps(made)))
        return made

    def get(self, eval_id: str) -> Body | None:
        """One eval, or ``None``."""
        row = self._db.one("SELECT body FROM evals WHERE id = ?", (eval_id,))
        return _read(row) if row else None

    def criteria(self, eval_id: str) -> list[dict[str, JSON]]:
        """The graders of an eval; none when there is no such eval."""
        row = self._db.one(
            "SELECT body -> '$.testing_criteria' AS graders FROM evals WHERE id = ?", (eval_id,)
        )
        found: list[dict[str, JSON]] = json.loads(row["graders"]) if row else []
        return found

    def page(self, *, after: str | None, limit: int, order: Order) -> tuple[list[Body], bool]:
        """A page of evals, and whether more follow."""
        rows, more = self._db.page("evals", "TRUE", (), after=after, limit=limit, order=order)
        return [_read(row) for row in rows], more

    def update(self, eval_id: str, changes: Mapping[str, JSON]) -> Body | None:
        """Change fields of an eval; ``None`` when there is no such eval."""
        with self._db.change() as db:
            body = self.get(eval_id)
            if body is not None:
                body |= changes
                db.execute("UPDATE evals SET body = ? WHERE id = ?", (json.dumps(body), eval_id))
            return body

    def delete(self, eval_id: str) -> bool:
        """Forget an eval with its runs; ``False`` when there was none."""
        with self._db.change() as db:
            return db.execute("DELETE FROM evals WHERE id = ?", (eval_id,)).rowcount > 0


def _read(row: sqlite3.Row) -> Body:
    body: Body = json.loads(row["body"])
    return body
