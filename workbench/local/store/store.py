"""Everything the service knows, by subject, in one database and a few folders.

Server and workers use it alike. Every call is one short transaction that is on the disk when
it returns; what a killed process left half done is invisible. Rows come back as the API shows
them. What a field may hold is decided elsewhere.
"""

import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

from workbench.local.emulation import Clock
from workbench.local.log import note
from workbench.local.store import checkpoints, files, jobs, serving
from workbench.local.store.database import Database, Tidied, discard, hold_reserve, is_disk_full

TABLES = tuple(part.TABLES for part in (jobs, files, checkpoints, serving))


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
        self.events = jobs.Events(self._db)
        self.metrics = jobs.Metrics(self._db)
        self.jobs = jobs.Jobs(self._db, self.root, self.events, self.metrics)
        self.files = files.Files(self._db, self.root, self.metrics, clock)
        self.uploads = files.Uploads(self._db, self.root, self.files, clock)
        self.checkpoints = checkpoints.Checkpoints(self._db, self.root, self.jobs)
        self.deployments = serving.Deployments(self._db, clock)
        self.completions = serving.Completions(self._db)
        self.responses = serving.Responses(self._db, clock)
        self.safety = checkpoints.Safety(self._db)

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()

    def together(self) -> AbstractContextManager[object]:
        """Make several changes one: all of them stand, or none."""
        return self._db.change()

    def tidy(self) -> None:
        """Check the database and put in order what a killed service left, before a new one listens.

        What was half done is removed. What is whole and unknown to the database, because that is new
        or an older copy, is taken up again; what else is unknown is set aside in ``orphaned``, never
        deleted. Raises ``SetupError`` when the database is damaged.
        """
        self._db.check()
        found = [Tidied()]
        try:
            self._remove_forgotten()
            self.responses.tidy()
            for part in (self.jobs, self.files, self.uploads, self.checkpoints):
                found.append(part.tidy())
        except (OSError, sqlite3.Error) as error:
            if not is_disk_full(error):
                raise
            note("The disk is full: what a killed service left is put in order at a later start.")
        hold_reserve(self.root)
        taken_up, aside = (sum(counts) for counts in zip(*found, strict=True))
        if taken_up:
            note(f"{taken_up} files, jobs and models that the database did not know were taken up again.")
        if aside:
            where = self.root / "orphaned"
            note(f"{aside} files and folders that nobody knows were moved to {where}; look, then delete it.")

    def _remove_forgotten(self) -> None:
        """Remove what was deleted and still lay there for a job, or because the service was killed."""
        needed = {f"files/{file_id}" for file_id in self.files.in_use()}
        going_on = {f"adapters/{job['id']}" for job in self.jobs.in_states(*jobs.UNFINISHED)}
        gone = []
        for row in self._db.all("SELECT name FROM forgotten"):
            name = row["name"]
            if name not in needed and name.rpartition("/")[0] not in going_on:
                discard(self.root / name)
                discard(self.root / f"{name}.json")
                gone.append((name,))
        with self._db.change() as db:
            db.executemany("DELETE FROM forgotten WHERE name = ?", gone)
