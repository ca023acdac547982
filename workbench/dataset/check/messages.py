"""What a message may say: a text, or a list of parts of the kinds that its role can send.

Which parts a role can send: the request schemas of openai/openai-openapi (2026-08-21), less audio
and files, which no method of fine-tuning takes. Then the order of roles, the images, and the prompt in use.
"""

import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import urlsplit

from workbench.catalog.limits import in_words, of_provider
from workbench.dataset.chat_template import tools_in
from workbench.dataset.check.row import Finding, Row, breaks, image_parts, is_simple, meant, shown, within
from workbench.dataset.dataset import JSON, OTHER_FIELDS, ROLES, SYSTEM, Message, mapping_of, role_meant
from workbench.errors import DataError

_PARTS = {"user": ("text", "image_url"), "assistant": ("text", "refusal")}  # others: text only
_PART_MEANT = {
    **dict.fromkeys(("input_text", "output_text"), "text"),
    **dict.fromkeys(("image", "input_image"), "image_url"),
}
_TEXT_PART = 'write {"type": "text", "text": …}'


def what_is_said(message: Message, place: str) -> Iterator[Finding]:
    """The text or the parts of a message, and an assistant's refusal."""
    role, content = message.get("role"), message.get("content")
    place += ".content"
    if isinstance(content, str):
        if (not content or content.isspace()) and role not in ("tool", "function"):
            yield from _empty(message, place)
    elif isinstance(content, list | tuple):
        yield from _parts(content, role, place) if content else _empty(message, place)
    elif content is not None:
        yield breaks("content", place, f"{shown(content)} is no text", "put it in quotes")
    elif role == "tool":
        finding = "a tool message has no text"
        yield breaks("content", place, finding, 'write what the tool gave, or "" for nothing')
    elif role != "function":
        yield from _empty(message, place)
    refusal = message.get("refusal")
    if role == "assistant" and refusal is not None and not isinstance(refusal, str):
        place = place.removesuffix("content") + "refusal"
        yield breaks("content", place, f"{shown(refusal)} is no text", "put it in quotes")


def _empty(message: Message, place: str) -> Iterator[Finding]:
    """No text is fine where an assistant calls a tool or refuses instead."""
    instead = any(message.get(key) for key in ("tool_calls", "function_call", "refusal"))
    if message.get("role") != "assistant" or not instead:
        yield breaks("empty", place, "there is no text")


def _parts(parts: Sequence[JSON], role: JSON, place: str) -> Iterator[Finding]:
    allowed = _PARTS.get(role, ("text",)) if isinstance(role, str) else _PARTS["user"]
    blank = []
    for position, part in enumerate(parts):
        here = f"{place}[{position}]"
        kind = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(part, Mapping) or not isinstance(kind, str):
            yield breaks("content", here, f"{shown(part)} is no part of a message", _TEXT_PART)
        elif kind == "image_url":
            continue  # who may send it: see ``images``
        elif kind not in allowed:
            right = _PART_MEANT.get(kind) or meant(kind, allowed)
            fix = f"did you mean {right!r}" if right in allowed else f"use {' or '.join(allowed)}"
            finding = f"{shown(kind)} is no kind of part that a message of this role can hold"
            yield breaks("content", f"{here}.type", finding, fix)
        elif not isinstance(text := part.get(kind), str):
            yield breaks("content", f"{here}.{kind}", f"{shown(text)} is no text", _TEXT_PART)
        elif not text or text.isspace():
            blank.append(here)
    if role in ("tool", "function"):
        return
    if len(blank) == len(parts):
        yield breaks("empty", place, "there is no text")
    else:
        for here in blank:
            yield Finding("warning", "empty", here, "this part has no text", "remove the part")


# What the format asks of a conversation: roles, their order, weights and names.
#
# The same rules hold for the messages of all three methods; how a conversation must end is the
# methods' own matter.
# Rules and numbers: Microsoft Learn, "Customize a model with fine-tuning" (10/05/2026), and the request
# schemas ``FineTuneChatRequestInput`` and its fellows of openai/openai-openapi (2026-08-21).

_ANYBODY = ("role", "content", "name")
_FIELDS = {
    "assistant": (*_ANYBODY, "weight", "refusal", "audio", "tool_calls", "function_call"),
    "tool": (*_ANYBODY, "tool_call_id"),
}
_EVERY_FIELD = (*_FIELDS["assistant"], "tool_call_id")
_NAME = re.compile(r"[^\s<|\\/>]{1,64}")  # as the chat API takes it


def messages_in(value: Mapping[str, JSON], path: str) -> Iterator[Finding]:
    """Whether there are messages at all; ``path`` is where they should be."""
    messages = value.get("messages")
    if "messages" not in value:
        yield breaks("messages", path, "there are no messages", _other_shape(value))
    elif not isinstance(messages, list | tuple):
        fix = 'write a list: [{"role": "user", "content": …}, …]'
        yield breaks("messages", path, f"{shown(messages)} is no list of messages", fix)
    elif not messages:
        yield breaks("messages", path, "the list of messages is empty", "leave the example out")


def conversation(messages: Sequence[JSON], path: str) -> Iterator[Finding]:
    """Each message for itself, and the order of their roles."""
    for position, message in enumerate(messages):
        if not is_simple(message):
            yield from one_message(message, f"{path}[{position}]")
    yield from _order(roles(messages), path)


def roles(messages: Sequence[JSON]) -> list[JSON]:
    """Who speaks, in order; ``None`` for what is no message."""
    return [message.get("role") if isinstance(message, Mapping) else None for message in messages]


def one_message(message: JSON, place: str) -> Iterator[Finding]:
    """What one message may hold, whatever stands around it."""
    if not isinstance(message, Mapping):
        fix = 'write {"role": "user", "content": …}'
        yield breaks("messages", place, f"{shown(message)} is no message", fix)
        return
    role = message.get("role")
    yield from _role(message, place)
    yield from what_is_said(message, place)
    if "weight" in message:
        yield from _weight(message, place)
    if "name" in message or role == "function":
        yield from _name(message, place)
    known = _FIELDS.get(role, _ANYBODY) if isinstance(role, str) and role in ROLES else _EVERY_FIELD
    for key in message:
        if key not in known:
            yield from _unknown(key, known, message, place)


def ends_with_an_answer(messages: Sequence[JSON], path: str) -> Iterator[Finding]:
    """Supervised: the last message is the answer to learn, and something is learned."""
    speakers = roles(messages)
    if speakers[-1] != "assistant":
        yield breaks("last", f"{path}[{len(speakers) - 1}]", "the last message is not the assistant's")
    weights = [m.get("weight") for m in messages if isinstance(m, Mapping) and m.get("role") == "assistant"]
    if weights and all(type(weight) is int and weight == 0 for weight in weights):
        finding = "every assistant message has weight 0, so nothing is learned from it"
        yield Finding("warning", "weight", path, finding, "give one of them weight 1")


def weights_do_nothing(messages: Sequence[JSON], path: str, learned: str) -> Iterator[Finding]:
    """Weights belong to supervised training; ``learned`` says what is learned from here."""
    for position, message in enumerate(messages):
        if isinstance(message, Mapping) and message.get("role") == "assistant" and "weight" in message:
            finding = f"a weight does nothing here: {learned}"
            yield Finding("warning", "weight", f"{path}[{position}].weight", finding, "remove it")


def unknown_keys(value: Mapping[str, JSON], known: Sequence[str], place: str) -> Iterator[Finding]:
    """Keys of the line, or of its ``input``, that nobody reads."""
    for key in value:
        if key in known:
            continue
        if key == "prompt_loss_weight":
            fix = "remove it; old tools took it as a setting of the job, never of a line"
        else:
            right = meant(key, known)
            fix = f"did you mean {right!r}" if right and right not in value else "remove it"
        yield Finding(
            "warning", "unknown_key", within(place, key), f"nobody reads {shown(key)} in training", fix
        )


def _other_shape(value: Mapping[str, JSON]) -> str:
    """What to do about a line without messages, by the shape that it has instead."""
    if "preferred_output" in value or "non_preferred_output" in value:
        return "check preference pairs with method dpo"
    if "prompt" in value and "completion" in value:
        return "this is the old form for completion models; read() turns it into messages"
    if "conversations" in value or "instruction" in value:
        return "this is the form of another tool; read() turns it into messages"
    right = meant(next((key for key in value if meant(key, ("messages",))), ""), ("messages",))
    return "rename the key to 'messages'" if right else 'write {"messages": [{"role": …, "content": …}]}'


def _role(message: Message, place: str) -> Iterator[Finding]:
    role = message.get("role")
    if "role" not in message:
        fix = "rename 'from' to 'role'" if "from" in message else "say who speaks: system, user or assistant"
        yield breaks("role", f"{place}.role", "there is no role", fix)
    elif not isinstance(role, str) or role not in ROLES:
        right = None
        if isinstance(role, str):
            right = role_meant(role[:20]) or meant(role, ROLES)
        fix = f"did you mean {right!r}" if right else "use system, user or assistant"
        yield breaks("role", f"{place}.role", f"{shown(role)} is no role", fix)
    elif role == "function":
        fix = "answer a call in tool_calls with a message of role 'tool'"
        yield breaks("legacy", f"{place}.role", "'function' is the old form of 'tool'", fix)


def _weight(message: Message, place: str) -> Iterator[Finding]:
    weight = message["weight"]
    place += ".weight"
    if message.get("role") != "assistant":
        yield breaks("weight", place, "only an assistant message may have a weight", "remove it")
    elif type(weight) is not int or weight not in (0, 1):
        yield breaks("weight", place, f"the weight is {shown(weight)}", "use 1 (learn this) or 0 (do not)")


def _name(message: Message, place: str) -> Iterator[Finding]:
    name = message.get("name")
    place += ".name"
    if message.get("role") == "function" and not name:
        fix = "write the name of the function that gave this"
        yield breaks("name", place, "a function message has no name", fix)
    elif not isinstance(name, str):
        yield breaks("name", place, f"{shown(name)} is no name", "write a text, or leave it out")
    elif not _NAME.fullmatch(name):
        finding = "the name has spaces, signs or more than 64 characters"
        yield Finding("warning", "name", place, finding, "use letters, digits, _ and -, or leave it out")


def _unknown(key: str, known: Sequence[str], message: Message, place: str) -> Iterator[Finding]:
    if key == "weight":
        return  # a finding about the weight says it
    owner = next((role for role, fields in _FIELDS.items() if key in fields), None)
    if owner:
        finding = f"{key!r} belongs to messages of role {owner!r}"
        yield breaks("unknown_key", f"{place}.{key}", finding, "remove it, or put the role right")
        return
    right = OTHER_FIELDS.get(key) or meant(key, known)
    fix = f"did you mean {right!r}" if right and right not in message else "remove it"
    yield Finding("warning", "unknown_key", within(place, key), f"{shown(key)} is no field of a message", fix)


def _order(speakers: Sequence[JSON], path: str) -> Iterator[Finding]:
    if "user" not in speakers:
        yield breaks("user", path, "nobody asks: there is no user message")
    for position, (before, role) in enumerate(pairwise(speakers), 1):
        place = f"{path}[{position}]"
        if before == role and role in ("assistant", "user"):
            level = "error" if role == "assistant" else "warning"
            finding = f"this is a second {role} message in a row"
            yield Finding(level, "order", place, finding, f"merge it with {path}[{position - 1}]")
        if role in SYSTEM and before not in SYSTEM:
            yield breaks("system_place", place, f"a {role} message stands behind others", "put it first")


# What the service asks of images: who may send them, how many, how large, and of which kind.
#
# An image stands in a user's message as an address or as a data URL; of the
# latter the bytes are checked, as far as that needs no decoder.
# Rules: Microsoft Learn, "Vision fine-tuning" (07/31/2026); the numbers are those of ``catalog.limits``.

_DATA_URL = re.compile(r"data:([^;,]{0,80})((?:;[^;,]{0,80})*),", re.IGNORECASE)
_DETAILS = ("low", "high", "auto")
_KINDS = ("image/jpeg", "image/png", "image/webp")
_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF", "application/pdf"),
)
_PNG_COLOURS = {0: "greyscale", 3: "a palette", 4: "greyscale with alpha"}  # 2 is RGB, 6 is RGBA
_JPEG_COLOURS = {1: "greyscale", 4: "CMYK"}  # 3 is colour
_RGB = "convert it to RGB or RGBA"


def images(messages: Sequence[JSON], path: str, vision: bool | None) -> Iterator[Finding]:
    """All that is the matter with the images of one example; ``vision``: whether the model sees any."""
    found = list(image_parts(messages))
    for number, position, role, part in found:
        place = f"{path}[{number}].content[{position}]"
        if role != "user":
            yield breaks("image", place, "only a user may send images", "move it to a user message")
        yield from _image(part.get("image_url"), f"{place}.image_url")
    most = of_provider("azure").max_images
    if most is not None and len(found) > most:
        finding = f"the example has more than {most} images"
        yield breaks("image", path, finding, "leave some out, or make two examples of it")
    if found and vision is False:
        finding = "this model learns from texts only, and the example has images"
        yield breaks("image", path, finding, "choose a model for vision, or leave the example out")


def _image(image: JSON, place: str) -> Iterator[Finding]:
    if not isinstance(image, Mapping):
        yield breaks("image", place, "this is no image", 'write {"url": …}')
        return
    if "detail" in image and image["detail"] not in _DETAILS:
        finding = f"the detail is {shown(image['detail'])}"
        yield breaks("image", f"{place}.detail", finding, "use low, high or auto")
    url = image.get("url")
    place += ".url"
    if not isinstance(url, str):
        yield breaks("image", place, f"{shown(url)} is no address", "write an https address or a data URL")
    elif url[:5].lower() == "data:":
        for finding, fix in _data_url(url):
            yield breaks("image", place, finding, fix)
    elif not _is_web_address(url):
        yield breaks("image", place, "this is no web address", "write an https address or a data URL")


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not any(map(str.isspace, url))


def _data_url(url: str) -> Iterator[tuple[str, str]]:
    """Finding and fix, for an image that stands in the line itself."""
    head = _DATA_URL.match(url)
    if head is None or head[2].lower() != ";base64":
        yield "the data URL is not in base64", "write data:image/png;base64,…"
        return
    declared = head[1].lower()
    declared = "image/jpeg" if declared == "image/jpg" else declared
    if declared not in _KINDS:
        yield f"{shown(head[1])} is no kind that the service takes", "convert it to JPEG, PNG or WEBP"
    try:
        content = binascii.a2b_base64(url[head.end() :].encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        yield "the base64 text of the image is broken", "encode the image again"
        return
    largest = of_provider("azure").max_image_bytes
    if largest is not None and len(content) > largest:
        yield f"the image has more than {in_words(largest)}", "make it smaller"
    if declared in _KINDS:
        yield from _kind(content, declared)


def _kind(content: bytes, declared: str) -> Iterator[tuple[str, str]]:
    is_webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    kinds = (kind for magic, kind in _MAGIC if content.startswith(magic))
    kind = "image/webp" if is_webp else next(kinds, None)
    if kind is None:
        yield f"the bytes are no {declared.removeprefix('image/').upper()} image", "encode the image again"
    elif kind != declared:
        fix = f"say {kind}" if kind in _KINDS else "convert it to JPEG, PNG or WEBP"
        yield f"the data URL says {declared}, the bytes are {kind}", fix
    elif kind == "image/png" and content[25:26] and content[25] in _PNG_COLOURS:
        yield f"the colours of the image are {_PNG_COLOURS[content[25]]}", _RGB
    elif kind == "image/jpeg" and _jpeg_channels(content) in _JPEG_COLOURS:
        yield f"the colours of the image are {_JPEG_COLOURS[_jpeg_channels(content)]}", _RGB


def _jpeg_channels(content: bytes) -> int:
    """How many colour channels, by the first start-of-frame segment (ITU T.81, B.2.2); 0: none found."""
    at = 2
    while at + 10 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return content[at + 9]
        at += 2 + max(2, int.from_bytes(content[at + 2 : at + 4], "big"))
    return 0


# The prompt in use: whether the rows ask as the tuned model will be asked (train/serve skew).

_VARIES = re.compile(r" ?\{\w+\} ?")  # {question}, {passages}


@dataclass(frozen=True)
class PromptInUse:
    """What is sent to a model with every question; made by ``prompt_in_use``."""

    instruction: str
    question: str
    """The last message of the user, with its places for what varies."""
    tools: Mapping[str, str]
    """Each function by its name, as JSON."""

    def findings(self, row: Row) -> Iterator[Finding]:
        """Where a row has another instruction, other tools, or another form of its last question."""
        turns = {turn.part: turn for turn in row.turns if turn.part == "system" or turn.role == "user"}
        place = turns["system"].path if "system" in turns else "messages"
        if self.instruction and not row.system.strip():
            yield breaks("skew", place, "there is no instruction, and the prompt in use has one")
        elif row.system.strip() and not self.instruction:
            yield breaks("skew", place, "there is an instruction, and the prompt in use has none")
        elif not _fits(row.system, self.instruction):
            yield breaks("skew", place, "the instruction is not that of the prompt in use")
        asked = turns.get("prompt")
        if asked and _VARIES.search(self.question) and not _fits(asked.text, self.question):
            message = "the question does not have the form that it has in the prompt in use"
            yield breaks("skew", asked.path, message, f"write it as {shown(self.question)}")
        tools = _offered(row.value)
        differences = [
            *(f"{name} is missing" for name in self.tools if name not in tools),
            *(f"{name} is not in use" for name in tools if name not in self.tools),
            *(
                f"{name} is declared otherwise"
                for name in tools
                if self.tools.get(name) not in (None, tools[name])
            ),
        ]
        if differences:
            yield breaks("skew", "tools", f"the tools are not those in use: {', '.join(differences[:3])}")


def prompt_in_use(request: Mapping[str, JSON]) -> PromptInUse:
    """What of a request (``messages``, ``tools``) stays the same from question to question.

    What varies is written ``{question}``, ``{passages}`` or with any other word; the user's last message is
    compared where it has such a place. Examples that are shown before the question are not compared.
    """
    row = Row(0, request)
    asked = [turn.text for turn in row.turns if turn.role == "user"]
    if not asked:
        raise DataError(
            'The prompt in use has no message of the user; give {"messages": [{"role": "system", '
            '"content": …}, {"role": "user", "content": "{question}"}], "tools": […]}.'
        )
    return PromptInUse(row.system.strip(), asked[-1], _offered(request))


def _fits(text: str, form: str) -> bool:
    """Whether a text is this form filled in, white space aside."""
    parts = map(re.escape, _VARIES.split(" ".join(form.split())))
    return re.fullmatch(".*".join(parts), " ".join(text.split()), re.DOTALL) is not None


def _offered(value: Mapping[str, JSON]) -> dict[str, str]:
    functions = (
        mapping_of(mapping_of(tool).get("function"))
        for tool in tools_in(mapping_of(value.get("input", value)))
    )
    return {
        str(each.get("name")): json.dumps(
            {key: each.get(key) for key in ("description", "parameters")}, sort_keys=True, default=dict
        )
        for each in functions
    }
