"""Shapes of other tools: preference pairs of TRL, ShareGPT, Alpaca, prompt and completion.

Sources: TRL's "Dataset formats and types" page (prompt, chosen, rejected; prompt and completion), the
Stanford Alpaca README (instruction, input, output), FastChat's data format (conversations of from and value).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

from workbench.dataset.check.row import kind
from workbench.dataset.dataset import (
    EXPORTED,
    JSON,
    OUTPUTS,
    SYSTEM,
    TOOLS,
    Example,
    Message,
    items_of,
    mapping_of,
    role_meant,
)
from workbench.dataset.json_text import (
    DEPTH,
    conversation,
    is_deep,
    messages_in,
    parsed,
    place_of,
    said,
    text,
)
from workbench.errors import DataError

NAMES_OF_OUTPUTS = (  # the better one, the worse one
    OUTPUTS,
    ("preferred_completion", "non_preferred_completion"),
    ("chosen", "rejected"),
)
PROMPTS = ("prompt", "input", "context")
SPEAKERS = (*SYSTEM, "user", "assistant")  # what a tool gave cannot stand without its call


def is_pair(value: Mapping[str, JSON]) -> bool:
    """Two outputs beside a prompt, or two whole conversations that begin alike."""
    keys = _outputs(value)
    if keys is None:
        return False
    are_whole = all(isinstance(value[key], list) for key in keys)
    return are_whole or ("messages" not in value and any(key in value for key in PROMPTS))


def pair(value: Mapping[str, JSON], origin: str) -> Example:
    """The outputs as lists of messages; how both begin belongs to the prompt."""
    keys = _outputs(value) or OUTPUTS
    better, worse = (conversation(value[key] or "", "assistant", key, origin) for key in keys)
    both = zip(better, worse, strict=False)
    shared = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], both)]
    if shared and shared[0].get("role") in ("assistant", "tool"):
        shared = []  # the outputs begin alike, and the prompt is elsewhere
    if len(shared) == min(len(better), len(worse)):
        shared = shared[:-1]  # equal outputs, which are for a check to find
    place = next((key for key in PROMPTS if key in value), None)
    given, beside = value[place] if place else None, {}
    if isinstance(given, Mapping) and "messages" in given:
        beside = {key: given[key] for key in TOOLS if key in given}
        given = given["messages"]
    prompt = [] if place is None else conversation(given or "", "user", place, origin)
    prompt = shared if shared[: len(prompt)] == prompt else [*prompt, *shared]
    if not prompt:
        raise DataError(
            f"{place_of(origin)}: {keys[0]} and {keys[1]} do not begin alike; add the prompt to both."
        )
    more: dict[str, JSON] = {
        **beside,
        **{key: value[key] for key in TOOLS if key in value},
        "preferred_output": better[len(shared) :],
        "non_preferred_output": worse[len(shared) :],
    }
    return Example(tuple(prompt), origin, more, _rest(value, (*keys, place or "", *TOOLS)))


def is_sharegpt(value: Mapping[str, JSON]) -> bool:
    """Messages under another name."""
    return "conversations" in value


def sharegpt(value: Mapping[str, JSON], origin: str) -> Example:
    """``from`` is the role and ``value`` the content; some write role and content after all."""
    path = "conversations"
    turns = messages_in(value[path], path, origin)
    messages = [_turn(turn, f"{path}[{position}]", origin) for position, turn in enumerate(turns)]
    system = value.get("system")
    if isinstance(system, str) and system.strip():
        messages.insert(0, said("system", system))
    beside = {key: value[key] for key in TOOLS if isinstance(value.get(key), list | bool)}
    return Example(tuple(messages), origin, beside, _rest(value, (path, "system", *beside)))


def is_alpaca(value: Mapping[str, JSON]) -> bool:
    """An instruction, perhaps with an input, and its output."""
    return {"instruction", "output"} <= set(value)


def alpaca(value: Mapping[str, JSON], origin: str) -> Example:
    """The input stands below its instruction, behind an empty line."""
    asked = "\n\n".join(part for part in (text(value["instruction"]), text(value.get("input"))) if part)
    messages = [said("user", asked), said("assistant", text(value["output"]))]
    if text(value.get("system")).strip():
        messages.insert(0, said("system", text(value["system"])))
    return Example(tuple(messages), origin, {}, _rest(value, ("instruction", "input", "output", "system")))


def is_completion(value: Mapping[str, JSON]) -> bool:
    """The format of the first fine-tuning services."""
    return "completion" in value and ("prompt" in value or "context" in value)


def completion(value: Mapping[str, JSON], origin: str) -> Example:
    """Both may be texts or lists of messages."""
    prompt = "prompt" if "prompt" in value else "context"
    messages = [
        *conversation(_written(value[prompt]), "user", prompt, origin),
        *conversation(_written(value["completion"]), "assistant", "completion", origin),
    ]
    beside = {key: value[key] for key in TOOLS if key in value}
    return Example(tuple(messages), origin, beside, _rest(value, (prompt, "completion", *beside)))


def _outputs(value: Mapping[str, JSON]) -> tuple[str, str] | None:
    return next((keys for keys in NAMES_OF_OUTPUTS if keys[0] in value and keys[1] in value), None)


def _turn(turn: Message, path: str, origin: str) -> Message:
    if "from" not in turn:
        return turn
    speaker = turn["from"]
    role = role_meant(speaker) if isinstance(speaker, str) else None
    if role not in SPEAKERS:
        shown = repr(speaker)[:40] if isinstance(speaker, str) else kind(speaker)
        raise DataError(f"{place_of(origin)}: {path}.from is {shown}; it should be human, gpt or system.")
    weight = {"weight": turn["weight"]} if "weight" in turn else {}
    return {"role": role, "content": turn.get("value"), **weight}


def _written(value: JSON) -> JSON:
    """A number or nothing as text; lists and objects are messages and stay."""
    return value if isinstance(value, list | Mapping) else text(value)


def _rest(value: Mapping[str, JSON], used: Sequence[str]) -> dict[str, JSON]:
    return {key: content for key, content in value.items() if key not in used}


# Chats of the time of ``functions`` and ``function_call``, with tools in their place.
#
# Both are deprecated in OpenAI's API reference in favour of ``tools`` and ``tool_calls``. A tool's answer
# names the call it belongs to by an id, which the old form did not have: they are numbered here.

OLD = ("functions", "function_call")


def is_legacy_functions(value: Mapping[str, JSON]) -> bool:
    """Whether anything in this chat is written the old way."""
    messages = value.get("messages")
    if not isinstance(messages, list):
        return False
    each = [*map(mapping_of, messages)]
    return "functions" in value or any(m.get("role") == "function" or "function_call" in m for m in each)


def legacy_functions_example(value: Mapping[str, JSON], origin: str) -> Example:
    """The chat with tools; which function was to be called (``auto``) is no part of training data."""
    calls: list[tuple[str, JSON]] = []  # id and name of each call so far that has no answer
    messages: list[Message] = []
    number = 0
    for message in messages_in(value["messages"], "messages", origin):
        if isinstance(message.get("function_call"), Mapping):
            number += 1
            message = _with_tool_call(message, f"call_{number}")
            calls.append((f"call_{number}", mapping_of(message.get("function_call")).get("name")))
        elif message.get("role") == "function":
            message = _answer(message, calls)
        messages.append({key: content for key, content in message.items() if key != "function_call"})
    more = {key: content for key, content in value.items() if key not in ("messages", *OLD)}
    functions = value.get("functions")
    if isinstance(functions, list):
        known = more.get("tools")
        tools = [{"type": "function", "function": function} for function in functions]
        more["tools"] = [*known, *tools] if isinstance(known, list) else tools
    metadata = {"function_call": value["function_call"]} if "function_call" in value else {}
    return Example(tuple(messages), origin, more, metadata)


def _with_tool_call(message: Message, identifier: str) -> Message:
    call = {"id": identifier, "type": "function", "function": message["function_call"]}
    kept = {key: content for key, content in message.items() if content is not None or key != "content"}
    return {**kept, "tool_calls": [call]}


def _answer(message: Message, calls: list[tuple[str, JSON]]) -> Message:
    """The answer of a tool; one that nobody called stays as it is, for a check to find."""
    for position, (identifier, name) in enumerate(calls):
        if name == message.get("name"):
            del calls[position]
            kept = {key: content for key, content in message.items() if key not in ("role", "name")}
            return {"role": "tool", "tool_call_id": identifier, **kept}
    return message


# Stored completions: what a deployed model was asked and answered, as the service keeps it.
#
# A line holds the ``chat.completion`` object of OpenAI's API reference together with the messages of its
# request, which the service lists apart from it; both may also lie under ``request`` and ``response``.

ASKED = ("messages", "input", "prompt")


def is_stored_completion(value: Mapping[str, JSON]) -> bool:
    """Whether a model's choices are in it; a quiz has choices too, but no messages in them."""
    response = _part(value, "response")
    is_said = any("message" in mapping_of(choice) for choice in items_of(response.get("choices")))
    return is_said or response.get("object") == "chat.completion"


def stored_completion_example(value: Mapping[str, JSON], origin: str) -> Example:
    """The request's messages and the first choice; when it was, by which model, why it ended: metadata."""
    request, response = _part(value, "request"), _part(value, "response")
    place = next((key for key in ASKED if isinstance(request.get(key), list)), None)
    if place is None:
        raise DataError(
            f"{place_of(origin)} is a stored completion without its request; put the messages that were "
            "asked beside it as 'messages'."
        )
    choice = mapping_of(next(iter(items_of(response.get("choices"))), None))
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise DataError(f"{place_of(origin)}: choices[0].message is {kind(message)}; it should be a message.")
    # The service fills every field (refusal: null, annotations: []); a training file has only what is said.
    answer = {key: content for key, content in message.items() if content not in (None, [])}
    metadata = {
        key: content
        for part in (value, request, response)
        for key, content in part.items()
        if key not in (place, *TOOLS, "choices", "request", "response")
    }
    if "finish_reason" in choice:
        metadata["finish_reason"] = choice["finish_reason"]
    beside = {key: request[key] for key in TOOLS if request.get(key) is not None}
    messages = (*messages_in(request[place], place, origin), answer)
    return Example(messages, origin, beside, metadata)


def _part(value: Mapping[str, JSON], name: str) -> Mapping[str, JSON]:
    """Request or response: an object of its own, perhaps with a ``body``, or the line itself."""
    part = value.get(name)
    if not isinstance(part, Mapping):
        return value
    return mapping_of(part.get("body")) or part


# The shapes in which people keep training data, recognised one object at a time.
#
# Chats and preference pairs are taken as they are: that is what the service reads. Whatever other tools
# write (``foreign``, ``functions``, ``stored``) is converted; what it holds beyond that becomes metadata.

CHAT = 'a chat is {"messages": [...]}'


class ChatShape(NamedTuple):
    """One way to write an example down."""

    name: str
    """As it stands in a dataset's notes, behind the number of examples."""
    fits: Callable[[Mapping[str, JSON]], bool]
    convert: Callable[[Mapping[str, JSON], str], Example]
    has_names: bool
    """Whether its keys could also be the columns of somebody's table."""


def shape_of(value: JSON) -> ChatShape | None:
    """The shape of this object; ``None`` for a plain record, whose columns somebody has to name."""
    if not isinstance(value, Mapping):
        return None
    return next((shape for shape in SHAPES if shape.fits(value)), None)


def example_of(value: JSON, origin: str) -> Example:
    """The example that an object holds, in whatever shape it is known to come in."""
    known = checked(value, origin)
    shape = shape_of(known)
    if shape is None:
        raise unknown(known, origin)
    return shape.convert(known, origin)


def uploaded_example(value: JSON, origin: str) -> Example:
    """The example on a line as the service takes it: a chat or a preference pair, and nothing else."""
    line = checked(value, origin)
    if _is_pair(line):
        return _pair(line, origin)
    if "messages" not in line:
        raise unknown(line, origin)
    return _chat(line, origin)


def checked(value: JSON, origin: str) -> Mapping[str, JSON]:
    """An object of a depth that can be handled."""
    if not isinstance(value, Mapping):
        raise DataError(f"{place_of(origin)} is {kind(value)}; it should be an object with 'messages'.")
    if is_deep(value):
        raise DataError(f"{place_of(origin)}: lists and objects are nested more than {DEPTH} deep.")
    return value


def unknown(value: Mapping[str, JSON], origin: str, way_out: str = CHAT) -> DataError:
    """What to say about an object in no known shape."""
    if set(value) == {"text"}:
        return DataError(
            f"{place_of(origin)} is one running text, which does not say what is asked and what is to be "
            "learned; split it into a prompt and a completion."
        )
    has = ", ".join(value)[:300] or "nothing"
    return DataError(f"{place_of(origin)} has no 'messages' (it has {has}); {way_out}.")


def _is_pair(value: Mapping[str, JSON]) -> bool:
    return {"input", "preferred_output", "non_preferred_output"} <= set(value)


def _pair(value: Mapping[str, JSON], origin: str) -> Example:
    given = value["input"]
    if not isinstance(given, Mapping):
        raise DataError(
            f"{place_of(origin)}: input is {kind(given)}; it should be an object with 'messages'."
        )
    more: dict[str, JSON] = {key: given[key] for key in TOOLS if key in given}
    for key in ("preferred_output", "non_preferred_output"):
        more[key] = messages_in(value[key], key, origin)
    more |= {key: content for key, content in value.items() if key != "input" and key not in more}
    rest = {key: content for key, content in given.items() if key not in ("messages", *TOOLS)}
    return Example(tuple(messages_in(given.get("messages"), "input.messages", origin)), origin, more, rest)


def _chat(value: Mapping[str, JSON], origin: str) -> Example:
    messages = messages_in(value["messages"], "messages", origin)
    return Example(tuple(messages), origin, {key: value[key] for key in value if key != "messages"})


def _is_written_pair(value: Mapping[str, JSON]) -> bool:
    outputs = (value.get("preferred_output"), value.get("non_preferred_output"))
    is_whole = isinstance(value.get("input"), Mapping) and all(isinstance(each, list) for each in outputs)
    return _is_pair(value) and is_whole


def _is_exported(value: Mapping[str, JSON]) -> bool:
    return set(value) == set(EXPORTED) and all(isinstance(cell, str) for cell in value.values())


def _exported(value: Mapping[str, JSON], origin: str) -> Example:
    held = {key: parsed(text(value[key]), *_file_and_line(origin)) for key in EXPORTED[1:]}
    messages, more, metadata = (held[key] for key in EXPORTED[1:])
    if not isinstance(messages, list) or not isinstance(more, Mapping) or not isinstance(metadata, Mapping):
        raise DataError(f"{place_of(origin)} is no exported example; write the file anew with to_parquet.")
    return Example(tuple(messages), text(value["origin"]), more, metadata)


def _file_and_line(origin: str) -> tuple[str, int]:
    file, _, number = origin.rpartition(":")
    return (file, int(number)) if number.isdigit() else (origin, 1)


# The first that fits is it. What also has messages comes before chats.
SHAPES = (
    ChatShape("exported example", _is_exported, _exported, False),
    ChatShape("preference pair", _is_written_pair, _pair, False),
    ChatShape("stored completion", is_stored_completion, stored_completion_example, False),
    ChatShape("preference pair in another spelling", is_pair, pair, True),
    ChatShape("chat with functions, made tools", is_legacy_functions, legacy_functions_example, False),
    ChatShape("chat", lambda value: "messages" in value, _chat, False),
    ChatShape("ShareGPT conversation", is_sharegpt, sharegpt, False),
    ChatShape("Alpaca instruction", is_alpaca, alpaca, True),
    ChatShape("prompt with completion", is_completion, completion, True),
)
AS_THEY_ARE = ("exported example", "preference pair", "chat")
