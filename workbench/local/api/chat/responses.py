"""The Responses API over HTTP: asked, answered whole or as a stream of events, kept, continued, forgotten.

A response is a chat completion in other words (``response_request``). It is kept unless ``store`` is
false, so that ``previous_response_id`` can go on from it. The events of a stream are those that
openai 3.57 reads for text and for calls of functions.
"""

import itertools
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from workbench.local.api.chat.chat import Answerer, unless_gone
from workbench.local.api.chat.chat_answers import Body, usage
from workbench.local.api.chat.response_request import (
    CallItem,
    FunctionToolChoice,
    Item,
    MessageItem,
    ResponseRequest,
)
from workbench.local.api.deployments.serving import Served, Serving
from workbench.local.api.faults import faults_of
from workbench.local.api.refusals import invalid, not_found
from workbench.local.api.requests import read_json, read_order, read_page, show_page
from workbench.local.chat import ChatError, Choice, Completion, Delta, Likelihood
from workbench.local.storage.rows import JSON
from workbench.local.storage.store import Store

UNWRITTEN: Body = {"status": "in_progress", "output": [], "usage": None, "completed_at": None}


class ResponsesApi:
    """The part of the API that is about responses."""

    def __init__(self, store: Store, answerer: Answerer, serving: Serving) -> None:
        """Answer under the names of ``serving``, by ``answerer``; ``store`` keeps what is to be kept."""
        self._store, self._answerer, self._serving = store, answerer, serving

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found."""
        one = "/responses/{response_id}"
        return [
            Route("/responses", self.answer, methods=["POST"]),
            Route("/responses/compact", self.not_offered, methods=["POST"]),
            Route("/responses/input_tokens", self.not_offered, methods=["POST"]),
            Route(one, self.show, methods=["GET"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/cancel", self.cancel, methods=["POST"]),
            Route(f"{one}/input_items", self.list_input, methods=["GET"]),
        ]

    async def answer(self, request: Request) -> Response:
        """Answer a conversation."""
        asked = await read_json(request, ResponseRequest)
        if not asked.model:
            raise invalid("Missing required parameter: 'model'.", "model")
        served = self._serving.find(asked.model, faults_of(request))
        chat = asked.completion(self._before(asked)).of(served.model)
        head = _head(asked, served.model.name, chat.temperature, chat.top_p)
        if not asked.stream:
            completion = await unless_gone(request, self._answerer.complete(chat))
            return JSONResponse(self._keep(asked, served, head | _outcome(head, completion)))
        pieces = self._answerer.stream(chat)
        # Whatever is wrong with the request shows at the first piece, while a status can still be sent.
        first = await unless_gone(request, anext(pieces))
        events = self._events(asked, served, head, first, pieces)
        return StreamingResponse(
            events, media_type="text/event-stream", headers={"cache-control": "no-cache"}
        )

    async def show(self, request: Request) -> Response:
        """Give a response that was kept."""
        if request.query_params.get("stream", "false").lower() != "false":
            raise invalid("A response that was kept is given whole; leave stream out.", "stream")
        return JSONResponse(self._response(request))

    async def delete(self, request: Request) -> Response:
        """Forget a response; those that went on from it cannot be continued any more."""
        response_id = self._response(request)["id"]
        self._store.responses.delete(str(response_id))
        return JSONResponse({"id": response_id, "object": "response", "deleted": True})

    async def cancel(self, request: Request) -> Response:
        """Say that there is nothing to cancel."""
        response_id = self._response(request)["id"]
        raise invalid(f"{response_id} is complete: only a background response can be cancelled.")

    async def not_offered(self, request: Request) -> Response:
        """Say that neither shortening a conversation nor counting its tokens is done here."""
        place = request.url.path.rpartition("/")[2]
        raise invalid(f"responses/{place} is not offered by the local service; usage has an answer's tokens.")

    async def list_input(self, request: Request) -> Response:
        """List the items that a response was asked with, newest first unless asked otherwise."""
        items = self._store.responses.input_items(str(self._response(request)["id"]))
        after, limit = read_page(request, default=20)
        if read_order(request, default="desc") == "desc":
            items.reverse()
        ids = [item["id"] for item in items]
        if after is not None and after not in ids:
            raise not_found("item", after, "after")
        begin = ids.index(after) + 1 if after else 0
        return show_page(items[begin : begin + limit], len(items) > begin + limit)

    def _response(self, request: Request) -> Body:
        response_id = request.path_params["response_id"]
        response = self._store.responses.get(response_id)
        if response is None:
            raise not_found("response", response_id)
        return response

    def _before(self, asked: ResponseRequest) -> list[Body]:
        """The items of the conversation that goes on."""
        if asked.previous_response_id is None:
            return []
        found = self._store.responses.conversation(asked.previous_response_id)
        if found is None:
            message = (
                f"There is no response {asked.previous_response_id[:80]!r} to go on from, or one before it "
                "is missing: it was sent with store false, deleted, or forgotten after 30 days. "
                "Send the whole conversation as input."
            )
            raise invalid(message, "previous_response_id")
        return found

    def _keep(self, asked: ResponseRequest, served: Served, whole: Body) -> Body:
        """Note that a response is complete, and keep it unless that was not wanted."""
        self._serving.note_answer(served)
        if asked.is_kept:
            stem = str(whole["id"]).removeprefix("resp_")
            self._store.responses.add(
                whole, [_kept(item, f"{stem}_{at}") for at, item in enumerate(asked.input)]
            )
        return whole

    async def _events(
        self,
        asked: ResponseRequest,
        served: Served,
        head: Body,
        first: Delta | Completion,
        pieces: AsyncIterator[Delta | Completion],
    ) -> AsyncIterator[str]:
        """The response as server-sent events."""
        numbers = itertools.count()

        def event(name: str, **content: JSON) -> str:
            body = {"type": name, "sequence_number": next(numbers), **content}
            return f"event: {name}\ndata: {json.dumps(body)}\n\n"

        piece, has_begun = first, False
        message = _message(head, "", "in_progress", None)
        at: Body = {"item_id": message["id"], "output_index": 0, "content_index": 0}
        try:
            yield event("response.created", response=head | UNWRITTEN)
            yield event("response.in_progress", response=head | UNWRITTEN)
            while isinstance(piece, Delta):
                if not has_begun:
                    has_begun = True
                    yield event("response.output_item.added", output_index=0, item=message | {"content": []})
                    yield event("response.content_part.added", **at, part=_part("", None))
                told = _logprobs(piece.likelihoods)
                yield event("response.output_text.delta", **at, delta=piece.text, logprobs=told)
                piece = await anext(pieces)
            whole = self._keep(asked, served, head | _outcome(head, piece))
            output = whole["output"]
            assert isinstance(output, list)
            for index, item in enumerate(output):
                assert isinstance(item, dict)
                if item["type"] == "message":
                    if not has_begun:
                        yield event(
                            "response.output_item.added", output_index=0, item=message | {"content": []}
                        )
                        yield event("response.content_part.added", **at, part=_part("", None))
                    part = _part(piece.choices[0].text, piece.choices[0].likelihoods)
                    text: Body = {"text": part["text"], "logprobs": part["logprobs"]}
                    yield event("response.output_text.done", **at, **text)
                    yield event("response.content_part.done", **at, part=part)
                else:
                    empty = item | {"arguments": "", "status": "in_progress"}
                    yield event("response.output_item.added", output_index=index, item=empty)
                    here: Body = {"item_id": item["id"], "output_index": index}
                    name, written = "response.function_call_arguments", item["arguments"]
                    yield event(f"{name}.delta", **here, delta=written)
                    yield event(f"{name}.done", **here, arguments=written)
                yield event("response.output_item.done", output_index=index, item=item)
            yield event(f"response.{whole['status']}", response=whole)
        except ChatError as error:
            reason: Body = {"code": "server_error", "message": error.message}
            failed = head | UNWRITTEN | {"status": "failed", "error": reason}
            yield event("response.failed", response=failed)
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()


def _head(asked: ResponseRequest, model: str, temperature: float, top_p: float) -> Body:
    """What a response repeats of its request."""
    text = asked.text.model_dump(exclude_none=True, by_alias=True) if asked.text else {}
    tools: list[JSON] = [
        {"description": None, "parameters": None, "strict": None, **tool.model_dump(exclude_none=True)}
        for tool in asked.tools or ()
    ]
    choice = asked.tool_choice
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens,
        "metadata": dict(asked.metadata or {}),
        "model": model,
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "previous_response_id": asked.previous_response_id,
        "reasoning": {"effort": None, "summary": None},
        "store": asked.is_kept,
        "temperature": temperature,
        "text": {"format": {"type": "text"}, **text},
        "tool_choice": choice.model_dump() if isinstance(choice, FunctionToolChoice) else choice or "auto",
        "tools": tools,
        "top_logprobs": asked.top_logprobs or 0,
        "top_p": top_p,
        "truncation": "disabled",
    }


def _outcome(head: Body, completion: Completion) -> Body:
    """What came of it: the output, its state, its cost in tokens."""
    choice = completion.choices[0]
    is_whole = choice.finish_reason != "length"
    status = "completed" if is_whole else "incomplete"
    output: list[JSON] = []
    if choice.text or not choice.tool_calls:
        output.append(_message(head, choice.text, status, choice.likelihoods))
    output += _calls(head, choice)
    cost = usage(completion)
    return {
        "status": status,
        "incomplete_details": None if is_whole else {"reason": "max_output_tokens"},
        "completed_at": int(time.time()) if is_whole else None,
        "output": output,
        "usage": {
            "input_tokens": cost["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": completion.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": cost["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": cost["total_tokens"],
        },
    }


def _message(head: Body, text: str, status: str, likelihoods: tuple[Likelihood, ...] | None) -> Body:
    stem = str(head["id"]).removeprefix("resp_")
    content: list[JSON] = [_part(text, likelihoods)]
    return {"id": f"msg_{stem}", "type": "message", "status": status, "role": "assistant", "content": content}


def _calls(head: Body, choice: Choice) -> list[Body]:
    stem = str(head["id"]).removeprefix("resp_")
    return [
        {
            "id": f"fc_{stem}_{at}",
            "type": "function_call",
            "status": "completed",
            "call_id": f"call_{stem[:16]}_{at}",
            "name": call.name,
            "arguments": call.arguments,
        }
        for at, call in enumerate(choice.tool_calls)
    ]


def _part(text: str, likelihoods: tuple[Likelihood, ...] | None) -> Body:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": _logprobs(likelihoods)}


def _logprobs(likelihoods: tuple[Likelihood, ...] | None) -> list[JSON]:
    return [_token(one) | {"top_logprobs": [_token(rival) for rival in one.top]} for one in likelihoods or ()]


def _token(one: Likelihood) -> Body:
    return {"token": one.token, "logprob": one.logprob, "bytes": [*one.bytes]}


def _kept(item: Item, stem: str) -> Body:
    """An input item as it is shown later."""
    if isinstance(item, MessageItem):
        kind = "output_text" if item.role == "assistant" else "input_text"
        part: Body = {"type": kind, "text": item.content} | (
            {"annotations": []} if kind == "output_text" else {}
        )
        shown: Body = {"id": f"msg_{stem}", "role": item.role, "content": [part]}
    elif isinstance(item, CallItem):
        shown = {"id": f"fc_{stem}", "call_id": item.call_id, "name": item.name, "arguments": item.arguments}
    else:
        shown = {"id": f"fco_{stem}", "call_id": item.call_id, "output": item.output}
    return {"type": item.type, "status": "completed", **shown}
