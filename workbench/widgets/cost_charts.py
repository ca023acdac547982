"""Charts of what is paid for what: costs over the months, quality against cost, probes kept against the task.

Ways and candidates differ in marker, dash and colour, and the legend names them; hollow candidates are
dominated. Where nothing interactive can be shown, the same stands in a table and in words.
"""

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.decide.payback import Option, Payback, over_time
from workbench.display import Chart, table
from workbench.evaluation.pareto import AXES, Candidate, Field
from workbench.evaluation.rehearsal import MeasuredRun, measured_runs
from workbench.project import Project
from workbench.widgets.curve_chart import BLUE, GREEN, PURPLE, VERMILLION
from workbench.widgets.curve_figure import AXIS, laid_out
from workbench.widgets.svg import GREY, MARKERS

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
        figure.update_yaxes(title="US dollars, all in all", tickprefix="$", rangemode="tozero", **AXIS)
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
_NAME = 34  # letters in the legend


@dataclass(frozen=True, repr=False)
class QualityCost(_OfMoney):
    """A field as a notebook shows it: interactive where that works, else a table, else words."""

    field: Field

    @property
    def figure(self) -> "go.Figure":
        """The interactive figure, to change as you like; in words, what is dominated stands below."""
        import plotly.graph_objects as go

        built, field = go.Figure(), self.field
        frontier = field.frontier
        built.add_scatter(
            x=[candidate.price(field.against) for candidate in frontier],
            y=[candidate.evaluation.score for candidate in frontier],
            mode="lines",
            line={"color": GREY, "dash": "dash", "width": 1.5, "shape": "hv"},
            name="the frontier",
            hoverinfo="skip",
        )
        looks = {c.name: (_COLOURS[n % 8], MARKERS[n % 8]) for n, c in enumerate(field.candidates)}
        for candidate in field.placed:
            built.add_scatter(**_point(field, candidate, *looks[candidate.name]))
        scale = {"type": "log", "dtick": "D2"} if _is_logarithmic(field) else {"rangemode": "tozero"}
        dollars = "$" if field.against == "cost" else ""
        built.update_xaxes(title=AXES[field.against], tickprefix=dollars, **scale, **AXIS)
        built.update_yaxes(title="score, with its 95 % interval", tickformat=".0%", **AXIS)
        lines = ["hollow: dominated"] if field.placed else ["No candidate has a known price."]
        lines += [sentence for sentence in field.sentences if "dominated" in sentence]
        lines += _cheaper_but_worse(field)
        built.update_layout(showlegend=True)
        return laid_out(built, f"Score against {AXES[field.against]}", lines, height=420)

    def __repr__(self) -> str:
        """The sentences."""
        return repr(self.field)

    def _repr_html_(self) -> str:
        return self.field._repr_html_()


def quality_cost(field: Field) -> QualityCost:
    """Show me which candidates are worth a choice: scores with their intervals against what they cost."""
    return QualityCost(field)


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


def _point(field: Field, candidate: Candidate, colour: str, shape: str) -> dict[str, object]:
    """A candidate as one of Plotly's traces: its marker, its interval, and what is known of it."""
    measured, name = candidate.evaluation, html.escape(candidate.name)
    short = name if len(candidate.name) <= _NAME else f"{html.escape(candidate.name[: _NAME - 1])}…"
    hollow = "-open" if field.better_than(candidate) else ""
    return {
        "x": [candidate.price(field.against)],
        "y": [measured.score],
        "name": f"{short} {100 * measured.score:.1f} %",
        "mode": "markers",
        "marker": {
            "symbol": shape + hollow,
            "size": 11,
            "color": colour,
            "line": {"width": 2, "color": colour},
        },
        "error_y": {
            "array": [measured.interval.high - measured.score],
            "arrayminus": [measured.score - measured.interval.low],
            "color": colour,
            "thickness": 1.5,
        },
        "hovertemplate": f"{name}<br>{100 * measured.score:.1f} % ({measured.interval} %)<br>"
        f"{html.escape(field.sentences_price(candidate))}<extra></extra>",
    }


def _is_logarithmic(field: Field) -> bool:
    """Whether prices differ so much that equal ratios should be equally far apart."""
    prices = [candidate.price(field.against) for candidate in field.placed]
    return bool(prices) and min(prices) > 0 and max(prices) > _WIDE * min(prices)


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
