"""Ready-made graders: plain grader JSON that any service can run as it stands."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

from workbench.errors import DataError

_SOURCES = Path(__file__).parent / "sources"
_GQL = Path(__file__).parent / "gql.py"
# Below the parser's own text; a second grade() takes the place of the first.
_VALID = """

def grade(sample, item):
    return float(problem(sample["output_text"]) is None)


def explain(sample, item):
    return problem(sample["output_text"]) or "a valid query"
"""
_NAMES = ("exact", "normalised", "contains", "regex", "json_schema", "numeric", "gql", "gql_valid")
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "regex": ("pattern",),
    "json_schema": ("schema",),
    "numeric": ("tolerance",),
}


def grader(
    name: str,
    *,
    schema: Mapping[str, object] | None = None,
    tolerance: float | None = None,
    pattern: str | None = None,
) -> dict[str, object]:
    """Give me the ready-made grader of this name; it compares the answer with ``item.answer``.

    ``exact``: letter by letter (both without the white space around them, which ``evaluate`` takes away).
    ``normalised``: the same but for capitals, punctuation, white space and English articles (SQuAD's rule).
    ``contains``: the reference stands somewhere in the answer, letter by letter.
    ``regex``: the regular expression ``pattern`` is found in the answer.
    ``json_schema``: the answer is JSON and follows ``schema``.
    ``numeric``: the last number of the answer is the reference's, within ``tolerance`` (default: none).
    ``gql``: it is a query of the sample language that means the same.
    ``gql_valid``: it is a query of the sample language at all.

    New at each call, so that changing one changes no other. Raises ``DataError`` for an unknown name, an
    option that is missing or of another grader, and a pattern or schema that is none.
    """
    if name not in _NAMES:
        raise DataError(f"There is no ready-made grader {name!r}; there are {', '.join(_NAMES)}.")
    given = {"schema": schema, "tolerance": tolerance, "pattern": pattern}
    for option, value in given.items():
        if value is not None and option not in _OPTIONS.get(name, ()):
            raise DataError(f"The grader {name!r} takes no {option}; leave it out.")
    if name in ("exact", "contains"):
        return {
            "name": name,
            "type": "string_check",
            "input": "{{sample.output_text}}",
            "reference": "{{item.answer}}",
            "operation": "eq" if name == "exact" else "like",
        }
    return {"name": name, "type": "python", "source": _source(name, schema, tolerance, pattern)}


def _source(
    name: str, schema: Mapping[str, object] | None, tolerance: float | None, pattern: str | None
) -> str:
    """The whole text travels in the grader, so that a service far away can run it too."""
    if name.startswith("gql"):
        return _read(_GQL) + (_VALID if name == "gql_valid" else "")
    source = _read(_SOURCES / f"{name}.py")
    if name == "regex":
        return f"{source}\n\nPATTERN = {_pattern(pattern)!r}\n"
    if name == "json_schema":
        return f"{source}\n\nSCHEMA = json.loads({json.dumps(_schema(schema))!r})\n"
    if name == "numeric" and tolerance is not None:
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise DataError(
                f"tolerance is {tolerance!r}; give the largest difference that is right, 0 or more."
            )
        return f"{source}\n\nTOLERANCE = {float(tolerance)!r}\n"
    return source


def _pattern(pattern: str | None) -> str:
    if not pattern:
        raise DataError('The grader "regex" needs a pattern, such as pattern=r"^\\d{5}$".')
    try:
        re.compile(pattern)
    except re.error as error:
        raise DataError(f"pattern is no regular expression: {error}.") from None
    return pattern


def _schema(schema: Mapping[str, object] | None) -> Mapping[str, object]:
    if schema is None:
        raise DataError('The grader "json_schema" needs a schema, such as schema={"type": "object", …}.')
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(dict(schema))
    except SchemaError as error:
        raise DataError(f"schema is no JSON schema: {error.json_path}: {error.message[:200]}.") from None
    return schema


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
