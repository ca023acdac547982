"""Tools: the functions that a line declares, in today's form and in the old one.

Rules: Microsoft Learn, "Customize a model with fine-tuning" (10/05/2026) and the functions page
(03/19/2026). First the schemas and declarations, then the calls and their answers. They are apart because
the formats of lines (``methods``) are a subject of their own.
"""

import re
from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, cast

import msgspec

from workbench.dataset.check.row import Finding, breaks, meant, shown, within
from workbench.dataset.dataset import JSON, Message, items_of, mapping_of

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

# JSON Schemas of tools: whether one is valid, and what in a call's arguments breaks it.
#
# The work is ``jsonschema``'s (2020-12, every violation); the sentences are ours.
# Nothing is ever fetched: a schema that refers to an address is not followed.

_TYPES = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_PYTHON_TYPES = {"str": "string", "int": "integer", "float": "number", "list": "array", "dict": "object"}

Violation = tuple[tuple[str | int, ...], str, str]
"""Steps to the place, finding, fix."""


class Schema:
    """The schema of one function's parameters; made by ``schema_of``."""

    def __init__(self, content: Mapping[str, JSON]) -> None:
        """A schema that is known to be valid."""
        self.content = content

    @cached_property
    def _validator(self) -> "Draft202012Validator":
        from jsonschema import Draft202012Validator  # not at the head: it takes a second to load
        from referencing import Registry

        return Draft202012Validator(self.content, registry=Registry())

    def violations(self, arguments: Mapping[str, JSON]) -> Iterator[Violation]:
        """Everything in the arguments that breaks the schema."""
        from referencing.exceptions import Unresolvable

        try:
            errors = list(self._validator.iter_errors(arguments))
        except (Unresolvable, RecursionError, ValueError, re.error):
            # A reference to an address or to itself, or a pattern of another regex dialect.
            finding = "the arguments cannot be held against the tool's schema"
            yield (), finding, "write the schema without references and odd patterns"
            return
        for error in errors:
            yield from _told(error)


def schema_of(content: JSON, place: str) -> tuple[Schema | None, list[Finding]]:
    """The schema at this place, unless something is the matter with it."""
    if not isinstance(content, Mapping):
        fix = 'write a JSON Schema: {"type": "object", "properties": …}'
        return None, [breaks("tools", place, f"{shown(content)} is no JSON Schema", fix)]
    found = [breaks("tools", within(place, *steps), finding, fix) for steps, finding, fix in _broken(content)]
    if not found and content.get("type", "object") != "object":
        finding = f"parameters are an object, and the schema says {shown(content['type'])}"
        found.append(breaks("tools", f"{place}.type", finding, "write 'object'"))
    return (None if found else Schema(content)), found


def _broken(content: Mapping[str, JSON]) -> Iterator[Violation]:
    """What makes this no JSON Schema."""
    from jsonschema import Draft202012Validator

    try:
        errors = list(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(content))
    except RecursionError:
        yield (), "the schema is nested too deep", "make it flatter"
        return
    for error in errors:
        steps = tuple(error.absolute_path)
        if steps and steps[-1] == "type":
            name = error.instance if isinstance(error.instance, str) else ""
            likely = _PYTHON_TYPES.get(name) or meant(name, _TYPES)
            fix = f"did you mean {likely!r}" if likely else f"use {', '.join(_TYPES)}"
            yield steps, f"{shown(error.instance)} is no type of JSON Schema", fix
        elif steps and steps[-1] == "required" and isinstance(error.instance, bool):
            fix = "list the names in the object's own 'required'"
            yield steps, "'required' is a list of names, not true or false", fix
        else:
            yield steps, f"this is no JSON Schema: {_asked(error)}", "put the schema right"


def _told(error: "ValidationError") -> Iterator[Violation]:
    """One violation in our words, at the place of its cause."""
    steps = tuple(error.absolute_path)
    instance, asked = cast("JSON", error.instance), cast("JSON", error.validator_value)
    if error.validator == "required" and isinstance(asked, Sequence):
        # One error for each missing name, which only the message tells.
        missing = literal_eval(error.message.removesuffix(" is a required property"))
        yield steps, f"the required {shown(missing)} is missing", "add it"
    elif error.validator == "additionalProperties" and asked is False and isinstance(instance, Mapping):
        schema = mapping_of(cast("JSON", error.schema))
        known, patterns = (mapping_of(schema.get(key)) for key in ("properties", "patternProperties"))
        for key in instance:
            if key in known or any(re.search(pattern, key) for pattern in patterns):
                continue
            right = meant(key, known)
            fix = f"did you mean {right!r}" if right and right not in instance else "remove it"
            yield (*steps, key), f"the tool has no parameter {shown(key)}", fix
    else:
        what = shown(instance) if error.validator == "enum" else "this"
        yield steps, f"{what} breaks the tool's schema: {_asked(error)}", "put the value right"


def _asked(error: "ValidationError") -> str:
    """What the schema asks for at the place of a violation."""
    asked = cast("JSON", error.validator_value)
    if error.validator == "type" and isinstance(asked, Sequence):
        names = [asked] if isinstance(asked, str) else asked
        return "it wants " + " or ".join(_TYPES.get(str(name), str(name)) for name in names)
    if error.validator == "enum" and isinstance(asked, Sequence) and len(asked) <= 8:
        return "it wants one of " + ", ".join(shown(value) for value in asked)
    return f"it asks for {error.validator} {shown(asked)}"


_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NO_ARGUMENTS = 'write "{}" for no arguments'
_WRAPPED = 'write {"type": "function", "function": {"name": …, "parameters": …}}'


@dataclass(frozen=True)
class Tools:
    """What a line declares, and what is the matter with that."""

    declared: Mapping[str, Schema | None] = field(default_factory=dict)
    """Each name with the schema of its parameters; ``None`` where that is missing or broken."""
    findings: tuple[Finding, ...] = ()


def tools_of(value: Mapping[str, JSON], place: str) -> Tools:
    """The tools of a line, or of its ``input``; those of the old ``functions`` count."""
    if "tools" not in value and "functions" not in value and "parallel_tool_calls" not in value:
        return _NONE
    findings = [*_parallel(value, place)]
    declared: dict[str, Schema | None] = {}
    for key, read in (("tools", _tools), ("functions", _functions)):
        if key not in value:
            continue
        content = value[key]
        here = within(place, key)
        if not isinstance(content, list | tuple):
            fix = "write a list, or leave it out"
            findings.append(breaks("tools", here, f"{shown(content)} is no list of tools", fix))
            continue
        try:
            known = read(msgspec.json.encode(content, enc_hook=dict), here)
        except (RecursionError, UnicodeEncodeError, OverflowError):
            finding = "the tools are nested too deep, or hold a character or number that is none"
            findings.append(breaks("tools", here, finding, "write them anew"))
            continue
        findings += known.findings
        declared |= known.declared
    return Tools(declared, tuple(findings))


def _parallel(value: Mapping[str, JSON], place: str) -> Iterator[Finding]:
    if "parallel_tool_calls" not in value:
        return
    here = within(place, "parallel_tool_calls")
    setting = value["parallel_tool_calls"]
    if not isinstance(setting, bool):
        yield breaks("tools", here, f"it is {shown(setting)}", "use true or false")
    elif "tools" not in value:
        yield Finding("warning", "tools", here, "it is set, and there are no tools", "remove it")


@lru_cache(maxsize=256)
def _tools(content: bytes, place: str) -> Tools:
    """The same tools stand in many lines, so they are read once."""
    tools: list[JSON] = msgspec.json.decode(content)
    findings: list[Finding] = []
    declared: dict[str, Schema | None] = {}
    if not tools:
        findings.append(Finding("warning", "tools", place, "the list of tools is empty", "leave it out"))
    for number, tool in enumerate(tools):
        here = f"{place}[{number}]"
        if not isinstance(tool, Mapping):
            findings.append(breaks("tools", here, f"{shown(tool)} is no tool", _WRAPPED))
        elif "function" not in tool and "name" in tool:
            findings.append(breaks("tools", here, "the function is not wrapped", _WRAPPED))
            _declare(tool, here, declared, [])
        else:
            if tool.get("type") != "function":
                finding = f"the type is {shown(tool.get('type'))}"
                findings.append(breaks("tools", f"{here}.type", finding, "write 'function'"))
            _declare(tool.get("function"), f"{here}.function", declared, findings)
    return Tools(declared, tuple(findings))


@lru_cache(maxsize=256)
def _functions(content: bytes, place: str) -> Tools:
    functions: list[JSON] = msgspec.json.decode(content)
    finding = "'functions' is the old form of 'tools'"
    fix = "wrap each in " + _WRAPPED.removeprefix("write ")
    findings = [breaks("legacy", place, finding, fix)]
    declared: dict[str, Schema | None] = {}
    for number, function in enumerate(functions):
        _declare(function, f"{place}[{number}]", declared, findings)
    return Tools(declared, tuple(findings))


def _declare(function: JSON, place: str, declared: dict[str, Schema | None], findings: list[Finding]) -> None:
    """Put a function among the declared ones, and what is the matter with it among the findings."""
    if not isinstance(function, Mapping):
        findings.append(breaks("tools", place, f"{shown(function)} is no function", _WRAPPED))
        return
    name = function.get("name")
    here = f"{place}.name"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        finding = f"{shown(name)} is no name for a function"
        findings.append(breaks("tools", here, finding, "use 1 to 64 letters a to z, digits, _ and -"))
    elif name in declared:
        findings.append(breaks("tools", here, f"there are two functions {name!r}", "rename one of them"))
    description = function.get("description", "")
    if not isinstance(description, str):
        finding = f"{shown(description)} is no text"
        findings.append(breaks("tools", f"{place}.description", finding, "put it in quotes"))
    schema = None
    if "parameters" in function:
        schema, broken = schema_of(function["parameters"], f"{place}.parameters")
        findings += broken
    if isinstance(name, str):
        declared[name] = schema


_NONE = Tools()

# Calls of tools: what the assistant calls, with which arguments, and who answers.
#
# A call's arguments are held against the declared JSON Schema, and every call has one answer.
# Rules: Microsoft Learn, "Customize a model with fine-tuning" (10/05/2026)
# and the functions page (03/19/2026).


def calls(messages: Sequence[JSON], path: str, tools: Tools) -> Iterator[Finding]:
    """Each call for itself: its form, its name and its arguments."""
    for position, message in enumerate(messages):
        if not isinstance(message, Mapping) or message.get("role") != "assistant":
            continue
        place = f"{path}[{position}]"
        if "tool_calls" in message:
            yield from _tool_calls(message, place, tools)
        if message.get("function_call") is not None:
            fix = "write it as one of tool_calls, and its answer as a message of role 'tool'"
            finding = "'function_call' is the old form of 'tool_calls'"
            yield breaks("legacy", f"{place}.function_call", finding, fix)
            yield from _function(message["function_call"], f"{place}.function_call", tools)


def pairing(messages: Sequence[JSON], path: str, waiting: dict[str, str]) -> Iterator[Finding]:
    """Each call has one answer, before anybody else speaks.

    ``waiting`` holds the calls without an answer so far, id to place, and is kept up to date: those of the
    last message may be answered in what follows, or be what is to be learned.
    """
    answered: set[str] = set()
    used: set[str] = set(waiting)
    called = False  # by the old function_call
    for position, message in enumerate(messages):
        place = f"{path}[{position}]"
        role = message.get("role") if isinstance(message, Mapping) else None
        if role == "tool" and isinstance(message, Mapping):
            yield from _answer(message, place, waiting, answered)
            continue
        if role == "function" and not called:
            finding = "nobody called a function before this answer"
            yield breaks("tool_pairing", place, finding, "add the call, or remove the answer")
        yield from _unanswered(waiting, f"before {place}")
        called = False
        if role == "assistant" and isinstance(message, Mapping):
            called = message.get("function_call") is not None
            for number, identity in _ids(message):
                here = f"{place}.tool_calls[{number}].id"
                if identity in waiting:
                    finding = "two calls of one message have the same id"
                    yield breaks("tool_call", here, finding, "give each call an id of its own")
                elif identity in used:
                    finding = "an earlier call has the same id"
                    yield Finding("warning", "tool_call", here, finding, "give each call an id of its own")
                used.add(identity)
                waiting[identity] = f"{place}.tool_calls[{number}]"
    last = messages[-1] if messages else None
    if isinstance(last, Mapping) and last.get("role") == "tool":
        yield from _unanswered(waiting, "before the end")


def _tool_calls(message: Message, place: str, tools: Tools) -> Iterator[Finding]:
    content, every = message.get("content"), message["tool_calls"]
    here = f"{place}.tool_calls"
    if not isinstance(every, list | tuple):
        yield breaks("tool_call", here, f"{shown(every)} is no list of calls", "leave it out")
        return
    if not every:
        yield breaks("tool_call", here, "the list of calls is empty", "leave it out")
    elif isinstance(content, str) and content and not content.isspace():
        finding = "there is text beside the calls, which the documents show without"
        fix = "keep the text only if the model is to say it"
        yield Finding("info", "tool_call", f"{place}.content", finding, fix)
    for number, call in enumerate(every):
        step = f"{here}[{number}]"
        if not isinstance(call, Mapping):
            fix = 'write {"id": …, "type": "function", "function": {"name": …, "arguments": "{…}"}}'
            yield breaks("tool_call", step, f"{shown(call)} is no call", fix)
            continue
        identity = call.get("id")
        if not isinstance(identity, str) or not identity.strip():
            finding, fix = "the call has no id", "give it one, such as 'call_1', and its answer the same"
            yield breaks("tool_call", f"{step}.id", finding, fix)
        if call.get("type") != "function":
            finding = f"the type is {shown(call.get('type'))}"
            yield breaks("tool_call", f"{step}.type", finding, "write 'function'")
        yield from _function(call.get("function"), f"{step}.function", tools)


def _function(function: JSON, place: str, tools: Tools) -> Iterator[Finding]:
    """The name and the arguments of a call."""
    if not isinstance(function, Mapping):
        fix = 'write {"name": …, "arguments": "{…}"}'
        yield breaks("tool_call", place, f"{shown(function)} calls no function", fix)
        return
    name, schema = function.get("name"), None
    if not isinstance(name, str) or not name:
        yield breaks("tool_call", f"{place}.name", f"{shown(name)} is no name", "name the function")
    elif name in tools.declared:
        schema = tools.declared[name]
    elif tools.declared:
        right = meant(name, tools.declared)
        fix = f"did you mean {right!r}" if right else f"declare it, or call one of {_some(tools.declared)}"
        yield breaks("tool_call", f"{place}.name", f"no tool is called {shown(name)}", fix)
    elif not tools.findings:  # else they are broken, which is a finding already
        finding = "the line declares no tools, so the model learns to call what it cannot see"
        yield Finding("warning", "tool_call", f"{place}.name", finding, "add the tools to the line")
    yield from _arguments(function.get("arguments"), f"{place}.arguments", schema)


def _arguments(text: JSON, place: str, schema: Schema | None) -> Iterator[Finding]:
    if not isinstance(text, str):
        fix = "write the object as a text, as json.dumps gives it"
        if text is None:
            fix = 'write "{}" for no arguments'
        yield breaks("arguments", place, f"the arguments are {shown(text)}, not JSON in a text", fix)
        return
    try:
        arguments = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        reason = str(error).partition(": ")[2].partition(" (byte")[0]
        fix = "write the object as json.dumps gives it" if text.strip() else _NO_ARGUMENTS
        yield breaks("arguments", place, "the arguments are no JSON" + (f": {reason}" if reason else ""), fix)
        return
    if not isinstance(arguments, dict):
        finding = f"the arguments are {shown(arguments)}, not an object"
        yield breaks("arguments", place, finding, 'write them by name: {"city": …}')
    elif schema is not None:
        for step, finding, fix in schema.violations(arguments):
            yield breaks("arguments", within(place, *step), finding, fix)


def _answer(message: Message, place: str, waiting: dict[str, str], answered: set[str]) -> Iterator[Finding]:
    identity = message.get("tool_call_id")
    place += ".tool_call_id"
    if not isinstance(identity, str) or not identity:
        finding = "the tool message does not say which call it answers"
        yield breaks("tool_pairing", place, finding, "write the id of the call")
    elif waiting.pop(identity, None):
        answered.add(identity)
    elif identity in answered:
        yield breaks("tool_pairing", place, "the call was answered before", "keep one answer")
    else:
        fix = "write the id of the open call" if len(waiting) == 1 else "add the call, or remove the answer"
        yield breaks("tool_pairing", place, "no call before this has the id", fix)


def _unanswered(waiting: dict[str, str], until: str) -> Iterator[Finding]:
    for place in waiting.values():
        finding = f"nobody answers this call {until}"
        yield breaks("tool_pairing", place, finding, "add a tool message with its id, or remove the call")
    waiting.clear()


def _ids(message: Message) -> Iterator[tuple[int, str]]:
    """The calls that have an id, by their number."""
    for number, call in enumerate(items_of(message.get("tool_calls"))):
        identity = mapping_of(call).get("id")
        if isinstance(identity, str) and identity.strip():
            yield number, identity


def _some(names: Iterable[str]) -> str:
    listed = [shown(name) for name in names]
    return ", ".join(listed[:3]) + (", …" if len(listed) > 3 else "")
