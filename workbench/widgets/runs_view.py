"""The curves of several runs laid over each other, on one axis.

Runs differ in colour, dashes and markers, so they can be told apart without colours; the same
numbers are there as a table. Runs with batches of different sizes compare by epochs or tokens.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.dataset.dataset import counted
from workbench.errors import DataError
from workbench.training.curve import axes_of
from workbench.widgets.curve_chart import (
    BLUE,
    GREEN,
    PURPLE,
    STEPS,
    VERMILLION,
    Line,
    Look,
    Panel,
    Picture,
    Scaling,
    Series,
    drawn,
    lines,
)
from workbench.widgets.curve_figure import Numbers, figure, numbers
from workbench.widgets.curve_view import PLOTLY
from workbench.widgets.svg import GREY

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from workbench.training.curve import Axis, Curve

# A colour, a dash and a marker for each; more of them nobody could tell apart.
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


@dataclass(frozen=True, repr=False)
class Overlay:
    """Several curves as a notebook shows them: interactive where that works, else drawn, else told."""

    curves: "Mapping[str, Curve]"
    look: Look = STEPS
    left_out: int = 0
    """Older curves that are not drawn."""

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        return drawn(_picture(self))

    @property
    def figure(self) -> "go.Figure":
        """The interactive figure, to change as you like."""
        return figure(_picture(self))

    @property
    def table(self) -> Numbers:
        """What the lines show, as a table: for those who do not see them."""
        return numbers(_picture(self))

    def __repr__(self) -> str:
        """The table's lines."""
        return repr(self.table)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        drawing = {"image/svg+xml": self.svg, "text/plain": repr(self)}
        return {**drawing, PLOTLY: json.loads(self.figure.to_json())}


def overlay(curves: "Mapping[str, Curve]", axis: "Axis" = "step", *, scale: Scaling = "linear") -> Overlay:
    """Lay curves over each other; their names are those of the runs, as ``runs(project, client).curves`` has.

    ``axis``: ``step``, ``epoch`` or ``tokens``. ``scale``: of losses, ``linear`` or ``log``. Nobody can
    tell more than 8 apart, so of more the last are drawn. Raises ``DataError`` when there is none, or when
    one does not tell the axis.
    """
    if not curves:
        raise DataError("There is no curve to draw; give those of runs(project, client).curves.")
    look, drawn_ones = Look(axis, scale), dict([*curves.items()][-MOST:])
    silent = [name for name, curve in drawn_ones.items() if axis not in axes_of(curve)]
    if silent:
        raise DataError(
            f"{silent[0]} tells no {axis.removesuffix('s')}s; draw all along 'step', or leave it out."
        )
    return Overlay(drawn_ones, look, len(curves) - len(drawn_ones))


def _picture(shown: Overlay) -> Picture:
    panels: list[tuple[Panel, tuple[Line, ...]]] = []
    for column, panel, dense in _MEASURES:
        if column == "valid_loss" and any(panel.title == "Validation loss" for panel, _ in panels):
            continue  # one batch is noisy; the whole file says it better
        found = tuple(
            line
            for (name, curve), (colour, dash, marker) in zip(shown.curves.items(), _LOOKS, strict=False)
            for line in _line(
                curve, panel, Series(column, name, colour, dash, marker, dense), shown.look.axis
            )
        )
        if found:
            panels.append((panel, found))
    heading = f"{counted(len(shown.curves), 'run')} by {shown.look.axis}"
    heading += f", {shown.left_out} older ones left out" if shown.left_out else ""
    told = " ".join(_told(panel, found) for panel, found in panels) or "Nothing has been measured yet."
    end = max((float(line.x[-1]) for _, found in panels for line in found), default=0.0)
    return Picture(heading, told, tuple(panels), shown.look.axis, shown.look.scaling, end)


def _line(curve: "Curve", panel: Panel, series: Series, axis: "Axis") -> list[Line]:
    return lines(curve, Panel(panel.title, (series,), panel.share), axis)


def _told(panel: Panel, found: Sequence[Line]) -> str:
    """Which run ends lowest and which highest; all numbers are in the table."""
    low, *_, high = sorted((float(line.values[-1]), line.series.label) for line in (*found, found[0]))
    if len(found) == 1:
        return f"{panel.title}: {low[1]} ends at {low[0]:.4g}."
    return f"{panel.title}: lowest at its end is {low[1]} ({low[0]:.4g}), highest {high[1]} ({high[0]:.4g})."
