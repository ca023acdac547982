"""Everything the service knows, in rooms by subject over one database and a few folders.

Server and workers use it alike. Every call is one short transaction that is on the disk when
it returns; what a killed process left half done is invisible. Rows come back as the API shows
them. What a field may hold is decided elsewhere.
"""

from contextlib import AbstractContextManager
from pathlib import Path

from workbench.local.clock import Clock
from workbench.local.storage import (
    checkpoints,
    completions,
    deployments,
    events,
    files,
    jobs,
    metrics,
    safety,
    uploads,
)
from workbench.local.storage.database import Database

TABLES = (
    *(jobs.TABLES, files.TABLES, uploads.TABLES, events.TABLES, metrics.TABLES, checkpoints.TABLES),
    *(deployments.TABLES, completions.TABLES, safety.TABLES),
)


class Store:
    """The database and the folders of one service."""

    def __init__(self, home: Path, clock: Clock | None = None, *, models: Path | None = None) -> None:
        """Open what lies in ``home/service``, making it first if need be; what expires goes by ``clock``.

        Base models lie in ``models``, else in ``home/models``.

        Raises ``SetupError`` when the database is damaged.
        """
        self.home = home
        self.root = home / "service"
        self.models = models or home / "models"
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)  # uploads are nobody else's business
        clock = clock or Clock()
        self._db = Database(self.root / "service.db", TABLES)
        self.events = events.Events(self._db)
        self.metrics = metrics.Metrics(self._db)
        self.jobs = jobs.Jobs(self._db, self.root, self.events, self.metrics)
        self.files = files.Files(self._db, self.root, self.metrics, clock)
        self.uploads = uploads.Uploads(self._db, self.root, self.files, clock)
        self.checkpoints = checkpoints.Checkpoints(self._db, self.root, self.jobs)
        self.deployments = deployments.Deployments(self._db, clock)
        self.completions = completions.Completions(self._db)
        self.safety = safety.Safety(self._db)

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()

    def together(self) -> AbstractContextManager[object]:
        """Make several changes one: all of them stand, or none."""
        return self._db.change()

    def tidy(self) -> None:
        """Check the database and remove what a killed service left half done, before a new one listens.

        Raises ``SetupError`` when the database is damaged.
        """
        self._db.check()
        for room in (self.files, self.uploads, self.jobs, self.checkpoints):
            room.tidy()
