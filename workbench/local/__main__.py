"""The service in the foreground: ``python -m workbench.local --home DIR [--port N]``.

It listens on 127.0.0.1 only. One service at a time works on a home; a service that comes after
another one takes over its port, if that is free, and its key. Apart because Python runs it by this name.
"""

import argparse
import asyncio
import hashlib
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.util import Finalize
from pathlib import Path
from types import FrameType
from typing import Any, cast

import psutil
import uvicorn
from filelock import FileLock, Timeout
from uvicorn.protocols.http.h11_impl import H11Protocol

from workbench.errors import SetupError
from workbench.local.api.app import create_app
from workbench.local.emulation import Clock, Emulation, described, quota_name, read_faults
from workbench.local.log import BoundedLog, Once, cut_log
from workbench.local.process import HOST, AlreadyRunningError, Record, make_home, read_record, write_record
from workbench.local.store.database import discard, is_disk_full, release_reserve
from workbench.settings import VERSION, models_in, setting
from workbench.settings import home as usual_home

if sys.platform != "win32":
    import resource

OPEN_FILES = 8192  # as many as the system allows, at most
CONNECTIONS = 512  # at once; beyond, the one that has asked for nothing for the longest time is closed
HEAD_TIMEOUT = 15.0  # seconds for a request's first line and headers
BODY_TIMEOUT = 60.0  # seconds without a byte of a body that was announced
LOOK_INTERVAL = 1.0  # seconds between two looks at the connections


def serve(home: Path, *, port: int | None = None, emulation: Emulation | None = None) -> None:
    """Run the service of ``home`` until somebody stops it, on ``port`` or a free one.

    Raises ``SetupError`` when the home is taken or damaged, or the port in use.
    """
    make_home(home)
    bound_connections = _raise_open_files()
    lock = FileLock(home / "service.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise AlreadyRunningError(_taken(home)) from error
    with lock, _own_temporary_folder(home):
        previous = read_record(home)
        for leftover in home.glob("service.json.*"):  # of one that was killed while it wrote
            leftover.unlink(missing_ok=True)
        _log_to(home)
        key = _key(previous)
        with _listen(port, previous) as listener:
            app = create_app(home, key, models=models_in(home), emulation=emulation)
            bound = listener.getsockname()[1]
            record = Record(f"http://{HOST}:{bound}", bound, os.getpid(), _started(), key, VERSION)
            config = uvicorn.Config(
                app,
                http=_Connection,
                backlog=256,
                loop="asyncio",
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="warning",
                limit_concurrency=bound_connections + bound_connections // 4,  # 503 beyond
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
            # uvicorn sends itself the signal again in the end; clearing up here still has its turn.
            signal.signal(signal.SIGTERM, _leave)
            try:
                _Server(config, home, record, bound_connections).run(sockets=[listener])
            except KeyboardInterrupt:
                print("The local service has stopped.")


class _Connection(H11Protocol):
    """A connection that knows since when it has been waiting for a request, or for the rest of one.

    uvicorn itself closes only what is silent after an answer, not what never asks or never ends asking.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.waits_since = self.heard_at = time.monotonic()
        bound = self.config.limit_concurrency
        if bound is not None and len(self.connections) > bound - bound // 5:
            close_longest_waiting(self.connections)
            if len(self.connections) > 2 * bound:
                transport.abort()

    def data_received(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        super().data_received(data)

    def on_response_complete(self) -> None:
        self.waits_since = time.monotonic()
        super().on_response_complete()

    @property
    def is_waiting(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def is_overdue(self, now: float) -> bool:
        """Whether a request, or the rest of one, has been awaited for too long."""
        if self.is_waiting:
            return now - self.waits_since > HEAD_TIMEOUT
        unheard = self.cycle.more_body and not self.flow.read_paused
        return unheard and now - max(self.heard_at, self.waits_since) > BODY_TIMEOUT


def close_longest_waiting(connections: "set[Any]") -> None:
    """Close the connection that has asked for nothing for the longest time, so that another fits in."""
    waiting = [one for one in connections if one.is_waiting and not one.transport.is_closing()]
    if waiting:
        min(waiting, key=lambda one: cast(float, one.waits_since)).transport.abort()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, home: Path, record: Record, connections: int) -> None:
        super().__init__(config)
        self._home, self._record = home, record
        self._bound = connections
        self._housekeeping = Housekeeping(home, record)
        self._looked_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(self._complain)
        await super().startup(sockets)
        try:
            write_record(self._home, self._record)
        except OSError as error:
            # Nobody finds the service without it, and one that is found can be asked to delete files.
            if not is_disk_full(error) or not release_reserve(self._home / "service"):
                raise
            write_record(self._home, self._record)
        where = self._home / "service.json"
        print(f"The local service listens at {self._record.url}; its key is in {where}.", flush=True)

    async def on_tick(self, counter: int) -> bool:
        now = time.monotonic()
        if now - self._looked_at > LOOK_INTERVAL:
            self._looked_at = now
            for connection in list(self.server_state.connections):
                if isinstance(connection, _Connection) and connection.is_overdue(now):
                    connection.transport.abort()
            self._housekeeping.look_after(now)
        return await super().on_tick(counter)

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Tell once that no more connections can be opened, and close one, instead of a traceback each."""
        if str(context.get("message", "")).startswith("socket.accept()"):
            logging.getLogger(__name__).error("No connection can be accepted: %s.", context.get("exception"))
            close_longest_waiting(self.server_state.connections)
        else:
            loop.default_exception_handler(context)


class Housekeeping:
    """What a service does for itself every half minute; trouble with that is noted once and ends nothing."""

    INTERVAL = 30.0  # seconds

    def __init__(self, home: Path, record: Record) -> None:
        """Keep the files of ``home``, whose service is the one of ``record``, true and small."""
        self._home, self._record = home, record
        self._last = float("-inf")
        self._trouble = Once()

    def look_after(self, now: float) -> None:
        """Keep the log small and the record true, if it is time at ``now``."""
        if now - self._last < self.INTERVAL:
            return
        self._last = now
        cut_log(self._home / "service.log")
        try:
            # A process's start is measured by the clock, and the clock may have been set since.
            written, started = read_record(self._home), _started()
            if written is None or abs(started - written.started) > 0.5:
                write_record(self._home, replace(self._record, started=started))
        except (OSError, psutil.Error) as error:
            where = self._home / "service.json"
            self._trouble.begins("record", f"{where} cannot be kept up to date ({error}); it goes on.")
        else:
            self._trouble.is_over("record")


def _log_to(home: Path) -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, BoundedLog) for handler in root.handlers):
        root.addHandler(BoundedLog(home / "service.log"))


def _raise_open_files() -> int:
    """Let the service open as many files as the system allows it, a few thousand at most.

    Returns how many connections may be open at once: a third of the files at most, the store needs others.
    """
    if sys.platform == "win32":
        return CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(8, min(CONNECTIONS, soft // 3))


@contextmanager
def _own_temporary_folder(home: Path) -> Iterator[None]:
    """A folder for all temporary files of this service and its children, so that its successor finds them.

    It lies where temporary files do, because the names of sockets in it must be short.
    """
    name = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"wb-{name}"
    try:
        discard(folder)
        folder.mkdir(mode=0o700)  # fails when somebody else's is there
    except OSError:
        yield
        return
    # Last of all: at -100 multiprocessing removes its own folder in this one, and complains if it is gone.
    Finalize(None, discard, args=(folder,), exitpriority=-200)
    outer, before = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = outer
        os.environ.pop("TMPDIR")
        os.environ.update({} if before is None else {"TMPDIR": before})


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _started() -> float:
    return psutil.Process().create_time()


def _key(previous: Record | None) -> str:
    given = setting("WORKBENCH_LOCAL_KEY")
    if given and not (given.isascii() and given.isprintable() and " " not in given):
        raise SetupError("WORKBENCH_LOCAL_KEY travels in a header: use printable ASCII without blanks.")
    return given or (previous.key if previous else secrets.token_urlsafe(32))


def _listen(port: int | None, previous: Record | None) -> socket.socket:
    wanted = [port] if port is not None else [previous.port, 0] if previous else [0]
    for candidate in wanted:
        # Named in full: asyncio sends small answers at once only on sockets that say they are TCP.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        # A port that a service just left may be taken again at once.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, candidate))
            listener.listen(2048)
            return listener
        except (OSError, OverflowError) as error:
            listener.close()
            problem = error
    reason = "is in use by another program" if isinstance(problem, OSError) else "is not between 1 and 65535"
    if isinstance(problem, PermissionError):
        reason = "is reserved by the system"
    raise SetupError(f"Port {wanted[-1]} {reason}; choose another with --port, or leave it out for any.")


def _taken(home: Path) -> str:
    record = read_record(home)
    who = f" (process {record.pid}, {record.url})" if record and record.is_running() else ""
    return f"A service works on {home} already{who}; use it, or run: python -m workbench service stop"


def main(words: Sequence[str] | None = None, *, program: str = "python -m workbench.local") -> int:
    """Read the command line, or ``words``, and serve."""
    parser = argparse.ArgumentParser(prog=program, description="The local service.")
    parser.epilog = f"faults:\n{described()}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--home", type=Path, help="the folder that holds all its state; else WORKBENCH_HOME")
    parser.add_argument("--port", type=int, help="the port to listen on; else a free one")
    parser.add_argument("--quota", type=quota_name, default="local", help="local, azure or off")
    parser.add_argument("--strict", action="store_true", help="a model answers only when it is deployed")
    parser.add_argument("--clock", type=float, default=1.0, metavar="FACTOR", help="time runs so much faster")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME[=VALUE]", help="repeatable")
    try:
        asked = parser.parse_args(words)
        emulation = Emulation(asked.quota, asked.strict, Clock(asked.clock), read_faults(asked.fault))
        serve((asked.home or usual_home()).resolve(), port=asked.port, emulation=emulation)
    except SetupError as error:
        print(error, file=sys.stderr)
        return error.exit_code if isinstance(error, AlreadyRunningError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
