"""Who answers under a name: a deployment, or, where the service is not strict, a model directly.

As on Azure a deployment's name stands before a model's. A deployment that is still being created
is not found yet, one that is too new or too busy says so only where that fault was asked for.
"""

from collections import defaultdict, deque
from typing import NamedTuple

from workbench.local.api.models import Model, find_model
from workbench.local.api.refusals import Refusal
from workbench.local.faults import Faults, seconds
from workbench.local.rehearsal import Rehearsal
from workbench.local.storage.deployments import Deployment
from workbench.local.storage.store import Store

NOTED_EVERY = 3_600.0  # seconds; each note is a write to the disk, and only days count
MINUTE = 60.0


class Served(NamedTuple):
    """The model that answers, and the deployment through which it was called, if any."""

    model: Model
    deployment: Deployment | None


class Serving:
    """The names under which one service answers."""

    def __init__(self, store: Store, rehearsal: Rehearsal) -> None:
        """Look into ``store``, as strictly as ``rehearsal`` wants it."""
        self._store = store
        self._strict, self._clock = rehearsal.strict, rehearsal.clock
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
