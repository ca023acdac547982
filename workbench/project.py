"""A project: one piece of work, its task, and the record of it on disk.

The task is what the user states in ``project.toml`` (``workbench.task``). The
record is append-only: what was measured, built, started and found, in order,
never changed; the steps done are ticked from it. Beside it lie the files it
points to. Deleting the folder forgets the project; nothing here talks to a service.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from workbench import jsonl_log
from workbench.display import folded_table, table
from workbench.errors import DataError, SetupError, did_you_mean
from workbench.jsonl_log import JSON as JSON
from workbench.settings import VERSION, home
from workbench.task import TASK_FILE, Setting, Task, read_task, sample_task, samples, stated_task, task_file

SUPERVISED = "supervised"
STARTED_BY = MappingProxyType(
    {SUPERVISED: "04_launch", "dpo": "08_preferences", "reinforcement": "09_reinforcement"}
)
"""The notebook that starts a job, by the method it trains by; a job on record without one is supervised."""


@dataclass(frozen=True)
class Entry:
    """One line of the record: what kind of thing happened, when, and its facts."""

    id: str
    at: str  # UTC, ISO 8601
    kind: str
    version: str  # of the workbench that wrote it
    facts: Mapping[str, JSON]


@dataclass(frozen=True)
class Project:
    """One piece of work by its name; nothing is on disk before something is recorded or saved."""

    name: str
    path: Path

    @property
    def task(self) -> Task:
        """What it is about; read anew each time, so an edit of ``project.toml`` counts at once."""
        file = task_file(self.name, self.path)
        if file is None:
            others = [each.name for each in projects() if each.name != self.name]
            raise SetupError(
                f"Project {self.name} states no task yet; write it with 'python -m workbench new {self.name} "
                f"--train FILE --test FILE', in 00_start_here, or into {self.path / TASK_FILE} by hand. The "
                f"sample task is project {' or '.join(samples())}."
                f"{did_you_mean(self.name, [*others, *samples()])}"
            )
        return read_task(file)

    def stated(self, name: str) -> Any:
        """What the task says of one setting (``"provider"``); ``None`` where nothing is stated."""
        return None if task_file(self.name, self.path) is None else getattr(self.task, name)

    def record(self, kind: str, **facts: JSON) -> Entry:
        """Write down what happened; it is on disk, whole, when this returns."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = Entry(uuid.uuid4().hex, now, kind, VERSION, MappingProxyType(facts))
        jsonl_log.append(self._record_file, _line(entry))
        return entry

    def entries(self, kind: str | None = None) -> tuple[Entry, ...]:
        """Everything on record, oldest first, or only what is of one kind."""
        entries = map(_entry, jsonl_log.objects(self._record_file))
        return tuple(entry for entry in entries if entry and kind in (None, entry.kind))

    def latest(self, kind: str) -> Entry | None:
        """The newest entry of this kind, if there is one."""
        return next(reversed(self.entries(kind)), None)

    def need(self, kind: str, notebook: str) -> Entry:
        """The newest entry of this kind; without one, say which notebook writes it."""
        entry = self.latest(kind)
        if entry is None:
            raise SetupError(f"Project {self.name} has no {kind} yet; run {notebook} first.")
        return entry

    def latest_job(self, method: str = SUPERVISED) -> Entry | None:
        """The newest job on record that trains by this method, if there is one."""
        jobs = reversed(self.entries("job"))
        return next((job for job in jobs if job.facts.get("method", SUPERVISED) == method), None)

    def need_job(self, method: str = SUPERVISED) -> Entry:
        """The newest job on record that trains by this method; without one, say which notebook starts it."""
        job = self.latest_job(method)
        if job is None:
            what = "job" if method == SUPERVISED else f"{method} job"
            raise SetupError(f"Project {self.name} has no {what} yet; run {STARTED_BY[method]} first.")
        return job

    @property
    def run_names(self) -> dict[str, str]:
        """A short name for each job on record, by its id, in the order of their starts: ``#2, seed 1``."""
        return {
            id: f"#{number}" + (f", seed {job.facts['seed']}" if "seed" in job.facts else "")
            for number, (id, job) in enumerate(self.jobs.items(), start=1)
        }

    @property
    def jobs(self) -> dict[str, Entry]:
        """The jobs on record by their ids, in the order of their starts; of each its first entry."""
        jobs: dict[str, Entry] = {}
        for entry in self.entries("job"):
            jobs.setdefault(str(entry.facts["job_id"]), entry)
        return jobs

    def lock(self, name: str, sha256: str) -> None:
        """Remember the checksum of ``name`` (the test set), and refuse any other from now on.

        Scores on two different test sets do not compare, and a test that is repaired after its answers
        were read is no test. A changed one is a new piece of work: a new project.
        """
        # The record calls it a seal, as it did when older projects were written.
        locked = next((entry for entry in self.entries("seal") if entry.facts["name"] == name), None)
        if locked is None:
            self.record("seal", name=name, sha256=sha256)
        elif locked.facts["sha256"] != sha256:
            raise DataError(
                f"The {name} of project {self.name} has changed since it was locked on {locked.at[:10]}, "
                "so earlier scores would not compare; put the file back, or open a project of another name."
            )

    def save(self, name: str, content: bytes | str) -> Path:
        """Keep a file, whole or not at all; ``name`` may hold folders (``scores/base.csv``)."""
        path = (self.path / name).resolve()
        if path == self.path.resolve() or not path.is_relative_to(self.path.resolve()):
            raise DataError(f"'{name}' lies outside project {self.name}; give a name inside it.")
        if path in (self._record_file.resolve(), self.path.resolve() / "record.lock"):
            raise DataError(f"'{name}' is the record itself; choose another name.")
        jsonl_log.replace_file(path, content.encode() if isinstance(content, str) else content)
        return path

    def log_file(self, folder: str, name: str) -> Path:
        """Where the choices of people called ``name`` are kept; ``DataError`` for what is no such name."""
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise DataError(
                f"'{name}' cannot name a file in {folder}; use up to 64 of a-z, A-Z, 0-9, '_' and '-'."
            )
        return self.path / folder / f"{name}.jsonl"

    @property
    def checklist(self) -> "Checklist":
        """Which steps are done, by the record?"""
        latest = {entry.kind: entry.facts for entry in self.entries()}
        if job := latest.get("job"):
            latest["job"] = {**job, "run": self.run_names[str(job["job_id"])]}
        steps = (
            ChecklistStep(name, notebook, words(latest[kind]) if kind in latest else "")
            for name, notebook, kind, words in _STEPS
        )
        return Checklist(self.name, tuple(steps))

    @property
    def _record_file(self) -> Path:
        return self.path / "record.jsonl"

    def _repr_html_(self) -> str:
        entries = self.entries()
        last = (
            f"; the last is {entries[-1].kind}, {entries[-1].at[:16].replace('T', ' ')} UTC"
            if entries
            else ""
        )
        caption = f"Project {self.name}: {len(entries) or 'nothing'} on record{last}"
        rows = [(entry.at[:19].replace("T", " "), entry.kind, _short(entry.facts)) for entry in entries]
        return folded_table(caption, ("when (UTC)", "what", "facts"), rows)


def open_project(name: str) -> Project:
    """Open the piece of work called ``name``; a new name is a new project."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) or set(name) == {"."}:
        raise DataError(
            f"'{name}' cannot be a project's name; use up to 64 letters (a-z, A-Z), digits, '_', '.' and '-'."
        )
    return Project(name, home() / "projects" / name)


def existing_project(name: str) -> Project:
    """Open a project that states a task or has something on record, or a sample's; any other is an error."""
    project = open_project(name)
    names = dict.fromkeys([*(each.name for each in projects()), *samples()])
    if name not in names:
        meant = did_you_mean(name, names)
        raise DataError(f"There is no project {name}.{meant} There are {', '.join(names)}.")
    return project


def projects() -> tuple[Project, ...]:
    """The projects that state a task or have something on record, the one worked on last first."""
    found = [
        (max(file.stat().st_mtime for file in files), path)
        for path in (home() / "projects").glob("*")
        if (files := [file for file in (path / "record.jsonl", path / TASK_FILE) if file.is_file()])
    ]
    return tuple(Project(path.name, path) for _, path in sorted(found, reverse=True))


def _line(entry: Entry) -> bytes:
    for name, value in entry.facts.items():
        try:
            json.dumps(value, allow_nan=False, default=_plain)
        except (TypeError, ValueError) as error:
            raise DataError(f"The fact {name} of {entry.kind} cannot be recorded: {error}.") from error
    return json.dumps(vars(entry), default=_plain).encode()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _entry(line: dict[str, Any]) -> Entry | None:
    """``None`` for a line that somebody else wrote."""
    try:
        return Entry(**(line | {"facts": MappingProxyType(line["facts"])}))
    except (KeyError, TypeError):
        return None


def _short(facts: Mapping[str, JSON]) -> str:
    shown = [f"{name}: {value}" for name, value in facts.items() if isinstance(value, str | int | float)]
    return ", ".join(text if len(text) <= 60 else text[:57] + "…" for text in shown)


def state_task(project: Project, given: Mapping[str, Setting], *, new: bool = False) -> Task:
    """Write ``project.toml``: what it says already, and what is given; ``None`` leaves a setting as it is.

    Files must be there, a relative path counts from the current folder as well, and columns that are not
    named are guessed and written down. ``new`` forgets what the file said. Nothing is written when nothing
    changes. A sample's own project keeps its task: for another task open a project of another name.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return project.task
    if sample_task(project.name):
        raise DataError(
            f"Project {project.name} is the sample's own; open a project of another name for another task."
        )
    file = project.path / TASK_FILE
    task = stated_task(file, given, new=new)
    if task is None:
        return read_task(file)
    project.save(TASK_FILE, task.to_toml(project.path.resolve()))
    return task


# The steps of a fine-tuning, as a checklist that ticks itself from the project's record.
#
# The steps are Microsoft's (Fine-tune models with Azure AI Foundry, 31 Oct 2024), with the baseline in
# front that the same page calls essential.


class ChecklistStep(NamedTuple):
    """A step, and what the record holds of it."""

    name: str
    notebook: str
    done: str
    """What was done, in a few words; empty when it is still to do."""


@dataclass(frozen=True, repr=False)
class Checklist:
    """All steps of one project."""

    project: str
    steps: tuple[ChecklistStep, ...]

    def __repr__(self) -> str:
        """A line each."""
        return "\n".join(f"[{'x' if step.done else ' '}] {step.name}" for step in self.steps)

    def _repr_html_(self) -> str:
        rows = [
            ("done" if s.done else "to do", s.name, s.done or f"{s.notebook} does it") for s in self.steps
        ]
        return table(f"Project {self.project}: the steps", ("", "step", "what the record holds"), rows)


def _of_rehearsal(facts: Mapping[str, JSON]) -> str:
    rehearsal = facts.get("rehearsal")
    return f", {rehearsal['rows']} of them rehearsal" if isinstance(rehearsal, Mapping) else ""


def _percent(value: JSON) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, int | float) else "measured"


_STEPS: tuple[tuple[str, str, str, Callable[[Mapping[str, JSON]], str]], ...] = (
    (
        "Measure the base model",
        "01_baseline",
        "baseline",
        lambda f: f"{_percent(f.get('best_score'))} with the prompt {f.get('best_prompt')}",
    ),
    ("Decide, and choose a model that supports the task", "02_decide", "decision", lambda f: str(f["title"])),
    (
        "Prepare the training data",
        "03_build_data",
        "dataset",
        lambda f: f"{f['training_examples']} examples{_of_rehearsal(f)}",
    ),
    (
        "Prepare validation data",
        "03_build_data",
        "dataset",
        lambda f: f"{f['validation_examples']} examples" if f["validation_examples"] else "",
    ),
    ("Configure and start the training", "04_launch", "job", lambda f: f"run {f['run']}"),
    ("Review the metrics", "05_loss_curves", "curve", lambda f: f"{f['steps']} steps"),
    (
        "Evaluate the model",
        "06_evaluate",
        "comparison",
        lambda f: f"{_percent(f.get('base_score'))} before, {_percent(f.get('tuned_score'))} after",
    ),
)
