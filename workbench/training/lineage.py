"""The lineage of tuned models: which job made each, from which model, down to the base.

Read from the project's record, and from the service's list of jobs where a model was made elsewhere. With
each model stand its scores, and what was recorded that speaks against training it further (SFT, then DPO,
then RFT is three jobs, each with the model of the one before as its ``model``).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from workbench.catalog.methods import METHODS, method_of
from workbench.catalog.models import base_name, is_tuned
from workbench.dataset.dataset import counted
from workbench.display import table
from workbench.errors import DataError
from workbench.project import JSON, SUPERVISED, Entry, Project

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob

_TESTS = ("comparison", "preference", "reinforcement")
"""What 06_evaluate, 08_preferences and 09_reinforcement record of a model that they judged."""
_CHECKPOINT = re.compile(r":ckpt-step-\d+$")


@dataclass(frozen=True)
class Score:
    """How a model did in a test: a share from 0 to 1 with its 95 % interval."""

    model: str
    score: float
    low: float
    high: float
    items: int
    grader: str
    difference: float
    """To the base model on the same items, from -1 to 1."""
    outcome: str
    """To the base model: ``better``, ``worse``, ``inconclusive`` …, as the comparison found."""

    def __str__(self) -> str:
        """``84 % (78–89)``."""
        return f"{100 * self.score:.0f} % ({100 * self.low:.0f}–{100 * self.high:.0f})"


def score_of(facts: Mapping[str, JSON]) -> Score:
    """The score of the tuned model, from a comparison on record."""
    number = numbers(facts)
    return Score(
        str(facts["tuned_model"]),
        number["tuned_score"],
        number["tuned_low"],
        number["tuned_high"],
        int(number["items"]),
        str(facts["grader"]),
        number["difference"],
        str(facts["outcome"]),
    )


def _kept_score(facts: Mapping[str, JSON]) -> Score:
    """The score at the task of a model that was trained for another aim, such as a tone."""
    measures = _measures(facts)
    others = (name for name in measures if name != facts["aim"])
    task = str(facts.get("task") or next(others, facts["aim"]))
    of_task = measures[task]
    *_, found = of_task["scores"].values()
    change = of_task["from_the_first"]
    ends = (found["score"], found["low"], found["high"])
    items, grader = int(cast(int, facts["items"])), str(of_task["grader"])
    return Score(str(facts["tuned_model"]), *ends, items, grader, change["difference"], change["outcome"])


def _measures(facts: Mapping[str, JSON]) -> Mapping[str, Mapping[str, Any]]:
    """What 08_preferences and 09_reinforcement recorded by each grader."""
    return cast("Mapping[str, Mapping[str, Any]]", facts["measures"])


def numbers(facts: Mapping[str, JSON]) -> dict[str, float]:
    """The facts that are numbers."""
    return {name: float(value) for name, value in facts.items() if isinstance(value, int | float)}


# What was recorded of a model that speaks against training it further.


class Drawback(NamedTuple):
    """One finding against a model."""

    grave: bool
    """Whether the model got worse or learnt nothing: then it is not trained further unasked."""
    why: str
    """A clause with the model as its subject: ``answers the task worse than nano``."""
    remedy: str = ""
    """How to train it again, in the imperative; empty where nothing is known to help."""


_GRAVE = ("diverged", "no_signal")
_DOUBTFUL = ("underfitting", "overfitting_severe", "memorised", "reward_hacking")


def drawbacks(entries: Sequence[Entry], model: str, job_id: str | None = None) -> tuple[Drawback, ...]:
    """What the record says against this model: its newest comparisons, and the curve of its job."""
    newest = {entry.kind: entry for entry in entries if _is_about(entry.facts, model, job_id)}
    found = list[Drawback]()
    if "comparison" in newest:
        found += _of_comparison(newest["comparison"])
    for kind in ("preference", "reinforcement"):
        if kind in newest:
            found += _of_models(newest[kind])
    curves = (entry for entry in reversed(entries) if entry.kind == "curve")
    if curve := next((entry for entry in curves if entry.facts.get("job_id") == job_id), None):
        found += _of_curve(curve, model)
    return tuple(sorted(found, key=lambda each: not each.grave))


def _is_about(facts: Mapping[str, JSON], model: str, job_id: str | None) -> bool:
    named = facts.get("tuned_model", facts.get("model"))
    return named == model if isinstance(named, str) else job_id is not None and facts.get("job_id") == job_id


def _of_comparison(entry: Entry) -> Iterator[Drawback]:
    facts, number, day = entry.facts, numbers(entry.facts), entry.at[:10]
    gate = facts.get("gate")
    checks = gate.get("checks") if isinstance(gate, Mapping) else None
    if facts.get("outcome") == "worse":
        scores = " against ".join(f"{100 * number[f'{side}_score']:.0f} %" for side in ("tuned", "base"))
        of = f"{scores} of {counted(int(number['items']), 'item')}"
        yield Drawback(True, f"answers the task worse than {facts.get('base_model')}: {of} ({day})")
    elif facts.get("outcome") in ("no meaningful difference", "inconclusive"):
        yield Drawback(
            False, f"was not shown to be better at the task than {facts.get('base_model')} ({day})"
        )
    for check in checks if isinstance(checks, Sequence) else ():
        if isinstance(check, Mapping) and check.get("result") == "refused":
            if check.get("name") == "nothing lost elsewhere":
                why = f"forgot more than is acceptable: {check.get('why')} ({day})"
                yield Drawback(True, why, "train it again with rehearsal (REHEARSAL in 03_build_data)")
            elif check.get("name") == "a grader to trust":
                yield Drawback(False, f"was graded by a grader that is not to be trusted ({day})")


_LOST_AIM = {
    "preference": "lost in what it was trained for",
    "reinforcement": "became worse by the grader that did not pay for it",
}


def _of_models(entry: Entry) -> Iterator[Drawback]:
    aim, hacking = map(entry.facts.get, ("aim", "reward_hacking"))
    for measure, found in _measures(entry.facts).items():
        scores = [_share(each) for each in found["scores"].values()][-2:]
        lost = f"{' → '.join(scores)} of {entry.facts.get('items')} items ({entry.at[:10]})"
        if measure == aim and found["last_step"]["outcome"] == "worse":
            yield Drawback(True, f"{_LOST_AIM[entry.kind]}: {lost}")
        elif measure != aim and found.get("kept") == "worse":
            price = f"paid for {aim} with {measure}"
            if entry.kind == "reinforcement":
                price = "lost by the grader that paid for it"
            gently = "train it again more gently (an earlier checkpoint, a smaller learning rate multiplier)"
            yield Drawback(True, f"{price}: {lost}", gently)
        elif measure != aim and entry.kind == "preference" and found["last_step"]["outcome"] == "worse":
            yield Drawback(False, f"paid for {aim} with {measure}, if within the margin: {lost}")
    if isinstance(hacking, Mapping) and hacking.get("level") == "stop":
        yield Drawback(False, f"shows signs of reward hacking: {hacking.get('verdict')} ({entry.at[:10]})")


def _share(score: JSON) -> str:
    value = score.get("score") if isinstance(score, Mapping) else None
    return f"{100 * value:.0f} %" if isinstance(value, int | float) else "not known"


def _of_curve(entry: Entry, model: str) -> Iterator[Drawback]:
    diagnosis, day = entry.facts.get("diagnosis"), entry.at[:10]
    if not isinstance(diagnosis, Mapping):
        return
    verdict, title, flags = (diagnosis.get(name) for name in ("verdict", "title", "flags"))
    last = not _CHECKPOINT.search(model)
    if verdict in (*_GRAVE, *_DOUBTFUL):
        smaller = "train it again with a smaller learning rate multiplier" if verdict == "diverged" else ""
        why = f"is of a job whose curve says: {title} ({day})"
        yield Drawback(verdict in _GRAVE and last, why, smaller)
    if isinstance(flags, Mapping) and "likelihood_displacement" in flags:
        yield Drawback(
            False, f"is of a job that made the preferred answers less likely as well as the others ({day})"
        )
    choice = entry.facts.get("choice")
    chosen = choice.get("model") if isinstance(choice, Mapping) else None
    if last and isinstance(chosen, str) and chosen != model:
        yield Drawback(False, f"is not the checkpoint that 05_loss_curves chose, which is {chosen} ({day})")


# The lineage itself.


@dataclass(frozen=True)
class LineageStep:
    """One training: the model that it made, and the one that it started from."""

    model: str
    """The model's name; while the job has made none, the job's id."""
    started_from: str
    """A base model, or a tuned one or a checkpoint of it."""
    depth: int
    """How many trainings lie between it and the base model, itself included."""
    method: str = ""
    """``sft``, ``dpo`` or ``rft``; empty where nobody knows."""
    job_id: str | None = None
    """``None``: neither the record nor the service knows how the model was made."""
    started: str = ""  # UTC, ISO 8601
    examples: int | None = None
    scores: tuple[Score, ...] = ()
    """The newest of each model of the job that was tested."""
    drawbacks: tuple[Drawback, ...] = ()
    gone: bool = False
    """Whether the service has the job and no longer the model; what was trained from it stays."""

    @property
    def data(self) -> str:
        """``421 examples``; empty where nobody counted."""
        noun = next((each.row_noun for each in METHODS.values() if each.short == self.method), "example")
        return "" if self.examples is None else counted(self.examples, noun)

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as JSON."""
        plain: dict[str, JSON] = {
            name: getattr(self, name)
            for name in ("model", "started_from", "depth", "method", "job_id", "started", "examples", "gone")
        }
        plain["scores"] = [dict(vars(score)) for score in self.scores]
        return plain | {"drawbacks": [each._asdict() for each in self.drawbacks]}


@dataclass(frozen=True, repr=False)
class Lineage:
    """The trainings of a project, or those behind one model, as a tree that starts at the base models."""

    project: str
    bases: tuple[str, ...]
    steps: tuple[LineageStep, ...]
    """Each before those that started from its model."""

    @property
    def missing(self) -> tuple[str, ...]:
        """A sentence for each model of which nobody knows how it was made."""
        return tuple(
            f"How {step.model} was made is not known: no job on the record of project {self.project} made "
            "it, and no job that the service lists did."
            for step in self.steps
            if step.job_id is None
        )

    @property
    def path(self) -> str:
        """The whole way in a line, for a lineage without branches: ``nano → SFT on 421 examples → DPO …``."""
        parts = [*self.bases, *(self._words(step) for step in self.steps)]
        return " → ".join(parts)

    @property
    def facts(self) -> dict[str, JSON]:
        """The lineage as plain JSON."""
        steps: list[JSON] = [step.facts for step in self.steps]
        return {
            "project": self.project,
            "bases": list(self.bases),
            "steps": steps,
            "missing": list(self.missing),
        }

    def __repr__(self) -> str:
        """A training a line, indented below the model that it started from."""
        lines = list[str]()
        for base in self.bases:
            lines.append(base)
            for step in self.of_base(base):
                scores = [f"{score}, {score.outcome}" for score in step.scores]
                said = "; ".join((self._words(step), *scores, *_against(step)))
                lines.append(f"{'  ' * step.depth}{step.model}: {said}")
        return "\n".join((*lines, *self.missing)) or f"Project {self.project} has no run yet."

    def _repr_html_(self) -> str:
        columns = ("model", "trained by", "from", "data", "score (95 %)", "against training it further")
        rows = [
            (
                step.model,
                " ".join(filter(None, (step.method.upper() or "not known", step.job_id))),
                step.started_from,
                step.data,
                "; ".join(f"{score} of {score.items}, {score.outcome}" for score in step.scores),
                "; ".join(_against(step)),
            )
            for step in self.steps
        ]
        notes = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.missing)
        caption = f"{counted(len(self.steps), 'training')} of {self.project}, from {', '.join(self.bases)}"
        return table(caption, columns, rows) + notes

    def of_base(self, base: str) -> tuple[LineageStep, ...]:
        """The trainings that go back to this base model, in order."""
        return tuple(step for step in self.steps if base_name(step.started_from).lower() == base.lower())

    def _words(self, step: LineageStep) -> str:
        """``SFT on 421 examples``."""
        how = step.method.upper() or "made elsewhere"
        return f"{how} on {step.data}" if step.data else how


def _against(step: LineageStep) -> list[str]:
    gone = ["is deleted; what was trained from it stays"] if step.gone else []
    return [each.why for each in step.drawbacks] + gone


@dataclass
class _Job:
    """A job while the lineage is put together."""

    id: str
    model: str
    method: str
    started: str
    examples: int | None = None
    made: list[str] = field(default_factory=list)
    """Names of the models and checkpoints that it is known to have made."""
    listed: bool = False

    @property
    def name(self) -> str:
        whole = [name for name in self.made if not _CHECKPOINT.search(name)]
        return next(reversed(whole or self.made), self.id)

    def made_as(self, model: str) -> str | None:
        """This model as the record spells it: services take upper and lower case alike."""
        return next((made for made in self.made if made.lower() == model.lower()), None)

    def know(self, model: str) -> None:
        """Take it up among what the job has made."""
        if self.made_as(model) is None:
            self.made.insert(0, model)


def lineage(project: Project, client: "OpenAI | None" = None, *, model: str | None = None) -> Lineage:
    """Follow each model back to its base: all trainings of the project, or those behind ``model``.

    ``model``: a model, a checkpoint, or a job's id. With ``client`` the service tells what it knows of jobs
    that are not on record; without, a model that was made elsewhere counts as not known. ``DataError``: the
    record has no such model, or goes round in a circle.
    """
    entries = project.entries()
    jobs = _recorded(entries)
    of_project = list(jobs)
    there = set[str]()
    if client is not None:
        _add_listed(jobs, client)
        there = {each.id.lower() for each in client.models.list()}
    ends = of_project
    if model is not None and (asked := _asked(project, jobs, model)) is not None:
        ends = [asked]
        if asked in jobs and model != asked:
            jobs[asked].know(model)
    elif model is not None:
        ends = [id for id in of_project if base_name(jobs[id].model).lower() == model.lower()]
    parents: dict[str, str] = {}  # of a job's id, or of a model that nobody knows: the same of its start
    for end in ends:
        _walk(project, jobs, end, parents)
    started = {key: jobs[key].started for key in parents if key in jobs}
    bases = sorted({base for base in parents.values() if base not in parents}) or ([model] if model else [])
    steps = list[LineageStep]()

    def add(parent: str, depth: int) -> None:
        children = [key for key, above in parents.items() if above == parent]
        for key in sorted(children, key=lambda key: started.get(key, "")):
            steps.append(_step(entries, jobs.get(key), key, depth, there, model))
            add(key, depth + 1)

    for base in bases:
        add(base, 1)
    return Lineage(project.name, tuple(bases), tuple(steps))


def _asked(project: Project, jobs: Mapping[str, _Job], model: str) -> str | None:
    """The job that made this model, or its own name where nobody knows; ``None`` for a base model."""
    if maker := (model if model in jobs else _maker(jobs, model)):
        return maker
    if is_tuned(model):
        return model
    if any(base_name(job.model).lower() == model.lower() for job in jobs.values()):
        return None
    known = dict.fromkeys(name for job in jobs.values() for name in (base_name(job.model), *job.made))
    there_are = f"it has {', '.join(known)}" if known else "it has no run yet"
    raise DataError(f"Project {project.name} has no model '{model}'; {there_are}.")


def _walk(project: Project, jobs: Mapping[str, _Job], end: str, parents: dict[str, str]) -> None:
    """Note the parent of a job or model, and of each one above it."""
    way = [end]
    while (key := way[-1]) in jobs or is_tuned(key):
        start = jobs[key].model if key in jobs else base_name(key)
        parents[key] = above = _maker(jobs, start) or start
        if above in jobs:
            jobs[above].know(start)
        if above in way:
            names = [jobs[each].name if each in jobs else each for each in way[way.index(above) :]]
            circle = ", and ".join(
                f"{one} from {other}" for one, other in zip(names, [*names[1:], names[0]], strict=True)
            )
            raise DataError(
                f"The record of project {project.name} goes round in a circle: it has {circle}. "
                "One of these jobs is written down wrong in record.jsonl; correct its model."
            )
        way.append(above)


def _maker(jobs: Mapping[str, _Job], model: str) -> str | None:
    """The id of the job that made this model or checkpoint."""
    if not is_tuned(model):
        return None
    wanted, whole = model.lower(), _CHECKPOINT.sub("", model).lower()
    for name in (wanted, whole):
        for job in jobs.values():
            if job.made_as(name) is not None:
                return job.id
    # Azure and the local service name a model by its job: BASE.ft-HEX, or BASE.ft-HEX-SUFFIX.
    tail = whole.partition(".ft-")[2]
    for id in jobs:
        digits = id.removeprefix("ftjob-").lower()
        if tail == digits or tail.startswith(f"{digits}-"):
            return id
    return None


def _recorded(entries: Sequence[Entry]) -> dict[str, _Job]:
    """The jobs on record by their ids, and those that a stacked job's entry tells of, the oldest first."""
    sizes = {
        entry.facts["training_sha256"]: entry.facts["training_examples"]
        for entry in entries
        if {"training_sha256", "training_examples"} <= entry.facts.keys()
    }
    jobs: dict[str, _Job] = {}
    for entry in entries:
        facts, id = entry.facts, str(entry.facts.get("job_id"))
        if entry.kind == "job" and id not in jobs:
            size = facts.get(
                "training_examples", sizes.get(facts.get("training_sha256"))
            )  # older: by its data
            examples = size if isinstance(size, int) else None
            method = METHODS.get(str(facts.get("method", SUPERVISED)))
            short = method.short if method else str(facts["method"])
            jobs[id] = _Job(id, str(facts["model"]), short, entry.at, examples)
        elif entry.kind in ("curve", *_TESTS) and id in jobs:
            kept = facts.get("checkpoints")
            names = [*(kept if isinstance(kept, Sequence) and not isinstance(kept, str) else ())]
            names += [facts.get("tuned_model"), facts.get("fine_tuned_model")]
            jobs[id].made += [str(name) for name in names if name]
    recorded = (entry.facts.get("ancestors") for entry in entries if entry.kind == "job")
    for ancestors in recorded:
        for each in ancestors if isinstance(ancestors, Sequence) else ():
            if isinstance(each, Mapping) and each.get("job_id") and str(each["job_id"]) not in jobs:
                id, size = str(each["job_id"]), each.get("examples")
                job = _Job(id, str(each["started_from"]), str(each["method"]), str(each["started"]))
                job.examples = size if isinstance(size, int) else None
                job.made.append(str(each["model"]))
                jobs[id] = job
    return jobs


def _add_listed(jobs: dict[str, _Job], client: "OpenAI") -> None:
    """Add what the service knows: its other jobs, and the names of the models."""
    for listed in client.fine_tuning.jobs.list(limit=100):
        if listed.id not in jobs:
            jobs[listed.id] = _from_service(listed)
        job = jobs[listed.id]
        job.listed = True
        if listed.fine_tuned_model:
            job.method = method_of(listed).short
            job.made.append(listed.fine_tuned_model)


def _from_service(job: "FineTuningJob") -> _Job:
    started = datetime.fromtimestamp(job.created_at, UTC).isoformat(timespec="milliseconds")
    return _Job(job.id, job.model, method_of(job).short, started)


def _step(
    entries: Sequence[Entry],
    job: _Job | None,
    key: str,
    depth: int,
    there: set[str],
    asked: str | None,
) -> LineageStep:
    """A training with what is on record of it; ``asked``: the checkpoint in question, if one is."""
    if job is None:
        return LineageStep(key, base_name(key), depth, drawbacks=drawbacks(entries, key))
    model = (None if asked is None else job.made_as(asked)) or job.name
    tested = [entry for entry in entries if entry.kind in _TESTS and entry.facts.get("job_id") == job.id]
    scores = [_kept_score(entry.facts) if "aim" in entry.facts else score_of(entry.facts) for entry in tested]
    return LineageStep(
        model,
        job.model,
        depth,
        job.method,
        job.id,
        job.started,
        job.examples,
        tuple({score.model: score for score in scores}.values()),
        drawbacks(entries, model, job.id),
        bool(there) and job.listed and bool(job.made) and model.lower() not in there,
    )
