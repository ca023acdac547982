"""What a chat completion may be asked for, and what of OpenAI's API is refused because it comes later.

A field that would change the answer is obeyed or refused, never ignored. Fields that change
nothing here (who asks, caching, priorities) are accepted.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field
from pydantic import model_validator as check_whole

from workbench.local.api.models import Model
from workbench.local.api.requests import Shape
from workbench.local.chat import ChatRequest

MAX_TOKENS_UNASKED = 1024

LATER: dict[str, tuple[object, ...]] = {
    # Not obeyed yet: the values with which each may be sent nevertheless.
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "tool_choice": ("none",),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}
HARMLESS = (
    "metadata",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "user",
)


def _plain_text(content: object) -> object:
    """The text of a message's content; a list of text parts is one text."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise ValueError("a string or a list of text parts; images, audio and files are not read")
        texts.append(part["text"])
    return "".join(texts)


def _known_role(role: object) -> object:
    if role in ("tool", "function"):
        raise ValueError("tool messages come later; system, developer, user and assistant are understood")
    return "system" if role == "developer" else role


class Message(Shape):
    """One turn of the conversation."""

    role: Annotated[Literal["system", "user", "assistant"], BeforeValidator(_known_role)]
    content: Annotated[str, BeforeValidator(_plain_text)]
    name: str | None = None
    refusal: None = None
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None
    function_call: None = None
    audio: None = None
    annotations: list[Any] | None = None


class StreamOptions(Shape):
    """What a stream tells besides the text."""

    include_usage: bool = False
    include_obfuscation: bool = False


class CompletionRequest(Shape):
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
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @check_whole(mode="before")
    @classmethod
    def _nothing_ignored(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        for name, harmless in LATER.items():
            if body.get(name) is not None and body[name] not in harmless:
                raise ValueError(f"{name} comes later in the local service; leave it out")
        return {name: value for name, value in body.items() if name not in LATER and name not in HARMLESS}

    @check_whole(mode="after")
    def _consistent(self) -> Self:
        if self.max_tokens and self.max_completion_tokens:
            raise ValueError("set max_completion_tokens or max_tokens, not both")
        if self.stream_options and not self.stream:
            raise ValueError("stream_options need stream to be true")
        return self

    def of(self, model: Model) -> ChatRequest:
        """The request as ``model`` gets it."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return ChatRequest(
            model=model.name,
            base_model=model.base_model,
            adapter=model.adapter,
            messages=tuple({"role": message.role, "content": message.content} for message in self.messages),
            max_tokens=self.max_completion_tokens or self.max_tokens or MAX_TOKENS_UNASKED,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else max(self.top_p, 1e-6),
            n=self.n or 1,
            stop=tuple(text for text in stop if text),
            seed=self.seed,
        )
