"""Checkpoints of jobs over HTTP: list them; what else one may do with them elsewhere is refused plainly."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from workbench.local.api.refusals import Refusal, invalid, not_found
from workbench.local.api.requests import Shape, read_json, read_page, show_rows
from workbench.local.storage.store import Store

COPY_HEADER = "aoai-copy-ft-checkpoints"


class CopyRequest(Shape):
    """The resource that is to have the checkpoint too."""

    destinationResourceId: str  # noqa: N815 (Azure's own name)
    region: str


class CheckpointsApi:
    """The part of the API that is about checkpoints."""

    def __init__(self, store: Store) -> None:
        """Show the checkpoints of ``store``."""
        self._store = store

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found."""
        checkpoints = "/fine_tuning/jobs/{job_id}/checkpoints"
        permissions = "/fine_tuning/checkpoints/{name:path}/permissions"
        return [
            Route(checkpoints, self.list_checkpoints, methods=["GET"]),
            Route(f"{checkpoints}/{{checkpoint_id}}/copy", self.copy, methods=["POST", "GET"]),
            Route(permissions, self.permissions, methods=["POST", "GET"]),
            Route(f"{permissions}/{{permission_id}}", self.permissions, methods=["DELETE"]),
        ]

    async def list_checkpoints(self, request: Request) -> Response:
        """List the job's checkpoints, newest first."""
        after, limit = read_page(request, default=10)
        rows, more = self._store.checkpoints.page(self._job_id(request), after=after, limit=limit)
        return show_rows(request, rows, more, ends=True)

    async def copy(self, request: Request) -> Response:
        """Check a request to copy; there is nowhere to copy to, and Azure's answer is not documented."""
        if request.headers.get(COPY_HEADER) != "preview":
            raise invalid(f"Copying is a preview: send the header {COPY_HEADER}: preview.", COPY_HEADER)
        job_id, checkpoint_id = self._job_id(request), request.path_params["checkpoint_id"]
        if self._store.checkpoints.of_job(job_id, checkpoint_id) is None:
            raise not_found("checkpoint", checkpoint_id)
        if request.method == "POST":
            await read_json(request, CopyRequest)
        message = "The request is complete, but the local service is a single resource: it copies nowhere."
        raise Refusal(501, "notImplemented", message)

    async def permissions(self, _: Request) -> Response:
        """Say that there are none."""
        message = "The resource is not found: permissions on checkpoints are OpenAI's own; Azure has none."
        raise Refusal(404, "notFound", message)

    def _job_id(self, request: Request) -> str:
        job = self._store.jobs.get(request.path_params["job_id"])
        if job is None:
            raise not_found("job", request.path_params["job_id"])
        return job["id"]
