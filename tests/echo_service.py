"""The real app with a model that repeats the last message; its clock stands still until a test moves it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from idle_service import KEY, IdleWorkers
from openai import OpenAI
from starlette.testclient import TestClient

from workbench.local.api.app import create_app
from workbench.local.chat_protocol import ChatRequest, Choice, Completion, Delta, Refusal
from workbench.local.emulation import Clock, Emulation
from workbench.local.store.store import Store

ROOT = "http://testserver"


class EchoWorkers(IdleWorkers):
    """Repeats the last message; ``out of order`` fails, ``wait`` is answered by nobody."""

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []

    async def complete(self, request: ChatRequest) -> Completion:
        *_, last = [piece async for piece in self.stream(request)]
        assert isinstance(last, Completion)
        return last

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta | Completion]:
        self.asked.append(request)
        text = request.messages[-1]["content"]
        if text == "out of order":
            raise Refusal(503, "serviceUnavailable", "The process ended; ask again.")
        yield Delta(0, text)
        yield Completion((Choice(text, "stop"),) * request.n, 5, 2, 1)


class Watch:
    """A machine's time, moved by hand: ``watch.now += 60``; what pauses notes for how long."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.paused: list[float] = []

    def read(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    def clock(self, factor: float = 1.0) -> Clock:
        return Clock(factor, self.read, self.pause)


@contextmanager
def echo_service(
    home: Path, watch: Watch, emulation: Emulation | None = None, *, factor: float = 1.0
) -> Iterator[TestClient]:
    """The service of ``home``, emulating by the watch."""
    emulation = replace(emulation or Emulation(), clock=watch.clock(factor))
    app = create_app(home, KEY, workers=EchoWorkers(), emulation=emulation)
    with TestClient(app, headers={"api-key": KEY}, raise_server_exceptions=False) as http:
        yield http


def client_of(http: TestClient, path: str = "/openai/v1/", **options: object) -> OpenAI:
    """The official client, at the v1 address or another."""
    return OpenAI(
        **{"base_url": f"{ROOT}{path}", "api_key": KEY, "http_client": http, "max_retries": 0} | options
    )


def tune(home: Path, name: str) -> str:
    """Make ``name`` a tuned model, as a worker would; gives its job."""
    store = Store(home)
    job = store.jobs.add({"model": "nano", "training_file": "file-x", "hyperparameters": {}, "seed": 1})["id"]
    store.checkpoints.add(job, 20, name, {"train_loss": 0.5}, store.checkpoints.folder(job, 20))
    store.jobs.update(job, status="succeeded", fine_tuned_model=name)
    store.close()
    return job


def say(client: OpenAI, model: str, text: str = "hello") -> str | None:
    """What a model or deployment answers."""
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content
