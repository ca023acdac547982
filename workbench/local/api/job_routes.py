"""Fine-tuning jobs over HTTP: start, list, pause, resume and cancel them, with events and checkpoints."""

from collections.abc import Awaitable, Callable, Collection

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from workbench.catalog.limits import Limits
from workbench.catalog.methods import METHODS
from workbench.errors import DataError
from workbench.evaluation.graders.grades import Grader
from workbench.local.api import http
from workbench.local.api.http import created, show_event, show_job
from workbench.local.api.job_request import JobRequest, job_request
from workbench.local.api.model_routes import find_model
from workbench.local.chat_protocol import Refusal
from workbench.local.emulation import Faults, harms
from workbench.local.models.bases import base_models
from workbench.local.store.checkpoints import Model
from workbench.local.store.jobs import UNFINISHED
from workbench.local.store.rows import Job
from workbench.local.store.store import Store

COPY_HEADER = "aoai-copy-ft-checkpoints"


class CopyRequest(http.RequestShape):
    """The resource that is to have the checkpoint too."""

    destinationResourceId: str  # noqa: N815 (Azure's own name)
    region: str


# Fine-tuning jobs over HTTP: create, list, look up, cancel, pause, resume, delete, and their log.

CANCELLED = "Job cancelled."  # after Azure's "Job succeeded."; its own text is not documented

_Check = Callable[[Grader, Faults], Awaitable[None]]


class JobsApi:
    """The part of the API that is about fine-tuning jobs and their checkpoints."""

    def __init__(self, store: Store, wake: Callable[[], None], limits: Limits, check_grader: _Check) -> None:
        """Keep jobs in ``store``; ``wake`` whoever works on them when there is news.

        ``check_grader`` has threads of its own: a source that hangs keeps no other request waiting.
        """
        self._store, self._wake, self._limits, self._check_grader = store, wake, limits, check_grader

    async def create_job(self, request: Request) -> Response:
        """Queue a job; it is safely on the disk when this is answered."""
        asked = await http.read_json(request, job_request())
        model = self._need_model(asked.model)
        self._need_training_data(asked.training_file, "training_file")
        if asked.validation_file is not None:
            self._need_training_data(asked.validation_file, "validation_file")
        faults = http.faults_of(request)
        await self._check_what_comes_later(asked, faults)
        self._need_room_in_queue(faults)
        with self._store.together():
            job = self._store.jobs.add(asked.as_job(model.name))
            data, tuned = harms(faults, "data-check"), harms(faults, "model-check")
            if data or tuned:
                self._store.safety.expect(job["id"], data=data, model=tuned)
        self._wake()
        return created(request, show_job(request, job, is_new=True), f"fine_tuning/jobs/{job['id']}")

    async def list_jobs(self, request: Request) -> Response:
        """List jobs, newest first; ``metadata[key]=value`` keeps those that have it."""
        after, limit = http.read_page(request, default=20)
        metadata = http.read_metadata(request)
        jobs, more = self._store.jobs.page(after=after, limit=limit, metadata=metadata)
        return http.show_rows(request, [show_job(request, job) for job in jobs], more)

    async def show_job(self, request: Request) -> Response:
        """Describe one job."""
        return JSONResponse(show_job(request, _job_of(self._store, request)))

    async def cancel_job(self, request: Request) -> Response:
        """End a job that has not ended; what it has saved stays usable."""
        return self._changed(request, UNFINISHED, "cancelled", "cancelled; it has ended")

    async def pause_job(self, request: Request) -> Response:
        """Let a running job finish its step, leave a checkpoint, and wait."""
        has_begun = self._store.metrics.last_step(_job_of(self._store, request)["id"]) > 0
        wrong = "paused; only a running job can, after its first step"
        return self._changed(request, {"running"} if has_begun else (), "pausing", wrong)

    async def resume_job(self, request: Request) -> Response:
        """Let a paused job go on from where it stands."""
        return self._changed(request, {"paused"}, "resuming", "resumed; only a paused job can")

    async def delete_job(self, request: Request) -> Response:
        """Forget a job that has ended; the models tuned by it stay."""
        job = _job_of(self._store, request)
        if not self._store.jobs.delete(job["id"]):
            raise self._wrong_state(request, "deleted; cancel it first")
        return Response(status_code=204)

    async def list_events(self, request: Request) -> Response:
        """List what the job reported, newest first."""
        after, limit = http.read_page(request, default=20)
        events, more = self._store.events.page(_job_of(self._store, request)["id"], after=after, limit=limit)
        return http.show_rows(request, [show_event(request, event) for event in events], more)

    async def list_checkpoints(self, request: Request) -> Response:
        """List the job's checkpoints, newest first."""
        after, limit = http.read_page(request, default=10)
        job_id = _job_of(self._store, request)["id"]
        rows, more = self._store.checkpoints.page(job_id, after=after, limit=limit)
        return http.show_rows(request, rows, more, ends=True)

    async def copy(self, request: Request) -> Response:
        """Check a request to copy; there is nowhere to copy to, and Azure's answer is not documented."""
        if request.headers.get(COPY_HEADER) != "preview":
            raise http.invalid(f"Copying is a preview: send the header {COPY_HEADER}: preview.", COPY_HEADER)
        job_id, checkpoint_id = _job_of(self._store, request)["id"], request.path_params["checkpoint_id"]
        if self._store.checkpoints.of_job(job_id, checkpoint_id) is None:
            raise http.not_found("checkpoint", checkpoint_id)
        if request.method == "POST":
            await http.read_json(request, CopyRequest)
        message = "The request is complete, but the local service is a single resource: it copies nowhere."
        raise Refusal(501, "notImplemented", message)

    async def permissions(self, _: Request) -> Response:
        """Say that there are none."""
        message = "The resource is not found: permissions on checkpoints are OpenAI's own; Azure has none."
        raise Refusal(404, "notFound", message)

    def _changed(self, request: Request, expect: Collection[str], status: str, wrong: str) -> Response:
        """The job in its new state; refuses, with what is ``wrong``, unless it is in one of ``expect``."""
        job = _job_of(self._store, request)
        with self._store.together():
            changed = self._store.jobs.update(job["id"], expect=expect, status=status)
            if changed is not None and status == "cancelled":
                self._store.events.add(job["id"], CANCELLED)
        if changed is None:
            raise self._wrong_state(request, wrong)
        self._wake()
        return JSONResponse(show_job(request, changed))

    def _wrong_state(self, request: Request, wrong: str) -> Refusal:
        job = _job_of(self._store, request)
        return Refusal(400, "unexpectedEntityState", f"Job {job['id']} cannot be {wrong}: {job['status']}.")

    def _need_model(self, name: str) -> Model:
        model = find_model(self._store, name)
        if model is None:
            raise http.invalid(
                "The specified base model does not support fine-tuning. This service tunes "
                f"{', '.join(base_models(self._store.models))}, the models tuned from them "
                "(GET /models lists all), and by its id a model of the hub that is on this machine.",
                "model",
            )
        return model

    def _need_training_data(self, file_id: str, param: str) -> None:
        purpose = http.known(self._store.files.get(file_id), "file", file_id, param)["purpose"]
        if purpose != "fine-tune":
            raise http.invalid(f"{param} was uploaded for {purpose}; upload it for fine-tune.", param)

    def _need_room_in_queue(self, faults: Faults) -> None:
        if "quota" in faults:
            message = "No quota is left for another job (the fault quota was asked for)."
            raise Refusal(429, "quotaExceeded", message)
        most = self._limits.max_queued
        if most is not None and len(self._store.jobs.in_states("pending")) >= most:
            message = f"{most} jobs are queued already, the most there may be; wait for one, or cancel one."
            raise Refusal(429, "quotaExceeded", message)

    async def _check_what_comes_later(self, asked: JobRequest, faults: Faults) -> None:
        """Refuse what Azure would do and this service does not; all else that is wrong was refused before."""
        method = METHODS[asked.method.type] if asked.method else METHODS["supervised"]
        if asked.method and method.grader == "required":
            try:
                await self._check_grader(asked.method.settings.grader_given, faults)
            except DataError as error:
                raise http.invalid(str(error), f"method.{method.name}.grader") from error
            except Refusal as refusal:
                place = f"method.{method.name}.{refusal.param}"
                raise Refusal(refusal.status, refusal.code, refusal.message, place) from None
        tools = getattr(asked.method.settings, "tools", None) if asked.method else None
        if tools:
            message = (
                "The request is complete, but the local service calls no tools while it trains; leave tools "
                "out, and put what they would find into the prompts."
            )
            raise http.invalid(message, f"method.{method.name}.tools")
        if method.not_local:
            trained = " or ".join(each.name for each in METHODS.values() if each.trained_locally)
            found = f"The request is complete, but {method.not_local}"
            raise http.invalid(f"{found}; this service trains by {trained}.", "method.type")
        if asked.integrations:
            raise http.invalid(
                "The local service tells nobody about its jobs, so no curve would reach Weights & Biases; "
                "leave integrations out. (Azure wants its key in a Key Vault, and a managed identity.)",
                "integrations",
            )


def _job_of(store: Store, request: Request) -> Job:
    job_id = request.path_params["job_id"]
    return http.known(store.jobs.get(job_id), "job", job_id)
