"""From a request to what the model reads: the prompt's tokens and the grammar its answer keeps to.

Whatever is wrong with a request shows here, before anything is computed, as a ``ChatError``.
"""

import json
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from workbench.dataset.tokens.chat_template import opening
from workbench.errors import DataError
from workbench.local.chat import ChatError, ChatRequest
from workbench.local.engine.answering import tools
from workbench.local.engine.answering.constraint import Grammars
from workbench.local.engine.model import Base
from workbench.local.storage.rows import JSON

# What a template, which is code of the model's makers, raises on messages it was not written for.
TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


def check(base: Base, request: ChatRequest) -> None:
    """Refuse what cannot be done with this model, whatever the messages say."""
    size = base.model.get_output_embeddings().weight.shape[0]
    unknown = [token for token, _ in request.logit_bias if token >= size]
    if unknown:
        raise _refusal(
            f"logit_bias names token {unknown[0]}, but {base.name} has the tokens 0 to {size - 1}."
        )
    if request.calls and not tools.understood(str(base.tokenizer.chat_template)):
        raise _refusal(
            f"How {base.name} writes calls of tools is not known here, so none can be demanded; "
            "leave tool_choice out, or ask a model whose chat template has <tool_call>."
        )


def prompt_tokens(base: Base, request: ChatRequest) -> list[int]:
    """The tokens of the conversation, as the model's chat template writes it."""
    messages = [_for_templates(message) for message in request.messages]
    bare = [{key: part for key, part in message.items() if key != "tool_calls"} for message in messages]
    try:
        text = _written(base, messages, request.tools)
        # A template that leaves something out would answer another question than the one asked.
        tools_ignored = bool(request.tools) and text == _written(base, messages, ())
        calls_ignored = bare != messages and text == _written(base, bare, request.tools)
        begun = text if request.tools else text + opening(base.tokenizer)  # a call opens in its own way
        prompt = list(base.tokenizer(begun, add_special_tokens=False)["input_ids"])
    except TEMPLATE_ERRORS as error:
        raise _refusal(f"The chat template of {base.name} refuses these messages: {error}") from None
    if tools_ignored or calls_ignored:
        what = "tools" if tools_ignored else "tool_calls in messages"
        raise _refusal(
            f"The chat template of {base.name} ignores {what}; ask a model that was made to call tools."
        )
    if not prompt:
        raise _refusal("These messages make an empty prompt; say something.")
    if len(prompt) >= base.context:
        message = (
            f"This model's maximum context length is {base.context} tokens, but the messages resulted in "
            f"{len(prompt)} tokens. Please reduce the length of the messages."
        )
        raise ChatError(400, "context_length_exceeded", message)
    return prompt


def grammar_of(grammars: Grammars, request: ChatRequest) -> str | None:
    """The grammar that each answer to ``request`` keeps to; ``None`` if it is free."""
    try:
        if request.calls:
            functions = {name: _parameters(request, name) for name in request.calls}
            return grammars.of_call(tools.BEFORE, tools.AFTER, functions)
        return None if request.schema is None else grammars.of_schema(request.schema)
    except DataError as error:
        place = "tools" if request.calls else "response_format"
        raise _refusal(f"The JSON schema in {place} cannot be followed: {error}") from None


def _written(base: Base, messages: Sequence[dict[str, Any]], offered: Sequence[dict[str, Any]]) -> str:
    return str(
        base.tokenizer.apply_chat_template(
            list(messages), tools=list(offered) or None, tokenize=False, add_generation_prompt=True
        )
    )


def _for_templates(message: dict[str, Any]) -> dict[str, Any]:
    """Arguments of calls as objects, as templates print them; the API has them as text."""
    calls = message.get("tool_calls")
    if not calls:
        return message
    return message | {"tool_calls": [call | {"function": _with_object(call["function"])} for call in calls]}


def _with_object(function: dict[str, Any]) -> dict[str, Any]:
    try:
        return function | {"arguments": json.loads(function["arguments"])}
    except ValueError:
        return function


def _parameters(request: ChatRequest, name: str) -> JSON:
    function = next(tool["function"] for tool in request.tools if tool["function"]["name"] == name)
    parameters: JSON = function.get("parameters") or {"type": "object", "properties": {}}
    return parameters


def _refusal(message: str) -> ChatError:
    return ChatError(400, "invalid_request_error", message)
