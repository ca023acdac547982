"""Ask a model many questions at once, and never pay for the same one twice.

The synchronous client is used from several threads: waiting for a service costs
a thread nothing. Every answer is written down as it comes, by the content of its
request, so an interrupted run goes on where it stopped, and a rerun is free.
"""

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, cast

from workbench import journal
from workbench.project import JSON

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

# Many at once meet the rate limit as a matter of course. The client waits between two tries as long as
# Retry-After says (up to two minutes), else from half a second to eight; ten tries outlast a minute's quota.
RETRIES = 10


@dataclass(frozen=True)
class Request:
    """One question as it is sent; what it costs to answer depends on nothing else."""

    model: str
    messages: Sequence[Mapping[str, object]]
    max_tokens: int
    temperature: float
    seed: int | None = None
    """What tells several samples of one question apart; ``None`` sends none."""

    @property
    def key(self) -> str:
        """The content as a hash. The address is no part of it: a moved service has the same models."""
        content = {name: value for name, value in asdict(self).items() if value is not None}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What the model said.

    ``seconds`` runs from sending to the last word, the service's queue included, as it was when the
    answer was first fetched; tries that were refused, and the waits behind them, are no part of it.
    Token counts are 0 where a service gives none. ``cached_tokens`` are those of the prompt's tokens that
    the service had read before, and charges less for.
    """

    text: str
    finish_reason: str
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


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
    patient = _patient(client) if missing else client
    pool = ThreadPoolExecutor(max_workers=concurrency)
    try:
        sent = {pool.submit(_fetch, patient, request, key, kept): key for key, request in missing.items()}
        for key, where in places.items():
            if key not in missing:
                yield from ((place, kept.answers[key]) for place in where)
        for done in as_completed(sent):
            answer = done.result()
            yield from ((place, answer) for place in places[sent[done]])
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _patient(client: "OpenAI") -> "OpenAI":
    """The same client with more retries, unless somebody chose their number."""
    from openai import DEFAULT_MAX_RETRIES

    chosen = client.max_retries != DEFAULT_MAX_RETRIES
    return client if chosen else client.with_options(max_retries=RETRIES)


def _fetch(client: "OpenAI", request: Request, key: str, kept: "_Kept") -> Answer:
    import openai

    received = client.chat.completions.with_raw_response.create(
        model=request.model,
        messages=cast("list[ChatCompletionMessageParam]", request.messages),
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        seed=openai.omit if request.seed is None else request.seed,
    )
    reply = received.parse()
    choice, usage = reply.choices[0], reply.usage
    details = usage.prompt_tokens_details if usage else None
    answer = Answer(
        # Half a letter, cut off by max_tokens, cannot be written to a file.
        text=(choice.message.content or "").encode(errors="replace").decode(),
        finish_reason=choice.finish_reason,
        seconds=round(received.elapsed.total_seconds(), 4),
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
    )
    kept.add(key, request.model, answer)
    return answer


class _Kept:
    """Answers in a file, one JSON line each; without a file they are kept for this call alone."""

    def __init__(self, path: str | Path | None) -> None:
        self.answers: dict[str, Answer] = {}
        self._path = None if path is None else Path(path)
        for entry in () if self._path is None else journal.objects(self._path):
            try:
                # The first stands: its time was measured when it was fetched.
                self.answers.setdefault(str(entry["key"]), _answer(entry))
            except (KeyError, TypeError):
                continue  # no answer; it is asked again

    def add(self, key: str, model: str, answer: Answer) -> None:
        self.answers[key] = answer
        if self._path is not None:
            line = json.dumps({"key": key, "model": model, **asdict(answer)}, ensure_ascii=False)
            journal.append(self._path, line.encode())


def _answer(entry: Mapping[str, JSON]) -> Answer:
    known = {field.name: entry[field.name] for field in fields(Answer) if field.name in entry}
    return Answer(**known)  # type: ignore[arg-type]
