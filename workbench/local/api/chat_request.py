"""What a chat completion may be asked for, and what of OpenAI's API no model here can do.

A field that would change the answer is obeyed or refused, never ignored. Fields that change
nothing here (who asks, caching, priorities) are accepted.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic import model_validator as check_whole

from workbench.local.api.http import Metadata, RequestShape, invalid
from workbench.local.chat_protocol import ChatRequest
from workbench.local.store.checkpoints import Model

# The turns of a conversation as a client sends them, tools and their calls among them.

Turn: TypeAlias = dict[str, Any]
FunctionName: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


def text_of_parts(*kinds: str) -> BeforeValidator:
    """The text of a message's content; a list of parts of these ``kinds``, or of refusals, is one text."""

    def text(content: object) -> object:
        if not isinstance(content, list):
            return content
        texts = []
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            field = {"refusal": "refusal", **dict.fromkeys(kinds, "text")}.get(str(kind))
            found = part.get(field) if field else None
            if not isinstance(found, str):
                wanted = f"a string or a list of {' and '.join(kinds)} parts"
                raise ValueError(f"{wanted}; images, audio and files are not read")
            texts.append(found)
        return "".join(texts)

    return BeforeValidator(text)


def obeyed(body: object, not_offered: Mapping[str, tuple[object, ...]], ignored: Iterable[str]) -> object:
    """``body`` without the fields that change nothing; raises ``Refusal`` for one that cannot be obeyed.

    ``not_offered`` are fields with the values with which each may be sent nevertheless.
    """
    if not isinstance(body, dict):
        return body
    for name, harmless in not_offered.items():
        if body.get(name) is not None and body[name] not in harmless:
            raise invalid(f"{name} is not offered by the local service; leave it out.", name)
    without = {*not_offered, *ignored}
    return {name: value for name, value in body.items() if name not in without}


def _known_role(role: object) -> object:
    if role == "function":
        raise ValueError("function messages are of another time; send tool messages")
    return "system" if role == "developer" else role


class CalledFunction(RequestShape):
    """What was called, and with what: JSON as text."""

    name: FunctionName
    arguments: str


class Call(RequestShape):
    """A call of a tool that the assistant made earlier."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class Message(RequestShape):
    """One turn of the conversation."""

    role: Annotated[Literal["system", "user", "assistant", "tool"], BeforeValidator(_known_role)]
    content: Annotated[str | None, text_of_parts("text")] = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    function_call: None = None
    audio: None = None
    annotations: list[Any] | None = None

    def turn(self) -> Turn:
        """The turn as chat templates know it."""
        turn = self.model_dump(include={"name", "refusal", "tool_calls", "tool_call_id"})
        said = {"role": self.role, "content": self.content or ""}
        return said | {name: value for name, value in turn.items() if value}


class Function(RequestShape):
    """A function that the model may call."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(RequestShape):
    """A tool that the model may use."""

    type: Literal["function"]
    function: Function


class FunctionChoice(RequestShape):
    """The name of the function to call."""

    name: FunctionName


class ToolChoice(RequestShape):
    """The tool to use, whatever the model thinks."""

    type: Literal["function"]
    function: FunctionChoice


def check_order(messages: list[Message]) -> None:
    """``ValueError`` names the turn that cannot stand where it does."""
    called: set[str] = set()
    for index, message in enumerate(messages):
        if message.role != "assistant" and message.tool_calls:
            raise ValueError(f"'messages.{index}.tool_calls': only the assistant calls tools")
        if message.role == "tool" and message.tool_call_id not in called:
            raise ValueError(f"'messages.{index}.tool_call_id': no tool_calls before it have this id")
        if message.role != "assistant" and message.refusal:
            raise ValueError(f"'messages.{index}.refusal': only the assistant refuses")
        if message.content is None and not message.tool_calls and not message.refusal:
            raise ValueError(f"'messages.{index}.content' is missing")
        called |= {call.id for call in message.tool_calls or ()}


MAX_TOKENS_UNASKED = 1024

# Not obeyed: the values with which each may be sent nevertheless.
NOT_OFFERED: Mapping[str, tuple[object, ...]] = {
    "audio": (),
    "function_call": ("none",),
    "functions": ([],),
    "modalities": (["text"],),
    "moderation": (),
    "reasoning_effort": ("none",),
    "verbosity": (),
    "web_search_options": (),
}
HARMLESS = (
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "user",
)


Bias: TypeAlias = Annotated[float, Field(ge=-100, le=100)]


def _token_bias(biases: dict[str, float]) -> dict[str, float]:
    if not all(token.isascii() and token.isdigit() and len(token) < 10 for token in biases):
        raise ValueError("a token is a whole number, written as text")
    return biases


class StreamOptions(RequestShape):
    """What a stream holds besides the text."""

    include_usage: bool = False
    include_obfuscation: bool = False


class SchemaFormat(RequestShape):
    """A named JSON schema for the answer."""

    name: FunctionName
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(RequestShape):
    """What the answer looks like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None

    @check_whole(mode="after")
    def _has_its_schema(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema comes with the type json_schema, and only with it")
        return self

    def schema_text(self) -> str | None:
        """The JSON schema that the answer keeps to; ``None`` for text."""
        if self.type == "text":
            return None
        schema = self.json_schema.schema_ if self.json_schema else None
        return json.dumps({"type": "object"} if schema is None else schema)


class CompletionRequest(RequestShape):
    """A chat completion as it is asked for."""

    model: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: str | Annotated[list[str], Field(min_length=1, max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: Annotated[dict[str, Bias], AfterValidator(_token_bias)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None  # keep the answer, to be listed by its metadata
    metadata: Metadata | None = None

    @check_whole(mode="before")
    @classmethod
    def _nothing_ignored(cls, body: object) -> object:
        return obeyed(body, NOT_OFFERED, HARMLESS)

    @check_whole(mode="after")
    def _consistent(self) -> Self:
        if self.max_tokens and self.max_completion_tokens:
            raise ValueError("set max_completion_tokens or max_tokens, not both")
        if self.stream_options and not self.stream:
            raise ValueError("stream_options need stream to be true")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs need logprobs to be true")
        check_order(self.messages)
        self._check_tools()
        return self

    def _check_tools(self) -> None:
        names = [tool.function.name for tool in self.tools or ()]
        if len(set(names)) < len(names):
            raise ValueError("two tools have the same name")
        choice = self.tool_choice
        if choice in ("auto", "required") and not names:
            raise ValueError("tool_choice needs tools")
        if isinstance(choice, ToolChoice) and choice.function.name not in names:
            raise ValueError(f"tool_choice names {choice.function.name!r}, which is not among the tools")
        if self._offered() and self.response_format and self.response_format.type != "text":
            raise ValueError("response_format and tools cannot be combined here; send one of them")

    def _offered(self) -> list[Tool]:
        return [] if self.tool_choice == "none" else self.tools or []

    def _demanded(self) -> tuple[str, ...]:
        if isinstance(self.tool_choice, ToolChoice):
            return (self.tool_choice.function.name,)
        every = tuple(tool.function.name for tool in self.tools or ())
        return every if self.tool_choice == "required" else ()

    def of(self, model: Model) -> ChatRequest:
        """The request as ``model`` gets it."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return ChatRequest(
            model=model.name,
            base_model=model.base_model,
            adapter=str(model.adapter) if model.adapter else None,
            messages=tuple(message.turn() for message in self.messages),
            max_tokens=self.max_completion_tokens or self.max_tokens or MAX_TOKENS_UNASKED,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else max(self.top_p, 1e-6),
            n=self.n or 1,
            stop=tuple(text for text in stop if text),
            seed=self.seed,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logit_bias=tuple((int(token), bias) for token, bias in (self.logit_bias or {}).items()),
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            schema=self.response_format.schema_text() if self.response_format else None,
            tools=tuple(tool.model_dump(exclude_none=True) for tool in self._offered()),
            calls=self._demanded(),
        )
