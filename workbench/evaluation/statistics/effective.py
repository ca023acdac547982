"""How many independent right-or-wrong items are these scores worth?

Fifty answers to ten questions are not fifty measurements. Their interval is
Wilson's for the number of independent items that would be as uncertain.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from workbench.evaluation.statistics.clusters import cluster_sums, standard_error
from workbench.evaluation.statistics.intervals import Interval, quantile, wilson


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
