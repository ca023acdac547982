"""Chat completions over HTTP, whole or as a stream; a client that goes away stops the writing."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Protocol, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from workbench.local.api.chat import Body, first_chunk, last_chunk, next_chunk, usage, whole_answer
from workbench.local.api.chat_request import CompletionRequest
from workbench.local.api.http import (
    Metadata,
    Refusal,
    RequestShape,
    faults_of,
    invalid,
    not_found,
    read_json,
    read_metadata,
    read_order,
    read_page,
    show,
    show_page,
)
from workbench.local.api.model_routes import Served, Serving
from workbench.local.chat_protocol import ChatError, ChatRequest, Completion, Delta
from workbench.local.store.rows import JSON
from workbench.local.store.store import Store

Answer = TypeVar("Answer")


class Answerer(Protocol):
    """Whoever runs the models."""

    async def complete(self, request: ChatRequest) -> Completion:
        """The whole answer; raises ``ChatError``."""

    def stream(self, request: ChatRequest) -> AsyncIterator[Delta | Completion]:
        """The answer as it is written, a ``Completion`` last; raises ``ChatError``."""


class ChatApi:
    """The part of the API that is about answers."""

    def __init__(self, store: Store, answerer: Answerer, serving: Serving) -> None:
        """Answer under the names of ``serving``, by ``answerer``; ``store`` keeps what is to be kept."""
        self._store = store
        self._answerer = answerer
        self._serving = serving

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found."""
        return [Route("/chat/completions", self.answer, methods=["POST"])]

    @property
    def deployment_routes(self) -> list[BaseRoute]:
        """Where the dated API has them."""
        return [Route("/deployments/{deployment}/chat/completions", self.answer, methods=["POST"])]

    async def answer(self, request: Request) -> Response:
        """Answer a conversation."""
        asked = await read_json(request, CompletionRequest)
        name = request.path_params.get("deployment") or asked.model
        if not name:
            raise invalid("Missing required parameter: 'model'.", "model")
        served = self._serving.find(name, faults_of(request))
        model = served.model
        chat = asked.of(model)
        head: Body = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model.name}
        if not asked.stream:
            completion = await unless_gone(request, self._answerer.complete(chat))
            return JSONResponse(self._keep(asked, served, whole_answer(head, completion)))
        pieces = self._noting(asked, served, head, self._answerer.stream(chat))
        # Whatever is wrong with the request shows at the first piece, while a status can still be sent.
        first = await unless_gone(request, anext(pieces))
        with_usage = asked.stream_options is not None and asked.stream_options.include_usage
        events = _stream(request.scope, head, chat.n, first, pieces, with_usage)
        return StreamingResponse(
            events, media_type="text/event-stream", headers={"cache-control": "no-cache"}
        )

    def _keep(self, asked: CompletionRequest, served: Served, whole: Body) -> Body:
        """Note that an answer is complete, and keep it if that was asked for."""
        self._serving.note_answer(served)
        if asked.store:
            whole = whole | {"metadata": dict(asked.metadata or {})}
            self._store.completions.add(whole, asked.of(served.model).messages)
        return whole

    async def _noting(
        self, asked: CompletionRequest, served: Served, head: Body, pieces: AsyncIterator[Delta | Completion]
    ) -> AsyncIterator[Delta | Completion]:
        """The same pieces; the whole answer is kept as if it had not been a stream."""
        try:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    self._keep(asked, served, whole_answer(head, piece))
                yield piece
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()


async def unless_gone(request: Request, work: Awaitable[Answer]) -> Answer:
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
    first: Delta | Completion,
    pieces: AsyncIterator[Delta | Completion],
    with_usage: bool,
) -> AsyncIterator[str]:
    """The answer as server-sent events, one chunk a piece."""
    head = head | {"object": "chat.completion.chunk"} | ({"usage": None} if with_usage else {})
    piece = first
    try:
        for index in range(n):
            yield _event(first_chunk(head, index))
        while isinstance(piece, Delta):
            yield _event(next_chunk(head, piece))
            piece = await anext(pieces)
        for index, choice in enumerate(piece.choices):
            yield _event(last_chunk(head, index, choice))
        if with_usage:
            yield _event(head | {"choices": [], "usage": usage(piece)})
        yield "data: [DONE]\n\n"
    except ChatError as error:
        yield _event(show(Refusal(error.status, error.code, error.message), scope))
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _event(body: JSON) -> str:
    return f"data: {json.dumps(body)}\n\n"


# Stored completions over HTTP: list, look up, describe anew, delete; chats sent with ``store`` come here.


class CompletionChange(RequestShape):
    """What may change in a stored completion."""

    metadata: Metadata | None


class CompletionsApi:
    """The part of the API that is about stored completions."""

    def __init__(self, store: Store) -> None:
        """Show the completions of ``store``."""
        self._store = store

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found."""
        one = "/chat/completions/{completion_id}"
        return [
            Route("/chat/completions", self.list_completions, methods=["GET"]),
            Route(one, self.show, methods=["GET"]),
            Route(one, self.change, methods=["POST"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/messages", self.list_messages, methods=["GET"]),
        ]

    async def list_completions(self, request: Request) -> Response:
        """List stored completions, oldest first unless asked otherwise; by model and metadata, if asked."""
        after, limit = read_page(request, default=20)
        return show_page(
            *self._store.completions.page(
                after=after,
                limit=limit,
                order=read_order(request, default="asc"),
                model=request.query_params.get("model"),
                metadata=read_metadata(request),
            )
        )

    async def show(self, request: Request) -> Response:
        """Give one stored completion."""
        return JSONResponse(self._completion(request))

    async def change(self, request: Request) -> Response:
        """Replace the metadata of a stored completion."""
        completion_id = str(self._completion(request)["id"])
        asked = await read_json(request, CompletionChange)
        return JSONResponse(self._store.completions.set_metadata(completion_id, asked.metadata or {}))

    async def delete(self, request: Request) -> Response:
        """Delete a stored completion."""
        completion_id = self._completion(request)["id"]
        self._store.completions.delete(str(completion_id))
        return JSONResponse({"id": completion_id, "object": "chat.completion.deleted", "deleted": True})

    async def list_messages(self, request: Request) -> Response:
        """List the messages of the conversation that led to the answer."""
        completion_id = str(self._completion(request)["id"])
        after, limit = read_page(request, default=20)
        said = enumerate(self._store.completions.messages(completion_id))
        messages: list[dict[str, JSON]] = [
            {"id": f"{completion_id}-{number}", "refusal": None, "content_parts": None, **message}
            for number, message in said
        ]
        if read_order(request, default="asc") == "desc":
            messages.reverse()
        ids = [message["id"] for message in messages]
        if after is not None and after not in ids:
            raise not_found("message", after, "after")
        begin = ids.index(after) + 1 if after else 0
        return show_page(messages[begin : begin + limit], len(messages) > begin + limit)

    def _completion(self, request: Request) -> dict[str, JSON]:
        completion_id = request.path_params["completion_id"]
        completion = self._store.completions.get(completion_id)
        if completion is None:
            raise not_found("stored completion", completion_id)
        return completion
