"""Watch a job train, live: how far it is, its alerts and its curve, with buttons to pause or cancel it.

Afterwards: what the model answered at each of its checkpoints.

One place below the cell is drawn over and over, at the end as while the job runs. What is passed in is plain:
an iterator of progress. Headless (``WORKBENCH_HEADLESS=1``) a line of text says now and then where it stands,
and one static output comes at the end; outside a notebook that is text too.
"""

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import openai

from workbench.catalog.providers import provider_of
from workbench.dataset.dataset import counted
from workbench.display import Shown
from workbench.errors import DataError
from workbench.evaluation.graders.grading import passes
from workbench.settings import setting
from workbench.training.alerts import Alert, alerts_now
from workbench.training.curve import axes_of, located
from workbench.training.follow import STATES, Following
from workbench.widgets.curve_chart import WIDEST, Look
from workbench.widgets.curve_figure import CurvePlot, plotted

if TYPE_CHECKING:
    from pathlib import Path

    from IPython.display import DisplayHandle
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob

    from workbench.dataset.dataset import Dataset
    from workbench.display import Table
    from workbench.evaluation.evaluation import Evaluation
    from workbench.evaluation.graders.grades import Grader
    from workbench.training.curve import Axis
    from workbench.training.follow import KeptCheckpoint, Progress, Verb
    from workbench.training.preflight import Preflight
    from workbench.widgets.curve_chart import Scaling

_BETWEEN_DRAWINGS = 0.2  # seconds; the eye does not follow more
_BETWEEN_LINES = 5.0  # seconds, where nobody sees drawings
_UNWATCHED = "No longer watched; the job goes on. Run this cell again to watch on."


def watch(
    progress: "Iterable[Progress]",
    *,
    plan: "Preflight | None" = None,
    axis: "Axis" = "step",
    scale: "Scaling" = "linear",
) -> "FineTuningJob":
    """Show me the job while it trains, and give it to me when it has ended.

    With what ``follow`` gives there are buttons to pause, resume and cancel it, each with what it costs; in
    JupyterLab they work while the cell waits, elsewhere once it was interrupted. An interrupt stops the
    watching and never the job, and gives the job as it stands: run the cell again to watch on. ``plan``, what
    was launched, tells of how many steps and what they cost. While the service does not tell epochs or
    tokens, steps are drawn in their place.
    """
    with _Window(progress, plan, Look(axis, scale)) as window:
        for now in progress:
            window.show(now)
    return window.job


def watch_in_background(
    progress: "Iterable[Progress]",
    *,
    plan: "Preflight | None" = None,
    axis: "Axis" = "step",
    scale: "Scaling" = "linear",
) -> "asyncio.Task[FineTuningJob]":
    """Watch a job below this cell while I work on in others; the task's ``result()`` is the job at its end.

    For a notebook, whose event loop it uses: the drawing goes on whenever the kernel is not busy with a
    cell. ``cancel()`` on the task stops the watching and never the job.
    """
    window = _Window(progress, plan, Look(axis, scale))
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

    def __init__(self, progress: "Iterable[Progress]", plan: "Preflight | None", look: Look) -> None:
        # A kernel shows pictures; a terminal, IPython's too, would print each of them.
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        self._kernel = getattr(shell, "kernel", None) is not None
        self._live = self._kernel and setting("WORKBENCH_HEADLESS") != "1"
        self._pause = _BETWEEN_DRAWINGS if self._live else _BETWEEN_LINES
        self._steering = progress if self._live and isinstance(progress, Following) else None
        self._plan, self._look, self._drawn = plan, look, 0.0
        self._now: Progress | None = None
        self._judged: Progress | None = None
        self._alerts: dict[str, Alert] = {}
        self._handle: DisplayHandle | None = None
        self._buttons: _Buttons | None = None

    @property
    def job(self) -> "FineTuningJob":
        if self._now is None:
            raise DataError("There is nothing to watch; give watch what follow(client, job) gives.")
        return self._now.job

    def __enter__(self) -> "_Window":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        """Draw the last picture; in a notebook an interrupt ends here, so that the cell gives the job."""
        if self._now is None:
            return False
        last, above = self._plot(self._now), _UNWATCHED if kind else ""
        if self._kernel:
            bundle = last._repr_mimebundle_()
            self._draw({**bundle, **self._bundle(self._now, last, above, str(bundle["text/html"]))})
        else:
            print("\n".join((*self._lines(self._now, above), str(last))))
        if self._buttons and self._now.ended:
            self._buttons.close()
        return self._live and kind is KeyboardInterrupt

    def open(self) -> None:
        if self._kernel:
            self._draw({"text/plain": "Waiting for the first news of the job."})
        if self._steering:
            self._buttons = _Buttons(self._steering)

    def show(self, now: "Progress") -> None:
        self._now = now
        if time.monotonic() - self._drawn < self._pause:
            return
        if self._live:
            plot = self._plot(now)
            self._draw(self._bundle(now, plot, "", plot.html))
            if self._steering and not now.ended:
                self._buttons = self._buttons or _Buttons(self._steering)
                self._buttons.show(now.job)
        elif self._kernel:
            print(self._standing(now), file=sys.stderr, flush=True)
            self._pause = min(60.0, 1.2 * self._pause)  # some twenty lines in a quarter of an hour, not 180
        self._drawn = time.monotonic()

    def _draw(self, bundle: dict[str, object]) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)  # type: ignore[no-untyped-call]

    def _plot(self, now: "Progress") -> CurvePlot:
        curve, look = located(now.curve, now.job), self._look
        return plotted(curve, now.job.id, look if look.axis in axes_of(curve) else replace(look, axis="step"))

    def _bundle(self, now: "Progress", plot: CurvePlot, above: str, drawing: str) -> dict[str, object]:
        """What stands above the drawing, and the drawing: for a page, and as text."""
        pace, cost = now.pace(self._plan.steps(now.job) if self._plan else None), self._cost(now)
        state = f"<b>{escape(STATES.get(now.job.status, now.job.status))}</b>"
        facts = [state, *map(escape, filter(None, (pace.words or _last_message(now), cost)))]
        alerts = [
            f"<li>{_MARKS.get(each.kind, '⚠')} {escape(_sentence(each))}</li>" for each in self._known(now)
        ]
        share = "" if pace.share is None else f'value="{pace.share:.3f}" '
        bar = (
            f'<progress max="1" {share}aria-label="share of the steps that are done" '
            f'style="display:block;width:100%;max-width:{WIDEST}px;accent-color:#0072B2"></progress>'
        )
        head = f'<p style="margin:0 0 4px">{" · ".join(facts)}</p>{bar if pace.step else ""}'
        head += (
            f'<ul style="margin:6px 0;padding-left:1.2em;list-style:none">{"".join(alerts)}</ul>'
            if alerts
            else ""
        )
        head += f"<p><b>{above}</b></p>" if above else ""
        words = "\n".join((*self._lines(now, above), plot.words))
        return {"text/html": f'<div class="mathjax_ignore">{head}</div>{drawing}', "text/plain": words}

    def _lines(self, now: "Progress", above: str) -> list[str]:
        return [*filter(None, (above, self._standing(now))), *map(_sentence, self._known(now))]

    def _known(self, now: "Progress") -> list[Alert]:
        """The alerts so far, each once, in the order in which they came."""
        if now is not self._judged:
            for alert in alerts_now(now, cost_cap=self._plan.cap if self._plan else None):
                self._alerts.setdefault(alert.kind, alert)
            self._judged = now
        return [each for each in self._alerts.values() if each.kind != "paused"]  # the state says that

    def _standing(self, now: "Progress") -> str:
        """Say where the job stands; before its first step the service's last message says it best."""
        pace = now.pace(self._plan.steps(now.job) if self._plan else None)
        return " · ".join(
            filter(None, (now.job.id, now.job.status, pace.words or _last_message(now), self._cost(now)))
        )

    def _cost(self, now: "Progress") -> str:
        return self._plan.cost_so_far(now) if self._plan else ""


_MARKS = {"done": "✓"}  # all others are warnings


def _sentence(alert: Alert) -> str:
    words = f"{alert.kind.replace('_', ' ')}: {alert.message}"
    return f"{words[0].upper()}{words[1:]}" + (f" (step {alert.step:,})" if alert.step else "")


def _last_message(now: "Progress") -> str:
    messages = [event.message for event in now.events if event.type == "message"]
    return messages[-1].removesuffix(".") if messages else ""


_DOUBLE_CLICK = 0.6  # seconds; one on Cancel asks whether it is meant, and does not answer that as well


class _Buttons:
    """Pause, resume and cancel, each with what it costs; they work from a thread of the front end's.

    A cell that waits keeps the kernel's main thread. JupyterLab sends clicks to a thread beside it (a
    subshell), where the kernel has them.
    """

    def __init__(self, steering: Following) -> None:
        import ipywidgets
        from IPython.display import display

        self._steering = steering
        self._job: FineTuningJob | None = None
        self._costs: dict[Verb, Any] = {}
        self._buttons: dict[Verb, Any] = {}
        verbs: tuple[Verb, ...] = ("pause", "resume", "cancel")
        for verb in verbs:
            self._costs[verb] = ipywidgets.HTML()
            button = ipywidgets.Button(description=verb.capitalize(), layout={"width": "9em"}, disabled=True)
            button.on_click(lambda _, verb=verb: self._clicked(verb))
            self._buttons[verb] = button
        self._said = ipywidgets.HTML()
        self._asked_at = 0.0
        rows = [ipywidgets.HBox([self._buttons[verb], self._costs[verb]]) for verb in verbs]
        self._box = ipywidgets.VBox([*rows, self._said])
        self._handle = display(self._box, display_id=True)  # type: ignore[no-untyped-call]

    def show(self, job: "FineTuningJob") -> None:
        """Offer what can be done to the job as it stands."""
        self._job = job
        for choice in self._steering.choices(job).all:
            self._buttons[choice.verb].disabled = not choice.possible
            note = f"costs {choice.costs}" if choice.possible else f"possible {choice.when}"
            self._costs[choice.verb].value = f"<span>{escape(note)}</span>"
        self._free()

    def close(self) -> None:
        """Take them away: the job has ended."""
        self._handle.update({"text/plain": ""}, raw=True)
        self._box.close()

    def _clicked(self, verb: "Verb") -> None:
        button = self._buttons[verb]
        if self._job is None:  # nothing is known of it yet
            return
        if verb == "cancel" and button.description == "Cancel":
            button.description, button.button_style = "Cancel for good?", "warning"
            self._asked_at = time.monotonic()
            return
        if verb == "cancel" and time.monotonic() - self._asked_at < _DOUBLE_CLICK:
            return
        try:
            self._steering.change(self._job, verb)
            self._said.value = f"<span>{escape(verb.capitalize())} was asked for.</span>"
        except openai.OpenAIError as error:
            self._said.value = f"<span>{escape(f'The service does not {verb} it: {error}')}</span>"

    def _free(self) -> None:
        """Let clicks go where the front end sends them.

        ipykernel 7.4 sends what concerns a widget to the thread that wrote to it last, and that is busy.
        """
        for widget in (self._box, self._said, *self._costs.values(), *self._buttons.values()):
            if widget.comm is not None:
                vars(widget.comm).pop("_reply_subshell_id", None)


# What the model answers at each checkpoint.

ASKED = 5  # questions; a few show how the answers change


@dataclass(frozen=True, repr=False)
class CheckpointAnswers(Shown):
    """A few held-out questions with the answer of each checkpoint; a table in a notebook."""

    evaluations: "Mapping[int, Evaluation]"
    """By the step of the checkpoint, rising."""
    why_not: str = ""
    graded: bool = True

    @property
    def verdict(self) -> str:
        """How many of them each has right."""
        right = (f"{each.score:.0%} at step {step}" for step, each in self.evaluations.items())
        asked = counted(self._asked, "held-out question")
        if self.why_not or not self.graded:
            return self.why_not or f"{asked}; the task's grader asks a model, so 06_evaluate grades"
        return f"{asked}; right: {', '.join(right)}"

    def tables(self) -> "Iterator[Table]":
        """A question a row, a checkpoint a column."""
        columns = ("question", "expected", *(f"step {step}" for step in self.evaluations))
        yield self.verdict, columns, [self._row(place) for place in range(self._asked)]

    @property
    def _asked(self) -> int:
        return min((len(each.items) for each in self.evaluations.values()), default=0)

    def _row(self, place: int) -> tuple[str, ...]:
        found = list(self.evaluations.values())
        items = [each.items[place] for each in found]
        right = (passes(each.grader, item.score) for each, item in zip(found, items, strict=True))
        marks = ((_RIGHT if each else _WRONG) if self.graded else "" for each in right)
        answers = (f"{mark} {item.answer}".strip() for mark, item in zip(marks, items, strict=True))
        return items[0].question, items[0].reference, *answers


_RIGHT, _WRONG = "✓", "✗"


def checkpoint_answers(
    client: "OpenAI",
    kept: "KeptCheckpoint",
    held_out: "Dataset",
    grader: "Grader",
    *,
    cache: "str | Path | None" = None,
) -> CheckpointAnswers:
    """Ask each checkpoint that still exists the first questions of ``held_out``, and grade its answers.

    Where a model must be deployed before it answers, nothing is asked; where the grader asks a model,
    nothing is graded. ``cache`` keeps the answers.
    """
    from workbench.evaluation.evaluate import evaluate
    from workbench.evaluation.graders.grader_types import needs
    from workbench.evaluation.graders.ready_made import grader as ready_made_grader

    service = provider_of(client)
    if service.deploy_before_use:
        return CheckpointAnswers({}, f"At {service.name} a checkpoint must be deployed before it answers.")
    names = {each.step_number: each.fine_tuned_model_checkpoint for each in kept.checkpoints}
    few, graded = held_out.take(ASKED), "model" not in needs(grader)
    by = grader if graded else ready_made_grader("exact")
    answered = {step: evaluate(client, names[step], few, by, cache=cache) for step in sorted(names)}
    return CheckpointAnswers(answered, graded=graded)
