"""Chat completions over HTTP, whole or as a stream; a client that goes away stops the writing."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Protocol, TypeAlias, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from workbench.local.api.chat_request import CompletionRequest
from workbench.local.api.models import find_model
from workbench.local.api.refusals import Refusal, invalid, show
from workbench.local.api.requests import read_json
from workbench.local.chat import ChatError, ChatRequest, Completion, Delta
from workbench.local.storage.rows import JSON
from workbench.local.storage.store import Store

Answer = TypeVar("Answer")
Body: TypeAlias = dict[str, JSON]


class Answerer(Protocol):
    """Whoever runs the models."""

    async def complete(self, request: ChatRequest) -> Completion:
        """The whole answer; raises ``ChatError``."""

    def stream(self, request: ChatRequest) -> AsyncIterator[Delta | Completion]:
        """The answer as it is written, a ``Completion`` last; raises ``ChatError``."""


class ChatApi:
    """The part of the API that is about answers."""

    def __init__(self, store: Store, answerer: Answerer) -> None:
        """Answer with the models of ``store``, run by ``answerer``."""
        self._store = store
        self._answerer = answerer

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
        model = find_model(self._store, name)
        if model is None:
            message = (
                "The API deployment for this resource does not exist: this service has no model "
                f"{name[:80]!r} (GET /models lists those it has)."
            )
            raise Refusal(404, "DeploymentNotFound", message, "model")
        chat = asked.of(model)
        head: Body = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model.name}
        if not asked.stream:
            completion = await _unless_gone(request, self._answerer.complete(chat))
            return JSONResponse(_whole(head, completion))
        pieces = self._answerer.stream(chat)
        # Whatever is wrong with the request shows at the first piece, while a status can still be sent.
        first = await _unless_gone(request, anext(pieces))
        with_usage = asked.stream_options is not None and asked.stream_options.include_usage
        events = _stream(head, chat.n, first, pieces, with_usage)
        return StreamingResponse(
            events, media_type="text/event-stream", headers={"cache-control": "no-cache"}
        )


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


def _whole(head: Body, completion: Completion) -> Body:
    choices: list[JSON] = [
        {
            "index": index,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "finish_reason": choice.finish_reason,
            "logprobs": None,
        }
        for index, choice in enumerate(completion.choices)
    ]
    return head | {"object": "chat.completion", "choices": choices, "usage": _usage(completion)}


async def _stream(
    head: Body, n: int, first: Delta | Completion, pieces: AsyncIterator[Delta | Completion], with_usage: bool
) -> AsyncIterator[str]:
    """The answer as server-sent events, one chunk a piece."""
    head = head | {"object": "chat.completion.chunk"} | ({"usage": None} if with_usage else {})
    piece = first
    try:
        for index in range(n):
            yield _event(head | {"choices": [_chunk(index, {"role": "assistant", "content": ""})]})
        while isinstance(piece, Delta):
            yield _event(head | {"choices": [_chunk(piece.index, {"content": piece.text})]})
            piece = await anext(pieces)
        for index, choice in enumerate(piece.choices):
            yield _event(head | {"choices": [_chunk(index, {}, choice.finish_reason)]})
        if with_usage:
            yield _event(head | {"choices": [], "usage": _usage(piece)})
        yield "data: [DONE]\n\n"
    except ChatError as error:
        yield _event(show(Refusal(error.status, error.code, error.message)))
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _chunk(index: int, delta: Body, finish_reason: str | None = None) -> Body:
    return {"index": index, "delta": delta, "finish_reason": finish_reason, "logprobs": None}


def _event(body: Body) -> str:
    return f"data: {json.dumps(body)}\n\n"


def _usage(completion: Completion) -> Body:
    return {
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
        "total_tokens": completion.prompt_tokens + completion.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": completion.cached_tokens},
    }
