"""Watch a job train, live, and plot a finished curve, or several laid over each other.

While a job runs the notebook shows a drawing that is replaced in place, with its words for a screen
reader; at the end it gets the interactive figure beside it. What is passed in is plain: an iterator
of progress, or curves. Headless (``WORKBENCH_HEADLESS=1``) a line of text says now and then where it
stands, and one static output comes at the end; outside a notebook that is text too.
"""

import asyncio
import base64
import html
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workbench.dataset.dataset import counted
from workbench.display import Chart
from workbench.errors import DataError
from workbench.settings import setting
from workbench.training.curve import axes_of, located
from workbench.widgets.curve_chart import (
    BLUE,
    GREEN,
    PURPLE,
    VERMILLION,
    Look,
    Panel,
    Picture,
    Series,
    SeriesLine,
    drawn,
    lines,
    picture,
)
from workbench.widgets.curve_figure import Numbers, figure, numbers
from workbench.widgets.svg import GREY

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from IPython.display import DisplayHandle
    from openai.types.fine_tuning import FineTuningJob

    from workbench.training.curve import Axis, Curve
    from workbench.training.follow import Progress
    from workbench.widgets.curve_chart import Scaling

_BETWEEN_DRAWINGS = 0.2  # seconds; the eye does not follow more
_BETWEEN_LINES = 5.0  # seconds, where nobody sees drawings


@dataclass(frozen=True, repr=False, eq=False)
class CurvePlot(Chart):
    """A curve, or several, as a notebook shows it: interactive where that works, else drawn, else text."""

    picture: Picture
    words: str

    @property
    def figure(self) -> "go.Figure":
        """The interactive figure, to change as you like."""
        return figure(self.picture)

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        return drawn(self.picture)

    @property
    def table(self) -> Numbers:
        """The numbers of the lines as a table: for those who do not see them."""
        return numbers(self.picture)

    def __repr__(self) -> str:
        """The same in words."""
        return self.words

    def drawing(self) -> dict[str, object]:
        """What a notebook can show at once: the drawing, and the text for where there are no pictures."""
        return {"image/svg+xml": self.svg, "text/plain": self.words}

    def live(self) -> dict[str, object]:
        """The drawing with its words: JupyterLab makes an image without any of a bare SVG."""
        drawing = self.drawing()
        encoded = base64.b64encode(str(drawing["image/svg+xml"]).encode()).decode()
        image = f'<img alt="{html.escape(self.words)}" src="data:image/svg+xml;base64,{encoded}">'
        return {**drawing, "text/html": image}


def plot(
    curve: "Curve | Mapping[str, Curve]",
    title: str = "",
    *,
    axis: "Axis" = "step",
    scale: "Scaling" = "linear",
    checkpoints: Collection[int] | None = None,
) -> CurvePlot:
    """Show me a curve, or several laid over each other: to zoom into here, and as a drawing in exports.

    Several come by the names of their runs, as ``runs(project, client).curves`` has them; nobody can tell
    more than 8 apart, so of more the last are drawn. ``axis``: ``step``, ``epoch`` or ``tokens``; runs
    with batches of different sizes compare by the latter two. ``scale``: of losses, ``linear`` or ``log``.
    ``title`` and ``checkpoints``, the steps to mark, are those of one curve; ``None`` marks where the
    whole validation file was measured. Raises ``DataError`` when there is no curve, or one does not tell
    its epochs or tokens.
    """
    marked = None if checkpoints is None else tuple(sorted(checkpoints))
    look = Look(axis, scale, marked)
    return _overlaid(curve, look) if isinstance(curve, Mapping) else _plotted(curve, title, look)


def _plotted(curve: "Curve", title: str, look: Look) -> CurvePlot:
    words = "\n".join(part for part in (title, repr(curve)) if part)
    return CurvePlot(picture(curve, title, look), words)


# A colour, a dash and a marker for each curve of several; more of them nobody could tell apart.
_LOOKS = (
    (BLUE, "", "circle"),
    (VERMILLION, "9 4", "square"),
    (GREEN, "2 4", "diamond"),
    (PURPLE, "11 4 2 4", "triangle-up"),
    ("#E69F00", "16 5", "triangle-down"),
    ("#56B4E9", "5 3", "x"),
    (GREY, "", "cross"),
    ("#999933", "3 3 9 3", "star"),
)
MOST = len(_LOOKS)

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
        for (name, curve), (colour, dash, marker) in zip(last.items(), _LOOKS, strict=False):
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


def watch(
    progress: "Iterable[Progress]", *, axis: "Axis" = "step", scale: "Scaling" = "linear"
) -> "FineTuningJob":
    """Show me the job while it trains, and give it to me when it has ended.

    An interrupt stops the watching and never the job: run the cell again to watch on. While the service
    does not tell epochs or tokens, steps are drawn in their place.
    """
    with _Window(Look(axis, scale)) as window:
        for now in progress:
            window.show(now)
    return window.job


def watch_in_background(
    progress: "Iterable[Progress]", *, axis: "Axis" = "step", scale: "Scaling" = "linear"
) -> "asyncio.Task[FineTuningJob]":
    """Watch a job below this cell while I work on in others; the task's ``result()`` is the job at its end.

    For a notebook, whose event loop it uses: the drawing goes on whenever the kernel is not busy with a
    cell. ``cancel()`` on the task stops the watching and never the job.
    """
    window = _Window(Look(axis, scale))
    window.open()  # a notebook takes what comes later only for what the cell itself has shown
    return asyncio.get_running_loop().create_task(_watched(progress, window))


async def _watched(progress: "Iterable[Progress]", window: "_Window") -> "FineTuningJob":
    looks = iter(progress)
    with window:
        # Waiting for the service is a thread's business; the drawing stays here.
        while (now := await asyncio.to_thread(next, looks, None)) is not None:
            window.show(now)
    return window.job


class _Window:
    """The place below the cell, drawn over again and again; the only thing here that is not a value."""

    def __init__(self, look: Look) -> None:
        # A kernel shows pictures; a terminal, IPython's too, would print each of them.
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        self._kernel = getattr(shell, "kernel", None) is not None
        self._live = self._kernel and setting("WORKBENCH_HEADLESS") != "1"
        self._pause = _BETWEEN_DRAWINGS if self._live else _BETWEEN_LINES
        self._look, self._drawn = look, 0.0
        self._now: Progress | None = None
        self._handle: DisplayHandle | None = None

    @property
    def job(self) -> "FineTuningJob":
        if self._now is None:
            raise DataError("There is nothing to watch; give watch what follow(client, job) gives.")
        return self._now.job

    def __enter__(self) -> "_Window":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._now is None:
            return
        title = _standing(self._now)
        if kind:
            title = (
                f"No longer watched: {title}. The job goes on without us; run this cell again to watch on."
            )
        last = _plot(self._now, title, self._look)
        if self._kernel:
            # JupyterLab never redraws a plotly output, so the figure comes only now, in the drawing's place.
            self._draw(last._repr_mimebundle_())
        else:
            print(last)

    def open(self) -> None:
        if self._kernel:
            self._draw({"text/plain": "Waiting for the first news of the job."})

    def show(self, now: "Progress") -> None:
        self._now = now
        if time.monotonic() - self._drawn < self._pause:
            return
        if self._live:
            self._draw(_plot(now, _standing(now), self._look).live())
        elif self._kernel:
            print(_standing(now), file=sys.stderr, flush=True)
        self._drawn = time.monotonic()

    def _draw(self, bundle: dict[str, object]) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)  # type: ignore[no-untyped-call]


def _plot(now: "Progress", title: str, look: Look) -> CurvePlot:
    curve = located(now.curve, now.job)
    return _plotted(curve, title, look if look.axis in axes_of(curve) else replace(look, axis="step"))


def _standing(now: "Progress") -> str:
    """Say where the job stands; before its first step the service's last message says it best."""
    job, messages = now.job, [event.message for event in now.events if event.type == "message"]
    parts = [job.id, job.status]
    if now.curve.steps:
        parts.append(f"step {now.curve.steps:,}")
    elif messages:
        parts.append(messages[-1].removesuffix("."))
    if job.error and job.error.message:
        parts.append(job.error.message.removesuffix("."))
    return " · ".join(parts)
