"""The process that answers chats: one base model in memory, adapters beside it, requests in batches.

Requests for the same model that wait together are answered together; requests for another
model take the next turn. It ends by itself when nobody has asked for a while.
"""

import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from jinja2 import TemplateError
from transformers.utils import logging

from workbench.errors import SetupError
from workbench.local.chat import ChatError, ChatRequest, Choice, Completion, Delta
from workbench.local.engine import lora
from workbench.local.engine.encoding import encode_prompt
from workbench.local.engine.generate import Batch, Sampling
from workbench.local.engine.model import Base, load_base, use_threads
from workbench.local.engine.weights import base_folder

ROWS_AT_ONCE = 32
GATHERING = 0.02  # seconds to wait for the next of a burst of requests
PATIENCE = 600.0  # seconds without a request until the memory is given back
ADAPTERS_KEPT = 16


class Answer:
    """One answer being written for one request."""

    def __init__(self, number: int, index: int, request: ChatRequest, base: Base, prompt: list[int]) -> None:
        """``number`` is the request's; ``index`` counts the answers of one request from 0."""
        self.number, self.index, self.base, self.prompt = number, index, base, prompt
        seed = None if request.seed is None else request.seed + index  # or all n answers would be the same
        self.sampling = Sampling(request.temperature, request.top_p, seed)
        self.text = ""
        self.completion_tokens = 0
        self.finish_reason: str | None = None
        self._stop = request.stop
        self._limit = min(request.max_tokens, base.context - len(prompt))
        self._tokens: list[int] = []
        self._sent = 0

    def add(self, token: int) -> None:
        """Take the next token; ``finish_reason`` is set when the answer is complete."""
        self.completion_tokens += 1
        if token in self.base.stop_tokens:
            self.finish_reason = "stop"
            return
        self._tokens.append(token)
        text = self.base.text(self._tokens)
        cuts = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        self.text = text[: min(cuts)] if cuts else text
        if cuts:
            self.finish_reason = "stop"
        elif len(self._tokens) >= self._limit:
            self.finish_reason = "length"

    def news(self) -> str:
        """The text not sent yet; half a character, or what may become a stop sequence, waits."""
        end = len(self.text)
        if self.finish_reason is None:
            end -= max((_overlap(self.text, stop) for stop in self._stop), default=0)
            if self.text.endswith("\N{REPLACEMENT CHARACTER}"):
                end = min(end, len(self.text) - 1)
        fresh, self._sent = self.text[self._sent : end], max(self._sent, end)
        return fresh


class ChatWorker:
    """The loop between the service's requests and the models in memory."""

    def __init__(self, models: Path, connection: Connection) -> None:
        """Load nothing before the first request names a model."""
        self._models = models
        self._connection = connection
        self._bases: dict[str, Base] = {}
        self._adapters: dict[str, list[str]] = {}  # base -> adapter folders in memory, oldest first
        self._waiting: dict[int, tuple[ChatRequest, bool]] = {}
        self._left: set[int] = set()

    def run(self) -> None:
        """Answer until nobody has asked for ``PATIENCE`` seconds; ``EOFError`` when the service is gone."""
        while self._waiting or self._connection.poll(PATIENCE):
            self._receive(GATHERING)
            answers, streamed = self._next_group()
            if answers:
                self._write(answers, streamed)

    def _receive(self, patience: float) -> None:
        while self._connection.poll(patience):
            kind, number, request = self._connection.recv()
            if kind == "leave":
                self._waiting.pop(number, None)
                self._left.add(number)
            else:
                self._waiting[number] = (request, kind == "stream")

    def _next_group(self) -> tuple[list[Answer], set[int]]:
        """The answers to write next: the oldest request and others for the same model, up to a full batch."""
        answers: list[Answer] = []
        streamed: set[int] = set()
        model: str | None = None
        for number, (request, stream) in list(self._waiting.items()):
            if model not in (None, request.model) or (answers and len(answers) + request.n > ROWS_AT_ONCE):
                continue
            del self._waiting[number]
            try:
                base = self._base_for(request)
                prompt = self._prompt(base, request)
            except ChatError as error:
                self._connection.send((number, error))
                continue
            model = request.model
            answers += [Answer(number, index, request, base, prompt) for index in range(request.n)]
            if stream:
                streamed.add(number)
        return answers, streamed

    def _write(self, answers: list[Answer], streamed: set[int]) -> None:
        first = answers[0]
        batch = Batch(
            first.base, [answer.prompt for answer in answers], [answer.sampling for answer in answers]
        )
        unfinished = {answer.number for answer in answers}
        while batch.live:
            for row, token in batch.step():
                answers[row].add(token)
                if answers[row].finish_reason:
                    batch.leave(row)
            for answer in answers:
                if answer.number in streamed and (text := answer.news()):
                    self._connection.send((answer.number, Delta(answer.index, text)))
            for number in list(unfinished):
                own = [answer for answer in answers if answer.number == number]
                if all(answer.finish_reason for answer in own):
                    unfinished.discard(number)
                    self._connection.send((number, _completion(own, batch.shared)))
            self._receive(0)
            for row, answer in enumerate(answers):
                if answer.number in self._left:
                    batch.leave(row)
        self._left.clear()

    def _base_for(self, request: ChatRequest) -> Base:
        """The base model in memory, switched to the request's adapter."""
        name = request.base_model
        try:
            if name not in self._bases:
                self._bases[name] = load_base(name, base_folder(name, self._models))
        except SetupError as error:
            raise ChatError(503, "modelNotReady", str(error)) from None
        base, kept = self._bases[name], self._adapters.setdefault(name, [])
        if request.adapter and request.adapter not in kept:
            if not Path(request.adapter).is_dir():
                raise ChatError(404, "DeploymentNotFound", f"The model {request.model!r} no longer exists.")
            lora.load_adapter(base.model, request.adapter, Path(request.adapter))
            kept.append(request.adapter)
            if len(kept) > ADAPTERS_KEPT:
                lora.drop_adapter(base.model, kept.pop(0))
        lora.use(base.model, request.adapter)
        return base

    def _prompt(self, base: Base, request: ChatRequest) -> list[int]:
        try:
            prompt = encode_prompt(base.tokenizer, request.messages)
        except (TemplateError, TypeError) as error:
            message = f"The chat template of {request.base_model} refuses these messages: {error}"
            raise ChatError(400, "invalid_request_error", message) from None
        if len(prompt) >= base.context:
            message = (
                f"This model's maximum context length is {base.context} tokens, but the messages resulted in "
                f"{len(prompt)} tokens. Please reduce the length of the messages."
            )
            raise ChatError(400, "context_length_exceeded", message)
        return prompt


def serve(models: Path, connection: Connection) -> None:
    """Answer requests that come through ``connection``: the child process's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the service's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.disable_progress_bar()
    use_threads()
    with suppress(EOFError, BrokenPipeError):  # the service is gone: so are we
        ChatWorker(models, connection).run()


def _completion(answers: list[Answer], shared: int) -> Completion:
    return Completion(
        choices=tuple(Choice(answer.text, answer.finish_reason or "stop") for answer in answers),
        prompt_tokens=len(answers[0].prompt),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        cached_tokens=shared,
    )


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of ``text`` may be the start of ``stop``."""
    return next((size for size in range(len(stop) - 1, 0, -1) if text.endswith(stop[:size])), 0)
