"""The service as a process: found, started once, killed, started again, stopped."""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import openai
import psutil
import pytest
import uvicorn
from openai import OpenAI
from uvicorn.server import ServerState

from workbench.connect import fetch_tokenizer
from workbench.dataset import chat_template
from workbench.errors import SetupError
from workbench.local import __main__ as foreground
from workbench.local import process
from workbench.local.__main__ import Housekeeping
from workbench.local.log import BOUND, KEPT, BoundedLog, cut_log


@pytest.fixture
def home(home: Path) -> Iterator[Path]:
    """A home whose service is stopped after the test."""
    yield home
    process.stop(home)


def client_of(address: process.Record) -> OpenAI:
    return OpenAI(base_url=f"{address.url}/openai/v1/", api_key=address.key, max_retries=0, timeout=20)


def kill(address: process.Record) -> None:
    """End the service as a power cut would."""
    service = psutil.Process(address.pid)
    os.kill(address.pid, signal.SIGKILL)
    service.wait(10)


def run_service(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workbench.local", "--home", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_service_is_started_found_and_stopped(home: Path) -> None:
    assert process.find(home) is None
    address = process.start(home)
    assert process.find(home) == address
    assert process.start(home) == address
    assert [model.id for model in client_of(address).models.list()] == ["SmolLM2-135M-Instruct", "nano"]
    assert process.stop(home)
    assert process.find(home) is None
    assert not psutil.pid_exists(address.pid)
    assert not process.stop(home)


def test_only_this_machine_and_its_owner_come_near(home: Path) -> None:
    address = process.start(home)
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(address.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]
    assert (home / "service.json").stat().st_mode & 0o777 == 0o600
    assert (home / "service").stat().st_mode & 0o777 == 0o700
    with pytest.raises(openai.AuthenticationError):
        client_of(replace(address, key="wrong")).models.list()
    assert len(address.key) >= 32
    assert address.key not in (home / "service.log").read_text() + repr(address)


def test_two_starts_at_once_end_with_one_service(home: Path) -> None:
    code = "from pathlib import Path; from workbench.local import process; "
    code += f"print(process.start(Path({str(home)!r})))"
    starts = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = [start.communicate(timeout=60)[0] for start in starts]
    assert said == [f"{process.find(home)}\n"] * 3


def test_a_second_service_on_the_same_home_is_refused(home: Path) -> None:
    address = process.start(home)
    second = run_service(home)
    assert second.returncode == 75
    assert second.stderr == (
        f"A service works on {home} already (process {address.pid}, {address.url}); "
        "use it, or run: python -m workbench service stop\n"
    )
    assert process.find(home) == address


def test_what_a_killed_service_accepted_is_there_again_at_the_same_address(home: Path) -> None:
    before = process.start(home)
    client = client_of(before)
    file = client.files.create(file=("train.jsonl", b'{"messages": []}\n'), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="nano", training_file=file.id, seed=5, suffix="kept")
    kill(before)
    assert process.find(home) is None

    after = process.start(home)
    assert (after.url, after.key) == (before.url, before.key)
    assert after.pid != before.pid
    # The client opened before the crash goes on.
    assert client.files.content(file.id).content == b'{"messages": []}\n'
    again = client.fine_tuning.jobs.retrieve(job.id)
    assert (again.training_file, again.seed, again.suffix) == (file.id, 5, "kept")


def test_a_large_file_in_parts_takes_little_memory(home: Path) -> None:
    """256 MB here; nothing on the way holds a part in memory, so that 1 GB takes no more."""
    address = process.start(home)
    client, service = client_of(address), psutil.Process(address.pid)
    part = b"0123456789abcdef" * (2 * 1024 * 1024)
    upload = client.uploads.create(
        filename="large.jsonl", purpose="evals", bytes=8 * len(part), mime_type="text/jsonl"
    ).id
    before, used = service.memory_info().rss, []
    ids = []
    for _ in range(8):
        ids.append(client.uploads.parts.create(upload, data=part).id)
        used.append(service.memory_info().rss)
    assert client.uploads.complete(upload, part_ids=ids).file.bytes == 8 * len(part)
    assert max(*used, service.memory_info().rss) - before < 64 * 1024 * 1024


def test_a_quota_is_chosen_by_name(home: Path) -> None:
    said = run_service(home, "--quota", "endless")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == "There is no quota 'endless'; it is one of local, azure, off.\n"


def test_a_port_taken_meanwhile_is_given_up_and_the_key_kept(home: Path) -> None:
    before = process.start(home)
    kill(before)
    with socket.create_server(("127.0.0.1", int(before.url.rpartition(":")[2]))):
        after = process.start(home)
    assert after.url != before.url
    assert after.key == before.key


def test_a_port_in_use_is_named(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"Port {port} is in use by another program; choose another"):
            process.start(home, port=port)
    assert process.start(home, port=port).url == f"http://127.0.0.1:{port}"
    with pytest.raises(SetupError, match="to move it to port 1, stop it first"):
        process.start(home, port=1)


@pytest.mark.parametrize("port", ["65536", "-1"])
def test_a_port_that_is_none_is_refused(home: Path, port: str) -> None:
    said = run_service(home, "--port", port)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == (
        f"Port {port} is not between 1 and 65535; choose another with --port, or leave it out for any.\n"
    )


def test_the_key_may_be_ones_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LOCAL_KEY", "my-own-key")
    assert process.start(home).key == "my-own-key"


def test_a_key_that_no_header_can_carry_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_LOCAL_KEY", "schlüssel")
    with pytest.raises(SetupError, match="WORKBENCH_LOCAL_KEY travels in a header"):
        process.start(home)


def test_a_damaged_database_stops_the_start_with_its_reason(home: Path) -> None:
    (home / "service").mkdir(parents=True)
    (home / "service" / "service.db").write_bytes(b"x" * 10_000)
    with pytest.raises(SetupError, match=r"did not start: .*service\.db is damaged"):
        process.start(home)


def test_a_home_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="give WORKBENCH_HOME another one"):
        process.start(tmp_path / "file" / "home")


def test_stopping_spares_a_process_that_took_over_the_number(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        started = psutil.Process(bystander.pid).create_time() - 60
        record = process.Record("http://127.0.0.1:1", 1, bystander.pid, started, "key", "0")
        process.make_home(home)
        process.write_record(home, record)
        assert process.find(home) is None
        assert not process.stop(home)
        assert bystander.poll() is None
        bystander.communicate(b"\n")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": "http://127.0.0.1:1"}', '{"pid": "x"}'])
def test_a_record_that_is_none_counts_as_no_service(home: Path, text: str) -> None:
    process.make_home(home)
    (home / "service.json").write_text(text)
    assert process.find(home) is None
    assert not process.stop(home)


def test_ctrl_c_ends_the_foreground_without_a_traceback(home: Path) -> None:
    command = [sys.executable, "-m", "workbench.local", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as service:
        assert service.stdout.readline().startswith("The local service listens at http://127.0.0.1:")
        service.send_signal(signal.SIGINT)
        said, complained = service.communicate(timeout=60)
    assert (service.returncode, said, complained) == (0, "The local service has stopped.\n", "")


def test_the_log_keeps_its_end_when_it_grows_too_large(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_bytes(b"old" + b"." * BOUND + b"the end")
    cut_log(log)
    assert len(log.read_bytes()) == KEPT
    assert log.read_bytes().endswith(b"the end")


def test_the_record_follows_a_clock_that_was_set(tmp_path: Path) -> None:
    wrong = process.Record("http://127.0.0.1:1", 1, os.getpid(), 0.0, "key", "0")
    process.write_record(tmp_path, wrong)
    Housekeeping(tmp_path, wrong).look_after(0.0)
    written = json.loads((tmp_path / "service.json").read_bytes())
    assert written["started"] == psutil.Process().create_time()


def test_the_tokenizer_of_a_model_comes_from_the_service_and_is_asked_for_once(home: Path) -> None:
    client = client_of(process.start(home))
    assert not chat_template.is_here("nano")
    fetch_tokenizer(client, "nano")
    assert chat_template.is_here("nano")
    process.stop(home)
    fetch_tokenizer(client, "nano")  # the service is gone, and nobody needs it


# What nobody may do to it


def idle_connections(address: process.Record, number: int) -> list[socket.socket]:
    port = int(address.url.rpartition(":")[2])
    made = []
    for _ in range(number):
        with contextlib.suppress(OSError):  # refused, or closed at once
            made.append(socket.create_connection(("127.0.0.1", port), timeout=5))
    return made


def started_with(home: Path, *limits: str) -> "subprocess.Popen[bytes]":
    """A service in the background under ``ulimit``, its log where it always is."""
    home.mkdir(parents=True)
    command = f'{" && ".join(limits)} && exec "$0" -m workbench.local --home "$1"'
    with (home / "service.log").open("ab") as log:
        service = subprocess.Popen(["bash", "-c", command, sys.executable, home], stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while process.find(home) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return service


def test_idle_connections_neither_end_the_service_nor_keep_others_out(home: Path) -> None:
    """As many as the file limit and more, without a key, half of them with half a request."""
    service = started_with(home, "ulimit -n 256")
    address = process.find(home)
    connections = idle_connections(address, 300)
    for connection in connections[::2]:
        with contextlib.suppress(OSError):
            connection.send(b"GET /health HTTP/1.1\r\nhost: ")
    spent = sum(psutil.Process(service.pid).cpu_times()[:2])
    for _ in range(5):
        assert client_of(address).files.list().data == []
        time.sleep(0.2)
    assert sum(psutil.Process(service.pid).cpu_times()[:2]) - spent < 1.0
    assert psutil.Process(service.pid).num_fds() < 200
    assert (home / "service.log").stat().st_size < 10_000
    for connection in connections:
        connection.close()
    assert service.poll() is None
    process.stop(home)
    service.wait(10)


def test_connections_beyond_a_small_file_limit_are_reported_a_few_times(home: Path) -> None:
    service = started_with(home, "ulimit -n 64")
    address = process.find(home)
    held = []
    for _ in range(3):
        held += idle_connections(address, 100)
    assert client_of(address).files.list().data == []
    assert (home / "service.log").stat().st_size < 10_000
    for connection in held:
        connection.close()
    process.stop(home)
    service.wait(10)


def test_a_connection_that_never_asks_is_closed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreground, "HEAD_TIMEOUT", 0.0)
    now = time.monotonic()
    config = uvicorn.Config(echo, limit_concurrency=10)
    connection = foreground._Connection(config, ServerState(), {}, asyncio.new_event_loop())
    connection.connection_made(SilentTransport())
    assert connection.is_overdue(now + 1)
    connection.data_received(b"GET / HT")
    assert connection.is_overdue(now + 1)
    connection.loop.close()


def test_the_connection_that_waits_longest_makes_room(home: Path) -> None:
    config, state, loop = uvicorn.Config(echo, limit_concurrency=10), ServerState(), asyncio.new_event_loop()
    made = []
    for _ in range(12):
        made.append(foreground._Connection(config, state, {}, loop))
        made[-1].connection_made(SilentTransport())
    closed = [connection.transport.is_closing() for connection in made]
    assert closed == [True] * 4 + [False] * 8
    loop.close()


async def echo(scope: object, receive: object, send: object) -> None:
    raise NotImplementedError


class SilentTransport(asyncio.Transport):
    """Notes that it was closed."""

    gone = False

    def abort(self) -> None:
        self.gone = True

    def is_closing(self) -> bool:
        return self.gone


def test_trouble_with_the_record_is_told_once_and_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "other"  # the fixture's own would be stopped, and with it the process of the record: us
    record = process.Record("http://127.0.0.1:1", 1, os.getpid(), 0.0, "key", "0")
    housekeeping = Housekeeping(home, record)  # a folder that is not there: every write fails
    for now in (0.0, 31.0, 62.0):
        housekeeping.look_after(now)
    assert capsys.readouterr().err == (
        f"{home / 'service.json'} cannot be kept up to date ([Errno 2] No such file or directory: "
        f"'{home / 'service.json'}.{os.getpid()}'); it goes on.\n"
    )
    home.mkdir()
    housekeeping.look_after(93.0)
    assert process.read_record(home) is not None
    assert capsys.readouterr().err == ""


def test_a_message_said_often_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = BoundedLog(tmp_path / "service.log")
    for number in range(1000):
        handler.emit(logging.LogRecord("x", logging.ERROR, "", 0, "Failed %d.", (number,), None))
    handler._since -= 61
    handler.emit(logging.LogRecord("x", logging.ERROR, "", 0, "Other.", (), None))
    said = capsys.readouterr().err.splitlines()
    assert [line.partition("ERROR ")[2] for line in said] == [
        *(f"x: Failed {number}." for number in range(5)),
        "",
        "x: Other.",
    ]
    assert said[5] == "995 more messages like those above were left out."


def test_a_log_is_cut_between_two_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "service.log"
    log.write_bytes(b"." * (BOUND + 1))
    BoundedLog(log).emit(logging.LogRecord("x", logging.ERROR, "", 0, "Failed.", (), None))
    assert log.stat().st_size == KEPT


def test_a_killed_service_leaves_no_temporary_folders_behind(home: Path) -> None:
    address = process.start(home)
    folder = Path(psutil.Process(address.pid).environ().get("TMPDIR") or tempfile.gettempdir())
    name = f"wb-{hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]}"
    own = folder / name
    (own / "workbench-grader-left").mkdir()
    (home / "service.json.1").write_text("{")
    kill(address)
    process.start(home)
    assert not (own / "workbench-grader-left").exists()
    assert own.is_dir()
    assert not (home / "service.json.1").exists()
    process.stop(home)
    assert not own.exists()
