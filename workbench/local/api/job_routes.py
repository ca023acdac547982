"""Fine-tuning jobs over HTTP: start, list, pause, resume and cancel them, with events and checkpoints.

What a job may be asked for stands before them: every field, its range, and its default.
"""

import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
)
from pydantic import model_validator as check_whole
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from workbench.catalog.limits import Limits, of_provider
from workbench.catalog.methods import COMMON, METHODS, Hyperparameter, Method
from workbench.errors import DataError
from workbench.evaluation.graders.grader_types import check_in_training
from workbench.evaluation.graders.grades import Grader
from workbench.local.api import http
from workbench.local.api.http import AUTO, Metadata, RequestShape, created, show_event, show_job
from workbench.local.api.model_routes import find_model
from workbench.local.chat_protocol import Refusal
from workbench.local.emulation import Faults, harms
from workbench.local.models.bases import base_models
from workbench.local.store.checkpoints import Model
from workbench.local.store.jobs import UNFINISHED
from workbench.local.store.rows import JSON, Job
from workbench.local.store.store import Store

COPY_HEADER = "aoai-copy-ft-checkpoints"


class CopyRequest(RequestShape):
    """The resource that is to have the checkpoint too."""

    destinationResourceId: str  # noqa: N815 (Azure's own name)
    region: str


# What a job may be asked for: every field, its range, and its default.
#
# The shapes are made of the table of methods, with its ranges. ``-1`` stands for "auto" until the job
# has read its data. Methods that the local service does not train by yet are read as closely, so
# that a mistake is found here first. A grader in ``method.supervised``, by which held-out answers are
# graded while the job trains, is the local service's own.


def _or_auto(value: object, check: ValidatorFunctionWrapHandler) -> object:
    return AUTO if value is None or value == "auto" else check(value)


def _graded_in_training(grader: dict[str, JSON]) -> dict[str, JSON]:
    check_in_training(grader)
    return grader


def _type_of(hyperparameter: Hyperparameter) -> object:
    """What pydantic checks a hyperparameter by: its range, or "auto"."""
    if hyperparameter.kind == "choice":
        return Literal[hyperparameter.choices]
    low, high = hyperparameter.low, hyperparameter.high
    number = Field(
        gt=low if hyperparameter.above_low else None, ge=None if hyperparameter.above_low else low, le=high
    )
    kind = int if hyperparameter.kind == "int" else float
    return Annotated[kind, number, WrapValidator(_or_auto)]


def _hyperparameters(names: str, table: Iterable[Hyperparameter]) -> Any:
    """The shape of the object ``hyperparameters`` of one method."""
    fields: dict[str, Any] = {
        each.name: (_type_of(each), AUTO if each.kind != "choice" or each.default is None else each.default)
        for each in table
    }
    return create_model(names, __base__=RequestShape, **fields)


# What a method's settings may hold beside hyperparameters and grader.
_OTHER_SETTINGS: Mapping[str, tuple[object, None]] = {
    "response_format": (dict[str, object] | None, None),
    "tools": (list[dict[str, object]] | None, None),
    "max_episode_steps": (Annotated[int, Field(ge=1)] | None, None),
}


class Settings(RequestShape):
    """The settings of one method; the fields are those of its entry in the table of methods."""

    hyperparameters: RequestShape = RequestShape()

    @property
    def given(self) -> dict[str, Any]:
        """The hyperparameters that the request names."""
        return self.hyperparameters.model_dump(exclude_unset=True)

    @property
    def grader_given(self) -> Any:
        """What grades the answers."""
        return getattr(self, "grader", None)


class MethodAsked(RequestShape):
    """The method, and its settings in the field of its name."""

    type: str

    @property
    def settings(self) -> Settings:
        """Those of the method that is asked for; its defaults where the request names none."""
        found: Settings = getattr(self, self.type) or _settings(METHODS[self.type])()
        return found

    @check_whole(mode="after")
    def _settings_belong_to_the_type(self) -> Self:
        others = sorted(METHODS.keys() - {self.type})
        foreign = [name for name in others if getattr(self, name) is not None]
        if foreign:
            raise ValueError(f"type is {self.type}, but there are settings for {' and '.join(foreign)}")
        if METHODS[self.type].grader == "required" and getattr(self, self.type) is None:
            raise ValueError(f"{self.type} needs a grader in method.{self.type}")
        return self


@cache
def _settings(method: Method) -> type[Settings]:
    hyperparameters = _hyperparameters(f"{method.name}_hyperparameters", method.hyperparameters)
    fields: dict[str, Any] = {"hyperparameters": (hyperparameters, hyperparameters())}
    fields |= {name: _OTHER_SETTINGS[name] for name in method.other_settings}
    if method.grader == "required":
        fields["grader"] = (dict[str, object], ...)
    if method.grader == "local":
        # Of held-out answers; any type that only computes.
        fields["grader"] = (Annotated[dict[str, Any], AfterValidator(_graded_in_training)] | None, None)

    graded = {each.name for each in method.hyperparameters if each.only_with_grader}

    def evaluations_need_a_grader(self: Settings) -> Settings:
        extra = self.hyperparameters.model_fields_set & graded
        if extra and self.grader_given is None:
            raise ValueError(f"{' and '.join(sorted(extra))} need a grader in method.{method.name}")
        return self

    checks: dict[str, Any] = {"graded": check_whole(mode="after")(evaluations_need_a_grader)}
    return create_model(f"{method.name}_settings", __base__=Settings, __validators__=checks, **fields)


OlderHyperparameters = _hyperparameters("hyperparameters", COMMON)


# Whatever its quota, the service holds the fields of a job to Azure's limits.


def _suffix(text: str) -> str:
    limits = of_provider("azure")
    if not limits.suffix.fullmatch(text):
        raise ValueError(f"1 to {limits.max_suffix} of a-z, A-Z, 0-9, - and _; no dots")
    return text


def _seed(seed: int) -> int:
    if seed > _max_seed():
        raise ValueError(f"should be less than or equal to {_max_seed()}")
    return seed


def _max_seed() -> int:
    return of_provider("azure").max_seed or 2**31 - 1


def _training_type(name: object) -> object:
    # As a number it is sent by tools that were written for the portal.
    said = "globalStandard" if name == "1" or (name == 1 and not isinstance(name, bool)) else str(name)
    limits = of_provider("azure")
    meant = limits.training_type(said)
    if meant is None:
        raise ValueError(f"{', '.join(limits.training_types)}; or 1 for globalStandard")
    return meant


class Wandb(RequestShape):
    """Where in Weights & Biases a curve would be drawn."""

    project: str
    entity: str | None = None
    name: str | None = None
    tags: list[str] | None = None


class Integration(RequestShape):
    """Another service that would get the curve of the job."""

    type: Literal["wandb"]
    wandb: Wandb


class JobRequest(RequestShape):
    """A job as it is asked for."""

    model: str
    training_file: str
    validation_file: str | None = None
    method: MethodAsked | None = None
    hyperparameters: Any = None  # the older place for them; those in method win
    suffix: Annotated[str, AfterValidator(_suffix)] | None = None
    seed: Annotated[int, Field(ge=0), AfterValidator(_seed)] | None = None
    metadata: Metadata | None = None
    integrations: list[Integration] | None = None
    trainingType: Annotated[str, BeforeValidator(_training_type)] | None = None  # noqa: N815 (Azure's own name)

    @check_whole(mode="after")
    def _consistent(self) -> Self:
        if self.validation_file or not self.method:
            return self
        method = METHODS[self.method.type]
        if method.grader == "local" and self.method.settings.grader_given:
            raise ValueError(f"method.{method.name}.grader needs a validation_file to grade the answers to")
        if method.needs_validation:
            raise ValueError(f"{method.name} needs a validation_file")
        return self

    def as_job(self, model: str) -> dict[str, JSON]:
        """The new job on ``model``, in the words in which Azure repeats it."""
        method = METHODS[self.method.type] if self.method else METHODS["supervised"]
        settings = self.method.settings if self.method else _settings(METHODS["supervised"])()
        outer = self.hyperparameters.model_dump() if self.hyperparameters else {}
        chosen = outer | settings.given
        graded = settings.grader_given is not None
        hyperparameters: dict[str, JSON] = {
            each.name: chosen.get(each.name, AUTO)
            for each in sorted(method.hyperparameters, key=lambda each: (not each.always_sent, each.name))
            if each.always_sent or each.name in chosen or (each.only_with_grader and graded)
        }
        asked: dict[str, JSON] | None = None
        if self.method:
            kept = {name: value for name, value in settings if value is not None}
            asked = {"type": method.name, method.name: {**kept, "hyperparameters": hyperparameters}}
        return {
            "hyperparameters": hyperparameters,
            "model": model,
            "seed": secrets.randbelow(_max_seed() + 1) if self.seed is None else self.seed,
            "training_file": self.training_file,
            "validation_file": self.validation_file,
            "method": asked,
            "suffix": self.suffix,
            "trainingType": self.trainingType,
            "metadata": dict(self.metadata) if self.metadata else None,
        }


def job_request() -> type[JobRequest]:
    """The shape of a request, with the methods that the table has now."""
    return _request(tuple(METHODS.values()))


@cache
def _request(methods: tuple[Method, ...]) -> type[JobRequest]:
    fields: dict[str, Any] = {each.name: (_settings(each) | None, None) for each in methods}
    fields["type"] = (Literal[tuple(each.name for each in methods)], ...)
    asked: Any = create_model("Method", __base__=MethodAsked, **fields)
    older: Any = OlderHyperparameters | None
    return create_model(
        "JobRequest", __base__=JobRequest, method=(asked | None, None), hyperparameters=(older, None)
    )


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
        self._need_place_in_queue(faults)
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

    def _need_place_in_queue(self, faults: Faults) -> None:
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
