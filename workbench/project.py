"""A project: one piece of work, the task it is about, its record on disk, and the steps done."""

import json
import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from workbench import jsonl_log
from workbench.display import table
from workbench.errors import DataError, SetupError
from workbench.settings import VERSION, home

# A project: one piece of work, and the record of it on disk.
#
# The record is append-only: what was measured, built, started and found, in
# order, never changed. Beside it lie the files it points to. Deleting the folder
# forgets the project; nothing here talks to a service.

JSON: TypeAlias = "str | int | float | bool | Sequence[JSON] | Mapping[str, JSON] | None"


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

    def seal(self, name: str, sha256: str) -> None:
        """Remember what ``name`` (the test set) looks like; refuse it when it has changed since.

        Scores on two different test sets do not compare, and a test that is looked at
        and mended is no test. A changed one is a new piece of work: a new project.
        """
        sealed = next((entry for entry in self.entries("seal") if entry.facts["name"] == name), None)
        if sealed is None:
            self.record("seal", name=name, sha256=sha256)
        elif sealed.facts["sha256"] != sha256:
            raise DataError(
                f"The {name} of project {self.name} has changed since it was sealed on {sealed.at[:10]}, "
                "so earlier scores would not compare; put the file back, or open a project of another name."
            )

    def save(self, name: str, content: bytes | str) -> Path:
        """Keep a file, whole or not at all; ``name`` may hold folders (``scores/base.csv``)."""
        path = (self.path / name).resolve()
        if path == self.path.resolve() or not path.is_relative_to(self.path.resolve()):
            raise DataError(f"'{name}' lies outside project {self.name}; give a name inside it.")
        if path in (self._record_file.resolve(), self.path.resolve() / "record.lock"):
            raise DataError(f"'{name}' is the record itself; choose another name.")
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        with jsonl_log.writing(path):
            try:
                with temporary.open("xb") as file:
                    file.write(content.encode() if isinstance(content, str) else content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        return path

    @property
    def _record_file(self) -> Path:
        return self.path / "record.jsonl"

    def _repr_html_(self) -> str:
        entries = self.entries()
        caption = f"Project {self.name}: {len(entries) or 'nothing'} on record"
        rows = [(entry.at[:19].replace("T", " "), entry.kind, _short(entry.facts)) for entry in entries]
        return table(caption, ("when (UTC)", "what", "facts"), rows)


def open_project(name: str) -> Project:
    """Open the piece of work called ``name``; a new name is a new project."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) or set(name) == {"."}:
        raise DataError(
            f"'{name}' cannot be a project's name; use up to 64 letters (a-z, A-Z), digits, '_', '.' and '-'."
        )
    return Project(name, home() / "projects" / name)


def _line(entry: Entry) -> bytes:
    for name, value in entry.facts.items():
        try:
            json.dumps(value, allow_nan=False, default=_plain)
        except (TypeError, ValueError) as error:
            raise DataError(f"The fact {name} of {entry.kind} cannot be recorded: {error}.") from error
    whole = {**vars(entry), "facts": dict(entry.facts)}
    return json.dumps(whole, default=_plain).encode()


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


# The steps of a fine-tuning, as a checklist that ticks itself from the project's record.
#
# The steps are Microsoft's (Fine-tune models with Azure AI Foundry, 31 Oct 2024), with the baseline in
# front that the same page calls essential.

Facts = Mapping[str, JSON]


@dataclass(frozen=True)
class Step:
    """One of them, and what the record says of it."""

    name: str
    notebook: str
    done: str
    """What was done, in a few words; empty when it is still to do."""


@dataclass(frozen=True, repr=False)
class Checklist:
    """All steps of one project."""

    project: str
    steps: tuple[Step, ...]

    @property
    def next(self) -> Step | None:
        """The first that is still to do."""
        return next((step for step in self.steps if not step.done), None)

    def __repr__(self) -> str:
        """A line each."""
        return "\n".join(f"[{'x' if step.done else ' '}] {step.name}" for step in self.steps)

    def _repr_html_(self) -> str:
        rows = [
            ("done" if step.done else "to do", step.name, step.done or f"{step.notebook} does it")
            for step in self.steps
        ]
        return table(f"Project {self.project}: the steps", ("", "step", "what the record says"), rows)


def checklist(project: Project) -> Checklist:
    """Which steps are done, by the record?"""
    latest = {entry.kind: entry.facts for entry in project.entries()}
    found = []
    for name, notebook, kind, said in _STEPS:
        facts = latest.get(kind)
        found.append(Step(name, notebook, "" if facts is None else said(facts)))
    return Checklist(project.name, tuple(found))


def _score(facts: Facts) -> str:
    return f"{_percent(facts.get('best_score'))} with the prompt {facts.get('best_prompt')}"


def _percent(value: JSON) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, int | float) else "measured"


_STEPS: tuple[tuple[str, str, str, Callable[[Facts], str]], ...] = (
    ("Measure the base model", "01_baseline", "baseline", _score),
    ("Decide, and choose a model that supports the task", "02_decide", "decision", lambda f: str(f["title"])),
    ("Prepare the training data", "03_build_data", "dataset", lambda f: f"{f['training_examples']} examples"),
    (
        "Prepare validation data",
        "03_build_data",
        "dataset",
        lambda f: f"{f['validation_examples']} examples" if f["validation_examples"] else "",
    ),
    ("Configure and start the training", "04_launch", "job", lambda f: str(f["job_id"])),
    ("Review the metrics", "05_loss_curves", "curve", lambda f: f"{f['steps']} steps"),
    (
        "Evaluate the model",
        "06_evaluate",
        "comparison",
        lambda f: f"{_percent(f.get('base_score'))} before, {_percent(f.get('tuned_score'))} after",
    ),
)
