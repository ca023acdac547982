"""The Responses API over HTTP: asked, answered whole or as a stream of events, kept, continued, forgotten.

A response is a chat completion in other words. It is kept unless ``store`` is
false, so that ``previous_response_id`` can go on from it. The events of a stream are those that
openai 3.57 reads for text and for calls of functions.
"""

import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic import model_validator as check_whole
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from workbench.local.api import chat_request, http
from workbench.local.api.chat_request import CompletionRequest, FunctionName, Turn
from workbench.local.api.chat_routes import AnsweringApi, Body, Keep, Piece, Pieces, logprobs, usage
from workbench.local.api.http import RequestShape, invalid
from workbench.local.api.model_routes import Served
from workbench.local.chat_protocol import Choice, Completion, Delta, Likelihood, Refusal
from workbench.local.store.rows import JSON

# What a response may be asked for: the Responses API's words for a chat, and what no model here can do.
#
# A request becomes a chat completion: instructions are the system message, input items are turns, a
# ``function_call`` is a call by the assistant and a ``function_call_output`` the tool's answer. As there,
# a field that would change the answer is obeyed or refused, never ignored.

LOGPROBS = "message.output_text.logprobs"
# Not obeyed: the values with which each may be sent nevertheless.
NOT_OFFERED: dict[str, tuple[object, ...]] = {
    "access_programs": (),
    "background": (False,),
    "background_options": (),
    "context_management": ([],),
    "conversation": (),
    "image": (),
    "moderation": (),
    "prompt": (),
    "truncation": ("disabled",),
}
# Of tools that run elsewhere; checked on its own; of padding.
HARMLESS = {"max_tool_calls", "reasoning", "stream_options", *chat_request.HARMLESS} - {"parallel_tool_calls"}
# Where a chat completion has its words for what was asked here.
_WORDS = {
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "response_format": "text.format",
    ".function.": ".",
}


def _without_nulls(item: object) -> object:
    """An item that a client got from a response and sends back has empty fields."""
    if not isinstance(item, dict):
        return item
    return {name: value for name, value in item.items() if value is not None}


def _items(text: object) -> object:
    """A text is one message of the user."""
    return [{"role": "user", "content": text}] if isinstance(text, str) else text


def _kind(item: object) -> str:
    return str(item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", ""))


_TEXT = chat_request.text_of_parts("input_text", "output_text")


def _function_only(kind: object) -> object:
    if isinstance(kind, str) and kind != "function":
        raise ValueError(f"{kind[:80]} does not run here; the only tools are functions of your own")
    return kind


class AnyItem(RequestShape):
    """What an item may have besides, as the output of an earlier response."""

    id: str | None = None
    status: str | None = None


class MessageItem(AnyItem):
    """One message; one of the assistant may be an output of an earlier response."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, _TEXT]
    phase: str | None = None


class CallItem(AnyItem):
    """A call of a function that the model made; ``arguments`` is JSON as text."""

    type: Literal["function_call"]
    call_id: str
    name: FunctionName
    arguments: str


class CallOutputItem(AnyItem):
    """What the called function gave back."""

    type: Literal["function_call_output"]
    call_id: str
    output: Annotated[str, _TEXT]


Item: TypeAlias = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[CallOutputItem, Tag("function_call_output")],
    Discriminator(
        _kind,
        custom_error_type="unknown_item",
        custom_error_message="an item is a message, a function_call or a function_call_output",
    ),
    BeforeValidator(_without_nulls),
]


class Items(RequestShape):
    """Items that were kept, read again."""

    items: list[Item]


class TextFormat(RequestShape):
    """What the text looks like; the fields beside ``type`` belong to ``json_schema``."""

    type: Literal["text", "json_object", "json_schema"]
    name: FunctionName | None = None
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None

    @check_whole(mode="after")
    def _has_its_schema(self) -> Self:
        given = self.model_fields_set - {"type"}
        if self.type != "json_schema" and given:
            raise ValueError(f"{' and '.join(sorted(given)).rstrip('_')} belong to the type json_schema")
        if self.type == "json_schema" and (self.name is None or self.schema_ is None):
            raise ValueError("json_schema needs a name and a schema")
        return self


class TextSettings(RequestShape):
    """How the text is written."""

    format: TextFormat | None = None
    verbosity: Literal["medium"] | None = None  # no other is known to the models here


class FunctionOnly(RequestShape):
    """A tool, which is a function and nothing else."""

    type: Annotated[Literal["function"], BeforeValidator(_function_only)]


class FunctionTool(chat_request.Function, FunctionOnly):  # a wrong type is found before a missing name
    """A function that the model may call, named beside its type."""


class FunctionToolChoice(chat_request.FunctionChoice, FunctionOnly):
    """The function to call, whatever the model thinks."""


Included: TypeAlias = Literal[
    "message.output_text.logprobs",
    "reasoning.encrypted_content",  # from here on: of items that no answer here has
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "file_search_call.results",
    "web_search_call.action.sources",
]


class ResponseRequest(RequestShape):
    """A response as it is asked for."""

    model: str | None = None
    input: Annotated[list[Item], Field(min_length=1), BeforeValidator(_items)]
    instructions: str | None = None
    previous_response_id: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    text: TextSettings | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | FunctionToolChoice | None = None
    parallel_tool_calls: bool | None = None  # how many calls an answer has is the model's choice
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    include: list[Included] | None = None
    stream: bool | None = None
    store: bool | None = None  # unlike a chat completion, kept unless it is false
    metadata: http.Metadata | None = None

    @check_whole(mode="before")
    @classmethod
    def _nothing_ignored(cls, body: object) -> object:
        if isinstance(body, dict):
            _check_reasoning(body.get("reasoning"))
        return chat_request.obeyed(body, NOT_OFFERED, HARMLESS)

    @property
    def is_kept(self) -> bool:
        """Whether the response can be asked for later, and continued."""
        return self.store is not False

    def completion(self, before: Iterable[Mapping[str, JSON]]) -> CompletionRequest:
        """The same as a chat completion, after the items ``before``.

        Raises ``Refusal`` for what can only be seen in the whole conversation.
        """
        earlier = Items.model_validate({"items": list(before)}).items
        turns: list[Turn] = []
        if self.instructions is not None:
            turns.append({"role": "system", "content": self.instructions})
        called: set[str] = set()
        for place, item in enumerate([*earlier, *self.input], start=-len(earlier)):
            if isinstance(item, CallOutputItem) and item.call_id not in called:
                name, missing = f"input.{place}.call_id", repr(item.call_id[:80])
                raise invalid(f"Invalid '{name}': no function_call before it has {missing}.", name)
            if isinstance(item, CallItem):
                called.add(item.call_id)
            _add(turns, item)
        asked: dict[str, object] = {
            "model": self.model,
            "messages": turns,
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "response_format": self._response_format(),
            "tools": [self._tool(tool) for tool in self.tools or ()] or None,
            "tool_choice": self._tool_choice(),
        }
        if self.top_logprobs or LOGPROBS in (self.include or ()):
            asked |= {"logprobs": True, "top_logprobs": self.top_logprobs or 0}
        try:
            return http.check_shape(asked, CompletionRequest)
        except Refusal as refusal:
            raise _in_own_words(refusal) from None

    def _response_format(self) -> dict[str, object] | None:
        chosen = self.text and self.text.format
        if not chosen or chosen.type != "json_schema":
            return {"type": chosen.type} if chosen else None
        schema = {"name": chosen.name, "schema": chosen.schema_, "strict": chosen.strict}
        return {"type": "json_schema", "json_schema": schema}

    def _tool(self, tool: FunctionTool) -> dict[str, object]:
        return {"type": "function", "function": tool.model_dump(exclude={"type"}, exclude_none=True)}

    def _tool_choice(self) -> object:
        if isinstance(self.tool_choice, FunctionToolChoice):
            return {"type": "function", "function": {"name": self.tool_choice.name}}
        # The Responses API says "auto" also where there is nothing to choose from.
        return None if self.tool_choice == "auto" and not self.tools else self.tool_choice


def _check_reasoning(asked: object) -> None:
    """No model here reasons, so that only what asks for none can be obeyed."""
    if asked is None:
        return
    effort = asked.get("effort") if isinstance(asked, dict) else asked
    if effort not in (None, "none"):
        message = "reasoning.effort is not offered: no model of the local service reasons. Leave it out."
        raise invalid(message, "reasoning.effort" if isinstance(asked, dict) else "reasoning")


def _add(turns: list[Turn], item: MessageItem | CallItem | CallOutputItem) -> None:
    """Add an item to the turns of a chat, where the calls of one answer are one turn."""
    if isinstance(item, MessageItem):
        turns.append({"role": item.role, "content": item.content})
    elif isinstance(item, CallOutputItem):
        turns.append({"role": "tool", "tool_call_id": item.call_id, "content": item.output})
    else:
        if not turns or turns[-1]["role"] != "assistant":
            turns.append({"role": "assistant", "content": ""})
        function = {"name": item.name, "arguments": item.arguments}
        calls = turns[-1].setdefault("tool_calls", [])
        calls.append({"id": item.call_id, "type": "function", "function": function})


def _in_own_words(refusal: Refusal) -> Refusal:
    message, param = refusal.message, refusal.param
    for word, own in _WORDS.items():
        message = message.replace(word, own)
        param = param.replace(word, own) if param else None
    return Refusal(refusal.status, refusal.code, message, param)


UNWRITTEN: Body = {"status": "in_progress", "output": [], "usage": None, "completed_at": None}


class ResponsesApi(AnsweringApi):
    """The part of the API that is about responses."""

    async def answer(self, request: Request) -> Response:
        """Answer a conversation."""
        asked = await http.read_json(request, ResponseRequest)
        if not asked.model:
            raise invalid("Missing required parameter: 'model'.", "model")
        served = self._serving.find(asked.model, http.faults_of(request))
        chat = asked.completion(self._before(asked)).of(served.model)
        head = _head(asked, chat.model, chat.temperature, chat.top_p)

        def keep(completion: Completion) -> Body:
            return self._keep(asked, served, head | _outcome(head, completion))

        def events(first: Piece, pieces: Pieces, keep: Keep) -> AsyncIterator[str]:
            return _stream(head, first, pieces, keep)

        return await self._answered(request, chat, keep, events if asked.stream else None)

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
        return http.show_part(request, items, "item", default="desc")

    def _response(self, request: Request) -> Body:
        response_id = request.path_params["response_id"]
        return http.known(self._store.responses.get(response_id), "response", response_id)

    def _before(self, asked: ResponseRequest) -> list[Body]:
        """The items of the conversation that goes on."""
        if asked.previous_response_id is None:
            return []
        found = self._store.responses.conversation(asked.previous_response_id)
        if found is None:
            raise invalid(
                f"There is no response {asked.previous_response_id[:80]!r} to go on from, or one before it "
                "is missing: not stored, deleted, or over 30 days old. Send the whole conversation as input.",
                "previous_response_id",
            )
        return found

    def _keep(self, asked: ResponseRequest, served: Served, whole: Body) -> Body:
        """Note that a response is complete, and keep it unless that was not wanted."""
        self._serving.note_answer(served)
        if asked.is_kept:
            items = [_kept(item, f"{_stem(whole)}_{at}") for at, item in enumerate(asked.input)]
            self._store.responses.add(whole, items)
        return whole


async def _stream(head: Body, first: Piece, pieces: Pieces, keep: Keep) -> AsyncIterator[str]:
    """The response as server-sent events."""
    numbers = itertools.count()

    def event(name: str, **content: JSON) -> str:
        body = {"type": f"response.{name}", "sequence_number": next(numbers), **content}
        return f"event: response.{name}\ndata: {json.dumps(body)}\n\n"

    def begin_text() -> Iterator[str]:
        yield event("output_item.added", output_index=0, item=message | {"content": []})
        yield event("content_part.added", **at, part=_part("", None))

    piece, has_begun = first, False
    message = _message(head, "", "in_progress", None)
    at: Body = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    async with aclosing(pieces):
        try:
            yield event("created", response=head | UNWRITTEN)
            yield event("in_progress", response=head | UNWRITTEN)
            while isinstance(piece, Delta):
                for opening in () if has_begun else begin_text():
                    yield opening
                has_begun = True
                yield event("output_text.delta", **at, delta=piece.text, logprobs=logprobs(piece.likelihoods))
                piece = await anext(pieces)
            whole = keep(piece)
            output = whole["output"]
            assert isinstance(output, list)
            for index, item in enumerate(output):
                assert isinstance(item, dict)
                if item["type"] == "message":
                    for opening in () if has_begun else begin_text():
                        yield opening
                    part = _part(piece.choices[0].text, piece.choices[0].likelihoods)
                    yield event("output_text.done", **at, text=part["text"], logprobs=part["logprobs"])
                    yield event("content_part.done", **at, part=part)
                else:
                    empty = item | {"arguments": "", "status": "in_progress"}
                    yield event("output_item.added", output_index=index, item=empty)
                    here: Body = {"item_id": item["id"], "output_index": index}
                    yield event("function_call_arguments.delta", **here, delta=item["arguments"])
                    yield event("function_call_arguments.done", **here, arguments=item["arguments"])
                yield event("output_item.done", output_index=index, item=item)
            yield event(str(whole["status"]), response=whole)
        except Refusal as refusal:
            reason: Body = {"code": "server_error", "message": refusal.message}
            yield event("failed", response=head | UNWRITTEN | {"status": "failed", "error": reason})


def _head(asked: ResponseRequest, model: str, temperature: float, top_p: float) -> Body:
    """What a response repeats of its request."""
    text = asked.text.model_dump(exclude_none=True, by_alias=True) if asked.text else {}
    tools: list[JSON] = [tool.model_dump() for tool in asked.tools or ()]
    choice = asked.tool_choice
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "background": False,
        "error": None,
        "incomplete_details": None,
        **asked.model_dump(include={"instructions", "max_output_tokens", "previous_response_id"}),
        "metadata": dict(asked.metadata or {}),
        "model": model,
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
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


def _stem(response: Body) -> str:
    return str(response["id"]).removeprefix("resp_")


def _message(head: Body, text: str, status: str, likelihoods: tuple[Likelihood, ...] | None) -> Body:
    item: Body = {"id": f"msg_{_stem(head)}", "type": "message", "status": status, "role": "assistant"}
    return item | {"content": [_part(text, likelihoods)]}


def _calls(head: Body, choice: Choice) -> list[Body]:
    stem = _stem(head)
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
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs(likelihoods or ())}


def _kept(item: Item, stem: str) -> Body:
    """An input item as it is shown later."""
    if isinstance(item, MessageItem):
        part: Body = {"type": "input_text", "text": item.content}
        if item.role == "assistant":
            part |= {"type": "output_text", "annotations": []}
        shown: Body = {"id": f"msg_{stem}", "role": item.role, "content": [part]}
    elif isinstance(item, CallItem):
        shown = {"id": f"fc_{stem}", "call_id": item.call_id, "name": item.name, "arguments": item.arguments}
    else:
        shown = {"id": f"fco_{stem}", "call_id": item.call_id, "output": item.output}
    return {"type": item.type, "status": "completed", **shown}
