"""The service as a process: found, started once, killed, started again, stopped."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import openai
import psutil
import pytest
from openai import OpenAI

from workbench.dataset.tokens import chat_template
from workbench.errors import SetupError
from workbench.local import __main__ as foreground
from workbench.local import process
from workbench.selftest import fetch_tokenizer


@pytest.fixture
def home(home: Path) -> Iterator[Path]:
    """A home whose service is stopped after the test."""
    yield home
    process.stop(home)


def client_of(address: process.Address) -> OpenAI:
    return OpenAI(base_url=f"{address.url}/openai/v1/", api_key=address.key, max_retries=0, timeout=20)


def kill(address: process.Address) -> None:
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
    assert second.returncode == process.ALREADY_RUNS
    assert second.stderr == (
        f"A service works on {home} already (process {address.pid}, {address.url}); "
        "use it, or stop it first: python -m workbench service stop\n"
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
        f"Port {port} is not between 1 and 65535; "
        "choose another with --port, or leave it out for a free one.\n"
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
    log.write_bytes(b"old" + b"." * foreground.LOG_BOUND + b"the end")
    record = process.Record("http://127.0.0.1:1", 1, os.getpid(), 0.0, "key", "0")
    asyncio.run(foreground._look_after(tmp_path, record))
    assert len(log.read_bytes()) == foreground.LOG_KEPT
    assert log.read_bytes().endswith(b"the end")


def test_the_record_follows_a_clock_that_was_set(tmp_path: Path) -> None:
    wrong = process.Record("http://127.0.0.1:1", 1, os.getpid(), 0.0, "key", "0")
    process.write_record(tmp_path, wrong)
    asyncio.run(foreground._look_after(tmp_path, wrong))
    written = json.loads((tmp_path / "service.json").read_bytes())
    assert written["started"] == psutil.Process().create_time()


def test_the_tokenizer_of_a_model_comes_from_the_service_and_is_asked_for_once(home: Path) -> None:
    client = client_of(process.start(home))
    assert not chat_template.is_here("nano")
    fetch_tokenizer(client, "nano")
    assert chat_template.is_here("nano")
    process.stop(home)
    fetch_tokenizer(client, "nano")  # the service is gone, and nobody needs it
