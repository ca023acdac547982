"""What a client sends: bodies read within bounds and checked against a shape, pages asked for by the query.

A shape is a pydantic model that knows every field it accepts. Nothing is guessed and nothing
is ignored in silence.
"""

import math
import re
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, from_json
from starlette.requests import Request
from starlette.responses import JSONResponse

from workbench.local.api.dialects import dialect_of
from workbench.local.api.refusals import Refusal, invalid, too_large

MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_JSON_VALUES = 128 * 1024  # each may be wrong, and every mistake costs more than a right value
MAX_PAGE = 10_000
PROBLEMS_SHOWN = 5

# Never tried twice from the same place, so that a text which nothing ends takes no longer than another.
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)


class Shape(BaseModel):
    """A JSON object with known fields: strings are strings, numbers are finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


Asked = TypeVar("Asked", bound=Shape)
Order: TypeAlias = Literal["asc", "desc"]


async def read_json(request: Request, shape: type[Asked]) -> Asked:
    """Read the body and check it; raises ``Refusal`` that names every field in error."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise too_large(MAX_JSON_BYTES)
    _check_number_of_values(body)
    try:
        values = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise invalid(f"The body is not valid JSON: {error}.") from None
    _check_numbers(values)
    return check_shape(values, shape)


def check_shape(values: object, shape: type[Asked]) -> Asked:
    """Check what was sent; raises ``Refusal`` that names every field in error."""
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise _explain(error.errors(include_url=False, include_input=False)) from None


class PageAsked(NamedTuple):
    """The part of a list that a client wants."""

    after: str | None
    limit: int


def read_page(request: Request, *, default: int) -> PageAsked:
    """``after`` and ``limit`` of the query."""
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= MAX_PAGE):
        raise invalid(f"limit is a whole number from 1 to {MAX_PAGE}.", "limit")
    return PageAsked(request.query_params.get("after") or None, int(text))


def read_order(request: Request, *, default: Order) -> Order:
    """``order`` of the query: which comes first, the oldest or the newest."""
    order = request.query_params.get("order", default)
    if order not in ("asc", "desc"):
        raise invalid("order is asc or desc.", "order")
    return cast(Order, order)


def show_page(rows: list[Any], more: bool) -> JSONResponse:
    """A list with the ids of its ends, as OpenAI shows most of its lists."""
    ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]} if rows else {"first_id": "", "last_id": ""}
    return JSONResponse({"object": "list", "data": rows, "has_more": more, **ends})


def show_rows(request: Request, rows: list[Any], more: bool, *, ends: bool = False) -> JSONResponse:
    """A list as Azure shows it, without its ends; OpenAI's has them if ``ends`` says so."""
    if ends and dialect_of(request.scope) == "openai":
        return show_page(rows, more)
    return JSONResponse({"object": "list", "data": rows, "has_more": more})


def _check_number_of_values(body: bytearray) -> None:
    """Refuse more values than are looked at, before they take a hundred times the room they have here."""
    if _values(body) > MAX_JSON_VALUES and _values(_TEXT.sub(b"", body)) > MAX_JSON_VALUES:
        message = f"The request has more than {MAX_JSON_VALUES:,} values, the most that are read."
        raise Refusal(413, "invalidPayload", message)


def _values(json: bytes | bytearray) -> int:
    """About how many: each is followed by a comma, or the last one of a list or an object."""
    return sum(json.count(mark) for mark in b",[{")


def _check_numbers(body: object) -> None:
    """Refuse a number such as 1e999, which JSON could not repeat."""
    waiting = [body]
    while waiting:
        value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise invalid("The body has a number beyond every number; JSON numbers end at about 1.8e308.")
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _explain(problems: list[ErrorDetails]) -> Refusal:
    sentences = [_sentence(problem) for problem in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        sentences.append(f"({len(problems) - PROBLEMS_SHOWN} more.)")
    return invalid(" ".join(sentences), _place(problems[0]) or None)


def _place(problem: ErrorDetails) -> str:
    return ".".join(str(part) for part in problem["loc"])[:200]


def _sentence(problem: ErrorDetails) -> str:
    place, kind = _place(problem), problem["type"]
    if kind == "extra_forbidden":
        return f"Unknown parameter: '{place}'."
    if kind == "missing":
        return f"Missing required parameter: '{place}'."
    finding = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"Invalid '{place}': {finding}." if place else f"Invalid body: {finding}."
