"""Chat completions over HTTP, whole or as a stream, and those that are stored.

A client that goes away stops the writing.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol, TypeAlias, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Scope

from workbench.local.api import http
from workbench.local.api.chat_request import CompletionRequest
from workbench.local.api.http import show_error
from workbench.local.api.model_routes import Served, Serving
from workbench.local.chat_protocol import ChatRequest, Choice, Completion, Delta, Likelihood, Refusal
from workbench.local.store.rows import JSON
from workbench.local.store.store import Store

Answer = TypeVar("Answer")
Body: TypeAlias = dict[str, JSON]
Piece: TypeAlias = Delta | Completion
Pieces: TypeAlias = AsyncGenerator[Piece, None]
Keep: TypeAlias = Callable[[Completion], Body]  # keeps a complete answer, if that was asked for, and shows it


class Answerer(Protocol):
    """Whoever runs the models."""

    async def complete(self, request: ChatRequest) -> Completion:
        """The whole answer; raises ``Refusal``."""

    def stream(self, request: ChatRequest) -> Pieces:
        """The answer as it is written, a ``Completion`` last; raises ``Refusal``."""


class AnsweringApi:
    """What chats and responses have in common: who answers, and where answers are kept."""

    def __init__(self, store: Store, answerer: Answerer, serving: Serving) -> None:
        """Answer under the names of ``serving``, by ``answerer``; ``store`` keeps what is to be kept."""
        self._store, self._answerer, self._serving = store, answerer, serving

    async def _answered(
        self,
        request: Request,
        chat: ChatRequest,
        keep: Keep,
        events: Callable[[Piece, Pieces, Keep], AsyncIterator[str]] | None,
    ) -> Response:
        """The answer to ``chat``: as ``keep`` shows it, or as a stream of ``events``."""
        if events is None:
            return JSONResponse(keep(await _unless_gone(request, self._answerer.complete(chat))))
        pieces = self._answerer.stream(chat)
        # Whatever is wrong with the request shows at the first piece, while a status can still be sent. An
        # answer in one piece is kept then too, as the disk may be full.
        first = await _unless_gone(request, anext(pieces))
        kept: Body | None = None
        if isinstance(first, Completion):
            async with aclosing(pieces):
                kept = keep(first)
        stream = events(first, pieces, keep if kept is None else lambda _: kept)
        headers = {"cache-control": "no-cache"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


class CompletionChange(http.RequestShape):
    """What may change in a stored completion."""

    metadata: http.Metadata | None


class ChatApi(AnsweringApi):
    """The part of the API that is about answers, and about those that are stored."""

    async def answer(self, request: Request) -> Response:
        """Answer a conversation."""
        asked = await http.read_json(request, CompletionRequest)
        name = request.path_params.get("deployment") or asked.model
        if not name:
            raise http.invalid("Missing required parameter: 'model'.", "model")
        served = self._serving.find(name, http.faults_of(request))
        chat = asked.of(served.model)
        head: Body = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": chat.model}

        def keep(completion: Completion) -> Body:
            return self._keep(asked, served, whole_answer(head, completion))

        def events(first: Piece, pieces: Pieces, keep: Keep) -> AsyncIterator[str]:
            with_usage = asked.stream_options is not None and asked.stream_options.include_usage
            return _stream(request.scope, head, chat.n, first, pieces, keep, with_usage)

        return await self._answered(request, chat, keep, events if asked.stream else None)

    def _keep(self, asked: CompletionRequest, served: Served, whole: Body) -> Body:
        """Note that an answer is complete, and keep it if that was asked for."""
        self._serving.note_answer(served)
        if asked.store:
            whole = whole | {"metadata": dict(asked.metadata or {})}
            self._store.completions.add(whole, asked.of(served.model).messages)
        return whole

    # Stored completions: list, look up, describe anew, delete; chats sent with ``store`` come here.

    async def list_completions(self, request: Request) -> Response:
        """List stored completions, oldest first unless asked otherwise; by model and metadata, if asked."""
        after, limit = http.read_page(request, default=20)
        order, model = http.read_order(request, default="asc"), request.query_params.get("model")
        metadata = http.read_metadata(request)
        page = self._store.completions.page
        return http.show_page(*page(after=after, limit=limit, order=order, model=model, metadata=metadata))

    async def show(self, request: Request) -> Response:
        """Give one stored completion."""
        return JSONResponse(self._completion(request))

    async def change(self, request: Request) -> Response:
        """Replace the metadata of a stored completion."""
        completion_id = str(self._completion(request)["id"])
        asked = await http.read_json(request, CompletionChange)
        return JSONResponse(self._store.completions.set_metadata(completion_id, asked.metadata or {}))

    async def delete(self, request: Request) -> Response:
        """Delete a stored completion."""
        completion_id = self._completion(request)["id"]
        self._store.completions.delete(str(completion_id))
        return JSONResponse({"id": completion_id, "object": "chat.completion.deleted", "deleted": True})

    async def list_messages(self, request: Request) -> Response:
        """List the messages of the conversation that led to the answer."""
        completion_id = str(self._completion(request)["id"])
        messages: list[Body] = [
            {"id": f"{completion_id}-{number}", "refusal": None, "content_parts": None, **message}
            for number, message in enumerate(self._store.completions.messages(completion_id))
        ]
        return http.show_part(request, messages, "message", default="asc")

    def _completion(self, request: Request) -> Body:
        completion_id = request.path_params["completion_id"]
        return http.known(self._store.completions.get(completion_id), "stored completion", completion_id)


async def _unless_gone(request: Request, work: Awaitable[Answer]) -> Answer:
    """The result of ``work``; it is cancelled when the client goes away first."""
    answer = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_departure(request))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        for task in (answer, gone):
            task.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def _departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(
    scope: Scope,
    head: Body,
    n: int,
    first: Piece,
    pieces: Pieces,
    keep: Keep,
    with_usage: bool,
) -> AsyncIterator[str]:
    """The answer as server-sent events, one chunk a piece; kept as if it had not been a stream."""
    head = head | {"object": "chat.completion.chunk"} | ({"usage": None} if with_usage else {})
    piece = first
    async with aclosing(pieces):
        try:
            for index in range(n):
                yield _chunk(head, index, {"role": "assistant", "content": ""})
            while isinstance(piece, Delta):
                yield _chunk(head, piece.index, {"content": piece.text}, None, piece.likelihoods or None)
                piece = await anext(pieces)
            keep(piece)
            for index, choice in enumerate(piece.choices):  # calls of tools come with the end
                found = enumerate(_calls(head, index, choice))
                calls: Body = {"tool_calls": [{"index": at, **call} for at, call in found]}
                yield _chunk(head, index, calls if choice.tool_calls else {}, choice.finish_reason)
            if with_usage:
                yield _event(head | {"choices": [], "usage": usage(piece)})
            yield "data: [DONE]\n\n"
        except Refusal as refusal:
            yield _event(show_error(refusal, scope))


def _event(body: JSON) -> str:
    return f"data: {json.dumps(body)}\n\n"


# Chat answers as the API shows them: a whole completion, or the chunks of a stream.


def whole_answer(head: Body, completion: Completion) -> Body:
    """A completion; ``head`` has its id, time and model."""
    choices: list[JSON] = []
    for index, choice in enumerate(completion.choices):
        message: Body = {"role": "assistant", "content": choice.text, "refusal": None}
        if choice.tool_calls:
            message |= {"content": choice.text or None, "tool_calls": [*_calls(head, index, choice)]}
        choices.append({"index": index, "message": message, **_end(choice.finish_reason, choice.likelihoods)})
    return head | {"object": "chat.completion", "choices": choices, "usage": usage(completion)}


def usage(completion: Completion) -> Body:
    """What the answers cost, in tokens."""
    return {
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
        "total_tokens": completion.prompt_tokens + completion.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": completion.cached_tokens},
    }


def logprobs(likelihoods: tuple[Likelihood, ...]) -> list[JSON]:
    """The log-probabilities of an answer's tokens, each with its likeliest rivals."""
    return [_token(one) | {"top_logprobs": [_token(rival) for rival in one.top]} for one in likelihoods]


def _chunk(
    head: Body,
    index: int,
    delta: Body,
    finish_reason: str | None = None,
    likelihoods: tuple[Likelihood, ...] | None = None,
) -> str:
    return _event(head | {"choices": [{"index": index, "delta": delta, **_end(finish_reason, likelihoods)}]})


def _end(finish_reason: str | None, likelihoods: tuple[Likelihood, ...] | None) -> Body:
    found: JSON = None if likelihoods is None else {"content": logprobs(likelihoods), "refusal": None}
    return {"finish_reason": finish_reason, "logprobs": found}


def _calls(head: Body, index: int, choice: Choice) -> list[Body]:
    """The calls, with ids that are the same in a stream and in what is kept of it."""
    stem = str(head["id"]).removeprefix("chatcmpl-")[:16]
    functions: list[Body] = [{"name": call.name, "arguments": call.arguments} for call in choice.tool_calls]
    return [
        {"id": f"call_{stem}_{index}_{at}", "type": "function", "function": function}
        for at, function in enumerate(functions)
    ]


def _token(one: Likelihood) -> Body:
    return {"token": one.token, "logprob": one.logprob, "bytes": [*one.bytes]}
