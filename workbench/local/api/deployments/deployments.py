"""Deployments over HTTP, at the addresses of Azure's management API.

This service is one resource, whatever subscription, resource group and account a path names. With
``azure-mgmt-cognitiveservices`` it is reached like this; the key goes through a policy of azure-core
because a token would be refused over plain http, and one asks more often than every 30 seconds::

    key = AzureKeyCredential("the service's key")
    policy = AzureKeyCredentialPolicy(key, "Authorization", prefix="Bearer")
    client = CognitiveServicesManagementClient(
        key, "any-subscription", base_url=address, authentication_policy=policy, polling_interval=1
    )

Azure's 500 without a message for a wrong ``model.format`` is not rehearsed: the refusal names the right one.
"""

import time
from dataclasses import replace
from math import ceil
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from workbench.local.api.deployments.deployment_request import (
    DeploymentChange,
    DeploymentRequest,
    check_model,
    check_name,
)
from workbench.local.api.deployments.resource import (
    ACCOUNTS,
    LOCATION,
    PROVIDER,
    SUBSCRIPTION,
    account_id,
    check_version,
    deployment_not_found,
)
from workbench.local.api.faults import faults_of
from workbench.local.api.models import Model, find_model
from workbench.local.api.refusals import Refusal
from workbench.local.api.requests import read_json
from workbench.local.faults import harms
from workbench.local.rehearsal import Rehearsal
from workbench.local.storage.deployments import Deployment
from workbench.local.storage.rows import JSON
from workbench.local.storage.safety import model_refusal
from workbench.local.storage.store import Store


class DeploymentsApi:
    """The part of the management API that is about deployments."""

    def __init__(self, store: Store, rehearsal: Rehearsal) -> None:
        """Deploy the models of ``store``."""
        self._store = store
        self._limits, self._clock = rehearsal.limits, rehearsal.clock

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found, from the root of the service's address."""
        deployments = f"{ACCOUNTS}/{{account}}/deployments"
        one = f"{deployments}/{{name}}"
        return [
            Route(one, self.put, methods=["PUT"]),
            Route(one, self.show, methods=["GET"]),
            Route(one, self.change, methods=["PATCH"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(deployments, self.list_deployments),
            Route(f"{SUBSCRIPTION}/locations/{{location}}/operationResults/{{name}}", self.show_operation),
        ]

    async def put(self, request: Request) -> Response:
        """Create a deployment, or change the size of one; it answers some seconds later."""
        check_version(request)
        name = request.path_params["name"]
        check_name(name)
        asked = await read_json(request, DeploymentRequest)
        sku, faults = asked.sku.spelt, faults_of(request)
        model = find_model(self._store, asked.properties.model.name)
        model = check_model(asked.properties.model, model, sku)
        self._check_safety(model, harms(faults, "model-check"))
        existing = self._store.deployments.get(name)
        if existing is not None:
            self._check_idle(existing)
            if existing.model != model.name:
                message = f"There is a deployment {name!r} already, of {existing.model}; delete it first."
                raise Refusal(409, "conflict", message)
        self._check_quota(model, sku, asked.sku.capacity, existing, out_of_quota="quota" in faults)
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
        operation = (
            f"{request.base_url}{place}/locations/{LOCATION}/operationResults/{name}?{request.url.query}"
        )
        headers = {"azure-asyncoperation": operation, "retry-after": self._retry_after(deployment)}
        return JSONResponse(self._show(request, deployment), 201, headers)

    async def show(self, request: Request) -> Response:
        """Describe one deployment."""
        return JSONResponse(self._show(request, self._deployment(request)))

    async def list_deployments(self, request: Request) -> Response:
        """List all deployments."""
        check_version(request)
        shown: list[JSON] = [self._show(request, one) for one in self._store.deployments.all()]
        return JSONResponse({"value": shown})

    async def change(self, request: Request) -> Response:
        """Change the kind, the size or the tags of a deployment."""
        deployment = self._deployment(request)
        self._check_idle(deployment)
        asked = await read_json(request, DeploymentChange)
        if asked.sku is not None:
            model = find_model(self._store, deployment.model)
            assert model is not None  # a deployed model is not deleted
            out_of_quota = "quota" in faults_of(request)
            self._check_quota(
                model, asked.sku.spelt, asked.sku.capacity, deployment, out_of_quota=out_of_quota
            )
            deployment = replace(deployment, sku=asked.sku.spelt, capacity=asked.sku.capacity)
        if asked.tags is not None:
            deployment = replace(deployment, tags=asked.tags)
        self._store.deployments.put(deployment)
        return JSONResponse(self._show(request, deployment))

    async def delete(self, request: Request) -> Response:
        """Delete a deployment; its model stays."""
        check_version(request)
        deployment = self._store.deployments.get(request.path_params["name"])
        if deployment is None:
            return Response(status_code=204)
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
        check_version(request)
        deployment = self._store.deployments.get(request.path_params["name"])
        if deployment is None:
            raise deployment_not_found(request)
        return deployment

    def _check_idle(self, deployment: Deployment) -> None:
        if deployment.lacks(self._clock):
            message = (
                f"The deployment {deployment.name!r} is still being created; wait until it has succeeded."
            )
            raise Refusal(409, "conflict", message)

    def _check_safety(self, model: Model, found: tuple[str, ...]) -> None:
        tuned = self._store.checkpoints.model(model.name)
        if tuned is None:
            return
        problem = model_refusal(", ".join(found)) if found else self._store.safety.model_problem(tuned.job_id)
        if problem:
            raise Refusal(400, "unexpectedEntityState", problem, "properties.model.name")

    def _check_quota(
        self, model: Model, sku: str, capacity: int, existing: Deployment | None, *, out_of_quota: bool
    ) -> None:
        more = capacity - (existing.capacity if existing else 0)
        if out_of_quota and more > 0:
            message = (
                f"This operation require {more} new capacity in quota Tokens Per Minute (thousands) - "
                f"{sku} - {model.name}, which is bigger than the current available capacity 0."
            )
            raise Refusal(429, "InsufficientQuota", message)
        if existing is not None:
            return
        others = self._store.deployments.all()
        tuned = sum(one.tuned for one in others) if model.adapter else 0
        for found, limit, words in (
            (len(others), self._limits.deployments, "deployments"),
            (tuned, self._limits.tuned_deployments, "deployments of tuned models"),
        ):
            if limit is not None and found >= limit:
                message = f"This resource has {found} {words}, the most there may be; delete one first."
                raise Refusal(400, "quotaExceeded", message)

    def _retry_after(self, deployment: Deployment) -> str:
        return str(max(1, ceil(self._clock.takes(deployment.lacks(self._clock)))))

    def _show(self, request: Request, deployment: Deployment) -> dict[str, JSON]:
        account = account_id(request, request.path_params["account"])
        model: dict[str, JSON] = {
            "format": deployment.format,
            "name": deployment.model,
            "version": deployment.version,
        }
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
