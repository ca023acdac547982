"""What came out of a job: the tuned model, what it was really trained with, and how long that took.

Read from the job and its events alone. Whether the curve looks healthy and
whether the model is better is judged elsewhere.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import SetupError
from workbench.tables import table
from workbench.training.curves.curve import REWARD
from workbench.training.hints import hinted
from workbench.training.progress import checkpoints

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob
    from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

    from workbench.training.progress import Progress


STARTED = ("Training started.", "Fine-tuning job started")  # said by Azure and here; by OpenAI


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
        rows = [(name, str(value)) for name, value in self.facts.items()]
        return table(f"Job {self.job.status}", ("fact", "value"), rows)


@dataclass(frozen=True)
class Kept:
    """The checkpoints of a job: what each is called, and what was measured there."""

    checkpoints: tuple["FineTuningJobCheckpoint", ...]

    @property
    def models(self) -> list[str]:
        """Their names, newest first; each can be asked like any other model."""
        return [checkpoint.fine_tuned_model_checkpoint for checkpoint in self.checkpoints]

    @property
    def steps(self) -> list[int]:
        """Where each was saved, newest first."""
        return [checkpoint.step_number for checkpoint in self.checkpoints]

    def __repr__(self) -> str:
        """Name one a line."""
        return "\n".join(f"step {c.step_number}: {c.fine_tuned_model_checkpoint}" for c in self.checkpoints)

    def _repr_html_(self) -> str:
        columns = ("step", "model", "validation loss", "validation tokens right", "held-out answers right")
        rows = []
        for checkpoint in self.checkpoints:
            measured = checkpoint.metrics.model_dump()
            loss = measured.get("full_valid_loss")
            rows.append(
                (
                    str(checkpoint.step_number),
                    checkpoint.fine_tuned_model_checkpoint,
                    "" if loss is None else f"{loss:.4g}",
                    _share(measured.get("full_valid_mean_token_accuracy")),
                    _share(measured.get(REWARD)),
                )
            )
        return table("Checkpoints that can be used, newest first", columns, rows)


def outcome(progress: "Progress") -> Outcome:
    """Tell what came out of a job that has ended; one that failed or was cancelled is a ``SetupError``.

    ``training_seconds`` run from the service's word that training started, or
    from the job's creation where it does not say so, to the job's end.
    """
    job = progress.job
    if job.status != "succeeded" or job.finished_at is None or job.fine_tuned_model is None:
        how = {"failed": "failed", "cancelled": "was cancelled"}.get(job.status, f"is {job.status}")
        reason = (
            f" ({hinted(job.error.message).removesuffix('.')})" if job.error and job.error.message else ""
        )
        way_out = "run 04_launch again" if progress.ended else "wait for it in 04_launch"
        raise SetupError(f"Job {job.id} {how}{reason}; {way_out}.")
    started = next((e.created_at for e in progress.events if e.message in STARTED), job.created_at)
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


def kept_checkpoints(client: "OpenAI", job: "FineTuningJob") -> Kept:
    """List the states of the model that can still be used, newest first."""
    return Kept(tuple(checkpoints(client, job)))


def _share(value: object) -> str:
    return f"{value:.0%}" if isinstance(value, float | int) else ""
