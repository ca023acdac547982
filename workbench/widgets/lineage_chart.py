"""The lineage of tuned models as a drawing: a box for each training, from the base models to the right.

Each box has the method, the data, and the score with its interval; what the record says against a model is
marked with a cross or a question mark and written below. A static SVG, so it is there headless as well.
"""

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from workbench.catalog.models import is_tuned
from workbench.display import folded
from workbench.training.lineage import Lineage, LineageStep, lineage
from workbench.widgets.curve_chart import BLUE, GREEN, PURPLE, VERMILLION
from workbench.widgets.svg import GREY, Scale, marker, printable, stroke, text, themed

if TYPE_CHECKING:
    from openai import OpenAI

    from workbench.project import Project

_WIDTH, _HEIGHT, _ACROSS, _DOWN = 182, 88, 38, 18  # of a box, and between two of them, in pixels
_LETTERS = 22  # of a model's name
_COLOURS = {"sft": BLUE, "dpo": PURPLE, "rft": GREEN}
_Place = tuple[float, float]


@dataclass(frozen=True, repr=False)
class LineageChart:
    """A lineage that is drawn: the SVG and its table in a notebook, the lines of the tree as text."""

    lineage: Lineage

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        parts, row, widest = list[str](), 0, 0
        for base in self.lineage.bases:
            places = {"": _place(0, row)}  # by the model that was made; a base model's is empty
            parts.append(_base(base, places[""]))
            last: dict[int, str] = {0: ""}
            first_of = set[str]()
            for step in self.lineage.of_base(base):
                parent = last[step.depth - 1]
                row += parent in first_of  # the first child stands beside its parent, the others below
                first_of.add(parent)
                place = places[step.model] = _place(step.depth, row)
                parts += [_arrow(places[parent], place), _box(step, place)]
                last[step.depth] = step.model
                widest = max(widest, step.depth)
            row += 1
        width, height = _place(widest, 0)[0] + _WIDTH + 2, max(row, 1) * (_HEIGHT + _DOWN)
        label = escape(printable(f"Lineage of the models of {self.lineage.project}"))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" width="{width:g}" '
            f'height="{height}" role="img" aria-label="{label}" font-family="system-ui, sans-serif" '
            f'font-size="12" fill="none"><title>{label}</title>'
            f"{''.join(parts)}</svg>"
        )

    def __repr__(self) -> str:
        """The tree, a training a line."""
        return repr(self.lineage)

    def _repr_html_(self) -> str:
        depth = max((step.depth for step in self.lineage.steps), default=0)
        drawing = themed(self.svg, _place(depth, 0)[0] + _WIDTH + 2) if self.lineage.bases else ""
        against = "".join(
            f"<li>{'✗' if each.grave else '?'} {escape(step.model)} {escape(each.why)}</li>"
            for step in self.lineage.steps
            for each in step.drawbacks
        )
        as_table = folded("The same as a table", self.lineage._repr_html_())
        return f"{drawing}<ul>{against}</ul>{as_table}" if against else drawing + as_table


def lineage_chart(
    project: "Project", client: "OpenAI | None" = None, *, model: str | None = None
) -> LineageChart:
    """Draw which model was made from which: all trainings of the project, or those behind ``model``."""
    return LineageChart(lineage(project, client, model=model))


def stages(project: "Project", client: "OpenAI | None", model: str) -> str:
    """By which methods a model was trained, to name it in a chart: ``SFT + DPO``; empty for a base model."""
    behind = lineage(project, client, model=model).steps if is_tuned(model) else ()
    return " + ".join(step.method.upper() or "made elsewhere" for step in behind)


def _place(depth: int, row: int) -> _Place:
    return 1.0 + depth * (_WIDTH + _ACROSS), 1.0 + row * (_HEIGHT + _DOWN)


def _outline(place: _Place, colour: str, dash: str = "", width: float = 1.5) -> str:
    x, y = place
    return stroke(f"M{x:g} {y:g}h{_WIDTH}v{_HEIGHT}h-{_WIDTH}z", colour, width, dash=dash)


def _base(name: str, place: _Place) -> str:
    x, y = place
    words = text(x + 10, y + 20, "base model", weight=600) + text(x + 10, y + 38, _short(name))
    return f"<g><title>{escape(printable(name))}</title>{_outline(place, GREY)}{words}</g>"


def _arrow(start: _Place, end: _Place) -> str:
    """From the right of one box to the left of another, with a head."""
    x, y, to_x, to_y = start[0] + _WIDTH, start[1] + _HEIGHT / 2, end[0], end[1] + _HEIGHT / 2
    line = stroke(f"M{x:g} {y:g}h{_ACROSS / 2:g}V{to_y:g}H{to_x - 1:g}", GREY, 1.5)
    return line + stroke(f"M{to_x - 7:g} {to_y - 4:g}l6 4l-6 4", GREY, 1.5)


def _box(step: LineageStep, place: _Place) -> str:
    x, y = place
    colour = _COLOURS.get(step.method, GREY)
    data = f'<tspan font-weight="400"> {escape(step.data)}</tspan>'
    parts = [_outline(place, colour, "" if step.job_id else "4 3", 2 if step.job_id else 1.5)]
    parts.append(text(x + 10, y + 20, step.method.upper() or "made elsewhere", weight=600, tail=data))
    parts.append(text(x + 10, y + 37, _short(step.model)))
    parts += _scored(step, x, y)
    if step.drawbacks:
        grave = step.drawbacks[0].grave
        parts.append(marker("x", VERMILLION, x + _WIDTH - 14, y + 15) if grave else "")
        parts.append("" if grave else text(x + _WIDTH - 10, y + 20, "?", "end", weight=600))
    words = "; ".join((step.model, *map(str, step.scores), *(each.why for each in step.drawbacks)))
    return f"<g><title>{escape(printable(words))}</title>{''.join(parts)}</g>"


def _scored(step: LineageStep, x: float, y: float) -> list[str]:
    """The score in words, and as a dot with its interval on a line from 0 to 100 %."""
    score = next((each for each in reversed(step.scores) if each.model == step.model), None)
    score = score or next(reversed(step.scores), None)
    if score is None:
        return [text(x + 10, y + 58, "not tested")]
    share, down = Scale(0.0, 1.0, x + 10, x + _WIDTH - 10), y + _HEIGHT - 14
    return [
        text(x + 10, y + 58, f"{score} of {score.items}"),
        stroke(f"M{share.start:g} {down:g}H{share.end:g}", GREY, 1, opacity=0.5),
        stroke(f"M{share.at(score.low):.1f} {down:g}H{share.at(score.high):.1f}", BLUE, 3),
        marker("circle", BLUE, share.at(score.score), down),
    ]


def _short(name: str) -> str:
    """A model's name as it fits into a box: of a tuned one what comes after its base."""
    tail = name.partition(".ft-")[2]
    shown = f"ft-{tail}" if tail else name
    return shown if len(shown) <= _LETTERS else f"{shown[: _LETTERS - 12]}…{shown[-11:]}"
