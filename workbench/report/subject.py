"""One run of a project, as its record has it: what a part of a report is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from workbench.dataset.dataset import counted
from workbench.errors import DataError
from workbench.project import JSON, SUPERVISED, Entry, Project

Facts: TypeAlias = Mapping[str, JSON]
NOTHING: Facts = MappingProxyType({})


@dataclass(frozen=True)
class Subject:
    """One run of a project, or a project without any: what a part of the report is about."""

    project: Project
    entries: tuple[Entry, ...]
    """The whole record, the oldest first."""
    job: Entry | None = None
    number: int = 0
    """Of the run, from 1; 0 without one."""

    @property
    def name(self) -> str:
        """``gql #2``: the project, and which of its runs."""
        return f"{self.project.name} #{self.number}" if self.number else self.project.name

    @property
    def facts(self) -> Facts:
        """Of the job as it was started."""
        return self.job.facts if self.job else NOTHING

    @property
    def id(self) -> str:
        """The job's id; empty without one."""
        return str(self.facts.get("job_id", ""))

    @property
    def method(self) -> str:
        """By which method the job trains."""
        return str(self.facts.get("method", SUPERVISED))

    def of_job(self, kind: str) -> Facts:
        """The newest entry of this kind about this job; empty where there is none."""
        found = (entry.facts for entry in reversed(self.entries) if entry.kind == kind)
        return next((facts for facts in found if facts.get("job_id", "") == (self.id or None)), NOTHING)

    def latest(self, kind: str) -> Facts:
        """The newest entry of this kind; empty where there is none."""
        return next((entry.facts for entry in reversed(self.entries) if entry.kind == kind), NOTHING)

    @property
    def data(self) -> Facts:
        """What the job was trained on; without a job, the newest data on record."""
        kept = [entry.facts for entry in self.entries if "training_file" in entry.facts]
        wanted = self.facts.get("training_sha256")
        found = (each for each in reversed(kept) if wanted in (None, each.get("training_sha256")))
        return next(found, NOTHING)

    @property
    def judged(self) -> Facts:
        """What 06_evaluate, 08_preferences or 09_reinforcement found of the model."""
        return self.of_job(JUDGED_BY[self.method][0]) if self.method in JUDGED_BY else NOTHING

    @property
    def notebook(self) -> str:
        """Which notebook judges the model."""
        return JUDGED_BY[self.method][1] if self.method in JUDGED_BY else "06_evaluate"

    @property
    def task(self) -> str:
        """By which measure 08_preferences and 09_reinforcement judge: what was trained for."""
        return str(self.judged.get("task", self.judged.get("aim")))

    @property
    def grader(self) -> JSON:
        """The name of the grader that judged."""
        measure = mapping(mapping(self.judged, "measures"), self.task)
        return measure.get("grader") or self.judged.get("grader")

    @property
    def answers(self) -> tuple[str, str] | None:
        """The files with the answers of the first model and of the last."""
        found = self.judged
        if {"base_evaluation", "tuned_evaluation"} <= found.keys():
            return str(found["base_evaluation"]), str(found["tuned_evaluation"])
        files = mapping(found, "evaluations").items()
        kept = [str(file) for name, file in files if name.startswith(f"{self.task}, ")]
        return (kept[0], kept[-1]) if len(kept) > 1 else None

    @property
    def deployed(self) -> Facts:
        """The last word on a deployment of the tuned model; empty where it was never deployed."""
        model = self.judged.get("tuned_model")
        found = (entry.facts for entry in reversed(self.entries) if entry.kind == "deployment")
        return next((facts for facts in found if model and facts.get("model") == model), NOTHING)

    @property
    def training_seconds(self) -> JSON:
        """How long it was trained; ``None`` where that is not on record."""
        return self.judged.get("training_seconds") or self.of_job("curve").get("training_seconds")

    @property
    def settings(self) -> dict[str, JSON]:
        """How and on what it was trained."""
        used = self.of_job("curve").get("hyperparameters") or self.facts.get("hyperparameters")
        how = {name: self.facts.get(name) for name in ("model", "provider", "seed")}
        how |= {"method": self.method, "examples": self.data.get("training_examples")}
        how |= dict(used) if isinstance(used, Mapping) else {}
        return {name: value for name, value in how.items() if value is not None}

    @property
    def versions(self) -> JSON:
        """By which versions of the workbench the record was written, with the first day of each."""
        days: dict[str, JSON] = {}
        for entry in self.entries:
            days.setdefault(entry.version, entry.at[:10])
        return days or None


JUDGED_BY = {
    SUPERVISED: ("comparison", "06_evaluate"),
    "dpo": ("preference", "08_preferences"),
    "reinforcement": ("reinforcement", "09_reinforcement"),
}
"""By method the kind of entry that says how good the model is, and the notebook that writes it."""


def subjects(project: Project, runs: Sequence[int] = ()) -> tuple[Subject, ...]:
    """The runs to report: those of these numbers, else the newest that was judged, else the newest.

    A project without any run is one subject. ``DataError``: there is no run of such a number.
    """
    every = runs_of(project)
    if unknown := [number for number in runs if number not in range(1, len(every) + 1)]:
        raise DataError(
            f"Project {project.name} has no run {unknown[0]}; it has {counted(len(every), 'run')}, "
            "the first is 1."
        )
    if runs:
        return tuple(every[number - 1] for number in dict.fromkeys(runs))
    # What was compared by 06_evaluate goes before a further training, which has a section of its own.
    ranked = sorted(every, key=lambda run: (bool(run.judged), run.method == SUPERVISED, run.number))
    return tuple(ranked[-1:]) or (Subject(project, project.entries()),)


def runs_of(project: Project) -> tuple[Subject, ...]:
    """Every run of a project, the oldest first."""
    entries, jobs = project.entries(), enumerate(project.jobs.values(), start=1)
    return tuple(Subject(project, entries, job, number) for number, job in jobs)


# What a record holds may be of any version: what is missing, or of another shape, counts as empty.


def mapping(facts: Facts, name: str) -> Facts:
    """The object of this name; empty where there is none."""
    found = facts.get(name)
    return found if isinstance(found, Mapping) else NOTHING


def mappings(facts: Facts, name: str) -> list[Facts]:
    """The objects in the list of this name; none where there is no list."""
    found = facts.get(name)
    listed = found if isinstance(found, Sequence) and not isinstance(found, str) else ()
    return [each for each in listed if isinstance(each, Mapping)]
