"""The service's side of its child processes: starts them, watches them, starts them again.

A child trains one job, another answers chats; all come from a forkserver that has torch
loaded already (0.5 s instead of 7). Everything a training child needs is in the store, so a
killed child or service goes on from the last saved step. Apart because the API works with any
``Workforce``, and is tested with others.
"""

import asyncio
import errno
import itertools
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import AsyncGenerator, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from workbench.local.chat_protocol import ChatRequest, Completion, Delta, Refusal
from workbench.local.log import Once
from workbench.local.store.database import has_space, is_disk_full
from workbench.local.store.jobs import FINISHED
from workbench.local.store.store import Store

# Set before torch loads. Spinning OpenMP threads starve each other on a shared machine (2 threads
# then run slower than 1). Batches come in many lengths, and by default a thousand prepared kernels
# are kept for them: 0.4 GB more after 30 steps, and no faster. Nothing here may reach for a hub.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "2000",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "LRU_CACHE_CAPACITY": "64",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
PRELOADED = ["workbench.local.training.training_worker", "workbench.local.inference.inference_worker"]
DEATHS_WITHOUT_PROGRESS = 3
GRACE = 15.0  # seconds to finish the step at hand, before a child is killed
RETRY = 5.0  # seconds until a full disk is tried again
UNCAUGHT = "uncaught.txt"  # in a job's folder: the error that ended its process, in a sentence
LEAST_SPACE = 1024 * 1024  # bytes with which a job goes on; or three times what it has written so far


@dataclass
class _Asked:
    """A request that somebody waits for."""

    kind: str  # "ask" wants the whole, "stream" the pieces too
    request: ChatRequest
    pieces: "asyncio.Queue[Delta | Completion | Refusal]" = field(default_factory=asyncio.Queue)
    begun: bool = False
    attempts: int = 0


class Workers:
    """The children of one service; made, started and stopped with it."""

    def __init__(self, store: Store, models: Path, *, training_at_once: int = 1) -> None:
        """Start nothing yet; ``models`` is the folder of base weights."""
        self._store = store
        self._models = models
        self._training_at_once = training_at_once
        self._context = multiprocessing.get_context("forkserver")
        self._look = asyncio.Event()
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._training: dict[str, ForkServerProcess] = {}
        self._deaths: dict[str, tuple[int, int]] = {}  # job -> last step seen, deaths there
        self._trouble = Once()
        self._chat: tuple[ForkServerProcess, Connection] | None = None
        self._chat_starting = asyncio.Lock()
        self._numbers = itertools.count()
        self._asked: dict[int, _Asked] = {}

    async def start(self) -> None:
        """Warm the forkserver in the background and supervise the jobs, old and new."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._context.set_forkserver_preload(PRELOADED)
        self._run(self._tend_jobs())

    async def stop(self) -> None:
        """End every child; a job in training keeps its state and goes on at the next start."""
        self._stopping = True
        self._look.set()
        children = [*self._training.values(), *([self._chat[0]] if self._chat else [])]
        await asyncio.gather(*(self._end(child) for child in children))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self) -> None:
        """A job was created, cancelled, paused or resumed: look at the queue."""
        self._look.set()

    async def complete(self, request: ChatRequest) -> Completion:
        """The whole answer; raises ``Refusal``."""
        *_, last = [piece async for piece in self._answer("ask", request)]
        assert isinstance(last, Completion)
        return last

    def stream(self, request: ChatRequest) -> AsyncGenerator[Delta | Completion, None]:
        """The answer as it is written, a ``Completion`` last; closing the iterator stops the writing."""
        return self._answer("stream", request)

    # Training

    async def _tend_jobs(self) -> None:
        while not self._stopping:
            self._look.clear()
            try:
                await self._look_at_jobs()
            except (sqlite3.Error, OSError) as error:  # a disk that is full or ill may be well again
                self._trouble.begins("jobs", f"The jobs cannot be read: {error}.")
                await asyncio.sleep(RETRY)
            else:
                self._trouble.is_over("jobs")
                await self._look.wait()

    async def _look_at_jobs(self) -> None:
        for job_id in [*self._training]:
            job = self._store.jobs.get(job_id)
            if job is None or job["status"] == "cancelled":
                self._run(self._end(self._training[job_id]))
        begun = self._store.jobs.in_states("running", "pausing")
        queue = [*begun, *self._store.jobs.in_states("pending", "resuming")]
        waiting = [job["id"] for job in queue if job["id"] not in self._training]
        for job_id in waiting[: max(0, self._training_at_once - len(self._training))]:
            await self._start_training(job_id)

    async def _start_training(self, job_id: str) -> None:
        given, name = (self._store.home, self._models, job_id), f"train-{job_id}"
        child = self._context.Process(target=_train_in_child, args=given, name=name, daemon=True)
        self._training[job_id] = child
        try:
            await asyncio.to_thread(child.start)
        except OSError:
            del self._training[job_id]
            raise
        self._run(self._watch_training(job_id, child))

    async def _watch_training(self, job_id: str, child: ForkServerProcess) -> None:
        await asyncio.to_thread(child.join)
        try:
            job = self._store.jobs.get(job_id)
            if job is None or job["status"] in FINISHED:
                self._store.jobs.keep_record(job_id)
                self._store.jobs.forget_state(job_id)
            elif job["status"] != "paused" and not self._stopping:
                await self._note_death(job_id, child.exitcode)
        except (sqlite3.Error, OSError) as error:  # the next look, or the next start, does it
            self._trouble.begins("end", f"The end of job {job_id} cannot be written down: {error}.")
            await asyncio.sleep(RETRY)
        else:
            self._trouble.is_over("end")
        finally:
            del self._training[job_id]
            self._look.set()

    async def _note_death(self, job_id: str, exit_code: int | None) -> None:
        """A training process ended and its job did not: another one tries, unless that is in vain."""
        step, deaths = self._store.metrics.last_step(job_id), 1
        if job_id in self._deaths and self._deaths[job_id][0] == step:
            deaths += self._deaths[job_id][1]
        self._deaths[job_id] = (step, deaths)
        if exit_code == errno.ENOSPC:
            del self._deaths[job_id]
            await self._wait_for_space(job_id, step)
        elif deaths >= DEATHS_WITHOUT_PROGRESS:
            error = self._store.jobs.folder(job_id) / UNCAUGHT
            why = error.read_text() if exit_code == 1 and error.exists() else why_it_ended(exit_code)
            await self._give_up(job_id, f"The training process ended {deaths} times at step {step}: {why}")

    async def _wait_for_space(self, job_id: str, step: int) -> None:
        """Let a job rest until it can write again, or is not to go on; its log says so once."""
        waits = f"The disk is full at step {step}; the job waits, and goes on by itself once there is space."
        again = f"There is space on the disk again; the job goes on from step {step}."
        self._trouble.begins("disk", "The disk is full; jobs wait until there is space.")
        said = False
        while not self._stopping:
            job = self._store.jobs.get(job_id)
            if job is None or job["status"] in (*FINISHED, "paused"):
                return
            try:
                if not said:
                    self._store.events.add(job_id, waits, level="warning", key=f"disk-full-{step}")
                    said = True
                await asyncio.sleep(RETRY)
                folder = self._store.jobs.folder(job_id)
                written = sum(path.lstat().st_size for path in folder.iterdir())
                if has_space(folder, max(LEAST_SPACE, 3 * written)):
                    self._store.events.add(job_id, again, key=f"disk-space-{step}")
                    self._trouble.is_over("disk")
                    return
            except (sqlite3.Error, OSError) as error:
                if not is_disk_full(error):
                    raise
                await asyncio.sleep(RETRY)

    async def _give_up(self, job_id: str, message: str) -> None:
        while not self._stopping:
            try:
                self._store.jobs.fail(job_id, code="internalFailure", message=message)
                return
            except sqlite3.Error as error:
                if not is_disk_full(error):
                    raise
                await asyncio.sleep(RETRY)

    async def _end(self, child: ForkServerProcess) -> None:
        if child.is_alive():
            child.terminate()
            await asyncio.to_thread(child.join, GRACE)
            child.kill()

    # Chat

    async def _answer(self, kind: str, request: ChatRequest) -> AsyncGenerator[Delta | Completion, None]:
        number = next(self._numbers)
        asked = self._asked[number] = _Asked(kind, request)
        finished = False
        try:
            await self._send((kind, number, request))
            while not finished:
                piece = await asked.pieces.get()
                finished = not isinstance(piece, Delta)
                if isinstance(piece, Refusal):
                    raise piece
                yield piece
        finally:
            del self._asked[number]
            if not finished and self._chat:
                await self._send(("leave", number, None))

    async def _send(self, message: tuple[str, int, ChatRequest | None]) -> None:
        async with self._chat_starting:
            if self._chat is None:
                ours, theirs = self._context.Pipe()
                given = self._models, theirs
                child = self._context.Process(target=_chat_in_child, args=given, name="chat", daemon=True)
                await asyncio.to_thread(child.start)
                theirs.close()
                self._chat = (child, ours)
                self._run(self._listen(child, ours))
            with suppress(BrokenPipeError, ConnectionResetError):  # it just ended: _listen asks its successor
                # In a thread: the pipe is full while a model loads or a long prompt is read.
                await asyncio.to_thread(self._chat[1].send, message)

    async def _listen(self, child: ForkServerProcess, connection: Connection) -> None:
        while True:
            try:
                number, piece = await asyncio.to_thread(connection.recv)
            except (EOFError, ConnectionResetError):
                break
            if number in self._asked:
                self._asked[number].begun = True
                self._asked[number].pieces.put_nowait(piece)
        await asyncio.to_thread(child.join)
        self._chat = None
        for number, asked in list(self._asked.items()):
            asked.attempts += 1
            if self._stopping or asked.begun or asked.attempts > 1:
                message = "The process that wrote this answer ended before it was complete; ask again."
                asked.pieces.put_nowait(Refusal(503, "serviceUnavailable", message))
            else:
                await self._send((asked.kind, number, asked.request))

    def _run(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def why_it_ended(exit_code: int | None) -> str:
    """What an exit code says; a negative one is a signal."""
    smaller = "take a smaller batch, shorter examples or a smaller model, or end other programs"
    if exit_code == errno.ENOMEM:
        return f"memory is too small; {smaller}."
    if exit_code == -signal.SIGKILL:
        return f"it was killed from outside (SIGKILL), most often because memory is too small; {smaller}."
    if exit_code is not None and exit_code < 0:
        return f"it was ended by {signal.Signals(-exit_code).name}; service.log has the last words."
    return f"its exit code was {exit_code}; service.log has the last words."


def _train_in_child(home: Path, models: Path, job_id: str) -> None:
    from workbench.local.training.training_worker import train

    train(home, models, job_id)


def _chat_in_child(models: Path, connection: Connection) -> None:
    from workbench.local.inference.inference_worker import serve

    serve(models, connection)
