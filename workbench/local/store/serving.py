"""What the service knows about answering: deployments, and the completions and responses that it keeps.

What time does to a deployment follows from the clock alone, nothing has to happen for it: it is
``Creating`` and then ``Succeeded``, and one that nobody called, or of the Developer tier, is over.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from workbench.local.emulation import DAY, Clock
from workbench.local.store.database import Database
from workbench.local.store.rows import JSON, Order, Pairs

PROVISIONING = 5.0  # seconds; Azure does not document its own figure; it takes minutes
# "Deploy a fine-tuned model", 7 October 2026: a tuned model's deployment without a completed call, and one
# of the Developer tier whether it is called or not.
UNUSED = 15 * DAY
DEVELOPER = DAY
DEVELOPER_SKU = "DeveloperTier"
APART = ("name", "created_at", "called_at")  # what has a column of its own
KEEP_RESPONSES = 30 * DAY  # OpenAI: at least so long (Responses API, parameter ``store``)

TABLES = """
CREATE TABLE IF NOT EXISTS deployments (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    created_at REAL NOT NULL,
    called_at REAL,
    body TEXT NOT NULL
) STRICT;
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


@dataclass(frozen=True)
class Deployment:
    """A model under a name of its own."""

    name: str
    sku: str
    capacity: int  # thousands of tokens a minute
    model: str
    version: str
    format: str  # whose model it is, in the words of Azure's management API
    tuned: bool
    settings: Mapping[str, JSON] = field(default_factory=dict)  # what is repeated as it was given
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at: float = 0.0
    called_at: float | None = None  # the last answer

    @property
    def etag(self) -> str:
        """A word that changes when the deployment is changed, as HTTP quotes it."""
        said = json.dumps([_body(self), self.created_at], sort_keys=True)
        return f'"{hashlib.sha256(said.encode()).hexdigest()[:32]}"'

    def lacks(self, clock: Clock) -> float:
        """Seconds of the service until it answers; 0 when it does."""
        return max(0.0, PROVISIONING - clock.since(self.created_at))

    def answered_for(self, clock: Clock) -> float:
        """Seconds of the service for which it could have answered."""
        return max(0.0, clock.since(self.created_at) - PROVISIONING)

    def is_over(self, clock: Clock) -> bool:
        """Whether the service has taken it away: the Developer tier after a day, an unused one after 15."""
        is_old = self.sku == DEVELOPER_SKU and clock.since(self.created_at) >= DEVELOPER
        return is_old or (self.tuned and clock.since(self.called_at or self.created_at) >= UNUSED)


class Deployments:
    """The deployments of one service."""

    def __init__(self, db: Database, clock: Clock) -> None:
        """Keep them in ``db``; they age by ``clock``."""
        self._db, self._clock = db, clock

    def put(self, deployment: Deployment) -> None:
        """Keep a new deployment, or an old one's new settings."""
        self._db.write(
            "INSERT INTO deployments (name, created_at, called_at, body) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET body = excluded.body",
            (*(getattr(deployment, name) for name in APART), json.dumps(_body(deployment))),
        )

    def get(self, name: str) -> Deployment | None:
        """The deployment of this name, upper and lower case alike."""
        return next((one for one in self.all() if one.name.lower() == name.lower()), None)

    def all(self) -> list[Deployment]:
        """Those that are there at this moment, oldest first; what is over is forgotten."""
        found = [_deployment(row) for row in self._db.all("SELECT * FROM deployments ORDER BY n")]
        over = [one for one in found if one.is_over(self._clock)]
        for one in over:
            self.delete(one.name)
        return [one for one in found if one not in over]

    def of_model(self, model: str) -> list[Deployment]:
        """Those of one model; while there are any, it cannot be deleted."""
        return [one for one in self.all() if one.model.lower() == model.lower()]

    def delete(self, name: str) -> bool:
        """Forget a deployment; ``False`` when there was none."""
        return self._db.write("DELETE FROM deployments WHERE name = ?", (name,)) > 0

    def note_answer(self, name: str) -> None:
        """Remember that a deployment answered now."""
        self._db.write("UPDATE deployments SET called_at = ? WHERE name = ?", (self._clock.now(), name))


def _body(deployment: Deployment) -> dict[str, object]:
    return {name: value for name, value in asdict(deployment).items() if name not in APART}


def _deployment(row: sqlite3.Row) -> Deployment:
    return Deployment(**{name: row[name] for name in APART}, **json.loads(row["body"]))


# Answers that are kept, with the conversations that led to them.


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
