"""The service as a web application: who may come in, and which function answers each address.

It speaks Azure OpenAI's dialect at Azure's addresses (v1, a project's v1, the dated API) and OpenAI's
own at plain ``/v1/``; ``dialects`` has what differs. It keeps nothing in memory that matters and
never loads torch.
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from starlette.applications import Starlette
from starlette.datastructures import Headers, QueryParams
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from workbench.local.api.chat_routes import Answerer, ChatApi, CompletionsApi
from workbench.local.api.deployment_routes import DeploymentsApi, ResourceApi
from workbench.local.api.file_routes import FilesApi, UploadsApi
from workbench.local.api.grader_routes import GradersApi
from workbench.local.api.http import HANDLERS, FaultInjection, Refusal, respond
from workbench.local.api.job_routes import CheckpointsApi, JobsApi
from workbench.local.api.model_routes import ModelsApi, Serving
from workbench.local.api.responses import ResponsesApi
from workbench.local.emulation import Emulation
from workbench.local.store.store import Store
from workbench.settings import VERSION


class Workforce(Answerer, Protocol):
    """Whoever trains and runs the models."""

    async def start(self) -> None:
        """Begin, and go on with jobs that wait or were interrupted."""

    async def stop(self) -> None:
        """End; what is unfinished goes on at the next start."""

    def wake(self) -> None:
        """A job was created, cancelled, paused or resumed."""


def create_app(
    home: Path,
    key: str,
    *,
    models: Path | None = None,
    workers: Workforce | None = None,
    emulation: Emulation | None = None,
) -> Starlette:
    """The service over ``home``, opened by ``key``; base weights in ``models``, else ``home/models``.

    One at a time over the same ``home``. Raises ``SetupError`` when what lies there cannot be read.
    """
    emulation = emulation or Emulation()
    store = Store(home, emulation.clock, models=models)
    store.tidy()
    if workers is None:
        from workbench.local.workers import Workers

        at_once = emulation.limits.max_running
        workers = Workers(store, store.models, training_at_once=at_once or 1)
    serving = Serving(store, emulation)
    chat = ChatApi(store, workers, serving)
    graders = GradersApi(workers, serving)
    jobs = JobsApi(store, workers.wake, emulation.limits, graders.check)
    groups = (
        FilesApi(store, emulation.limits),
        UploadsApi(store, emulation.limits),
        jobs,
        CheckpointsApi(store),
        ModelsApi(store),
        chat,
        CompletionsApi(store),
        ResponsesApi(store, workers, serving),
        graders,
    )
    routes = [route for group in groups for route in group.routes]
    dated = [*chat.deployment_routes, *jobs.dated_routes, *routes]
    crew = workers

    @asynccontextmanager
    async def open_hours(_: Starlette) -> AsyncIterator[None]:
        await crew.start()
        yield
        graders.close()
        await crew.stop()
        store.close()

    app = Starlette(
        routes=[
            Route("/health", _health),
            Mount("/openai/v1", routes=routes),
            Mount("/api/projects/{project}/openai/v1", routes=routes),
            Mount("/v1", routes=routes),
            Mount("/openai", routes=dated, middleware=[Middleware(_Dated)]),
            *DeploymentsApi(store, emulation).routes,
            *ResourceApi(store, emulation, key).routes,
        ],
        middleware=[Middleware(_Door, key=key), Middleware(FaultInjection, emulation=emulation)],
        exception_handlers=HANDLERS,
        lifespan=open_hours,
    )
    app.state.store = store
    return app


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok", "pid": os.getpid(), "version": VERSION})


class _Door:
    """Lets in whoever has the key, in either of the two headers that the clients send."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._knows(Headers(scope=scope)):
            message = (
                "Access denied: the key is missing or not this service's. connect('local') finds the key; "
                "a service started by hand has the one in WORKBENCH_LOCAL_KEY."
            )
            await respond(Refusal(401, "unauthorized", message), scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        shown = [headers.get("api-key", ""), token if scheme.lower() == "bearer" else ""]
        return any(secrets.compare_digest(word.strip().encode(), self._key) for word in shown)


class _Dated:
    """The addresses without a version in the path want it in the query."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not QueryParams(scope["query_string"]).get("api-version"):
            message = (
                "The resource is not found: this address needs ?api-version=…; /openai/v1/ does without."
            )
            await respond(Refusal(404, "notFound", message), scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
