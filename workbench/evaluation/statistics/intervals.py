"""Between which values does the truth lie? Intervals for shares of right answers.

Formulas with their sources. ``paired`` has the tests that go with them, and
``differences`` says which interval fits which data.
"""

import math
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    """An interval, as shares between 0 and 1 (or between -1 and 1 for a difference)."""

    low: float
    high: float

    def __str__(self) -> str:
        """Write it in whole percent: ``84–98``."""
        return f"{100 * self.low:.0f}–{100 * self.high:.0f}"


def wilson(mean: float, n: int, *, confidence: float = 0.95) -> Interval:
    """Between which values does the true score lie, if I saw this mean on ``n`` items?

    Wilson's score interval (Wilson 1927, JASA 22:209). For right-or-wrong items
    it is scipy's ``binomtest(k, n).proportion_ci(method="wilson")``. For scores
    between 0 and 1 it is on the safe side, as no such score varies more than a
    right-or-wrong one of the same mean.
    """
    z = quantile(confidence)
    centre = (mean + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * (mean * (1 - mean) / n + z**2 / (4 * n * n)) ** 0.5 / (1 + z**2 / n)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def newcombe(
    both: int, first_only: int, second_only: int, neither: int, *, confidence: float = 0.95
) -> Interval:
    """Between which values does the second share of right items less the first lie, for the same items?

    Method 10 of Newcombe 1998, "Improved confidence intervals for the
    difference between binomial proportions based on paired data", Statistics in
    Medicine 17:2635-2650. With the Wilson intervals (l1, u1) and (l2, u2) of
    the two shares p1 and p2 of n items:

        low  = d - sqrt((p2-l2)^2 - 2 phi (p2-l2)(u1-p1) + (u1-p1)^2),  d = p2 - p1
        high = d + sqrt((u2-p2)^2 - 2 phi (u2-p2)(p1-l1) + (p1-l1)^2)
        phi  = c / sqrt of the product of the four margins, 0 when a margin is 0
        c    = both x neither - first_only x second_only, and if positive, less n/2 but not below 0
    """
    n = both + first_only + second_only + neither
    first, second = both + first_only, both + second_only
    margins = first * (n - first) * second * (n - second)
    covered = both * neither - first_only * second_only
    corrected = max(covered - n / 2, 0.0) if covered > 0 else covered
    phi = corrected / math.sqrt(margins) if margins else 0.0
    p1, p2 = first / n, second / n
    (l1, u1), (l2, u2) = wilson(p1, n, confidence=confidence), wilson(p2, n, confidence=confidence)
    return Interval(
        p2 - p1 - _joined(p2 - l2, u1 - p1, phi),
        p2 - p1 + _joined(u2 - p2, p1 - l1, phi),
    )


def quantile(confidence: float) -> float:
    """How many standard errors a two-sided interval of a normal value reaches: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _joined(a: float, b: float, phi: float) -> float:
    return math.sqrt(a * a - 2 * phi * a * b + b * b)
