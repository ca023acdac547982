"""What a client sends: bodies read within bounds and checked against a shape, pages asked for by the query.

A shape is a pydantic model that knows every field it accepts. Nothing is guessed and nothing
is ignored in silence.
"""

from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request
from starlette.responses import JSONResponse

from workbench.local.api.refusals import Refusal, invalid, too_large

MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_PAGE = 10_000
PROBLEMS_SHOWN = 5


class Shape(BaseModel):
    """A JSON object with known fields: strings are strings, numbers are finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


Asked = TypeVar("Asked", bound=Shape)


async def read_json(request: Request, shape: type[Asked]) -> Asked:
    """Read the body and check it; raises ``Refusal`` that names every field in error."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise too_large(MAX_JSON_BYTES)
    try:
        return shape.model_validate_json(bytes(body))
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


def show_page(rows: list[Any], more: bool) -> JSONResponse:
    """A list as the API shows it."""
    ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]} if rows else {"first_id": "", "last_id": ""}
    return JSONResponse({"object": "list", "data": rows, "has_more": more, **ends})


def _explain(problems: list[ErrorDetails]) -> Refusal:
    sentences = [_sentence(problem) for problem in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        sentences.append(f"({len(problems) - PROBLEMS_SHOWN} more.)")
    return invalid(" ".join(sentences), _place(problems[0]) or None)


def _place(problem: ErrorDetails) -> str:
    return ".".join(str(part) for part in problem["loc"])[:200]


def _sentence(problem: ErrorDetails) -> str:
    place, kind = _place(problem), problem["type"]
    if kind == "json_invalid":
        return f"The body is not valid JSON: {problem['msg'].removeprefix('Invalid JSON: ')}."
    if kind == "extra_forbidden":
        return f"Unknown parameter: '{place}'."
    if kind == "missing":
        return f"Missing required parameter: '{place}'."
    finding = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"Invalid '{place}': {finding}." if place else f"Invalid body: {finding}."
