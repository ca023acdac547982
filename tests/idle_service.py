"""The real app with nobody who trains or answers: a job stays as it is until a test moves it."""

import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from openai import OpenAI
from starlette.testclient import TestClient

from workbench.local.api.app import create_app
from workbench.local.chat_protocol import ChatRequest, Completion, Delta
from workbench.local.emulation import Emulation

KEY = "the-key-of-this-test"


class IdleWorkers:
    """Counts how often it is woken."""

    woken = 0

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def wake(self) -> None:
        self.woken += 1

    async def complete(self, request: ChatRequest) -> Completion:
        raise NotImplementedError

    def stream(self, request: ChatRequest) -> AsyncIterator[Delta | Completion]:
        raise NotImplementedError


@contextmanager
def idle_service(home: Path, emulation: Emulation | None = None) -> Iterator[TestClient]:
    """The service of ``home``; its address is ``http://testserver``."""
    app = create_app(home, KEY, workers=IdleWorkers(), emulation=emulation)
    with TestClient(app, headers={"api-key": KEY}, raise_server_exceptions=False) as http:
        yield http


def client_of(http: TestClient) -> OpenAI:
    """The official client, at the v1 address."""
    return OpenAI(base_url="http://testserver/openai/v1/", api_key=KEY, http_client=http, max_retries=0)


def _serve(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(os.getpid(), listener.getsockname()[1], flush=True)
        app = create_app(home, KEY, workers=IdleWorkers(), emulation=Emulation(quota="off"))
        uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    # For every line read a service that is there in a moment: a fork of a process that has loaded everything.
    for _ in sys.stdin:
        if os.fork() == 0:
            _serve(Path(sys.argv[1]))
            os._exit(0)
        os.wait()
