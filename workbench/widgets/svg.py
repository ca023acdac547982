"""Drawing as SVG: strokes, markers and text, axes and scales, and thinning that hides no spike or gap."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Numbers = NDArray[numpy.float64]
    Places = NDArray[numpy.intp]


# Which points of a long curve a screen can show, without hiding a spike or a gap.
#
# A screen has a few hundred columns of pixels, a curve may have millions of points. Of each
# column stay the first, the last, the highest and the lowest point, and the edges of every gap.


def thinned(across: "Numbers", values: "Numbers", columns: int) -> "Places":
    """Choose the places of the points to draw, rising; not finite ``values`` are gaps.

    ``across`` rises. The ends of the whole, of each of ``columns`` equal widths the first, last, highest
    and lowest, and of each gap one point and its two neighbours are kept. Only where there are more gaps
    than columns, so that no screen can show each, one gap a column stands for all of them. At most
    7 points a column and the two ends remain.
    """
    import numpy

    if len(values) <= 2 * columns:
        return numpy.arange(len(values))
    width = (across[-1] - across[0]) or 1.0
    column = numpy.minimum((across - across[0]) / width * columns, columns - 1).astype(numpy.intp)
    known = numpy.isfinite(values)
    kept = numpy.zeros(len(values), dtype=bool)
    kept[[0, -1]] = True
    places = numpy.flatnonzero(known)
    if len(places):
        kept[_telling(values[places], column[places], places)] = True
    gaps = numpy.flatnonzero(~known & numpy.append(True, known[:-1]))
    ends = numpy.flatnonzero(~known & numpy.append(known[1:], True))
    if len(gaps) > columns:
        _, chosen = numpy.unique(column[gaps], return_index=True)
        gaps, ends = gaps[chosen], ends[chosen]
    kept[gaps] = kept[numpy.maximum(gaps - 1, 0)] = kept[numpy.minimum(ends + 1, len(values) - 1)] = True
    return numpy.flatnonzero(kept)


def _telling(values: "Numbers", column: "Places", places: "Places") -> "Places":
    """Of each column the first, the last, the highest and the lowest; the first of equals."""
    import numpy

    starts = numpy.flatnonzero(numpy.diff(column, prepend=-1))
    lengths = numpy.diff(starts, append=len(column))
    chosen = [starts, starts + lengths - 1]
    for extreme in (numpy.minimum, numpy.maximum):
        reached = numpy.flatnonzero(values == numpy.repeat(extreme.reduceat(values, starts), lengths))
        _, first = numpy.unique(column[reached], return_index=True)
        chosen.append(reached[first])
    return places[numpy.concatenate(chosen)]


# The strokes, marks and words that a drawing is made of, as SVG.
#
# Whatever a user wrote is escaped here, and control characters are left out: one of them breaks a
# whole picture. Markers have the names that Plotly gives them.

GREY = "#777777"  # a contrast of 4.5 on white and of 4.2 on JupyterLab's dark page

# Drawn from the middle of the marker; the last three are strokes, the others are filled.
_SHAPES = {
    "diamond": "m0 -5l5 5l-5 5l-5 -5z",
    "square": "m-3.4 -3.4h6.8v6.8h-6.8z",
    "triangle-up": "m0 -4.8l4.5 7.8h-9z",
    "triangle-down": "m0 4.8l4.5 -7.8h-9z",
    "x": "m-3.4 -3.4l6.8 6.8m0 -6.8l-6.8 6.8",
    "cross": "m-4.4 0h8.8m-4.4 -4.4v8.8",
    "star": "m-4.4 0h8.8m-6.6 -3.8l4.4 7.6m0 -7.6l-4.4 7.6",
}
MARKERS = ("circle", *_SHAPES)


def stroke(path: str, colour: str, width: float, *, dash: str = "", opacity: float = 1.0) -> str:
    """Draw a line; ``dash`` as in SVG's ``stroke-dasharray``."""
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    faint = f' opacity="{opacity}"' if opacity < 1 else ""
    return f'<path d="{path}" stroke="{colour}" stroke-width="{width}"{dashes}{faint}/>'


def area(path: str, colour: str, opacity: float) -> str:
    """Fill an outline, so that what lies below shines through."""
    return f'<path d="{path}" fill="{colour}" opacity="{opacity}"/>'


def marker(shape: str, colour: str, x: float, y: float) -> str:
    """Draw a mark about 8 pixels wide."""
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
    path = f"M{x:.1f} {y:.1f}{_SHAPES[shape]}"
    return area(path, colour, 1) if path.endswith("z") else stroke(path, colour, 2)


def large(shape: str, colour: str, x: float, y: float) -> str:
    """Draw a mark about 11 pixels wide."""
    return f'<g transform="translate({x:.1f} {y:.1f}) scale(1.35)">{marker(shape, colour, 0, 0)}</g>'


def text(
    x: float,
    y: float,
    words: str,
    anchor: str = "start",
    *,
    weight: int = 400,
    size: int = 12,
    tail: str = "",
    colour: str = GREY,
) -> str:
    """Write words; ``anchor`` is where in them ``x`` lies: start, middle or end. ``tail`` is SVG already."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}" '
        f'fill="{colour}">{escape(printable(words))}{tail}</text>'
    )


# Colours that are readable on a light page and on a dark one: a contrast of at least 4.5 on #ffffff and on
# #2b2b2b (WCAG 2.2, 1.4.3). Front ends name their themes in different ways; without one the page decides.

_THEMED = {
    GREY: ("text", "#595959", "#b8b8b8"),
    "#0072B2": ("blue", "#0072B2", "#56B4E9"),
    "#D55E00": ("vermillion", "#B84E00", "#FF8A3D"),
    "#009E73": ("green", "#00795A", "#2FC79A"),
    "#CC79A7": ("purple", "#A34A84", "#E29CC4"),
    "#E69F00": ("orange", "#8A6100", "#E6B422"),
    "#56B4E9": ("sky", "#17739F", "#8FD0F5"),
    "#999933": ("olive", "#6B6B00", "#C9C95A"),
}
_LIGHT, _DARK = (
    ";".join(f"--wb-{name}:{shades[place]}" for name, *shades in _THEMED.values()) for place in (0, 1)
)
_STYLE = (
    f"<style>.wb-svg{{{_LIGHT};width:100%;height:auto}}"
    f"[data-jp-theme-light=false] .wb-svg,.vscode-dark .wb-svg{{{_DARK}}}@media screen and "
    f"(prefers-color-scheme:dark){{body:not([data-jp-theme-light],.vscode-light) .wb-svg{{{_DARK}}}}}</style>"
)


def themed(drawing: str, widest: float) -> str:
    """Put a drawing into a page, in the page's theme: as wide as there is room, up to ``widest`` pixels.

    Below 600 pixels it is scrolled and not made smaller, so that its letters stay readable.
    """
    for colour, (name, *_) in _THEMED.items():
        drawing = drawing.replace(f'"{colour}"', f'"var(--wb-{name},{colour})"')
    place = (
        f'<svg class="wb-svg mathjax_ignore" style="min-width:{min(widest, 600):g}px;max-width:{widest:g}px"'
    )
    return f'{_STYLE}<div style="overflow-x:auto">{drawing.replace("<svg", place, 1)}</div>'


def printable(words: str) -> str:
    """Leave out the letters that no SVG may hold."""
    return "".join(letter for letter in words if letter.isprintable())


# A chart on a page: text of 13 units is 12 pixels high where a chart is 600 pixels wide.

WIDTH = 640
WIDEST = 780  # pixels that ``themed`` lets it have
LETTER = 7.0  # units of a letter of 13 units, on average


def picture(height: float, words: str, parts: Iterable[str]) -> str:
    """Frame a chart; ``words`` are for who does not see it."""
    label = escape(printable(words))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" role="img" aria-label="{label}" font-family="system-ui, sans-serif" '
        f'font-size="13" fill="none"><title>{label}</title>{"".join(parts)}</svg>'
    )


class StaticChart:
    """A value that is one drawing: in the page's theme, with HTML above and below it; elsewhere in words."""

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        raise NotImplementedError

    @property
    def above(self) -> str:
        """HTML above the drawing."""
        return ""

    @property
    def below(self) -> str:
        """HTML below the drawing, such as its numbers."""
        return ""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        page = f"{self.above}{themed(self.svg, WIDEST)}{self.below}"
        return {"text/html": page, "image/svg+xml": self.svg, "text/plain": repr(self)}


def titled(words: str, drawn: str) -> str:
    """A piece of a drawing that says more where the pointer rests."""
    return f"<g><title>{escape(printable(words))}</title>{drawn}</g>"


def cut(words: str, width: float) -> str:
    """The words as far as they fit into so many units."""
    most = max(int(width / LETTER), 2)
    return words if len(words) <= most else f"{words[: most - 1]}…"


def polyline(across: "Numbers", down: "Numbers", columns: int) -> str:
    """Join points, thinned to as many columns of pixels; a gap where one is missing.

    A point between two gaps becomes a dot.
    """
    import numpy

    kept = thinned(across, down, columns)
    across, down = across[kept], down[kept]
    missing = numpy.flatnonzero(numpy.isnan(down))
    points = [f"{x:.1f} {y:.1f}" for x, y in zip(across.tolist(), down.tolist(), strict=True)]
    pieces = []
    for start, end in zip([0, *(missing + 1)], [*missing, len(down)], strict=True):
        if start < end:
            piece = points[start:end]
            pieces.append("M" + "L".join(piece if len(piece) > 1 else piece * 2))
    return "".join(pieces)


# Scales: where a number lies on a drawing's axis, in pixels, and which numbers are written beside it.

_FEWEST_TICKS = 3


@dataclass(frozen=True)
class Scale:
    """Where numbers lie on an axis, in pixels: ``low`` at ``start``, ``high`` at ``end``, the rest evenly."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where one number lies."""
        return self.start + (value - self.low) * self.factor

    def all(self, values: "Numbers") -> "Numbers":
        """Where numbers lie; a missing one stays missing."""
        return self.start + (values - self.low) * self.factor

    def ticks(self, most: int, smallest: float = 0.0) -> list[float]:
        """At most ``most`` + 1 round numbers: 1, 2 or 5 times a power of ten apart, ``smallest`` at least."""
        rough = max((self.high - self.low) / most, smallest, 1e-12)
        power = 10.0 ** math.floor(math.log10(rough))
        apart = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / apart - 1e-9), math.floor(self.high / apart + 1e-9)
        return [number * apart for number in range(first, last + 1)]

    @property
    def factor(self) -> float:
        """Pixels for each 1."""
        return (self.end - self.start) / ((self.high - self.low) or 1.0)


@dataclass(frozen=True)
class Logarithmic(Scale):
    """Equal ratios are equally far apart; ``low`` and ``high`` are above 0, and what is not has no place."""

    def at(self, value: float) -> float:
        """Where one number above 0 lies."""
        return self._exponents.at(math.log10(value))

    def all(self, values: "Numbers") -> "Numbers":
        """Where numbers lie; one that has no place becomes a missing one."""
        import numpy

        return self._exponents.all(numpy.log10(numpy.where(values > 0, values, numpy.nan)))

    def ticks(self, most: int, smallest: float = 0.0) -> list[float]:
        """Powers of ten, at most ``most`` + 1 of them; within two decades 2 and 5 times them as well.

        Where those are too few to read the axis by, the round numbers that a linear one has.
        """
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        times = (1, 2, 5) if self.high <= 100 * self.low else (1,)
        every = max(1, math.ceil((last - first) / most))
        powers = [factor * 10.0**power for power in range(first, last + 1, every) for factor in times]
        ticks = [tick for tick in powers if self.low <= tick <= self.high]
        return ticks if len(ticks) >= _FEWEST_TICKS else super().ticks(most, smallest)

    @property
    def _exponents(self) -> Scale:
        return Scale(math.log10(self.low), math.log10(self.high), self.start, self.end)
