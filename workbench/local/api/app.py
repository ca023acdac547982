"""The service as a web application: who may come in, and which function answers each address.

It speaks Azure OpenAI's dialect at Azure's addresses (v1, a project's v1, the dated API) and OpenAI's
own at plain ``/v1/``; ``http`` has what differs. It keeps nothing in memory that matters and
never loads torch.
"""

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeAlias

from starlette.applications import Starlette
from starlette.datastructures import Headers, QueryParams
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from workbench.catalog.limits import Limits
from workbench.local.api.chat_routes import Answerer, ChatApi
from workbench.local.api.deployment_routes import ACCOUNTS, SUBSCRIPTION, ManagementApi
from workbench.local.api.file_routes import FilesApi
from workbench.local.api.grader_routes import GradersApi
from workbench.local.api.http import HANDLERS, FaultInjection, respond
from workbench.local.api.job_routes import JobsApi
from workbench.local.api.model_routes import ModelsApi, Serving
from workbench.local.api.responses import ResponsesApi
from workbench.local.chat_protocol import Refusal
from workbench.local.emulation import Emulation
from workbench.local.store.store import Store
from workbench.settings import VERSION

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
NO_KEY = Refusal(
    401,
    "unauthorized",
    "Access denied: the key is missing or not this service's. connect('local') finds the key; a service "
    "started by hand has the one in WORKBENCH_LOCAL_KEY.",
)


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

        workers = Workers(store, store.models, training_at_once=emulation.limits.max_running or 1)
    serving = Serving(store, emulation)
    graders = GradersApi(workers, serving)
    jobs = JobsApi(store, workers.wake, emulation.limits, graders.check)
    chat = ChatApi(store, workers, serving)
    responses = ResponsesApi(store, workers, serving)
    routes = _data_routes(store, emulation.limits, jobs, chat, responses, graders)
    dated = {"POST /deployments/{deployment}/chat/completions": chat.answer}
    dated |= {"DELETE /fine_tuning/jobs/{job_id}": jobs.delete_job}
    crew = workers

    @asynccontextmanager
    async def open_hours(_: Starlette) -> AsyncIterator[None]:
        await crew.start()
        yield
        graders.close()
        await crew.stop()
        store.close()

    message = "The resource is not found: this address needs ?api-version=…; /openai/v1/ does without."
    not_dated = [Middleware(_Dated, otherwise=Refusal(404, "notFound", message))]
    app = Starlette(
        routes=[
            Route("/health", _health),
            Mount("/openai/v1", routes=routes),
            Mount("/api/projects/{project}/openai/v1", routes=routes),
            Mount("/v1", routes=routes),
            Mount("/openai", routes=[*_routes(dated), *routes], middleware=not_dated),
            *_management_routes(ManagementApi(store, emulation, key)),
        ],
        middleware=[Middleware(_Door, key=key), Middleware(FaultInjection, emulation=emulation)],
        exception_handlers=HANDLERS,
        lifespan=open_hours,
    )
    app.state.store = store
    return app


def _routes(table: Mapping[str, Endpoint], middleware: Sequence[Middleware] = ()) -> list[Route]:
    """The routes of a table: methods and address, and the function that answers there."""
    return [
        Route(place.split(" ")[1], endpoint, methods=place.split(" ")[0].split(","), middleware=middleware)
        for place, endpoint in table.items()
    ]


def _data_routes(
    store: Store, limits: Limits, jobs: JobsApi, chat: ChatApi, responses: ResponsesApi, graders: GradersApi
) -> list[Route]:
    """What there is for data, jobs and answers, below the addresses of both dialects."""
    files, models = FilesApi(store, limits), ModelsApi(store)
    job = "/fine_tuning/jobs/{job_id}"
    permissions = "/fine_tuning/checkpoints/{name:path}/permissions"
    return _routes(
        {
            "POST /files": files.upload,
            "GET /files": files.list_files,
            "POST /files/import": files.import_file,
            "GET /files/{file_id}": files.show_file,
            "DELETE /files/{file_id}": files.delete_file,
            "GET /files/{file_id}/content": files.send_content,
            "POST /uploads": files.announce,
            "POST /uploads/{upload_id}/parts": files.add_part,
            "POST /uploads/{upload_id}/complete": files.complete,
            "POST /uploads/{upload_id}/cancel": files.cancel,
            "POST /fine_tuning/jobs": jobs.create_job,
            "GET /fine_tuning/jobs": jobs.list_jobs,
            f"GET {job}": jobs.show_job,
            f"POST {job}/cancel": jobs.cancel_job,
            f"POST {job}/pause": jobs.pause_job,
            f"POST {job}/resume": jobs.resume_job,
            f"GET {job}/events": jobs.list_events,
            f"GET {job}/checkpoints": jobs.list_checkpoints,
            f"POST,GET {job}/checkpoints/{{checkpoint_id}}/copy": jobs.copy,
            f"POST,GET {permissions}": jobs.permissions,
            f"DELETE {permissions}/{{permission_id}}": jobs.permissions,
            "GET /models": models.list_models,
            "GET /models/{name:path}": models.show_model,
            "DELETE /models/{name:path}": models.delete_model,
            "POST /chat/completions": chat.answer,
            "GET /chat/completions": chat.list_completions,
            "GET /chat/completions/{completion_id}": chat.show,
            "POST /chat/completions/{completion_id}": chat.change,
            "DELETE /chat/completions/{completion_id}": chat.delete,
            "GET /chat/completions/{completion_id}/messages": chat.list_messages,
            "POST /responses": responses.answer,
            "POST /responses/compact": responses.not_offered,
            "POST /responses/input_tokens": responses.not_offered,
            "GET /responses/{response_id}": responses.show,
            "DELETE /responses/{response_id}": responses.delete,
            "POST /responses/{response_id}/cancel": responses.cancel,
            "GET /responses/{response_id}/input_items": responses.list_input,
            "POST /fine_tuning/alpha/graders/validate": graders.validate,
            "POST /fine_tuning/alpha/graders/run": graders.run,
        }
    )


def _management_routes(api: ManagementApi) -> list[Route]:
    """What Azure's management API has for deployments and the account, from the root of the address."""
    place, account = f"{SUBSCRIPTION}/locations/{{location}}", f"{ACCOUNTS}/{{account}}"
    one = f"{account}/deployments/{{name}}"
    table = {
        f"PUT {one}": api.put,
        f"GET {one}": api.show,
        f"PATCH {one}": api.change,
        f"DELETE {one}": api.delete,
        f"GET {account}/deployments": api.list_deployments,
        f"GET {place}/models": api.list_models,
        f"GET {place}/usages": api.list_usages,
        f"GET {place}/modelCapacities": api.list_capacities,
        f"GET {SUBSCRIPTION}/modelCapacities": api.list_capacities,
        f"GET {SUBSCRIPTION}/skus": api.list_resource_skus,
        f"GET {account}/models": api.list_account_models,
        f"GET {account}/usages": api.list_account_usages,
        f"GET {account}/skus": api.list_account_skus,
        f"GET {account}/providers/Microsoft.Authorization/permissions": api.list_permissions,
        f"POST {account}/listKeys": api.list_keys,
        f"POST {account}/regenerateKey": api.regenerate_key,
        f"GET {one}/skus": api.list_deployment_skus,
        f"GET {account}": api.show_account,
        f"GET {ACCOUNTS}": api.list_accounts,
        f"GET {SUBSCRIPTION}/accounts": api.list_accounts,
    }
    message = "The api-version query parameter (?api-version=) is required for all requests."
    not_dated = Refusal(400, "MissingApiVersionParameter", message)
    operation = {f"GET {place}/operationResults/{{name}}": api.show_operation}
    return [*_routes(table, [Middleware(_Dated, otherwise=not_dated)]), *_routes(operation)]


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok", "pid": os.getpid(), "version": VERSION})


class _Door:
    """Lets in whoever has the key, in either of the two headers that the clients send."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_known = scope["type"] != "http" or self._knows(Headers(scope=scope))
        await (self._app if is_known else respond(NO_KEY, scope))(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        shown = [headers.get("api-key", ""), token if scheme.lower() == "bearer" else ""]
        return any(secrets.compare_digest(word.strip().encode(), self._key) for word in shown)


class _Dated:
    """Addresses without a version in the path want it in the query, and say ``otherwise`` without."""

    def __init__(self, app: ASGIApp, otherwise: Refusal) -> None:
        self._app, self._otherwise = app, otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        dated = scope["type"] != "http" or QueryParams(scope["query_string"]).get("api-version")
        await (self._app if dated else respond(self._otherwise, scope))(scope, receive, send)
