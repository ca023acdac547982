"""Pausing, resuming and cancelling a job, and what each of them costs.

What can be done now is read from the job alone; whether the service does it, it says itself.
Source of the rules and costs: Microsoft Learn, "Customize a model with fine-tuning" (09/25/2026) and
"Fine-tuning cost management" (03/19/2026).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from workbench.catalog.providers import Provider, provider_of
from workbench.display import table
from workbench.training.follow import ENDED
from workbench.training.jobs import hints

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob

_BEGUN = ("running", "pausing", "paused", "resuming")


class Choice(NamedTuple):
    """One thing that can be done to a job."""

    verb: str
    possible: bool
    when: str
    costs: str


@dataclass(frozen=True, repr=False)
class Choices:
    """What can be done to a job as it stands, and what each costs."""

    job: "FineTuningJob"
    all: tuple[Choice, ...]

    def __repr__(self) -> str:
        """Name one a line."""
        return "\n".join(
            f"{each.verb} ({'possible' if each.possible else 'not now'}: {each.when}): costs {each.costs}."
            for each in self.all
        )

    def _repr_html_(self) -> str:
        rows = [(each.verb, "yes" if each.possible else "no", each.when, each.costs) for each in self.all]
        return table(f"{self.job.id} is {self.job.status}", ("to", "possible", "when", "what it costs"), rows)


def choices(client: "OpenAI", job: "FineTuningJob") -> Choices:
    """What can I do to this job now, and what would it cost?"""
    service = provider_of(client)
    return Choices(job, (_pause(job, service), _resume(job, service), _cancel(job, service)))


def pause_job(client: "OpenAI", job: "FineTuningJob | str") -> "FineTuningJob":
    """Let a running job rest: it keeps its place and leaves a checkpoint that can be used."""
    with hints(client):
        return client.fine_tuning.jobs.pause(_id(job))


def resume_job(client: "OpenAI", job: "FineTuningJob | str") -> "FineTuningJob":
    """Let a paused job go on; one that Azure paused at its price limit goes on without it."""
    with hints(client):
        return client.fine_tuning.jobs.resume(_id(job))


def cancel_job(client: "OpenAI", job: "FineTuningJob | str") -> "FineTuningJob":
    """End a job for good; its checkpoints stay."""
    with hints(client):
        return client.fine_tuning.jobs.cancel(_id(job))


def _pause(job: "FineTuningJob", service: Provider) -> Choice:
    when = "while it runs and after its first step; on Azure for OpenAI's models only, and not for gpt-5"
    costs = "nothing beyond what was trained; a checkpoint that can be deployed comes after the safety check"
    if service.runs_here:
        costs = "nothing"
    return Choice("pause", job.status == "running", when, costs)


def _resume(job: "FineTuningJob", service: Provider) -> Choice:
    costs = "what is still to be trained"
    if _by_the_hour(job) and service.limits.pause_usd is not None:
        costs += f"; Azure's own pause at ${service.limits.pause_usd:,} does not come again"
    if service.runs_here:
        costs = "nothing"
    return Choice("resume", str(job.status) == "paused", "when it is paused", costs)


def _cancel(job: "FineTuningJob", service: Provider) -> Choice:
    if service.runs_here:
        costs = "nothing"
    elif job.status not in _BEGUN:
        costs = "nothing, because training has not begun"
    elif _by_the_hour(job):
        costs = "the hours trained so far, and what the grader has read and written"
    else:
        costs = "what was trained may be billed; the documents promise nothing once training has begun"
    return Choice("cancel", job.status not in ENDED, "at any time before its end, for good", costs)


def _by_the_hour(job: "FineTuningJob") -> bool:
    return job.method is not None and job.method.type == "reinforcement"


def _id(job: "FineTuningJob | str") -> str:
    return job if isinstance(job, str) else job.id
