"""The models of the service: the base models, and what was tuned from them here."""

from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from workbench.local.api.refusals import not_found
from workbench.local.engine.weights import BASE_MODELS
from workbench.local.storage.rows import JSON
from workbench.local.storage.store import Store

BASES_SINCE = 1730332800  # 31 October 2024, when SmolLM2 appeared
CAPABILITIES: dict[str, JSON] = {
    "fine_tune": True,
    "inference": True,
    "completion": False,
    "chat_completion": True,
    "embeddings": False,
}


class Model(NamedTuple):
    """A model that can answer and be tuned: a base model, or one with the adapter in a folder."""

    name: str
    base_model: str
    adapter: str | None


def find_model(store: Store, name: str) -> Model | None:
    """The model of this name, upper and lower case alike."""
    for base_model in BASE_MODELS:
        if base_model.lower() == name.lower():
            return Model(base_model, base_model, None)
    tuned = store.tuned_model(name)
    return Model(tuned.name, tuned.base_model, str(tuned.path)) if tuned else None


class ModelsApi:
    """The part of the API that is about models."""

    def __init__(self, store: Store) -> None:
        """Show the base models and the tuned ones of ``store``."""
        self._store = store

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found."""
        return [Route("/models", self.list_models), Route("/models/{name:path}", self.show_model)]

    async def list_models(self, _: Request) -> Response:
        """List all models, base models first."""
        return JSONResponse({"object": "list", "data": self._all()})

    async def show_model(self, request: Request) -> Response:
        """Describe one model."""
        name = request.path_params["name"]
        for model in self._all():
            if str(model["id"]).lower() == name.lower():
                return JSONResponse(model)
        raise not_found("model", name, "model")

    def _all(self) -> list[dict[str, JSON]]:
        bases = [_show(name, BASES_SINCE) for name in BASE_MODELS]
        tuned = [
            _show(model.name, model.created_at) | {"model": model.base_model, "fine_tune": model.job_id}
            for model in self._store.tuned_models()
        ]
        return bases + tuned


def _show(name: str, since: int) -> dict[str, JSON]:
    return {
        "id": name,
        "object": "model",
        "created": since,
        "created_at": since,
        "owned_by": "workbench",
        "status": "succeeded",
        "lifecycle_status": "generally-available",
        "capabilities": CAPABILITIES,
    }
