"""The service in the foreground: ``python -m workbench.local --home DIR [--port N]``.

It listens on 127.0.0.1 only. One service at a time works on a home; a service that comes after
another one takes over its port, if that is free, and its key.
"""

import argparse
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import uvicorn
from filelock import FileLock, Timeout

from workbench.errors import SetupError
from workbench.local.api.app import create_app
from workbench.local.clock import Clock
from workbench.local.faults import described, read_faults
from workbench.local.process import (
    ALREADY_RUNS,
    HOST,
    AlreadyRunningError,
    Record,
    make_home,
    read_record,
    write_record,
)
from workbench.local.quota import quota_name
from workbench.local.rehearsal import Rehearsal
from workbench.settings import VERSION, models_in, setting
from workbench.settings import home as usual_home

LOG_BOUND = 4 * 1024 * 1024
LOG_KEPT = 1024 * 1024


def serve(home: Path, *, port: int | None = None, rehearsal: Rehearsal | None = None) -> None:
    """Run the service of ``home`` until somebody stops it, on ``port`` or a free one.

    Raises ``SetupError`` when the home is taken or damaged, or the port in use.
    """
    make_home(home)
    lock = FileLock(home / "service.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise AlreadyRunningError(_taken(home)) from error
    with lock:
        previous = read_record(home)
        key = _key(previous)
        with _listen(port, previous) as listener:
            app = create_app(home, key, models=models_in(home), rehearsal=rehearsal)
            bound = listener.getsockname()[1]
            record = Record(f"http://{HOST}:{bound}", bound, os.getpid(), _started(), key, VERSION)
            config = uvicorn.Config(
                app,
                http="h11",
                loop="asyncio",
                ws="none",
                lifespan="on",
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                use_colors=False,
                timeout_graceful_shutdown=5,
                callback_notify=lambda: _look_after(home, record),
            )
            try:
                _Server(config, home, record).run(sockets=[listener])
            except KeyboardInterrupt:
                print("The local service has stopped.")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, home: Path, record: Record) -> None:
        super().__init__(config)
        self._home, self._record = home, record

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        write_record(self._home, self._record)
        where = self._home / "service.json"
        print(f"The local service listens at {self._record.url}; its key is in {where}.", flush=True)


async def _look_after(home: Path, record: Record) -> None:
    """Every half minute: keep the log small and the record true."""
    # A process's start is told by the clock, and the clock may have been set since.
    written = read_record(home)
    if written is None or abs(_started() - written.started) > 0.5:
        write_record(home, replace(record, started=_started()))
    log = home / "service.log"
    if log.exists() and log.stat().st_size > LOG_BOUND:
        with log.open("r+b") as stream:
            stream.seek(-LOG_KEPT, os.SEEK_END)
            kept = stream.read()
            stream.truncate(0)
            stream.seek(0)
            stream.write(kept)


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
    raise SetupError(
        f"Port {wanted[-1]} {reason}; choose another with --port, or leave it out for a free one."
    )


def _taken(home: Path) -> str:
    record = read_record(home)
    who = f" (process {record.pid}, {record.url})" if record and record.is_running() else ""
    return (
        f"A service works on {home} already{who}; use it, or stop it first: python -m workbench service stop"
    )


def main(words: Sequence[str] | None = None, *, program: str = "python -m workbench.local") -> int:
    """Read the command line, or ``words``, and serve."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="The local service.",
        epilog=f"faults:\n{described()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--home", type=Path, help="the folder that holds all its state; else WORKBENCH_HOME")
    parser.add_argument("--port", type=int, help="the port to listen on; else a free one")
    parser.add_argument(
        "--quota", type=quota_name, default="local", help="jobs and files: local, azure or off"
    )
    parser.add_argument("--strict", action="store_true", help="a model answers only when it is deployed")
    parser.add_argument("--clock", type=float, default=1.0, metavar="FACTOR", help="time runs so much faster")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME[=VALUE]", help="may be given more than once"
    )
    try:
        asked = parser.parse_args(words)
        rehearsal = Rehearsal(asked.quota, asked.strict, Clock(asked.clock), read_faults(asked.fault))
        serve((asked.home or usual_home()).resolve(), port=asked.port, rehearsal=rehearsal)
    except SetupError as error:
        print(error, file=sys.stderr)
        return ALREADY_RUNS if isinstance(error, AlreadyRunningError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
