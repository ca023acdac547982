"""Finding the process that trains a job, for the tests that kill it."""

import time
from pathlib import Path

import psutil


def worker_of(service: int, home: Path, job_id: str) -> int:
    """The process that holds the job's lock file open."""
    lock = home / "service" / "jobs" / job_id / "worker.lock"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for child in psutil.Process(service).children(recursive=True):
            try:
                if any(Path(file.path) == lock for file in child.open_files()):
                    return child.pid
            except psutil.Error:
                continue
    raise AssertionError(f"no child of {service} works on {job_id}")
