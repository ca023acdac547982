"""Watch a job train, live.

While a job runs the notebook shows a drawing that is replaced in place, with its words for a screen
reader; at the end it gets the interactive figure beside it. What is passed in is plain: an iterator
of progress. Headless (``WORKBENCH_HEADLESS=1``) a line of text says now and then where it stands, and
one static output comes at the end; outside a notebook that is text too.
"""

import asyncio
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.errors import DataError
from workbench.settings import setting
from workbench.training.curve import axes_of, located
from workbench.widgets.curve_chart import Look
from workbench.widgets.curve_figure import CurvePlot, plotted

if TYPE_CHECKING:
    from IPython.display import DisplayHandle
    from openai.types.fine_tuning import FineTuningJob

    from workbench.training.curve import Axis
    from workbench.training.follow import Progress
    from workbench.widgets.curve_chart import Scaling

_BETWEEN_DRAWINGS = 0.2  # seconds; the eye does not follow more
_BETWEEN_LINES = 5.0  # seconds, where nobody sees drawings


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
    news = iter(progress)
    with window:
        # Waiting for the service is a thread's business; the drawing stays here.
        while (now := await asyncio.to_thread(next, news, None)) is not None:
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
    return plotted(curve, title, look if look.axis in axes_of(curve) else replace(look, axis="step"))


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
