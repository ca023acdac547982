"""The process that answers chats: base models in memory, adapters beside them, answers in batches.

Apart because the forkserver loads it by its name, with torch, which its caller ``workers`` must not load.
Models take turns, one token of each answer a turn, so none waits for another's to end. Large requests
are prepared one after the other in a thread beside that, so small ones do not wait for them. It ends
by itself when nobody has asked for a while.
"""

import ctypes
import pickle
import signal
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

from transformers.utils import logging

from workbench.errors import SetupError
from workbench.local.chat_protocol import ChatRequest, Refusal
from workbench.local.inference.scheduler import Piece, Prepared, Scheduler
from workbench.local.models.bases import base_folder
from workbench.local.models.model import load_base, use_threads

PATIENCE = 600.0  # seconds without a request until the memory is given back
LARGE = 8 * 1024  # bytes of a request from which on it is prepared beside the answering
STACK = 512 * 1024 * 1024  # bytes, as addresses: llguidance follows the references of a schema recursively
LOOK = 0.005  # seconds between two looks at a request that is being prepared
SWITCH = 0.0005  # seconds until Python in another thread steps aside: answers need it at every product
HEAVY = 4 * 1024 * 1024  # bytes of an answer after which the memory that it took is given back


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass
class _Large:
    """A large request, and what became of it in its thread."""

    kind: str
    number: int
    request: ChatRequest
    scheduler: Scheduler
    outcome: Prepared | Refusal | None = None
    thread: threading.Thread | None = None

    def start(self) -> None:
        """Prepare it in a thread of its own, whose stack is free again afterwards."""
        before = threading.stack_size(STACK)
        try:
            self.thread = threading.Thread(target=self._prepare, name="prepare", daemon=True)
            self.thread.start()
        finally:
            threading.stack_size(before)

    def _prepare(self) -> None:
        try:
            self.outcome = self.scheduler.prepare(self.request)
        except Refusal as error:
            self.outcome = error


class ChatWorker:
    """The loop between the service's requests and the models in memory."""

    def __init__(self, models: Path, connection: Connection, *, patience: float = PATIENCE) -> None:
        """Load nothing before the first request names a model; end after ``patience`` seconds without one."""
        self._models = models
        self._connection = connection
        self._patience = patience
        self._schedulers: dict[str, Scheduler] = {}
        self._large: deque[_Large] = deque()  # the first is being prepared
        self._heavy = False  # whether memory should be given back

    def run(self) -> None:
        """Answer until nobody asks any more; ``EOFError`` when the service is gone."""
        while self._busy or self._connection.poll(self._patience):
            while self._connection.poll():
                self._receive(self._connection.recv_bytes())
            self._look_at_large()
            if self._large and not any(scheduler.busy for scheduler in self._schedulers.values()):
                self._connection.poll(LOOK)
            for scheduler in self._schedulers.values():
                for piece in scheduler.turn() if scheduler.busy else ():
                    self._send(piece)
                    del piece  # it may be large
            if self._heavy:
                self._heavy = False
                give_back_memory()

    @property
    def _busy(self) -> bool:
        return bool(self._large) or any(scheduler.busy for scheduler in self._schedulers.values())

    def _receive(self, message: bytes) -> None:
        kind, number, request = pickle.loads(message)  # of our own parent
        if kind == "leave":
            self._large = deque(one for one in self._large if one.number != number or one.thread)
            for one in self._large:
                one.kind = "leave" if one.number == number else one.kind
            for scheduler in self._schedulers.values():
                scheduler.leave(number)
            return
        try:
            scheduler = self._scheduler(request.base_model)
            if len(message) > LARGE:
                self._large.append(_Large(kind, number, request, scheduler))
            else:
                scheduler.take(number, request, streamed=kind == "stream")
        except Refusal as error:
            self._send((number, error))

    def _look_at_large(self) -> None:
        """Take the large request that is prepared, and begin with the next."""
        if not self._large:
            return
        first = self._large[0]
        if first.thread is None:
            first.start()
        elif not first.thread.is_alive():
            self._large.popleft()
            if first.outcome is None:  # the thread has ended with a traceback
                message = "This request could not be prepared; the service's log says why."
                first.outcome = Refusal(500, "internalFailure", message)
            if isinstance(first.outcome, Refusal):
                self._send((first.number, first.outcome))
            elif first.kind != "leave":
                streamed = first.kind == "stream"
                first.scheduler.take(first.number, first.request, streamed=streamed, prepared=first.outcome)
            self._heavy = True

    def _send(self, piece: tuple[int, Piece]) -> None:
        message = ForkingPickler.dumps(piece)
        self._heavy = self._heavy or len(message) > HEAVY
        self._connection.send_bytes(message)

    def _scheduler(self, name: str) -> Scheduler:
        if name not in self._schedulers:
            try:
                self._schedulers[name] = Scheduler(load_base(name, base_folder(name, self._models)))
            except SetupError as error:
                raise Refusal(503, "modelNotReady", str(error)) from None
        return self._schedulers[name]


def give_back_memory() -> None:
    """Hand what is free back to the system, which glibc otherwise keeps between what is in use."""
    if _LIBC is not None and hasattr(_LIBC, "malloc_trim"):  # other C libraries have none
        _LIBC.malloc_trim(0)


def serve(models: Path, connection: Connection) -> None:
    """Answer requests that come through ``connection``: the child process's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the service's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.disable_progress_bar()
    use_threads()
    sys.setswitchinterval(SWITCH)
    with suppress(EOFError, BrokenPipeError):  # the service is gone: so are we
        ChatWorker(models, connection).run()
