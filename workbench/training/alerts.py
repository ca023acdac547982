"""Alerts about a job: it ended, it goes wrong, it costs too much; shown, or posted to an address."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workbench.catalog.service_errors import hinted
from workbench.errors import DataError, SetupError
from workbench.project import JSON
from workbench.training.cost import CostCap, dollars
from workbench.training.diagnosis import VERDICTS, diagnose
from workbench.training.follow import own_pause
from workbench.training.reward_rules import likelihood_displacement

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob

    from workbench.training.follow import Progress

# What somebody should know about a job at once: it ended, it goes wrong, it costs too much.
#
# An alert is a value that an iterator yields; whoever consumes decides whether to print it, to post it
# (``webhook``) or to cancel the job. Each kind is sent once a job. What a curve shows is judged in
# ``diagnosis``.


@dataclass(frozen=True)
class Alert:
    """One thing to know, of which job, and at which step."""

    kind: str
    """``done``, ``failed``, ``cancelled``, ``paused``, ``diverged``, ``overfitting``,
    ``likelihood_displacement``, ``reward_hacking`` or ``cost_cap``."""
    job_id: str
    message: str
    step: int

    @property
    def facts(self) -> dict[str, JSON]:
        """All of it for JSON; ``text`` is what chat rooms show of a webhook."""
        return {"text": f"{self.job_id}: {self.message}", **vars(self)}

    def __str__(self) -> str:
        """The alert as one line."""
        return f"{self.job_id} at step {self.step}: {self.kind.replace('_', ' ')}: {self.message}"


def alerts(progress: "Iterable[Progress]", *, cost_cap: CostCap | None = None) -> Iterator[Alert]:
    """Tell what there is to know as it comes up, of one job or of several."""
    sent: set[tuple[str, str]] = set()
    for now in progress:
        for alert in alerts_now(now, cost_cap=cost_cap):
            if (alert.job_id, alert.kind) not in sent:
                sent.add((alert.job_id, alert.kind))
                yield alert


def alerts_now(progress: "Progress", *, cost_cap: CostCap | None = None) -> tuple[Alert, ...]:
    """All that there is to know of a job as one look found it."""
    found = (*_of_the_curve(progress), *_of_the_cost(progress, cost_cap), *_of_the_state(progress))
    return tuple(Alert(kind, progress.job.id, message, step) for kind, message, step in found)


def _of_the_state(progress: "Progress") -> Iterator[tuple[str, str, int]]:
    job, step = progress.job, progress.curve.steps
    if job.status == "succeeded":
        yield "done", f"the model is {job.fine_tuned_model}", step
    elif job.status == "failed":
        reason = job.error.message if job.error and job.error.message else "the service gives no reason"
        yield "failed", hinted(reason), step
    elif job.status == "cancelled":
        yield "cancelled", "somebody cancelled it; its checkpoints stay", step
    elif str(job.status) == "paused":
        yield "paused", f"it waits until it is resumed{own_pause(job)}", step


def _of_the_cost(progress: "Progress", cost_cap: CostCap | None) -> Iterator[tuple[str, str, int]]:
    cost = cost_cap.cost(progress) if cost_cap else None
    if cost_cap and cost is not None and cost > cost_cap.usd:
        message = f"it costs {dollars(round(cost, 2))} by now, and {dollars(cost_cap.usd)} is the cap"
        if cost_cap.usd_per_hour is None:
            message = (
                f"with the epochs that it has it comes to {dollars(round(cost, 2))}, "
                f"and {dollars(cost_cap.usd)} is the cap"
            )
        yield "cost_cap", message, progress.curve.steps


def _of_the_curve(progress: "Progress") -> Iterator[tuple[str, str, int]]:
    """What a diagnosis warns of; one that is little sure of itself waits for the job's end."""
    found = diagnose(progress.curve, n_epochs=_epochs(progress.job))
    kind = VERDICTS[found.verdict].alert
    if kind and (found.confidence != "low" or progress.ended):
        first = found.evidence[0]
        yield kind, f"{found.title}: {first.sentence}", first.step or progress.curve.steps
    if displaced := likelihood_displacement(progress.curve):
        message = f"The preferred answers become less likely: {displaced.sentence}"
        yield "likelihood_displacement", message, displaced.step or progress.curve.steps


def _epochs(job: "FineTuningJob") -> int | None:
    """How many epochs the curve covers; nobody knows it of a part, nor while "auto" (-1) stands there."""
    chosen = job.hyperparameters.n_epochs if job.hyperparameters else None
    return chosen if isinstance(chosen, int) and chosen > 0 and job.status == "succeeded" else None


# Sending an alert to an address that somebody else watches: a chat room, a pager, a job queue.

POST_SECONDS = 10.0


def post(alert: Alert, url: str) -> None:
    """Send an alert to a webhook as JSON; where that is not possible, ``SetupError`` says why.

    The address may hold a secret, so no message repeats more of it than the host.
    """
    host = urlsplit(address(url)).hostname
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(alert.facts).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=POST_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise SetupError(f"The webhook at {host} answers {error.code}; check its address.") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise SetupError(f"The webhook at {host} cannot be reached: {reason}.") from None


def address(url: str) -> str:
    """The address itself, if an alert can be posted there."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DataError("A webhook is an address that begins with https:// or http://.")
    return url
