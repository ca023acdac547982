"""Fine-tuning jobs over HTTP: create, list, look up, cancel, and what a job reports."""

import re
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from workbench.local.api.job_request import JobRequest
from workbench.local.api.models import find_model
from workbench.local.api.refusals import Refusal, invalid, not_found
from workbench.local.api.requests import read_json, read_page, show_page
from workbench.local.engine.weights import BASE_MODELS
from workbench.local.storage.rows import Job
from workbench.local.storage.store import Store

MAX_QUEUED = 20
UNFINISHED = ("pending", "running", "pausing", "paused", "resuming")


class JobsApi:
    """The part of the API that is about fine-tuning jobs."""

    def __init__(self, store: Store, wake: Callable[[], None]) -> None:
        """Keep jobs in ``store``; ``wake`` whoever works on them when there is news."""
        self._store = store
        self._wake = wake

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found."""
        job = "/fine_tuning/jobs/{job_id}"
        return [
            Route("/fine_tuning/jobs", self.create_job, methods=["POST"]),
            Route("/fine_tuning/jobs", self.list_jobs, methods=["GET"]),
            Route(job, self.show_job, methods=["GET"]),
            Route(f"{job}/cancel", self.cancel_job, methods=["POST"]),
            Route(f"{job}/events", self.list_events, methods=["GET"]),
            Route(f"{job}/checkpoints", self.list_checkpoints, methods=["GET"]),
        ]

    async def create_job(self, request: Request) -> Response:
        """Queue a job; it is safely on the disk when this is answered."""
        asked = await read_json(request, JobRequest)
        model = find_model(self._store, asked.model)
        if model is None:
            raise invalid(
                "The specified base model does not support fine-tuning. This service tunes "
                f"{', '.join(BASE_MODELS)} and the models tuned from them (GET /models lists all).",
                "model",
            )
        self._need_training_data(asked.training_file, "training_file")
        if asked.validation_file is not None:
            self._need_training_data(asked.validation_file, "validation_file")
        if len(self._store.jobs_in("pending")) >= MAX_QUEUED:
            message = (
                f"{MAX_QUEUED} jobs are queued already, the most there may be; wait for one, or cancel one."
            )
            raise Refusal(429, "quotaExceeded", message)
        job = self._store.add_job(asked.as_job(model.name))
        self._wake()
        return JSONResponse(job)

    async def list_jobs(self, request: Request) -> Response:
        """List jobs, newest first; ``metadata[key]=value`` keeps those that have it."""
        after, limit = read_page(request, default=20)
        metadata: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            found = re.fullmatch(r"metadata\[(.*)\]", name)
            if found:
                metadata[found.group(1)] = value
        return show_page(*self._store.jobs(after=after, limit=limit, metadata=metadata))

    async def show_job(self, request: Request) -> Response:
        """Describe one job."""
        return JSONResponse(self._job(request))

    async def cancel_job(self, request: Request) -> Response:
        """End a job that has not ended; what it has saved stays usable."""
        job = self._job(request)
        cancelled = self._store.update_job(job["id"], expect=UNFINISHED, status="cancelled")
        if cancelled is None:
            message = f"Job {job['id']} cannot be cancelled; it has ended: {self._job(request)['status']}."
            raise Refusal(400, "unexpectedEntityState", message)
        self._wake()
        return JSONResponse(cancelled)

    async def list_events(self, request: Request) -> Response:
        """List what the job reported, newest first."""
        after, limit = read_page(request, default=20)
        return show_page(*self._store.events(self._job(request)["id"], after=after, limit=limit))

    async def list_checkpoints(self, request: Request) -> Response:
        """List the job's checkpoints, newest first."""
        after, limit = read_page(request, default=10)
        return show_page(*self._store.checkpoints(self._job(request)["id"], after=after, limit=limit))

    def _job(self, request: Request) -> Job:
        job = self._store.job(request.path_params["job_id"])
        if job is None:
            raise not_found("job", request.path_params["job_id"])
        return job

    def _need_training_data(self, file_id: str, param: str) -> None:
        file = self._store.file(file_id)
        if file is None:
            raise not_found("file", file_id, param)
        if file["purpose"] != "fine-tune":
            raise invalid(
                f"{param} was uploaded for {file['purpose']}; upload it with purpose fine-tune.", param
            )
