"""The runs of evals: every line that is asked, with what came out for it, and what a run counts.

A run's lines are written down with it, before anything is asked, so that it goes on where it
stood after a restart and needs its file no more. Its counts are counted from its items.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from workbench.local.storage.database import Database
from workbench.local.storage.evals import Body, Order
from workbench.local.storage.ids import new_id
from workbench.local.storage.rows import JSON

TABLES = """
CREATE TABLE IF NOT EXISTS eval_runs (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    eval_id TEXT NOT NULL REFERENCES evals (id) ON DELETE CASCADE,
    body TEXT NOT NULL,
    status TEXT NOT NULL AS (json_extract(body, '$.status'))
) STRICT;
CREATE TABLE IF NOT EXISTS eval_items (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    run_id TEXT NOT NULL REFERENCES eval_runs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    line TEXT NOT NULL,                     -- of the file: item, and perhaps sample
    body TEXT,                              -- NULL until it is examined
    status TEXT AS (json_extract(body, '$.status')),
    UNIQUE (run_id, number)
) STRICT;
CREATE INDEX IF NOT EXISTS eval_items_by_run ON eval_items (run_id, n);
"""
UNFINISHED = ("queued", "in_progress")
WAITING_AT_ONCE = 256


class Line(NamedTuple):
    """One line of a run's file that waits to be examined, counted from 0."""

    number: int
    item: Body
    sample: Body | None


class EvalRuns:
    """The runs of one service's evals."""

    def __init__(self, db: Database) -> None:
        """Keep them in ``db``."""
        self._db = db

    def add(self, eval_id: str, body: Mapping[str, JSON], lines: Iterable[Mapping[str, JSON]]) -> Body:
        """Queue a run over these lines; everything is on the disk when this returns."""
        run = {"id": new_id("evalrun", joint="_"), "object": "eval.run", "eval_id": eval_id, **body}
        run["status"] = "queued"
        with self._db.change() as db:
            db.execute(
                "INSERT INTO eval_runs (id, eval_id, body) VALUES (?, ?, ?)",
                (run["id"], eval_id, json.dumps(run)),
            )
            db.executemany(
                "INSERT INTO eval_items (id, run_id, number, line) VALUES (?, ?, ?, ?)",
                (
                    (new_id("outputitem", joint="_"), run["id"], number, json.dumps(line))
                    for number, line in enumerate(lines)
                ),
            )
        return self._counted(run)

    def get(self, run_id: str) -> Body | None:
        """One run with what it counts at this moment, or ``None``."""
        row = self._db.one("SELECT body FROM eval_runs WHERE id = ?", (run_id,))
        return self._counted(_read(row)) if row else None

    def page(
        self, eval_id: str, *, status: str | None, after: str | None, limit: int, order: Order
    ) -> tuple[list[Body], bool]:
        """A page of an eval's runs, and whether more follow; only those in ``status``, if given."""
        where, values = "eval_id = ? AND status = coalesce(?, status)", (eval_id, status)
        rows, more = self._db.page("eval_runs", where, values, after=after, limit=limit, order=order)
        return [self._counted(_read(row)) for row in rows], more

    def unfinished(self) -> list[str]:
        """The runs that are to go on, oldest first."""
        query = "SELECT id FROM eval_runs WHERE status IN (?, ?) ORDER BY n"
        return [row["id"] for row in self._db.all(query, UNFINISHED)]

    def set_status(self, run_id: str, status: str, error: Body | None = None) -> Body | None:
        """Change the status of a run that has not ended; ``None``, and nothing changed, when it has."""
        with self._db.change() as db:
            changed = db.execute(
                "UPDATE eval_runs SET body = json_set(body, '$.status', ?, '$.error', json(?))"
                " WHERE id = ? AND status IN (?, ?)",
                (status, json.dumps(error), run_id, *UNFINISHED),
            )
            return self.get(run_id) if changed.rowcount else None

    def delete(self, run_id: str) -> bool:
        """Forget a run with its items; ``False`` when there was none."""
        with self._db.change() as db:
            return db.execute("DELETE FROM eval_runs WHERE id = ?", (run_id,)).rowcount > 0

    # Items

    def waiting(self, run_id: str) -> list[Line]:
        """The next lines of a run that nobody has examined."""
        query = "SELECT number, line FROM eval_items WHERE run_id = ? AND body IS NULL ORDER BY n LIMIT ?"
        lines = []
        for row in self._db.all(query, (run_id, WAITING_AT_ONCE)):
            line = json.loads(row["line"])
            lines.append(Line(row["number"], line["item"], line.get("sample")))
        return lines

    def keep_result(self, run_id: str, number: int, body: Mapping[str, JSON]) -> None:
        """Write down what came out for a line; what stands there already stays as it is."""
        with self._db.change() as db:
            db.execute(
                "UPDATE eval_items SET body = ? WHERE run_id = ? AND number = ? AND body IS NULL",
                (json.dumps(body), run_id, number),
            )

    def items(
        self, run_id: str, *, status: str | None, after: str | None, limit: int, order: Order
    ) -> tuple[list[Body], bool]:
        """A page of a run's examined items, and whether more follow."""
        where, values = "run_id = ? AND body IS NOT NULL AND status = coalesce(?, status)", (run_id, status)
        rows, more = self._db.page("eval_items", where, values, after=after, limit=limit, order=order)
        return [_read_item(row) for row in rows], more

    def item(self, run_id: str, item_id: str) -> Body | None:
        """One examined item of a run, or ``None``."""
        query = "SELECT * FROM eval_items WHERE run_id = ? AND id = ? AND body IS NOT NULL"
        row = self._db.one(query, (run_id, item_id))
        return _read_item(row) if row else None

    def _counted(self, run: Body) -> Body:
        """The run with its counts: items, items by criterion, and tokens by model."""
        of_run = (run["id"],)
        rows = self._db.all(
            "SELECT status, count(*) AS items FROM eval_items WHERE run_id = ? GROUP BY 1", of_run
        )
        by_status = {row["status"]: row["items"] for row in rows}
        run["result_counts"] = {
            "total": sum(by_status.values()),
            "passed": by_status.get("pass", 0),
            "failed": by_status.get("fail", 0),
            "errored": by_status.get("error", 0),
        }
        graded = self._db.all(
            "SELECT value ->> '$.name' AS name, sum(value ->> '$.passed') AS passed,"
            " sum(NOT value ->> '$.passed') AS failed FROM eval_items, json_each(body, '$.results')"
            " WHERE run_id = ? AND value ->> '$.error' IS NULL GROUP BY 1 ORDER BY min(key)",
            of_run,
        )
        run["per_testing_criteria_results"] = [
            {"testing_criteria": row["name"], "passed": row["passed"], "failed": row["failed"]}
            for row in graded
        ]
        used = self._db.all(
            "SELECT body ->> '$.sample.model' AS model_name, count(*) AS invocation_count,"
            " sum(body ->> '$.sample.usage.prompt_tokens') AS prompt_tokens,"
            " sum(body ->> '$.sample.usage.completion_tokens') AS completion_tokens,"
            " sum(body ->> '$.sample.usage.total_tokens') AS total_tokens,"
            " sum(body ->> '$.sample.usage.cached_tokens') AS cached_tokens"
            " FROM eval_items WHERE run_id = ? AND body ->> '$.sample.usage' IS NOT NULL GROUP BY 1",
            of_run,
        )
        run["per_model_usage"] = [dict(row) for row in used]
        return run


def _read(row: sqlite3.Row) -> Body:
    body: Body = json.loads(row["body"])
    return body


def _read_item(row: sqlite3.Row) -> Body:
    line = json.loads(row["line"])
    place = {"id": row["id"], "datasource_item_id": row["number"], "datasource_item": line["item"]}
    return place | _read(row)
