"""The runs of a project side by side: settings, data, cost and result of each, and what differs."""

import hashlib
import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import openai

from workbench.catalog.methods import DATA_KINDS
from workbench.catalog.providers import provider_of
from workbench.dataset.dataset import Dataset, counted
from workbench.dataset.diff import RowChanges, row_changes
from workbench.dataset.read import parse_jsonl
from workbench.display import table
from workbench.errors import DataError
from workbench.project import JSON, Entry
from workbench.training.cost import billed
from workbench.training.curve import located
from workbench.training.follow import follow, job_result
from workbench.training.lineage import Score, numbers, score_of
from workbench.training.spec import settings_of

if TYPE_CHECKING:
    from openai import OpenAI
    from pandas import DataFrame

    from workbench.project import Project
    from workbench.training.curve import Curve
    from workbench.training.diagnosis import Conclusion
    from workbench.training.follow import Progress

# Read from the project's record; with a client the service adds where each job stands, the numbers it
# chose itself, its curve and its bill. Nothing is started or judged here.

NOTHING: Mapping[str, JSON] = MappingProxyType({})

_WORDS = {
    "n_epochs": "{} epochs",
    "batch_size": "batches of {}",
    "learning_rate_multiplier": "learning rate x {}",
}
_HASH = 12  # digits of a SHA-256, as in the names of uploaded files
_COUNTS = ("training_examples", "validation_examples", "source")


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """One job: how it was trained, on what, and what came of it."""

    number: int
    """In the order of their starts, from 1."""
    job_id: str
    started: str  # UTC, ISO 8601
    configuration: Mapping[str, JSON]
    """Model, service, seed, method and each hyperparameter by the API's name."""
    data: Mapping[str, JSON]
    status: str | None = None
    """As the service has it; ``None`` where it was not asked or does not know the job."""
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


def _recorded_run(
    number: int,
    job: Entry,
    dataset: Mapping[str, JSON],
    later: Sequence[Entry],
    training_file: Path | None,
) -> RecordedRun:
    """Put a run together from the record: its job, its dataset, and what was found of it later."""
    measured = later[-1].facts if later else NOTHING
    final, seconds = measured.get("final"), measured.get("training_seconds")
    configuration = settings_of(job.facts)
    if isinstance(grader := configuration.get("grader"), Mapping):
        configuration["grader"] = grader.get("name", grader.get("type"))
    scores = [score_of(entry.facts) for entry in later if entry.kind == "comparison"]
    return RecordedRun(
        number,
        str(job.facts["job_id"]),
        job.at,
        configuration,
        _data(job.facts, dataset),
        training_seconds=float(seconds) if isinstance(seconds, int | float) else None,
        final=numbers(final) if isinstance(final, Mapping) else {},
        scores=tuple({score.model: score for score in scores}.values()),
        training_file=training_file,
    )


def _data(facts: Mapping[str, JSON], dataset: Mapping[str, JSON]) -> Mapping[str, JSON]:
    hashes = {
        f"{role} data": str(sha256)[:_HASH]
        for role in ("training", "validation")
        if (sha256 := facts.get(f"{role}_sha256"))
    }
    counts = {name.replace("_", " "): dataset[name] for name in _COUNTS if name in dataset}
    if isinstance(rehearsal := dataset.get("rehearsal"), Mapping):
        counts["rehearsal"] = rehearsal.get("share")
    repairs = dataset.get("repairs")
    return {**hashes, **counts, **({"repairs": len(repairs)} if isinstance(repairs, Sequence) else {})}


@dataclass(frozen=True, repr=False)
class Runs:
    """The runs of a project, the oldest first."""

    project: str
    runs: tuple[RecordedRun, ...]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.runs)

    def __iter__(self) -> Iterator[RecordedRun]:
        """One after the other."""
        return iter(self.runs)

    def __getitem__(self, number: int) -> RecordedRun:
        """The run of this number, the first being 1."""
        if number not in range(1, len(self.runs) + 1):
            raise DataError(f"There is no run {number}; {self.project} has {len(self.runs)}, the first is 1.")
        return self.runs[number - 1]

    @property
    def configuration_diff(self) -> Mapping[str, tuple[JSON, ...]]:
        """What differs in how they were trained: a value for each run, ``None`` where it has none."""
        return differing([run.configuration for run in self.runs])

    @property
    def data_diff(self) -> Mapping[str, tuple[JSON, ...]]:
        """What differs in the data: hashes, counts, and the file it came from."""
        return differing([run.data for run in self.runs])

    def row_changes(self, before: int, after: int) -> RowChanges:
        """Which rows of the training data differ between two runs, given by their numbers."""
        return row_changes(*(_trained_on(self[number]) for number in (before, after)))

    @property
    def row_verdicts(self) -> tuple[str, ...]:
        """Of each run on other data than the run before: what came and what went, in a sentence."""
        return tuple(
            f"Run {new.number} against run {old.number}: {self.row_changes(old.number, new.number).verdict}"
            for old, new in pairwise(self.runs)
            if old.data.get("training data") != new.data.get("training data")
            and old.training_file
            and new.training_file
        )

    @property
    def curves(self) -> "Mapping[str, Curve]":
        """The curves that are there, each under what is particular about its run: ``#2, 3 epochs``."""
        return {self.name(run): run.curve for run in self.runs if run.curve is not None}

    @property
    def verdict(self) -> str:
        """What the scores allow to say, and what they do not."""
        tested = [(run, score) for run in self.runs for score in run.scores]
        if len(tested) < 2:
            return "Fewer than two runs were tested; 06_evaluate tests one."
        if len({(score.items, score.grader) for _, score in tested}) > 1:
            return "The scores come from different items or graders, and do not compare."
        (best, score), *rest = sorted(tested, key=lambda pair: -pair[1].score)
        near = sorted({run.number for run, other in rest if other.high >= score.low} - {best.number})
        first = f"Run {best.number} scores highest: {score}"
        if not near:
            return f"{first}, above the intervals of all others."
        others = f"{'run' if len(near) == 1 else 'runs'} {', '.join(map(str, near))}"
        return (
            f"{first}, but the interval of {others} overlaps with it; "
            "compare(…) them item by item before you choose."
        )

    @property
    def frame(self) -> "DataFrame":
        """One row a run, to sort and to keep; a measure nobody took is missing."""
        import pandas

        rows = [
            {
                "run": run.number,
                "job_id": run.job_id,
                "started": run.started,
                "status": run.status,
                **run.configuration,
                **run.data,
                "usd": run.usd,
                "training_seconds": run.training_seconds,
                **run.final,
                "score": run.scores[-1].score if run.scores else None,
                "low": run.scores[-1].low if run.scores else None,
                "high": run.scores[-1].high if run.scores else None,
            }
            for run in self.runs
        ]
        return pandas.DataFrame(rows)

    def name(self, run: RecordedRun) -> str:
        """A run's number, and what is particular about it: short enough for a chart."""
        differing = {name: run.configuration.get(name) for name in self.configuration_diff}
        parts = (
            _WORDS.get(name, f"{name} {{}}").format(value)
            for name, value in differing.items()
            if value is not None
        )
        return ", ".join((f"#{run.number}", *parts))

    def __repr__(self) -> str:
        """A run a line, then what the scores say."""
        if not self.runs:
            return _none(self.project)
        lines = [
            " · ".join(filter(None, (self.name(run), run.status, *map(str, run.scores)))) for run in self.runs
        ]
        return "\n".join((*lines, *self.row_verdicts, self.verdict))

    def _repr_html_(self) -> str:
        if not self.runs:
            return table(_none(self.project), ("run",), ())
        changed = {**self.configuration_diff, **self.data_diff}
        measured = ("training", "cost", "validation loss", "score (95 %)")
        columns = ("run", "started (UTC)", "status", *changed, *measured)
        rows = [
            (
                f"#{run.number}",
                run.started[:16].replace("T", " "),
                run.status or "",
                *("" if values[place] is None else values[place] for values in changed.values()),
                took(run.training_seconds),
                "" if run.usd is None else f"${run.usd:,.2f}",
                f"{run.final['full_valid_loss']:.4g}" if "full_valid_loss" in run.final else "",
                "; ".join(_scored(score) for score in run.scores),
            )
            for place, run in enumerate(self.runs)
        ]
        first = {**self.runs[0].configuration, **self.runs[0].data}
        same = [(name, value) for name, value in first.items() if name not in changed and value is not None]
        ids = [(f"job of #{run.number}", run.job_id) for run in self.runs]
        shared = table("The jobs, and what is the same in all", ("", "value"), [*ids, *same])
        verdicts = "".join(f"<p>{html.escape(verdict)}</p>" for verdict in self.row_verdicts)
        return (
            table(f"{counted(len(self.runs), 'run')} of {self.project}. {self.verdict}", columns, rows)
            + verdicts
            + f"<details><summary>Jobs and settings</summary>{shared}</details>"
        )


def runs(project: "Project", client: "OpenAI | None" = None) -> Runs:
    """List the jobs on record, and with a client also where each stands, its curve and its cost.

    The service of ``client`` is asked about its own jobs only, with several requests each; a job that it
    no longer has keeps what is on record.
    """
    kept = (entry for entry in project.entries() if entry.kind in DATA_KINDS)
    datasets = {entry.facts.get("training_sha256"): entry.facts for entry in kept}
    curves, comparisons = _by_job(project.entries("curve")), _by_job(project.entries("comparison"))
    found = []
    for number, (id, job) in enumerate(project.jobs.items(), start=1):
        dataset = datasets.get(job.facts.get("training_sha256"), NOTHING)
        later = (*comparisons.get(id, ()), *curves.get(id, ()))
        run = _recorded_run(number, job, dataset, later, _kept_file(project, dataset))
        if client and run.configuration.get("provider") == provider_of(client).name:
            run = _as_the_service_has_it(run, client)
        found.append(run)
    return Runs(project.name, tuple(found))


def record_curve(project: "Project", done: "Progress", conclusion: "Conclusion") -> Entry:
    """Record what the curve of a finished job gives: last values, diagnosis, the checkpoint, and why."""
    result = job_result(done)
    started = next((e.facts for e in project.entries("job") if e.facts["job_id"] == done.job.id), NOTHING)
    service, kind = str(started.get("provider")), started.get("training_type")
    usd = billed(done.job, done.events, service=service, training_type=str(kind) if kind else None)
    file = f"curves/{done.job.id}.csv"
    project.save(file, done.results if done.results.strip() else done.curve.frame.to_csv())
    return project.record(
        "curve",
        job_id=done.job.id,
        fine_tuned_model=result.model,
        steps=done.curve.steps,
        final=done.curve.final,
        best_full_valid_step=done.curve.best_full_valid_step,
        checkpoints=conclusion.checkpoints.models,
        diagnosis=cast("JSON", conclusion.diagnosis.facts),
        choice=cast("JSON", conclusion.choice.facts),
        conclusion=conclusion.facts,
        training_seconds=result.training_seconds,
        curve_file=file,
        hyperparameters=done.job.hyperparameters.model_dump(exclude_none=True),
        trained_tokens=done.job.trained_tokens,
        usd=usd,
    )


def _as_the_service_has_it(run: RecordedRun, client: "OpenAI") -> RecordedRun:
    """Add what the service knows: a hyperparameter that was "auto" gets the value it was trained with."""
    try:
        progress = next(follow(client, run.job_id))
    except openai.NotFoundError:  # deleted there, or the record is of another account
        return run
    job, curve = progress.job, located(progress.curve, progress.job)
    chosen = job.hyperparameters.model_dump() if job.hyperparameters else {}
    used = {
        name: chosen.get(name) or value if value == "auto" else value
        for name, value in run.configuration.items()
    }
    service, kind = str(used.get("provider")), used.get("training_type")
    is_done = job.status == "succeeded" and job.finished_at and job.fine_tuned_model
    return replace(
        run,
        configuration=used,
        status=job.status,
        usd=billed(job, progress.events, service=service, training_type=str(kind) if kind else None),
        training_seconds=job_result(progress).training_seconds if is_done else run.training_seconds,
        final=curve.final,
        curve=curve,
    )


def _kept_file(project: "Project", dataset: Mapping[str, JSON]) -> Path | None:
    """The training file of a dataset on record, if it still holds the very bytes."""
    if "training_file" not in dataset:
        return None
    file = project.path / str(dataset["training_file"])
    if not file.is_file():
        return None
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    return file if found == dataset.get("training_sha256") else None


def _trained_on(run: RecordedRun) -> Dataset:
    if run.training_file is None:
        raise DataError(
            f"The training data of run {run.number} is not in the project's folder any more, so its rows "
            "cannot be compared."
        )
    return parse_jsonl(run.training_file.read_bytes(), run.training_file.name)


def _by_job(entries: Sequence[Entry]) -> Mapping[str, Sequence[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(str(entry.facts.get("job_id")), []).append(entry)
    return found


def differing(rows: Sequence[Mapping[str, JSON]]) -> Mapping[str, tuple[JSON, ...]]:
    """The names whose values differ, each with its value in every row, ``None`` where there is none."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: tuple(row.get(name) for row in rows) for name in names}
    return {name: values for name, values in columns.items() if any(value != values[0] for value in values)}


def _scored(score: Score) -> str:
    points = f"{100 * score.difference:+.0f}".replace("-", "−")
    return f"{score} of {score.items}, {points} points: {score.outcome}"


def took(seconds: object) -> str:
    """``80 s``, ``12 min``; empty where it is not known."""
    if not isinstance(seconds, int | float):
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _none(project: str) -> str:
    return f"Project {project} has no run yet; 04_launch starts one."
