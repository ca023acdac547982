"""What else might I have seen? Whole clusters drawn again, ten thousand times.

Works for everything that can be told from sums over clusters: a mean is one sum
divided by another, agreement is told from a table of counts. So a draw is a
row of counts, and all draws are a few matrix products.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.evaluation.statistics.intervals import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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

    @property
    def standard_error(self) -> float:
        """The standard deviation of the resamples."""
        return float(self.drawn.std(ddof=1))

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
