"""Watching a tuned model in use: does it still answer as it was judged, and to the questions it was made for?

The locked test is asked again and paired with its record, new labelled rows and stored answers are scored,
new questions are compared with the training's; what ends soon or costs more than planned is named. A run is
one line of the record.
"""

import datetime
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Literal, NamedTuple

from workbench.catalog.models import base_name
from workbench.catalog.providers import provider_of
from workbench.costs import SOON_DAYS, Ledger, ledger
from workbench.dataset.dataset import Dataset, Example, counted
from workbench.dataset.read import read
from workbench.decide.power import LEVEL
from workbench.deploy import answering, life_ends
from workbench.display import Shown, Table, folded, safe, table
from workbench.drift import FEWEST_QUESTIONS, PERMUTATIONS, Drift, alike_in_form, dealt, drift, share_as_far
from workbench.errors import DataError
from workbench.evaluation.compare import compare, contaminated, points
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.evaluation import Evaluation, cost_per_request
from workbench.evaluation.graders.grades import Grader
from workbench.evaluation.graders.grading import graded
from workbench.evaluation.graders.ready_made import grader as grader_of
from workbench.evaluation.statistics import Interval, holm, p_in_words
from workbench.project import JSON, Project
from workbench.task import Task
from workbench.widgets.curve_chart import BLUE, VERMILLION
from workbench.widgets.score_charts import ForestPanel, Mark, forest
from workbench.widgets.svg import GREY, WIDEST, Scale, picture, polyline, stroke, themed
from workbench.widgets.svg import text as written

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray
    from openai import OpenAI

    Floats = NDArray[numpy.float64]

# What is asked, and how much of it: known before the first request.

LIMIT = 500
"""Requests that one run may send to the model unless you say otherwise."""


@dataclass(frozen=True, repr=False)
class MonitoringPlan:
    """What one run will ask and look at; nothing has been asked yet."""

    project: Project
    model: str
    judged: Evaluation
    """The answers to the locked test that 06_evaluate graded."""
    test: Dataset
    rows: Dataset | None
    """New questions with their right answers."""
    observed: Dataset | None
    """Conversations from use: questions as they were asked, with the model's answers."""
    left_out: int
    """Questions of the test and new rows that the limit leaves out."""

    @property
    def requests(self) -> int:
        """How many questions are sent to the model; a grader that asks a model asks as often."""
        return len(self.test) + len(self.rows or ())

    def __repr__(self) -> str:
        """Say what will be asked."""
        seen = f", and reads {counted(len(self.observed), 'stored answer')}" if self.observed else ""
        rest = f"; the limit leaves out {self.left_out:,}" if self.left_out else ""
        what = f"{len(self.test):,} of the locked test and {counted(len(self.rows or ()), 'new row')}"
        return f"Sends {counted(self.requests, 'request')} to {self.model}: {what}{seen}{rest}."


def plan_monitoring(
    client: "OpenAI",
    project: Project,
    *,
    model: str | None = None,
    rows: str | Path | None = None,
    completions: str | Path | None = None,
    stored: int = 0,
    limit: int = LIMIT,
) -> MonitoringPlan:
    """Read everything that a run needs, and count the requests that it will send; none is sent to the model.

    ``model``: a model or deployment, else the tuned model of 06_evaluate, through its deployment. ``rows``: a
    file of new questions with their right answers, with the columns of the task; those that are in the
    training data are left out. ``completions``: a file of conversations from use; ``stored``: as many of the
    newest that the service has stored. ``limit``: the most requests to the model, the test's come first.

    Raises ``SetupError`` before 06_evaluate, ``DataError`` for a test that has changed.
    """
    if limit < 1:
        raise DataError(f"limit is {limit}; give 1 request or more.")
    facts = project.need("comparison", "06_evaluate").facts
    judged, task = Evaluation.load(project.path / str(facts["tuned_evaluation"])), project.task
    test = task.read_test()
    project.lock("test", test.sha256)
    new = None if rows is None else rows_of(task, rows)
    if new is not None:
        new = new.without(contaminated(new, task.read_examples()))
        if not len(new):
            raise DataError(f"Every row of {new.name} is in the training data; give rows it has not seen.")
    asked = test.take(limit)
    wanted = None if new is None else new.take(limit - len(asked))
    left_out = len(test) + len(new or ()) - len(asked) - len(wanted or ())
    seen = None if completions is None else read(completions)
    if stored:
        seen = stored_completions(client, model or str(facts["tuned_model"]), stored)
    named = model or str(facts["tuned_model"])
    return MonitoringPlan(project, named, judged, asked, wanted or None, seen, left_out)


def rows_of(task: Task, path: str | Path) -> Dataset:
    """A file with the columns of the task."""
    return read(path, question=task.question, answer=task.answer, system=task.system)


def stored_completions(client: "OpenAI", model: str, most: int) -> Dataset | None:
    """The newest conversations that the service has stored of this model; ``None`` where there are none.

    It stores those that were sent with ``store=True``. Reading them costs nothing.
    """
    found: list[Example] = []
    for each in client.chat.completions.list(model=model, order="desc", limit=min(most, 100)):
        if len(found) == most:
            break
        said = [
            {"role": message.role, "content": message.content or ""}
            for message in client.chat.completions.messages.list(each.id)
        ]
        answer = {"role": "assistant", "content": each.choices[0].message.content or ""}
        found.append(Example((*said, answer), each.id))
    return Dataset(f"stored completions of {model}", tuple(found)) if found else None


def _lower(before: Evaluation, now: Evaluation, seed: int = 0) -> tuple[float, float]:
    """The difference of mean scores on different questions, and how often chance gives as much."""
    import numpy as np

    items = [(side, item) for side, each in enumerate((before, now)) for item in each.graded]
    labels = [(side, item.cluster or item.id) for side, item in items]
    weights = dealt(labels, PERMUTATIONS, np.random.default_rng(seed))
    differences = weights @ np.array([item.score for _, item in items])
    return float(differences[0]), share_as_far(np.abs(differences))


# The indicators of one run, and what they come to.

State = Literal["alarm", "quiet", "not measured"]
MARKS: Mapping[State, str] = {
    "alarm": "▲\u00a0alarm",
    "quiet": "✓\u00a0quiet",
    "not measured": "–\u00a0not measured",
}
DEARER = 1.2
"""From so much more than planned on, a price is an alarm (a proposal of ours)."""


class Indicator(NamedTuple):
    """One thing that was looked at."""

    name: str
    state: State
    words: str
    p_value: float | None = None
    """How often chance alone shows as much, corrected for all indicators of the run (Holm)."""


@dataclass(frozen=True, repr=False)
class Monitoring(Shown):
    """One run: every indicator with its mark, and the runs before it."""

    project: str
    model: str
    indicators: tuple[Indicator, ...]
    judged: Evaluation
    now: Evaluation
    drift: Drift | None = None
    rows: Evaluation | None = None
    history: tuple[Mapping[str, JSON], ...] = ()
    """What the record has of the runs before, the oldest first."""

    @property
    def alarms(self) -> tuple[Indicator, ...]:
        """The indicators that need somebody."""
        return tuple(indicator for indicator in self.indicators if indicator.state == "alarm")

    @property
    def verdict(self) -> str:
        """What needs somebody, in a sentence or two."""
        if not self.alarms:
            measured = sum(indicator.state == "quiet" for indicator in self.indicators)
            return (
                f"Nothing needs you: {self.model} is quiet in all {measured} indicators that were measured."
            )
        first = self.alarms[0]
        more = f" And {len(self.alarms) - 1} more." if len(self.alarms) > 1 else ""
        again = sum(bool(run.get("alarms")) for run in self.history)
        before = f" ({again} of the {len(self.history)} runs before had an alarm.)" if self.history else ""
        return f"{first.name}: {first.words.removesuffix('.')}.{more}{before}"

    @property
    def facts(self) -> dict[str, JSON]:
        """The run as JSON, as the project's record keeps it."""
        low, high = self.now.interval
        indicators: list[JSON] = [dict(indicator._asdict()) for indicator in self.indicators]
        scored: dict[str, JSON] = {"score": self.now.score, "low": low, "high": high}
        return {
            "project": self.project,
            "model": self.model,
            "verdict": self.verdict,
            "alarms": [indicator.name for indicator in self.alarms],
            "items": len(self.now.graded),
            **{name: None if value != value else value for name, value in scored.items()},
            "rows_score": None
            if self.rows is None or self.rows.score != self.rows.score
            else self.rows.score,
            "indicators": indicators,
        }

    def tables(self) -> Iterator[Table]:
        """Every indicator with its mark, then the new questions that are least like the known ones."""
        listed = [
            (s.name, MARKS[s.state], s.words)
            for s in sorted(self.indicators, key=lambda s: s.state != "alarm")
        ]
        yield self.verdict, ("indicator", "", "what was found"), listed
        far = self.drift.far if self.drift else ()
        rows = [(new, near, f"{100 * share:.0f} %") for new, near, share in far]
        yield "New questions least like the training data", ("question", "the most similar", "alike"), rows

    def __repr__(self) -> str:
        """The verdict, then a line for each indicator."""
        return "\n".join(
            [self.verdict, *(f"{MARKS[s.state]:<14} {s.name}: {s.words}" for s in self.indicators)]
        )

    @property
    def pictures(self) -> tuple[str, ...]:
        """The score over the runs, and how alike new and known questions are, as SVG."""
        return (self._scores, *([_alike(self.drift)] if self.drift else ()))

    @property
    def _scores(self) -> str:
        past = [run for run in self.history if isinstance(run.get("score"), int | float)][-6:]
        marks = [_mark("when judged", self.judged.score, self.judged.interval, alarm=False)]
        for run in past:
            low, score, high = (float(str(run[name])) for name in ("low", "score", "high"))
            day = time.strftime("%d %b %H:%M", time.gmtime(float(str(run["moment"]))))
            marks.append(_mark(day, score, Interval(low, high), alarm=bool(run.get("alarms"))))
        marks.append(_mark("now", self.now.score, self.now.interval, alarm=bool(self.alarms)))
        if self.rows is not None and self.rows.graded:
            marks.append(_mark("now, new rows", self.rows.score, self.rows.interval, alarm=False))
        words = "; ".join(f"{mark.name} {mark.words}" for mark in marks)
        title = "Score on the locked test (triangle: a run with an alarm)"
        return forest(f"{title}: {words}", [ForestPanel(title, marks)])

    def _repr_html_(self) -> str:
        (caption, columns, rows), far = self.tables()
        drawn = "".join(themed(each, WIDEST) for each in self.pictures)
        examples = list(far[2])
        below = folded(far[0], table("", far[1], examples)) if examples else ""
        status = f'<p class="mathjax_ignore" role="status"><b>{safe(caption)}</b></p>'
        return f"{status}{table('', columns, rows)}{drawn}{below}"


def _mark(name: str, score: float, interval: Interval, *, alarm: bool) -> Mark:
    words = f"{100 * score:.1f} % ({interval})"
    return Mark(
        name, score, interval, words, VERMILLION if alarm else BLUE, "triangle-up" if alarm else "circle"
    )


def _alike(found: Drift) -> str:
    """Two cumulative distributions: which share of the questions is at most so similar to a known one."""
    import numpy as np

    x, y = Scale(0.0, 1.0, 60, 600), Scale(0.0, 1.0, 196, 40)
    text = partial(written, size=13)
    title = "How similar a question is to the most similar one of the training data"
    parts = [text(0, 14, title, weight=600)]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(text(x.at(share), 214, f"{100 * share:.0f} %", "middle"))
        parts.append(text(52, y.at(share) + 4, f"{100 * share:.0f} %", "end"))
        parts.append(stroke(f"M{x.at(0):.1f} {y.at(share):.1f}H{x.at(1):.1f}", GREY, 1, opacity=0.3))
    medians = []
    for name, values, colour, dash in (
        ("training", found.known, BLUE, ""),
        ("new", found.new, VERMILLION, "7 4"),
    ):
        across = np.repeat(np.clip(np.sort(np.array(values)), 0, 1), 2)
        down = np.concatenate([[0], np.repeat(np.arange(1, len(values)) / len(values), 2), [1]])
        across, down = np.append(across, 1.0), np.append(down, 1.0)
        parts.append(stroke(polyline(x.all(across), y.all(down), 600), colour, 2, dash=dash))
        medians.append(f"{name}: half at most {100 * median(values):.0f} % alike")
    for place, (words, colour, dash) in enumerate(zip(medians, (BLUE, VERMILLION), ("", "7 4"), strict=True)):
        left = 60 + 290 * place
        parts += [stroke(f"M{left} 240h30", colour, 2, dash=dash), text(left + 38, 244, words)]
    return picture(254, f"{title}; {'; '.join(medians)}", parts)


def watch(client: "OpenAI", plan: MonitoringPlan, *, now: float | None = None) -> Monitoring:
    """Ask what is planned, judge every indicator, and keep the run in the project's record.

    All indicators with a p-value are corrected together (Holm), so that a run without any change raises an
    alarm at most 5 times in 100. Every run asks anew, and none of its answers is kept for another one.
    """
    moment = time.time() if now is None else now
    project, task, service = plan.project, plan.project.task, provider_of(client).name
    right, then = grader_of(task.grader), plan.judged
    served = answering(client, project, plan.model)
    scored = {
        name: evaluate(
            served.client,
            plan.model,
            asked,
            right,
            prompt=then.prompt,
            cluster=_column(asked, task.cluster),
            max_tokens=then.max_tokens,
            temperature=then.temperature,
            progress=name,
        )
        for name, asked in (("test again", plan.test), ("new rows", plan.rows))
        if asked is not None
    }
    again, new = scored["test again"], scored.get("new rows")
    name = served.through.get(plan.model, plan.model)
    if any(entry.facts.get("name") == name for entry in project.entries("deployment")):
        project.record("asked", name=name, moment=moment)  # so it is not idle
    asked = [each.question for part in (plan.rows, plan.observed) if part for each in part]
    found = None
    if len(asked) >= FEWEST_QUESTIONS:
        known = task.read_examples()
        together = [
            name
            for part in (plan.rows, plan.observed)
            if part
            for name in _groups(part, task.cluster or task.group)
        ]
        of_known = _groups(known, task.group or task.cluster)
        found = drift([each.question for each in known], asked, known_groups=of_known, new_groups=together)
    money = ledger(client, project, now=moment)
    tested = [
        *answer_indicators(then, again, new),
        *_formed(task.format_grader, then, plan.observed),
        *drift_indicators(found),
    ]
    indicators = [*corrected(tested), _price(then, again, money, service)]
    indicators += _dates(plan.model, service, money, moment)
    history = tuple(entry.facts for entry in project.entries("monitoring"))
    run = Monitoring(project.name, plan.model, tuple(indicators), then, again, found, new, history)
    project.record("monitoring", **run.facts, moment=moment)
    return run


def _column(rows: Dataset, name: str | None) -> str | None:
    """The column of clusters, where the rows have it."""
    return name if any(name in each.metadata for each in rows) else None


def _groups(asked: Dataset, column: str | None) -> list[object]:
    """What belongs together: the rows of one value, else equal questions."""
    return [each.metadata.get(column or "") or alike_in_form(each.question) for each in asked]


def corrected(indicators: Sequence[Indicator]) -> tuple[Indicator, ...]:
    """Correct all p-values together; a change for the worse that chance rarely brings is an alarm."""
    values = iter(holm([indicator.p_value for indicator in indicators if indicator.p_value is not None]))
    return tuple(
        indicator if indicator.p_value is None else _decided(indicator, next(values))
        for indicator in indicators
    )


def _decided(indicator: Indicator, p_value: float) -> Indicator:
    alarm = indicator.state == "alarm" and p_value <= LEVEL
    words = f"{indicator.words} ({p_in_words(p_value)})"
    return Indicator(indicator.name, "alarm" if alarm else "quiet", words, p_value)


def answer_indicators(then: Evaluation, again: Evaluation, scored: Evaluation | None) -> Iterator[Indicator]:
    """The locked test again, paired, and new rows beside it; p-values are not corrected yet."""
    compared = compare(then, again, missing="leave out")
    worse: State = "alarm" if compared.difference < 0 else "quiet"
    before, after = (f"{100 * fmean(scores):.1f} %" for scores in (compared.found.base, compared.found.tuned))
    words = f"{after} on {compared.items} questions, {before} when it was judged"
    yield Indicator("The locked test again", worse, words, compared.found.p_value)
    if scored is None or not scored.graded:
        problem = f": {next(iter(scored.problems))}" if scored and scored.problems else ""
        yield Indicator("New labelled rows", "not measured", f"no new rows were scored{problem}")
        return
    value, p_value = _lower(then, scored)
    words = f"{100 * scored.score:.1f} % on {len(scored.graded)} rows, {points(value)} points beside the test"
    yield Indicator("New labelled rows", "alarm" if value < 0 else "quiet", words, p_value)


def _formed(name: str | None, then: Evaluation, observed: Dataset | None) -> Iterator[Indicator]:
    """Are stored answers as well formed as those to the test? Nobody knows their right answers."""
    if name is None or not observed:
        why = "no stored answers were read" if name else "the task names no format_grader"
        yield Indicator("Form of stored answers", "not measured", why)
        return
    form = grader_of(name)
    before = [_form(form, item.question, item.answer) for item in then.items]
    after = [_form(form, each.question, each.answer) for each in observed]
    kept = [[score for score in side if score == score] for side in (before, after)]
    if not all(kept):
        yield Indicator("Form of stored answers", "not measured", f"{Path(name).name} could not grade them")
        return
    old, new = map(fmean, kept)
    p_value = _two_shares(*kept)
    words = f"{100 * new:.0f} % of {len(kept[1])} are well formed, {100 * old:.0f} % of the test's answers"
    yield Indicator("Form of stored answers", "alarm" if new < old else "quiet", words, p_value)


def _form(form: Grader, question: str, answer: str) -> float:
    return graded(form, answer, {"question": question, "answer": "", "origin": ""}).score


def _two_shares(before: Sequence[float], after: Sequence[float]) -> float:
    import numpy as np

    labels = [(0, place) for place in range(len(before))] + [(1, place) for place in range(len(after))]
    weights = dealt(labels, PERMUTATIONS, np.random.default_rng(0))
    return share_as_far(np.abs(weights @ np.array([*before, *after])))


def drift_indicators(found: Drift | None) -> Iterator[Indicator]:
    """Each way in which new questions can differ; p-values are not corrected yet."""
    names = ("Topics of new questions", "Lengths of new questions", "Languages of new questions")
    if found is None:
        yield from (
            Indicator(name, "not measured", f"fewer than {FEWEST_QUESTIONS} new questions") for name in names
        )
        return
    new, known = (f"{100 * median(each):.0f} %" for each in (found.new, found.known))
    alike = f"half of them are at most {new} like a training question ({known} among these)"
    before, after = found.typical_lengths
    added = ", ".join(f"{name} {points(share)} points" for name, share in found.added_languages.items())
    words = (alike, f"{after:.0f} characters, {before:.0f} in training (medians)", added or "the same shares")
    for name, said, p_value in zip(names, words, (found.topics, found.lengths, found.languages), strict=True):
        yield Indicator(name, "alarm", said, p_value)


def _price(then: Evaluation, again: Evaluation, money: Ledger, service: str) -> Indicator:
    """What an answer takes beside what it took, and what the trainings cost beside their estimates."""
    before, after = (each.prompt_tokens + each.completion_tokens for each in (then, again))
    each = cost_per_request(again, service)
    price = f", ${1_000 * each:,.2f} for 1,000" if each else ""
    parts = [f"an answer takes {after:,.0f} tokens, {before:,.0f} when it was judged{price}"]
    both = [(c.usd, c.estimated) for c in money.charges if c.usd is not None and c.estimated is not None]
    billed, estimated = (sum(amounts) for amounts in zip(*both, strict=True)) if both else (0.0, 0.0)
    if estimated:
        parts.append(f"trainings cost ${billed:,.2f} of ${estimated:,.2f} estimated")
    dearer = after > DEARER * before > 0 or billed > DEARER * estimated > 0
    return Indicator("Price", "alarm" if dearer else "quiet", "; ".join(parts))


def _dates(model: str, service: str, money: Ledger, now: float) -> Iterator[Indicator]:
    """What ends soon: deployments, and the base model with everything tuned from it."""
    if money.alarms:
        yield from (Indicator("A date", "alarm", alarm) for alarm in money.alarms)
        return
    ends = life_ends(base_name(model), service)
    left = None if ends is None else (ends - _day(now)).days
    near = left is not None and left <= SOON_DAYS
    words = (
        "no end is published" if ends is None else f"models tuned from {base_name(model)} answer until {ends}"
    )
    yield Indicator("Dates", "alarm" if near else "quiet", words)


def _day(moment: float) -> datetime.date:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).date()
