"""Stored completions and responses: answers that are kept, with the conversation that led to them.

Apart because each subject of the store has a module with its tables; ``store`` only opens them.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence

from workbench.local.emulation import DAY, Clock
from workbench.local.store.database import Database
from workbench.local.store.rows import JSON, Order, Pairs

TABLES = """
CREATE TABLE IF NOT EXISTS completions (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,                     -- the completion as it was answered, and its metadata
    messages TEXT NOT NULL                  -- as they were asked
) STRICT;
CREATE TABLE IF NOT EXISTS responses (
    id TEXT NOT NULL PRIMARY KEY,
    created_at REAL NOT NULL,               -- seconds since 1970
    body TEXT NOT NULL,                     -- the response as it was answered
    input TEXT NOT NULL                     -- its own input items, without those of the responses before it
) STRICT, WITHOUT ROWID;
"""
KEEP_RESPONSES = 30 * DAY  # OpenAI: at least so long (Responses API, parameter ``store``)


class Completions:
    """The stored completions of one service."""

    def __init__(self, db: Database) -> None:
        """Keep them in ``db``."""
        self._db = db

    def add(self, body: Mapping[str, JSON], messages: Sequence[Mapping[str, JSON]]) -> None:
        """Keep an answer; it is on the disk when this returns."""
        said = json.dumps(list(messages))
        self._db.insert("completions", {"id": body["id"], "body": json.dumps(body), "messages": said})

    def get(self, completion_id: str) -> dict[str, JSON] | None:
        """One answer, or ``None``."""
        row = self._db.one("SELECT body FROM completions WHERE id = ?", (completion_id,))
        return _read(row) if row else None

    def page(
        self, *, after: str | None, limit: int, order: Order, model: str | None, metadata: Pairs
    ) -> tuple[list[dict[str, JSON]], bool]:
        """A page of answers and whether more follow; only those of ``model`` and with all of ``metadata``."""
        one = "EXISTS (SELECT 1 FROM json_each(body, '$.metadata') WHERE key = ? AND value = ?)"
        clauses, values = [one] * len(metadata), [part for pair in metadata.items() for part in pair]
        if model is not None:
            clauses.append("json_extract(body, '$.model') = ? COLLATE NOCASE")
            values.append(model)
        where = " AND ".join(clauses) or "TRUE"
        rows, more = self._db.page("completions", where, tuple(values), after=after, limit=limit, order=order)
        return [_read(row) for row in rows], more

    def messages(self, completion_id: str) -> list[dict[str, JSON]]:
        """The conversation that led to an answer."""
        row = self._db.one("SELECT messages FROM completions WHERE id = ?", (completion_id,))
        found: list[dict[str, JSON]] = json.loads(row["messages"]) if row else []
        return found

    def set_metadata(self, completion_id: str, metadata: Mapping[str, str]) -> dict[str, JSON] | None:
        """Replace the metadata of an answer; ``None`` when there is no such answer."""
        change = "UPDATE completions SET body = json_set(body, '$.metadata', json(?)) WHERE id = ?"
        with self._db.change():
            self._db.write(change, (json.dumps(dict(metadata)), completion_id))
            return self.get(completion_id)

    def delete(self, completion_id: str) -> bool:
        """Forget an answer; ``False`` when there was none."""
        return self._db.write("DELETE FROM completions WHERE id = ?", (completion_id,)) > 0


class Responses:
    """The responses of one service, each with its place in a conversation."""

    def __init__(self, db: Database, clock: Clock) -> None:
        """Keep them in ``db``, for ``KEEP_RESPONSES`` of ``clock``."""
        self._db, self._clock = db, clock

    def add(self, body: Mapping[str, JSON], items: Sequence[Mapping[str, JSON]]) -> None:
        """Keep a response and its input items; it is on the disk when this returns."""
        kept = {"id": body["id"], "created_at": self._clock.now(), "body": json.dumps(body)}
        self._db.insert("responses", {**kept, "input": json.dumps(list(items))})

    def get(self, response_id: str) -> dict[str, JSON] | None:
        """One response, or ``None``."""
        row = self._db.one("SELECT body FROM responses WHERE id = ?", (response_id,))
        return _read(row) if row else None

    def input_items(self, response_id: str) -> list[dict[str, JSON]]:
        """The items that one response was asked with, oldest first."""
        row = self._db.one("SELECT input FROM responses WHERE id = ?", (response_id,))
        found: list[dict[str, JSON]] = json.loads(row["input"]) if row else []
        return found

    def conversation(self, response_id: str) -> list[dict[str, JSON]] | None:
        """All items up to the end of a response, oldest first; ``None`` when one before it is missing."""
        turns: list[list[dict[str, JSON]]] = []
        wanted: str | None = response_id
        while wanted is not None:
            row = self._db.one("SELECT body, input FROM responses WHERE id = ?", (wanted,))
            if row is None:
                return None
            body = json.loads(row["body"])
            turns.append([*json.loads(row["input"]), *body["output"]])
            wanted = body["previous_response_id"]
        return [item for turn in reversed(turns) for item in turn]

    def delete(self, response_id: str) -> bool:
        """Forget a response; ``False`` when there was none."""
        return self._db.write("DELETE FROM responses WHERE id = ?", (response_id,)) > 0

    def tidy(self) -> None:
        """Forget those that were kept long enough."""
        oldest = self._clock.now() - self._clock.takes(KEEP_RESPONSES)
        self._db.write("DELETE FROM responses WHERE created_at < ?", (oldest,))


def _read(row: sqlite3.Row) -> dict[str, JSON]:
    body: dict[str, JSON] = json.loads(row["body"])
    return body
