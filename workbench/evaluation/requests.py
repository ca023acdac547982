"""Requests to a chat model and their answers: sent concurrently, kept in a response cache, never paid twice.

A request is known by the hash of its content. Here too: judges, the models that graders ask, and the
progress bar. What is asked and how answers are graded is in ``evaluate``.
"""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar, cast

from workbench import jsonl_log
from workbench.evaluation.graders.judges import Ask, Judged, JudgeError, Reply
from workbench.project import JSON
from workbench.settings import setting

if TYPE_CHECKING:
    from openai import OpenAI
    from openai._legacy_response import LegacyAPIResponse
    from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

T = TypeVar("T")

# Many at once meet the rate limit as a matter of course. The client waits between two tries as long as
# Retry-After says (up to two minutes), else from half a second to eight; ten tries outlast a minute's quota.
RETRIES = 10

# Codes of a refusal that is about this question, where the next one may well be answered: Azure's content
# filter, a question longer than the model reads, and what OpenAI's reasoning models will not think about.
_ABOUT_THE_QUESTION = (
    "content_filter",
    "context_length_exceeded",
    "string_above_max_length",
    "invalid_prompt",
)


@dataclass(frozen=True)
class Request:
    """One question as it is sent; what it costs to answer depends on nothing else."""

    model: str
    messages: Sequence[Mapping[str, object]]
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    """What tells several samples of one question apart; ``None`` sends none."""
    more: Mapping[str, JSON] | None = None
    """Further fields of the API, as they are sent: ``reasoning_effort``, ``top_p``."""

    @property
    def key(self) -> str:
        """The content as a hash. The address is no part of it: a moved service has the same models."""
        content = {name: value for name, value in asdict(self).items() if value is not None}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What the model said, and once it is graded, its score with the reason.

    ``seconds`` runs from sending to the last word, the service's queue included, as it was when the
    answer was first fetched; tries that were refused, and the waits behind them, are no part of it; ``nan``
    where a service does not tell.
    Token counts are 0 where a service gives none. ``cached_tokens`` are those of the prompt's tokens that
    the service had read before, and charges less for.
    """

    text: str
    finish_reason: str
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    refusal: str = ""
    """What the model said in place of an answer, or that a filter stopped it."""
    problem: str = ""
    """Why it has no score. Where the service did not let the model answer, the next run asks again."""
    score: float = math.nan
    """From 0 to 1; ``nan`` while it is not graded, and where it could not be."""
    reason: str = ""
    """Why the grader gave this score, where it says so."""

    @property
    def facts(self) -> dict[str, JSON]:
        """All of it as JSON, as saved evaluations name it: ``answer`` for the text, no empty ``refusal``."""
        facts: dict[str, JSON] = {
            "answer" if name == "text" else name: None if value != value else value
            for name, value in asdict(self).items()
        }
        return {name: value for name, value in facts.items() if name != "refusal" or value}


def fetch(client: "OpenAI", request: Request) -> Answer:
    """Ask it; a refusal that is about this question alone is an answer with a ``problem``, others raise."""
    import openai

    try:
        received = _sent(client, request)
    except openai.BadRequestError as error:
        if error.code not in _ABOUT_THE_QUESTION:
            raise
        return Answer("", "refused", 0.0, 0, 0, problem=f"the service refused the question ({error.code})")
    reply = received.parse()
    choice, usage = reply.choices[0], reply.usage
    details = usage.prompt_tokens_details if usage else None
    filtered = "the content filter stopped it" if choice.finish_reason == "content_filter" else ""
    return Answer(
        text=writable(choice.message.content or choice.message.refusal or ""),
        finish_reason=choice.finish_reason,
        seconds=round(received.elapsed.total_seconds(), 4),
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
        refusal=writable(choice.message.refusal or filtered),
    )


def patient(client: "OpenAI") -> "OpenAI":
    """The same client with more retries, unless somebody chose their number."""
    from openai import DEFAULT_MAX_RETRIES

    chosen = client.max_retries != DEFAULT_MAX_RETRIES
    return client if chosen else client.with_options(max_retries=RETRIES)


def _sent(client: "OpenAI", request: Request) -> "LegacyAPIResponse[ChatCompletion]":
    import openai

    send = partial(
        client.chat.completions.with_raw_response.create,
        model=request.model,
        messages=cast("list[ChatCompletionMessageParam]", request.messages),
        temperature=openai.omit if request.temperature is None else request.temperature,
        seed=openai.omit if request.seed is None else request.seed,
        extra_body=request.more,
    )
    return with_limit(send, request.max_tokens)


def with_limit(send: Callable[..., T], max_tokens: int | None) -> T:
    """Send it with the longest answer; reasoning models know that by another name, and say so."""
    import openai

    try:
        return send(max_tokens=openai.omit if max_tokens is None else max_tokens)
    except openai.BadRequestError as error:
        if (error.code, error.param) != ("unsupported_parameter", "max_tokens"):
            raise
    return send(max_completion_tokens=max_tokens)


def writable(text: str) -> str:
    """Half a letter, cut off by ``max_tokens``, cannot be written to a file."""
    return text.encode(errors="replace").decode()


# The response cache: a file of JSON lines that only grows; several kernels may write to it.


class ResponseCache:
    """Answers by their requests' keys; without a file they are kept as long as this object."""

    def __init__(self, path: str | Path | None) -> None:
        """Read what an earlier run has left there."""
        self.answers: dict[str, Answer] = {}
        self.path = None if path is None else Path(path)
        self._unwritten: list[bytes] = []
        self._noting, self._writing = Lock(), Lock()
        for entry in () if self.path is None else jsonl_log.objects(self.path):
            try:
                # The first stands: its time was measured when it was fetched.
                known = {name: entry[name] for name in Answer.__dataclass_fields__ if name in entry}
                self.answers.setdefault(str(entry["key"]), Answer(**known))
            except (KeyError, TypeError):
                continue  # no answer; it is asked again

    def add(self, key: str, model: str, answer: Answer) -> None:
        """Keep it; on disk, whole, when this returns. What the service refused is nothing to keep."""
        if answer.problem:
            return
        self.answers[key] = answer
        if self.path is None:
            return
        kept = {k: v for k, v in asdict(answer).items() if (v != "" or k == "text") and k not in _GRADE}
        line = json.dumps({"key": key, "model": model, **kept}, ensure_ascii=False)
        with self._noting:
            self._unwritten.append(line.encode())
        # The disk is slow: who comes first writes for all who wait behind it.
        with self._writing:
            with self._noting:
                lines, self._unwritten = self._unwritten, []
            if lines:
                jsonl_log.append(self.path, b"\n".join(lines))


_GRADE = ("score", "reason")  # of an answer: depends on the grader, and is made anew


# Many requests at once: the synchronous client in threads (tests/benchmarks/evaluate.py measures an asyncio
# client beside it). Each answer is kept as it comes, so an interrupted run goes on, and a rerun is free.


def ask(
    client: "OpenAI",
    requests: Sequence[Request],
    *,
    concurrency: int,
    cache: str | Path | ResponseCache | None,
) -> Generator[tuple[int, Answer], None, None]:
    """Give each answer with the place of its request, as they come; the same request is sent once.

    When one fails, those not yet sent are dropped, those on their way are
    waited for and kept, and then the client's own error is raised, with a note
    that says how many are kept. An interrupt (Ctrl-C) and a consumer that stops
    do the same.
    """
    import openai

    kept = cache if isinstance(cache, ResponseCache) else ResponseCache(cache)
    places: dict[str, list[int]] = {}
    for place, request in enumerate(requests):
        places.setdefault(request.key, []).append(place)
    missing = {key: requests[where[0]] for key, where in places.items() if key not in kept.answers}
    asked = patient(client) if missing else client

    def answered(request: Request, key: str) -> Answer:
        answer = fetch(asked, request)
        kept.add(key, request.model, answer)
        return answer

    pool = ThreadPoolExecutor(max_workers=concurrency)
    try:
        sent = {pool.submit(answered, request, key): key for key, request in missing.items()}
        for key, where in places.items():
            if key not in missing:
                yield from ((place, kept.answers[key]) for place in where)
        for done in as_completed(sent):
            answer = done.result()
            yield from ((place, answer) for place in places[sent[done]])
    except (openai.OpenAIError, KeyboardInterrupt) as error:
        pool.shutdown(wait=True, cancel_futures=True)
        error.add_note(note_of(requests, kept))
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def note_of(requests: Sequence[Request], kept: ResponseCache) -> str:
    """What an interrupted run leaves, and how it goes on."""
    there = f"{sum(request.key in kept.answers for request in requests):,} of {len(requests):,} answers"
    if kept.path is None:
        return f"{there} had come, and none is kept; give a cache= to keep them."
    return f"{there} are kept in {kept.path}; run it again to go on."


# Judges. A refusal, a filter or a service that failed at one judgement becomes a problem of that answer; the
# client's other errors pass through and stop the grading.


def judging(client: "OpenAI", cache: str | Path | ResponseCache | None = None) -> Ask:
    """Let graders ask models through ``client``; several threads may ask at once.

    ``cache`` is a file that keeps every reply, so that grading again asks nothing; it may be the file of
    the answers.
    """
    import openai

    kept, asked = cache if isinstance(cache, ResponseCache) else ResponseCache(cache), patient(client)
    opening, waiting = Lock(), defaultdict[str, Lock](Lock)

    def ask(judged: Judged) -> Reply:
        # A grader calls the limit by its own name, with an s; the chat API has none.
        sampling = dict(judged.sampling)
        if "max_completions_tokens" in sampling:
            sampling["max_completion_tokens"] = sampling.pop("max_completions_tokens")
        request = Request(judged.model, judged.messages, more=sampling)
        key = request.key
        with opening:
            mine = waiting[key]
        with mine:  # equal answers, graded at the same time, are judged once
            answer = kept.answers.get(key)
            if answer is None:
                try:
                    answer = fetch(asked, request)
                except (openai.InternalServerError, openai.APITimeoutError) as error:
                    raise JudgeError(f"{judged.model} gave no answer: {error}") from error
                kept.add(key, request.model, answer)
        refused = answer.refusal or answer.problem
        tokens = answer.prompt_tokens + answer.completion_tokens
        return Reply(refused or answer.text, tokens, bool(refused))

    return ask


# The progress bar of a notebook, a terminal and a log.


def progress_bar(things: Iterable[T], total: int, what: str) -> Iterable[T]:
    """Show how far it is, if it takes longer than two seconds; what comes from the cache does not."""
    from tqdm.auto import tqdm as widget
    from tqdm.std import tqdm as text

    # Headless, a line of text now and then: whoever runs the notebook shows it, and keeps it short.
    if setting("WORKBENCH_HEADLESS") == "1":
        return text(things, total=total, desc=what, unit="item", mininterval=5, delay=2)
    bar: Iterable[T] = widget(things, total=total, desc=what, unit="item", delay=2)
    return bar
