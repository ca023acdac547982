"""The two dialects of the service: Azure's shapes at Azure's addresses, OpenAI's own at plain ``/v1/``.

Everything is kept as Azure shows it, and said anew for ``/v1/``. Azure's dated addresses differ from
its v1 in two things: what was created is answered by 201 with a ``Location``, and errors have an older
shape. Sources: OpenAI's API description of 21 August 2026; Azure's data-plane specification 2024-10-21.
"""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse

from workbench.local.chat_protocol import Refusal
from workbench.local.store.rows import JSON, Event, Job

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
