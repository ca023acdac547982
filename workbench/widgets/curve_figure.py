"""Plots of curves: drawn the same way while a job runs and afterwards; with their numbers, and to zoom into.

``plot`` takes one curve, or several to lay over each other. All figures of ours share ``laid_out``.
"""

import html
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workbench.dataset.dataset import counted
from workbench.display import folded, table
from workbench.errors import DataError
from workbench.training.curve import axes_of
from workbench.widgets.curve_chart import (
    BLUE,
    GREEN,
    PURPLE,
    VERMILLION,
    WIDEST,
    Look,
    Panel,
    Picture,
    Series,
    SeriesLine,
    drawn,
    lines,
    picture,
    smoothed,
)
from workbench.widgets.svg import GREY, themed, thinned

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from workbench.training.curve import Axis, Curve
    from workbench.widgets.curve_chart import Scaling

# The interactive figure of a picture: the same panels, colours, dashes and markers as the drawing.

GRID = "rgba(128,128,128,0.25)"  # plotly's own white grid glares on dark and vanishes on white
CLEAR = "rgba(0,0,0,0)"
_COLUMNS = 5_000  # so many widths of a line are kept apart, however far one zooms in
_PLACES = 150  # on the axis, so many gaps are shaded at most

AXIS = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID}


def laid_out(built: "go.Figure", heading: str, sentences: Sequence[str], height: int) -> "go.Figure":
    """Give a figure its heading, the sentences below it, and colours readable on white and on black.

    ``height`` is in pixels, without that of the sentences.
    """
    below = {"text": "<br>".join(map(html.escape, sentences)), "font": {"size": 11}}
    title = {"text": html.escape(heading), "font": {"size": 14}, "x": 0.01, "y": 0.99, "yanchor": "top"}
    built.update_layout(
        template="none",
        title={**title, "subtitle": below},
        height=height + 16 * len(sentences),
        margin={"l": 65, "r": 25, "t": 80 + 16 * len(sentences), "b": 50},
        font={"color": GREY},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        modebar={"bgcolor": CLEAR, "color": GREY, "activecolor": BLUE},
        hoverlabel={"bgcolor": "#222222", "font": {"color": "#eeeeee"}},
    )
    return built


def figure(shown: Picture) -> "go.Figure":
    """Build the figure, with one legend below it."""
    from plotly.subplots import make_subplots

    rows = max(len(shown.panels), 1)
    built = make_subplots(
        rows=rows,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.24 / rows,
        subplot_titles=[" · ".join((p.title, *shown.remarks(p, found))) for p, found in shown.panels],
    )
    built.update_xaxes(**AXIS).update_yaxes(**AXIS, rangemode="tozero")
    named = set[str]()
    for row, (panel, found) in enumerate(shown.panels, start=1):
        for line in found:
            name = html.escape(line.series.label)
            for trace in _traces(line):
                trace.update(legendgroup=name, showlegend=trace.opacity is None and name not in named)
                built.add_trace(trace, row=row, col=1)
            named.add(name)
            for start, end in line.gaps_seen(shown.end / _PLACES):
                shade = {"fillcolor": line.series.colour, "opacity": 0.15, "line_width": 0}
                built.add_vrect(start, end, row=row, col=1, **shade)
        scale = "log" if shown.is_logarithmic(panel, found) else "linear"
        numbers = {"tickformat": ".0%" if panel.share else "", "exponentformat": "power"}
        built.update_yaxes(type=scale, **numbers, row=row, col=1)
    for mark in shown.marks:
        built.add_vline(x=mark, line={"color": GREY, "width": 1, "dash": "dot"})
    built.update_xaxes(title=shown.axis, row=rows, col=1)
    built.update_annotations(x=0, xanchor="left", font={"size": 14})
    below = {"orientation": "h", "x": 0, "y": -50 / (110 + 210 * rows), "yanchor": "top"}
    built.update_layout(hovermode="x unified", legend=below)
    return laid_out(built, shown.heading, [shown.alarm] if shown.alarm else [], 110 + 210 * rows)


def _traces(line: SeriesLine) -> "Iterator[go.Scatter]":
    import plotly.graph_objects as go

    series, label = line.series, html.escape(line.series.label)
    style = {"color": series.colour, "width": 2, "dash": _dash(series.dash)}
    mode = "lines+markers" if series.marker else "lines"
    mark = {"symbol": series.marker or "circle", "size": 8}
    kept = thinned(line.x, line.values, _COLUMNS)
    each = go.Scatter(x=line.x[kept], y=line.values[kept], name=label, mode=mode, line=style, marker=mark)
    if not line.is_smoothed:
        yield each
        return
    yield each.update(
        name=f"{label}, each step", mode="lines", opacity=0.45, line={"width": 1, "dash": "solid"}
    )
    mean = smoothed(line.values)
    kept = thinned(line.x, mean, _COLUMNS)
    yield go.Scatter(x=line.x[kept], y=mean[kept], name=label, mode="lines", line=style)


def _dash(pattern: str) -> str:
    """Plotly wants units where SVG has none."""
    return ",".join(f"{length}px" for length in pattern.split()) or "solid"


# The numbers of a picture as a table: for those who do not see its lines, or want to copy them.

_TABLE_COLUMNS = ("", "first", "lowest", "highest", "last")


@dataclass(frozen=True, repr=False)
class Numbers:
    """The first, lowest, highest and last value of each line, with where they lie on the axis."""

    caption: str
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        """A line each."""
        return "\n".join([self.caption, *(" · ".join(row) for row in self.rows)])

    def _repr_html_(self) -> str:
        return table(self.caption, _TABLE_COLUMNS, self.rows)


def numbers(shown: Picture) -> Numbers:
    """Read the picture's numbers off."""
    rows = (
        (f"{panel.title}: {line.series.label}", *_cells(line, shown.axis))
        for panel, found in shown.panels
        for line in found
    )
    return Numbers(shown.heading, tuple(rows))


def _cells(line: SeriesLine, axis: str) -> list[str]:
    import numpy

    known = numpy.flatnonzero(~numpy.isnan(line.values))
    values = line.values[known]
    places = (0, int(values.argmin()), int(values.argmax()), -1)
    wheres = [f"{line.x[known][place]:,.2f}".removesuffix(".00") for place in places]
    return [f"{values[place]:.4g} ({axis} {where})" for place, where in zip(places, wheres, strict=True)]


# Plots, as a notebook shows them.


@dataclass(frozen=True, repr=False, eq=False)
class CurvePlot:
    """A curve, or several, as a notebook shows it: drawn, with its numbers folded below; else as text."""

    picture: Picture
    words: str

    @property
    def figure(self) -> "go.Figure":
        """The same with Plotly, to zoom into and to change as you like."""
        return figure(self.picture)

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        return drawn(self.picture)

    @property
    def html(self) -> str:
        """The drawing for a page: in the page's colours, light or dark, and as wide as there is room."""
        return themed(self.svg, WIDEST)

    @property
    def table(self) -> Numbers:
        """The numbers of the lines as a table: for those who do not see them."""
        return numbers(self.picture)

    def __repr__(self) -> str:
        """The same in words."""
        return self.words

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        as_table = folded("The numbers", self.table._repr_html_())
        return {
            "text/html": self.html + (as_table if self.picture.panels else ""),
            "image/svg+xml": self.svg,
            "text/plain": self.words,
        }


def plot(
    curve: "Curve | Mapping[str, Curve]",
    title: str = "",
    *,
    axis: "Axis" = "step",
    scale: "Scaling" = "linear",
    checkpoints: Collection[int] | None = None,
) -> CurvePlot:
    """Show me a curve, or several laid over each other; ``.figure`` is the same to zoom into.

    Several come by the names of their runs, as ``runs(project, client).curves`` has them; nobody can tell
    more than 8 apart, so of more the last are drawn. ``axis``: ``step``, ``epoch`` or ``tokens``; runs
    with batches of different sizes compare by the latter two. ``scale``: of losses, ``linear`` or ``log``.
    ``title`` and ``checkpoints``, the steps to mark, are those of one curve; ``None`` marks where the
    whole validation file was measured. Raises ``DataError`` when there is no curve, or one does not tell
    its epochs or tokens.
    """
    marked = None if checkpoints is None else tuple(sorted(checkpoints))
    look = Look(axis, scale, marked)
    return _overlaid(curve, look) if isinstance(curve, Mapping) else plotted(curve, title, look)


def plotted(curve: "Curve", title: str, look: Look) -> CurvePlot:
    """Plot one curve; it is found out now what there is to draw."""
    shown = picture(curve, title, look)
    return CurvePlot(shown, "\n".join(filter(None, (title, shown.alarm, repr(curve)))))


# A colour, a dash and a marker for each curve of several; more of them nobody could tell apart.
_STYLES = (
    (BLUE, "", "circle"),
    (VERMILLION, "9 4", "square"),
    (GREEN, "2 4", "diamond"),
    (PURPLE, "11 4 2 4", "triangle-up"),
    ("#E69F00", "16 5", "triangle-down"),
    ("#56B4E9", "5 3", "x"),
    (GREY, "1 5", "cross"),
    ("#999933", "3 3 9 3", "star"),
)
MOST = len(_STYLES)

# A panel each: what is measured, its title, whether at each logged step, and of what kind.
_MEASURES = (
    ("train_loss", Panel("Training loss", (), loss=True), True),
    ("full_valid_loss", Panel("Validation loss", (), loss=True), False),
    ("valid_loss", Panel("Validation loss, batch by batch", (), loss=True), False),
    ("train_mean_reward", Panel("Training reward", ()), True),
    ("full_valid_mean_reward", Panel("Mean grade of held-out answers", ()), False),
    ("rewards/margins", Panel("Margin of the preferred answers", ()), True),
    ("full_valid_rewards/accuracies", Panel("Validation pairs in the right order", (), share=True), False),
)


def _overlaid(curves: "Mapping[str, Curve]", look: Look) -> CurvePlot:
    """Lay curves over each other; they differ in colour, dash and marker."""
    if not curves:
        raise DataError("There is no curve to draw; give those of runs(project, client).curves.")
    last = dict([*curves.items()][-MOST:])
    for name, curve in last.items():
        if look.axis not in axes_of(curve):
            one = look.axis.removesuffix("s")
            raise DataError(f"{name} tells no {one}s; draw all along 'step', or leave it out.")
    panels: list[tuple[Panel, tuple[SeriesLine, ...]]] = []
    for column, panel, dense in _MEASURES:
        if column == "valid_loss" and any(panel.title == "Validation loss" for panel, _ in panels):
            continue  # one batch is noisy; the whole file says it better
        found: list[SeriesLine] = []
        for (name, curve), (colour, dash, marker) in zip(last.items(), _STYLES, strict=False):
            series = Series(column, name, colour, dash, marker, dense)
            found += lines(curve, replace(panel, series=(series,)), look.axis)
        if found:
            panels.append((panel, tuple(found)))
    heading = f"{counted(len(last), 'run')} by {look.axis}"
    left_out = len(curves) - len(last)
    heading += f", {left_out} older ones left out" if left_out else ""
    words = " ".join(_ends(panel, found) for panel, found in panels) or "Nothing has been measured yet."
    end = max((float(line.x[-1]) for _, found in panels for line in found), default=0.0)
    shown = Picture(heading, words, tuple(panels), look.axis, look.scaling, end)
    return CurvePlot(shown, repr(numbers(shown)))


def _ends(panel: Panel, found: Sequence[SeriesLine]) -> str:
    """Which run ends lowest and which highest; all numbers are in the table."""
    low, *_, high = sorted((float(line.values[-1]), line.series.label) for line in (*found, found[0]))
    if len(found) == 1:
        return f"{panel.title}: {low[1]} ends at {low[0]:.4g}."
    return f"{panel.title}: lowest at its end is {low[1]} ({low[0]:.4g}), highest {high[1]} ({high[0]:.4g})."
