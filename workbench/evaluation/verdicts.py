"""Verdicts: better, better but below what matters, no meaningful difference, inconclusive, or worse.

A difference counts when chance alone would rarely bring it (p at most 0.05, corrected for multiple
comparisons); it matters from a size on that is chosen before. An inconclusive verdict says how many more
items are needed.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist, fmean
from typing import Literal

from workbench.dataset.dataset import counted
from workbench.evaluation.power import LEVEL, POWER, items_needed, items_needed_for_scores
from workbench.evaluation.statistics import Difference, optimism, quantile

Outcome = Literal[
    "better", "better, but below what matters", "no meaningful difference", "inconclusive", "worse"
]


@dataclass(frozen=True)
class Verdict:
    """What a difference comes to, given what matters and how often these items were looked at."""

    difference: Difference
    p_value: float
    """Corrected for all comparisons."""
    minimum: float
    """The smallest difference that matters, a share."""
    comparisons: int = 1
    """Models, checkpoints and prompts that were compared with the base on these items."""

    @cached_property
    def outcome(self) -> Outcome:
        """Better or worse when p is at most 0.05; else equal if the 90 % interval lies within what matters.

        The latter are two one-sided tests at 5 % (Schuirmann 1987, Journal of Pharmacokinetics and
        Biopharmaceutics 15:657): a difference that matters is overlooked at most one time in twenty.
        """
        value = self.difference.value
        if self.p_value <= LEVEL and value:
            if value < 0:
                return "worse"
            return "better" if value >= self.minimum else "better, but below what matters"
        low, high = self.difference.interval(0.9)
        equal = -self.minimum < low and high < self.minimum
        return "no meaningful difference" if equal else "inconclusive"

    @cached_property
    def more_items(self) -> int:
        """How many more items are needed when it is inconclusive, with 80 % power; else 0.

        So many that a difference as large as the one seen would show, but at least one that matters. The
        comparison of all of them is a second one: ``comparisons_made=2``.
        """
        if self.outcome != "inconclusive":
            return 0
        now = self.difference.items
        needed = self._needed(max(abs(self.difference.value), self.minimum))
        if needed <= now:
            needed = self._to_settle()
        if not self.difference.testable:
            needed = max(needed, math.ceil(now * 6 / self.difference.clusters))
        return max(needed - now, 1)

    @property
    def optimism(self) -> float:
        """By how much at most the best of so many equal models scores too high: a share, 0 for one."""
        error = self.difference.standard_error
        return 0.0 if self.comparisons < 2 or math.isnan(error) else optimism(self.comparisons) * error

    def __str__(self) -> str:
        """Say it in a few sentences, the verdict first."""
        fixed, broken = self.difference.fixed, self.difference.broken
        changed = (
            f"It fixed {fixed:,} and broke {broken:,}."
            if self.difference.right_or_wrong
            else f"{fixed:,} items scored higher and {broken:,} lower."
        )
        subject = "The tuned model is " if self.outcome.startswith(("better", "worse")) else ""
        said = f"{subject}{self.outcome}: {self._numbers}. {changed} {self._why}".strip()
        return said[0].upper() + said[1:]

    @property
    def _numbers(self) -> str:
        found = self.difference
        low, high = found.interval()
        clusters = f", {counted(found.clusters, 'cluster')}" if found.clustered else ""
        corrected = (
            f" after Holm's correction for {self.comparisons} comparisons" if self.comparisons > 1 else ""
        )
        return (
            f"{both_scores(found)} ({points(found.value)} points, "
            f"95 % interval {points(low)} to {points(high)}{clusters}, "
            f"{found.test} {shown_p(self.p_value)}{corrected})"
        )

    @property
    def _why(self) -> str:
        """What the verdict rests on, where the numbers alone do not say it."""
        least = f"{100 * self.minimum:g} points"
        if self.outcome == "better":
            luck = f"up to {100 * self.optimism:.1f} of these points are luck"
            return (
                f"If it was picked as the best of {self.comparisons}, {luck}." if self.comparisons > 1 else ""
            )
        if self.outcome == "better, but below what matters":
            return f"A gain matters from {least} on."
        if self.outcome == "no meaningful difference":
            low, high = self.difference.interval(0.9)
            return (
                f"The true difference is smaller than the {least} that matter "
                f"(90 % interval {points(low)} to {points(high)})."
            )
        if self.outcome == "inconclusive":
            return f"{self._stricter} {self._more(least)}".strip()
        return f"The loss is below the {least} that matter." if -self.difference.value < self.minimum else ""

    @property
    def _stricter(self) -> str:
        """Why nothing was found though the interval excludes 0: few changed items, or several comparisons."""
        low, high = self.difference.interval()
        excluded = low > 0 or high < 0
        return "The interval alone excludes 0; the test, which is stricter, decides." if excluded else ""

    def _more(self, least: str) -> str:
        found = self.difference
        more = counted(self.more_items, "more item")
        if not found.testable and not found.clustered:
            return f"Fewer than 6 items prove nothing: add {more}."
        if not found.testable:
            clusters = "one cluster" if found.clusters == 1 else f"{found.clusters} clusters"
            return f"All items are from {clusters}, and fewer than 6 prove nothing: add {more} from others."
        others = " from other clusters" if found.clustered else ""
        if self._needed(max(abs(found.value), self.minimum)) <= found.items:
            return (
                f"If the difference is truly this large, about {more}{others} would settle it (80 % power)."
            )
        if abs(found.value) >= self.minimum:
            return f"If the difference is truly this large, about {more}{others} would show it (80 % power)."
        return f"About {more}{others} would show {least}, the least that matters (80 % power)."

    def _needed(self, size: float) -> int:
        """Items that show a difference of this size, if they vary and come in clusters as these do."""
        found, level = self.difference, LEVEL / self.comparisons
        if found.right_or_wrong and not found.clustered:
            return items_needed(size, (found.fixed + found.broken) / found.items, level=level)
        if not found.variance > 0:  # nothing varied, or there is one cluster: as if no item ever changed
            return items_needed(size, 0.0, level=level)
        return items_needed_for_scores(size, found.variance, level=level)

    def _to_settle(self) -> int:
        """Items that show either a difference as large as the one seen or that it does not matter."""
        seen = abs(self.difference.value)
        either = []
        if seen:
            either.append(self._needed(seen))
        if seen < self.minimum:
            z = quantile(0.9) + NormalDist().inv_cdf(POWER)
            either.append(math.ceil(self.difference.variance * (z / (self.minimum - seen)) ** 2))
        return min(either)


def both_scores(found: Difference) -> str:
    """Both scores in a few words: items right, or mean scores in percent."""
    if found.right_or_wrong:
        return f"{sum(found.tuned):,.0f} of {found.items:,} items right against {sum(found.base):,.0f}"
    tuned, base = 100 * fmean(found.tuned), 100 * fmean(found.base)
    return f"a mean score of {tuned:.1f} % against {base:.1f} % on {found.items:,} items"


def points(share: float) -> str:
    """``+12.0`` for 0.12."""
    return f"{100 * share:+.1f}".replace("-", "−")


def shown_p(value: float) -> str:
    """``p = 0.12``, or ``p < 0.001``."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
