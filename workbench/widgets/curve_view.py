"""Watch a job train, live, and look at a finished curve.

While a job runs the notebook shows a drawing that is replaced in place; at the
end it gets the interactive figure beside it. What is passed in is plain: an
iterator of progress, or a curve. Headless (``WORKBENCH_HEADLESS=1``) a line of text
says now and then where it stands, and one static output comes at the end; outside a
notebook that is text too.
"""

import html
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import DataError
from workbench.settings import setting
from workbench.widgets.curve_drawing import svg
from workbench.widgets.curve_series import (
    BLUE,
    GREY,
    PANELS,
    SMOOTHED_FROM,
    Line,
    checkpoints,
    lines,
    smoothed,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from IPython.display import DisplayHandle
    from openai.types.fine_tuning import FineTuningJob

    from workbench.training.curve import Curve
    from workbench.training.progress import Progress

_PLOTLY = "application/vnd.plotly.v1+json"
_BETWEEN_DRAWINGS = 0.2  # seconds; the eye does not follow more
_BETWEEN_LINES = 5.0  # seconds, where nobody sees drawings
_GRID = "rgba(128,128,128,0.25)"  # plotly's own white grid glares on dark and vanishes on white
_CLEAR = "rgba(0,0,0,0)"


@dataclass(frozen=True, repr=False)
class CurvePlot:
    """A curve as a notebook shows it: interactive where that works, else drawn, else told."""

    curve: "Curve"
    title: str = ""

    @property
    def figure(self) -> "go.Figure":
        """The interactive figure, to change as you like."""
        return _figure(self.curve, self.title)

    def __repr__(self) -> str:
        """Tell the curve."""
        return "\n".join(part for part in (self.title, repr(self.curve)) if part)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        return {**self.drawing(), _PLOTLY: json.loads(self.figure.to_json())}

    def drawing(self) -> dict[str, object]:
        """What a notebook can show at once: the drawing, and the text for where there are no pictures."""
        return {"image/svg+xml": svg(self.curve, self.title), "text/plain": repr(self)}


def plot(curve: "Curve", title: str = "") -> CurvePlot:
    """Show me the curve: to zoom into here, and as a drawing in exports and on GitHub."""
    return CurvePlot(curve, title)


def watch(progress: "Iterable[Progress]") -> "FineTuningJob":
    """Show me the job while it trains, and give it to me when it has ended.

    An interrupt stops the watching and never the job: run the cell again to watch on.
    """
    window, drawn, now, told = _Window(), 0.0, None, ""
    try:
        for now in progress:
            told = _told(now)
            if time.monotonic() - drawn >= window.pause:
                window.show(CurvePlot(now.curve, told))
                drawn = time.monotonic()
    except BaseException:
        told = f"No longer watched: {told}. The job goes on without us; run this cell again to watch on."
        raise
    finally:
        if now is not None:
            window.show_last(CurvePlot(now.curve, told))
    if now is None:
        raise DataError("There is nothing to watch; give watch what follow(client, job) gives.")
    return now.job


class _Window:
    """The place below the cell, drawn over again and again; the only thing here that is not a value."""

    def __init__(self) -> None:
        # A kernel shows pictures; a terminal, IPython's too, would print each of them.
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        self._kernel = getattr(shell, "kernel", None) is not None
        self._live = self._kernel and setting("WORKBENCH_HEADLESS") != "1"
        self._handle: DisplayHandle | None = None

    @property
    def pause(self) -> float:
        return _BETWEEN_DRAWINGS if self._live else _BETWEEN_LINES

    def show(self, picture: CurvePlot) -> None:
        if self._live:
            self._draw(picture.drawing())
        elif self._kernel:
            print(picture.title, file=sys.stderr, flush=True)

    def show_last(self, picture: CurvePlot) -> None:
        if self._kernel:
            # JupyterLab never redraws a plotly output, so the figure comes only now, in the drawing's place.
            self._draw(picture._repr_mimebundle_())
        else:
            print(picture)

    def _draw(self, bundle: dict[str, object]) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)  # type: ignore[no-untyped-call]


def _told(now: "Progress") -> str:
    """Say where the job stands; before its first step the service's last message says it best."""
    job, said = now.job, [event.message for event in now.events if event.type == "message"]
    parts = [job.id, job.status]
    if now.curve.steps:
        parts.append(f"step {now.curve.steps:,}")
    elif said:
        parts.append(said[-1].removesuffix("."))
    if job.error and job.error.message:
        parts.append(job.error.message.removesuffix("."))
    return " · ".join(parts)


def _figure(curve: "Curve", title: str) -> "go.Figure":
    """Build the interactive figure: the same panels, colours, dashes and markers as the drawing."""
    from plotly.subplots import make_subplots

    shown = [(panel, found) for panel in PANELS if (found := lines(curve, panel))]
    rows = max(len(shown), 1)
    figure = make_subplots(
        rows=rows,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.12,
        subplot_titles=[panel.title for panel, _ in shown],
    )
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID}
    figure.update_xaxes(**axis).update_yaxes(**axis, rangemode="tozero")
    for row, (panel, found) in enumerate(shown, start=1):
        legend = f"legend{row}" if row > 1 else "legend"
        for line in found:
            for trace in _traces(line):
                figure.add_trace(trace.update(legend=legend), row=row, col=1)
        top = figure.get_subplot(row, 1).yaxis.domain[1]
        figure.update_layout({legend: {"x": 1.02, "y": top, "yanchor": "top"}})
        figure.update_yaxes(tickformat=".0%" if panel.share else "", row=row, col=1)
    for step in checkpoints(curve):
        figure.add_vline(x=step, line={"color": GREY, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="step", row=rows, col=1)
    figure.update_annotations(x=0, xanchor="left", font={"size": 14})
    figure.update_layout(
        template="none",
        title={"text": html.escape(title), "font": {"size": 14}, "x": 0.01},
        height=110 + 210 * rows,
        margin={"l": 60, "r": 20, "t": 80, "b": 50},
        font={"color": GREY},
        paper_bgcolor=_CLEAR,
        plot_bgcolor=_CLEAR,
        modebar={"bgcolor": _CLEAR, "color": GREY, "activecolor": BLUE},
        hovermode="x unified",
        hoverlabel={"bgcolor": "#222222", "font": {"color": "#eeeeee"}},
    )
    return figure


def _traces(line: Line) -> "Iterator[go.Scatter]":
    import plotly.graph_objects as go

    series = line.series
    style = {"color": series.colour, "width": 2, "dash": "dash" if series.dash else "solid"}
    each = go.Scatter(
        x=line.steps,
        y=line.values,
        name=series.label,
        mode="lines+markers" if series.marker else "lines",
        line=style,
        marker={"symbol": series.marker or "circle", "size": 8},
    )
    if series.dense and len(line.values) >= SMOOTHED_FROM:
        yield each.update(name=f"{series.label}, each step", opacity=0.45, line={"width": 1})
        yield go.Scatter(x=line.steps, y=smoothed(line.values), name=series.label, mode="lines", line=style)
    else:
        yield each
