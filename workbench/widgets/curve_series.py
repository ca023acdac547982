"""What a curve's picture shows: its series, how each of them looks, and the numbers it is drawn from.

The drawing and the interactive figure both read this table. Colours are Okabe
and Ito's, with dashes and markers beside them, so nothing is told by colour alone.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from workbench.training.curve import Curve

    Numbers = NDArray[numpy.float64]
    Places = NDArray[numpy.intp]

GREY = "#777777"  # a contrast of 4.5 on white and of 4.2 on JupyterLab's dark page
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"


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
    marker: str = ""  # "circle" or "diamond"
    dense: bool = False


@dataclass(frozen=True)
class Panel:
    """The series that share an axis."""

    title: str
    series: tuple[Series, ...]
    share: bool = False  # of a whole: the axis runs from 0 to 100 %


PANELS = (
    Panel(
        "Loss",
        (
            Series("train_loss", "training", BLUE, dense=True),
            Series("valid_loss", "validation batch", VERMILLION, dash="5 4"),
            Series("full_valid_loss", "validation", VERMILLION, marker="circle"),
        ),
    ),
    Panel(
        "Share that is right",
        (
            Series("train_mean_token_accuracy", "training tokens", BLUE, dense=True),
            Series("valid_mean_token_accuracy", "validation batch tokens", VERMILLION, dash="5 4"),
            Series("full_valid_mean_token_accuracy", "validation tokens", VERMILLION, marker="circle"),
            Series("full_valid_mean_reward", "held-out answers", GREEN, marker="diamond"),
        ),
        share=True,
    ),
)

SMOOTHED_FROM = 10  # points; fewer of them are drawn as they are


@dataclass(frozen=True)
class Line:
    """A series with its steps and values; what is not finite has become a missing value."""

    series: Series
    steps: "Numbers"
    values: "Numbers"


def lines(curve: "Curve", panel: Panel) -> list[Line]:
    """Find the series of a panel that have values, without what is missing at either end."""
    import numpy

    found = []
    steps = curve.frame.index.to_numpy(dtype=float)
    for series in panel.series:
        if series.column not in curve.frame:
            continue
        values = curve.frame[series.column].to_numpy(dtype=float)
        values = numpy.where(numpy.isfinite(values), values, numpy.nan)
        known = numpy.flatnonzero(~numpy.isnan(values))
        if len(known):
            kept = numpy.arange(known[0], known[-1] + 1) if series.dense else known
            found.append(Line(series, steps[kept], values[kept]))
    return found


def smoothed(values: "Numbers") -> "Numbers":
    """Average the noise away: the mean of the 5 steps around each, or of 2 % of all steps if that is more.

    A centred mean, because a trailing one draws a falling loss too high; a gap stays a gap.
    """
    import pandas

    series = pandas.Series(values)
    window = max(5, len(series) // 50)
    mean = series.rolling(window, center=True, min_periods=1).mean()
    return mean.where(series.notna()).to_numpy(dtype=float)


def checkpoints(curve: "Curve") -> list[float]:
    """Steps at which the whole validation file was measured: the ends of epochs, where checkpoints are kept.

    Some services measure it at every logged step; that marks nothing.
    """
    steps = [float(step) for step in curve.measured("full_valid_loss").index]
    return steps if 2 * len(steps) <= len(curve.frame) else []
