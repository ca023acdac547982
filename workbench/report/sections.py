"""What a report says of a project: each section read from the record and the files beside it.

A step that nobody has done yet is one line that names its notebook, and so is a file that is gone. Nothing
is measured here, and no service is asked. Apart because what is reported and how a page looks change for
different reasons.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import cast

from workbench.catalog.methods import METHODS
from workbench.catalog.providers import runs_here
from workbench.dataset.check.rules import RULES
from workbench.dataset.dataset import counted
from workbench.dataset.repair.fixes import FIXES
from workbench.decide.wording import Known
from workbench.errors import DataError
from workbench.evaluation.compare import points
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.scores import pair
from workbench.project import JSON, STARTED_BY, SUPERVISED, Entry, Project
from workbench.report.page import (
    BASE,
    TUNED,
    Block,
    Cell,
    Code,
    Drawing,
    Folded,
    Missing,
    Rows,
    Section,
    State,
    VerdictCard,
    Words,
    scores,
)
from workbench.training.curve_files import read_curve
from workbench.training.lineage import lineage
from workbench.widgets.curve_chart import STEPS
from workbench.widgets.curve_figure import plotted
from workbench.widgets.lineage_chart import LineageChart
from workbench.widgets.score_charts import Mark

Facts = Mapping[str, JSON]
_NOTHING: Facts = {}
_STATES: Mapping[str, State] = {
    **{"better": "good", "passed": "good", "not worse": "good", "worse": "bad", "refused": "bad"},
    **{"reached, and nothing lost": "good", "not reached": "bad"},
}
_FIXED = {fix.rule: fix.title for fix in reversed(FIXES)}  # of several by one rule, the first


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
        return self.job.facts if self.job else _NOTHING

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
        return next((facts for facts in found if facts.get("job_id", "") == (self.id or None)), _NOTHING)

    def latest(self, kind: str) -> Facts:
        """The newest entry of this kind; empty where there is none."""
        return next((entry.facts for entry in reversed(self.entries) if entry.kind == kind), _NOTHING)

    @property
    def data(self) -> Facts:
        """What the job was trained on; without a job, the newest data on record."""
        kept = [entry.facts for entry in self.entries if "training_file" in entry.facts]
        wanted = self.facts.get("training_sha256")
        found = (each for each in reversed(kept) if wanted in (None, each.get("training_sha256")))
        return next(found, _NOTHING)

    @property
    def judged(self) -> Facts:
        """What 06_evaluate, 08_preferences or 09_reinforcement found of the model."""
        return self.of_job(_JUDGED_BY[self.method][0]) if self.method in _JUDGED_BY else _NOTHING


_JUDGED_BY = {
    SUPERVISED: ("comparison", "06_evaluate"),
    "dpo": ("preference", "08_preferences"),
    "reinforcement": ("reinforcement", "09_reinforcement"),
}


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
    jobs, entries = dict[str, Entry](), project.entries()
    for entry in entries:
        if entry.kind == "job":
            jobs.setdefault(str(entry.facts.get("job_id")), entry)
    return tuple(Subject(project, entries, job, number) for number, job in enumerate(jobs.values(), start=1))


def sections(subject: Subject) -> tuple[Section, ...]:
    """All that is to be said of one run, the verdict first."""
    return (
        Section(f"Project {subject.name}", (_headline(subject),), level=2),
        Section("Verdict", tuple(_verdict(subject))),
        Section("Decision", tuple(_decision(subject))),
        Section("Data", tuple(_data(subject))),
        Section("Training", tuple(_training(subject))),
        Section("Base model against tuned model", tuple(_scores(subject))),
        Section("What got worse", tuple(_forgotten(subject))),
        Section("Ten examples", tuple(_examples(subject))),
        Section("Cost", tuple(_cost(subject))),
        Section("Lineage", tuple(_lineage(subject))),
        Section("Reproduce it", tuple(_manifest(subject))),
    )


def compared(chosen: Sequence[Subject]) -> Section:
    """Several runs side by side: a drawing of their scores, and a table."""
    marks = [mark for each in chosen for mark in _both(each)]
    tests = {(_grader(each), each.judged.get("items")) for each in chosen if _both(each)}
    note = "These scores come from different tests or graders, so they do not compare with each other."
    settings = [_settings(each) for each in chosen]
    names = dict.fromkeys(name for one in settings for name in one)
    differing = [name for name in names if len({str(one.get(name)) for one in settings}) > 1]
    rows = [
        (
            each.name,
            *([mark.words for mark in _both(each)] or ("", "")),
            str(each.judged.get("outcome", "not judged")),
            str(_mapping(each.judged, "gate").get("result", "")),
            _probes(each.judged),
            ", ".join(f"{name} {own[name]}" for name in differing if name in own),
            _seconds(_trained(each)),
        )
        for each, own in zip(chosen, settings, strict=True)
    ]
    columns = ("run", "base", "tuned", "outcome", "release check", "probes", "what differs", "training")
    blocks: list[Block] = [Words(note)] if len(tests) > 1 else []
    blocks += [scores("Scores with their 95 % intervals", marks)] if marks else []
    return Section("Side by side", (*blocks, Rows("", columns, rows)), level=2)


# The sections.


def _headline(subject: Subject) -> Block:
    if not subject.id:
        return Missing("No model was trained yet; run", f"{STARTED_BY[SUPERVISED]}.")
    facts, method = subject.facts, METHODS.get(subject.method)
    how = method.short.upper() if method else subject.method
    started = cast(Entry, subject.job).at[:16].replace("T", " ")
    return Words(f"{facts.get('model')}, {how}, started {started} UTC at {facts.get('provider')}.")


def _verdict(subject: Subject) -> Iterator[Block]:
    found = subject.judged
    if found:
        yield _card("Is the tuned model better?", found.get("outcome"), found.get("verdict"))
    elif subject.id:
        yield Missing("The tuned model is not judged yet; run", f"{_notebook(subject)}.")
    else:
        yield Missing("There is no tuned model to judge yet; run", "04_launch, then 06_evaluate.")
    if release := _mapping(found, "gate"):
        checks = tuple(
            (_STATES.get(str(each.get("result")), "open"), str(each.get("name")), str(each.get("why", "")))
            for each in _mappings(release, "checks")
        )
        yield _card("May it be deployed?", release.get("result"), release.get("verdict"), checks)
    if probed := _mapping(found, "forgetting"):
        why = (
            f"Of {probed.get('items')} questions beside the task the base model answers {probed.get('base')} "
            f"right and the tuned one {probed.get('tuned')}; a loss of up to {_points(probed.get('margin'))} "
            "was acceptable."
        )
        yield _card("Is what it knew before still there?", probed.get("outcome"), why)
    for method, (kind, notebook) in _JUDGED_BY.items():
        later = subject.latest(kind)
        if method != subject.method and later:
            yield _card(f"What came of {notebook}?", later.get("outcome"), later.get("verdict"))


def _card(
    question: str, outcome: JSON, why: JSON, checks: tuple[tuple[State, str, str], ...] = ()
) -> VerdictCard:
    state, said = _STATES.get(str(outcome), "open"), str(outcome).capitalize()
    answer = {"good": "Yes", "bad": "No"}.get(state, "Not shown" if outcome == "open" else said)
    return VerdictCard(state, question, answer, str(why or ""), checks)


def _decision(subject: Subject) -> Iterator[Block]:
    found = subject.latest("decision")
    if not found:
        yield Missing("Whether to fine-tune was not asked yet; run", "02_decide.")
        return
    conditions = (str(each.get("condition")) for each in _mappings(found, "reasons"))  # of older records
    yield Words(f"{found.get('title')}. {found.get('reason') or next(conditions, '')}")
    steps = {"Next": found.get("advice"), "Measure next": found.get("next_measurement")}
    weighed = {**{name: step for name, step in steps.items() if step}, **_mapping(found, "weighed")}
    if weighed:
        yield Words("What was weighed:", tuple(f"{name}: {words}" for name, words in weighed.items()))
    if changes := found.get("would_change"):
        yield Words("What would change it:", tuple(map(str, cast("Sequence[JSON]", changes))))
    known = _mapping(found, "situation")
    try:
        facts = Known(cast("Mapping[str, float]", known)).facts
    except DataError:  # written by another version, which knew other fields
        facts = {name: str(value) for name, value in known.items()}
    yield Rows("What the decision was taken from", ("fact", "value"), [*facts.items()], folded=True)


def _data(subject: Subject) -> Iterator[Block]:
    found = subject.data
    if not found:
        yield Missing("No training data was kept yet; run", "03_build_data.")
        return
    levels = {"error": "error", "warning": "warning", "info": "remark"}
    left = [
        counted(int(number), levels.get(level, level))
        for level, number in _numbers(_mapping(found, "problems")).items()
        if number
    ]
    rows: list[tuple[Cell, ...]] = [
        ("from", PurePath(str(found.get("source", ""))).name),
        ("trained on", _count(found, "training_examples")),
        ("held out to watch the training", _count(found, "validation_examples")),
        ("what the last check still found", ", ".join(left) or "nothing"),
    ]
    if rehearsal := _mapping(found, "rehearsal"):
        rows.append(("of them rehearsal", f"{rehearsal.get('rows')} answers of {rehearsal.get('model')}"))
    rows += [
        (f"SHA-256 of the {role} file", Code(found[f"{role}_sha256"]))
        for role in ("training", "validation")
        if found.get(f"{role}_sha256")
    ]
    rows += [
        (f"SHA-256 of the {entry.facts['name']}", Code(entry.facts["sha256"]))
        for entry in subject.entries
        if entry.kind == "seal"
    ]
    yield Rows("", (), rows)
    if findings := _mapping(found, "findings"):
        kinds = [
            (RULES[rule].sentence if rule in RULES else rule, f"{number}")
            for rule, number in findings.items()
        ]
        yield Rows("What the last check still found", ("finding", "places"), kinds)
    made = [each for each in _mappings(found, "repairs") if each.get("rows_changed")]
    repaired: list[tuple[str, str]] = [
        (_FIXED.get(rule, rule), f"{number}")
        for each in made
        for rule, number in _mapping(each, "rows_changed").items()
    ]
    if repaired:
        dropped = sum(int(cast(int, each.get("rows_dropped") or 0)) for each in made)
        caption = f"Repairs, and how many rows each changed; {counted(dropped, 'row')} were left out"
        yield Rows(caption, ("repair", "rows"), repaired)
    else:
        yield Words("Nothing was repaired.")


def _training(subject: Subject) -> Iterator[Block]:
    found = subject.of_job("curve")
    if not found and subject.method != SUPERVISED:
        yield Words(
            f"The curve of this job is not on record; {_notebook(subject)} draws it from the service."
        )
        return
    if not found:
        run = "05_loss_curves." if subject.id else "04_launch."
        yield Missing("There is no loss curve on record; run", run)
        return
    diagnosis, choice = _mapping(found, "diagnosis"), _mapping(found, "choice")
    flags = tuple(map(str, _mapping(diagnosis, "flags").values()))
    reasons = (str(choice["sentence"]), *flags) if "sentence" in choice else flags
    concluded = _mapping(found, "conclusion")  # of records before it: the diagnosis alone
    title, action = (diagnosis.get("title", "Not diagnosed"), diagnosis.get("action", ""))
    yield Words(f"{concluded.get('verdict', title)}. {concluded.get('next_step', action)}", reasons)
    last = Rows(
        "The last value of each measure",
        ("measure", "value"),
        [(Code(name), f"{value:.4g}") for name, value in _numbers(_mapping(found, "final")).items()],
        folded=True,
    )
    file = found.get("curve_file")
    try:
        curve = read_curve(subject.project.path / str(file)) if file else None
    except DataError:
        curve = None
    if curve is None:
        yield Missing("The points of the curve are not among the project's files; run", "05_loss_curves.")
        yield last
        return
    drawn = plotted(curve, f"{subject.name}: {counted(curve.steps, 'step')}", STEPS)
    yield Drawing("", drawn.svg, Rows("In numbers", _ENDS, drawn.table.rows, folded=True))
    yield last


_ENDS = ("line", "first", "lowest", "highest", "last")


def _scores(subject: Subject) -> Iterator[Block]:
    marks = list[Mark]()
    for tried in _mappings(subject.latest("baseline"), "rungs"):
        named = str(tried.get("prompt" if tried.get("role", "rung") == "rung" else "model"))
        marks += _mark(f"{tried.get('model')}, {named}", tried, BASE)
    found = subject.judged
    if subject.method == SUPERVISED and _both(subject):
        marks = [each for each in marks if not each.name.endswith(f", {found.get('base_prompt')}")]
        marks += _both(subject)
    for kind, _ in _JUDGED_BY.values():
        later = subject.latest(kind)
        for measure, each in _mapping(later, "measures").items():
            models = _mapping(cast(Facts, each), "scores")
            for place, (name, score) in enumerate(models.items(), start=1):
                look = TUNED if place == len(models) else BASE
                marks += _mark(f"{measure}: {name}", cast(Facts, score), look)
    if not marks:
        yield Missing("Nothing was measured yet; run", "01_baseline, later 06_evaluate.")
        return
    yield scores("Scores with their 95 % intervals", marks)
    if not found:
        yield Missing("The tuned model is not compared yet; run", f"{_notebook(subject)}.")


def _forgotten(subject: Subject) -> Iterator[Block]:
    found = subject.judged
    probed = _mapping(found, "forgetting")
    by_category = _mapping(probed, "categories")
    for name, measure in _mapping(found, "measures").items():
        change = _numbers(_mapping(cast(Facts, measure), "from_the_first"))
        if {"difference", "low", "high"} <= change.keys():
            ends = " to ".join(points(change[end]) for end in ("low", "high"))
            yield Words(f"{name}: {points(change['difference'])} points against the first model ({ends}).")
    if not probed and "measures" in found:
        return
    if not probed:
        checks = _mappings(_mapping(found, "gate"), "checks")
        if lost := [str(each.get("why")) for each in checks if each.get("name") == "nothing lost elsewhere"]:
            yield Words(lost[0])
        yield Missing("How much of each kind was lost is not on record; run", "06_evaluate.")
        return
    asked, marks = _numbers(_mapping(probed, "asked")), list[Mark]()
    caption = "Questions beside the task that were answered right, base → tuned"
    for name, each in by_category.items():
        right = _pair(each)
        if of := asked.get(name):
            words = f"{right[0]:g} → {right[1]:g} of {of:g}"
            for share, look in zip((number / of for number in right), (BASE, TUNED), strict=True):
                marks.append(Mark(name, share, (share, share), words, *look))
    if marks:
        yield scores(caption, marks)
    elif by_category:  # of an older record, which did not say how many were asked of each kind
        counts = [(name, *(f"{number:g}" for number in _pair(each))) for name, each in by_category.items()]
        yield Rows(caption, ("kind", "base", "tuned"), counts)
    broken = int(cast(int, found.get("broken") or 0))
    yield Words(f"Of the questions of the task itself {counted(broken, 'right answer')} became wrong.")


def _examples(subject: Subject) -> Iterator[Block]:
    files = _answers(subject)
    if files is None:
        yield Missing("There are no answers of both models yet; run", f"{_notebook(subject)}.")
        return
    try:
        first, last = (Evaluation.load(subject.project.path / file) for file in files)
        both = pair(first, last, missing="leave out")
    except DataError:
        yield Missing("The files with the answers cannot be read any more; run", f"{_notebook(subject)}.")
        return
    kinds: dict[str, list[tuple[Item, Item]]] = {"broken": [], "still wrong": [], "fixed": []}
    left_out = {id for each in _mappings(subject.judged, "left_out") for id in cast("list[str]", each["ids"])}
    for base, tuned in zip(both.base.items, both.tuned.items, strict=True):
        if base.id in left_out or math.isnan(base.score) or math.isnan(tuned.score):
            continue
        if base.score != tuned.score:
            kinds["fixed" if tuned.score > base.score else "broken"].append((base, tuned))
        elif tuned.score < 1:
            kinds["still wrong"].append((base, tuned))
    rows = []
    for kind, number in _shares({kind: len(items) for kind, items in kinds.items()}).items():
        for place in range(number):
            base, tuned = kinds[kind][place * len(kinds[kind]) // number]  # spread over the whole test
            rows.append((kind, base.question, base.reference, base.answer, tuned.answer))
    of = ", ".join(f"{len(items)} {kind}" for kind, items in kinds.items())
    columns = ("", "question", "expected", "base model", "tuned model")
    yield Rows(f"{len(rows)} of {len(both.base.items)} questions; in all {of}", columns, rows)


def _answers(subject: Subject) -> tuple[str, str] | None:
    """The files with the answers of the first model and of the last."""
    found = subject.judged
    if {"base_evaluation", "tuned_evaluation"} <= found.keys():
        return str(found["base_evaluation"]), str(found["tuned_evaluation"])
    files = _mapping(found, "evaluations").items()
    kept = [str(file) for name, file in files if name.startswith(f"{_task(found)}, ")]
    return (kept[0], kept[-1]) if len(kept) > 1 else None


def _task(found: Facts) -> str:
    """By which measure 08_preferences and 09_reinforcement judge: what was trained for."""
    return str(found.get("task", found.get("aim")))


def _shares(numbers: Mapping[str, int], most: int = 10) -> dict[str, int]:
    """How many of each kind are shown: three of what is wrong, where there are, the rest of what is fixed."""
    taken = {kind: min(number, 3) for kind, number in numbers.items()}
    for kind in reversed(taken):
        taken[kind] = min(numbers[kind], taken[kind] + most - sum(taken.values()))
    return taken


def _cost(subject: Subject) -> Iterator[Block]:
    rows: list[tuple[str, str]] = []
    estimated = subject.facts.get("estimated_usd")
    if isinstance(estimated, int | float):
        rows.append(("training, as estimated", f"${estimated:,.2f}"))
    billed = subject.of_job("curve").get("usd")
    if runs_here(str(subject.facts.get("provider"))):
        rows.append(("training, as it was", "$0.00, on a machine of your own"))
    elif isinstance(billed, int | float):
        rows.append(("training, as it was", f"${billed:,.2f}"))
    if seconds := _trained(subject):
        rows.append(("training time", _seconds(seconds)))
    deployed = _deployed(subject)
    if isinstance(hour := deployed.get("hosting_hour"), int | float):
        rows.append((f"deployment {deployed.get('name')}, an hour", f"${hour:,.2f}"))
    payback = _mapping(subject.latest("decision"), "payback")
    ways = [*([_mapping(payback, "base")] if payback else []), *_mappings(payback, "ways")]
    rows += [
        (f"one request, {way.get('name')}", f"${cast(float, way['per_request']):,.6f}")
        for way in ways
        if isinstance(way.get("per_request"), int | float)
    ]
    if rows:
        yield Rows("", ("what", "US dollars"), rows)
    else:
        yield Missing("No cost is on record yet; run", "02_decide and 04_launch.")
    pays = tuple(str(way["sentence"]) for way in ways if way.get("sentence"))
    if pays:
        asked = payback.get("requests_per_month")
        yield Words(f"Does it pay at {cast(float, asked or 0):,.0f} requests a month?", pays)


def _lineage(subject: Subject) -> Iterator[Block]:
    try:
        found = lineage(subject.project)
    except DataError as error:
        yield Words(str(error))
        return
    if not found.steps:
        yield Missing("No model was made yet; run", "04_launch.")
        return
    rows = [
        (step.model, step.method.upper(), step.started_from, step.data, "; ".join(map(str, step.scores)))
        for step in found.steps
    ]
    columns = ("model", "method", "from", "data", "score (95 %)")
    yield Drawing("", LineageChart(found).svg, Rows("In numbers", columns, rows, folded=True))
    against = tuple(f"{step.model} {each.why}" for step in found.steps for each in step.drawbacks)
    if against:
        yield Words("What the record says against a model:", against)


def _manifest(subject: Subject) -> Iterator[Block]:
    """From the data to the scores: each thing by its hash or its name, and whether its file is unchanged."""
    facts, found, curve = subject.facts, subject.judged, subject.of_job("curve")
    chosen = _mapping(curve, "choice")
    data = {
        f"{role} data": _kept(subject, data.get(f"{role}_file"), data.get(f"{role}_sha256"))
        for data in (subject.data,)
        for role in ("training", "validation")
    }
    tests = (entry.facts for entry in subject.entries if entry.kind == "seal")
    chain_of: dict[str, JSON] = {
        **data,
        "test": next((facts["sha256"] for facts in tests if facts["name"] == "test"), None),
        "base model": facts.get("model"),
        "method": subject.method if facts else None,
        "seed": facts.get("seed"),
        "hyperparameters": curve.get("hyperparameters") or facts.get("hyperparameters"),
        "job": facts.get("job_id"),
        "content of the job": facts.get("content"),
        "service": facts.get("provider"),
        "checkpoint": chosen.get("model") or curve.get("fine_tuned_model"),
        "tuned model": found.get("tuned_model"),
        "deployment": _deployed(subject).get("name"),
        "prompts": [found[name] for name in ("base_prompt", "tuned_prompt") if name in found] or None,
        "grader": _graded(subject),
        "answers": [_kept(subject, file, None) for file in _answers(subject) or ()] or None,
        "scores": [mark.words for mark in _both(subject)] or None,
        "versions": subject.latest("environment").get("versions"),
        "workbench of each step": _versions(subject),
    }
    if not any(chain_of.values()):
        yield Missing("There is nothing to reproduce yet; run", "00_start_here.")
        return
    rows = [(name, Code(_in_words(value))) for name, value in chain_of.items()]
    yield Rows("", ("link", "what it was"), rows)
    yield Folded("The same as JSON", json.dumps(chain_of, indent=1, ensure_ascii=False))


# Of facts.


def _deployed(subject: Subject) -> Facts:
    """The last word of the record on a deployment of the tuned model; empty where it was never deployed."""
    model = subject.judged.get("tuned_model")
    found = (entry.facts for entry in reversed(subject.entries) if entry.kind == "deployment")
    return next((facts for facts in found if model and facts.get("model") == model), _NOTHING)


def _kept(subject: Subject, file: JSON, sha256: JSON) -> JSON:
    """A file's hash, and whether the file still has it; without one on record, the hash that it has now."""
    path = subject.project.path / str(file)
    if not file or not path.is_file():
        return f"{sha256} (the file is gone)" if sha256 else None
    now = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 in (None, now):
        return now
    return f"{sha256} (the file has changed since: {now})"


def _graded(subject: Subject) -> JSON:
    """The grader's name; where the job had its definition, with a hash of that."""
    name, of_job = _grader(subject), subject.facts.get("grader")
    if not isinstance(of_job, Mapping) or name not in (None, of_job.get("name")):
        return name
    digest = hashlib.sha256(json.dumps(of_job, sort_keys=True).encode()).hexdigest()
    return f"{of_job.get('name')} (its definition: {digest[:12]})"


def _versions(subject: Subject) -> JSON:
    """By which versions of the workbench the record was written, with the first day of each."""
    days: dict[str, JSON] = {}
    for entry in subject.entries:
        days.setdefault(entry.version, entry.at[:10])
    return days or None


def _in_words(value: JSON) -> str:
    if value is None:
        return "not on record"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(each)}" for name, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(map(_in_words, value))
    return str(value)


def _notebook(subject: Subject) -> str:
    return _JUDGED_BY[subject.method][1] if subject.method in _JUDGED_BY else "06_evaluate"


def _mapping(facts: Facts, name: str) -> Facts:
    found = facts.get(name)
    return found if isinstance(found, Mapping) else _NOTHING


def _mappings(facts: Facts, name: str) -> list[Facts]:
    found = facts.get(name)
    listed = found if isinstance(found, Sequence) and not isinstance(found, str) else ()
    return [each for each in listed if isinstance(each, Mapping)]


def _numbers(facts: Facts) -> dict[str, float]:
    return {name: value for name, value in facts.items() if isinstance(value, int | float)}


def _pair(value: JSON) -> tuple[float, float]:
    base, tuned, *_ = cast("Sequence[float]", value)
    return base, tuned


def _count(facts: Facts, name: str) -> str:
    value = facts.get(name)
    return f"{value:,}" if isinstance(value, int) else ""


def _points(value: JSON) -> str:
    return f"{100 * value:g} points" if isinstance(value, int | float) else "a margin not on record"


def _probes(found: Facts) -> str:
    probed = _mapping(found, "forgetting")
    return f"{probed.get('base')} → {probed.get('tuned')} of {probed.get('items')}" if probed else ""


def _settings(subject: Subject) -> dict[str, JSON]:
    """How and on what it was trained."""
    used = subject.of_job("curve").get("hyperparameters") or subject.facts.get("hyperparameters")
    how = {name: subject.facts.get(name) for name in ("model", "provider", "seed")}
    how |= {"method": subject.method, "examples": subject.data.get("training_examples")}
    how |= dict(used) if isinstance(used, Mapping) else {}
    return {name: value for name, value in how.items() if value is not None}


def _grader(subject: Subject) -> JSON:
    found = subject.judged
    return _mapping(_mapping(found, "measures"), _task(found)).get("grader") or found.get("grader")


def _trained(subject: Subject) -> JSON:
    return subject.judged.get("training_seconds") or subject.of_job("curve").get("training_seconds")


def _seconds(value: JSON) -> str:
    if not isinstance(value, int | float):
        return ""
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"


# Scores as marks.


def _mark(name: str, facts: Facts, look: tuple[str, str], prefix: str = "") -> Iterator[Mark]:
    """A mark, where the facts hold a score."""
    found = _numbers(facts)
    if (score := found.get(f"{prefix}score")) is not None:
        low, high = (found.get(f"{prefix}{end}") for end in ("low", "high"))
        words = f"{100 * score:.1f} %"
        if low is None or high is None:
            yield Mark(name, score, (score, score), words, *look)
        else:
            yield Mark(name, score, (low, high), f"{words} ({100 * low:.0f}–{100 * high:.0f})", *look)


def _both(subject: Subject) -> list[Mark]:
    """The first model's score and the last one's; empty where they were not compared."""
    found = subject.judged
    sides = [(str(found.get(f"{side}_prompt")), found, f"{side}_") for side in ("base", "tuned")]
    if measure := _mapping(_mapping(found, "measures"), _task(found)):
        models = [*_mapping(measure, "scores").items()]
        sides = [(f"{_task(found)}, {name}", cast(Facts, score), "") for name, score in models]
        sides = [sides[0], sides[-1]]
    marks = list[Mark]()
    for (named, facts, prefix), side, look in zip(sides, ("base", "tuned"), (BASE, TUNED), strict=True):
        marks += _mark(f"{subject.name}: {side}, {named}", facts, look, prefix)
    return marks if len(marks) == 2 else []
