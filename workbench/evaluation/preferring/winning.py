"""How often one model's answer was preferred, how sure that is, and whether its place decided instead.

Each question counts once, however many rated it. Questions of one cluster (a
document, a conversation) tell less than as many unrelated ones, and the
interval says so.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from workbench.evaluation.statistics.effective import interval_of
from workbench.evaluation.statistics.intervals import Interval
from workbench.evaluation.statistics.paired import sign_test

FAIR_PLACE = (0.45, 0.55)  # the share of picks that fall on the answer shown first, where place does nothing
CERTAIN = 0.05


@dataclass(frozen=True)
class Wins:
    """One value a question: 1 if the tuned answer was preferred, 0 if the base one, 0.5 for neither."""

    values: tuple[float, ...]
    clusters: tuple[str, ...] = ()
    """The cluster of each question; an empty name is a cluster of its own."""

    @property
    def rate(self) -> float:
        """The tuned model's win rate with ties as half a win; nan without a question."""
        return fmean(self.values) if self.values else math.nan

    @property
    def interval(self) -> Interval:
        """Its 95 % interval: Wilson's, for as many questions as these are worth (``effective``)."""
        return interval_of(self.values, self.clusters or ("",) * len(self.values))

    @property
    def decisive(self) -> "Wins":
        """Only the questions that were not tied, each for the side that more preferred."""
        kept = [(float(v > 0.5), c) for v, c in zip(self.values, self._clusters, strict=True) if v != 0.5]
        return Wins(tuple(value for value, _ in kept), tuple(cluster for _, cluster in kept))

    @property
    def for_tuned(self) -> int:
        """Questions on which more preferred the tuned answer."""
        return sum(value > 0.5 for value in self.values)

    @property
    def for_base(self) -> int:
        """Questions on which more preferred the base answer."""
        return sum(value < 0.5 for value in self.values)

    @cached_property
    def p_value(self) -> float:
        """The sign test, exact and two-sided: a vote each for question, or for cluster if there are any."""
        votes: defaultdict[str, float] = defaultdict(float)
        for value, cluster in zip(self.values, self._clusters, strict=True):
            votes[cluster] += value - 0.5
        return sign_test(sum(v > 0 for v in votes.values()), sum(v < 0 for v in votes.values()))

    @property
    def _clusters(self) -> tuple[str, ...]:
        given = self.clusters or ("",) * len(self.values)
        return tuple(cluster or f"question {place}" for place, cluster in enumerate(given))


@dataclass(frozen=True)
class Position:
    """How many picks fell on the answer that was shown first."""

    first: int
    decisive: int
    """All picks of one of the two answers."""
    p_value: float

    @property
    def share(self) -> float:
        """Of the picks, from 0 to 1; nan without a pick. About a half is right."""
        return self.first / self.decisive if self.decisive else math.nan

    @property
    def is_biased(self) -> bool:
        """Outside 0.45 to 0.55 with p below 0.05: then the place has decided, and not the answer alone.

        In judges this bias is systematic, and largest where answers are close (arXiv 2406.07791).
        """
        low, high = FAIR_PLACE
        return bool(self.decisive) and not low <= self.share <= high and self.p_value < CERTAIN

    def __str__(self) -> str:
        """The share with its p."""
        if not self.decisive:
            return "no pick yet"
        told = f"{percent(self.share)}, {p_told(self.p_value)}"
        return f"{self.first} of {self.decisive} picks were shown first ({told})"


def position(firsts: Sequence[bool]) -> Position:
    """Count the picks of what was shown first, where each question was seen in one order drawn by lot."""
    first = sum(firsts)
    return Position(first, len(firsts), sign_test(first, len(firsts) - first))


def percent(share: float) -> str:
    """``63.3 %``."""
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def p_told(p: float) -> str:
    """``p = 0.03``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
