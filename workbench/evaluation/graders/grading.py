"""Graders: what makes an answer right, written in OpenAI's own grader JSON.

A grader is a plain mapping, the same for a measurement here and for a job on a
service. ``grader("gql")`` gives a ready-made one, ``check_grader`` says what is
wrong with one of yours, ``grade`` scores one answer. A python grader runs in
this process, because it is the user's own code; it is not a sandbox, so do not
grade with code of a stranger here.
"""

import functools
import hashlib
import inspect
import json
import math
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import TypeAlias

from workbench.dataset.templates import Place, filled, places, value_at
from workbench.errors import DataError
from workbench.evaluation.graders import gql

Grader: TypeAlias = Mapping[str, object]
"""OpenAI's grader JSON, for example ``{"type": "string_check", "name": …, …}``."""

# Required fields besides "type", as in openai.types.graders; all of them are texts.
_FIELDS = {
    "string_check": ("name", "input", "reference", "operation"),
    "python": ("name", "source"),
}
# "like" and "ilike" ask whether the input contains the reference.
_OPERATIONS: Mapping[str, Callable[[str, str], bool]] = {
    "eq": lambda text, reference: text == reference,
    "ne": lambda text, reference: text != reference,
    "like": lambda text, reference: reference in text,
    "ilike": lambda text, reference: reference.casefold() in text.casefold(),
}
_SOURCE_LIMIT = 256 * 1024  # bytes; the service's own limit for python graders


def grader(name: str) -> dict[str, object]:
    """Give me the ready-made grader of this name.

    ``exact``: the answer is the reference, letter by letter (both without the
    white space around them, which ``evaluate`` takes away before grading).
    ``gql``: it is a query of the sample language that means the same.
    ``gql_valid``: it is a query of the sample language at all.
    """
    ready = _ready()
    if name not in ready:
        raise DataError(f"There is no ready-made grader {name!r}; there are {', '.join(ready)}.")
    return ready[name]


def check_grader(grader: Grader, items: Iterable[Mapping[str, object]] = ()) -> None:
    """Tell me what is wrong with my grader, and with the items it will read, before anything is paid.

    Raises ``DataError`` with the path of the finding (``grader.operation``), or
    with the template that an item cannot fill.
    """
    if not isinstance(grader, Mapping):
        raise DataError(
            f"A grader is a mapping in OpenAI's JSON, not {type(grader).__name__}; "
            f'take a ready-made one with grader("exact"), or write {{"type": "string_check", …}}.'
        )
    kind = grader.get("type")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise DataError(f"grader.type is {kind!r}; this version grades {' and '.join(_FIELDS)}.")
    for field in _FIELDS[kind]:
        value = grader.get(field)
        if not isinstance(value, str) or not value.strip():
            finding = "is missing" if field not in grader else f"is {value!r}"
            raise DataError(f"grader.{field} {finding}; a {kind} grader needs a text there.")
    if kind == "python":
        _loaded(_text(grader, "name"), _text(grader, "source"))
        return
    if grader["operation"] not in _OPERATIONS:
        raise DataError(f"grader.operation is {grader['operation']!r}; use {', '.join(_OPERATIONS)}.")
    every = [place for field in ("input", "reference") for place in _places(grader, field)]
    for item in items:
        for shown, path in every:
            if path[0] == "item" and value_at(path, {"item": item}) is None:
                raise DataError(_unfilled(grader, shown, item))


def grade(grader: Grader, output_text: str, item: Mapping[str, object]) -> float:
    """Score one answer against its item: 1.0 is right and 0.0 is wrong, between them as the grader says.

    A template that reads JSON from an answer which is none
    (``{{sample.output_json.total}}``) makes that answer wrong: 0.0. An item
    without the field that a template names, or a python grader that raises or
    gives no finite number, is a ``DataError``.
    """
    check_grader(grader)
    sample = _sample(output_text)
    if grader["type"] == "python":
        return _run(grader, sample, item)
    texts = [_filled(grader, field, sample, item) for field in ("input", "reference")]
    if texts[0] is None or texts[1] is None:
        return 0.0
    return float(_OPERATIONS[_text(grader, "operation")](texts[0], texts[1]))


def _ready() -> dict[str, dict[str, object]]:
    """Write the ready-made graders, new ones at each call, so that changing one changes no other."""
    exact = {
        "type": "string_check",
        "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
        "operation": "eq",
    }
    # The parser's own text travels in the grader, so that a service far away can run it too;
    # it ends in grade(), and a second grade() below it takes its place.
    source = inspect.getsource(gql)
    valid = '\n\ndef grade(sample, item):\n    return float(problem(sample["output_text"]) is None)\n'
    return {
        "exact": {"name": "exact", **exact},
        "gql": {"name": "gql", "type": "python", "source": source},
        "gql_valid": {"name": "gql_valid", "type": "python", "source": source + valid},
    }


def _text(grader: Grader, field: str) -> str:
    return str(grader[field])


def _sample(output_text: str) -> dict[str, object]:
    """Show the answer as a service shows it to graders; ``output_json`` is None when it is not JSON."""
    try:
        output_json = json.loads(output_text)
    except (ValueError, RecursionError):  # an answer of a thousand brackets is no JSON either
        output_json = None
    message = {"role": "assistant", "content": output_text}
    return {
        "output_text": output_text,
        "output_json": output_json,
        "output_tools": [],
        "choices": [{"message": message}],
    }


def _places(grader: Grader, field: str) -> tuple[Place, ...]:
    """Find the templates of a field, all of which must name a place."""
    found = places(_text(grader, field))
    for place in found:
        if not place.path:
            raise DataError(
                f"grader.{field} has the template {place.shown}; "
                "write {{item.field}} or {{sample.output_text}}, deeper fields with dots."
            )
    return found


def _filled(
    grader: Grader, field: str, sample: Mapping[str, object], item: Mapping[str, object]
) -> str | None:
    """Fill the templates of a field; None when the answer lacks what one of them reads."""
    found = {}
    for shown, path in _places(grader, field):
        found[shown] = value_at(path, {"sample": sample, "item": item})
        if found[shown] is None and path[0] == "item":
            raise DataError(_unfilled(grader, shown, item))
    if None in found.values():
        return None
    return filled(_text(grader, field), lambda shown: _written(found[shown]))


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _unfilled(grader: Grader, shown: str, item: Mapping[str, object]) -> str:
    return (
        f"grader {grader['name']!r}: {shown} finds nothing in item {_name(item)}; it has {', '.join(item)}."
    )


def _name(item: Mapping[str, object]) -> str:
    return str(item.get("origin") or item.get("question") or "without a name")


@functools.lru_cache(maxsize=64)
def _loaded(name: str, source: str) -> types.ModuleType:
    """Compile a source once; it becomes a module of its own, because dataclasses look theirs up."""
    size = len(source.encode())
    if size > _SOURCE_LIMIT:
        raise DataError(f"grader {name!r}: grader.source has {size:,} bytes; at most {_SOURCE_LIMIT:,} run.")
    module = types.ModuleType(f"grader_{hashlib.sha256(source.encode()).hexdigest()[:16]}")
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, f"<{module.__name__}>", "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # the user may raise anything
        raise DataError(f"grader {name!r}: grader.source does not load: {_told(error, module)}.") from error
    if not callable(getattr(module, "grade", None)):
        raise DataError(f"grader {name!r}: grader.source defines no function grade(sample, item); add one.")
    return module


def _run(grader: Grader, sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    name = _text(grader, "name")
    module = _loaded(name, _text(grader, "source"))
    try:
        score = module.grade(sample, dict(item))
    except (Exception, SystemExit) as error:  # the user may raise anything
        told = _told(error, module)
        raise DataError(f"grader {name!r} stopped at item {_name(item)}: {told}.") from error
    if not isinstance(score, Real) or not math.isfinite(score):
        raise DataError(
            f"grader {name!r} gave {score!r} for item {_name(item)}; grade must return a finite number."
        )
    return float(score)


def _told(error: BaseException, module: types.ModuleType) -> str:
    """Name an error of the user's code with its line in ``grader.source``."""
    told = f"{type(error).__name__}: {error}".removesuffix(": ")
    if isinstance(error, SyntaxError):
        return told
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == f"<{module.__name__}>"]
    return f"{told}, line {lines[-1]} of grader.source" if lines else told
