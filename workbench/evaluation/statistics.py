"""Statistics of graded items: intervals, bootstrap, clusters, paired tests, multiple comparisons.

Formulas stand with their sources. ``Difference`` chooses the test and the interval that fit the data; how
many items a difference needs is in ``decide.power``.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, NamedTuple

from workbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Interval(NamedTuple):
    """An interval, as shares between 0 and 1 (or between -1 and 1 for a difference)."""

    low: float
    high: float

    def __str__(self) -> str:
        """Write it in whole percent: ``84–98``."""
        return f"{100 * self.low:.0f}–{100 * self.high:.0f}"


def p_in_words(value: float) -> str:
    """``p = 0.12``, or ``p < 0.001``."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


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


# Cluster bootstrap, ten thousand draws, for everything that follows from sums over clusters (a mean is one
# sum divided by another): a draw is a row of counts, and all draws are a few matrix products.

if TYPE_CHECKING:
    Floats = NDArray[np.float64]

RESAMPLES = 10_000
_AT_ONCE = 200_000  # drawn clusters at a time: their counts stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Resampled:
    """A statistic, as it was and as it might have been."""

    value: float
    drawn: "Floats"
    """Of each resample."""
    left_out: "Floats"
    """Without each cluster in turn."""

    def interval(self, confidence: float = 0.95) -> Interval:
        """The bias-corrected and accelerated (BCa) interval; a point when all resamples agree.

        Efron 1987, JASA 82:171, with ties counted half and the jackknife over clusters for the acceleration:
        scipy's ``bootstrap(..., method="BCa")``. It is too short for few clusters; see ``differences``.
        """
        import numpy as np
        from scipy.special import ndtr, ndtri

        drawn = self.drawn[np.isfinite(self.drawn)]
        if not len(drawn) or np.ptp(drawn) == 0:
            return Interval(self.value, self.value)
        below = (np.mean(drawn < self.value) + np.mean(drawn <= self.value)) / 2
        bias = ndtri(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
        left_out = self.left_out[np.isfinite(self.left_out)]
        away = left_out.mean() - left_out if len(left_out) else left_out
        spread = float((away**2).sum())
        acceleration = float((away**3).sum()) / (6 * spread**1.5) if spread else 0.0
        limits = bias + ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
        low, high = np.quantile(drawn, ndtr(bias + limits / (1 - acceleration * limits)))
        return Interval(float(low), float(high))


def resample(
    rows: "Floats",
    statistic: "Callable[[Floats], Floats]",
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Resampled:
    """Draw as many clusters as there are, with replacement, again and again.

    ``rows`` has a row of sums for each cluster; ``statistic`` takes many rows of such sums, each added up
    over the clusters of one draw, and gives a value for each.
    """
    import numpy as np

    clusters = len(rows)
    random = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // clusters)
    drawn = []
    for start in range(0, resamples, at_once):
        draws = min(at_once, resamples - start)
        picked = random.integers(0, clusters, size=(draws, clusters))
        picked += np.arange(draws)[:, None] * clusters
        counts = np.bincount(picked.ravel(), minlength=draws * clusters).reshape(draws, clusters)
        drawn.append(statistic(counts @ rows))
    whole = rows.sum(axis=0, keepdims=True)
    # Left out in blocks too: the rows of a table may be wide.
    left_out = [statistic(whole - rows[place : place + at_once]) for place in range(0, clusters, at_once)]
    return Resampled(float(statistic(whole)[0]), np.concatenate(drawn), np.concatenate(left_out))


def mean_of(sums: "Floats") -> "Floats":
    """The mean over items: the first column, a sum of values, by the second, a number of items."""
    return sums[:, 0] / sums[:, 1]


# Clusters: items of one document, conversation or template succeed and fail together, so fifty questions
# about ten documents are nearer to ten observations than to fifty.


class Sums(NamedTuple):
    """Of each cluster, in the order of their first items."""

    totals: "Floats"
    """The sum of its items' values."""
    sizes: "Floats"
    """How many items it has."""


def cluster_sums(values: Sequence[float], clusters: Sequence[Hashable]) -> Sums:
    """Add up the values of each cluster; ``clusters`` names the one of each value."""
    import numpy as np

    numbers: dict[Hashable, int] = {}
    places = [numbers.setdefault(cluster, len(numbers)) for cluster in clusters]
    sizes = np.bincount(places, minlength=len(numbers)).astype(float)
    totals = np.bincount(places, weights=values, minlength=len(numbers)).astype(float)
    return Sums(totals, sizes)


def standard_error(sums: Sums) -> float:
    """How far the mean over all items may be off, one standard deviation; nan for a single cluster.

    sqrt(G/(G-1) x sum over G clusters of (sum of its deviations from the mean)^2) / n: Miller 2024, "Adding
    Error Bars to Evals", arXiv:2411.00640, equation 4, with the correction for few clusters that
    statsmodels has (``OLS(...).fit(cov_type="cluster")``). With clusters of one item it is the
    usual standard error.
    """
    import numpy as np

    clusters, items = len(sums.sizes), float(sums.sizes.sum())
    if clusters < 2:
        return float("nan")
    deviations = sums.totals - sums.sizes * (sums.totals.sum() / items)
    return float(np.sqrt(clusters / (clusters - 1) * (deviations**2).sum()) / items)


# Exact paired tests for right or wrong, for independent items. Only items that one of the two had right and
# the other wrong count: ``first_only`` are those that only the first had right.


def sign_test(wins: int, losses: int) -> float:
    """How often would a fair coin split this unevenly? Exact and two-sided; ties are left out before.

    The binomial test against one half; without a win or a loss there is nothing to explain, and p is 1.
    """
    from scipy.special import bdtr  # not scipy.stats: it takes a second to load

    return min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))


def mcnemar(first_only: int, second_only: int) -> float:
    """How often would chance alone split the changed items this unevenly? Exact and two-sided.

    McNemar's exact test (McNemar 1947, Psychometrika 12:153) is the sign test of the changed items.
    """
    return sign_test(second_only, first_only)


def superiority(first_only: int, second_only: int) -> float:
    """How probable is it that a changed item is rather for the second model than for the first?

    Bayes' companion of McNemar's test: P(share > 1/2) when their share for the second model has
    Jeffreys' prior, so P(Beta(second_only + 1/2, first_only + 1/2) > 1/2).
    """
    from scipy.special import betainc

    return float(betainc(first_only + 0.5, second_only + 0.5, 0.5))


# The sign-flip permutation test, for clusters, scores and few items: how often do random signs of the
# clusters' summed differences give a mean as far from zero? Exact whatever the scores and the clusters'
# sizes, as long as swapping the models in a cluster changes nothing. In simulations with 10 to 50 clusters of
# very different sizes it keeps its 5 % where clustered z and t tests reach 10 to 30
# (``tests/benchmarks/false_better.py``). Its limit: a model that gains a little on most clusters and loses
# all of it on few, large ones; when those happen to be missing no test can know, and this one errs up to 9
# times in 100.


ENUMERATED = 20  # clusters, or items where there are none: up to here every pattern of signs is tried
TOSSES = 10_000
_PERMUTATIONS_AT_ONCE = 2_500_000  # signs in memory at a time: 20 MB


@dataclass(frozen=True, eq=False)
class Permutation:
    """The sums of differences and of items under each pattern of signs; the first is what was seen."""

    totals: "Floats"
    sizes: "Floats"

    def p_value(self) -> float:
        """The share of patterns whose mean is at least as far from zero as the one seen, two-sided.

        Of drawn patterns the one seen is one, so it is never 0 (Phipson and Smyth 2010,
        Statistical Applications in Genetics and Molecular Biology 9:39).
        """
        import numpy as np

        rounding = 1e-9 * max(1.0, float(np.abs(self.totals).max()))
        return float(np.mean(np.abs(self.totals) >= abs(self.totals[0]) - rounding))

    def interval(self, confidence: float = 0.95) -> Interval:
        """All differences that the test would not reject: it excludes 0 just where p is below 1 - confidence.

        A pattern speaks for a difference that lies between the mean of the clusters it turned and the mean
        of those it left, so the limits are order statistics of these means and nothing has to be searched.
        With few clusters no difference can be rejected, and the interval is all of -1 to 1.
        """
        import numpy as np

        total, size = self.totals[0], self.sizes[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            left = (total + self.totals) / (size + self.sizes)
            turned = (total - self.totals) / (size - self.sizes)
        # Nothing turned, or everything: no difference is too far for this pattern.
        all_or_none = np.abs(self.sizes) == size
        low = np.where(all_or_none, -np.inf, np.fmin(left, turned))
        high = np.where(all_or_none, np.inf, np.fmax(left, turned))
        place = int((1 - confidence) * len(low) + 1e-9)
        lowest = float(np.partition(low, place)[place])
        highest = -float(np.partition(-high, place)[place])
        return Interval(max(-1.0, lowest), min(1.0, highest))


def permute(sums: Sums, *, seed: int = 0) -> Permutation:
    """Toss the sign of each cluster: all patterns for up to 20 clusters, 10,000 drawn ones above."""
    import numpy as np

    signed = np.stack(sums, axis=1)
    if len(signed) <= ENUMERATED:
        patterns = signed[:1]  # a pattern and its opposite tell the same, so the first sign stays
        for cluster in signed[1:]:
            patterns = np.concatenate([patterns + cluster, patterns - cluster])
        return Permutation(patterns[:, 0].copy(), patterns[:, 1].copy())
    random = np.random.default_rng(seed)
    whole = signed.sum(axis=0)
    drawn = [whole[None]]
    at_once, width = max(1, _PERMUTATIONS_AT_ONCE // len(signed)), -(-len(signed) // 8)
    for start in range(0, TOSSES, at_once):
        rows = min(at_once, TOSSES - start)
        packed = np.frombuffer(random.bytes(rows * width), dtype=np.uint8).reshape(rows, width)
        kept = np.unpackbits(packed, axis=1, count=len(signed)).astype(float)
        drawn.append(2 * (kept @ signed) - whole)
    patterns = np.concatenate(drawn)
    return Permutation(patterns[:, 0].copy(), patterns[:, 1].copy())


# The difference of two models on the same items, with the test and the interval that fit the data.
#
# | data                         | test                    | interval                     |
# | ---------------------------- | ----------------------- | ---------------------------- |
# | right or wrong, no clusters  | McNemar's, exact        | Newcombe's method 10         |
# | scores, more than 100 items  | signs tossed by item    | BCa bootstrap                |
# | scores, up to 100 items      | signs tossed by item    | what that test cannot reject |
# | anything in clusters         | signs tossed by cluster | what that test cannot reject |
#
# Chosen by simulation: where clusters differ much in size, or scores change on few items, a 95 % bootstrap
# interval holds the truth 77 to 92 times in 100, and what the test cannot reject 92 to 99 times
# (``tests/benchmarks/false_better.py`` shows some of it).

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


# Effective sample size: the interval of clustered scores is Wilson's for as many independent items as would
# be as uncertain.


def interval_of(scores: Sequence[float], clusters: Sequence[str]) -> Interval:
    """Between which values does the true mean lie? 95 %; ``nan`` to ``nan`` without a score.

    Items with the same cluster may be alike; one with an empty cluster stands for itself. For independent
    right-or-wrong items this is Wilson's interval.
    """
    if not scores:
        return Interval(math.nan, math.nan)
    return wilson(fmean(scores), effective_items(scores, clusters))


def effective_items(scores: Sequence[float], clusters: Sequence[str]) -> int:
    """The number of independent right-or-wrong items whose mean would be as uncertain as this one.

    n = p(1 - p) / SE^2 x (1.96 / t)^2, rounded down, for the mean p, its clustered standard error and the t
    of 97.5 % with a degree of freedom less than there are clusters: Korn and Graubard 1998, "Confidence
    intervals for proportions with small expected number of positive counts estimated from survey data",
    Survey Methodology 24:193-201. As they advise, right-or-wrong items are never worth more than their
    number. Other scores, which vary less, may be; but one wholly wrong and one wholly right item more are
    reckoned with, as rare failures do not show in a few scores.

    Never fewer than if all items of a cluster were one: (sum of sizes)^2 / sum of squared sizes (Kish 1965).
    """
    items, decided = len(scores), all(score in (0, 1) for score in scores)
    sums = cluster_sums(scores, [cluster or place for place, cluster in enumerate(clusters)])
    sizes, groups = sums.sizes, len(sums.sizes)
    least = int(items**2 / float((sizes**2).sum()))
    if groups == 1 or (decided and groups == items):
        return least
    from scipy.special import stdtrit

    mean, variance = fmean(scores), standard_error(sums) ** 2
    if not decided:
        variance += (mean**2 + (1 - mean) ** 2) / groups**2
    if not variance:
        return least
    worth = mean * (1 - mean) / variance * (quantile(0.95) / float(stdtrit(groups - 1, 0.975))) ** 2
    return max(least, int(min(worth, items) if decided else worth))


# Multiple comparisons on the same items.
#
# Six checkpoints that are equally good have six scores, and the highest of them
# looks like a gain. Holm's correction keeps the chance of calling any of them
# better by luck at 5 %; optimism says how much too high the best one's score is.


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Correct p-values for there being several, in the order given.

    Holm 1979, Scandinavian Journal of Statistics 6:65; statsmodels' ``multipletests(p, method="holm")``.
    """
    comparisons = len(p_values)
    corrected = [0.0] * comparisons
    highest = 0.0
    for rank, place in enumerate(sorted(range(comparisons), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (comparisons - rank) * p_values[place]))
        corrected[place] = highest
    return tuple(corrected)


def optimism(comparisons: int) -> float:
    """How many standard errors the best of so many equally good models scores too high.

    The expected largest of ``comparisons`` independent standard normal values: 0.56 for 2, 1.16 for 5, 1.87
    for 20. It is at most this much: models that answer alike are no independent comparisons.
    """
    from scipy.integrate import quad
    from scipy.special import ndtr

    if comparisons < 2:
        return 0.0

    def beyond(x: float) -> float:
        """P(largest > x) - P(largest < -x), whose integral over x > 0 is the expectation."""
        return float(1 - ndtr(x) ** comparisons - ndtr(-x) ** comparisons)

    return float(quad(beyond, 0.0, 12.0)[0])
