"""Models over HTTP: base models, tuned models, and which of them answer under a name."""

from collections import defaultdict, deque
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from workbench.local.api.http import known, show_model
from workbench.local.chat_protocol import Refusal
from workbench.local.emulation import Emulation, Faults, seconds
from workbench.local.models.bases import base_models, find_base
from workbench.local.store.checkpoints import Model
from workbench.local.store.jobs import UNFINISHED
from workbench.local.store.rows import JSON
from workbench.local.store.serving import Deployment
from workbench.local.store.store import Store

# The models of the service: the base models, and what was tuned from them here.

CAPABILITIES: dict[str, JSON] = {"fine_tune": True, "inference": True, "chat_completion": True}
CAPABILITIES |= {"completion": False, "embeddings": False}


def find_model(store: Store, name: str) -> Model | None:
    """The model of this name, upper and lower case alike."""
    tuned = store.checkpoints.model(name)
    base_model = None if tuned else find_base(name, store.models)
    return Model(base_model, base_model) if base_model else tuned


def all_models(store: Store) -> list[Model]:
    """Base models first; those of the hub's cache are not listed."""
    return [*(Model(name, name) for name in base_models(store.models)), *store.checkpoints.models()]


class ModelsApi:
    """The part of the API that is about models."""

    def __init__(self, store: Store) -> None:
        """Show the base models and the tuned ones of ``store``."""
        self._store = store

    async def list_models(self, request: Request) -> Response:
        """List all models, base models first."""
        shown = [show_model(request, _show(model)) for model in all_models(self._store)]
        return JSONResponse({"object": "list", "data": shown})

    async def show_model(self, request: Request) -> Response:
        """Describe one model."""
        name = request.path_params["name"]
        model = known(find_model(self._store, name), "model", name, "model")
        return JSONResponse(show_model(request, _show(model)))

    async def delete_model(self, request: Request) -> Response:
        """Delete a tuned model or checkpoint that nobody uses."""
        name = request.path_params["name"]
        model = known(find_model(self._store, name), "model", name, "model")
        if model.adapter is None:
            raise Refusal(403, "forbidden", f"{model.name} is a base model; only tuned models are deleted.")
        user = self._user_of(model)
        if user:
            raise Refusal(409, "conflict", f"{model.name} cannot be deleted: {user}.", "model")
        self._store.checkpoints.delete_model(model.name)
        return JSONResponse({"id": model.name, "object": "model", "deleted": True})

    def _user_of(self, model: Model) -> str | None:
        """Who needs this model, as a clause; ``None`` when nobody does."""
        deployments = self._store.deployments.of_model(model.name)
        if deployments:
            return f"it is deployed as {deployments[0].name}; delete that deployment first"
        for job in self._store.jobs.in_states(*UNFINISHED):
            if job["id"] == model.job_id or job["model"] == model.name:
                return f"job {job['id']} is {job['status']} and needs it; cancel that first or wait for it"
        return None


def _show(model: Model) -> dict[str, JSON]:
    tuned: dict[str, JSON] = {"model": model.base_model, "fine_tune": model.job_id} if model.job_id else {}
    return {
        "id": model.name,
        "object": "model",
        "created": model.created_at,
        "created_at": model.created_at,
        "owned_by": "workbench",
        "status": "succeeded",
        "lifecycle_status": "generally-available",
        "capabilities": CAPABILITIES,
        **tuned,
    }


# Who answers under a name: a deployment, or, where the service is not strict, a model directly.
#
# As on Azure a deployment's name stands before a model's. A deployment that is still being created
# is not found yet, one that is too new or too busy says so only where that fault was asked for.

NOTED_EVERY = 3_600.0  # seconds; each note is a write to the disk, and only days count
MINUTE = 60.0


class Served(NamedTuple):
    """The model that answers, and the deployment through which it was called, if any."""

    model: Model
    deployment: Deployment | None


class Serving:
    """The names under which one service answers."""

    def __init__(self, store: Store, emulation: Emulation) -> None:
        """Look into ``store``, as strictly as ``emulation`` wants it."""
        self._store = store
        self._strict, self._clock = emulation.strict, emulation.clock
        self._calls: defaultdict[str, deque[float]] = defaultdict(deque)

    def find(self, name: str, faults: Faults) -> Served:
        """Find who answers; raises ``Refusal`` when nobody does, or not now."""
        deployment = self._store.deployments.get(name)
        if deployment is not None and not deployment.lacks(self._clock):
            self._check_ready(deployment, faults)
            if "capacity" in faults:
                self._check_capacity(deployment)
            model = find_model(self._store, deployment.model)
            if model is not None:
                return Served(model, deployment)
        model = None if self._strict else find_model(self._store, name)
        if model is None:
            raise self._nobody(name)
        return Served(model, None)

    def note_answer(self, served: Served) -> None:
        """Remember that an answer was complete: it keeps a deployment from being taken away."""
        deployment = served.deployment
        if deployment is None:
            return
        if deployment.called_at is None or self._clock.since(deployment.called_at) >= NOTED_EVERY:
            self._store.deployments.note_answer(deployment.name)

    def _check_ready(self, deployment: Deployment, faults: Faults) -> None:
        if deployment.answered_for(self._clock) < seconds(faults, "not-ready"):
            message = (
                f"The deployment {deployment.name!r} is not ready yet, although its state is Succeeded "
                "(the fault not-ready was asked for); wait a moment, or delete and create it again."
            )
            # Neither the status nor the text that goes with Azure's code is documented.
            raise Refusal(409, "DeploymentNotReady", message)

    def _check_capacity(self, deployment: Deployment) -> None:
        calls = self._calls[deployment.name]
        while calls and self._clock.since(calls[0]) >= MINUTE:
            calls.popleft()
        if len(calls) >= deployment.capacity:
            lacking = self._clock.takes(MINUTE - self._clock.since(calls[0]))
            message = (
                f"The deployment {deployment.name!r} has a capacity of {deployment.capacity}: about as many "
                "requests a minute, and all of them were made (the fault capacity was asked for)."
            )
            raise Refusal(429, "tooManyRequests", message, retry_after=int(lacking) + 1)
        calls.append(self._clock.now())

    def _nobody(self, name: str) -> Refusal:
        found = f"This service has no deployment and no model {name[:80]!r} (GET /models lists the models)."
        if self._strict:
            found = f"This service is strict: deploy a model first, for example as {name[:80]!r}."
        # The first two sentences are Azure's own.
        message = (
            "The API deployment for this resource does not exist. If you created the deployment within the "
            f"last 5 minutes, please wait a moment and try again. {found}"
        )
        return Refusal(404, "DeploymentNotFound", message, "model")
