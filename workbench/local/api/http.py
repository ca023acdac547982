"""What every route shares: reading a request, refusals, fault injection, and the two dialects of answers."""

import math
import re
import sqlite3
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, from_json
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workbench.errors import DataError, SetupError
from workbench.evaluation.graders.grades import BadGraderError
from workbench.local.chat_protocol import Refusal
from workbench.local.emulation import HEADER, NONE, Emulation, Faults, read_faults, seconds
from workbench.local.store.database import is_disk_full
from workbench.local.store.rows import JSON, Event, Job, Order

Found = TypeVar("Found")

# How the service says no: an error with a sentence that says what to do.
#
# The codes are those that Azure documents; the shape is that of the address.


def invalid(message: str, param: str | None = None) -> Refusal:
    """The request itself is wrong."""
    return Refusal(400, "invalidPayload", message, param)


def not_found(what: str, name: str, param: str | None = None) -> Refusal:
    """The request names something that is not here."""
    message = f"The resource is not found: this service has no {what} {name[:80]!r}."
    return Refusal(404, "notFound", message, param)


def known(found: Found | None, what: str, name: str, param: str | None = None) -> Found:
    """What was found under a name; raises ``Refusal`` when that is nothing."""
    if found is None:
        raise not_found(what, name, param)
    return found


def too_large(limit: int) -> Refusal:
    """The request has more bytes than are read."""
    message = f"The request is larger than {limit:,} bytes, the most that is read."
    return Refusal(413, "invalidPayload", message)


def respond(refusal: Refusal, scope: Mapping[str, Any]) -> JSONResponse:
    """The refusal as the client gets it."""
    # The openai client repeats 429 and 5xx by itself; what would fail again is not worth it.
    headers = {"x-should-retry": "true" if refusal.status == 503 else "false"}
    if refusal.retry_after is not None:
        headers = {"retry-after": str(refusal.retry_after)}
    return JSONResponse(show_error(refusal, scope), refusal.status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    path = request.url.path[:80]
    match error:
        case Refusal():
            refusal = error
        case DataError():
            refusal = invalid(str(error))
        case HTTPException(status_code=404):
            refusal = Refusal(404, "notFound", f"The resource is not found: there is nothing at {path}.")
        case HTTPException(status_code=405):
            refusal = Refusal(405, "methodNotAllowed", f"{path} does not know {request.method}.")
        case HTTPException(status_code=status, detail=detail):
            refusal = Refusal(status, "invalidPayload", detail)
        case _ if is_disk_full(error):
            message = "The disk of the local service is full; free some space and try again. "
            refusal = Refusal(507, "insufficient_storage", f"{message}What was accepted is safe.")
        case _:
            raise error  # a mistake like any other
    return respond(refusal, request.scope)


async def _client_left(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _unforeseen(request: Request, __: Exception) -> Response:
    message = "The local service made a mistake; service.log in its home folder says which."
    return respond(Refusal(500, "internalFailure", message), request.scope)


HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    **dict.fromkeys((Refusal, DataError, HTTPException, sqlite3.Error, OSError), _refused),
    ClientDisconnect: _client_left,
    Exception: _unforeseen,
}

# Faults on purpose at the door: asked for by a request's header or by the service's command line.
#
# Some come before any route is reached: refusals in turn, failures in turn, late answers. The rest is
# written on the request, and the route that it is about reads it with ``faults_of``.

_KEY = "workbench.faults"


def faults_of(request: Request) -> Faults:
    """The faults that this request is to meet."""
    faults: Faults = request.scope.get(_KEY, NONE)
    return faults


class FaultInjection:
    """Lets every request but the question for health meet the faults asked for."""

    def __init__(self, app: ASGIApp, emulation: Emulation) -> None:
        """Stand before ``app``."""
        self._app = app
        self._emulation = emulation
        self._met: Counter[tuple[str, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, fail or delay the request, or let it through with its faults written on it."""
        if scope["type"] != "http" or scope["path"] == "/health":
            await self._app(scope, receive, send)
            return
        refusal = None
        try:
            asked = [text for text in Headers(scope=scope).get(HEADER, "").split(",") if text.strip()]
            faults = {**self._emulation.faults, **read_faults(asked)}
            refusal = self._refusal(faults)
            scope[_KEY] = faults
        except SetupError as error:
            refusal, faults = invalid(str(error), HEADER), {}
        if "slow" in faults:
            await self._emulation.clock.wait(seconds(faults, "slow"))
        await (respond(refusal, scope) if refusal else self._app)(scope, receive, send)

    def _refusal(self, faults: Faults) -> Refusal | None:
        if self._is_turn_of("rate-limit", faults):
            message = "Too many requests (the fault rate-limit was asked for); retry after 1 second."
            return Refusal(429, "tooManyRequests", message, retry_after=1)
        if self._is_turn_of("server-error", faults):
            message = "The service failed (the fault server-error was asked for); ask again."
            return Refusal(500, "internalFailure", message, retry_after=1)
        return None

    def _is_turn_of(self, name: str, faults: Faults) -> bool:
        """Whether this request is the first of its ``N``; counted for all requests with this very fault."""
        if name not in faults:
            return False
        number = self._met[name, faults[name]]
        self._met[name, faults[name]] += 1
        return number == 0 if faults[name] == "once" else number % int(faults[name]) == 0


# Metadata: up to 16 pairs of words that a client may hang on jobs and answers, to find them by.

MOST = 16  # pairs


def _bounded(pairs: dict[str, str]) -> dict[str, str]:
    if len(pairs) > MOST:
        raise ValueError(f"at most {MOST} pairs; there are {len(pairs)}")
    if any(not 1 <= len(key) <= 64 or len(value) > 512 for key, value in pairs.items()):
        raise ValueError("keys have 1 to 64 characters, values at most 512")
    return pairs


Metadata: TypeAlias = Annotated[dict[str, str], AfterValidator(_bounded)]


def read_metadata(request: Request) -> dict[str, str]:
    """The pairs that a query asks for as ``metadata[key]=value``; raises ``Refusal`` for too many."""
    asked = ((re.fullmatch(r"metadata\[(.*)\]", name), value) for name, value in request.query_params.items())
    found = {match[1]: value for match, value in asked if match}
    if len(found) > MOST:
        raise invalid(f"A query asks for at most {MOST} pairs of metadata, not {len(found)}.", "metadata")
    return found


# What a client sends: bodies read within bounds and checked against a shape, pages asked for by the query.
#
# A shape is a pydantic model that knows every field it accepts. Nothing is guessed and nothing
# is ignored in silence.

MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_JSON_VALUES = 128 * 1024  # each may be wrong, and every mistake costs more than a right value
MAX_PAGE = 10_000
PROBLEMS_SHOWN = 5

# Never tried twice from the same place, so that a text which nothing ends takes no longer than another.
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)


class RequestShape(BaseModel):
    """A JSON object with known fields: strings are strings, numbers are finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


Asked = TypeVar("Asked", bound=RequestShape)


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


def read_page(request: Request, *, default: int) -> tuple[str | None, int]:
    """``after`` and ``limit`` of the query: which part of a list a client wants."""
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= MAX_PAGE):
        raise invalid(f"limit is a whole number from 1 to {MAX_PAGE}.", "limit")
    return request.query_params.get("after") or None, int(text)


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


def show_part(request: Request, items: list[dict[str, JSON]], what: str, *, default: Order) -> JSONResponse:
    """The part of ``items`` (oldest first) that a query asks for, in its order or else in ``default``."""
    after, limit = read_page(request, default=20)
    if read_order(request, default=default) == "desc":
        items = items[::-1]
    ids = [item["id"] for item in items]
    if after is not None and after not in ids:
        raise not_found(what, after, "after")
    begin = ids.index(after) + 1 if after else 0
    return show_page(items[begin : begin + limit], len(items) > begin + limit)


def show_rows(request: Request, rows: list[Any], more: bool, *, ends: bool = False) -> JSONResponse:
    """A list as Azure shows it, without its ends; OpenAI's has them if ``ends`` says so."""
    if ends and dialect_of(request.scope) == "openai":
        return show_page(rows, more)
    return JSONResponse({"object": "list", "data": rows, "has_more": more})


def _check_number_of_values(body: bytearray) -> None:
    """Refuse more values than are checked; in memory each takes a hundred times its text."""
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
    place = ".".join(str(part) for part in problem["loc"])
    error = problem.get("ctx", {}).get("error")
    if isinstance(error, BadGraderError):
        place += error.path.removeprefix("grader")
    return place[:200]


def _sentence(problem: ErrorDetails) -> str:
    place, kind = _place(problem), problem["type"]
    if kind == "extra_forbidden":
        return f"Unknown parameter: '{place}'."
    if kind == "missing":
        return f"Missing required parameter: '{place}'."
    error = problem.get("ctx", {}).get("error")
    finding = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    finding = error.finding if isinstance(error, BadGraderError) else finding
    return f"Invalid '{place}': {finding}." if place else f"Invalid body: {finding}."


# The two dialects of the service: Azure's shapes at Azure's addresses, OpenAI's own at plain ``/v1/``.
#
# Everything is kept as Azure shows it, and said anew for ``/v1/``. Azure's dated addresses differ from
# its v1 in two things: what was created is answered by 201 with a ``Location``, and errors have an older
# shape. Sources: OpenAI's API description of 21 August 2026; Azure's data-plane specification 2024-10-21.

Dialect: TypeAlias = Literal["azure", "dated", "openai"]

AUTO = -1  # Azure's word for a hyperparameter that is left to the service, until it has chosen
ORGANIZATION = "org-workbench"  # whose jobs OpenAI's dialect shows; a local service has one user
AZURES_OWN = ("suffix", "trainingType")  # fields of a job
# Between the states of Azure, OpenAI knows fewer; "paused" is in its guide, though not in its description.
OPENAI_STATES = {"pending": "queued", "pausing": "running", "resuming": "queued"}
# What OpenAI documents of its error codes; its other errors have none.
OPENAI_CODES = {
    "unauthorized": "invalid_api_key",
    "DeploymentNotFound": "model_not_found",
    "tooManyRequests": "rate_limit_exceeded",
    "quotaExceeded": "rate_limit_exceeded",
    "context_length_exceeded": "context_length_exceeded",
}


def dialect_of(scope: Mapping[str, Any]) -> Dialect:
    """The dialect of the address that a request was sent to."""
    path = str(scope["path"])
    if path.startswith("/v1/"):
        return "openai"
    is_v1 = path.startswith(("/openai/v1/", "/api/projects/"))
    return "dated" if path.startswith(("/openai/", "/subscriptions/")) and not is_v1 else "azure"


def show_error(refusal: Refusal, scope: Mapping[str, Any]) -> JSON:
    """The refusal as JSON, in the words of the address that ``scope`` has."""
    dialect, code, param = dialect_of(scope), refusal.code, refusal.param
    if dialect == "dated":
        target: dict[str, JSON] = {"target": param} if param else {}
        return {"error": {"code": code, "message": refusal.message, **target, "details": []}}
    if dialect == "azure":
        return {"error": {"code": code, "message": refusal.message, "param": param, "type": "error"}}
    usual = "invalid_request_error" if refusal.status < 500 else "server_error"
    kind = "requests" if refusal.status == 429 else usual
    known = "model_not_found" if (code, param) == ("notFound", "model") else OPENAI_CODES.get(code)
    return {"error": {"code": known, "message": refusal.message, "param": param, "type": kind}}


def show_job(request: HTTPConnection, job: Job, *, is_new: bool = False) -> Mapping[str, Any]:
    """A fine-tuning job; OpenAI's has every field, and a new one is being validated."""
    if dialect_of(request.scope) != "openai":
        return job
    chosen = job["hyperparameters"].items()
    hyperparameters = {name: "auto" if value == AUTO else value for name, value in chosen}
    method = dict(job.get("method") or {"type": "supervised", "supervised": {}})
    kind = str(method["type"])
    settings = method.get(kind)
    method[kind] = {**(settings if isinstance(settings, dict) else {}), "hyperparameters": hyperparameters}
    return {
        **{name: job.get(name) for name in Job.__annotations__ if name not in AZURES_OWN},
        "organization_id": ORGANIZATION,
        "result_files": job.get("result_files", []),
        "status": "validating_files" if is_new else OPENAI_STATES.get(job["status"], job["status"]),
        "hyperparameters": hyperparameters,
        "integrations": [],
        "method": method,
    }


def show_event(request: HTTPConnection, event: Event) -> Mapping[str, Any]:
    """One line of a job's log."""
    if dialect_of(request.scope) == "openai" and event["level"] == "warning":
        return {**event, "level": "warn"}
    return event


def show_model(request: HTTPConnection, model: dict[str, JSON]) -> dict[str, JSON]:
    """A model; Azure tells more of it."""
    if dialect_of(request.scope) != "openai":
        return model
    return {name: model[name] for name in ("id", "object", "created", "owned_by")}


def show_results(request: HTTPConnection, csv: bytes) -> bytes:
    """The content of a result file, which OpenAI sends as base64."""
    return b64encode(csv) if dialect_of(request.scope) == "openai" else csv


def created(request: Request, body: Mapping[str, Any], place: str, *, status: int = 200) -> JSONResponse:
    """What was made, at ``place`` below the address; the dated addresses say where."""
    if dialect_of(request.scope) != "dated":
        return JSONResponse(body, status)
    return JSONResponse(body, 201, {"location": f"{request.base_url}openai/{place}"})
