"""The scheduler of one base model: what its requests ask, which are decoded together, what each has said.

Apart because it knows nothing of processes and pipes, so that it also runs where there are none.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import psutil
from tokenizers.decoders import DecodeStream

from workbench.dataset.chat_template import CALL_AFTER, CALL_BEFORE, CALL_OPENING, marks_calls
from workbench.errors import DataError
from workbench.local.chat_protocol import (
    ChatRequest,
    Choice,
    Completion,
    Delta,
    Likelihood,
    Refusal,
    Sampling,
)
from workbench.local.inference.batch import Batch, Drawn
from workbench.local.inference.kv_cache import bytes_per_token
from workbench.local.inference.layers import Adapters, pack
from workbench.local.inference.sampling import Constraint, Grammars, read_calls
from workbench.local.models.model import Base, TooManyTokensError, encode_prompt
from workbench.local.store.rows import JSON

# One answer being written: its text as far as it is known, where it stops, what may be sent already.


class AnswerInProgress:
    """One answer to one request; ``finish_reason`` is set when it is complete."""

    def __init__(
        self,
        index: int,
        request: ChatRequest,
        base: Base,
        grammars: Grammars,
        grammar: str | None,
        limit: int,
    ) -> None:
        """``index`` counts the answers of a request from 0; it is at most ``limit`` tokens long."""
        self.index = index
        self.limit = limit
        self.constraint: Constraint | None = None if grammar is None else grammars.follow(grammar)
        self.tokens: list[int] = []
        self.cached_tokens = 0
        self.finish_reason: str | None = None
        self._request = request
        self._base = base
        self._grammars = grammars
        self._decoding = DecodeStream(skip_special_tokens=True)
        self._text = ""
        self._sent = 0  # characters
        waiting = (*request.stop, CALL_OPENING) if request.tools else request.stop
        self._opens = dict.fromkeys(waiting, 0)  # the first character of the text where each may begin
        self._likelihoods: list[Likelihood] = []
        self._likelihoods_sent = 0

    @property
    def sampling(self) -> Sampling:
        """How its tokens are drawn; each of ``n`` answers has a seed of its own."""
        seed = self._request.seed
        return self._request if seed is None else replace(self._request, seed=seed + self.index)

    def add(self, drawn: Drawn) -> None:
        """Take the next token."""
        self.cached_tokens = drawn.cached
        self.tokens.append(drawn.token)
        before = len(self._text)
        if drawn.token not in self._base.stop_tokens:
            self._text += self._decoding.step(self._base.tokenizer.backend_tokenizer, drawn.token) or ""
            if found := drawn.chances:
                self._likelihoods.append(self._likelihood(drawn.token, found.logprob, found.top))
        begins = ((stop, max(0, before - len(stop))) for stop in self._request.stop)
        cuts = [at for at in (self._text.find(stop, begin) for stop, begin in begins) if at >= 0]
        if drawn.ended or cuts:
            self._finish("stop", min(cuts, default=None))
        elif len(self.tokens) >= self.limit:
            self._finish("length", None)

    def news(self) -> Delta | None:
        """What was not sent yet; what may become a stop sequence or a call of a tool waits."""
        end = len(self._text)
        if self.finish_reason is None:
            end = min((self._opening(text) for text in self._opens), default=end)
        if self._request.tools and (self.finish_reason is None or self.choice.tool_calls):
            opening = self._text.find(CALL_OPENING)
            end = min(end, opening) if opening >= 0 else end
        text, self._sent = self._text[self._sent : end], max(self._sent, end)
        fresh = self._likelihoods[self._likelihoods_sent :]
        self._likelihoods_sent = len(self._likelihoods)
        return Delta(self.index, text, tuple(fresh)) if text or fresh else None

    @property
    def choice(self) -> Choice:
        """The whole answer."""
        text, calls = read_calls(self._text) if self._request.tools else (self._text, ())
        reason = "tool_calls" if calls and self.finish_reason == "stop" else self.finish_reason or "stop"
        asked = self._request.top_logprobs is not None
        return Choice(text, reason, tuple(self._likelihoods) if asked else None, calls)

    def _finish(self, reason: str, cut: int | None) -> None:
        self.finish_reason = reason
        # Half a character at the end shows only when all is decoded at once.
        whole = self._base.text([token for token in self.tokens if token not in self._base.stop_tokens])
        self._text = (whole if whole.startswith(self._text) else self._text)[:cut]

    def _opening(self, stop: str) -> int:
        """Where the end of the text may be the start of ``stop``; it only ever moves on."""
        at, end = self._opens[stop], len(self._text)
        while at < end and not stop.startswith(self._text[at:]):
            found = self._text.find(stop[0], at + 1)
            at = end if found < 0 else found
        self._opens[stop] = at
        return at

    def _likelihood(self, token: int, logprob: float, top: tuple[tuple[int, float], ...]) -> Likelihood:
        text, said = self._grammars.said(token)
        return Likelihood(text, said, logprob, tuple(self._likelihood(*rival, ()) for rival in top))


# The scheduler of one base model: who waits for it or for a model tuned from it, and who is being answered.
#
# Answers begin in the order they were asked for, as many at once as memory allows; all share one
# batch, whatever adapters they use.

ROWS_AT_ONCE = 32
ADAPTERS_KEPT = 16
MEMORY_SHARE = 0.25  # of what is free once the model is loaded

Piece: TypeAlias = Delta | Completion | Refusal


class Prepared(NamedTuple):
    """What the model reads of a request, and the grammar of its answers."""

    prompt: list[int]
    grammar: str | None


@dataclass(eq=False)
class _Asked:
    """A request and its answers."""

    number: int
    request: ChatRequest
    streamed: bool
    prompt: list[int]
    answers: list[AnswerInProgress]

    @property
    def completion(self) -> Completion:
        return Completion(
            choices=tuple(answer.choice for answer in self.answers),
            prompt_tokens=len(self.prompt),
            completion_tokens=sum(len(answer.tokens) for answer in self.answers),
            cached_tokens=self.answers[0].cached_tokens,
        )


class Scheduler:
    """Takes requests for one base model; every ``turn`` writes one token of every answer."""

    def __init__(self, base: Base, *, memory: int | None = None) -> None:
        """Answer with ``base``, adapters beside it as they are asked for.

        ``memory`` (bytes) is for keys and values of answers in writing; by default a share of what is free.
        """
        pack(base.model)
        self._base = base
        self.adapters = Adapters(base.model)
        self._batch = Batch(base, self.adapters)
        self._grammars = Grammars(base.tokenizer, base.stop_tokens)
        self._waiting: deque[tuple[_Asked, AnswerInProgress]] = deque()
        self.writing: dict[int, tuple[_Asked, AnswerInProgress]] = {}  # by the batch's number
        if memory is None:
            memory = int(psutil.virtual_memory().available * MEMORY_SHARE)
        self._tokens_at_once = memory // bytes_per_token(base.model.config, base.model.dtype)

    @property
    def busy(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting or self.writing)

    def prepare(self, request: ChatRequest) -> Prepared:
        """What ``request`` needs before its first token; ``Refusal`` says why it cannot be answered.

        It may run beside ``turn`` in another thread.
        """
        _check(self._base, request)
        adapter = request.adapter
        if adapter and adapter not in self.adapters.names and not Path(adapter).is_dir():
            raise Refusal(404, "DeploymentNotFound", f"The model {request.model!r} no longer exists.")
        return Prepared(_prompt_tokens(self._base, request), _grammar_of(self._grammars, request))

    def take(
        self, number: int, request: ChatRequest, *, streamed: bool, prepared: Prepared | None = None
    ) -> None:
        """Answer ``request`` in its turn; ``Refusal`` says at once why that is impossible."""
        prompt, grammar = prepared or self.prepare(request)
        limit = min(request.max_tokens, self._base.context - len(prompt))
        shared = request, self._base, self._grammars, grammar, limit
        answers = [AnswerInProgress(index, *shared) for index in range(request.n)]
        asked = _Asked(number, request, streamed, prompt, answers)
        self._waiting.extend((asked, answer) for answer in answers)

    def leave(self, number: int) -> None:
        """Nobody waits for the answers to request ``number`` any more."""
        self._waiting = deque(pair for pair in self._waiting if pair[0].number != number)
        for row in [row for row, (asked, _) in self.writing.items() if asked.number == number]:
            self._batch.leave(row)
            del self.writing[row]

    def turn(self) -> Iterator[tuple[int, Piece]]:
        """Write one token of every answer; what is new, each with its request's number."""
        while self._waiting and self._fits(*self._waiting[0]):
            self._begin(*self._waiting.popleft())
        for drawn in self._batch.step():
            if drawn.row in self.writing:  # else the request has failed in this very turn
                yield from self._add(drawn)

    def _fits(self, asked: _Asked, answer: AnswerInProgress) -> bool:
        rows = len(self.writing) + 1
        length = max(len(one.prompt) + its.limit for one, its in (*self.writing.values(), (asked, answer)))
        return rows == 1 or (rows <= ROWS_AT_ONCE and rows * length <= self._tokens_at_once)

    def _begin(self, asked: _Asked, answer: AnswerInProgress) -> None:
        adapter = asked.request.adapter
        if adapter:
            self.adapters.load(adapter, Path(adapter))
            used = {one.request.adapter for one, _ in self.writing.values()} | {adapter}
            idle = [name for name in self.adapters.names if name not in used]
            for name in idle[: max(0, len(self.adapters.names) - ADAPTERS_KEPT)]:
                self.adapters.drop(name)
                self._batch.forget(name)
        row = self._batch.join(asked.prompt, answer.sampling, adapter=adapter, constraint=answer.constraint)
        self.writing[row] = asked, answer

    def _add(self, drawn: Drawn) -> Iterator[tuple[int, Piece]]:
        asked, answer = self.writing[drawn.row]
        answer.add(drawn)
        if answer.constraint and (problem := answer.constraint.problem):
            self.leave(asked.number)
            message = f"The answer could not be kept to its JSON schema: {problem}; use a simpler one."
            yield asked.number, Refusal(400, "invalid_request_error", message)
            return
        if asked.streamed and (news := answer.news()):
            yield asked.number, news
        if answer.finish_reason:
            self._batch.leave(drawn.row)
            del self.writing[drawn.row]
            if all(one.finish_reason for one in asked.answers):
                yield asked.number, asked.completion


# From a request to what the model reads. Whatever is wrong shows here, before anything is computed.


def _check(base: Base, request: ChatRequest) -> None:
    """Refuse what cannot be done with this model, whatever the messages say."""
    size = base.model.get_output_embeddings().weight.shape[0]
    unknown = [token for token, _ in request.logit_bias if token >= size]
    if unknown:
        raise _refusal(f"logit_bias names token {unknown[0]}; {base.name} has the tokens 0 to {size - 1}.")
    if request.calls and not marks_calls(base.tokenizer):
        raise _refusal(
            f"How {base.name} writes calls of tools is not known here, so none can be demanded; "
            "leave tool_choice out, or ask a model whose chat template has <tool_call>."
        )


def _prompt_tokens(base: Base, request: ChatRequest) -> list[int]:
    """The tokens of the conversation, written as for training."""
    try:
        prompt = encode_prompt(base.tokenizer, request.messages, request.tools, base.context)
    except TooManyTokensError:
        raise _too_long(base, f"more than {base.context}") from None
    except DataError as error:
        raise _refusal(f"{base.name} cannot read these messages: {error}") from None
    if not prompt:
        raise _refusal("These messages make an empty prompt; say something.")
    if len(prompt) >= base.context:
        raise _too_long(base, str(len(prompt)))
    return prompt


def _grammar_of(grammars: Grammars, request: ChatRequest) -> str | None:
    """The grammar that each answer to ``request`` keeps to; ``None`` if it is free."""
    try:
        if request.calls:
            functions = {name: _parameters(request, name) for name in request.calls}
            return grammars.of_call(CALL_BEFORE, CALL_AFTER, functions)
        return None if request.schema is None else grammars.of_schema(request.schema)
    except DataError as error:
        place = "tools" if request.calls else "response_format"
        raise _refusal(f"The JSON schema in {place} cannot be followed: {error}") from None


def _parameters(request: ChatRequest, name: str) -> JSON:
    function = next(tool["function"] for tool in request.tools if tool["function"]["name"] == name)
    parameters: JSON = function.get("parameters") or {"type": "object", "properties": {}}
    return parameters


def _too_long(base: Base, length: str) -> Refusal:
    message = (
        f"This model's maximum context length is {base.context} tokens, but the messages resulted in "
        f"{length} tokens. Please reduce the length of the messages."
    )
    return Refusal(400, "context_length_exceeded", message)


def _refusal(message: str) -> Refusal:
    return Refusal(400, "invalid_request_error", message)
