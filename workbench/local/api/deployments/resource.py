"""This service as a resource of Azure's management API: its account and key, its models, kinds and capacity.

It has the lists that a tool reads before it deploys. It is one resource, whatever subscription,
resource group and account a path names, so that a script written for Azure runs here with its own
names in it.
"""

from collections import Counter

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from workbench.local.api.deployments.deployment_request import MOST_CAPACITY, SKUS, formats_of
from workbench.local.api.models import Model, find_model
from workbench.local.api.refusals import Refusal
from workbench.local.engine.bases import base_models
from workbench.local.rehearsal import Rehearsal
from workbench.local.storage.deployments import DEVELOPER_SKU
from workbench.local.storage.rows import JSON
from workbench.local.storage.store import Store

PROVIDER = "Microsoft.CognitiveServices"
SUBSCRIPTION = f"/subscriptions/{{subscription}}/providers/{PROVIDER}"
ACCOUNTS = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{PROVIDER}/accounts"
LOCATION = "local"
NAME = "workbench"  # of the account, where a path names none
KIND, ACCOUNT_SKU = "AIServices", "S0"
CAPACITY: dict[str, JSON] = {"minimum": 1, "maximum": MOST_CAPACITY, "step": 1, "default": 1}


class ResourceApi:
    """The part of the management API that is about the resource itself."""

    def __init__(self, store: Store, rehearsal: Rehearsal, key: str) -> None:
        """Show the models and deployments of ``store``; ``key`` opens the service."""
        self._store, self._limits, self._key = store, rehearsal.limits, key

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found, from the root of the service's address."""
        place, account = f"{SUBSCRIPTION}/locations/{{location}}", f"{ACCOUNTS}/{{account}}"
        return [
            Route(f"{place}/models", self.list_models),
            Route(f"{place}/usages", self.list_usages),
            Route(f"{place}/modelCapacities", self.list_capacities),
            Route(f"{SUBSCRIPTION}/modelCapacities", self.list_capacities),
            Route(f"{SUBSCRIPTION}/skus", self.list_resource_skus),
            Route(f"{account}/models", self.list_account_models),
            Route(f"{account}/usages", self.list_account_usages),
            Route(f"{account}/skus", self.list_account_skus),
            Route(f"{account}/listKeys", self.list_keys, methods=["POST"]),
            Route(f"{account}/regenerateKey", self.regenerate_key, methods=["POST"]),
            Route(f"{account}/deployments/{{name}}/skus", self.list_deployment_skus),
            Route(account, self.show_account),
            Route(ACCOUNTS, self.list_accounts),
            Route(f"{SUBSCRIPTION}/accounts", self.list_accounts),
        ]

    async def list_models(self, request: Request) -> Response:
        """List what can be deployed, in this place."""
        check_version(request)
        shown = [{"kind": KIND, "skuName": ACCOUNT_SKU, "model": _show_model(one)} for one in self._models()]
        return JSONResponse({"value": shown})

    async def list_account_models(self, request: Request) -> Response:
        """List what can be deployed on this account."""
        check_version(request)
        return JSONResponse({"value": [_show_model(one) for one in self._models()]})

    async def list_capacities(self, request: Request) -> Response:
        """List how much of a model can be deployed as each kind; the query names the model."""
        check_version(request)
        query = request.query_params
        model = find_model(self._store, query.get("modelName", ""))
        if model is None or query.get("modelVersion", "1") != "1":
            return JSONResponse({"value": []})
        place = SUBSCRIPTION.format(subscription=request.path_params["subscription"])
        location = request.path_params.get("location", LOCATION)
        values = [
            {
                "id": f"{place}/locations/{location}/modelCapacities/{model.name}.{sku}",
                "name": f"{model.name}.{sku}",
                "type": f"{PROVIDER}/locations/modelCapacities",
                "location": location,
                "properties": {
                    "model": {"format": formats_of(model.base_model)[0], "name": model.name, "version": "1"},
                    "skuName": sku,
                    "availableCapacity": MOST_CAPACITY,
                    "availableFinetuneCapacity": MOST_CAPACITY,
                },
            }
            for sku in _skus_of(model)
        ]
        return JSONResponse({"value": values})

    async def list_usages(self, request: Request) -> Response:
        """List how much of each quota of this place is used, in thousands of tokens a minute."""
        check_version(request)
        used: Counter[str] = Counter()
        for one in self._store.deployments.all():
            model = find_model(self._store, one.model)
            if model is not None:
                used[_usage_name(model, one.sku)] += one.capacity
        names = [_usage_name(model, sku) for model in self._models() for sku in _skus_of(model)]
        usages = [_show_usage(name, used[name], MOST_CAPACITY) for name in dict.fromkeys(names)]
        return JSONResponse({"value": usages})

    async def list_account_usages(self, request: Request) -> Response:
        """List how many deployments the account has, and may have where there is a limit."""
        check_version(request)
        others = self._store.deployments.all()
        tuned = sum(one.tuned for one in others)
        usages = [
            _show_usage("Deployments", len(others), self._limits.deployments),
            _show_usage("FineTunedDeployments", tuned, self._limits.tuned_deployments),
        ]
        return JSONResponse({"value": usages})

    async def list_account_skus(self, request: Request) -> Response:
        """List the kinds that the account may be of; there is one."""
        check_version(request)
        return JSONResponse(
            {"value": [{"resourceType": f"{PROVIDER}/accounts", "sku": {"name": ACCOUNT_SKU}}]}
        )

    async def list_resource_skus(self, request: Request) -> Response:
        """List the kinds of account that there are."""
        check_version(request)
        sku = {"resourceType": "accounts", "name": ACCOUNT_SKU, "tier": "Standard", "kind": KIND}
        return JSONResponse({"value": [{**sku, "locations": [LOCATION], "restrictions": []}]})

    async def list_deployment_skus(self, request: Request) -> Response:
        """List the kinds that a deployment may become, with the sizes."""
        check_version(request)
        deployment = self._store.deployments.get(request.path_params["name"])
        model = find_model(self._store, deployment.model) if deployment else None
        if model is None:
            raise deployment_not_found(request)
        kind = f"{PROVIDER}/accounts/deployments"
        skus = [{"resourceType": kind, "sku": {"name": sku}, "capacity": CAPACITY} for sku in _skus_of(model)]
        return JSONResponse({"value": skus})

    async def list_keys(self, request: Request) -> Response:
        """Give the keys; both are the one key of the service."""
        check_version(request)
        return JSONResponse({"key1": self._key, "key2": self._key}, headers={"cache-control": "no-store"})

    async def regenerate_key(self, request: Request) -> Response:
        """Say that the key stays."""
        check_version(request)
        message = "The key of the local service is set when it is started, by WORKBENCH_LOCAL_KEY."
        raise Refusal(409, "conflict", message)

    async def show_account(self, request: Request) -> Response:
        """Describe this service as a resource."""
        check_version(request)
        return JSONResponse(_show_account(request, request.path_params["account"]))

    async def list_accounts(self, request: Request) -> Response:
        """List the one resource that this service is."""
        check_version(request)
        return JSONResponse({"value": [_show_account(request, NAME)]})

    def _models(self) -> list[Model]:
        tuned = (model.name for model in self._store.checkpoints.models())
        names = [*base_models(self._store.models), *tuned]
        return [model for name in names if (model := find_model(self._store, name))]


def check_version(request: Request) -> None:
    """Raise ``Refusal``, in Azure's words, when the address has no date."""
    if not request.query_params.get("api-version"):
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise Refusal(400, "MissingApiVersionParameter", message)


def account_id(request: Request, account: str) -> str:
    """The account's id in the words of the path that was asked for."""
    place = request.path_params["subscription"], request.path_params.get("group", NAME)
    return f"{ACCOUNTS.format(subscription=place[0], group=place[1])}/{account}"


def deployment_not_found(request: Request) -> Refusal:
    """The deployment that a path names is not here, in Azure's words."""
    asked = request.path_params
    message = (
        f"The Resource '{PROVIDER}/accounts/{asked['account']}/deployments/{asked['name'][:80]}' under "
        f"resource group '{asked['group'][:80]}' was not found."
    )
    return Refusal(404, "ResourceNotFound", message)


def _show_account(request: Request, account: str) -> dict[str, JSON]:
    return {
        "id": account_id(request, account),
        "name": account,
        "type": f"{PROVIDER}/accounts",
        "kind": KIND,
        "sku": {"name": ACCOUNT_SKU},
        "location": LOCATION,
        "properties": {"provisioningState": "Succeeded", "endpoint": str(request.base_url)},
    }


def _show_model(model: Model) -> dict[str, JSON]:
    skus: list[JSON] = [
        {"name": sku, "usageName": _usage_name(model, sku), "capacity": CAPACITY} for sku in _skus_of(model)
    ]
    return {
        "format": formats_of(model.base_model)[0],
        "name": model.name,
        "version": "1",
        "isDefaultVersion": True,
        "maxCapacity": MOST_CAPACITY,
        "lifecycleStatus": "GenerallyAvailable",
        "capabilities": {"chatCompletion": "true", "fineTune": "true"},
        "skus": skus,
    }


def _skus_of(model: Model) -> tuple[str, ...]:
    """The kinds as which it can be deployed; a base model has no developer tier."""
    return SKUS if model.adapter else tuple(sku for sku in SKUS if sku != DEVELOPER_SKU)


def _usage_name(model: Model, sku: str) -> str:
    """The quota that a deployment counts against: that of the base model, apart for models tuned from it."""
    tuned = "-finetune" if model.adapter else ""
    return f"{formats_of(model.base_model)[0]}.{sku}.{model.base_model}{tuned}"


def _show_usage(name: str, used: int, limit: int | None) -> dict[str, JSON]:
    shown: dict[str, JSON] = {
        "name": {"value": name, "localizedValue": name},
        "unit": "Count",
        "currentValue": used,
        "status": "Included",
    }
    return shown if limit is None else shown | {"limit": limit}
