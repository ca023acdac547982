"""What came out of a job: the tuned model, what it was really trained with, and how long that took.

Read from the job and its events alone. Whether the curve looks healthy and
whether the model is better is judged elsewhere.
"""

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import SetupError
from workbench.training.curve import REWARD
from workbench.training.progress import checkpoints

if TYPE_CHECKING:
    import pandas
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob

    from workbench.training.progress import Progress

_STARTED = (
    "Training started.",
    "Fine-tuning job started.",
    "Fine-tuning job started",
)  # Azure, local; OpenAI


@dataclass(frozen=True)
class Outcome:
    """A job that succeeded."""

    job: "FineTuningJob"
    training_seconds: int
    facts: dict[str, str | int | float]  # for people, in the order they are shown

    @property
    def model(self) -> str:
        """The tuned model's name, to be asked like any other."""
        return str(self.job.fine_tuned_model)

    def __repr__(self) -> str:
        """Show a fact a line."""
        return "\n".join(f"{name}: {value}" for name, value in self.facts.items())

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><th scope='row' style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
            for name, value in self.facts.items()
        )
        return f"<table>{''.join(rows)}</table>"


def outcome(progress: "Progress") -> Outcome:
    """Tell what came out of a job that has ended; one that failed or was cancelled is a ``SetupError``.

    ``training_seconds`` run from the service's word that training started, or
    from the job's creation where it does not say so, to the job's end.
    """
    job = progress.job
    if job.status != "succeeded" or job.finished_at is None or job.fine_tuned_model is None:
        reason = (
            job.error.message.removesuffix(".") if job.error and job.error.message else "it gave no reason"
        )
        way_out = (
            "wait for it in 04_launch" if not progress.ended else "put that right and run 04_launch again"
        )
        told = f" ({reason})" if job.status == "failed" else ""
        raise SetupError(f"Job {job.id} is {job.status}{told}; {way_out}.")
    started = next((e.created_at for e in progress.events if e.message in _STARTED), job.created_at)
    seconds = job.finished_at - started
    # In a job's answer these stand where the service resolved "auto".
    used = job.hyperparameters.model_dump(exclude_none=True)
    facts: dict[str, str | int | float] = {
        "job": job.id,
        "tuned model": job.fine_tuned_model,
        "base model": job.model,
        **{name: value for name, value in used.items() if isinstance(value, str | int | float)},
        "steps": progress.curve.steps,
        "trained tokens": job.trained_tokens or "not told",
        "training seconds": seconds,
    }
    if REWARD in progress.curve.final:
        facts["held-out answers right"] = f"{progress.curve.final[REWARD]:.0%}"
    return Outcome(job, seconds, facts)


def checkpoint_table(client: "OpenAI", job: "FineTuningJob") -> "pandas.DataFrame":
    """List the states of the model that were kept, newest first, each with what was measured there."""
    import pandas

    rows = [
        {"step": kept.step_number, "model": kept.fine_tuned_model_checkpoint}
        | kept.metrics.model_dump(exclude={"step"}, exclude_none=True)
        for kept in checkpoints(client, job)
    ]
    return pandas.DataFrame(rows, columns=None if rows else ["step", "model"])
