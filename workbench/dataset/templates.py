"""The templates of graders: ``{{item.answer}}``, ``{{ sample.output_json.total }}``.

A template names a place with dots: in ``item`` (the line of the file) or in
``sample`` (what the model said). The service's documents write them with
spaces and without, and warn of indexes such as ``[0]``; we read both spellings
and no index. What a python grader reads of the item is found in its source.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PLACE = re.compile(r"\s*(item|sample)((?:\.\w+)+)\s*")


class Place(NamedTuple):
    """One template of a text."""

    shown: str
    """As it stands there: ``{{ item.meta.answer }}``."""
    path: tuple[str, ...]
    """``("item", "meta", "answer")``; empty for a template that names no place."""


def places(text: str) -> tuple[Place, ...]:
    """Which templates does this text have, in order?"""
    return tuple(_place(match) for match in _TEMPLATE.finditer(text, 0, _end(text)))


def filled(text: str, written: Callable[[str], str]) -> str:
    """The text with each template replaced by what ``written`` gives for it."""
    end = _end(text)
    return _TEMPLATE.sub(lambda match: written(match[0]), text[:end]) + text[end:]


def value_at(path: tuple[str, ...], values: Mapping[str, object]) -> object:
    """What stands at a path; ``None`` where there is nothing."""
    value: object = values
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def texts(grader: Mapping[str, object], path: str = "grader") -> Iterator[tuple[str, str]]:
    """The texts of a grader that may hold templates, each with its path.

    A multi grader has those of all graders in it; a python grader has none.
    """
    for field in ("input", "reference"):
        value = grader.get(field)
        if isinstance(value, str):
            yield f"{path}.{field}", value
        elif isinstance(value, list | tuple):
            for number, message in enumerate(value):
                yield from _said(message, f"{path}.{field}[{number}]")
    for name, inner in _graders_in(grader):
        yield from texts(inner, f"{path}.graders.{name}")


def item_fields(grader: Mapping[str, object]) -> frozenset[tuple[str, ...]]:
    """The places of an item that the templates of a grader name: ``{("meta", "answer")}``."""
    every = (place for _, text in texts(grader) for place in places(text))
    return frozenset(place.path[1:] for place in every if place.path[:1] == ("item",))


def python_sources(grader: Mapping[str, object], path: str = "grader") -> Iterator[tuple[str, str]]:
    """The sources of a grader and of those in it, each with its path."""
    source = grader.get("source")
    if grader.get("type") == "python" and isinstance(source, str):
        yield f"{path}.source", source
    for name, inner in _graders_in(grader):
        yield from python_sources(inner, f"{path}.graders.{name}")


@lru_cache(maxsize=64)
def item_reads(source: str) -> frozenset[tuple[str, ...]]:
    """The places of an item that a python grader's source reads: ``item["meta"]["answer"]``.

    ``item.get("answer")`` counts, ``item.get("answer", "")`` does not: it has a value for its absence.
    A source that does not compile reads nothing; graders that do not load are told elsewhere.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    reads: set[tuple[str, ...]] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name == "grade":
            arguments = [argument.arg for argument in function.args.args]
            item = arguments[1] if len(arguments) > 1 else "item"
            reads.update(filter(None, (_read(node, item) for node in ast.walk(function))))
    # Of item["meta"]["answer"] only the whole is told, not item["meta"] again.
    return frozenset(read for read in reads if not any(o[: len(read)] == read and o != read for o in reads))


def _end(text: str) -> int:
    """Where the last template ends; a million brackets that nothing closes are not tried one by one."""
    return text.rfind("}}") + 2 if "}}" in text else 0


def _place(match: re.Match[str]) -> Place:
    place = _PLACE.fullmatch(match[1])
    return Place(match[0], (place[1], *place[2].split(".")[1:]) if place else ())


def _said(message: object, path: str) -> Iterator[tuple[str, str]]:
    """The texts of one message to a grading model, whose content is a text, a part or a list of parts."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, str):
        yield f"{path}.content", content
    elif isinstance(content, Mapping):
        if isinstance(content.get("text"), str):
            yield f"{path}.content.text", content["text"]
    elif isinstance(content, list | tuple):
        for number, part in enumerate(content):
            text = part.get("text") if isinstance(part, Mapping) else None
            if isinstance(text, str):
                yield f"{path}.content[{number}].text", text


def _graders_in(grader: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    inner = grader.get("graders")
    if isinstance(inner, Mapping):
        yield from ((name, value) for name, value in inner.items() if isinstance(value, Mapping))


def _read(node: ast.AST, item: str) -> tuple[str, ...]:
    """The path that an expression reads of the item; empty when it reads none."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        before, key = node.value, node.slice
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and len(node.args) == 1
        and not node.keywords
    ):
        before, key = node.func.value, node.args[0]
    else:
        return ()
    if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
        return ()
    if isinstance(before, ast.Name) and before.id == item:
        return (key.value,)
    above = _read(before, item)
    return (*above, key.value) if above else ()
