"""Did it get worse elsewhere? A model is not worse when the most it may have lost is less than a margin.

"No significant difference" does not show that nothing was lost: with few items
nothing is ever significant. Here the burden of proof is on the tuned model. The
margin is chosen before anybody looks.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Literal

from workbench.errors import DataError
from workbench.evaluation.comparing.compare import MINIMUM, Comparison, compare
from workbench.evaluation.comparing.verdicts import both_scores, points
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.statistics.intervals import quantile
from workbench.evaluation.statistics.power import POWER
from workbench.project import JSON
from workbench.tables import table

_ONE_SIDED = 0.9  # both ends of a 90 % interval are one-sided 95 % bounds


@dataclass(frozen=True)
class NonInferiority:
    """Whether the tuned model lost no more than a margin."""

    comparison: Comparison
    margin: float
    """The loss that is still acceptable, a share."""

    @cached_property
    def lower(self) -> float:
        """With 95 % confidence the true difference is above this."""
        return self.comparison.judged.difference.interval(_ONE_SIDED).low

    @cached_property
    def upper(self) -> float:
        """With 95 % confidence the true difference is below this."""
        return self.comparison.judged.difference.interval(_ONE_SIDED).high

    @property
    def outcome(self) -> Literal["not worse", "worse", "inconclusive"]:
        """``not worse`` when even the lower bound loses less than the margin."""
        if self.lower > -self.margin:
            return "not worse"
        return "worse" if self.upper <= -self.margin else "inconclusive"

    @property
    def more_items(self) -> int:
        """How many more items would show that it is not worse, if it is as good as it looks; else 0.

        A gain that was seen is not counted on. n = (1.645 + 0.842)^2 variance / (margin + difference)^2.
        Also 0 where the loss seen is beyond the margin, as more items would hardly help.
        """
        found = self.comparison.judged.difference
        room = self.margin + min(found.value, 0.0)
        if self.outcome != "inconclusive" or room <= 0:
            return 0
        # Where nothing varied, take it that the next item is lost.
        variance = found.variance if found.variance > 0 else 1 / found.items
        z = quantile(_ONE_SIDED) + NormalDist().inv_cdf(POWER)
        return max(math.ceil(variance * (z / room) ** 2) - found.items, 1)

    @property
    def verdict(self) -> str:
        """Say it in a sentence or two."""
        found = self.comparison.judged.difference
        margin = f"{100 * self.margin:g} points"
        above = f"with 95 % confidence above {points(self.lower)}"
        numbers = f"{both_scores(found)} ({points(found.value)} points, {above})"
        if self.outcome == "not worse":
            return f"Not worse: {numbers}; a loss of up to {margin} was acceptable."
        if self.outcome == "worse":
            return f"Worse: {numbers}, and below {points(self.upper)}; {margin} were acceptable."
        if not self.more_items:
            return (
                f"Not shown to be no worse: {numbers}, and the loss seen is beyond the {margin} acceptable."
            )
        return (
            f"Not shown to be no worse: {numbers}; {margin} were acceptable. About {self.more_items:,} more "
            "items would show it, if it is as good as it looks (80 % power)."
        )

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as JSON."""
        return {
            "outcome": self.outcome,
            "verdict": self.verdict,
            "items": self.comparison.items,
            "difference": self.comparison.difference,
            "lower": self.lower,
            "upper": self.upper,
            "margin": self.margin,
            "more_items": self.more_items,
        }

    def __repr__(self) -> str:
        """Show the verdict."""
        return f"<NonInferiority: {self.verdict}>"

    def _repr_html_(self) -> str:
        base, tuned = self.comparison.base, self.comparison.tuned
        rows = [
            (f"base: {base.model}", f"{100 * base.score:.1f} %"),
            (f"tuned: {tuned.model}", f"{100 * tuned.score:.1f} %"),
            ("difference", f"{points(self.comparison.difference)} points"),
            ("with 95 % confidence above", f"{points(self.lower)} points"),
            ("acceptable", f"{points(-self.margin)} points"),
        ]
        return table(self.verdict, ("measure", "value"), rows)


def noninferior(base: Evaluation, tuned: Evaluation, *, margin: float = MINIMUM) -> NonInferiority:
    """Ask whether the tuned model lost no more than ``margin`` (a share) on items that both answered.

    For several probe sets that must all be not worse, no correction is needed: each has to pass at 5 %, so
    all together pass by luck even less often (Berger 1982, Technometrics 24:295).

    Raises ``DataError`` as ``compare`` does.
    """
    if not 0 < margin < 1:
        raise DataError(f"margin is {margin:g}; give a share between 0 and 1, such as 0.02 for 2 points.")
    return NonInferiority(compare(base, tuned), margin)
