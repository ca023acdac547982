"""The process that answers chats: base models in memory, adapters beside them, answers in batches.

Models take turns, one token of each answer a turn, so none waits for another's to end. It ends by
itself when nobody has asked for a while.
"""

import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from transformers.utils import logging

from workbench.errors import SetupError
from workbench.local.chat_protocol import ChatError, ChatRequest
from workbench.local.inference.scheduler import Scheduler
from workbench.local.models.bases import base_folder
from workbench.local.models.model import load_base, use_threads

PATIENCE = 600.0  # seconds without a request until the memory is given back


class ChatWorker:
    """The loop between the service's requests and the models in memory."""

    def __init__(self, models: Path, connection: Connection, *, patience: float = PATIENCE) -> None:
        """Load nothing before the first request names a model; end after ``patience`` seconds without one."""
        self._models = models
        self._connection = connection
        self._patience = patience
        self._desks: dict[str, Scheduler] = {}

    def run(self) -> None:
        """Answer until nobody asks any more; ``EOFError`` when the service is gone."""
        while self._busy or self._connection.poll(self._patience):
            while self._connection.poll():
                self._receive(*self._connection.recv())
            for desk in self._desks.values():
                for piece in desk.turn() if desk.busy else ():
                    self._connection.send(piece)

    @property
    def _busy(self) -> bool:
        return any(desk.busy for desk in self._desks.values())

    def _receive(self, kind: str, number: int, request: ChatRequest) -> None:
        if kind == "leave":
            for desk in self._desks.values():
                desk.leave(number)
            return
        try:
            self._desk(request.base_model).take(number, request, streamed=kind == "stream")
        except ChatError as error:
            self._connection.send((number, error))

    def _desk(self, name: str) -> Scheduler:
        if name not in self._desks:
            try:
                self._desks[name] = Scheduler(load_base(name, base_folder(name, self._models)))
            except SetupError as error:
                raise ChatError(503, "modelNotReady", str(error)) from None
        return self._desks[name]


def serve(models: Path, connection: Connection) -> None:
    """Answer requests that come through ``connection``: the child process's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the service's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.disable_progress_bar()
    use_threads()
    with suppress(EOFError, BrokenPipeError):  # the service is gone: so are we
        ChatWorker(models, connection).run()
