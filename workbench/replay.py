"""A project once more, for another base model or other rows: the same rules and test, old beside new.

Apart because watching a model and making another one are two things.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from workbench.catalog.models import base_name
from workbench.dataset.dataset import counted
from workbench.decide.power import LEVEL
from workbench.display import Shown, Table, columns
from workbench.errors import DataError
from workbench.evaluation.compare import MINIMUM, compare, points
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.statistics import Difference, p_in_words
from workbench.monitor import rows_of
from workbench.project import JSON, Project, open_project, state_task


def replay(
    project: Project,
    *,
    model: str | None = None,
    train: str | Path | None = None,
    rows: str | Path | None = None,
    name: str | None = None,
) -> Project:
    """State a project's task anew with one change; its notebooks then train and judge by the same rules.

    ``model``: another base model. ``train``: a file in place of the examples; ``rows``: one whose rows are
    added to them. Exactly one of the three. Grader, columns, target and test stay, and the new project takes
    the same locked test alone. ``name=None`` makes one of the old name and the change.
    """
    given = {"model": model, "train": train, "rows": rows}
    changes = [what for what, value in given.items() if value is not None]
    if len(changes) != 1:
        raise DataError("Change one thing at a time: give another model, a file to train on, or rows to add.")
    task, change = project.task, Path(str(given[changes[0]])).stem if changes != ["model"] else str(model)
    again = open_project(name or re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{project.name}-{change}")[:64])
    if again.name == project.name:
        raise DataError(f"The replay needs another name than {project.name}: the record of old stays.")
    examples = str(Path(train).resolve()) if train is not None else task.examples
    if rows is not None:
        if task.group is not None:
            raise DataError(
                f"The task groups rows by {task.group}; put old and new rows into one file, and give it as "
                "train (--train)."
            )
        added = rows_of(task, rows)
        old = task.read_examples()
        path = again.save("examples.jsonl", replace(old, examples=(*old, *added)).to_jsonl())
        examples = str(path)
    stated = {**task.facts, "examples": examples} | ({"model": model} if model is not None else {})
    state_task(again, stated, new=True)
    again.lock("test", task.read_test().sha256)
    if not again.entries("replay"):
        again.record("replay", of=project.name, changed=changes[0], to=str(given[changes[0]]))
    return again


@dataclass(frozen=True, repr=False)
class Replayed(Shown):
    """The tuned models of two projects on the same locked test."""

    old: Project
    new: Project
    found: Difference
    rows_of_both: tuple[tuple[str, ...], ...]

    @property
    def verdict(self) -> str:
        """Which is better, in a sentence."""
        before, after = (f"{100 * fmean(scores):.1f} %" for scores in (self.found.base, self.found.tuned))
        low, high = map(points, self.found.interval())
        sure = self.found.p_value <= LEVEL
        word = "better" if self.found.value > 0 else "worse"
        sentence = (
            f"{self.new.name} is {word} than {self.old.name}" if sure else "It is not clear which is better"
        )
        return (
            f"{sentence}: {after} against {before} on {counted(self.found.items, 'question')} "
            f"({points(self.found.value)} points, 95 % interval {low} to {high}, "
            f"{p_in_words(self.found.p_value)})."
        )

    @property
    def facts(self) -> dict[str, JSON]:
        """It as JSON."""
        low, high = self.found.interval()
        numbers = {"difference": self.found.value, "low": low, "high": high, "p_value": self.found.p_value}
        return {"old": self.old.name, "new": self.new.name, "verdict": self.verdict, **numbers}

    @property
    def text(self) -> str:
        """The verdict and the table, for a shell."""
        return f"{self.verdict}\n{columns(_OF_BOTH, self.rows_of_both)}"

    def tables(self) -> Iterator[Table]:
        """Old against new."""
        yield self.verdict, _OF_BOTH, self.rows_of_both


_OF_BOTH = ("project", "base model", "score", "95 % interval", "release check", "training")


def old_and_new(old: Project, new: Project) -> Replayed:
    """Compare the tuned models of a project and of its replay, paired by the questions of the locked test."""
    evaluations, rows = [], []
    for project in (old, new):
        facts = project.need("comparison", "06_evaluate").facts
        tuned = Evaluation.load(project.path / str(facts["tuned_evaluation"]))
        evaluations.append(tuned)
        gate, seconds = facts.get("gate"), facts.get("training_seconds")
        result = str(gate.get("result", "")) if isinstance(gate, Mapping) else ""
        time_taken = f"{seconds:,.0f} s" if isinstance(seconds, int | float) else ""
        scored = (f"{100 * tuned.score:.1f} %", f"{tuned.interval} %")
        rows.append((project.name, base_name(tuned.model), *scored, result, time_taken))
    compared = compare(*evaluations, minimum=MINIMUM, missing="leave out")
    return Replayed(old, new, compared.found, tuple(rows))
