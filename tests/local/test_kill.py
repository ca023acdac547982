"""``kill -9`` at random moments: what was answered for is there, whole, and training goes on unharmed."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import psutil
import pytest
from idle_service import KEY
from openai import OpenAI

from workbench.local.store.store import Store
from workbench.local.workers import ENVIRONMENT
from workbench.settings import ROOT

KILLS = 60
TRAINING_KILLS = 15
SERVICE = [sys.executable, str(ROOT / "tests" / "idle_service.py")]
TRAINER = """
import os, sys
from pathlib import Path
from workbench.local.training.training_worker import train
for job in sys.stdin:
    pid = os.fork()
    if pid == 0:
        train(Path(sys.argv[1]), Path(sys.argv[2]), job.strip())
        os._exit(0)
    print(pid, flush=True)
    os.wait()
"""
WORDS = ("red", "blue", "green", "pink", "gold", "gray", "teal", "lime", "rose", "navy", "plum", "mint")
LINE = '{"messages": [{"role": "user", "content": "say %s"}, {"role": "assistant", "content": "%s"}]}\n'


@contextmanager
def launcher(*command: str) -> Iterator[Callable[[str], list[int]]]:
    """A process that forks a child for every line it is sent, and tells the child's numbers."""
    environment = os.environ | ENVIRONMENT
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:

        def launch(line: str = "") -> list[int]:
            print(line, file=parent.stdin, flush=True)
            return [int(number) for number in parent.stdout.readline().split()]

        try:
            yield launch
        finally:
            for child in psutil.Process(parent.pid).children():
                child.kill()
            parent.stdin.close()


class Customer:
    """Uploads, announces, sends parts, creates and deletes until the service is gone; notes every answer."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.files: dict[str, bytes] = {}
        self.deleted: set[str] = set()
        self.jobs: dict[str, tuple[str, str]] = {}
        self.parts: dict[str, list[tuple[str, bytes]]] = {}
        self.answers = threading.Semaphore(0)

    def work(self, client: OpenAI) -> None:
        try:
            while True:
                self.dice.choice(
                    (self.upload, self.upload, self.send_part, self.complete, self.create_job, self.delete)
                )(client)
                self.answers.release()
        except openai.APIConnectionError:
            return

    def upload(self, client: OpenAI) -> None:
        content = self.dice.randbytes(self.dice.randint(1, 10_000)).hex().encode()
        file = client.files.create(file=("data.jsonl", content), purpose="fine-tune")
        self.files[file.id] = content

    def send_part(self, client: OpenAI) -> None:
        upload = next((name for name, parts in self.parts.items() if len(parts) < 2), None)
        if upload is None:
            upload = client.uploads.create(
                filename="parts.jsonl", purpose="fine-tune", bytes=2_000, mime_type="text/jsonl"
            ).id
            self.parts[upload] = []
        content = self.dice.randbytes(500).hex().encode()
        self.parts[upload].append((client.uploads.parts.create(upload, data=content).id, content))

    def complete(self, client: OpenAI) -> None:
        upload = next((name for name, parts in self.parts.items() if len(parts) == 2), None)
        if upload is None:
            return
        parts = self.parts.pop(upload)  # whether or not it is done when the service dies, it is done with
        content = b"".join(part for _, part in parts)
        file = client.uploads.complete(
            upload, part_ids=[name for name, _ in parts], md5=hashlib.md5(content).hexdigest()
        ).file
        self.files[file.id] = content

    def create_job(self, client: OpenAI) -> None:
        if not self.files:
            return
        file = self.dice.choice(list(self.files))
        suffix = f"run-{len(self.jobs)}"
        job = client.fine_tuning.jobs.create(model="nano", training_file=file, suffix=suffix)
        self.jobs[job.id] = (file, suffix)
        if len(self.jobs) > 15:
            oldest = next(iter(self.jobs))
            self.jobs.pop(oldest)
            client.fine_tuning.jobs.cancel(oldest)

    def delete(self, client: OpenAI) -> None:
        used = {file for file, _ in self.jobs.values()}
        file = next((name for name in self.files if name not in used), None)
        if file is None:
            return
        self.files.pop(file)
        client.files.delete(file)
        self.deleted.add(file)


def test_nothing_answered_for_is_lost_by_sixty_kills(home: Path) -> None:
    customer, dice = Customer(seed=1), random.Random(2)
    with launcher(*SERVICE, str(home)) as launch:
        for _ in range(KILLS):
            pid, port = launch()
            client = OpenAI(
                base_url=f"http://127.0.0.1:{port}/openai/v1/", api_key=KEY, max_retries=0, timeout=20
            )
            at_work = threading.Thread(target=customer.work, args=(client,))
            at_work.start()
            for _ in range(dice.randint(0, 6)):
                assert customer.answers.acquire(timeout=20)
            threading.Event().wait(dice.uniform(0, 0.03))  # somewhere within an answer
            os.kill(pid, signal.SIGKILL)
            at_work.join()
            client.close()

        _, port = launch()
        with OpenAI(base_url=f"http://127.0.0.1:{port}/openai/v1/", api_key=KEY, max_retries=0) as client:
            kept = {file.id: file for file in client.files.list()}
            assert customer.files.keys() <= kept.keys()
            assert not customer.deleted & kept.keys()
            for file, content in customer.files.items():
                assert client.files.content(file).content == content
            for job, (file, suffix) in customer.jobs.items():
                found = client.fine_tuning.jobs.retrieve(job)
                assert (found.status, found.training_file, found.suffix) == ("pending", file, suffix)
            for upload, parts in customer.parts.items():
                if len(parts) == 2:
                    done = client.uploads.complete(upload, part_ids=[name for name, _ in parts])
                    assert client.files.content(done.file.id).content == parts[0][1] + parts[1][1]
            # What was done when its answer was cut off may be there too, once a kill; half of it never.
            assert len(kept) <= len(customer.files) + KILLS
            stored = {path.name for path in (home / "service" / "files").iterdir()}
            assert {file.id for file in client.files.list()} <= stored
    assert len(customer.files) > 20
    assert len(customer.deleted) > 5
    assert len(customer.jobs) > 5


def new_job(store: Store, training_file: str) -> str:
    hyperparameters = {"n_epochs": 5, "batch_size": 1, "learning_rate_multiplier": 1.0}
    body = {"model": "nano", "training_file": training_file, "validation_file": training_file, "seed": 3}
    return store.jobs.add(body | {"hyperparameters": hyperparameters})["id"]


def reported(store: Store, job: str) -> list[str]:
    events, _ = store.events.page(job, after=None, limit=1000)
    return [event["message"] for event in events if "file-" not in event["message"]]


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = Store(home)
    yield store
    store.close()


def test_training_killed_fifteen_times_ends_with_the_same_curve(
    home: Path, models: Path, store: Store
) -> None:
    data = "".join(LINE % (word, word.upper()) for word in WORDS).encode()
    file = store.files.add("train.jsonl", "fine-tune", [data])["id"]
    calm, killed, dice = new_job(store, file), new_job(store, file), random.Random(4)
    with launcher(sys.executable, "-c", TRAINER, str(home), str(models)) as launch:

        def run(job: str, last: int) -> None:
            """Let it train until it has ended, or kill it somewhere after its step ``last``."""
            (pid,) = launch(job)
            while psutil.pid_exists(pid) and store.metrics.last_step(job) < last:
                threading.Event().wait(0.002)
            if store.metrics.last_step(job) >= last and psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)

        run(calm, 1000)
        for number in range(TRAINING_KILLS):
            run(killed, min(55, number * 4 + dice.randint(0, 9)))
        assert store.jobs.need(killed)["status"] in ("pending", "running")
        run(killed, 1000)
    assert store.jobs.need(calm)["status"] == store.jobs.need(killed)["status"] == "succeeded"
    assert len(store.metrics.csv(calm).splitlines()) == 61
    assert store.metrics.csv(killed) == store.metrics.csv(calm)
    assert reported(store, killed) == reported(store, calm)
    assert [model.adapter.exists() for model in store.checkpoints.models()] == [True] * 6
