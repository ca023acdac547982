"""How the service says no: an error with a sentence that says what to do.

The codes are those that Azure documents; the shape is that of the address, see ``dialects``.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from workbench.errors import DataError
from workbench.local.api.dialects import show_error
from workbench.local.chat import ChatError
from workbench.local.storage.disk import is_disk_full
from workbench.local.storage.rows import JSON


class Refusal(Exception):  # noqa: N818 (one raises a refusal)
    """A request that is not carried out: the HTTP status, the code, the sentence, the field it is about."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        *,
        retry_after: int | None = None,
    ) -> None:
        """``message`` is read by a person; ``param`` is a path such as ``method.supervised``.

        ``retry_after`` is in seconds; without it, asking again would be refused again.
        """
        super().__init__(status, code, message, param)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.retry_after = retry_after


def invalid(message: str, param: str | None = None) -> Refusal:
    """The request itself is wrong."""
    return Refusal(400, "invalidPayload", message, param)


def not_found(what: str, name: str, param: str | None = None) -> Refusal:
    """The request names something that is not here."""
    return Refusal(
        404, "notFound", f"The resource is not found: this service has no {what} {name[:80]!r}.", param
    )


def too_large(limit: int) -> Refusal:
    """The request has more bytes than are read."""
    return Refusal(
        413, "invalidPayload", f"The request is larger than {limit:,} bytes, the most that is read."
    )


def show(refusal: Refusal, scope: Mapping[str, Any]) -> JSON:
    """The refusal as JSON, in the words of the address that ``scope`` has."""
    return show_error(scope, refusal.status, refusal.code, refusal.message, refusal.param)


def respond(refusal: Refusal, scope: Mapping[str, Any]) -> JSONResponse:
    """The refusal as the client gets it."""
    # The openai client repeats 429 and 5xx by itself; what would fail again is not worth it.
    headers = {"x-should-retry": "true" if refusal.status == 503 else "false"}
    if refusal.retry_after is not None:
        headers = {"retry-after": str(refusal.retry_after)}
    return JSONResponse(show(refusal, scope), refusal.status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return respond(error, request.scope)


async def _bad_data(request: Request, error: Exception) -> Response:
    return respond(invalid(str(error)), request.scope)


async def _chat_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, ChatError)
    return respond(Refusal(error.status, error.code, error.message), request.scope)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:80]
    refusal = Refusal(error.status_code, "invalidPayload", error.detail)
    if error.status_code == 405:
        refusal = Refusal(405, "methodNotAllowed", f"{path} does not know {request.method}.")
    if error.status_code == 404:
        refusal = Refusal(404, "notFound", f"The resource is not found: there is nothing at {path}.")
    return respond(refusal, request.scope)


async def _storage_failed(request: Request, error: Exception) -> Response:
    if not is_disk_full(error):
        raise error  # a mistake like any other
    message = (
        "The disk of the local service is full; free some space and try again. What was accepted is safe."
    )
    return respond(Refusal(507, "insufficient_storage", message), request.scope)


async def _client_left(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _unforeseen(request: Request, __: Exception) -> Response:
    message = "The local service made a mistake; service.log in its home folder says which."
    return respond(Refusal(500, "internalFailure", message), request.scope)


HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    Refusal: _refused,
    DataError: _bad_data,
    ChatError: _chat_failed,
    HTTPException: _no_route,
    sqlite3.Error: _storage_failed,
    OSError: _storage_failed,
    ClientDisconnect: _client_left,
    Exception: _unforeseen,
}
