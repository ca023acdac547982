"""Graders by name: ready-made ones, and a user's own in a Python or JSON file.

Each is plain grader JSON that any service can run as it stands.
"""

import ast
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import DataError, did_you_mean
from workbench.evaluation.graders.grades import BadGraderError
from workbench.evaluation.graders.grading import check_grader
from workbench.settings import ROOT

_SOURCES = Path(__file__).parent / "sources"
_NAMES = ("exact", "normalised", "contains", "regex", "json_schema", "numeric")
# A file of the user's own; behind a colon the function that grades, where it is not grade().
_FILE = re.compile(r"(.+\.(?:py|json))(?::(\w+))?", re.DOTALL)
_OPTIONS = {"regex": "pattern", "json_schema": "schema", "numeric": "tolerance"}


def grader(
    name: str | Path,
    *,
    schema: Mapping[str, object] | None = None,
    tolerance: float | None = None,
    pattern: str | None = None,
) -> dict[str, object]:
    """Give me the ready-made grader of this name, or my own in the file of this path.

    The ready-made ones compare the answer with ``item.answer``:

    ``exact``: the same text (both without the white space around them, which ``evaluate`` takes away).
    ``normalised``: the same but for capitals, punctuation, white space and English articles (SQuAD's rule).
    ``contains``: the reference stands somewhere in the answer, word for word.
    ``regex``: the regular expression ``pattern`` is found in the answer.
    ``json_schema``: the answer is JSON and follows ``schema``.
    ``numeric``: the last number of the answer is the reference's, within ``tolerance`` (default: none).

    ``mine.json`` holds a grader in OpenAI's JSON, or a ready-made one with its option:
    ``{"name": "regex", "pattern": "^[A-Z]+$"}``. ``mine.py`` defines ``grade(sample, item)``, which returns
    a number for ``sample["output_text"]``, and perhaps ``explain(sample, item)``; ``mine.py:valid`` grades by
    its function ``valid``. Such a file runs on its own in a sandbox, here or at a service, so it imports
    installed packages only, no file beside it. A relative path counts from the current folder, else from
    the repository's.

    New at each call, so that changing one changes no other. Raises ``DataError`` for an unknown name, an
    option that is missing or of another grader, a pattern or schema that is none, and a file that holds no
    grader.
    """
    if file := _FILE.fullmatch(str(name)):
        if schema is not None or tolerance is not None or pattern is not None:
            raise DataError(f"{name} takes no schema, tolerance or pattern; write them into the file.")
        return _of_file(file[1], file[2])
    if name not in _NAMES:
        raise DataError(
            f"There is no ready-made grader {name!r}.{did_you_mean(str(name), _NAMES)} There are "
            f"{', '.join(_NAMES)}, and your own by its file, such as mine.py or mine.json."
        )
    given = {"schema": schema, "tolerance": tolerance, "pattern": pattern}
    for option, value in given.items():
        if value is not None and _OPTIONS.get(str(name)) != option:
            raise DataError(f"The grader {name!r} takes no {option}; leave it out.")
    if name in ("exact", "contains"):
        return {
            "name": name,
            "type": "string_check",
            "input": "{{sample.output_text}}",
            "reference": "{{item.answer}}",
            "operation": "eq" if name == "exact" else "like",
        }
    # The whole text travels in the grader, so that a service far away can run it too.
    source = (_SOURCES / f"{name}.py").read_text(encoding="utf-8")
    if name == "regex":
        source += f"\n\nPATTERN = {_pattern(pattern)!r}\n"
    if name == "json_schema":
        source += f"\n\nSCHEMA = json.loads({json.dumps(_schema(schema))!r})\n"
    if tolerance is not None:
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise DataError(
                f"tolerance is {tolerance!r}; give the largest difference that is right, 0 or more."
            )
        source += f"\n\nTOLERANCE = {float(tolerance)!r}\n"
    return {"name": name, "type": "python", "source": source}


def _of_file(given: str, function: str | None) -> dict[str, object]:
    """A user's own grader, checked: a Python source is loaded once, in a sandbox."""
    path = Path(given).expanduser()
    path = path if path.exists() else ROOT / path
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{given} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{given} is not UTF-8 text; save it as UTF-8.") from error
    found: dict[str, object] = {"name": path.stem, "type": "python", "source": text}
    if path.suffix == ".json":
        found = _object(given, text, function)
        if "type" not in found and found.get("name") in _NAMES:
            return _with_options(given, found)
    else:
        _need_function(given, text, function or "grade")
    if function not in (None, "grade"):
        # The last assignment counts; what explains grade() does not explain another function.
        source = f"{text}\n\ngrade, explain = {function}, None\n"
        found |= {"name": f"{path.stem}_{function}", "source": source}
    try:
        check_grader(found)
    except BadGraderError as error:
        raise DataError(f"{given}: {error}") from None
    return found


def _object(given: str, text: str, function: str | None) -> dict[str, object]:
    if function is not None:
        raise DataError(f"{given} is JSON and has no function {function!r}; give {given} alone.")
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{given} is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise DataError(
            f'{given} should hold one grader, a JSON object such as {{"type": "string_check", …}}.'
        )
    return found


def _with_options(given: str, found: Mapping[str, object]) -> dict[str, object]:
    """A ready-made grader with its option in a file: ``{"name": "regex", "pattern": "^[A-Z]+$"}``."""
    options: dict[str, Any] = {option: value for option, value in found.items() if option != "name"}
    kinds = {"pattern": str, "schema": dict, "tolerance": int | float}
    for option, value in options.items():
        if option not in kinds or not isinstance(value, kinds[option]):
            raise DataError(
                f"{given} gives {found['name']} {option} = {value!r}; it may give a pattern (text), a schema "
                "(object) or a tolerance (number)."
            )
    return grader(str(found["name"]), **options)


def _need_function(given: str, text: str, function: str) -> None:
    """Whether the file defines it; what it does when it is loaded is for the sandbox to find."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise DataError(f"{given}{line} is not Python: {error.args[0]}.") from None
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if function not in names:
        raise DataError(
            f"{given} has no function {function}(sample, item); it defines {', '.join(names) or 'none'}. "
            f"Add it, or name another one: {Path(given).name}:NAME."
        )


def _pattern(pattern: str | None) -> str:
    if not pattern:
        raise DataError(
            'The grader "regex" needs a pattern: pattern=r"^\\d{5}$" in Python; in project.toml and in a '
            'shell name a file, mine.json, that holds {"name": "regex", "pattern": "^[0-9]{5}$"}.'
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise DataError(f"pattern is no regular expression: {error}.") from None
    return pattern


def _schema(schema: Mapping[str, object] | None) -> Mapping[str, object]:
    if schema is None:
        raise DataError(
            'The grader "json_schema" needs a schema: schema={"type": "object", …} in Python; in '
            "project.toml and in a shell name a file, mine.json, that holds "
            '{"name": "json_schema", "schema": {…}}.'
        )
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(dict(schema))
    except SchemaError as error:
        raise DataError(f"schema is no JSON schema: {error.json_path}: {error.message[:200]}.") from None
    return schema
