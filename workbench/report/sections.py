"""What a report says of a project: each section read from the record and the files beside it.

A step that nobody has done yet is one line that names its notebook, and so is a file that is gone. Nothing
is measured here, and no service is asked. Apart because what is reported and how a page looks change for
different reasons.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
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
from workbench.evaluation.statistics import Interval
from workbench.project import JSON, STARTED_BY, SUPERVISED, Entry
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
from workbench.report.subject import JUDGED_BY, Facts, Subject, mapping, mappings
from workbench.training.curve_files import read_curve
from workbench.training.lineage import lineage, numbers
from workbench.training.runs import differing, took
from workbench.widgets.curve_chart import STEPS
from workbench.widgets.curve_figure import plotted
from workbench.widgets.lineage_chart import LineageChart
from workbench.widgets.score_charts import Mark

_STATES: Mapping[str, State] = {
    **{"better": "good", "passed": "good", "not worse": "good", "worse": "bad", "refused": "bad"},
    **{"reached, and nothing lost": "good", "not reached": "bad"},
}
_FIXED = {fix.rule: fix.title for fix in reversed(FIXES)}  # of several by one rule, the first


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
    tests = {(each.grader, each.judged.get("items")) for each in chosen if _both(each)}
    note = "These scores come from different tests or graders, so they do not compare with each other."
    settings = [each.settings for each in chosen]
    changed = differing(settings)
    rows = [
        (
            each.name,
            *([mark.words for mark in _both(each)] or ("", "")),
            str(each.judged.get("outcome", "not judged")),
            str(mapping(each.judged, "gate").get("result", "")),
            _probes(each.judged),
            ", ".join(f"{name} {own[name]}" for name in changed if name in own),
            took(each.training_seconds),
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
        yield Missing("The tuned model is not judged yet; run", f"{subject.notebook}.")
    else:
        yield Missing("There is no tuned model to judge yet; run", "04_launch, then 06_evaluate.")
    if release := mapping(found, "gate"):
        checks = tuple(
            (_STATES.get(str(each.get("result")), "open"), str(each.get("name")), str(each.get("why", "")))
            for each in mappings(release, "checks")
        )
        yield _card("May it be deployed?", release.get("result"), release.get("verdict"), checks)
    if probed := mapping(found, "forgetting"):
        why = (
            f"Of {probed.get('items')} questions beside the task the base model answers {probed.get('base')} "
            f"right and the tuned one {probed.get('tuned')}; a loss of up to {_points(probed.get('margin'))} "
            "was acceptable."
        )
        yield _card("Is what it knew before still there?", probed.get("outcome"), why)
    for method, (kind, notebook) in JUDGED_BY.items():
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
    conditions = (str(each.get("condition")) for each in mappings(found, "reasons"))  # of older records
    yield Words(f"{found.get('title')}. {found.get('reason') or next(conditions, '')}")
    steps = {"Next": found.get("advice"), "Measure next": found.get("next_measurement")}
    weighed = {**{name: step for name, step in steps.items() if step}, **mapping(found, "weighed")}
    if weighed:
        yield Words("What was weighed:", tuple(f"{name}: {words}" for name, words in weighed.items()))
    if changes := found.get("would_change"):
        yield Words("What would change it:", tuple(map(str, cast("Sequence[JSON]", changes))))
    known = mapping(found, "situation")
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
        for level, number in numbers(mapping(found, "problems")).items()
        if number
    ]
    rows: list[tuple[Cell, ...]] = [
        ("from", PurePath(str(found.get("source", ""))).name),
        ("trained on", _count(found, "training_examples")),
        ("held out to watch the training", _count(found, "validation_examples")),
        ("what the last check still found", ", ".join(left) or "nothing"),
    ]
    if rehearsal := mapping(found, "rehearsal"):
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
    if findings := mapping(found, "findings"):
        kinds = [
            (RULES[rule].sentence if rule in RULES else rule, f"{number}")
            for rule, number in findings.items()
        ]
        yield Rows("What the last check still found", ("finding", "places"), kinds)
    made = [each for each in mappings(found, "repairs") if each.get("rows_changed")]
    repaired: list[tuple[str, str]] = [
        (_FIXED.get(rule, rule), f"{number}")
        for each in made
        for rule, number in mapping(each, "rows_changed").items()
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
        yield Words(f"The curve of this job is not on record; {subject.notebook} draws it from the service.")
        return
    if not found:
        run = "05_loss_curves." if subject.id else "04_launch."
        yield Missing("There is no loss curve on record; run", run)
        return
    diagnosis, choice = mapping(found, "diagnosis"), mapping(found, "choice")
    flags = tuple(map(str, mapping(diagnosis, "flags").values()))
    reasons = (str(choice["sentence"]), *flags) if "sentence" in choice else flags
    concluded = mapping(found, "conclusion")  # of records before it: the diagnosis alone
    title, action = (diagnosis.get("title", "Not diagnosed"), diagnosis.get("action", ""))
    yield Words(f"{concluded.get('verdict', title)}. {concluded.get('next_step', action)}", reasons)
    last = Rows(
        "The last value of each measure",
        ("measure", "value"),
        [(Code(name), f"{value:.4g}") for name, value in numbers(mapping(found, "final")).items()],
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
    for tried in mappings(subject.latest("baseline"), "rungs"):
        named = str(tried.get("prompt" if tried.get("role", "rung") == "rung" else "model"))
        marks += _mark(f"{tried.get('model')}, {named}", tried, BASE)
    found = subject.judged
    if subject.method == SUPERVISED and _both(subject):
        marks = [each for each in marks if not each.name.endswith(f", {found.get('base_prompt')}")]
        marks += _both(subject)
    for kind, _ in JUDGED_BY.values():
        later = subject.latest(kind)
        for measure, each in mapping(later, "measures").items():
            models = mapping(cast(Facts, each), "scores")
            for place, (name, score) in enumerate(models.items(), start=1):
                look = TUNED if place == len(models) else BASE
                marks += _mark(f"{measure}: {name}", cast(Facts, score), look)
    if not marks:
        yield Missing("Nothing was measured yet; run", "01_baseline, later 06_evaluate.")
        return
    yield scores("Scores with their 95 % intervals", marks)
    if not found:
        yield Missing("The tuned model is not compared yet; run", f"{subject.notebook}.")


def _forgotten(subject: Subject) -> Iterator[Block]:
    found = subject.judged
    probed = mapping(found, "forgetting")
    by_category = mapping(probed, "categories")
    for name, measure in mapping(found, "measures").items():
        change = numbers(mapping(cast(Facts, measure), "from_the_first"))
        if {"difference", "low", "high"} <= change.keys():
            ends = " to ".join(points(change[end]) for end in ("low", "high"))
            yield Words(f"{name}: {points(change['difference'])} points against the first model ({ends}).")
    if not probed and "measures" in found:
        return
    if not probed:
        checks = mappings(mapping(found, "gate"), "checks")
        if lost := [str(each.get("why")) for each in checks if each.get("name") == "nothing lost elsewhere"]:
            yield Words(lost[0])
        yield Missing("How much of each kind was lost is not on record; run", "06_evaluate.")
        return
    asked, marks = numbers(mapping(probed, "asked")), list[Mark]()
    caption = "Questions beside the task that were answered right, base → tuned"
    for name, each in by_category.items():
        right = _pair(each)
        if of := asked.get(name):
            words = f"{right[0]:g} → {right[1]:g} of {of:g}"
            for share, look in zip((number / of for number in right), (BASE, TUNED), strict=True):
                marks.append(Mark(name, share, Interval(share, share), words, *look))
    if marks:
        yield scores(caption, marks)
    elif by_category:  # of an older record, which did not say how many were asked of each kind
        counts = [(name, *(f"{number:g}" for number in _pair(each))) for name, each in by_category.items()]
        yield Rows(caption, ("kind", "base", "tuned"), counts)
    broken = int(cast(int, found.get("broken") or 0))
    yield Words(f"Of the questions of the task itself {counted(broken, 'right answer')} became wrong.")


def _examples(subject: Subject) -> Iterator[Block]:
    files = subject.answers
    if files is None:
        yield Missing("There are no answers of both models yet; run", f"{subject.notebook}.")
        return
    try:
        first, last = (Evaluation.load(subject.project.path / file) for file in files)
        both = pair(first, last, missing="leave out")
    except DataError:
        yield Missing("The files with the answers cannot be read any more; run", f"{subject.notebook}.")
        return
    kinds: dict[str, list[tuple[Item, Item]]] = {"broken": [], "still wrong": [], "fixed": []}
    left_out = {id for each in mappings(subject.judged, "left_out") for id in cast("list[str]", each["ids"])}
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
    if seconds := subject.training_seconds:
        rows.append(("training time", took(seconds)))
    deployed = subject.deployed
    if isinstance(hour := deployed.get("hosting_hour"), int | float):
        rows.append((f"deployment {deployed.get('name')}, an hour", f"${hour:,.2f}"))
    payback = mapping(subject.latest("decision"), "payback")
    ways = [*([mapping(payback, "base")] if payback else []), *mappings(payback, "ways")]
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
    chosen = mapping(curve, "choice")
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
        "deployment": subject.deployed.get("name"),
        "prompts": [found[name] for name in ("base_prompt", "tuned_prompt") if name in found] or None,
        "grader": _graded(subject),
        "answers": [_kept(subject, file, None) for file in subject.answers or ()] or None,
        "scores": [mark.words for mark in _both(subject)] or None,
        "versions": subject.latest("environment").get("versions"),
        "workbench of each step": subject.versions,
    }
    if not any(chain_of.values()):
        yield Missing("There is nothing to reproduce yet; run", "00_start_here.")
        return
    rows = [(name, Code(_in_words(value))) for name, value in chain_of.items()]
    yield Rows("", ("link", "what it was"), rows)
    yield Folded("The same as JSON", json.dumps(chain_of, indent=1, ensure_ascii=False))


# Of facts.


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
    name, of_job = subject.grader, subject.facts.get("grader")
    if not isinstance(of_job, Mapping) or name not in (None, of_job.get("name")):
        return name
    digest = hashlib.sha256(json.dumps(of_job, sort_keys=True).encode()).hexdigest()
    return f"{of_job.get('name')} (its definition: {digest[:12]})"


def _in_words(value: JSON) -> str:
    if value is None:
        return "not on record"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(each)}" for name, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(map(_in_words, value))
    return str(value)


def _pair(value: JSON) -> tuple[float, float]:
    base, tuned, *_ = cast("Sequence[float]", value)
    return base, tuned


def _count(facts: Facts, name: str) -> str:
    value = facts.get(name)
    return f"{value:,}" if isinstance(value, int) else ""


def _points(value: JSON) -> str:
    return f"{100 * value:g} points" if isinstance(value, int | float) else "a margin not on record"


def _probes(found: Facts) -> str:
    probed = mapping(found, "forgetting")
    return f"{probed.get('base')} → {probed.get('tuned')} of {probed.get('items')}" if probed else ""


# Scores as marks.


def _mark(name: str, facts: Facts, look: tuple[str, str], prefix: str = "") -> Iterator[Mark]:
    """A mark, where the facts hold a score."""
    found = numbers(facts)
    if (score := found.get(f"{prefix}score")) is not None:
        low, high = (found.get(f"{prefix}{end}") for end in ("low", "high"))
        words = f"{100 * score:.1f} %"
        if low is None or high is None:
            yield Mark(name, score, Interval(score, score), words, *look)
        else:
            yield Mark(name, score, Interval(low, high), f"{words} ({100 * low:.0f}–{100 * high:.0f})", *look)


def _both(subject: Subject) -> list[Mark]:
    """The first model's score and the last one's; empty where they were not compared."""
    found = subject.judged
    sides = [(str(found.get(f"{side}_prompt")), found, f"{side}_") for side in ("base", "tuned")]
    if measure := mapping(mapping(found, "measures"), subject.task):
        models = [*mapping(measure, "scores").items()]
        sides = [(f"{subject.task}, {name}", cast(Facts, score), "") for name, score in models]
        sides = [sides[0], sides[-1]]
    marks = list[Mark]()
    for (named, facts, prefix), side, look in zip(sides, ("base", "tuned"), (BASE, TUNED), strict=True):
        marks += _mark(f"{subject.name}: {side}, {named}", facts, look, prefix)
    return marks if len(marks) == 2 else []
