"""McNemar's exact test without any approximation, to hold the formula for the size of a test set against."""

import numpy as np
from scipy.stats import binom

from workbench.decide.power import LEVEL


def exact_power(items: int, broken: float, fixed: float) -> float:
    """How often McNemar's exact test finds a difference, when these shares of the items change each way.

    Summed over every number of changed items there can be: nothing is approximated.
    """
    changes = np.arange(items + 1)
    # The most changes to the rarer side that are still significant; -1 where none are.
    most = binom.ppf(LEVEL / 2, changes, 0.5)
    most = np.where(binom.cdf(most, changes, 0.5) > LEVEL / 2, most - 1, most)
    to_fixed = fixed / (broken + fixed)
    found = binom.cdf(most, changes, to_fixed) + binom.cdf(most, changes, 1 - to_fixed)
    return float((binom.pmf(changes, items, broken + fixed) * found).sum())
