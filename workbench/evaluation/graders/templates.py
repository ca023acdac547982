"""The templates of graders: ``{{item.answer}}``, ``{{ sample.output_json.total }}``.

A template names a place with dots, in ``item`` (the line of the file) or in ``sample`` (the model's answer),
with or without spaces and without indexes, as the service's documents advise. What a python grader reads of
the item is found in its source.
"""

import ast
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from workbench.evaluation.graders.sandboxed import READABLE

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


@lru_cache(maxsize=512)
def known_places(text: str) -> tuple[Place, ...]:
    """The same, kept for the texts of 512 graders."""
    return places(text)


def misplaced(place: Place) -> str:
    """What is wrong with a template, whatever the items hold; empty when nothing is."""
    if not place.path:
        return (
            f"{place.shown}; write {{{{item.field}}}} or {{{{sample.output_text}}}}, deeper fields with dots"
        )
    if place.path[0] == "sample" and place.path[1] not in READABLE:
        return f"{place.shown}; a sample has {', '.join(READABLE)}"
    if place.path[0] == "sample" and len(place.path) > 2 and place.path[1] != "output_json":
        return f"{place.shown}; only output_json has named fields below it"
    return ""


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
