"""Sixty kills of a real service or its training process, while files and jobs come and go.

    python tests/benchmarks/kills.py [seed]         some minutes; nano is trained, in a temporary home

At the end everything that was answered for has to be there, every job has to have ended with the curve of
a job that nobody disturbed, and nothing half done may lie about.
"""

import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import openai
import psutil
from openai import OpenAI

from workbench.local import process
from workbench.local.process import Record

KILLS = 60
JOBS = 6
WORDS = ("red", "blue", "green", "pink", "gold", "gray", "teal", "lime", "rose", "navy", "plum", "mint")
LINE = '{"messages": [{"role": "user", "content": "say %s"}, {"role": "assistant", "content": "%s"}]}\n'
DATA = "".join(LINE % (word, word.upper()) for word in WORDS).encode()


class Customer:
    """Uploads and deletes until it is told to stop, and notes what was answered."""

    def __init__(self, seed: int) -> None:
        """Nothing is there yet."""
        self.dice = random.Random(seed)
        self.files: dict[str, bytes] = {}
        self.deleted: set[str] = set()
        self.stop = threading.Event()

    def work(self, client: OpenAI) -> None:
        """Go on until the service is gone."""
        while not self.stop.is_set():
            try:
                self.step(client)
            except openai.APIConnectionError:
                return
            time.sleep(0.02)

    def step(self, client: OpenAI) -> None:
        """One upload, one upload in two parts, or one deletion."""
        choice = self.dice.random()
        content = self.dice.randbytes(self.dice.randint(2, 200_000))
        if choice < 0.5:
            self.files[client.files.create(file=("a.jsonl", content), purpose="evals").id] = content
        elif choice < 0.7:
            upload = client.uploads.create(
                filename="b.jsonl", purpose="evals", bytes=len(content), mime_type="text/jsonl"
            ).id
            half = len(content) // 2
            parts = [
                client.uploads.parts.create(upload, data=piece).id
                for piece in (content[:half], content[half:])
            ]
            done = client.uploads.complete(upload, part_ids=parts)
            self.files[done.file.id] = content
        elif self.files:
            file = self.dice.choice(list(self.files))
            self.files.pop(file)
            client.files.delete(file)
            self.deleted.add(file)


def client_of(address: Record) -> OpenAI:
    """The official client, which repeats nothing by itself."""
    return OpenAI(base_url=f"{address.url}/openai/v1/", api_key=address.key, max_retries=0, timeout=30)


def new_job(client: OpenAI, file: str) -> str:
    """60 steps on nano, always the same."""
    settings = {"n_epochs": 5, "batch_size": 1}
    method = {"type": "supervised", "supervised": {"hyperparameters": settings}}
    return client.fine_tuning.jobs.create(
        model="nano", training_file=file, validation_file=file, seed=3, method=method
    ).id


def trainers(pid: int) -> list[int]:
    """The training processes of a service: grandchildren that were made niced."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if child.nice() == 10:
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


def steps(client: OpenAI) -> str:
    """How far the job in training is: its id and the bytes of its curve."""
    running = [job for job in client.fine_tuning.jobs.list(limit=100).data if job.status == "running"]
    return f"{running[0].id} {client.files.retrieve(running[0].result_files[0]).bytes}" if running else ""


def main() -> None:
    """Kill, look, and say what was found."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    dice, customer = random.Random(seed), Customer(seed + 1)
    with tempfile.TemporaryDirectory(prefix="workbench-kills-") as folder:
        home = Path(folder) / "home"
        killed = {"service": 0, "trainer": 0}
        jobs: list[str] = []
        reached = ""
        try:
            address = process.start(home, timeout=120)
            training_file = client_of(address).files.create(file=("t.jsonl", DATA), purpose="fine-tune").id
            for number in range(KILLS):
                address = process.start(home, timeout=120)
                client = client_of(address)
                at_work = threading.Thread(target=customer.work, args=(client,))
                customer.stop.clear()
                at_work.start()
                if number % (KILLS // JOBS) == 0:
                    jobs.append(new_job(client, training_file))
                of_trainer = dice.random() < 0.5
                deadline = time.monotonic() + 20
                while of_trainer and time.monotonic() < deadline:
                    # Three deaths at one step end a job, and rightly so: let it get on in between.
                    if trainers(address.pid) and steps(client) != reached:
                        break
                    time.sleep(0.05)
                time.sleep(dice.uniform(0.05, 1.0))
                victims, now = trainers(address.pid), steps(client)
                if victims and of_trainer and now != reached:
                    reached = now
                    os.kill(victims[0], signal.SIGKILL)
                    killed["trainer"] += 1
                    customer.stop.set()
                    at_work.join()
                else:
                    service = psutil.Process(address.pid)
                    os.kill(address.pid, signal.SIGKILL)
                    service.wait(30)
                    killed["service"] += 1
                    at_work.join()
            print("The kills are over.", flush=True)
            address = process.start(home, timeout=120)
            client = client_of(address)
            jobs.append(new_job(client, training_file))  # the calm one
            while any(
                client.fine_tuning.jobs.retrieve(job).status not in ("succeeded", "failed") for job in jobs
            ):
                time.sleep(0.5)
            report(home, client, customer, jobs, killed)
        finally:
            process.stop(home)
            left = Path(tempfile.gettempdir()).glob("wb-*")
            print("temporary folders left:", sum(1 for _ in left))


def report(home: Path, client: OpenAI, customer: Customer, jobs: list[str], killed: dict[str, int]) -> None:
    """Compare what is there with what was answered."""
    kept = {file.id for file in client.files.list() if file.purpose == "evals"}
    wrong = [
        file
        for file, content in customer.files.items()
        if file in kept and client.files.content(file).content != content
    ]
    states = [client.fine_tuning.jobs.retrieve(job) for job in jobs]
    curves = {client.files.content(state.result_files[0]).content for state in states}
    service = home / "service"
    print("killed:", killed)
    print(f"files answered for: {len(customer.files)}, lost: {len(customer.files.keys() - kept)}, ", end="")
    print(f"changed: {len(wrong)}; deleted: {len(customer.deleted)}, back: {len(customer.deleted & kept)}; ")
    print(f"there although their answer was cut off: {len(kept - customer.files.keys())} (at most {KILLS})")
    print(f"jobs: {[state.status for state in states]}; different curves: {len(curves)}")
    process.stop(home)
    process.start(home, timeout=120)
    halves = [*service.rglob("*.new"), *(service / "incoming").iterdir()]
    print(f"half-done names after a start: {len(halves)}; set aside: {[*service.glob('orphaned/*/*')]}")
    print(f"state of jobs that ended: {len([*(service / 'jobs').iterdir()])}")


if __name__ == "__main__":
    main()
