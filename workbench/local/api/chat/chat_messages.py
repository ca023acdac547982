"""The turns of a conversation as a client sends them, tools and their calls among them."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from workbench.local.api.requests import Shape

Turn: TypeAlias = dict[str, Any]
FunctionName: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


def _plain_text(content: object) -> object:
    """The text of a message's content; a list of text parts, or of refusals, is one text."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "refusal") or not isinstance(part.get(kind), str):
            raise ValueError("a string or a list of text parts; images, audio and files are not read")
        texts.append(part[kind])
    return "".join(texts)


def _known_role(role: object) -> object:
    if role == "function":
        raise ValueError("function messages are of another time; send tool messages")
    return "system" if role == "developer" else role


class CalledFunction(Shape):
    """What was called, and with what: JSON as text."""

    name: FunctionName
    arguments: str


class Call(Shape):
    """A call of a tool that the assistant made earlier."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class Message(Shape):
    """One turn of the conversation."""

    role: Annotated[Literal["system", "user", "assistant", "tool"], BeforeValidator(_known_role)]
    content: Annotated[str | None, BeforeValidator(_plain_text)] = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    function_call: None = None
    audio: None = None
    annotations: list[Any] | None = None

    def turn(self) -> Turn:
        """The turn as chat templates know it."""
        turn: Turn = {"role": self.role, "content": self.content or ""}
        if self.name:
            turn["name"] = self.name
        if self.refusal:
            turn["refusal"] = self.refusal
        if self.tool_calls:
            turn["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        return turn | ({"tool_call_id": self.tool_call_id} if self.tool_call_id else {})


class Function(Shape):
    """A function that the model may call."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Shape):
    """A tool that the model may use."""

    type: Literal["function"]
    function: Function


class FunctionChoice(Shape):
    """The name of the function to call."""

    name: FunctionName


class ToolChoice(Shape):
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
            raise ValueError(
                f"'messages.{index}.tool_call_id': a tool message answers one of the tool_calls before it"
            )
        if message.role != "assistant" and message.refusal:
            raise ValueError(f"'messages.{index}.refusal': only the assistant refuses")
        if message.content is None and not message.tool_calls and not message.refusal:
            raise ValueError(f"'messages.{index}.content' is missing")
        called |= {call.id for call in message.tool_calls or ()}
