"""One question as it is sent, and one answer as it came back.

What is paid for depends on the content of a request alone, so that content, as a
hash, is the name by which its answer is kept. How many are sent at once is said
in ``answers``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from workbench.project import JSON

if TYPE_CHECKING:
    from openai import OpenAI
    from openai._legacy_response import LegacyAPIResponse
    from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

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
    refusal: str = ""
    """What the model said in place of an answer, or that a filter stopped it."""
    problem: str = ""
    """Why the service did not let the model answer; such a question is asked again by the next run."""


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
        text=_writable(choice.message.content or choice.message.refusal or ""),
        finish_reason=choice.finish_reason,
        seconds=round(received.elapsed.total_seconds(), 4),
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
        refusal=_writable(choice.message.refusal or filtered),
    )


def patient(client: "OpenAI") -> "OpenAI":
    """The same client with more retries, unless somebody chose their number."""
    from openai import DEFAULT_MAX_RETRIES

    chosen = client.max_retries != DEFAULT_MAX_RETRIES
    return client if chosen else client.with_options(max_retries=RETRIES)


def _sent(client: "OpenAI", request: Request) -> "LegacyAPIResponse[ChatCompletion]":
    """Send it; reasoning models know the longest answer by another name, and say so."""
    import openai

    send = partial(
        client.chat.completions.with_raw_response.create,
        model=request.model,
        messages=cast("list[ChatCompletionMessageParam]", request.messages),
        temperature=openai.omit if request.temperature is None else request.temperature,
        seed=openai.omit if request.seed is None else request.seed,
        extra_body=request.more,
    )
    try:
        return send(max_tokens=openai.omit if request.max_tokens is None else request.max_tokens)
    except openai.BadRequestError as error:
        if (error.code, error.param) != ("unsupported_parameter", "max_tokens"):
            raise
    return send(max_completion_tokens=request.max_tokens)


def _writable(text: str) -> str:
    """Half a letter, cut off by ``max_tokens``, cannot be written to a file."""
    return text.encode(errors="replace").decode()
