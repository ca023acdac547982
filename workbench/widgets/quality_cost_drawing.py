"""Quality against cost as a drawing: an SVG that stands on its own, in a notebook, a page or a README."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

from workbench.evaluation.comparing.pareto import AXES, Candidate, Field
from workbench.widgets.curve_series import BLUE, GREEN, GREY, PURPLE, VERMILLION
from workbench.widgets.pen import MARKERS, marker, printable, stroke, text
from workbench.widgets.scales import Linear, Logarithmic, Scale

_WIDTH, _HEIGHT = 780, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 760, 40, 340  # pixels of the frame
_LETTER, _LINE = 6.6, 15  # pixels of a label's letter and of its line
_WIDE = 20  # times the lowest price; a wider range is drawn logarithmically
_NAME = 34  # letters of a label

LEGEND = "dashed: the frontier · ringed or hollow: dominated"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, "#E69F00", "#56B4E9", GREY, "#999933")

# Where a label may stand beside its marker, by Plotly's names, the best place first: its offset and anchor.
PLACES = {
    "middle left": (-9, 4, "end"),
    "top right": (7, -8, "start"),
    "middle right": (9, 4, "start"),
    "top left": (-7, -8, "end"),
    "bottom right": (7, 17, "start"),
    "bottom left": (-7, 17, "end"),
}


Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True)
class Point:
    """A candidate as it is drawn."""

    candidate: Candidate
    x: float
    y: float
    colour: str
    shape: str
    place: str
    """Where its label stands, one of ``PLACES``."""

    @property
    def label(self) -> str:
        """Its name and score."""
        name = self.candidate.name
        short = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
        return f"{short} {100 * self.candidate.evaluation.score:.1f} %"


def drawn(field: Field) -> str:
    """Draw the candidates with their intervals, and the frontier; its words are in the picture's label."""
    title, told = f"Score against {AXES[field.against]}", " ".join(field.told)
    parts = [text(0, 15, title, weight=600, tail=f'<tspan font-weight="400"> · {LEGEND}</tspan>')]
    if field.placed:
        across, up = scales(field)
        parts += [*_frame(field, across, up), *_frontier(field, across, up)]
        for point in points(field):
            parts += _point(field, point, across, up)
    else:
        parts.append(text(0, 40, "No candidate has a known price."))
    label = f"{escape(printable(title))}. {escape(printable(told))}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" role="img" aria-label="{label}" font-family="system-ui, sans-serif" '
        f'font-size="12" fill="none" stroke-linecap="round" stroke-linejoin="round">'
        f"<title>{escape(title)}</title><desc>{escape(printable(told))}</desc>{''.join(parts)}</svg>"
    )


def is_logarithmic(field: Field) -> bool:
    """Whether prices differ so much that equal ratios should be equally far apart."""
    prices = [candidate.price(field.against) for candidate in field.placed]
    return bool(prices) and min(prices) > 0 and max(prices) > _WIDE * min(prices)


def scales(field: Field) -> tuple[Scale, Linear]:
    """The axes: prices from 0 unless they are logarithmic, and scores no wider than the intervals need."""
    prices = [candidate.price(field.against) for candidate in field.placed]
    intervals = [candidate.evaluation.interval for candidate in field.placed]
    low = max(0.0, min(interval.low for interval in intervals) - 0.02)
    high = min(1.0, max(interval.high for interval in intervals) + 0.02)
    up = Linear(low, max(high, low + 0.05), _BOTTOM, _TOP)
    if is_logarithmic(field):
        return Logarithmic(min(prices) / 1.5, max(prices) * 1.5, _LEFT, _RIGHT), up
    return Linear(0.0, (max(prices) or 1.0) * 1.1, _LEFT, _RIGHT), up


def points(field: Field) -> list[Point]:
    """Each candidate with its looks, and its label where it lies on no other as far as that can be."""
    across, up = scales(field)
    looks = {c.name: (COLOURS[n % 8], MARKERS[n % 8]) for n, c in enumerate(field.candidates)}
    spots = [(across.at(c.price(field.against)), up.at(c.evaluation.score)) for c in field.placed]
    taken = [*_drawn_over(field, across, up), *((x - 6, y - 6, x + 6, y + 6) for x, y in spots)]
    found = []
    for candidate, (x, y) in zip(field.placed, spots, strict=True):
        free = [Point(candidate, x, y, *looks[candidate.name], place) for place in PLACES]
        best = min(free, key=lambda point: _covered(box_of(point), taken))
        taken.append(box_of(best))
        found.append(best)
    return found


def box_of(point: Point) -> Box:
    """The place of its label: left, top, right and bottom, in pixels."""
    right, down, anchor = PLACES[point.place]
    width = _LETTER * len(point.label)
    start = point.x + right - (width if anchor == "end" else 0)
    return start, point.y + down - _LINE + 3, start + width, point.y + down + 3


def _drawn_over(field: Field, across: Scale, up: Linear) -> Iterator[Box]:
    """Where the whiskers and the frontier are, which a label had better not cross."""
    for candidate in field.placed:
        x, interval = across.at(candidate.price(field.against)), candidate.evaluation.interval
        yield x - 2, up.at(interval.high), x + 2, up.at(interval.low)
    below = float(_BOTTOM)
    for x, y, end in _treads(field, across, up):
        yield x - 2, y, x + 2, below
        yield x, y - 2, end, y + 2
        below = y


def _covered(box: Box, taken: Sequence[Box]) -> float:
    """How many square pixels of it lie on something else or outside."""
    left, top, right, bottom = box
    outside = max(0, _LEFT - left) + max(0, right - _RIGHT) + max(0, _TOP - top) + max(0, bottom - _BOTTOM)
    shared = sum(
        max(0.0, min(right, r) - max(left, a)) * max(0.0, min(bottom, d) - max(top, b))
        for a, b, r, d in taken
    )
    return shared + _LINE * outside


def _frame(field: Field, across: Scale, up: Linear) -> Iterator[str]:
    for tick in up.ticks(6):
        yield stroke(f"M{_LEFT} {up.at(tick):.1f}H{_RIGHT}", GREY, 1, opacity=0.2)
        yield text(_LEFT - 8, up.at(tick) + 4, f"{100 * tick:.0f} %", "end")
    yield stroke(f"M{_LEFT} {_BOTTOM}H{_RIGHT}", GREY, 1, opacity=0.5)
    for tick in across.ticks(6):
        sign = "$" if field.against == "cost" else ""
        yield text(across.at(tick), _BOTTOM + 17, f"{sign}{tick:,.6g}", "middle")
    scale = ", logarithmic" if is_logarithmic(field) else ""
    yield text((_LEFT + _RIGHT) / 2, _BOTTOM + 38, f"{AXES[field.against]}{scale}", "middle")


def _frontier(field: Field, across: Scale, up: Linear) -> Iterator[str]:
    """A stair: for a price, the best score that it buys."""
    treads = _treads(field, across, up)
    path = f"M{treads[0][0]:.1f} {_BOTTOM}" + "".join(f"V{y:.1f}H{end:.1f}" for _, y, end in treads)
    yield stroke(path, GREY, 1.5, dash="6 4", opacity=0.8)


def _treads(field: Field, across: Scale, up: Linear) -> list[tuple[float, float, float]]:
    """The stair's level parts: where each begins, how high it is and where it ends."""
    spots = [(across.at(c.price(field.against)), up.at(c.evaluation.score)) for c in field.frontier]
    ends = [x for x, _ in spots[1:]] + [_RIGHT]
    return [(x, y, end) for (x, y), end in zip(spots, ends, strict=True)]


def _point(field: Field, point: Point, across: Scale, up: Linear) -> Iterator[str]:
    low, high = point.candidate.evaluation.interval
    whisker = f"M{point.x:.1f} {up.at(low):.1f}V{up.at(high):.1f}"
    yield stroke(whisker, point.colour, 1.5, opacity=0.7)
    for end in (low, high):
        yield stroke(f"M{point.x - 4:.1f} {up.at(end):.1f}h8", point.colour, 1.5, opacity=0.7)
    yield marker(point.shape, point.colour, point.x, point.y)
    if field.better_than(point.candidate):
        yield f'<circle cx="{point.x:.1f}" cy="{point.y:.1f}" r="8" stroke="{point.colour}"/>'
    right, down, anchor = PLACES[point.place]
    weight = 400 if field.better_than(point.candidate) else 600
    yield text(point.x + right, point.y + down, point.label, anchor, weight=weight)
