"""Pausing, resuming and cancelling a job, and what each of them costs.

What can be done now is read from the job alone; a service that refuses gives its own reason.
Source of the rules and costs: Microsoft Learn, "Customize a model with fine-tuning" (09/25/2026) and
"Fine-tuning cost management" (03/19/2026).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from workbench.catalog.methods import method_of
from workbench.catalog.providers import provider_of
from workbench.display import table
from workbench.training.follow import ENDED, id_of
from workbench.training.jobs import hints

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob

_BEGUN = ("running", "pausing", "paused", "resuming")

Verb: TypeAlias = Literal["pause", "resume", "cancel"]


class JobAction(NamedTuple):
    """One thing that can be done to a job."""

    verb: Verb
    possible: bool
    when: str
    costs: str


@dataclass(frozen=True, repr=False)
class Choices:
    """What can be done to a job as it stands, and what each costs."""

    job: "FineTuningJob"
    all: tuple[JobAction, ...]

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
    service, by_the_hour = provider_of(client), method_of(job).billed_by == "hours"
    paused = "nothing beyond what was trained; a checkpoint that can be deployed comes after the safety check"
    resumed = "what is still to be trained"
    if by_the_hour and service.limits.pause_usd is not None:
        resumed += f"; Azure's own pause at ${service.limits.pause_usd:,} does not come again"
    cancelled = "what was trained may be billed; the documents promise nothing once training has begun"
    if job.status not in _BEGUN:
        cancelled = "nothing, because training has not begun"
    elif by_the_hour:
        cancelled = "the hours trained so far, and what the grader has read and written"
    if service.runs_here:
        paused = resumed = cancelled = "nothing"
    started = "while it runs and after its first step; on Azure for OpenAI's models only, and not for gpt-5"
    return Choices(
        job,
        (
            JobAction("pause", job.status == "running", started, paused),
            JobAction("resume", str(job.status) == "paused", "when it is paused", resumed),
            JobAction("cancel", job.status not in ENDED, "at any time before its end, for good", cancelled),
        ),
    )


def change_job(client: "OpenAI", job: "FineTuningJob | str", verb: Verb) -> "FineTuningJob":
    """Pause, resume or cancel a job.

    A paused job keeps its place and leaves a checkpoint that can be used; one that Azure paused at its
    price limit is resumed without that limit; a cancelled one is ended for good, and its checkpoints stay.
    """
    jobs = client.fine_tuning.jobs
    ask = {"pause": jobs.pause, "resume": jobs.resume, "cancel": jobs.cancel}[verb]
    with hints(client):
        return ask(id_of(job))
