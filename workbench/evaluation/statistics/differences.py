"""The difference of two models on the same items, with the test and the interval that fit the data.

| data                         | test                    | interval                     |
| ---------------------------- | ----------------------- | ---------------------------- |
| right or wrong, no clusters  | McNemar's, exact        | Newcombe's method 10         |
| scores, more than 100 items  | signs tossed by item    | BCa bootstrap                |
| scores, up to 100 items      | signs tossed by item    | what that test cannot reject |
| anything in clusters         | signs tossed by cluster | what that test cannot reject |

Chosen by simulation: where clusters differ much in size, or scores change on few items, a 95 % bootstrap
interval holds the truth 77 to 92 times in 100, and what the test cannot reject 92 to 99 times
(``tests/benchmarks/false_better.py`` shows some of it).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

from workbench.errors import DataError
from workbench.evaluation.statistics.bootstrap import Resampled, mean_of, resample
from workbench.evaluation.statistics.clusters import Sums, cluster_sums, standard_error
from workbench.evaluation.statistics.intervals import Interval, newcombe
from workbench.evaluation.statistics.paired import mcnemar
from workbench.evaluation.statistics.permutation import Permutation, permute

_FEW = 100  # items; up to here the bootstrap interval is too short when most items do not change


@dataclass(frozen=True, eq=False)
class Difference:
    """Scores of two models from 0 to 1, item by item, and what tells chance from a difference."""

    base: Sequence[float]
    tuned: Sequence[float]
    labels: Sequence[Hashable]
    """The cluster of each item."""

    @property
    def items(self) -> int:
        """How many items both answered."""
        return len(self.base)

    @cached_property
    def clusters(self) -> int:
        """How many clusters they come from; as many as items where none belong together."""
        return len(set(self.labels))

    @property
    def clustered(self) -> bool:
        """Whether some items belong together."""
        return self.clusters < self.items

    @cached_property
    def right_or_wrong(self) -> bool:
        """Whether every score is 0 or 1."""
        return set(self.base) | set(self.tuned) <= {0, 1}

    @cached_property
    def fixed(self) -> int:
        """Items on which the tuned model scores higher."""
        return sum(tuned > base for base, tuned in zip(self.base, self.tuned, strict=True))

    @cached_property
    def broken(self) -> int:
        """Items on which the tuned model scores lower."""
        return sum(tuned < base for base, tuned in zip(self.base, self.tuned, strict=True))

    @cached_property
    def value(self) -> float:
        """The tuned mean less the base mean, from -1 to 1."""
        return math.fsum(self._differences) / self.items

    @cached_property
    def standard_error(self) -> float:
        """Of the difference, over whole clusters; nan when there is one cluster or item only."""
        return standard_error(self._sums)

    @property
    def variance(self) -> float:
        """Of one item's difference, as if items were independent that together are as uncertain as these."""
        return self.standard_error**2 * self.items

    @cached_property
    def p_value(self) -> float:
        """How often chance alone gives a difference as large as this one, two-sided."""
        return mcnemar(self.broken, self.fixed) if self._by_flips else self._permuted.p_value()

    @property
    def test(self) -> str:
        """The test's name, for a sentence."""
        if self._by_flips:
            return "exact McNemar"
        return "cluster sign-flip test" if self.clustered else "sign-flip test"

    @property
    def testable(self) -> bool:
        """Whether any result could be significant: of five clusters' signs, even all alike are chance."""
        return self._by_flips or self.clusters > 5

    def interval(self, confidence: float = 0.95) -> Interval:
        """Between which values the true difference lies."""
        if self._by_flips:
            both = sum(base == tuned == 1 for base, tuned in zip(self.base, self.tuned, strict=True))
            neither = self.items - both - self.broken - self.fixed
            return newcombe(both, self.broken, self.fixed, neither, confidence=confidence)
        if not self.fixed + self.broken:
            # No item changed at all: so large a share of clusters may change and not have been met
            # (Clopper and Pearson 1934, Biometrika 26:404, for none).
            unseen = 1 - ((1 - confidence) / 2) ** (1 / self.clusters)
            return Interval(-unseen, unseen)
        if self.clustered or self.items <= _FEW:
            return self._permuted.interval(confidence)
        return self._resampled.interval(confidence)

    @property
    def _by_flips(self) -> bool:
        return self.right_or_wrong and not self.clustered

    @cached_property
    def _differences(self) -> list[float]:
        return [tuned - base for base, tuned in zip(self.base, self.tuned, strict=True)]

    @cached_property
    def _sums(self) -> Sums:
        return cluster_sums(self._differences, self.labels)

    @cached_property
    def _permuted(self) -> Permutation:
        return permute(self._sums)

    @cached_property
    def _resampled(self) -> Resampled:
        import numpy as np

        return resample(np.stack(self._sums, axis=1), mean_of)


def difference(
    base: Sequence[float], tuned: Sequence[float], clusters: Sequence[Hashable] | None = None
) -> Difference:
    """Take the scores of two models on the same items, in the same order; ``clusters`` names each item's.

    Raises ``DataError`` for no items, for lists of different lengths and for scores outside 0 to 1.
    """
    labels = range(len(base)) if clusters is None else clusters
    if not base:
        raise DataError("There is no item to compare.")
    if not len(base) == len(tuned) == len(labels):
        raise DataError(
            f"There are {len(base)} base scores, {len(tuned)} tuned ones and {len(labels)} clusters; "
            "give one of each for every item, in the same order."
        )
    wrong = next((score for score in (*base, *tuned) if not 0 <= score <= 1), None)
    if wrong is not None:
        raise DataError(f"{wrong:g} is no score from 0 to 1; divide scores by the largest there can be.")
    return Difference(base, tuned, labels)
