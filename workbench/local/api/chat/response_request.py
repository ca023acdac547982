"""What a response may be asked for: the Responses API's words for a chat, and what no model here can do.

A request becomes a chat completion: instructions are the system message, input items are turns, a
``function_call`` is a call by the assistant and a ``function_call_output`` the tool's answer. As there,
a field that would change the answer is obeyed or refused, never ignored.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic import model_validator as check_whole

from workbench.local.api.chat.chat_messages import FunctionName, Turn
from workbench.local.api.chat.chat_request import HARMLESS, CompletionRequest
from workbench.local.api.metadata import Metadata
from workbench.local.api.refusals import Refusal, invalid
from workbench.local.api.requests import Shape, check_shape
from workbench.local.storage.rows import JSON

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
ALSO_HARMLESS = ("max_tool_calls", "stream_options")  # of tools that run elsewhere; of padding
# Where a chat completion has its words for what was asked here.
_WORDS = {
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "response_format": "text.format",
    ".function.": ".",
}


def _text_of_parts(content: object) -> object:
    """The text of a message; a list of text parts is one text."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("refusal" if kind == "refusal" else "text") if isinstance(part, dict) else None
        if kind not in ("input_text", "output_text", "refusal") or not isinstance(text, str):
            message = "a string or a list of input_text and output_text; images and files are not read"
            raise ValueError(message)
        texts.append(text)
    return "".join(texts)


def _without_nulls(item: object) -> object:
    """An item that a client got from a response and sends back has empty fields."""
    return (
        {name: value for name, value in item.items() if value is not None} if isinstance(item, dict) else item
    )


def _items(text: object) -> object:
    """A text is one message of the user."""
    return [{"role": "user", "content": text}] if isinstance(text, str) else text


def _kind(item: object) -> str:
    return str(item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", ""))


def _function_only(kind: object) -> object:
    if isinstance(kind, str) and kind != "function":
        raise ValueError(f"{kind[:80]} does not run here; the only tools are functions of your own")
    return kind


class MessageItem(Shape):
    """One message; one of the assistant may be an output of an earlier response."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text_of_parts)]
    id: str | None = None
    status: str | None = None
    phase: str | None = None


class CallItem(Shape):
    """A call of a function that the model made; ``arguments`` is JSON as text."""

    type: Literal["function_call"]
    call_id: str
    name: FunctionName
    arguments: str
    id: str | None = None
    status: str | None = None


class CallOutputItem(Shape):
    """What the called function gave back."""

    type: Literal["function_call_output"]
    call_id: str
    output: Annotated[str, BeforeValidator(_text_of_parts)]
    id: str | None = None
    status: str | None = None


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


class Items(Shape):
    """Items that were kept, read again."""

    items: list[Item]


class TextFormat(Shape):
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


class TextSettings(Shape):
    """How the text is written."""

    format: TextFormat | None = None
    verbosity: Literal["medium"] | None = None  # no other is known to the models here


class FunctionTool(Shape):
    """A function that the model may call."""

    type: Annotated[Literal["function"], BeforeValidator(_function_only)]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionToolChoice(Shape):
    """The function to call, whatever the model thinks."""

    type: Annotated[Literal["function"], BeforeValidator(_function_only)]
    name: FunctionName


class ResponseRequest(Shape):
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
    include: (
        list[
            Literal[
                "message.output_text.logprobs",
                "reasoning.encrypted_content",  # from here on: of items that no answer here has
                "message.input_image.image_url",
                "computer_call_output.output.image_url",
                "code_interpreter_call.outputs",
                "file_search_call.results",
                "web_search_call.action.sources",
            ]
        ]
        | None
    ) = None
    stream: bool | None = None
    store: bool | None = None  # unlike a chat completion, kept unless it is false
    metadata: Metadata | None = None

    @check_whole(mode="before")
    @classmethod
    def _nothing_ignored(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        for name, harmless in NOT_OFFERED.items():
            if body.get(name) is not None and body[name] not in harmless:
                raise invalid(f"{name} is not offered by the local service; leave it out.", name)
        _check_reasoning(body.get("reasoning"))
        ignored = {*NOT_OFFERED, *HARMLESS, *ALSO_HARMLESS, "reasoning"} - {"parallel_tool_calls"}
        return {name: value for name, value in body.items() if name not in ignored}

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
                message = (
                    f"Invalid 'input.{place}.call_id': no function_call before it has {item.call_id[:80]!r}."
                )
                raise invalid(message, f"input.{place}.call_id")
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
            return check_shape(asked, CompletionRequest)
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
