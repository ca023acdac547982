"""This service as a resource of Azure's management API: its account, and what can be deployed on it.

It is one resource, whatever subscription, resource group and account a path names, so that a script
written for Azure runs here with its own names in it.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from workbench.local.api.deployments.deployment_request import SKUS, formats_of
from workbench.local.api.models import Model, find_model
from workbench.local.api.refusals import Refusal
from workbench.local.engine.bases import base_models
from workbench.local.storage.rows import JSON
from workbench.local.storage.store import Store

PROVIDER = "Microsoft.CognitiveServices"
SUBSCRIPTION = f"/subscriptions/{{subscription}}/providers/{PROVIDER}"
ACCOUNTS = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{PROVIDER}/accounts"
LOCATION = "local"
NAME = "workbench"  # of the account, where a path names none


class ResourceApi:
    """The part of the management API that is about the resource itself."""

    def __init__(self, store: Store) -> None:
        """Show the models of ``store``."""
        self._store = store

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found, from the root of the service's address."""
        return [
            Route(f"{SUBSCRIPTION}/locations/{{location}}/models", self.list_models),
            Route(f"{ACCOUNTS}/{{account}}/models", self.list_models),
            Route(f"{ACCOUNTS}/{{account}}", self.show_account),
            Route(ACCOUNTS, self.list_accounts),
            Route(f"{SUBSCRIPTION}/accounts", self.list_accounts),
        ]

    async def list_models(self, request: Request) -> Response:
        """List what can be deployed."""
        check_version(request)
        tuned = (model.name for model in self._store.checkpoints.models())
        names = [*base_models(self._store.models), *tuned]
        found = [model for name in names if (model := find_model(self._store, name))]
        return JSONResponse({"value": [_show_model(model) for model in found]})

    async def show_account(self, request: Request) -> Response:
        """Describe this service as a resource."""
        check_version(request)
        return JSONResponse(_show_account(request, request.path_params["account"]))

    async def list_accounts(self, request: Request) -> Response:
        """List the one resource that this service is."""
        check_version(request)
        return JSONResponse({"value": [_show_account(request, NAME)]})


def check_version(request: Request) -> None:
    """Raise ``Refusal``, in Azure's words, when the address has no date."""
    if not request.query_params.get("api-version"):
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise Refusal(400, "MissingApiVersionParameter", message)


def account_id(request: Request, account: str) -> str:
    """The account's id in the words of the path that was asked for."""
    place = request.path_params["subscription"], request.path_params.get("group", NAME)
    return f"{ACCOUNTS.format(subscription=place[0], group=place[1])}/{account}"


def _show_account(request: Request, account: str) -> dict[str, JSON]:
    return {
        "id": account_id(request, account),
        "name": account,
        "type": f"{PROVIDER}/accounts",
        "kind": "AIServices",
        "sku": {"name": "S0"},
        "location": LOCATION,
        "properties": {"provisioningState": "Succeeded", "endpoint": str(request.base_url)},
    }


def _show_model(model: Model) -> dict[str, JSON]:
    skus: list[JSON] = [{"name": sku} for sku in SKUS]
    return {
        "kind": "AIServices",
        "skuName": "S0",
        "model": {
            "format": formats_of(model.base_model)[0],
            "name": model.name,
            "version": "1",
            "lifecycleStatus": "GenerallyAvailable",
            "capabilities": {"chatCompletion": "true", "fineTune": "true"},
            "skus": skus,
        },
    }
