"""Charts of what is paid for what: costs over the months, quality against cost, probes kept against the task.

Ways and candidates differ in marker, dash and colour, and are named beside the plot. Where nothing
interactive can be shown, the same stands in a table and in words.
"""

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.dataset.dataset import counted
from workbench.decide.payback import Option, Payback, over_time
from workbench.display import Chart, folded, safe, table
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.pareto import AXES, Candidate, Field
from workbench.evaluation.prompt_comparison import PromptComparison
from workbench.evaluation.rehearsal import MeasuredRun, measured_runs
from workbench.project import Project
from workbench.widgets.curve_chart import BLUE, GREEN, PURPLE, VERMILLION
from workbench.widgets.curve_figure import AXIS, laid_out
from workbench.widgets.svg import (
    GREY,
    LETTER,
    MARKERS,
    WIDTH,
    Logarithmic,
    Scale,
    StaticChart,
    cut,
    large,
    picture,
    stroke,
    text,
    titled,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go


class _OfMoney(Chart):
    """Where nothing interactive can be shown, a table, and else words."""

    def _repr_html_(self) -> str:
        raise NotImplementedError

    def drawing(self) -> dict[str, object]:
        return {"text/html": self._repr_html_(), "text/plain": repr(self)}


# Costs over the months: where two lines cross, the dearer start has paid back.

_LOOKS = (
    (GREY, "solid", "circle"),
    (BLUE, "dash", "square"),
    (VERMILLION, "dot", "diamond"),
    (GREEN, "dashdot", "triangle-up"),
    (PURPLE, "longdash", "x"),
    ("#56B4E9", "longdashdot", "star"),
)


@dataclass(frozen=True, repr=False)
class PaybackChart(_OfMoney):
    """Costs over the months: a figure where that works, else the table of its numbers."""

    payback: Payback

    @property
    def ways(self) -> tuple[Option, ...]:
        """What is drawn: the base first."""
        case = self.payback.case
        return (case.base, *case.ways)

    @property
    def caption(self) -> str:
        """What is drawn, and at how many requests."""
        return f"Costs at {self.payback.case.requests_per_month:,.0f} requests a month"

    @property
    def months(self) -> list[int]:
        """The months that are drawn, from 0."""
        return list(range(int(self.payback.case.horizon) + 1))

    @property
    def figure(self) -> "go.Figure":
        """The interactive figure, to change as you like."""
        import plotly.graph_objects as go

        figure = go.Figure()
        for number, way in enumerate(self.ways):
            colour, dash, marker = _LOOKS[number % len(_LOOKS)]
            figure.add_scatter(
                x=self.months,
                y=self.costs(way),
                name=html.escape(way.name),
                mode="lines+markers",
                line={"color": colour, "dash": dash, "width": 2},
                marker={"symbol": marker, "size": 7},
            )
            if way.months_of_service is not None and way.months_of_service <= self.payback.case.horizon:
                figure.add_vline(
                    x=way.months_of_service,
                    line={"color": colour, "dash": "dot", "width": 1},
                    annotation={"text": f"{html.escape(way.name)}: switched off", "font": {"color": colour}},
                )
        figure.update_xaxes(title="months", **AXIS)
        top = 1.15 * max((max(self.costs(way), default=0.0) for way in self.ways), default=0.0)
        figure.update_yaxes(title="US dollars, all in all", tickprefix="$", range=[0, top or 1.0], **AXIS)
        figure.update_layout(legend={"orientation": "h", "y": 1.12}, hovermode="x unified")
        return laid_out(figure, self.caption, (), height=410)

    def costs(self, way: Option) -> list[float]:
        """What a way has cost by the end of each month, in US dollars."""
        return over_time(way, requests_per_month=self.payback.case.requests_per_month, months=self.months)

    def __repr__(self) -> str:
        """The verdict on each way."""
        return repr(self.payback)

    def _repr_html_(self) -> str:
        costs = [self.costs(way) for way in self.ways]
        rows = [
            (month, *(_dollars(cost[month], way, month) for way, cost in zip(self.ways, costs, strict=True)))
            for month in self.months
        ]
        return table(self.caption, ("months", *(way.name for way in self.ways)), rows)


def payback_chart(payback: Payback) -> PaybackChart:
    """Show me what each way costs over the months."""
    return PaybackChart(payback)


def _dollars(cost: float, way: Option, month: int) -> str:
    gone = way.months_of_service is not None and month > way.months_of_service
    return f"${cost:,.2f}" + (" (switched off)" if gone else "")


# Quality against cost: what is worth a choice, and what another candidate dominates.

_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, "#E69F00", "#56B4E9", GREY, "#999933")
_WIDE = 20  # times the lowest price; a wider range is drawn logarithmically
_PLOT = (52.0, 330.0)  # units: where the axis of prices begins and ends; names stand on the right of it
_TOP, _LEGEND, _ENTRY = 30.0, 352, 40  # where the axis of scores ends, where names begin, and how far apart


@dataclass(frozen=True, repr=False)
class QualityCost(StaticChart):
    """A field as a notebook shows it: candidates as points with intervals, the best named first."""

    field: Field

    @property
    def svg(self) -> str:
        """Scores against prices; names, numbers and what is dominated stand beside the plot."""
        field = self.field
        placed = sorted(field.placed, key=lambda each: -each.evaluation.score)
        height = max(250.0, _ENTRY * len(placed) + 10)
        ends = [each.evaluation.interval.high for each in placed]
        y = Scale(0.0, min(1.0, math.ceil(11 * max(ends, default=1.0)) / 10), _TOP + height, _TOP)
        looks = {c.name: (_COLOURS[n % 8], MARKERS[n % 8]) for n, c in enumerate(field.candidates)}
        title = f"Score, with its 95 % interval, against {AXES[field.against]}"
        parts = [text(0, 14, title, weight=600, size=13)]
        for tick in y.ticks(5):
            parts.append(stroke(f"M{_PLOT[0]} {y.at(tick):.1f}H{_PLOT[1]}", GREY, 1, opacity=0.3))
            parts.append(text(_PLOT[0] - 8, y.at(tick) + 4, f"{100 * tick:.0f} %", "end", size=13))
        if placed:
            parts += _points(field, _prices(field), y, looks)
        for place, candidate in enumerate(placed):
            top, (colour, shape) = _TOP + 12 + _ENTRY * place, looks[candidate.name]
            parts.append(large(shape, colour, _LEGEND, top - 4))
            parts += _entry(field, candidate, top)
        parts.append(text(_PLOT[0], _TOP + height + 40, "dashed: the frontier", size=13))
        return picture(_TOP + height + 50, " ".join(field.sentences), parts)

    @property
    def below(self) -> str:
        """What the cheapest loses, then the numbers and the sentences, folded."""
        said = "".join(f"<p>{safe(sentence)}</p>" for sentence in _cheaper_but_worse(self.field))
        return said + folded("The numbers, and what each step costs", self.field._repr_html_())

    def __repr__(self) -> str:
        """The sentences."""
        return repr(self.field)


def quality_cost(field: Field) -> QualityCost:
    """Show me which candidates are worth a choice: scores with their intervals against what they cost."""
    return QualityCost(field)


@dataclass(frozen=True, repr=False)
class PromptChart(QualityCost):
    """All prompts that were tried, and a larger model: scores against tokens, or against costs."""

    prompts: PromptComparison

    @property
    def below(self) -> str:
        """Why an interval may be wide, where that needs saying; then the numbers, folded."""
        return why_so_wide(self.prompts.best) + folded("All numbers", self.prompts._repr_html_())

    def __repr__(self) -> str:
        """The scores."""
        return repr(self.prompts)


def prompt_chart(prompts: PromptComparison) -> PromptChart:
    """Show me all prompts: the score of each, with its interval, against what a question costs with it."""
    measured = {one.evaluation.prompt.name: one for one in prompts.scores}
    if prompts.teacher is not None:
        measured[prompts.teacher.evaluation.model] = prompts.teacher
    graded = {name: one for name, one in measured.items() if one.evaluation.graded}
    found = tuple(Candidate(name, one.evaluation, one.cost) for name, one in graded.items())
    priced = bool(found) and all(one.cost for one in graded.values())
    return PromptChart(Field(found, "cost" if priced else "tokens"), prompts)


def why_so_wide(measured: Evaluation) -> str:
    """Why 0 of 120 may have a wider interval than 1 of 120: only where items come in clusters."""
    clusters = {item.cluster or item.id for item in measured.items}
    if len(clusters) == len(measured.items):
        return ""
    items = counted(len(measured.items), "question")
    return (
        f"<p>The {items} come from {counted(len(clusters), 'cluster')}, whose questions succeed and fail "
        "together. How much they do is measured where some answers are right and some are wrong. Where all "
        "are wrong, or all right, it cannot be measured, so each cluster counts as one question and the "
        "interval is wider.</p>"
    )


def _prices(field: Field) -> Scale:
    prices = [candidate.price(field.against) for candidate in field.placed]
    low, high = min(prices), max(prices)
    if low > 0 and high > _WIDE * low:
        return Logarithmic(low / 1.3, high * 1.3, *_PLOT)
    return Scale(0.0, 1.08 * high or 1.0, *_PLOT)


def _points(field: Field, x: Scale, y: Scale, looks: Mapping[str, tuple[str, str]]) -> list[str]:
    dollars, bottom = "$" if field.against == "cost" else "", y.start
    parts = []
    for tick in x.ticks(4):
        parts.append(stroke(f"M{x.at(tick):.1f} {bottom:.1f}v5", GREY, 1))
        parts.append(text(x.at(tick), bottom + 19, f"{dollars}{tick:,g}", "middle", size=13))
    steps = [(x.at(each.price(field.against)), y.at(each.evaluation.score)) for each in field.frontier]
    path = f"M{steps[0][0]:.1f} {steps[0][1]:.1f}" + "".join(f"H{a:.1f}V{b:.1f}" for a, b in steps[1:])
    parts.append(stroke(path, GREY, 1.5, dash="5 4"))
    for candidate in field.placed:
        measured, (colour, shape) = candidate.evaluation, looks[candidate.name]
        at, (low, high) = x.at(candidate.price(field.against)), measured.interval
        parts.append(stroke(f"M{at:.1f} {y.at(low):.1f}V{y.at(high):.1f}", colour, 1.5))
        parts.append(large(shape, colour, at, y.at(measured.score)))
    return parts


def _entry(field: Field, candidate: Candidate, top: float) -> list[str]:
    """A candidate's two lines beside the plot."""
    measured, better = candidate.evaluation, field.better_than(candidate)
    low, high = (f"{100 * end:.0f}" for end in measured.interval)
    room = WIDTH - _LEGEND - 14
    score = f"{100 * measured.score:.1f} % ({low} to {high})"
    name = cut(candidate.name, room - LETTER * (len(score) + 2))
    verdict = f", dominated by {better.name}" if better else ", on the frontier"
    price = cut(f"{field.sentences_price(candidate)}{verdict}", room)
    first = text(_LEGEND + 14, top, f"{name}  {score}", weight=600, size=13)
    second = text(_LEGEND + 14, top + 16, price, size=13)
    return [titled(f"{candidate.name} {score}{verdict}", first + second)]


def _cheaper_but_worse(field: Field) -> list[str]:
    """What the cheapest candidate loses against the best, in words; empty where it is the best."""
    if len(field.frontier) < 2:
        return []
    cheap, best = field.frontier[0], max(field.frontier, key=lambda each: each.evaluation.score)
    mine, theirs = cheap.evaluation, best.evaluation
    unsure = " (their intervals overlap)" if mine.interval.high > theirs.interval.low else ""
    return [
        f"{cheap.name} costs least and answers worse than {best.name}: "
        f"{100 * mine.score:.1f} % against {100 * theirs.score:.1f} %{unsure}."
    ]


# Share mixed in against probes and task: what rehearsal keeps, and what it costs.

_FEW_SHARES = 2  # fewer show nothing


@dataclass(frozen=True, repr=False)
class RehearsalChart(_OfMoney):
    """What each share of rehearsal kept and cost: a figure where that works, else a table, else words."""

    runs: tuple[MeasuredRun, ...]

    @property
    def shares(self) -> list[float]:
        """The different shares of the runs, rising."""
        return sorted({run.share for run in self.runs})

    @property
    def verdict(self) -> str:
        """What is drawn, or why nothing is."""
        if not self.runs:
            return "No run of this project was asked the probes yet; 06_evaluate does."
        if len(self.shares) < _FEW_SHARES:
            return (
                f"All runs so far have a rehearsal of {self.shares[0]:g}. Run 03_build_data to 06_evaluate "
                "with another REHEARSAL to see what it keeps and costs."
            )
        low, high = (self._mean(share) for share in (self.shares[0], self.shares[-1]))
        return (
            f"With a rehearsal of {self.shares[-1]:g} in place of {self.shares[0]:g} the tuned model answers "
            f"{100 * high[0]:.1f} % of the probes right in place of {100 * low[0]:.1f} %, and "
            f"{100 * high[1]:.1f} % of the task in place of {100 * low[1]:.1f} %."
        )

    @property
    def figure(self) -> "go.Figure":
        """The interactive figure; a run is a marker, the lines join the means of each share."""
        import plotly.graph_objects as go

        figure = go.Figure()
        looks = (("probes right", BLUE, "solid", "circle"), ("task right", GREEN, "dash", "square"))
        for place, (name, colour, dash, symbol) in enumerate(looks):
            figure.add_scatter(
                x=self.shares,
                y=[self._mean(share)[place] for share in self.shares],
                name=name,
                mode="lines",
                line={"color": colour, "dash": dash, "width": 2},
            )
            figure.add_scatter(
                x=[run.share for run in self.runs],
                y=[(run.probes, run.task)[place] for run in self.runs],
                mode="markers",
                marker={"symbol": symbol, "size": 9, "color": colour},
                text=[f"run {run.number}, trained: {run.trained}" for run in self.runs],
                hovertemplate="%{text}<br>%{y:.1%}<extra></extra>",
                showlegend=False,
            )
        if self.runs:
            base = self.runs[-1].base
            words = f"the base model's probes: {100 * base:.1f} %"
            figure.add_hline(y=base, line={"color": GREY, "dash": "dot"}, annotation={"text": words})
        figure.update_xaxes(title="rehearsal rows for each example of the task", rangemode="tozero", **AXIS)
        figure.update_yaxes(title="right answers", tickformat=".0%", range=[0, 1.02], **AXIS)
        figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.12})
        return laid_out(figure, "What rehearsal keeps and costs", [self.verdict], height=400)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        return super()._repr_mimebundle_() if len(self.shares) >= _FEW_SHARES else self.drawing()

    def __repr__(self) -> str:
        """The verdict."""
        return self.verdict

    def _repr_html_(self) -> str:
        columns = ("run", "rehearsal", "probes right", "base model", "task right", "trained")
        rows = [
            (
                run.number,
                f"{run.share:g}",
                f"{run.probes:.1%}",
                f"{run.base:.1%}",
                f"{run.task:.1%}",
                run.trained,
            )
            for run in self.runs
        ]
        return table(self.verdict, columns, rows)

    def _mean(self, share: float) -> tuple[float, float]:
        """Of the runs with this share: the probes and the task, each as a share that is right."""
        mine = [run for run in self.runs if run.share == share]
        return sum(run.probes for run in mine) / len(mine), sum(run.task for run in mine) / len(mine)


def rehearsal_chart(project: Project) -> RehearsalChart:
    """Show me what the runs of a project kept of the base model, and what they learnt."""
    return RehearsalChart(measured_runs(project))
