"""The local service seen from outside: find it, start it, stop it.

A running service keeps ``service.json`` in its home: address, process and key. Nothing here
loads the service itself.
"""

import http.client
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from workbench.errors import SetupError
from workbench.settings import ROOT

HOST = "127.0.0.1"
HEALTH_TIMEOUT = 5.0  # seconds
STOP_TIMEOUT = 30.0  # seconds for open answers and the step in training to end

# Kept, so that Python reaps a service that we started and that ended.
_started: dict[int, "subprocess.Popen[bytes]"] = {}


class AlreadyRunningError(SetupError):
    """Another service holds this home."""

    exit_code = 75


@dataclass(frozen=True)
class Record:
    """What a service writes down about itself: where it listens, the key that opens it, its process.

    ``started`` distinguishes its process from a later one of the same number.
    """

    url: str
    port: int
    pid: int
    started: float
    key: str = field(repr=False)
    version: str

    def is_running(self) -> bool:
        """Whether that very process still runs."""
        if self.pid in _started:
            _started[self.pid].poll()
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def find(home: Path) -> Record | None:
    """The service of ``home``, if it runs and answers."""
    record = read_record(home)
    return record if record and record.is_running() and _answers(record) else None


def start(home: Path, *, port: int | None = None, timeout: float = 30.0) -> Record:
    """Start the service of ``home``, or find it; it outlives this process.

    Raises ``SetupError`` when it cannot start, with what it said itself.
    """
    make_home(home)
    try:
        with FileLock(home / "start.lock", timeout=timeout):
            address = find(home) or _launch(home, port, timeout)
    except Timeout as error:
        message = f"Another process has been starting the service of {home} for {timeout:.0f} s."
        raise SetupError(message) from error
    if port and not address.url.endswith(f":{port}"):
        way_out = f"to move it to port {port}, stop it first: python -m workbench service stop"
        raise SetupError(f"The local service runs at {address.url}; {way_out}")
    return address


def stop(home: Path) -> bool:
    """Stop the service of ``home``; ``False`` when none ran. What it works on goes on at the next start."""
    record = read_record(home)
    if record is None or not record.is_running():
        return False
    process = psutil.Process(record.pid)
    process.terminate()
    if not _wait_for_end(record, STOP_TIMEOUT):
        process.kill()
        _wait_for_end(record, STOP_TIMEOUT)
    return True


def make_home(home: Path) -> None:
    """Make sure that ``home`` is a folder to write to."""
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{home} cannot be made a folder ({error.strerror}); give WORKBENCH_HOME another one."
        raise SetupError(message) from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise SetupError(f"{home} cannot be written to; give WORKBENCH_HOME another folder.")


def read_record(home: Path) -> Record | None:
    """What the present or the last service of ``home`` wrote down."""
    try:
        return Record(**json.loads((home / "service.json").read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):  # not ours, or of another version: as good as none
        return None


def write_record(home: Path, record: Record) -> None:
    """Write it down for the others, at once and for our own eyes only."""
    fresh = home / f"service.json.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(asdict(record), stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(home / "service.json")


def _launch(home: Path, port: int | None, timeout: float) -> Record:
    command = [sys.executable, "-m", "workbench.local", "--home", str(home)]
    command += [] if port is None else ["--port", str(port)]
    log = home / "service.log"
    with log.open("ab") as output:
        begin = output.tell()
        # From the repository's folder: the caller's may hold modules of any name.
        child = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    _started[child.pid] = child
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        address = find(home)
        if address:
            return address
        if child.poll() not in (None, AlreadyRunningError.exit_code):
            raise SetupError(_last_words(log, begin))
        time.sleep(0.02)
    if child.poll() is not None:
        raise SetupError(_last_words(log, begin))
    child.kill()
    raise SetupError(f"The local service did not answer within {timeout:.0f} s; {log} may say why.")


def _last_words(log: Path, begin: int) -> str:
    with log.open("rb") as stream:
        stream.seek(begin)
        lines = stream.read().decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return f"The local service did not start{f': {said[-1]}' if said else f'; see {log}.'}"


def _answers(record: Record) -> bool:
    connection = http.client.HTTPConnection(HOST, record.port, timeout=HEALTH_TIMEOUT)
    try:
        connection.request("GET", "/health", headers={"api-key": record.key})
        answer = connection.getresponse()
        return answer.status == 200 and json.load(answer).get("pid") == record.pid
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def _wait_for_end(record: Record, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while record.is_running() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not record.is_running()
