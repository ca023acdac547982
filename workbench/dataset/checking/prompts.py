"""What the format asks of a prompt for reinforcement: it ends with the user, and the grader finds its fields.

Every other key of the line is reference data, which the grader reads as ``item.<key>``. What is
the matter with the grader or the response format itself is told once, not at every line.
Rules: Microsoft Learn, "Reinforcement fine-tuning" (10/05/2026) and its preparation page (10/07/2026).
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Self

from workbench.dataset import templates
from workbench.dataset.checking.calls import calls, pairing
from workbench.dataset.checking.chat import conversation, messages_in, roles, weights_do_nothing
from workbench.dataset.checking.images import images
from workbench.dataset.checking.schemas import schema_of
from workbench.dataset.checking.tools import tools_of
from workbench.dataset.checking.wording import meant, shown
from workbench.dataset.examples import JSON
from workbench.dataset.rows import Finding, Row, Source

OF_THE_FORMAT = ("messages", "tools", "parallel_tool_calls", "functions")
GRADERS = ("string_check", "text_similarity", "score_model", "label_model", "python", "multi", "endpoint")

NEARLY_ALL = 0.9  # of the other rows have a field that a row lacks: then it is missed (a proposal of ours)
_OTHERS = 5  # fewer other rows show no habit

# What a grader is shown of an answer; places below the first three names are the answer's own.
_SAMPLE = ("output_text", "output_json", "output_tools", "output_reasoning_summary", "choices")
_DEEPER = ("output_json", "output_tools", "choices")
_NAMEABLE = re.compile(r"\w+")
_SCHEMA_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_LEARNED = "the answers that are learned from are the model's own"
_WRAPPED = 'wrap it: {"type": "json_schema", "json_schema": {"name": …, "strict": true, "schema": {…}}}'


@dataclass(frozen=True)
class Reads:
    """What a grader reads of every line."""

    grader: Mapping[str, JSON]

    @cached_property
    def templates(self) -> tuple[tuple[str, ...], ...]:
        """The places that its templates name."""
        return tuple(sorted(templates.item_fields(self.grader)))

    @cached_property
    def source(self) -> tuple[tuple[str, ...], ...]:
        """The places that its Python source reads, and no template names."""
        sources = (source for _, source in templates.python_sources(self.grader))
        reads = frozenset[tuple[str, ...]]().union(*map(templates.item_reads, sources))
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
        yield from conversation(messages, "messages")
        yield from calls(messages, "messages", tools)
        yield from pairing(messages, "messages", {})
        yield from images(messages, "messages", vision)
        yield from weights_do_nothing(messages, "messages", _LEARNED)
        yield from _last_user(roles(messages))
    references = [key for key in value if key not in OF_THE_FORMAT]
    for key in references:
        if not nameable(key):
            finding = f"no template can name {shown(key)}"
            yield Finding("warning", "reference", key, finding, "use letters, digits and _ only")
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

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
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
            yield Finding("warning", "missing_field", "", message, fix), sorted(chain.from_iterable(lacking))


def _is_blank(content: JSON) -> bool:
    return content is None or (isinstance(content, str) and not content.strip())


def nameable(key: str) -> bool:
    """Whether a template can name this key: ``{{item.key}}``."""
    return _NAMEABLE.fullmatch(key) is not None


def grader_findings(grader: Mapping[str, JSON]) -> list[Finding]:
    """Tell me what is wrong with a grader's templates, whatever the lines hold."""
    found = list(_types(grader, "grader"))
    for path, text in templates.texts(grader):
        for place in templates.places(text):
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
        yield Finding("error", "last_user", place, "the last message is not the user's", fix)


def _resolved(value: Mapping[str, JSON], reads: Reads) -> Iterator[Finding]:
    for path in reads.templates:
        missing = _missing(value, path)
        if missing:
            what = f"the grader reads {{{{item.{'.'.join(path)}}}}}"
            yield Finding("error", "template", missing[0], f"{what}, {missing[1]}", missing[2])
    for path in reads.source:
        missing = _missing(value, path)
        if missing:
            what = f"the grader's source reads item{''.join(f'[{name!r}]' for name in path)}"
            yield Finding("warning", "template", missing[0], f"{what}, {missing[1]}", missing[2])


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
    if here is None:
        return ".".join(path), "and it is null", "fill it in, or leave the example out"
    if isinstance(here, str) and not here.strip():
        return ".".join(path), "and it is empty", "fill it in, or leave the example out"
    return None


def _types(grader: Mapping[str, JSON], path: str) -> Iterator[Finding]:
    kind = grader.get("type")
    if kind not in GRADERS:
        right = meant(kind, GRADERS) if isinstance(kind, str) else None
        fix = f"did you mean {right!r}" if right else f"use {', '.join(GRADERS)}"
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


def _template(place: templates.Place) -> Iterator[tuple[str, str, str]]:
    """Level, finding and fix for one template."""
    if not place.path:
        finding = f"{shown(place.shown)} names no place"
        if "[" in place.shown:
            yield "error", finding, "templates take no index; give each line a field of its own for this"
        else:
            fix = "write {{item.field}} or {{sample.output_text}}, deeper fields with dots"
            yield "error", finding, fix
    elif place.path[0] == "sample" and place.path[1] not in _SAMPLE:
        right = meant(place.path[1], _SAMPLE)
        fix = f"did you mean {right!r}" if right else f"use {', '.join(_SAMPLE)}"
        yield "error", f"a sample has no {place.path[1]!r}", fix
    elif place.path[0] == "sample" and len(place.path) > 2 and place.path[1] not in _DEEPER:
        fix = "use sample.output_json, and give the job a response format"
        yield "error", f"sample.{place.path[1]} is a text, with nothing below it", fix


def _response_format(given: JSON) -> Iterator[Finding]:
    path = "response_format"
    if not isinstance(given, Mapping):
        yield Finding("error", "response_format", path, f"{shown(given)} is no response format", _WRAPPED)
        return
    wrapped = given.get("json_schema")
    if given.get("type") != "json_schema" or not isinstance(wrapped, Mapping):
        bare = "properties" in given or (given.get("type") == "object")
        finding = "this is a bare schema" if bare else "this is no json_schema format"
        yield Finding("error", "response_format", path, finding, _WRAPPED)
        return
    path += ".json_schema"
    name = wrapped.get("name")
    if not isinstance(name, str) or not _SCHEMA_NAME.fullmatch(name):
        fix = "use 1 to 64 letters a to z, digits, _ and -"
        yield Finding("error", "response_format", f"{path}.name", f"{shown(name)} is no name", fix)
    strict = wrapped.get("strict")
    if strict is not True:
        finding = f"strict is {shown(strict)}, so an answer may be other JSON"
        yield Finding("warning", "response_format", f"{path}.strict", finding, "set it to true")
    if "schema" not in wrapped:
        yield Finding("error", "response_format", f"{path}.schema", "there is no schema", _WRAPPED)
    else:
        _, broken = schema_of(wrapped["schema"], f"{path}.schema")
        yield from (finding._replace(rule="response_format") for finding in broken)
