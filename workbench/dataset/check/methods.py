"""What the format of each method asks of a line: a conversation, a preference pair, a prompt for RFT.

Rules: Microsoft Learn, "Customize a model with fine-tuning" and "Direct preference optimization"
(10/05/2026). OpenAI's request schema calls the outputs of a pair completions; the service reads the names
used here.
"""

import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Self

from workbench.catalog.methods import short_names
from workbench.dataset.check.messages import (
    PromptInUse,
    conversation,
    ends_with_an_answer,
    images,
    messages_in,
    one_message,
    roles,
    unknown_keys,
    weights_do_nothing,
)
from workbench.dataset.check.row import (
    Finding,
    Row,
    RowSource,
    breaks,
    calls_of,
    image_parts,
    is_simple,
    meant,
    shown,
)
from workbench.dataset.check.tools import Tools, calls, pairing, schema_of, tools_of
from workbench.dataset.dataset import JSON, OUTPUTS, mapping_of, text_of
from workbench.evaluation.graders.grader_types import TYPES, item_fields, python_sources, template_texts
from workbench.evaluation.graders.grades import Place, item_reads, places
from workbench.evaluation.graders.sandboxed import READABLE

METHODS = short_names()

_CONVERSATION = ("messages", "tools", "parallel_tool_calls", "functions", "function_call")
_OTHER_NAMES = {
    "preferred_output": ("preferred_completion", "preferred", "chosen"),
    "non_preferred_output": ("non_preferred_completion", "non_preferred", "rejected"),
}
_INPUT = ("messages", "tools", "parallel_tool_calls")
_LEARNED = "what is learned is the difference of the two outputs"
_MESSAGE = 'write [{"role": "assistant", "content": …}]'


@dataclass(frozen=True)
class CheckTask:
    """What the rows of one file are checked for."""

    method: str
    """``sft``, ``dpo`` or ``rft``."""
    grader: Mapping[str, JSON] | None = None
    vision: bool | None = None
    """Whether the model learns from images; ``None`` where that is not known."""
    model: str | None = None
    """Whose tokens are counted; ``None``: those of gpt-4o."""
    group: str | None = None
    """The field that ties rows together, such as a customer."""
    role: str = "training"
    """What the file is for, as in ``FileFacts``."""
    prompt: PromptInUse | None = None
    """What the rows' instructions, tools and questions are compared with."""

    @cached_property
    def reads(self) -> "Reads | None":
        """What the grader of a reinforcement job reads of every line."""
        return Reads(self.grader) if self.grader is not None and self.method == "rft" else None


def of_the_format(row: Row, task: CheckTask) -> Iterator[Finding]:
    """All that one line has against the format of its method, whatever JSON it holds."""
    if task.method == "dpo":
        return preference(row.value)
    if task.method == "rft":
        return reinforcement(row.value, task.reads, task.vision)
    return supervised(row.value, task.vision)


def skew(row: Row, task: CheckTask) -> Iterator[Finding]:
    """What a row asks otherwise than the prompt in use does."""
    if task.prompt is not None:
        yield from task.prompt.findings(row)


def is_plain(value: Mapping[str, JSON], task: CheckTask) -> bool:
    """Whether ``of_the_format`` finds nothing because the line is as simple as most; about a microsecond.

    A simple line has no images either. ``False`` means: not known.
    """
    if task.method == "sft":
        return len(value) == 1 and _turns(value.get("messages"), "assistant")
    if task.method == "dpo":
        return len(value) == 3 and _plain_pair(value)
    return _turns(value.get("messages"), "user") and _plain_references(value, task.reads)


def supervised(value: Mapping[str, JSON], vision: bool | None) -> Iterator[Finding]:
    """Everything wrong with one conversation that ends with the answer to learn."""
    messages = value.get("messages")
    tools = tools_of(value, "")
    yield from messages_in(value, "messages")
    if "messages" in value:  # else it is another format, and that is what is said
        yield from unknown_keys(value, _CONVERSATION, "")
    yield from tools.findings
    if isinstance(messages, list | tuple) and messages:
        yield from _asked(messages, "messages", tools, {})
        yield from ends_with_an_answer(messages, "messages")
        yield from images(messages, "messages", vision)


def preference(value: Mapping[str, JSON]) -> Iterator[Finding]:
    """All that is the matter with one pair."""
    given = value.get("input")
    prompt = given if isinstance(given, Mapping) else {}
    tools = tools_of(prompt, "input")
    waiting: dict[str, str] = {}
    if not isinstance(given, Mapping):
        yield _no_input(value)
    else:
        yield from messages_in(given, "input.messages")
        yield from unknown_keys(given, _INPUT, "input")
        yield from tools.findings
        messages = given.get("messages")
        if isinstance(messages, list | tuple) and messages:
            yield from _asked(messages, "input.messages", tools, waiting)
            yield from weights_do_nothing(messages, "input.messages", _LEARNED)
            yield from _text_only(messages, "input.messages")
            yield from _open_end(messages)
    outputs = []
    for key in OUTPUTS:
        output = value.get(key)
        if not isinstance(output, list | tuple) or not output:
            yield _no_output(value, key)
            continue
        yield from _output(output, key)
        yield from calls(output, key, tools)
        yield from pairing(output, key, dict(waiting))
        yield from weights_do_nothing(output, key, _LEARNED)
        yield from _text_only(output, key)
        outputs.append(output)
    if len(outputs) == 2:
        yield from _identical(outputs[0], outputs[1])
    other_names = {name for key, names in _OTHER_NAMES.items() if key not in value for name in names}
    rest = {key: content for key, content in value.items() if key not in other_names}
    if "input" in value:
        yield from unknown_keys(rest, ("input", *OUTPUTS), "")


def _asked(messages: Sequence[JSON], path: str, tools: Tools, waiting: dict[str, str]) -> Iterator[Finding]:
    yield from conversation(messages, path)
    yield from calls(messages, path, tools)
    yield from pairing(messages, path, waiting)


def normalised(text: str) -> str:
    """A text without what no reader would call a difference: case, white space, forms of one letter."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _no_input(value: Mapping[str, JSON]) -> Finding:
    finding, fix = "there is no input", 'write {"input": {"messages": […]}, …}'
    if "input" in value:
        finding = f"{shown(value['input'])} is no input"
    elif "messages" in value:
        fix = "put 'messages' (and 'tools') inside 'input'"
    elif "prompt" in value:
        fix = "this is the form of another tool; read() turns it into pairs"
    return breaks("input", "input", finding, fix)


def _no_output(value: Mapping[str, JSON], key: str) -> Finding:
    other = next((name for name in _OTHER_NAMES[key] if name in value), None)
    if key not in value and other:
        return breaks("outputs", other, f"the service calls this {key!r}", "rename it")
    if key not in value:
        return breaks("outputs", key, f"there is no {key}", _MESSAGE)
    finding = "the list is empty" if value[key] in ([], ()) else f"{shown(value[key])} is no list of messages"
    return breaks("outputs", key, finding, _MESSAGE)


def _output(output: Sequence[JSON], path: str) -> Iterator[Finding]:
    speakers = roles(output)
    for position, message in enumerate(output):
        yield from one_message(message, f"{path}[{position}]")
        role = speakers[position]
        if role in ("system", "developer", "user", "function"):
            finding = f"an output has messages of assistant and tool only, not of {role}"
            place = f"{path}[{position}].role"
            yield breaks("outputs", place, finding, "move it to input.messages, or remove it")
    if "assistant" not in speakers:
        yield breaks("outputs", path, "the output has no assistant message", "add what the assistant says")


def _open_end(messages: Sequence[JSON]) -> Iterator[Finding]:
    last = messages[-1]
    ends = isinstance(last, Mapping) and last.get("role") == "assistant" and not last.get("tool_calls")
    if ends:
        place = f"input.messages[{len(messages) - 1}]"
        finding = "the prompt ends with an answer, and both outputs come after it"
        yield Finding("warning", "input", place, finding, "end the prompt with the user's message")


def _text_only(messages: Sequence[JSON], path: str) -> Iterator[Finding]:
    for number, position, _, _ in image_parts(messages):
        place = f"{path}[{number}].content[{position}]"
        yield breaks("image", place, "preference pairs are text only", "leave the example out")


def _identical(preferred: Sequence[JSON], rejected: Sequence[JSON]) -> Iterator[Finding]:
    first, second = _said(preferred), _said(rejected)
    fix = "write what is better about one of them, or leave the example out"
    if not first.strip():
        return  # neither says anything, which is a finding at both
    if first == second:
        yield breaks("identical", "", "both outputs are the same, so there is nothing to prefer", fix)
    elif normalised(first) == normalised(second):
        yield Finding("warning", "identical", "", "the outputs differ in capitals or white space only", fix)


def _said(output: Sequence[JSON]) -> str:
    """What an output says and calls; the ids of calls are no part of that."""
    parts: list[JSON] = []
    for message in map(mapping_of, output):
        parts += [text_of(message), message.get("refusal")]
        for _, function in calls_of(message):
            parts += [function.get("name"), function.get("arguments")]
    return "\n".join(part for part in parts if isinstance(part, str))


# What the format asks of a prompt for reinforcement: it ends with the user, and the grader finds its fields.
#
# Every other key of the line is reference data, which the grader reads as ``item.<key>``. What is
# the matter with the grader or the response format itself is said once, not at every line.
# Rules: Microsoft Learn, "Reinforcement fine-tuning" (10/05/2026) and its preparation page (10/07/2026).

OF_THE_FORMAT = ("messages", "tools", "parallel_tool_calls", "functions")

NEARLY_ALL = 0.9  # of the other rows have a field that a row lacks: then it is missed (a proposal of ours)
_OTHERS = 5  # fewer other rows show no habit

# What a grader is shown of an answer; places below the first three names are the answer's own.
_DEEPER = ("output_json", "output_tools", "choices")
_NAMEABLE = re.compile(r"\w+")
_SCHEMA_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_LEARNED_BY_REINFORCEMENT = "the answers that are learned from are the model's own"
_WRAPPED = 'wrap it: {"type": "json_schema", "json_schema": {"name": …, "strict": true, "schema": {…}}}'


@dataclass(frozen=True)
class Reads:
    """What a grader reads of every line."""

    grader: Mapping[str, JSON]

    @cached_property
    def templates(self) -> tuple[tuple[str, ...], ...]:
        """The places that its templates name."""
        return tuple(sorted(item_fields(self.grader)))

    @cached_property
    def source(self) -> tuple[tuple[str, ...], ...]:
        """The places that its Python source reads, and no template names."""
        sources = (source for _, source in python_sources(self.grader))
        reads = frozenset[tuple[str, ...]]().union(*map(item_reads, sources))
        return tuple(sorted(reads.difference(self.templates)))

    @cached_property
    def keys(self) -> frozenset[str] | None:
        """The keys of the line that it reads; ``None`` when it reads deeper than these."""
        every = (*self.templates, *self.source)
        return frozenset(path[0] for path in every) if all(len(path) == 1 for path in every) else None


def reinforcement(value: Mapping[str, JSON], reads: Reads | None, vision: bool | None) -> Iterator[Finding]:
    """All that is the matter with one prompt."""
    yield from messages_in(value, "messages")
    tools = tools_of(value, "")
    yield from tools.findings
    messages = value.get("messages")
    if isinstance(messages, list | tuple) and messages:
        yield from _asked(messages, "messages", tools, {})
        yield from images(messages, "messages", vision)
        yield from weights_do_nothing(messages, "messages", _LEARNED_BY_REINFORCEMENT)
        yield from _last_user(roles(messages))
    references = [key for key in value if key not in OF_THE_FORMAT]
    for key in references:
        if not nameable(key):
            finding = f"no template can name {shown(key)}"
            yield breaks("reference", key, finding, "use letters, digits and _ only")
    if reads is not None:
        yield from _resolved(value, reads)
    elif not references:
        finding = "the line holds nothing to compare an answer with"
        yield Finding("info", "reference", "", finding, "add what the grader needs, such as 'answer'")


class Fields:
    """Which reference data the rows carry, to name those that lack what nearly all others have.

    For where no grader says what it reads. A field that is null or an empty text counts as lacking. Memory:
    eight bytes a row, and each different set of fields once.
    """

    def __init__(self) -> None:
        """No row seen yet."""
        self._rows: dict[frozenset[str], array[int]] = {}

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows, plain and other ones."""
        for row in rows:
            filled = (key for key, content in row.value.items() if not _is_blank(content))
            fields = frozenset(filled).difference(OF_THE_FORMAT)
            self._rows.setdefault(fields, array("q")).append(row.number)

    def merge(self, later: Self) -> None:
        """Take over what was seen in the stretch behind this one."""
        for fields, numbers in later._rows.items():
            self._rows.setdefault(fields, array("q")).extend(numbers)

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """Each field that nearly all rows have, with the rows that lack it."""
        having = Counter[str]()
        for fields, numbers in self._rows.items():
            having.update(dict.fromkeys(fields, len(numbers)))
        others = sum(map(len, self._rows.values())) - 1
        for name, number in sorted(having.items()):
            if number > others or others < _OTHERS or number < NEARLY_ALL * others:
                continue
            message = f"the row has no {name!r}, and {number:,} of {others:,} other rows do"
            fix = (
                "fill it in, or leave the row out: a grader that reads it would have nothing to compare with"
            )
            lacking = (rows for fields, rows in self._rows.items() if name not in fields)
            yield breaks("missing_field", "", message, fix), sorted(chain.from_iterable(lacking))


def _is_blank(content: JSON) -> bool:
    return content is None or (isinstance(content, str) and not content.strip())


def nameable(key: str) -> bool:
    """Whether a template can name this key: ``{{item.key}}``."""
    return _NAMEABLE.fullmatch(key) is not None


def grader_findings(grader: Mapping[str, JSON]) -> list[Finding]:
    """Tell me what is wrong with a grader's templates, whatever the lines hold."""
    found = list(_types(grader, "grader"))
    for path, text in template_texts(grader):
        for place in places(text):
            for level, finding, fix in _template(place):
                found.append(Finding(level, "template", path, finding, fix))
    return found


def response_format_findings(response_format: JSON) -> list[Finding]:
    """Tell me what is wrong with the response format of a reinforcement job."""
    return list(_response_format(response_format))


def _last_user(speakers: Sequence[JSON]) -> Iterator[Finding]:
    if speakers[-1] != "user":
        place = f"messages[{len(speakers) - 1}]"
        fix = "end with the user's message"
        if speakers[-1] == "assistant":
            fix += "; what the assistant should say belongs into a field for the grader"
        yield breaks("last_user", place, "the last message is not the user's", fix)


def _resolved(value: Mapping[str, JSON], reads: Reads) -> Iterator[Finding]:
    for path in (*reads.templates, *reads.source):
        if missing := _missing(value, path):
            level, what = "error", f"the grader reads {{{{item.{'.'.join(path)}}}}}"
            if path not in reads.templates:
                level = "warning"
                what = f"the grader's source reads item{''.join(f'[{name!r}]' for name in path)}"
            yield Finding(level, "template", missing[0], f"{what}, {missing[1]}", missing[2])


def _missing(value: Mapping[str, JSON], path: tuple[str, ...]) -> tuple[str, str, str] | None:
    """Place, finding and fix, when this path ends in nothing."""
    here: JSON = value
    for depth, name in enumerate(path):
        place = ".".join(path[:depth])
        if not isinstance(here, Mapping):
            return place, f"and this is {shown(here)}", f"write an object with the field {name!r}"
        if name not in here:
            right = meant(name, [key for key in here if depth or key not in OF_THE_FORMAT])
            fix = f"did you mean {right!r}" if right else "add the field, or change the grader"
            return place, f"and there is no {name!r}", fix
        here = here[name]
    if not _is_blank(here):
        return None
    found = "and it is null" if here is None else "and it is empty"
    return ".".join(path), found, "fill it in, or leave the example out"


def _types(grader: Mapping[str, JSON], path: str) -> Iterator[Finding]:
    kind = grader.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        right = meant(kind, tuple(TYPES)) if isinstance(kind, str) else None
        fix = f"did you mean {right!r}" if right else f"use {', '.join(TYPES)}"
        yield Finding("error", "template", f"{path}.type", f"{shown(kind)} is no type of grader", fix)
    inner = grader.get("graders")
    if kind == "multi":
        if not isinstance(inner, Mapping) or not inner:
            fix = 'write {"graders": {"name": {…}, …}, "calculate_output": …}'
            yield Finding("error", "template", f"{path}.graders", "a multi grader has no graders", fix)
            return
        for name, one in inner.items():
            here = f"{path}.graders.{name}"
            if isinstance(one, Mapping):
                yield from _types(one, here)
            else:
                yield Finding("error", "template", here, f"{shown(one)} is no grader", 'write {"type": …}')


def _template(place: Place) -> Iterator[tuple[str, str, str]]:
    """Level, finding and fix for one template."""
    if not place.path:
        finding = f"{shown(place.shown)} names no place"
        if "[" in place.shown:
            yield "error", finding, "templates take no index; give each line a field of its own for this"
        else:
            fix = "write {{item.field}} or {{sample.output_text}}, deeper fields with dots"
            yield "error", finding, fix
    elif place.path[0] == "sample" and place.path[1] not in READABLE:
        right = meant(place.path[1], READABLE)
        fix = f"did you mean {right!r}" if right else f"use {', '.join(READABLE)}"
        yield "error", f"a sample has no {place.path[1]!r}", fix
    elif place.path[0] == "sample" and len(place.path) > 2 and place.path[1] not in _DEEPER:
        fix = "use sample.output_json, and give the job a response format"
        yield "error", f"sample.{place.path[1]} is a text, with nothing below it", fix


def _response_format(given: JSON) -> Iterator[Finding]:
    path = "response_format"
    if not isinstance(given, Mapping):
        yield breaks("response_format", path, f"{shown(given)} is no response format", _WRAPPED)
        return
    wrapped = given.get("json_schema")
    if given.get("type") != "json_schema" or not isinstance(wrapped, Mapping):
        bare = "properties" in given or (given.get("type") == "object")
        finding = "this is a bare schema" if bare else "this is no json_schema format"
        yield breaks("response_format", path, finding, _WRAPPED)
        return
    path += ".json_schema"
    name = wrapped.get("name")
    if not isinstance(name, str) or not _SCHEMA_NAME.fullmatch(name):
        fix = "use 1 to 64 letters a to z, digits, _ and -"
        yield breaks("response_format", f"{path}.name", f"{shown(name)} is no name", fix)
    strict = wrapped.get("strict")
    if strict is not True:
        finding = f"strict is {shown(strict)}, so an answer may be other JSON"
        yield Finding("warning", "response_format", f"{path}.strict", finding, "set it to true")
    if "schema" not in wrapped:
        yield breaks("response_format", f"{path}.schema", "there is no schema", _WRAPPED)
    else:
        _, broken = schema_of(wrapped["schema"], f"{path}.schema")
        yield from (finding._replace(rule="response_format") for finding in broken)


# Lines that are plain: the shapes of most lines of most files.


def _turns(messages: JSON, last: str) -> bool:
    """At most one system message, then user and assistant in turn, each with a text and nothing else."""
    if type(messages) is not list and type(messages) is not tuple:
        return False
    before = ""
    for message in messages:
        if not is_simple(message):
            return False
        role = message["role"]
        if role == "assistant":
            if before != "user":
                return False
        elif role == "user":
            if before == "user":
                return False
        elif before:
            return False
        before = role
    return before == last


def _plain_pair(value: Mapping[str, JSON]) -> bool:
    given = value.get("input")
    if type(given) is not dict or len(given) != 1 or not _turns(given.get("messages"), "user"):
        return False
    said = []
    for key in OUTPUTS:
        output = value.get(key)
        if type(output) is not list and type(output) is not tuple:
            return False
        if len(output) != 1 or not is_simple(output[0]) or output[0]["role"] != "assistant":
            return False
        said.append(output[0]["content"])
    return normalised(said[0]) != normalised(said[1])


def _plain_references(value: Mapping[str, JSON], reads: Reads | None) -> bool:
    keys = reads.keys if reads is not None else frozenset[str]()
    if keys is None or len(value) == 1:
        return False
    for key, content in value.items():
        if key != "messages" and (key in OF_THE_FORMAT or not nameable(key)):
            return False
        if key in keys and _is_blank(content):
            return False
    return value.keys() >= keys
