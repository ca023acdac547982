"""A run: one job, how it was trained, on what, and what came of it.

Read from the entries of a project's record; the service adds what it knows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from workbench.project import JSON, Entry
from workbench.training.billing import billed
from workbench.training.curves.axes import located
from workbench.training.outcome import outcome

if TYPE_CHECKING:
    from workbench.training.curves.curve import Curve
    from workbench.training.progress import Progress

NOTHING: Mapping[str, JSON] = MappingProxyType({})

# Facts of a job on record that are not how it was trained: what it is called, where it is, and its data.
_NOT_CONFIGURED = ("job_id", "content", "endpoint", "training_sha256", "validation_sha256")
_HASH = 12  # digits of a SHA-256, as in the names of uploaded files
_COUNTS = ("training_examples", "validation_examples", "source")


@dataclass(frozen=True)
class Score:
    """What a test said of a run's model: a share from 0 to 1 with its 95 % interval."""

    model: str
    score: float
    low: float
    high: float
    items: int
    grader: str
    difference: float
    """To the base model on the same items, from -1 to 1."""
    outcome: str
    """To the base model: ``better``, ``worse``, ``inconclusive`` …, as the comparison said."""

    def __str__(self) -> str:
        """``84 % (78–89)``."""
        return f"{100 * self.score:.0f} % ({100 * self.low:.0f}–{100 * self.high:.0f})"


@dataclass(frozen=True, eq=False)
class Run:
    """One job: how it was trained, on what, and what came of it."""

    number: int
    """In the order of their starts, from 1."""
    job_id: str
    started: str  # UTC, ISO 8601
    configuration: Mapping[str, JSON]
    """Model, service, seed, method and each hyperparameter by the API's name."""
    data: Mapping[str, JSON]
    status: str | None = None
    """As the service tells it; ``None`` where it was not asked or does not know the job."""
    usd: float | None = None
    """US dollars of training, where they are known."""
    training_seconds: float | None = None
    final: Mapping[str, float] = field(default_factory=dict)
    """The last value of each measure."""
    scores: tuple[Score, ...] = ()
    """One for each model of the run that was tested, the oldest first."""
    curve: "Curve | None" = None
    training_file: Path | None = None
    """What it was trained on, in the project's folder; ``None`` where that is not there any more."""


def recorded_run(
    number: int,
    job: Entry,
    dataset: Mapping[str, JSON],
    curves: Sequence[Entry],
    comparisons: Sequence[Entry],
) -> Run:
    """Put a run together from the record: its job, its dataset, and what was found of it later."""
    later = (*comparisons, *curves)
    measured = later[-1].facts if later else NOTHING
    final, seconds = measured.get("final"), measured.get("training_seconds")
    return Run(
        number,
        str(job.facts["job_id"]),
        job.at,
        _configuration(job.facts),
        _data(job.facts, dataset),
        training_seconds=float(seconds) if isinstance(seconds, int | float) else None,
        final=_numbers(final) if isinstance(final, Mapping) else {},
        scores=tuple({score.model: score for score in map(_score, comparisons)}.values()),
    )


def asked_run(run: Run, progress: "Progress") -> Run:
    """Add what the service says: a knob that was "auto" gets the value that was really trained with."""
    job, curve = progress.job, located(progress.curve, progress.job)
    chosen = job.hyperparameters.model_dump() if job.hyperparameters else {}
    used = {
        name: chosen.get(name) or value if value == "auto" else value
        for name, value in run.configuration.items()
    }
    kind = run.configuration.get("training_type")
    is_done = job.status == "succeeded" and job.finished_at and job.fine_tuned_model
    return replace(
        run,
        configuration=used,
        status=job.status,
        usd=billed(
            job,
            progress.events,
            service=str(run.configuration.get("provider")),
            training_type=str(kind) if kind else None,
        ),
        training_seconds=outcome(progress).training_seconds if is_done else run.training_seconds,
        final=curve.final,
        curve=curve,
    )


def _configuration(facts: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """The facts of a job in one row: hyperparameters beside the model, a grader by its name."""
    found: dict[str, JSON] = {}
    for name, value in facts.items():
        if name == "hyperparameters" and isinstance(value, Mapping):
            found |= value
        elif name == "grader" and isinstance(value, Mapping):
            found["grader"] = value.get("name", value.get("type"))
        elif name not in _NOT_CONFIGURED:
            found[name] = value
    return found


def _data(facts: Mapping[str, JSON], dataset: Mapping[str, JSON]) -> Mapping[str, JSON]:
    hashes = {
        f"{role} data": str(sha256)[:_HASH]
        for role in ("training", "validation")
        if (sha256 := facts.get(f"{role}_sha256"))
    }
    counts = {name.replace("_", " "): dataset[name] for name in _COUNTS if name in dataset}
    repairs = dataset.get("repairs")
    return {**hashes, **counts, **({"repairs": len(repairs)} if isinstance(repairs, Sequence) else {})}


def _score(comparison: Entry) -> Score:
    facts = comparison.facts
    number = _numbers(
        {name: facts[name] for name in ("tuned_score", "tuned_low", "tuned_high", "difference")}
    )
    return Score(
        str(facts["tuned_model"]),
        number["tuned_score"],
        number["tuned_low"],
        number["tuned_high"],
        int(str(facts["items"])),
        str(facts["grader"]),
        number["difference"],
        str(facts["outcome"]),
    )


def _numbers(facts: Mapping[str, JSON]) -> dict[str, float]:
    return {name: float(value) for name, value in facts.items() if isinstance(value, int | float)}
