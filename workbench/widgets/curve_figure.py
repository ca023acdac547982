"""The chart of a curve for a front end: an interactive figure, and its numbers as a table."""

import html
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.display import table
from workbench.widgets.curve_chart import BLUE, Picture, SeriesLine, smoothed
from workbench.widgets.svg import GREY, thinned

if TYPE_CHECKING:
    import plotly.graph_objects as go

# The interactive figure of a picture: the same panels, colours, dashes and markers as the drawing.

GRID = "rgba(128,128,128,0.25)"  # plotly's own white grid glares on dark and vanishes on white
CLEAR = "rgba(0,0,0,0)"
_COLUMNS = 5_000  # so many widths of a line are told apart, however far one zooms in
_LETTERS = 120  # of a line below the title
_PLACES = 150  # on the axis, so many gaps are shaded at most
_OWN_PLACE = 4  # lines whose points have a place of their own in the legend
_MARKERS = 6  # on a line of many points


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
    """Build the figure; below its title stands what it shows, in sentences."""
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
    for row, (panel, found) in enumerate(shown.panels, start=1):
        legend = f"legend{row}" if row > 1 else "legend"
        for line in found:
            for trace in _traces(line):
                if len(found) > _OWN_PLACE:  # the legend would reach into the next: points go with their line
                    trace.update(legendgroup=line.series.label, showlegend=trace.opacity is None)
                built.add_trace(trace.update(legend=legend), row=row, col=1)
            for start, end in line.gaps_seen(shown.end / _PLACES):
                shade = {"fillcolor": line.series.colour, "opacity": 0.15, "line_width": 0}
                built.add_vrect(start, end, row=row, col=1, **shade)
        top = built.get_subplot(row, 1).yaxis.domain[1]
        built.update_layout({legend: {"x": 1.02, "y": top, "yanchor": "top", "tracegroupgap": 0}})
        scale = "log" if shown.is_logarithmic(panel, found) else "linear"
        numbers = {"tickformat": ".0%" if panel.share else "", "exponentformat": "power"}
        built.update_yaxes(type=scale, **numbers, row=row, col=1)
    for mark in shown.marks:
        built.add_vline(x=mark, line={"color": GREY, "width": 1, "dash": "dot"})
    built.update_xaxes(title=shown.axis, row=rows, col=1)
    built.update_annotations(x=0, xanchor="left", font={"size": 14})
    built.update_layout(hovermode="x unified")
    return laid_out(built, shown.heading, textwrap.wrap(shown.words, _LETTERS), 110 + 210 * rows)


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
    few = mark | {"maxdisplayed": _MARKERS}
    yield go.Scatter(x=line.x[kept], y=mean[kept], name=label, mode=mode, line=style, marker=few)


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
