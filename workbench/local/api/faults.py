"""Faults on purpose at the door: asked for by a request's header or by the service's command line.

Some come before any room is reached: refusals in turn, failures in turn, late answers. The rest is
written on the request, and the room that it is about reads it with ``faults_of``.
"""

from collections import Counter

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from workbench.errors import SetupError
from workbench.local.api.refusals import Refusal, invalid, respond
from workbench.local.faults import HEADER, NONE, Faults, read_faults, seconds
from workbench.local.rehearsal import Rehearsal

_KEY = "workbench.faults"


def faults_of(request: Request) -> Faults:
    """The faults that this request is to meet."""
    faults: Faults = request.scope.get(_KEY, NONE)
    return faults


class FaultsAtTheDoor:
    """Lets every request but the question for health meet the faults asked for."""

    def __init__(self, app: ASGIApp, rehearsal: Rehearsal) -> None:
        """Stand before ``app``."""
        self._app = app
        self._rehearsal = rehearsal
        self._met: Counter[tuple[str, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, fail or delay the request, or let it through with its faults written on it."""
        if scope["type"] != "http" or scope["path"] == "/health":
            await self._app(scope, receive, send)
            return
        refusal = None
        try:
            asked = [text for text in Headers(scope=scope).get(HEADER, "").split(",") if text.strip()]
            faults = {**self._rehearsal.faults, **read_faults(asked)}
            refusal = self._refusal(faults)
            scope[_KEY] = faults
        except SetupError as error:
            refusal, faults = invalid(str(error), HEADER), {}
        if "slow" in faults:
            await self._rehearsal.clock.wait(seconds(faults, "slow"))
        await (respond(refusal, scope) if refusal else self._app)(scope, receive, send)

    def _refusal(self, faults: Faults) -> Refusal | None:
        if self._is_turn_of("rate-limit", faults):
            message = "Too many requests (the fault rate-limit was asked for); retry after 1 second."
            return Refusal(429, "tooManyRequests", message, retry_after=1)
        if self._is_turn_of("server-error", faults):
            message = (
                "The service failed (the fault server-error was asked for); the same request may succeed."
            )
            return Refusal(500, "internalFailure", message, retry_after=1)
        return None

    def _is_turn_of(self, name: str, faults: Faults) -> bool:
        """Whether this request is the first of its ``N``; counted for all requests with this very fault."""
        if name not in faults:
            return False
        number = self._met[name, faults[name]]
        self._met[name, faults[name]] += 1
        return number == 0 if faults[name] == "once" else number % int(faults[name]) == 0
