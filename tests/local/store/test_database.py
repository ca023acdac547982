"""A home that an earlier workbench made: it opens, and everything in it is still there."""

import json
import sqlite3
from pathlib import Path

from workbench.local.store.store import Store

# The whole schema of the first version, as it was written into databases.
FIRST = """
CREATE TABLE files (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    filename TEXT NOT NULL,
    purpose TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    bytes INTEGER,
    job_id TEXT UNIQUE REFERENCES jobs (id)
) STRICT;
CREATE TABLE jobs (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,
    status TEXT NOT NULL AS (json_extract(body, '$.status'))
) STRICT;
CREATE INDEX jobs_by_status ON jobs (status, n);
CREATE TABLE events (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL REFERENCES jobs (id),
    body TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_job ON events (job_id, n);
CREATE TABLE metrics (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    step INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (job_id, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL REFERENCES jobs (id),
    step INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    model TEXT NOT NULL UNIQUE COLLATE NOCASE,
    base_model TEXT NOT NULL,
    folder TEXT NOT NULL,
    metrics TEXT NOT NULL,
    UNIQUE (job_id, step)
) STRICT;
PRAGMA user_version = 1;
"""
# Tables of evals and their runs, which earlier versions kept.
EVALS = """
CREATE TABLE evals (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL) STRICT;
CREATE TABLE eval_runs (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    eval_id TEXT NOT NULL REFERENCES evals (id) ON DELETE CASCADE,
    body TEXT NOT NULL
) STRICT;
INSERT INTO evals (id, body) VALUES ('eval_1', '{}');
INSERT INTO eval_runs (id, eval_id, body) VALUES ('evalrun_1', 'eval_1', '{"status": "in_progress"}');
"""
UPLOADED, RESULTS, JOB = "file-" + "a" * 32, "file-" + "b" * 32, "ftjob-" + "c" * 32
BODY = {
    "id": JOB,
    "created_at": 1_790_000_000,
    "object": "fine_tuning.job",
    "status": "running",
    "model": "nano",
    "training_file": UPLOADED,
    "hyperparameters": {"n_epochs": 3},
    "seed": 7,
    "result_files": [RESULTS],
}
EVENT = {
    "id": "ftevent-1",
    "created_at": 1_790_000_001,
    "level": "info",
    "message": "Job started.",
    "object": "fine_tuning.job.event",
    "type": "message",
}


def first_home(home: Path) -> None:
    """A service's folder with one upload and one job in training, as the first version left it."""
    for folder in ("files", "incoming", f"adapters/{JOB}/step-1", f"jobs/{JOB}"):
        (home / "service" / folder).mkdir(parents=True)
    (home / "service" / "files" / UPLOADED).write_bytes(b"{}\n")
    database = sqlite3.connect(home / "service" / "service.db")
    database.executescript(FIRST)
    database.execute("INSERT INTO jobs (id, body) VALUES (?, ?)", (JOB, json.dumps(BODY)))
    database.executemany(
        "INSERT INTO files (id, filename, purpose, created_at, bytes, job_id) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (UPLOADED, "faq.jsonl", "fine-tune", 1_790_000_000, 3, None),
            (RESULTS, "results.csv", "fine-tune-results", 1_790_000_001, None, JOB),
        ],
    )
    database.execute(
        "INSERT INTO events (id, job_id, body) VALUES ('ftevent-1', ?, ?)", (JOB, json.dumps(EVENT))
    )
    database.execute("""INSERT INTO metrics VALUES (?, 1, '{"train_loss": 2.5}')""", (JOB,))
    database.execute(
        "INSERT INTO checkpoints (id, job_id, step, created_at, model, base_model, folder, metrics)"
        " VALUES ('ftchkpt-1', ?, 1, 1790000002, 'nano.ft-c:ckpt-step-1', 'nano', ?, '{\"step\": 1}')",
        (JOB, f"adapters/{JOB}/step-1"),
    )
    database.commit()
    database.close()


def test_a_home_of_the_first_version_opens_with_all_it_held(home: Path) -> None:
    first_home(home)
    store = Store(home)
    store.tidy()
    assert store.jobs.in_states("running") == [BODY]
    assert store.events.page(JOB, after=None, limit=5) == ([EVENT], False)
    assert store.files.path(UPLOADED).read_bytes() == b"{}\n"
    assert store.metrics.csv(JOB).splitlines()[1] == b"1,2.5,,,,,"
    assert store.files.get(RESULTS)["bytes"] == len(store.metrics.csv(JOB))
    model = store.checkpoints.model("nano.ft-c:ckpt-step-1")
    assert (model.base_model, model.adapter.is_dir(), model.job_id) == ("nano", True, JOB)
    store.close()


def test_a_job_of_the_first_version_goes_on_and_ends(home: Path) -> None:
    first_home(home)
    store = Store(home)
    store.metrics.add(JOB, 2, {"train_loss": 2.0})
    assert store.files.get(RESULTS)["bytes"] == len(store.metrics.csv(JOB))
    ended = store.jobs.update(JOB, expect={"running"}, status="succeeded", trained_tokens=12)
    assert (ended["status"], ended["result_files"]) == ("succeeded", [RESULTS])
    assert store.jobs.add({"model": "nano", "training_file": UPLOADED})["status"] == "pending"
    store.close()


def test_an_older_home_takes_what_came_later(home: Path) -> None:
    first_home(home)
    store = Store(home)
    upload = store.uploads.add("x.jsonl", "fine-tune", 5, expires_after=3600)
    with store.uploads.receive() as incoming:
        incoming.write(b"hello")
        part = store.uploads.keep(upload["id"], incoming)
    file = store.uploads.complete(upload["id"], [part["id"]])["file"]
    assert file["expires_at"] == file["created_at"] + 3600
    store.close()


def test_an_older_home_with_evals_opens_and_keeps_them(home: Path) -> None:
    first_home(home)
    with sqlite3.connect(home / "service" / "service.db") as database:
        database.executescript(EVALS)
    database.close()
    for _ in range(2):
        store = Store(home)
        store.tidy()
        assert store.jobs.in_states("running") == [BODY]
        store.close()
    database = sqlite3.connect(home / "service" / "service.db")
    assert database.execute("SELECT id, eval_id FROM eval_runs").fetchall() == [("evalrun_1", "eval_1")]
    database.close()
