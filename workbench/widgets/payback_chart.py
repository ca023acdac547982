"""Costs of each option over the months, with the day on which its base model is retired."""

import html
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.decide.payback import Option, Payback, over_time
from workbench.display import table
from workbench.widgets.curve_chart import BLUE, GREEN, VERMILLION
from workbench.widgets.svg import GREY

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LOOKS = (
    (GREY, "solid", "circle"),
    (BLUE, "dash", "square"),
    (VERMILLION, "dot", "diamond"),
    (GREEN, "dashdot", "triangle-up"),
    ("#CC79A7", "longdash", "x"),
    ("#56B4E9", "longdashdot", "star"),
)
_GRID = "rgba(128,128,128,0.25)"
_CLEAR = "rgba(0,0,0,0)"


@dataclass(frozen=True, repr=False)
class PaybackChart:
    """Costs over the months: a figure where that works, else the table of its numbers."""

    payback: Payback

    @property
    def ways(self) -> tuple[Option, ...]:
        """What is drawn: the base first."""
        case = self.payback.case
        return (case.base, *case.ways)

    @property
    def months(self) -> list[int]:
        """The months that are drawn, from 0."""
        return list(range(int(self.payback.case.horizon) + 1))

    @property
    def figure(self) -> "go.Figure":
        """The interactive figure, to change as you like."""
        return _figure(self)

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
        columns = ("months", *(way.name for way in self.ways))
        return table(f"Costs at {self.payback.case.requests_per_month:,.0f} requests a month", columns, rows)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        return {
            "application/vnd.plotly.v1+json": json.loads(self.figure.to_json()),
            "text/html": self._repr_html_(),
            "text/plain": repr(self),
        }


def chart(payback: Payback) -> PaybackChart:
    """Show me what each way costs over the months."""
    return PaybackChart(payback)


def _figure(shown: PaybackChart) -> "go.Figure":
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, way in enumerate(shown.ways):
        colour, dash, marker = _LOOKS[number % len(_LOOKS)]
        figure.add_scatter(
            x=shown.months,
            y=shown.costs(way),
            name=html.escape(way.name),
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2},
            marker={"symbol": marker, "size": 7},
        )
        if way.months_of_service is not None and way.months_of_service < shown.payback.case.horizon:
            figure.add_vline(
                x=way.months_of_service,
                line={"color": colour, "dash": "dot", "width": 1},
                annotation={"text": f"{html.escape(way.name)}: switched off", "font": {"color": colour}},
            )
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID}
    figure.update_xaxes(title="months", **axis)
    figure.update_yaxes(title="US dollars, all in all", tickprefix="$", rangemode="tozero", **axis)
    figure.update_layout(
        template="none",
        height=380,
        margin={"l": 80, "r": 20, "t": 50, "b": 50},
        font={"color": GREY},
        legend={"orientation": "h", "y": 1.12},
        paper_bgcolor=_CLEAR,
        plot_bgcolor=_CLEAR,
        hovermode="x unified",
        hoverlabel={"bgcolor": "#222222", "font": {"color": "#eeeeee"}},
    )
    return figure


def _dollars(cost: float, way: Option, month: int) -> str:
    gone = way.months_of_service is not None and month > way.months_of_service
    return f"${cost:,.2f}" + (" (switched off)" if gone else "")
