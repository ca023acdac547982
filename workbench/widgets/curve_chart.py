"""The chart of a curve without a front end: series, scales and panels, drawn as an SVG that stands alone."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from workbench.errors import DataError
from workbench.training.curve import ALL_AXES, REWARD, along, positions
from workbench.training.reward_rules import likelihood_displacement
from workbench.widgets.svg import (
    GREY,
    MARKERS,
    Logarithmic,
    Scale,
    area,
    marker,
    polyline,
    printable,
    stroke,
    text,
)

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from workbench.training.curve import Axis, Curve
    from workbench.widgets.svg import Numbers, Places

# The series of a curve: which there are, how each of them looks, and the numbers it is drawn from.
#
# Colours are Okabe and Ito's, with dashes and markers beside them, so nothing is shown by colour alone.

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SMOOTHED_FROM = 10  # points; fewer of them are drawn as they are


@dataclass(frozen=True)
class Series:
    """One column of a curve, and how it is drawn.

    A ``dense`` one has a value at each logged step, so a missing value is a gap;
    another is measured now and then, so its points are joined.
    """

    column: str
    label: str
    colour: str
    dash: str = ""  # as in SVG's stroke-dasharray
    marker: str = ""  # by Plotly's name
    dense: bool = False


@dataclass(frozen=True)
class Panel:
    """The series that share an axis."""

    title: str
    series: tuple[Series, ...]
    share: bool = False  # of a whole: the axis runs from 0 to 100 %
    # It may be drawn on a logarithmic axis; a share or a reward has no logarithm worth seeing.
    loss: bool = False


PANELS = (
    Panel(
        "Loss",
        (
            Series("train_loss", "training", BLUE, dense=True),
            Series("valid_loss", "validation batch", VERMILLION, dash="5 4"),
            Series("full_valid_loss", "validation", VERMILLION, marker="circle"),
        ),
        loss=True,
    ),
    Panel(
        "Share that is right",
        (
            Series("train_mean_token_accuracy", "training tokens", BLUE, dense=True),
            Series("valid_mean_token_accuracy", "validation batch tokens", VERMILLION, dash="5 4"),
            Series("full_valid_mean_token_accuracy", "validation tokens", VERMILLION, marker="circle"),
            Series("rewards/accuracies", "training pairs", BLUE, dense=True),
            Series("full_valid_rewards/accuracies", "validation pairs", VERMILLION, marker="circle"),
            Series("full_valid_mean_reward", "held-out answers", GREEN, marker="diamond"),
        ),
        share=True,
    ),
    Panel(
        "Rewards: distance from the first model's answers",
        (
            Series("rewards/chosen", "preferred", BLUE, dense=True),
            Series("rewards/rejected", "not preferred", VERMILLION, dash="5 4", dense=True),
            Series("rewards/margins", "margin", GREEN, dash="2 4", dense=True),
            Series("full_valid_rewards/margins", "margin, validation", GREEN, marker="diamond"),
        ),
    ),
    Panel(
        "Log-probability of the answers, in nats",
        (
            Series("logps/chosen", "preferred", BLUE, dense=True),
            Series("logps/rejected", "not preferred", VERMILLION, dash="5 4", dense=True),
            Series("full_valid_logps/chosen", "preferred, validation", BLUE, marker="circle"),
            Series("full_valid_logps/rejected", "not preferred, validation", VERMILLION, marker="square"),
        ),
    ),
    Panel(
        "Reward: the mean grade of the answers",
        (
            Series("train_mean_reward", "training", BLUE, dense=True),
            Series("full_valid_mean_reward", "validation", VERMILLION, marker="circle"),
        ),
    ),
    Panel(
        "Tokens of an answer",
        (
            Series("completion_tokens_mean", "answer", BLUE, dense=True),
            Series("reasoning_tokens_mean", "reasoning", VERMILLION, dash="5 4", dense=True),
        ),
    ),
)


@dataclass(frozen=True, eq=False)
class SeriesLine:
    """A series with its places on the axis and its values; at a gap the value is missing."""

    series: Series
    x: "Numbers"
    values: "Numbers"
    infinite: "Numbers"
    """Where it was measured and is not finite."""

    @property
    def is_smoothed(self) -> bool:
        """Whether a smoothed line is drawn over the points."""
        return self.series.dense and len(self.values) >= SMOOTHED_FROM

    @property
    def gaps(self) -> "Numbers":
        """Where it is interrupted: a row for each gap, with its beginning and its end on the axis."""
        import numpy

        missing = numpy.isnan(self.values)
        starts = self.x[numpy.flatnonzero(missing[1:] & ~missing[:-1])]
        ends = self.x[numpy.flatnonzero(~missing[1:] & missing[:-1]) + 1]
        return numpy.column_stack([starts, ends])

    def gaps_seen(self, apart: float) -> list[tuple[float, float]]:
        """The gaps that can be seen apart where so much of the axis is one place to the eye."""
        import numpy

        gaps = self.gaps
        _, seen = numpy.unique(numpy.round(gaps.mean(axis=1) / apart), return_index=True)
        return [(start, end) for start, end in gaps[seen].tolist()]


def panels_of(curve: "Curve") -> Sequence[Panel]:
    """The panels of the curve's kind: in a reinforcement job a reward is no share of right answers.

    Each of several evaluation sets has its line beside the losses, and what a Trainer's log measured on the
    task a panel of its own.
    """
    if curve.method == "rft":
        return [panel for panel in PANELS if not panel.share]
    loss, *others = (panel for panel in PANELS if panel.series[0].column != "train_mean_reward")
    styles = cycle(zip((GREEN, PURPLE, VERMILLION), MARKERS[1:4], strict=True))
    measures = [name for _, names in curve.task_measures.values() for name in names if name != REWARD]
    sets = [
        Series(column, f"validation, {name}", colour, marker=marker)
        for (name, column), (colour, marker) in zip(curve.evaluation_sets.items(), styles, strict=False)
    ]
    task = [
        Series(name, name.removeprefix("eval_"), colour, marker=marker)
        for name, (colour, marker) in zip(measures, styles, strict=False)
    ]
    added = [Panel("Measured on the task", tuple(task))] if task else []
    return [replace(loss, series=(*loss.series, *sets)), *added, *others]


def lines(curve: "Curve", panel: Panel, axis: "Axis" = "step") -> list[SeriesLine]:
    """Find the series of a panel that have values, without what is missing at either end."""
    import numpy

    found = []
    x, steps = along(curve, axis), curve.frame.index
    for series in panel.series:
        measured = curve.measured(series.column)
        if measured.empty:
            continue
        values = numpy.asarray(measured.reindex(steps), dtype=numpy.float64)
        infinite = steps.isin(curve.not_finite(series.column))
        kept = numpy.flatnonzero(~numpy.isnan(values))
        if series.dense:
            kept = _with_gaps(numpy.asarray(steps, dtype=numpy.float64), values, infinite)
        found.append(SeriesLine(series, x[kept], values[kept], x[infinite]))
    return found


def smoothed(values: "Numbers") -> "Numbers":
    """Average the noise away: the mean of the 5 points around each, or of 2 % of all if that is more.

    A centred mean: the fading averages of ``training.smoothing``, which look back only, draw a falling loss
    too high, above its own points and often above the validation loss. A gap stays a gap.
    """
    import pandas

    series = pandas.Series(values)
    window = max(5, len(series) // 50)
    mean = series.rolling(window, center=True, min_periods=1).mean()
    return mean.where(series.notna()).to_numpy(dtype=float)


def _with_gaps(steps: "Numbers", values: "Numbers", infinite: "NDArray[numpy.bool]") -> "Places":
    """The places of the values, and of those that are missing where one was due.

    Where another measure has a row of its own in between (a validation at step 25 of a loss that is
    logged at each tenth), nothing was due.
    """
    import numpy

    known = numpy.flatnonzero(~numpy.isnan(values))
    missing = numpy.flatnonzero(numpy.isnan(values))
    missing = missing[(missing > known[0]) & (missing < known[-1])]
    if not len(missing):
        return known
    apart = numpy.diff(steps[known])
    usual = numpy.sort(apart)[(len(apart) - 1) // 4]  # the lower quartile: gaps lie above it
    around = apart[numpy.searchsorted(known, missing) - 1]
    return numpy.sort(numpy.append(known, missing[(around > 1.5 * usual) | infinite[missing]]))


# What a picture of a curve shows, before anybody draws it.
#
# The drawing, the interactive figure and the table all read this, so they never differ.

Scaling: TypeAlias = Literal["linear", "log"]
SCALES: tuple[Scaling, ...] = get_args(Scaling)


@dataclass(frozen=True)
class Look:
    """How a curve is to be drawn."""

    axis: "Axis" = "step"
    scaling: Scaling = "linear"  # of losses
    checkpoints: tuple[int, ...] | None = None  # steps; None: where the whole validation file was measured

    def __post_init__(self) -> None:
        """Refuse an axis or a scale that is none, before a job is watched for hours."""
        if self.axis not in ALL_AXES:
            raise DataError(f"There is no axis '{self.axis}'; choose {', '.join(ALL_AXES)}.")
        if self.scaling not in SCALES:
            raise DataError(f"There is no scale '{self.scaling}'; choose {' or '.join(SCALES)}.")


STEPS = Look()


@dataclass(frozen=True, eq=False)
class Picture:
    """All that a drawing or a figure shows."""

    heading: str
    words: str
    """The same in sentences, for those who cannot see it."""
    panels: tuple[tuple[Panel, tuple[SeriesLine, ...]], ...]
    axis: "Axis" = "step"
    scaling: Scaling = "linear"
    end: float = 0.0
    """The end of the axis; it begins at 0."""
    marks: tuple[float, ...] = ()
    """Where checkpoints are."""
    alarm: str = ""
    """What somebody should see at once; empty for nothing."""

    def is_logarithmic(self, panel: Panel, shown: "Sequence[SeriesLine]") -> bool:
        """Whether this panel's axis is; one without a value above 0 cannot be."""
        return self.scaling == "log" and panel.loss and any((line.values > 0).any() for line in shown)

    def remarks(self, panel: Panel, shown: "Sequence[SeriesLine]") -> list[str]:
        """What a reader must know of a panel beside its title."""
        gaps, infinite = sum(len(line.gaps) for line in shown), sum(len(line.infinite) for line in shown)
        remarks = []
        if self.is_logarithmic(panel, shown):
            lost = sum(int((line.values <= 0).sum()) for line in shown)
            remarks.append("logarithmic" + (f", without {lost:,} of 0 or less" if lost else ""))
        if gaps:
            remarks.append(f"{gaps:,} {'gap' if gaps == 1 else 'gaps'}, shaded")
        if infinite:
            remarks.append(f"not finite at {infinite:,} {'step' if infinite == 1 else 'steps'}")
        return remarks


def picture(curve: "Curve", title: str, look: Look) -> Picture:
    """Find what there is to draw; a panel without values is left out."""
    import numpy

    shown = [(panel, found) for panel in panels_of(curve) if (found := lines(curve, panel, look.axis))]
    displaced = likelihood_displacement(curve)
    alarm = f"Alarm: the preferred answers become less likely: {displaced.sentence}." if displaced else ""
    words = " ".join(filter(None, (alarm, *curve.summary)))
    steps = checkpoints(curve) if look.checkpoints is None else look.checkpoints
    return Picture(
        heading=title or (f"{curve.steps:,} steps" if shown else words),
        words=words,
        panels=tuple((panel, tuple(found)) for panel, found in shown),
        axis=look.axis,
        scaling=look.scaling,
        end=max((float(line.x[-1]) for _, found in shown for line in found), default=0.0),
        marks=tuple(positions(curve, numpy.array(steps, dtype=float), look.axis).tolist()) if shown else (),
        alarm=alarm,
    )


def checkpoints(curve: "Curve") -> list[int]:
    """Steps at which the whole validation file was measured: the ends of epochs, where checkpoints are kept.

    Some services measure it at every logged step; that marks nothing.
    """
    for column in ("full_valid_loss", "full_valid_mean_reward"):
        steps = [int(step) for step in curve.measured(column).index]
        if steps and 2 * len(steps) <= len(curve.frame):
            return steps
    return []


# A loss curve as a drawing: an SVG that stands on its own, in a notebook, a page or a README.
#
# Panels over the same axis: the loss, and below it what is right, because held-out answers go on
# improving long after the loss is flat. The page shows through. Its letters are 12 pixels high where it is
# 600 wide, and it is shown no narrower than its cell and no wider than WIDEST.

WIDEST = 760

_WIDTH, _LEFT, _RIGHT, _NAMES = 600, 48, 362, 374  # from the left edge; a pixel each where 600 are free
_TITLE, _HEIGHT, _BOTTOM = 46, 150, 26  # above, of and below a panel
_LINE = 16  # from one name to the next
_LETTERS = 88  # of a heading's line
_NAME = 24  # letters of a line's name
_MANY = 40  # points; more of them are drawn without a marker each
_COLUMNS = (_RIGHT - _LEFT) // 2  # a stroke is two pixels wide
_NARROWEST = 3.0  # pixels of a gap, so that a single missing step is seen


def drawn(shown: Picture) -> str:
    """Draw a picture, one panel below the other."""
    heading = textwrap.wrap(shown.heading, _LETTERS)
    parts = [text(0, 15 + _LINE * place, words, weight=600) for place, words in enumerate(heading)]
    alarm = textwrap.wrap(f"⚠ {shown.alarm}", _LETTERS) if shown.alarm else []
    below = 15 + _LINE * len(heading)
    parts += [
        text(0, below + _LINE * place, words, weight=600, colour=VERMILLION)
        for place, words in enumerate(alarm)
    ]
    height = top = 8 + _LINE * (len(heading) + len(alarm))
    if shown.panels:
        x = Scale(0.0, shown.end, _LEFT, _RIGHT)
        marks = [x.at(mark) for mark in shown.marks]
        parts += _checkpoint_names(marks, top + _TITLE)
        for panel, found in shown.panels:
            top += _TITLE
            remarks = "".join(f" · {remark}" for remark in shown.remarks(panel, found))
            tail = f'<tspan font-weight="400">{remarks}</tspan>'
            parts.append(text(0, top - 24, panel.title, weight=600, tail=tail))
            parts += _panel(panel, found, x, _upright(panel, found, shown, top), top, marks)
            top += _HEIGHT
        parts += _axis(x, shown.axis, top)
        height = top + _BOTTOM
    name, words = escape(printable(shown.heading)), escape(printable(shown.words))
    label, described = f"{name}. {words}", f"<title>{name}</title><desc>{words}</desc>"
    if name == words:  # nothing is drawn, and it is written
        label, described = words, ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" role="img" aria-label="{label}" font-family="system-ui, sans-serif" '
        f'font-size="12" fill="none" stroke-linecap="round" stroke-linejoin="round">'
        f"{described}{''.join(parts)}</svg>"
    )


def _upright(panel: Panel, shown: Sequence[SeriesLine], whole: Picture, top: float) -> Scale:
    """The panel's axis: from 0, unless values lie below it or it is logarithmic."""
    import numpy

    values = numpy.concatenate([line.values for line in shown])
    if whole.is_logarithmic(panel, shown):
        values = values[values > 0]
        low, high = float(values.min()), float(values.max())
        return Logarithmic(low / 1.1, high * 1.1, top + _HEIGHT, top)
    low = min(0.0, float(numpy.nanmin(values)))
    high = max(1.0 if panel.share else 1e-9, float(numpy.nanmax(values)))
    return Scale(low, high, top + _HEIGHT, top)


def _panel(
    panel: Panel, shown: Sequence[SeriesLine], x: Scale, y: Scale, top: float, marks: Sequence[float]
) -> Iterator[str]:
    """Draw one panel: axis, gaps and checkpoints, then the lines, then their names where they end."""
    whole_share = panel.share and (y.low, y.high) == (0, 1)
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] if whole_share else y.ticks(5):
        yield stroke(f"M{_LEFT} {y.at(tick):.1f}H{_RIGHT}", GREY, 1, opacity=0.5 if tick == 0 else 0.2)
        yield text(_LEFT - 8, y.at(tick) + 4, f"{100 * tick:.0f} %" if panel.share else _short(tick), "end")
    for mark in marks:
        yield stroke(f"M{mark:.1f} {top}v{_HEIGHT}", GREY, 1, dash="2 4", opacity=0.7)
    for line in shown:
        yield from _interruptions(line, x, top)
    for line in shown:
        yield from _line(line, x, y)
    ends = [_end(line, x, y, top + _HEIGHT) for line in shown]
    places = _apart([height for _, height in ends], top, top + _HEIGHT)
    for line, (end, height), place in zip(shown, ends, places, strict=True):
        yield _name(line, end, height, place, panel.share)


def _line(line: SeriesLine, x: Scale, y: Scale) -> Iterator[str]:
    series, across, down = line.series, x.all(line.x), y.all(line.values)
    width = 1.5 if series.dash else 2
    if line.is_smoothed:
        yield stroke(polyline(across, down, _COLUMNS), series.colour, 1, opacity=0.4)
        down, width = y.all(smoothed(line.values)), 2
    yield stroke(polyline(across, down, _COLUMNS), series.colour, width, dash=series.dash)
    if series.marker and not line.is_smoothed and len(down) <= _MANY:  # a mark is a measurement
        for place in range(len(down)):
            if not math.isnan(down[place]):
                yield marker(series.marker, series.colour, float(across[place]), float(down[place]))


def _interruptions(line: SeriesLine, x: Scale, top: float) -> Iterator[str]:
    """Shade the gaps of a line, and put a cross at the top where it was not finite."""
    import numpy

    for gap in line.gaps_seen(_NARROWEST / x.factor):
        start, end = map(x.at, gap)
        width = max(end - start, _NARROWEST)
        outline = f"M{(start + end - width) / 2:.1f} {top}h{width:.1f}v{_HEIGHT}h-{width:.1f}z"
        yield area(outline, line.series.colour, 0.15)
    for place in numpy.unique(numpy.round(x.all(line.infinite) / _NARROWEST)) * _NARROWEST:
        yield marker("x", line.series.colour, float(place), top)


def _end(line: SeriesLine, x: Scale, y: Scale, bottom: float) -> tuple[float, float]:
    """Where the line ends; one of which nothing has a place on a logarithmic axis lies below it."""
    import numpy

    down = y.all(line.values)
    placed = numpy.flatnonzero(~numpy.isnan(down))
    return (x.at(float(line.x[placed[-1]])), float(down[placed[-1]])) if len(placed) else (_RIGHT, bottom)


def _apart(wanted: Sequence[float], low: float, high: float) -> list[float]:
    """Move names apart that would lie on each other, as little as may be, and keep them in the panel."""
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    placed = dict.fromkeys(order, low)
    floor = low
    for place in order:
        placed[place] = floor = max(wanted[place], floor)
        floor += _LINE
    ceiling = high
    for place in reversed(order):
        placed[place] = ceiling = min(placed[place], ceiling)
        ceiling -= _LINE
    return [placed[place] for place in range(len(wanted))]


def _name(line: SeriesLine, x: float, y: float, place: float, share: bool) -> str:
    """Write a line's name and last value beside its end, behind a short sample of it."""
    series, start, last = line.series, _NAMES, float(line.values[-1])
    value = f"{100 * last:.0f} %" if share else f"{last:.3g}" if abs(last) < 1000 else f"{last:,.0f}"
    lead = stroke(f"M{x + 5:.1f} {y:.1f}L{start - 3} {place:.1f}", series.colour, 1, dash="1 3", opacity=0.6)
    sample = stroke(f"M{start} {place:.1f}h18", series.colour, 2, dash=series.dash)
    with_mark = series.marker and not line.is_smoothed
    mark = marker(series.marker, series.colour, start + 9, place) if with_mark else ""
    label = series.label if len(series.label) <= _NAME else f"{series.label[: _NAME - 1]}…"
    name = text(start + 22, place + 4, f"{label} ", tail=f'<tspan font-weight="600">{value}</tspan>')
    return lead + sample + mark + name


def _checkpoint_names(marks: Sequence[float], top: float) -> Iterator[str]:
    free = float(_LEFT)
    for mark in marks:
        if mark - 34 >= free:
            yield text(mark, top - 6, "checkpoint", "middle")
            free = mark + 40


def _axis(x: Scale, name: str, top: float) -> Iterator[str]:
    for tick in x.ticks(6, smallest=0.0 if name == "epoch" else 1.0):
        yield text(x.at(tick), top + 17, _short(tick), "middle")
    yield text(_NAMES, top + 17, name)


def _short(number: float) -> str:
    """A number as an axis shows it: 2.5, 4,000, 1.5 M."""
    return f"{number / 1e6:g} M" if number >= 1e6 else f"{number:,.0f}" if number >= 1000 else f"{number:g}"
