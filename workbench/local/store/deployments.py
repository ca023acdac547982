"""Deployments: which model answers under which name, of what size, since when, and when it last did.

What time does to a deployment follows from the clock alone, nothing has to happen for it: it is
``Creating`` and then ``Succeeded``, and one that nobody called, or of the Developer tier, is over.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from workbench.local.emulation import DAY, Clock
from workbench.local.store.database import Database
from workbench.local.store.rows import JSON

PROVISIONING = 5.0  # seconds; Azure does not document its own figure; it takes minutes
# "Deploy a fine-tuned model", 7 October 2026: a tuned model's deployment without a completed call, and one
# of the Developer tier whether it is called or not.
UNUSED = 15 * DAY
DEVELOPER = DAY
DEVELOPER_SKU = "DeveloperTier"
APART = ("name", "created_at", "called_at")  # what has a column of its own

TABLES = """
CREATE TABLE IF NOT EXISTS deployments (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    created_at REAL NOT NULL,
    called_at REAL,
    body TEXT NOT NULL
) STRICT;
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
