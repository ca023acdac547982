"""Fixes of the conversation in a line: who speaks, in which order, and what a message may hold.

Apart because the table of fixes is read without them, and both together are too long to read.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import is_

from workbench.dataset import chat_formats
from workbench.dataset.chat_formats import AS_THEY_ARE, shape_of
from workbench.dataset.dataset import (
    JSON,
    OTHER_FIELDS,
    OUTPUTS,
    ROLES,
    SYSTEM,
    Example,
    Message,
    mapping_of,
    role_meant,
)
from workbench.dataset.repair.lines import Value
from workbench.errors import DataError

# The parts of a line's value, rebuilt only where something in them is edited.
#
# Every function gives back the very same object when its editor changes nothing,
# so that ``is`` says whether anything happened (``1 == True`` says too little).


def in_texts(value: JSON, edit: Callable[[str], str]) -> JSON:
    """Edit every text, wherever it stands, keys too."""
    if isinstance(value, str):
        edited = edit(value)
        return value if edited == value else edited
    if isinstance(value, Mapping):
        parts = {edit(key): in_texts(part, edit) for key, part in value.items()}
        if len(parts) < len(value):  # two keys would become one, and one of their values be lost
            parts = {key: in_texts(part, edit) for key, part in value.items()}
        return value if _same(parts.values(), value.values()) and [*parts] == [*value] else parts
    if isinstance(value, list | tuple):
        return kept(value, [in_texts(part, edit) for part in value])
    return value


def in_conversations(value: Value, edit: Callable[[Sequence[JSON]], Sequence[JSON]]) -> Value:
    """Edit the messages that the model is given, those of a pair's input as well."""
    given = value.get("input")
    if "messages" not in value and isinstance(given, Mapping):
        edited = _with_list(given, "messages", edit)
        return value if edited is given else {**value, "input": edited}
    return _with_list(value, "messages", edit)


def in_outputs(value: Value, edit: Callable[[Sequence[JSON]], Sequence[JSON]]) -> Value:
    """Edit the messages of both answers of a pair."""
    for key in OUTPUTS:
        value = _with_list(value, key, edit)
    return value


def in_messages(value: Value, edit: Callable[[Message], Message]) -> Value:
    """Edit each message for itself, those of a pair's answers as well."""

    def edited(messages: Sequence[JSON]) -> Sequence[JSON]:
        return kept(messages, [edit(m) if isinstance(m, Mapping) else m for m in messages])

    return in_outputs(in_conversations(value, edited), edited)


def in_answers(value: Value, edit: Callable[[str], str]) -> Value:
    """Edit the texts that the assistant says."""

    def edited(message: Message) -> Message:
        if message.get("role") != "assistant":
            return message
        content = message.get("content")
        changed: JSON = content
        if isinstance(content, str):
            changed = edit(content)
        elif isinstance(content, list | tuple) and len(content) == 1:
            changed = kept(content, [_with_text(content[0], edit)])
        return message if changed == content else {**message, "content": changed}

    return in_messages(value, edited)


def kept(old: Sequence[JSON], new: Sequence[JSON]) -> Sequence[JSON]:
    """The old list if the new one holds the same objects."""
    return old if len(old) == len(new) and _same(old, new) else new


def _with_list(value: Value, key: str, edit: Callable[[Sequence[JSON]], Sequence[JSON]]) -> Value:
    part = value.get(key)
    if not isinstance(part, list | tuple):
        return value
    edited = edit(part)
    return value if edited is part else {**value, key: edited}


def _with_text(part: JSON, edit: Callable[[str], str]) -> JSON:
    text = mapping_of(part).get("text")
    if not isinstance(part, Mapping) or not isinstance(text, str) or edit(text) == text:
        return part
    return {**part, "text": edit(text)}


def _same(old: Iterable[JSON], new: Iterable[JSON]) -> bool:
    return all(map(is_, old, new))


OLD_OUTPUTS = {f"{which}preferred_completion": f"{which}preferred_output" for which in ("", "non_")}
CALLS = ("tool_calls", "function_call")
UNSAID = ("role", "type", "id", "weight", "tools", "parallel_tool_calls")
WEIGHTS = {
    text: number for number in (0, 1) for text in (f"{number}", f"{number}.0", ("false", "true")[number])
}


def as_chat(value: Value) -> Value:
    """Alpaca, ShareGPT, prompt with completion and the like become a conversation."""
    shape = shape_of(value)
    if shape is None or shape.name in AS_THEY_ARE or shape.convert is chat_formats.legacy_functions_example:
        return value
    return _converted(value, shape.convert)


def as_pair(value: Value) -> Value:
    """``preferred_completion`` is ``preferred_output``, and an answer is a list of messages."""
    new = {old: right for old, right in OLD_OUTPUTS.items() if old in value and right not in value}
    if new:
        value = {new.get(key, key): part for key, part in value.items()}
    texts = {key: value[key] for key in OUTPUTS if isinstance(value.get(key), str | Mapping)}
    return {**value, **{key: [_as_answer(part)] for key, part in texts.items()}} if texts else value


def with_tools(value: Value) -> Value:
    """``functions`` and ``function_call`` become ``tools`` and ``tool_calls``."""
    messages = value.get("messages")
    plain = {**value, "messages": list(messages)} if isinstance(messages, list | tuple) else value
    if not chat_formats.is_legacy_functions(plain):
        return value
    converted = _converted(plain, chat_formats.legacy_functions_example)
    return value if converted == _as_in_a_file(value) else converted


def without_blanks(value: Value) -> Value | None:
    """Parts without text are left out; a row in which nobody says anything is no example at all."""
    return in_messages(value, _without_blank_parts) if _holds(value) else None


def _converted(value: Value, convert: Callable[[Value, str], Example]) -> Value:
    try:
        return _as_in_a_file(convert(value, "").wire)
    except DataError:
        return value  # it stays as it is, and a check says why


def _as_in_a_file(value: Value) -> Value:
    """With lists and dictionaries only, as a line is read."""
    read: Value = json.loads(json.dumps(value, default=dict))
    return read


def with_known_role(message: Message) -> Message:
    """A human is a user, a bot the assistant; ``from`` and ``value`` are role and content."""
    wrong = {key: right for key, right in OTHER_FIELDS.items() if key in message and right not in message}
    if wrong and len({*wrong.values()}) == len(wrong):  # with both "value" and "text", nobody knows which
        message = {wrong.get(key, key): part for key, part in message.items()}
    role = message.get("role")
    if not isinstance(role, str) or role in ROLES:
        return message
    known = role_meant(role)
    return {**message, "role": known} if known else message


def _as_answer(part: JSON) -> JSON:
    return {"role": "assistant", "content": part} if isinstance(part, str) else part


def with_written_arguments(message: Message) -> Message:
    """The arguments of a tool call are a text that holds JSON."""
    return _with_list(message, "tool_calls", lambda calls: kept(calls, [*map(_with_arguments, calls)]))


def _with_arguments(call: JSON) -> JSON:
    function = mapping_of(call).get("function")
    if not isinstance(call, Mapping) or not isinstance(function, Mapping):
        return call
    arguments = function.get("arguments")
    if isinstance(arguments, Mapping):
        written = json.dumps(arguments, ensure_ascii=False, default=dict)
    elif arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        written = "{}"
    else:
        return call
    return {**call, "function": {**function, "arguments": written}}


def with_content(message: Message) -> Message:
    """A number becomes its text, a part outside of a list its list; a tool that gave nothing gave ``""``."""
    content = message.get("content")
    if content is None:
        return {**message, "content": ""} if message.get("role") == "tool" else message
    edited: JSON = content
    if isinstance(content, int | float) and not isinstance(content, bool):
        edited = json.dumps(content)
    elif mapping_of(content).get("type") in ("text", "image_url"):
        edited = [content]
    elif isinstance(content, list | tuple):
        edited = kept(content, [{"type": "text", "text": p} if isinstance(p, str) else p for p in content])
    return message if edited is content else {**message, "content": edited}


def with_whole_weight(message: Message) -> Message:
    """A weight is the number 1 or 0, and only an assistant message has one."""
    if "weight" not in message:
        return message
    weight = message["weight"]
    if message.get("role") != "assistant" or weight is None:
        return without_weight(message)
    if type(weight) is int:
        return message
    text = weight.strip() if isinstance(weight, str) else json.dumps(weight)
    number = WEIGHTS.get(text.casefold())
    return message if number is None else {**message, "weight": number}


def without_weight(message: Message) -> Message:
    """Weights do nothing in pairs and prompts."""
    return {key: part for key, part in message.items() if key != "weight"} if "weight" in message else message


def with_system_first(messages: Sequence[JSON]) -> Sequence[JSON]:
    """System messages stand in front, in their order."""
    return kept(messages, sorted(messages, key=lambda message: mapping_of(message).get("role") not in SYSTEM))


def merged(messages: Sequence[JSON]) -> Sequence[JSON]:
    """Two messages in a row by the same speaker are one, with an empty line between."""
    together: list[JSON] = []
    for message in messages:
        one = _joined(together[-1], message) if together else None
        if one is None:
            together.append(message)
        else:
            together[-1] = one
    return kept(messages, together)


def _joined(first: JSON, second: JSON) -> Message | None:
    """Both as one message; ``None`` where one of them could not be both."""
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        return None
    role = first.get("role")
    if role != second.get("role") or role not in ("user", "assistant"):
        return None
    own = {"role", "content", *CALLS}
    rest = [{key: part for key, part in message.items() if key not in own} for message in (first, second)]
    if json.dumps(rest[0], sort_keys=True, default=dict) != json.dumps(rest[1], sort_keys=True, default=dict):
        return None  # another name or weight: the two are not one
    if any(first.get(key) for key in CALLS):
        return None
    content = _joined_contents(first.get("content"), second.get("content"))
    if content is None:
        return None
    calls = {key: second[key] for key in CALLS if second.get(key)}
    return {**first, "content": content, **calls}


def _joined_contents(first: JSON, second: JSON) -> JSON:
    if isinstance(first, str) and isinstance(second, str):
        return (
            f"{first.rstrip()}\n\n{second.lstrip()}" if first.strip() and second.strip() else first + second
        )
    if second is None:
        return first
    parts = [[{"type": "text", "text": c}] if isinstance(c, str) else c for c in (first, second)]
    if isinstance(parts[0], list | tuple) and isinstance(parts[1], list | tuple):
        return [*parts[0], *parts[1]]
    return None


def ending_with_an_answer(messages: Sequence[JSON]) -> Sequence[JSON]:
    """What follows the last answer is cut off."""
    answers = [
        position
        for position, message in enumerate(messages)
        if mapping_of(message).get("role") == "assistant"
    ]
    return kept(messages, messages[: answers[-1] + 1]) if answers else messages


def _without_blank_parts(message: Message) -> Message:
    content = message.get("content")
    if not isinstance(content, list | tuple) or message.get("role") in ("tool", "function"):
        return message
    left = kept(content, [part for part in content if not _is_blank(part)])
    return message if left is content or not left else {**message, "content": left}


def _is_blank(part: JSON) -> bool:
    text = mapping_of(part).get("text")
    return mapping_of(part).get("type") == "text" and isinstance(text, str) and not text.strip()


def _holds(value: JSON) -> bool:
    """Whether anything is said at all: a text, a number, or a part with a type of its own."""
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, Mapping):
        return any(_holds(part) for key, part in value.items() if key not in UNSAID)
    if isinstance(value, list | tuple):
        return any(map(_holds, value))
    return value is not None
