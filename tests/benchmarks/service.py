"""The local service under load: start, small requests, long logs, large uploads. No model is loaded.

    python tests/benchmarks/service.py          about a minute, and 2 GB of disk for a moment

It talks to a service of its own on 127.0.0.1, in a temporary home that is gone afterwards. The machine's own
pace at that moment stands below the table: how much one core hashes in a second.
"""

import hashlib
import http.client
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil

from workbench.local import process
from workbench.local.process import Record
from workbench.local.store.store import Store

STARTS = 5
CLIENTS = 8
SECONDS = 5.0
STEPS = 10_000
PAGE = 20  # events
MIB = 1024 * 1024
PART = 64 * MIB - 1024  # bytes of a part, which may have 64 MiB
BOUNDARY = "----workbench"
V1 = "/openai/v1"
Row = tuple[str, str, str]


class Client:
    """One connection that stays open."""

    def __init__(self, address: Record) -> None:
        self._key = address.key
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", int(address.url.rpartition(":")[2]), timeout=120
        )

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The answer as JSON; anything but a success ends the benchmark."""
        if body is not None and headers is None:
            body, headers = json.dumps(body), {"content-type": "application/json"}
        self._connection.request(method, V1 + path, body, {"api-key": self._key, **(headers or {})})
        answer = self._connection.getresponse()
        said = answer.read()
        assert answer.status < 300, said[:500]
        return json.loads(said)

    def send_file(self, path: str, part: str, size: int, **fields: str) -> Any:
        """Send so many bytes as a form, made on the way."""
        head = "".join(
            f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        head += f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{part}"; filename="big.jsonl"\r\n\r\n'
        tail = f"\r\n--{BOUNDARY}--\r\n"
        headers = {
            "content-type": f"multipart/form-data; boundary={BOUNDARY}",
            "content-length": str(len(head) + size + len(tail)),
        }
        return self.ask("POST", path, _stream(head.encode(), size, tail.encode()), headers)


def _stream(head: bytes, size: int, tail: bytes) -> Iterator[bytes]:
    yield head
    block = b'{"messages": []}' * (MIB // 16)
    for sent in range(0, size, MIB):
        yield block[: size - sent]
    yield tail


@contextmanager
def service() -> Iterator[tuple[Record, Path]]:
    """A service that ends with the block, with its home."""
    with tempfile.TemporaryDirectory(prefix="workbench-benchmark-") as folder:
        home = Path(folder) / "home"
        try:
            yield process.start(home), home
        finally:
            process.stop(home)


def first_answer() -> Row:
    """From the command to the first answer, by the wall clock."""
    taken = []
    for _ in range(STARTS):
        begin = time.perf_counter()
        with service() as (address, _):
            Client(address).ask("GET", "/models")
            taken.append(time.perf_counter() - begin)
    return ("start to first answer", f"{median(taken):.2f} s (worst {max(taken):.2f})", "under 1.5 s")


class Log(NamedTuple):
    """A job with many events; page 500 begins after the event ``deep``."""

    job: str
    deep: str


def long_log(home: Path) -> Log:
    """Write it as a worker would, into the store that the service reads from."""
    store = Store(home)
    job = store.jobs.add({"model": "nano", "training_file": "file-x", "hyperparameters": {}, "seed": 1})["id"]
    store.jobs.update(job, status="cancelled")
    with store.together():
        for step in range(1, STEPS + 1):
            data = {"step": step, "train_loss": 1.0}
            store.events.add(job, f"Step {step}: training loss=1.0", data=data)
    deep = store.events.page(job, after=None, limit=499 * PAGE)[0][-1]["id"]
    store.close()
    return Log(job, deep)


def requests_a_second(address: Record, job: str) -> Row:
    """Small requests from several clients at once; the service has one core, they have the others."""
    cores = sorted(os.sched_getaffinity(0))
    file = Client(address).send_file("/files", "file", 1000, purpose="fine-tune")["id"]
    one = f"/fine_tuning/jobs/{job}"
    paths = ("/models", "/files", f"/files/{file}", one, f"{one}/events")
    counts = [0] * CLIENTS

    def work(number: int) -> None:
        mine = Client(address)
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            mine.ask("GET", paths[counts[number] % len(paths)])
            counts[number] += 1

    _pin(address.pid, {cores[0]})
    _pin(0, set(cores[1:]) or set(cores))
    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    before = sum(psutil.Process(address.pid).cpu_times()[:2])
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = sum(psutil.Process(address.pid).cpu_times()[:2]) - before
    _pin(address.pid, set(cores))
    _pin(0, set(cores))
    found = f"{sum(counts) / SECONDS:,.0f} a second ({1000 * spent / sum(counts):.2f} ms of CPU each)"
    return (f"small requests, {CLIENTS} clients, one core", found, "200 a second")


def _pin(pid: int, cores: set[int]) -> None:
    for thread in psutil.Process(pid or None).threads():
        os.sched_setaffinity(thread.id, cores)


def pages(address: Record, log: Log) -> Row:
    """The first page of a long log, and one deep in it."""
    client, taken = Client(address), {"": [], f"&after={log.deep}": []}
    for _ in range(50):
        for after, times in taken.items():
            begin = time.perf_counter()
            page = client.ask("GET", f"/fine_tuning/jobs/{log.job}/events?limit={PAGE}{after}")
            times.append(time.perf_counter() - begin)
            assert len(page["data"]) == PAGE
    first, last = (1000 * median(times) for times in taken.values())
    return (f"events of {STEPS:,} steps, pages 1 and 500", f"{first:.1f} ms and {last:.1f} ms", "the same")


def growth(address: Record, work: Callable[[Client], None]) -> tuple[float, float]:
    """By how many MiB the service's memory grew at most, and the seconds."""
    watched, peak, done = psutil.Process(address.pid), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], watched.memory_info().rss)

    before = watched.memory_info().rss
    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.perf_counter()
    try:
        work(Client(address))
    finally:
        done.set()
        watcher.join()
    return (peak[0] - before) / MIB, time.perf_counter() - begin


def one_file(client: Client) -> None:
    """500 MB in one request."""
    kept = client.send_file("/files", "file", 500 * MIB, purpose="fine-tune")
    assert kept["bytes"] == 500 * MIB
    client.ask("DELETE", f"/files/{kept['id']}")


def one_upload(client: Client) -> None:
    """1 GB in parts."""
    asked = {"filename": "big.jsonl", "purpose": "fine-tune", "bytes": 1024 * MIB, "mime_type": "text/jsonl"}
    upload, parts = client.ask("POST", "/uploads", asked)["id"], []
    for begin in range(0, 1024 * MIB, PART):
        size = min(PART, 1024 * MIB - begin)
        parts.append(client.send_file(f"/uploads/{upload}/parts", "data", size)["id"])
    done = client.ask("POST", f"/uploads/{upload}/complete", {"part_ids": parts})
    assert done["file"]["bytes"] == 1024 * MIB
    client.ask("DELETE", f"/files/{done['file']['id']}")


def pace() -> float:
    """How many MB one core hashes in a second: what this machine is worth at the moment."""
    block, begin = b"x" * MIB, time.process_time()
    for _ in range(200):
        hashlib.sha256(block).digest()
    return 200 / (time.process_time() - begin)


def main() -> None:
    """Measure everything and print a table."""
    rows = [first_answer()]
    with service() as (address, home):
        log = long_log(home)
        rows += [requests_a_second(address, log.job), pages(address, log)]
        for name, work in (("500 MB by /files", one_file), ("1 GB by /uploads", one_upload)):
            more, seconds = growth(address, work)
            found = f"{more:.0f} MiB of memory, {seconds:.1f} s"
            rows.append((name, found, "under 64 MiB"))
    for name, found, goal in rows:
        print(f"{name:<42} {found:<42} goal: {goal}")
    load = os.getloadavg()[0]
    print(f"One core hashes {pace():,.0f} MB a second (SHA-256); {os.cpu_count()} cores, load {load:.1f}.")


if __name__ == "__main__":
    main()
