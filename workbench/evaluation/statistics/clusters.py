"""Items that belong together: of one document, one conversation, one template.

They succeed and fail together, so fifty questions about ten documents are
nearer to ten observations than to fifty. Everything here works on sums over
whole clusters.
"""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


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
