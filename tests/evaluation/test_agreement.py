"""Agreement: the published coefficients, and intervals that say how few units there were."""

import math

import pytest

from workbench.errors import DataError
from workbench.evaluation.agreement import ac1, alpha, kappa, percent_agreement

N = None
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C: four observers, twelve units.
FOUR_OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]
# Two observers who find a trait in nearly everything: 118 times both, 5 and 2 times one, never neither.
RARE = [["+"] * 123 + ["-"] * 2, ["+"] * 118 + ["-"] * 5 + ["+"] * 2]
ONE = [1, 2, 3, 4, 5, 3, 2, 1, 4, 5, 2, 3]
OTHER = [1, 2, 4, 4, 5, 2, 2, 1, 3, 5, 1, 3]


def test_alpha_is_krippendorffs():
    found = alpha(FOUR_OBSERVERS)
    assert round(found.value, 3) == 0.743
    assert found.units == 11


def test_ac1_is_gwets():
    # Gwet 2014, Handbook of Inter-Rater Reliability, for the same data; R's irrCAC 1.0 prints it.
    assert round(ac1(FOUR_OBSERVERS).value, 5) == 0.77544
    assert round(percent_agreement(FOUR_OBSERVERS).value, 4) == 0.8182


def test_where_one_answer_dominates_kappa_misleads_and_ac1_does_not():
    # Gwet 2002, "Kappa statistic is not satisfactory for assessing the extent of agreement between raters".
    assert round(kappa(RARE).value, 4) == -0.0234
    assert round(ac1(RARE).value, 4) == 0.9408
    assert percent_agreement(RARE).value == pytest.approx(118 / 125)


def test_kappa_is_scikit_learns():
    # scikit-learn 1.9.1: cohen_kappa_score(ONE, OTHER)
    assert kappa([ONE, OTHER]).value == pytest.approx(0.5826086956521739)


def test_kappa_leaves_out_what_one_of_them_did_not_rate():
    assert kappa([[*ONE, 1, N], [*OTHER, N, 2]]) == kappa([ONE, OTHER])


def test_the_interval_narrows_with_more_units():
    few, many = kappa([ONE, OTHER]).interval, kappa([ONE * 10, OTHER * 10]).interval
    assert few.low < many.low < 0.5826 < many.high < few.high


def test_the_interval_is_as_wide_as_scikit_learns_standard_error_says():
    """120 units: the analytic standard error of kappa (Fleiss, Cohen and Everitt 1969) is 0.05372."""
    # statsmodels 0.15.0: cohens_kappa(table).std_kappa
    low, high = kappa([ONE * 10, OTHER * 10]).interval
    assert (high - low) / 2 / 1.96 == pytest.approx(0.05371971583570351, rel=0.05)


def test_perfect_agreement_is_one():
    words = ["a", "b", "a", "c"] * 3
    for measure in (percent_agreement, kappa, alpha, ac1):
        assert measure([words, words]).value == 1
        assert measure([words, words]).interval == (1, 1)


def test_where_all_say_the_same_nothing_tells_agreement_from_chance():
    assert math.isnan(kappa([["a"] * 5, ["a"] * 5]).value)
    assert math.isnan(alpha([["a"] * 5, ["a"] * 5]).value)


def test_an_agreement_says_itself():
    assert str(alpha(FOUR_OBSERVERS)).startswith("0.74 (0.")
    assert str(alpha(FOUR_OBSERVERS)).endswith(", 11 units)")


def test_what_cannot_be_measured_says_why():
    with pytest.raises(DataError, match="kappa is for 2 raters and these are 4; alpha takes any number"):
        kappa(FOUR_OBSERVERS)
    with pytest.raises(DataError, match="No two raters rated the same unit"):
        alpha([[1, N], [N, 2]])
    with pytest.raises(DataError, match=r"\[2, 1\] ratings; give None where one is missing"):
        alpha([[1, 2], [1]])
