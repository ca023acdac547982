"""Ask a model many questions at once, and never pay for the same one twice.

The synchronous client is used from several threads. Every answer is written
down as it comes, by the content of its request, so an interrupted run goes on
where it stopped, and a rerun costs nothing. Retries are the client's own; they
honour Retry-After.
"""

import hashlib
import json
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from workbench.errors import SetupError

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam


@dataclass(frozen=True)
class Request:
    """One question as it is sent; what it costs to answer depends on nothing else."""

    model: str
    messages: Sequence[Mapping[str, object]]
    max_tokens: int
    temperature: float

    @property
    def key(self) -> str:
        """The content as a hash. The address is no part of it: a moved service has the same models."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What the model said.

    ``seconds`` runs from sending to the last word, retries and the service's
    queue included, as it was when the answer was first fetched. Token counts
    are 0 where a service gives none.
    """

    text: str
    finish_reason: str
    seconds: float
    prompt_tokens: int
    completion_tokens: int


def ask(
    client: "OpenAI", requests: Sequence[Request], *, concurrency: int, cache: str | Path | None
) -> Generator[tuple[int, Answer], None, None]:
    """Give each answer with the place of its request, as they come; the same request is sent once.

    When one fails, those not yet sent are dropped, those on their way are
    waited for and kept, and then the client's own error is raised. An interrupt
    (Ctrl-C) and a consumer that stops do the same.
    """
    kept = _Kept(cache)
    places: dict[str, list[int]] = {}
    for place, request in enumerate(requests):
        places.setdefault(request.key, []).append(place)
    missing = {key: requests[where[0]] for key, where in places.items() if key not in kept.answers}
    pool = ThreadPoolExecutor(max_workers=concurrency)
    try:
        sent = {pool.submit(_fetch, client, request, key, kept): key for key, request in missing.items()}
        for key, where in places.items():
            if key not in missing:
                yield from ((place, kept.answers[key]) for place in where)
        for done in as_completed(sent):
            answer = done.result()
            yield from ((place, answer) for place in places[sent[done]])
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _fetch(client: "OpenAI", request: Request, key: str, kept: "_Kept") -> Answer:
    started = time.perf_counter()
    reply = client.chat.completions.create(
        model=request.model,
        messages=cast("list[ChatCompletionMessageParam]", request.messages),
        max_tokens=request.max_tokens,
        temperature=request.temperature,
    )
    seconds = time.perf_counter() - started
    choice, usage = reply.choices[0], reply.usage
    answer = Answer(
        # Half a letter, cut off by max_tokens, cannot be written to a file.
        text=(choice.message.content or "").encode(errors="replace").decode(),
        finish_reason=choice.finish_reason,
        seconds=round(seconds, 4),
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
    )
    kept.add(key, request.model, answer)
    return answer


class _Kept:
    """Answers in a file, one JSON line each; without a file they are kept for this call alone."""

    def __init__(self, path: str | Path | None) -> None:
        self.answers: dict[str, Answer] = {}
        self._path = path = None if path is None else Path(path)
        self._lock = threading.Lock()
        self._torn = False
        if path is None or not path.exists():
            return
        content = path.read_bytes()
        self._torn = bool(content) and not content.endswith(b"\n")
        for line in content.splitlines():
            try:
                entry = json.loads(line)
                # The first stands: its time was measured when it was fetched.
                self.answers.setdefault(entry.pop("key"), _answer(entry))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # torn by a crash in the middle of a write; it is asked again

    def add(self, key: str, model: str, answer: Answer) -> None:
        line = json.dumps({"key": key, "model": model, **asdict(answer)}, ensure_ascii=False) + "\n"
        with self._lock:
            self.answers[key] = answer
            if self._path is None:
                return
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("ab", buffering=0) as file:
                    file.write(("\n" * self._torn + line).encode())
            except OSError as error:
                raise SetupError(
                    f"{self._path} cannot be written ({error.strerror}); make room or move WORKBENCH_HOME, "
                    "and run the same again: what was answered before is kept."
                ) from error
            self._torn = False


def _answer(entry: Mapping[str, object]) -> Answer:
    return Answer(**{name: entry[name] for name in Answer.__dataclass_fields__})  # type: ignore[arg-type]
