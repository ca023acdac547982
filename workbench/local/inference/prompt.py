"""From a request to what the model reads: the prompt's tokens and the grammar its answer keeps to.

Whatever is wrong with a request shows here, before anything is computed, as a ``ChatError``.
"""

from workbench.dataset.chat_template import CALL_AFTER, CALL_BEFORE, marks_calls
from workbench.errors import DataError
from workbench.local.chat_protocol import ChatError, ChatRequest
from workbench.local.inference.grammar import Grammars
from workbench.local.models.model import Base
from workbench.local.store.rows import JSON
from workbench.local.training.encoding import TooLongError, encode_prompt


def check(base: Base, request: ChatRequest) -> None:
    """Refuse what cannot be done with this model, whatever the messages say."""
    size = base.model.get_output_embeddings().weight.shape[0]
    unknown = [token for token, _ in request.logit_bias if token >= size]
    if unknown:
        raise _refusal(
            f"logit_bias names token {unknown[0]}, but {base.name} has the tokens 0 to {size - 1}."
        )
    if request.calls and not marks_calls(base.tokenizer):
        raise _refusal(
            f"How {base.name} writes calls of tools is not known here, so none can be demanded; "
            "leave tool_choice out, or ask a model whose chat template has <tool_call>."
        )


def prompt_tokens(base: Base, request: ChatRequest) -> list[int]:
    """The tokens of the conversation, written as for training."""
    try:
        prompt = encode_prompt(base.tokenizer, request.messages, request.tools, base.context)
    except TooLongError:
        raise _too_long(base, f"more than {base.context}") from None
    except DataError as error:
        raise _refusal(f"{base.name} cannot read these messages: {error}") from None
    if not prompt:
        raise _refusal("These messages make an empty prompt; say something.")
    if len(prompt) >= base.context:
        raise _too_long(base, str(len(prompt)))
    return prompt


def grammar_of(grammars: Grammars, request: ChatRequest) -> str | None:
    """The grammar that each answer to ``request`` keeps to; ``None`` if it is free."""
    try:
        if request.calls:
            functions = {name: _parameters(request, name) for name in request.calls}
            return grammars.of_call(CALL_BEFORE, CALL_AFTER, functions)
        return None if request.schema is None else grammars.of_schema(request.schema)
    except DataError as error:
        place = "tools" if request.calls else "response_format"
        raise _refusal(f"The JSON schema in {place} cannot be followed: {error}") from None


def _parameters(request: ChatRequest, name: str) -> JSON:
    function = next(tool["function"] for tool in request.tools if tool["function"]["name"] == name)
    parameters: JSON = function.get("parameters") or {"type": "object", "properties": {}}
    return parameters


def _too_long(base: Base, length: str) -> ChatError:
    message = (
        f"This model's maximum context length is {base.context} tokens, but the messages resulted in "
        f"{length} tokens. Please reduce the length of the messages."
    )
    return ChatError(400, "context_length_exceeded", message)


def _refusal(message: str) -> ChatError:
    return ChatError(400, "invalid_request_error", message)
