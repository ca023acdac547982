"""A loss curve as a drawing: an SVG that stands on its own, in a notebook, a page or a README.

Two panels over the same steps: the loss, and below it what is right, because
held-out answers go on improving long after the loss is flat. The page shows
through, and the greys are readable on white and on black.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from workbench.widgets.curve_series import (
    GREY,
    PANELS,
    SMOOTHED_FROM,
    Line,
    Panel,
    Series,
    checkpoints,
    lines,
    smoothed,
)

if TYPE_CHECKING:
    from workbench.training.curve import Curve
    from workbench.widgets.curve_series import Numbers, Places

_WIDTH, _LEFT, _RIGHT, _NAMES = 780, 44, 530, 548  # pixels from the left edge
_TITLE, _HEIGHT, _BOTTOM = 48, 170, 26  # above, of and below a panel
_LINE = 17  # from one name to the next
_LETTERS = 105  # of a heading's line
_MANY = 40  # points; more of them are drawn without markers


def svg(curve: "Curve", title: str = "") -> str:
    """Draw me the curve; its numbers are in the picture's label, for those who cannot see it."""
    shown = [(panel, found) for panel in PANELS if (found := lines(curve, panel))]
    told = " ".join(curve.summary)
    heading = textwrap.wrap(title or (f"{curve.steps:,} steps" if shown else told), _LETTERS)
    parts = [_text(0, 15 + _LINE * place, words, "start", 600) for place, words in enumerate(heading)]
    height = top = 8 + _LINE * len(heading)
    if shown:
        x = _Scale(0.0, float(curve.steps), _LEFT, _RIGHT)
        marks = [x.at(step) for step in checkpoints(curve)]
        parts += _checkpoint_names(marks, top + _TITLE)
        for panel, found in shown:
            top += _TITLE
            parts += _panel(panel, found, x, top, marks)
            top += _HEIGHT
        parts += _step_axis(x, top)
        height = top + _BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" role="img" aria-label="{escape(told)}" font-family="system-ui, sans-serif" '
        f'font-size="12" fill="none" stroke-linecap="round" stroke-linejoin="round">{"".join(parts)}</svg>'
    )


@dataclass(frozen=True)
class _Scale:
    """Where numbers lie on an axis, in pixels."""

    low: float
    high: float
    start: float
    end: float

    @property
    def factor(self) -> float:
        return (self.end - self.start) / ((self.high - self.low) or 1.0)

    def at(self, value: float) -> float:
        return self.start + (value - self.low) * self.factor

    def all(self, values: "Numbers") -> "Numbers":
        return self.start + (values - self.low) * self.factor

    def ticks(self, most: int, smallest: float = 0.0) -> list[float]:
        """At most ``most`` + 1 round numbers: 1, 2 or 5 times a power of ten apart."""
        rough = max((self.high - self.low) / most, smallest, 1e-12)
        power = 10.0 ** math.floor(math.log10(rough))
        apart = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / apart - 1e-9), math.floor(self.high / apart + 1e-9)
        return [number * apart for number in range(first, last + 1)]


def _panel(
    panel: Panel, shown: Sequence[Line], x: _Scale, top: float, marks: Sequence[float]
) -> Iterator[str]:
    """Draw one panel: axis and checkpoints, then the lines, then their names where they end."""
    import numpy

    low = min(0.0, *(float(numpy.nanmin(line.values)) for line in shown))
    high = max(1.0 if panel.share else 1e-9, *(float(numpy.nanmax(line.values)) for line in shown))
    y = _Scale(low, high, top + _HEIGHT, top)
    yield _text(0, top - 14, panel.title, "start", 600)
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] if panel.share and (low, high) == (0, 1) else y.ticks(5):
        yield _stroke(f"M{_LEFT} {y.at(tick):.1f}H{_RIGHT}", GREY, 1, opacity=0.5 if tick == 0 else 0.2)
        yield _text(_LEFT - 8, y.at(tick) + 4, f"{100 * tick:.0f} %" if panel.share else f"{tick:g}", "end")
    for mark in marks:
        yield _stroke(f"M{mark:.1f} {top}v{_HEIGHT}", GREY, 1, dash="2 4", opacity=0.7)
    for line in shown:
        yield from _line(line, x, y)
    ends = [y.at(float(line.values[-1])) for line in shown]
    for line, end, place in zip(shown, ends, _apart(ends, top, top + _HEIGHT), strict=True):
        yield _name(line, x.at(float(line.steps[-1])), end, place, panel.share)


def _line(line: Line, x: _Scale, y: _Scale) -> Iterator[str]:
    series, across, down = line.series, x.all(line.steps), y.all(line.values)
    if series.dense and len(down) >= SMOOTHED_FROM:
        yield _stroke(_path(across, down), series.colour, 1, opacity=0.5)
        yield _stroke(_path(across, y.all(smoothed(line.values))), series.colour, 2)
    else:
        yield _stroke(_path(across, down), series.colour, 1.5 if series.dash else 2, dash=series.dash)
    if series.marker and len(down) <= _MANY:
        yield from (_marker(series, *point) for point in zip(across, down, strict=True))


def _path(across: "Numbers", down: "Numbers") -> str:
    """Join the points, with a gap where one is missing; a point between two gaps becomes a dot."""
    import numpy

    missing = numpy.flatnonzero(numpy.isnan(down))
    pieces = []
    for start, end in zip([0, *(missing + 1)], [*missing, len(down)], strict=True):
        if start < end:
            kept = start + _telling(across[start:end], down[start:end])
            points = [f"{x:.1f} {y:.1f}" for x, y in zip(across[kept], down[kept], strict=True)]
            pieces.append("M" + "L".join(points if len(points) > 1 else points * 2))
    return "".join(pieces)


def _telling(across: "Numbers", down: "Numbers") -> "Places":
    """Choose the points that a screen can show: of each pixel column the ends, the highest and the lowest."""
    import numpy

    if len(down) <= 2 * (_RIGHT - _LEFT):
        return numpy.arange(len(down))
    starts = numpy.flatnonzero(numpy.diff(numpy.floor(across), prepend=-1.0))
    kept = set()
    for start, end in zip(starts, [*starts[1:], len(down)], strict=True):
        column = down[start:end]
        kept |= {start, end - 1, start + column.argmin(), start + column.argmax()}
    return numpy.array(sorted(kept))


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


def _name(line: Line, x: float, y: float, place: float, share: bool) -> str:
    """Write a line's name and last value beside its end, behind a short sample of it."""
    series, start = line.series, _NAMES
    value = f'<tspan font-weight="600">{_number(float(line.values[-1]), share)}</tspan>'
    lead = _stroke(f"M{x + 5:.1f} {y:.1f}L{start - 3} {place:.1f}", series.colour, 1, opacity=0.35)
    sample = _stroke(f"M{start} {place:.1f}h22", series.colour, 2, dash=series.dash)
    marker = _marker(series, start + 11, place) if series.marker else ""
    words = _text(start + 30, place + 4, f"{series.label} ", "start", tail=value)
    return lead + sample + marker + words


def _checkpoint_names(marks: Sequence[float], top: float) -> Iterator[str]:
    free = float(_LEFT)
    for mark in marks:
        if mark - 34 >= free:
            yield _text(mark, top - 6, "checkpoint", "middle", size=11)
            free = mark + 40


def _step_axis(x: _Scale, top: float) -> Iterator[str]:
    for tick in x.ticks(8, smallest=1.0):
        yield _text(x.at(tick), top + 17, f"{tick:,.0f}", "middle")
    yield _text(_NAMES + 30, top + 17, "step", "start")


def _number(value: float, share: bool) -> str:
    return f"{100 * value:.0f} %" if share else f"{value:.3g}"


def _stroke(path: str, colour: str, width: float, *, dash: str = "", opacity: float = 1.0) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    faint = f' opacity="{opacity}"' if opacity < 1 else ""
    return f'<path d="{path}" stroke="{colour}" stroke-width="{width}"{dashes}{faint}/>'


def _marker(series: Series, x: float, y: float) -> str:
    if series.marker == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{series.colour}"/>'
    return f'<path d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z" fill="{series.colour}"/>'


def _text(
    x: float, y: float, words: str, anchor: str, weight: int = 400, size: int = 12, tail: str = ""
) -> str:
    words = "".join(letter for letter in words if letter.isprintable())  # others break the whole picture
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}" '
        f'fill="{GREY}">{escape(words)}{tail}</text>'
    )
