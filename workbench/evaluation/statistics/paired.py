"""Is it more than chance? Exact tests for items that two models had right or wrong.

Only the items that one of the two had right and the other wrong can tell the
models apart: ``first_only`` counts those that only the first had right. The
tests hold for items that have nothing to do with each other; ``permutation``
has the one for items that come in clusters, and for scores.
"""


def sign_test(wins: int, losses: int) -> float:
    """How often would a fair coin split this unevenly? Exact and two-sided; ties are left out before.

    The binomial test against one half; without a win or a loss there is nothing to explain, and p is 1.
    """
    from scipy.stats import binomtest

    decided = wins + losses
    return float(binomtest(wins, decided, 0.5).pvalue) if decided else 1.0


def mcnemar(first_only: int, second_only: int) -> float:
    """How often would chance alone split the flips this unevenly? Exact and two-sided.

    McNemar's exact test (McNemar 1947, Psychometrika 12:153) is the sign test of the flips.
    """
    return sign_test(second_only, first_only)


def superiority(first_only: int, second_only: int) -> float:
    """How probable is it that a flip is rather for the second model than for the first?

    Bayes' companion of McNemar's test: P(share > 1/2) when the share of flips for the second model has
    Jeffreys' prior, so P(Beta(second_only + 1/2, first_only + 1/2) > 1/2).
    """
    from scipy.stats import beta

    return float(beta.sf(0.5, second_only + 0.5, first_only + 0.5))
