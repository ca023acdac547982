"""Deployments and the account over HTTP, as ``azure-mgmt-cognitiveservices`` asks for them.

Deployments are made, changed, listed and deleted; keys, usages, SKUs and capacities are answered.
"""

import re
import time
from collections import Counter
from dataclasses import replace
from math import ceil
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from workbench.catalog.models import formats_of
from workbench.local.api.http import RequestShape, faults_of, invalid, read_json
from workbench.local.api.model_routes import all_models, find_model
from workbench.local.chat_protocol import Refusal
from workbench.local.emulation import Emulation, Faults, harms
from workbench.local.store.checkpoints import Model, model_refusal
from workbench.local.store.rows import JSON
from workbench.local.store.serving import DEVELOPER_SKU, Deployment
from workbench.local.store.store import Store

# What a deployment may be asked for: its name, the model, the kind and the size.
#
# The rules are those of Azure's documents of October 2026; texts in single words of Azure are those
# that its management API was seen to answer. What is not known of it is said in our own.

MOST_CAPACITY = 1_000_000
SKUS = ("Standard", "GlobalStandard", "DataZoneStandard", DEVELOPER_SKU, "ProvisionedManaged")
_SPOKEN = {sku.lower(): sku for sku in SKUS} | {"developer": DEVELOPER_SKU}


class Sku(RequestShape):
    """The kind of a deployment, and its size in thousands of tokens a minute."""

    name: str
    capacity: Annotated[int, Field(ge=1, le=MOST_CAPACITY)] = 1
    tier: str | None = None
    size: str | None = None
    family: str | None = None

    @property
    def spelt(self) -> str:
        """The kind as Azure spells it; raises ``Refusal`` when there is no such kind."""
        if self.name.lower() not in _SPOKEN:
            known = ", ".join(SKUS)
            message = f"The deployment sku name '{self.name[:80]}' is invalid. It is one of {known}."
            raise Refusal(400, "InvalidResourceProperties", message, "sku.name")
        return _SPOKEN[self.name.lower()]


class DeployedModel(RequestShape):
    """The model that is to answer."""

    name: str
    format: str
    version: str | None = None
    publisher: str | None = None
    source: str | None = None
    sourceAccount: str | None = None  # noqa: N815 (Azure's own name)

    def refusal(self, hint: str) -> Refusal:
        """Say that there is no such model, in Azure's words and then in ours."""
        version, source = (self.version or "")[:80], (self.source or "")[:200]
        model = f"Format: {self.format[:80]}, Name: {self.name[:200]}, Version: {version}, Source: {source}"
        message = f"The model '{model}' of account deployment is not supported. {hint}"
        return Refusal(400, "DeploymentModelNotSupported", message, "properties.model")


class Properties(RequestShape):
    """What a deployment is beside its size; all but the model is repeated and changes nothing here."""

    model: DeployedModel
    raiPolicyName: str | None = None  # noqa: N815
    versionUpgradeOption: str | None = None  # noqa: N815
    dynamicThrottlingEnabled: bool | None = None  # noqa: N815
    spilloverDeploymentName: str | None = None  # noqa: N815
    parentDeploymentName: str | None = None  # noqa: N815
    capacitySettings: dict[str, Any] | None = None  # noqa: N815

    @property
    def repeated(self) -> dict[str, JSON]:
        """What is given back as it came."""
        given = self.model_dump(exclude={"model"}, exclude_none=True)
        source = self.model.model_dump(include={"source", "sourceAccount", "publisher"}, exclude_none=True)
        return given | ({"source": source} if source else {})


class DeploymentRequest(RequestShape):
    """A deployment as it is asked for."""

    sku: Sku
    properties: Properties
    tags: dict[str, str] = Field(default_factory=dict)


class DeploymentChange(RequestShape):
    """What may change afterwards."""

    sku: Sku | None = None
    tags: dict[str, str] | None = None


def check_model(asked: DeployedModel, found: Model | None, sku: str) -> Model:
    """The model, if it can be deployed so; raises ``Refusal`` in Azure's words."""
    if found is None:
        raise asked.refusal("This service has no such model; GET /openai/v1/models lists those it has.")
    formats = formats_of(found.base_model)
    if asked.format.lower() not in [word.lower() for word in formats]:
        raise asked.refusal(f"Its format is {formats[0]}.")
    if found.adapter is None:
        if sku == DEVELOPER_SKU:
            model = f"'{found.name}' version: '{asked.version or '1'}'. It is for tuned models."
            message = f"The specified SKU '{sku}' of account deployment is not supported by the model {model}"
            raise Refusal(400, "InvalidResourceProperties", message, "sku.name")
    elif asked.version not in (None, "1"):
        raise asked.refusal("The version of a tuned model is 1.")
    return found


# This service as a resource of Azure's management API: its account and key, its models, kinds and capacity.
#
# It has the lists that a tool reads before it deploys. It is one resource, whatever subscription,
# resource group and account a path names, so that a script written for Azure runs here with its own
# names in it.

PROVIDER = "Microsoft.CognitiveServices"
SUBSCRIPTION = f"/subscriptions/{{subscription}}/providers/{PROVIDER}"
ACCOUNTS = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{PROVIDER}/accounts"
LOCATION = "local"
NAME = "workbench"  # of the account, where a path names none
KIND, ACCOUNT_SKU = "AIServices", "S0"
CAPACITY: dict[str, JSON] = {"minimum": 1, "maximum": MOST_CAPACITY, "step": 1, "default": 1}


class ManagementApi:
    """The calls of the management API: those about the resource itself, then those about deployments."""

    def __init__(self, store: Store, emulation: Emulation, key: str) -> None:
        """Deploy the models of ``store``; ``key`` opens the service."""
        self._store, self._key = store, key
        self._limits, self._clock = emulation.limits, emulation.clock

    async def list_models(self, request: Request) -> Response:
        """List what can be deployed, in this place."""
        models = (_show_model(one) for one in all_models(self._store))
        shown = [{"kind": KIND, "skuName": ACCOUNT_SKU, "model": model} for model in models]
        return JSONResponse({"value": shown})

    async def list_account_models(self, request: Request) -> Response:
        """List what can be deployed on this account."""
        return JSONResponse({"value": [_show_model(one) for one in all_models(self._store)]})

    async def list_capacities(self, request: Request) -> Response:
        """List how much of a model can be deployed as each kind; the query names the model."""
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
        used: Counter[str] = Counter()
        for one in self._store.deployments.all():
            model = find_model(self._store, one.model)
            if model is not None:
                used[_usage_name(model, one.sku)] += one.capacity
        names = [_usage_name(model, sku) for model in all_models(self._store) for sku in _skus_of(model)]
        usages = [_show_usage(name, used[name], MOST_CAPACITY) for name in dict.fromkeys(names)]
        return JSONResponse({"value": usages})

    async def list_account_usages(self, request: Request) -> Response:
        """List how many deployments the account has, and may have where there is a limit."""
        others = self._store.deployments.all()
        tuned = sum(one.tuned for one in others)
        usages = [
            _show_usage("Deployments", len(others), self._limits.max_deployments),
            _show_usage("FineTunedDeployments", tuned, self._limits.max_tuned_deployments),
        ]
        return JSONResponse({"value": usages})

    async def list_account_skus(self, request: Request) -> Response:
        """List the kinds that the account may be of; there is one."""
        shown = {"resourceType": f"{PROVIDER}/accounts", "sku": {"name": ACCOUNT_SKU}}
        return JSONResponse({"value": [shown]})

    async def list_resource_skus(self, request: Request) -> Response:
        """List the kinds of account that there are."""
        sku = {"resourceType": "accounts", "name": ACCOUNT_SKU, "tier": "Standard", "kind": KIND}
        return JSONResponse({"value": [{**sku, "locations": [LOCATION], "restrictions": []}]})

    async def list_deployment_skus(self, request: Request) -> Response:
        """List the kinds that a deployment may become, with the sizes."""
        model = find_model(self._store, self._deployment(request).model)
        kind, names = f"{PROVIDER}/accounts/deployments", _skus_of(model) if model else ()
        skus = [{"resourceType": kind, "sku": {"name": name}, "capacity": CAPACITY} for name in names]
        return JSONResponse({"value": skus})

    async def list_permissions(self, request: Request) -> Response:
        """List what the caller may do with the account: all, unless the fault ``role`` is active."""
        writing = [f"{PROVIDER}/accounts/deployments/{action}" for action in ("write", "delete")]
        withheld = writing if "role" in faults_of(request) else []
        may = {"actions": ["*"], "notActions": withheld, "dataActions": [f"{PROVIDER}/*"]}
        return JSONResponse({"value": [{**may, "notDataActions": []}]})

    async def list_keys(self, request: Request) -> Response:
        """Give the keys; both are the one key of the service."""
        return JSONResponse({"key1": self._key, "key2": self._key}, headers={"cache-control": "no-store"})

    async def regenerate_key(self, request: Request) -> Response:
        """Say that the key stays."""
        raise _conflict("The key of the local service is set when it is started, by WORKBENCH_LOCAL_KEY.")

    async def show_account(self, request: Request) -> Response:
        """Describe this service as a resource."""
        return JSONResponse(_show_account(request, request.path_params["account"]))

    async def list_accounts(self, request: Request) -> Response:
        """List the one resource that this service is."""
        return JSONResponse({"value": [_show_account(request, NAME)]})

    # Deployments over HTTP, at the addresses of Azure's management API.
    #
    # This service is one resource, whatever subscription, resource group and account a path names. With
    # ``azure-mgmt-cognitiveservices`` it is reached like this; the key goes through a policy of azure-core
    # because a token would be refused over plain http, and one asks more often than every 30 seconds::
    #
    #     key = AzureKeyCredential("the service's key")
    #     policy = AzureKeyCredentialPolicy(key, "Authorization", prefix="Bearer")
    #     client = CognitiveServicesManagementClient(
    #         key, "any-subscription", base_url=address, authentication_policy=policy, polling_interval=1
    #     )
    #
    # Azure's 500 without a message for a wrong ``model.format`` is not emulated: the
    # refusal names the right one.

    async def put(self, request: Request) -> Response:
        """Create a deployment, or change the size of one; it answers some seconds later."""
        name = request.path_params["name"]
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name):
            rule = "A deployment's name has 1 to 64 letters, digits and hyphens"
            raise invalid(f"{rule}; {name[:80]!r} is none.", "name")
        _check_role(request, "write")
        asked = await read_json(request, DeploymentRequest)
        sku, faults = asked.sku.spelt, faults_of(request)
        model = find_model(self._store, asked.properties.model.name)
        model = check_model(asked.properties.model, model, sku)
        self._check_safety(model, harms(faults, "model-check"))
        existing = self._store.deployments.get(name)
        if existing is not None:
            self._check_idle(existing)
            if existing.model != model.name:
                raise _conflict(f"There is a deployment {name!r}, of {existing.model}; delete it first.")
        self._check_quota(model, asked.sku, existing, faults)
        deployment = Deployment(
            name=existing.name if existing else name,
            sku=sku,
            capacity=asked.sku.capacity,
            model=model.name,
            version=asked.properties.model.version or "1",
            format=asked.properties.model.format,
            tuned=model.adapter is not None,
            settings=asked.properties.repeated,
            tags=asked.tags,
            created_at=existing.created_at if existing else self._clock.now(),
            called_at=existing.called_at if existing else None,
        )
        self._store.deployments.put(deployment)
        if existing is not None:
            return JSONResponse(self._show(request, deployment))
        place = SUBSCRIPTION.format(subscription=quote(request.path_params["subscription"])).lstrip("/")
        place = f"{request.base_url}{place}/locations/{LOCATION}"
        operation = f"{place}/operationResults/{name}?{request.url.query}"
        headers = {"azure-asyncoperation": operation, "retry-after": self._retry_after(deployment)}
        return JSONResponse(self._show(request, deployment), 201, headers)

    async def show(self, request: Request) -> Response:
        """Describe one deployment."""
        return JSONResponse(self._show(request, self._deployment(request)))

    async def list_deployments(self, request: Request) -> Response:
        """List all deployments."""
        shown: list[JSON] = [self._show(request, one) for one in self._store.deployments.all()]
        return JSONResponse({"value": shown})

    async def change(self, request: Request) -> Response:
        """Change the kind, the size or the tags of a deployment."""
        deployment = self._deployment(request)
        _check_role(request, "write")
        self._check_idle(deployment)
        asked = await read_json(request, DeploymentChange)
        if asked.sku is not None:
            model = find_model(self._store, deployment.model)
            assert model is not None  # a deployed model is not deleted
            self._check_quota(model, asked.sku, deployment, faults_of(request))
            deployment = replace(deployment, sku=asked.sku.spelt, capacity=asked.sku.capacity)
        if asked.tags is not None:
            deployment = replace(deployment, tags=asked.tags)
        self._store.deployments.put(deployment)
        return JSONResponse(self._show(request, deployment))

    async def delete(self, request: Request) -> Response:
        """Delete a deployment; its model stays."""
        deployment = self._store.deployments.get(request.path_params["name"])
        if deployment is None:
            return Response(status_code=204)
        _check_role(request, "delete")
        self._check_idle(deployment)
        self._store.deployments.delete(deployment.name)
        return Response(status_code=200)

    async def show_operation(self, request: Request) -> Response:
        """Tell how far the creation of a deployment is."""
        name = request.path_params["name"]
        deployment = self._store.deployments.get(name)
        status, headers = "Canceled", {}
        if deployment is not None:
            status = "InProgress" if deployment.lacks(self._clock) else "Succeeded"
        if deployment is not None and status == "InProgress":
            headers = {"retry-after": self._retry_after(deployment)}
        return JSONResponse({"id": request.url.path, "name": name, "status": status}, headers=headers)

    def _deployment(self, request: Request) -> Deployment:
        asked = request.path_params
        deployment = self._store.deployments.get(asked["name"])
        if deployment is None:
            what = f"{PROVIDER}/accounts/{asked['account']}/deployments/{asked['name'][:80]}"
            message = f"The Resource '{what}' under resource group '{asked['group'][:80]}' was not found."
            raise Refusal(404, "ResourceNotFound", message)
        return deployment

    def _check_idle(self, deployment: Deployment) -> None:
        if deployment.lacks(self._clock):
            raise _conflict(f"The deployment {deployment.name!r} is still being created; wait for it.")

    def _check_safety(self, model: Model, found: tuple[str, ...]) -> None:
        if model.job_id is None:
            return
        problem = model_refusal(", ".join(found)) if found else self._store.safety.model_problem(model.job_id)
        if problem:
            raise Refusal(400, "unexpectedEntityState", problem, "properties.model.name")

    def _check_quota(self, model: Model, sku: Sku, existing: Deployment | None, faults: Faults) -> None:
        more = sku.capacity - (existing.capacity if existing else 0)
        if "quota" in faults and more > 0:
            message = (
                f"This operation require {more} new capacity in quota Tokens Per Minute (thousands) - "
                f"{sku.spelt} - {model.name}, which is bigger than the current available capacity 0."
            )
            raise Refusal(429, "InsufficientQuota", message)
        if existing is not None:
            return
        others = self._store.deployments.all()
        tuned = sum(one.tuned for one in others) if model.adapter else 0
        for found, limit, words in (
            (len(others), self._limits.max_deployments, "deployments"),
            (tuned, self._limits.max_tuned_deployments, "deployments of tuned models"),
        ):
            if limit is not None and found >= limit:
                message = f"This resource has {found} {words}, the most there may be; delete one first."
                raise Refusal(400, "quotaExceeded", message)

    def _retry_after(self, deployment: Deployment) -> str:
        return str(max(1, ceil(self._clock.takes(deployment.lacks(self._clock)))))

    def _show(self, request: Request, deployment: Deployment) -> dict[str, JSON]:
        account = account_id(request, request.path_params["account"])
        of = deployment
        model: dict[str, JSON] = {"format": of.format, "name": of.model, "version": of.version}
        settings = dict(deployment.settings)
        source = settings.pop("source", None)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(deployment.created_at))
        return {
            "id": f"{account}/deployments/{deployment.name}",
            "name": deployment.name,
            "type": f"{PROVIDER}/accounts/deployments",
            "sku": {"name": deployment.sku, "capacity": deployment.capacity},
            "etag": deployment.etag,
            "tags": dict(deployment.tags),
            "systemData": {"createdAt": created, "lastModifiedAt": created},
            "properties": {
                "model": model | (source if isinstance(source, dict) else {}),
                "provisioningState": "Creating" if deployment.lacks(self._clock) else "Succeeded",
                "capabilities": {"chatCompletion": "true"},
                # At capacity 1 a tuned deployment gives about one request a minute.
                "rateLimits": [
                    {"key": "request", "renewalPeriod": 60, "count": deployment.capacity},
                    {"key": "token", "renewalPeriod": 60, "count": deployment.capacity * 1000},
                ],
                **settings,
            },
        }


def account_id(request: Request, account: str) -> str:
    """The account's id in the words of the path that was asked for."""
    place = request.path_params["subscription"], request.path_params.get("group", NAME)
    return f"{ACCOUNTS.format(subscription=place[0], group=place[1])}/{account}"


def _check_role(request: Request, action: str) -> None:
    """Raise Azure's refusal of somebody who may train but not deploy, where that fault was asked for."""
    if "role" not in faults_of(request):
        return
    asked = request.path_params
    scope = f"{account_id(request, asked['account'])}/deployments/{asked['name'][:80]}"
    message = (
        "The client does not have authorization to perform action "
        f"'{PROVIDER}/accounts/deployments/{action}' over scope '{scope}' or the scope is invalid. If access "
        "was recently granted, please refresh your credentials."
    )
    raise Refusal(403, "AuthorizationFailed", message)


def _conflict(message: str) -> Refusal:
    return Refusal(409, "conflict", message)


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
    usages = [(sku, _usage_name(model, sku)) for sku in _skus_of(model)]
    return {
        "format": formats_of(model.base_model)[0],
        "name": model.name,
        "version": "1",
        "isDefaultVersion": True,
        "maxCapacity": MOST_CAPACITY,
        "lifecycleStatus": "GenerallyAvailable",
        "capabilities": {"chatCompletion": "true", "fineTune": "true"},
        "skus": [{"name": sku, "usageName": usage, "capacity": CAPACITY} for sku, usage in usages],
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
