"""The page of a project: what is done and what comes next, its runs with scores and cost, dates to come.

All of it is read from the project's record and the catalogue. Without a project it is the list of all of
them. Nothing is asked of a service unless a client is given, which then says what each run cost.
"""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from workbench.catalog.catalog import model as catalogued
from workbench.catalog.models import base_name
from workbench.catalog.providers import runs_here
from workbench.display import columns, table
from workbench.errors import SetupError, WorkbenchError
from workbench.jsonl_log import JSON
from workbench.project import ChecklistStep, Project, projects
from workbench.training.lineage import lineage
from workbench.training.runs import RecordedRun, runs

if TYPE_CHECKING:
    from openai import OpenAI

NEAR = 180  # days: what ends sooner is named; a successor takes months to train, test and roll out
_ENDS = {
    "training_ends": "can no longer be trained",
    "deployments_end": "no longer answers once tuned",
    "base_retires": "no longer answers untuned",
}


class Ending(NamedTuple):
    """A day on which something ends for a model that this project uses."""

    day: datetime.date
    model: str
    what: str
    days: int
    """From today; negative where it is over."""

    def __str__(self) -> str:
        """``2027-04-14, in 135 days: gpt-4.1 can no longer be trained``."""
        when = f"in {self.days} days" if self.days > 0 else "over"
        return f"{self.day}, {when}: {self.model} {self.what}"


@dataclass(frozen=True, repr=False)
class ProjectPage:
    """One project at a glance."""

    name: str
    stated: str
    """What is wrong with its task, as a sentence; empty where the task can be read."""
    steps: tuple[ChecklistStep, ...]
    runs: tuple[RecordedRun, ...]
    run_names: Mapping[str, str]
    tuned: Mapping[str, str]
    """The model that each job made, by the job's id."""
    endings: tuple[Ending, ...]

    @property
    def next(self) -> ChecklistStep | None:
        """The first step that is still to do; ``None`` when all are done."""
        return next((step for step in self.steps if not step.done), None)

    @property
    def verdict(self) -> str:
        """How far it is, in a sentence."""
        to_do = f" Next: {self.next.name.lower()} ({self.next.notebook})." if self.next else ""
        return f"Project {self.name}: {self._done}.{to_do}"

    @property
    def _done(self) -> str:
        done, all_of_them = sum(bool(step.done) for step in self.steps), len(self.steps)
        return f"{done} of {all_of_them} steps done" if done < all_of_them else f"all {done} steps done"

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as JSON."""
        return {
            "project": self.name,
            "task_problem": self.stated or None,
            "next": self.next.notebook if self.next else None,
            "steps": [step._asdict() for step in self.steps],
            "runs": [self._facts_of(run) for run in self.runs],
            "endings": [{"day": str(e.day), "model": e.model, "what": e.what} for e in self.endings],
        }

    def _facts_of(self, run: RecordedRun) -> dict[str, JSON]:
        facts = run.configuration
        return {
            "run": self.run_names[run.job_id],
            "job_id": run.job_id,
            "started": run.started,
            "status": run.status,
            **{name: facts.get(name) for name in ("provider", "model", "method", "seed")},
            "tuned_model": self.tuned.get(run.job_id),
            "scores": [dict(vars(score)) for score in run.scores],
            "usd": 0.0 if runs_here(str(facts.get("provider"))) else run.usd,
        }

    def __repr__(self) -> str:
        """The sentence, a step a line, a run a line, a date a line."""
        lines = [self.verdict, *filter(None, (self.stated,))]
        lines += [f"[{'x' if step.done else ' '}] {step.name}: {_said(step)}" for step in self.steps]
        if self.runs:
            lines += ["", columns(_RUN, [row for _, row in self._rows()])]
        return "\n".join([*lines, *(["", *map(str, self.endings)] if self.endings else [])])

    def _repr_html_(self) -> str:
        to_do = ""
        if self.next:
            to_do = f" Next: {_link(self.next.notebook)}, {escape(self.next.name.lower())}."
        items = "".join(
            f'<li style="margin:.15em 0">{"✓" if step.done else "→" if step is self.next else "○"} '
            f"{_link(step.notebook)}: {escape(step.name)}. <b>{escape(step.done) or 'To do'}</b></li>"
            for step in self.steps
        )
        head = (
            f'<div class="mathjax_ignore" role="region" aria-label="Project {escape(self.name)}">'
            f'<p role="status"><b>Project {escape(self.name)}</b>: {self._done}.'
            f"{to_do} {escape(self.stated)}</p>"
            f'<ol style="list-style:none;padding-left:.5em;word-break:normal">{items}</ol>'
        )
        ends = "".join(f"<li>{escape(str(each))}</li>" for each in self.endings)
        listed = f"<p>Dates that come near:</p><ul>{ends}</ul>" if ends else ""
        rows = [row[:-1] for _, row in self._rows()]  # names of 40 letters would leave no room
        shown = table("Runs of this project", _RUN[:-1], rows) if rows else ""
        return f"{head}{shown}{listed}</div>"

    def _rows(self) -> Iterator[tuple[RecordedRun, tuple[str, ...]]]:
        for run in self.runs:
            facts = run.configuration
            cost = f"${run.usd:,.2f}" if run.usd is not None else ""
            score = "; ".join(f"{each}, {each.outcome}" for each in run.scores)
            yield (
                run,
                (
                    self.run_names[run.job_id],
                    str(facts.get("method") or "sft"),
                    str(facts.get("model")),
                    run.started[:16].replace("T", " "),
                    score or "not tested",
                    "nothing (this machine)"
                    if runs_here(str(facts.get("provider")))
                    else cost or "not asked",
                    self.tuned.get(run.job_id, ""),
                ),
            )


_RUN = ("run", "method", "trained from", "started (UTC)", "score (95 %)", "cost", "tuned model")


@dataclass(frozen=True, repr=False)
class ProjectList:
    """All projects, the one worked on last first."""

    pages: tuple[ProjectPage, ...]

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as JSON."""
        return {"projects": [page.facts for page in self.pages]}

    def __repr__(self) -> str:
        """A project a line."""
        if not self.pages:
            return "There are no projects yet; 'python -m workbench new NAME' states the task of one."
        return columns(_PROJECT, self._rows())

    def _repr_html_(self) -> str:
        return table("Projects" if self.pages else repr(self), _PROJECT, self._rows())

    def _rows(self) -> Sequence[tuple[str, ...]]:
        return [
            (
                page.name,
                f"{sum(bool(step.done) for step in page.steps)} of {len(page.steps)}",
                page.next.notebook if page.next else "",
                str(len(page.runs)),
                str(page.runs[-1].scores[-1]) if page.runs and page.runs[-1].scores else "",
                str(page.endings[0]) if page.endings else "",
            )
            for page in self.pages
        ]


_PROJECT = ("project", "steps", "next", "runs", "last score (95 %)", "next date")


def project_page(
    project: Project | None = None, client: "OpenAI | None" = None, *, today: datetime.date | None = None
) -> ProjectPage | ProjectList:
    """Show how far a project is, its runs and what ends soon; without one, list all projects.

    ``client``: asks the service what each of its runs cost, and where it stands. ``today`` is there to look
    ahead from another day.
    """
    day = today or datetime.date.today()
    if project is None:
        return ProjectList(tuple(_page(each, None, day) for each in projects()))
    return _page(project, client, day)


def _page(project: Project, client: "OpenAI | None", today: datetime.date) -> ProjectPage:
    problem = ""
    try:
        stated = {(str(project.stated("model") or ""), project.stated("provider"))}
    except WorkbenchError as error:  # the task's file is wrong; the record can be read all the same
        problem, stated = str(error), set()
    found = tuple(runs(project, client))
    used = {(str(run.configuration.get("model")), run.configuration.get("provider")) for run in found}
    made = {step.job_id: step.model for step in lineage(project).steps if step.job_id}
    tuned = {job: model for job, model in made.items() if model != job}
    endings = sorted({each for name, service in stated | used for each in _endings(name, service, today)})
    return ProjectPage(
        project.name, problem, project.checklist.steps, found, project.run_names, tuned, tuple(endings)
    )


def _endings(name: str, service: object, today: datetime.date) -> Iterator[Ending]:
    """What ends for a model within ``NEAR`` days, or has ended; nothing for a model that nobody lists."""
    if not name or runs_here(str(service)):
        return
    try:
        life = catalogued(name).life(str(service) if service else None)
    except SetupError:
        return
    for fact, what in _ENDS.items():
        for day in life.dates(fact)[:1] if life else ():
            if (day - today).days <= NEAR:
                yield Ending(day, base_name(name), what, (day - today).days)


def _said(step: ChecklistStep) -> str:
    return step.done or f"to do; {step.notebook} does it"


def _link(notebook: str) -> str:
    """To a notebook that lies beside the one at work."""
    return f'<a href="{notebook}.ipynb">{notebook}</a>'
