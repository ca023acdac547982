"""What is asked of a model, and what comes back: the words between the service and its inference worker."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; a seed repeats a draw."""

    temperature: float = 0.0  # 0: always the likeliest token
    top_p: float = 1.0  # sample among the likeliest tokens that hold this share, in (0, 1]
    seed: int | None = None
    presence_penalty: float = 0.0  # taken off the score of every token said before
    frequency_penalty: float = 0.0  # the same, once for each time
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token, added to its score)
    top_logprobs: int | None = None  # how many likely tokens to give with each; None: no log-probabilities


@dataclass(frozen=True, kw_only=True)
class ChatRequest(Sampling):
    """One request for ``n`` answers; ``adapter`` is a tuned model's folder, ``None`` for the base itself."""

    model: str
    base_model: str
    adapter: str | None
    messages: tuple[dict[str, Any], ...]
    max_tokens: int
    n: int = 1
    stop: tuple[str, ...] = ()
    schema: str | None = None  # a JSON schema, as JSON, that the answer keeps to
    tools: tuple[dict[str, Any], ...] = ()  # in the API's form, those the model may call
    calls: tuple[str, ...] = ()  # names of tools one of which must be called; empty: the model decides


@dataclass(frozen=True, slots=True)  # a request may have millions
class Likelihood:
    """A token of an answer, its log-probability as the model saw it, and its likeliest rivals."""

    token: str
    bytes: tuple[int, ...]
    logprob: float
    top: tuple["Likelihood", ...] = ()


@dataclass(frozen=True)
class ToolCall:
    """A call of the function ``name``; ``arguments`` is JSON as the model wrote it."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Delta:
    """The next piece of text of answer number ``index``, and its tokens if they are asked for."""

    index: int
    text: str
    likelihoods: tuple[Likelihood, ...] = ()


@dataclass(frozen=True)
class Choice:
    """One whole answer; ``finish_reason`` is ``stop``, ``length`` or ``tool_calls``."""

    text: str
    finish_reason: str
    likelihoods: tuple[Likelihood, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class Completion:
    """All answers to a request, and their tokens; ``cached_tokens`` of the prompt were shared with others."""

    choices: tuple[Choice, ...]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


class Refusal(Exception):  # noqa: N818 (one raises a refusal)
    """A request that is not carried out: the HTTP status, the code, the sentence, the field it is about."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, retry_after: int | None = None
    ) -> None:
        """``message`` is read by a person; ``param`` is a path such as ``method.supervised``.

        ``retry_after`` is in seconds; without it, asking again would be refused again.
        """
        super().__init__(status, code, message, param, retry_after)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.retry_after = retry_after
