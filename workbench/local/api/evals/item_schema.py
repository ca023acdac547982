"""What runs in a sandbox: items held against the schema of their eval.

A schema is a stranger's program: a pattern or a chain of references can keep a processor busy for years.
This text is sent to a sandbox as if it were a python grader, so it uses nothing of the workbench.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

_found = ""


def grade(sample: object, asked: Mapping[str, Any]) -> int:
    """The number of the first item that breaks the schema; -1: none does, -2: the schema itself is none."""
    global _found
    schema, items = asked["schema"], asked["items"]
    if not items:
        _found = _problem(Draft202012Validator.META_SCHEMA, schema)
        return -2 if _found else -1
    for number, item in enumerate(items):
        _found = _problem(schema, item)
        if _found:
            return number
    return -1


def explain(sample: object, asked: object) -> str:
    """The path of the finding in the item (or the schema), a line break, and the finding."""
    return _found


def _problem(schema: Mapping[str, Any], value: object) -> str:
    try:
        registry: Registry[Any] = Registry()  # of nothing: nothing is fetched
        error = next(Draft202012Validator(schema, registry=registry).iter_errors(value), None)
    except (Unresolvable, RecursionError, ValueError, ArithmeticError, re.error):
        return "\ncannot be held against it; write it flatter, and without references"
    return f"{_path(error.absolute_path)}\n{error.message[:200]}" if error else ""


def _path(parts: Sequence[object]) -> str:
    return "".join(f".{part}" for part in parts)[:200]
