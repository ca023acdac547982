"""Statistics: every number is scipy's, statsmodels' or a published one."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import bootstrap, multinomial

from workbench.errors import DataError
from workbench.evaluation.statistics import (
    Sums,
    cluster_sums,
    difference,
    holm,
    mcnemar,
    mean_of,
    newcombe,
    optimism,
    permute,
    resample,
    sign_test,
    standard_error,
    superiority,
    wilson,
)

# Darwin's maize, cross-fertilised less self-fertilised, in eighths of an inch: Fisher 1935, The Design of
# Experiments, section 21.
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def each_alone(values: list[float]) -> Sums:
    return cluster_sums(values, range(len(values)))


def test_wilson_at_another_confidence_is_scipys():
    # scipy 1.17.1: binomtest(7, 20).proportion_ci(0.9, method="wilson")
    assert wilson(0.35, 20, confidence=0.9) == pytest.approx((0.20226004005676104, 0.5334873111515284))


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:2635, method 10.
        ((20, 2, 12, 16), 0.0562, 0.3292),
        ((36, 2, 12, 0), 0.0569, 0.3404),
        # Bentur et al. 2009, in Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33:2850.
        ((1, 7, 1, 12), -0.507, -0.026),
        # Cavo et al. 2012, in Fagerland, Lydersen and Laake 2017, chapter 8.
        ((59, 16, 6, 80), -0.1186, -0.0046),
    ],
)
def test_newcombes_interval_is_the_published_one(table, low, high):
    interval = newcombe(*table)
    decimals = len(str(abs(low))) - 2
    assert (round(interval.low, decimals), round(interval.high, decimals)) == (low, high)


def test_newcombes_interval_turns_round_with_the_models():
    there, back = newcombe(59, 16, 6, 80), newcombe(59, 6, 16, 80)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_newcombes_interval_follows_from_its_definition():
    """Solve Wilson's condition numerically instead of by its formula, and combine as the paper says."""
    both, first_only, second_only, neither = 30, 4, 11, 5
    n, z = 50, 1.959963984540054

    def limit(right: int, bracket: tuple[float, float]) -> float:
        return brentq(lambda p: (right / n - p) ** 2 - z * z * p * (1 - p) / n, *bracket, xtol=1e-14)

    p1, p2 = 34 / n, 41 / n
    l1, u1, l2, u2 = limit(34, (0, p1)), limit(34, (p1, 1)), limit(41, (0, p2)), limit(41, (p2, 1))
    phi = (30 * 5 - 4 * 11 - n / 2) / (34 * 16 * 41 * 9) ** 0.5
    low = p2 - p1 - ((p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2) ** 0.5
    high = p2 - p1 + ((u2 - p2) ** 2 - 2 * phi * (u2 - p2) * (p1 - l1) + (p1 - l1) ** 2) ** 0.5
    assert newcombe(both, first_only, second_only, neither) == pytest.approx((low, high), abs=1e-10)


@pytest.mark.parametrize("truth", [(0.5, 0.1, 0.2, 0.2), (0.1, 0.02, 0.7, 0.18), (0.8, 0.05, 0.05, 0.1)])
def test_newcombes_interval_covers_the_truth_at_least_94_times_in_100(truth):
    """All tables of 20 items, each with its probability: nothing is drawn by chance."""
    n = 20
    tables = [
        (a, b, c, n - a - b - c) for a in range(n + 1) for b in range(n + 1 - a) for c in range(n + 1 - a - b)
    ]
    probabilities = multinomial.pmf(tables, n, truth)
    difference = truth[2] - truth[1]
    covered = [low <= difference <= high for low, high in (newcombe(*table) for table in tables)]
    assert sum(p for p, inside in zip(probabilities, covered, strict=True) if inside) >= 0.94


@pytest.mark.parametrize(
    ("broken", "fixed", "p_value"),
    # statsmodels 0.15.0: mcnemar([[0, b], [c, 0]], exact=True).pvalue
    [
        (5, 0, 0.0625),
        (10, 20, 0.09873714670538905),
        (1, 7, 0.0703125),
        (3, 3, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_is_exact(broken, fixed, p_value):
    assert mcnemar(broken, fixed) == pytest.approx(p_value, rel=1e-12)


def test_the_sign_test_is_the_coins():
    # 2 x (1 + 10) / 2^10
    assert sign_test(9, 1) == pytest.approx(22 / 1024)


def test_superiority_is_the_integral_of_the_posterior():
    # scipy 1.17.1: quad of x^6.5 (1 - x)^0.5 from 1/2 to 1, over the same from 0 to 1
    assert superiority(1, 7) == pytest.approx(0.98662653, abs=1e-8)
    assert superiority(4, 4) == pytest.approx(0.5)


def test_darwins_maize_has_fishers_p_value():
    # Fisher counts 863 of the 32,768 arrangements with a sum of 314 or more.
    assert permute(each_alone(DARWIN)).p_value() == pytest.approx(2 * 863 / 32768)


def test_the_sign_flip_test_of_scores_is_scipys():
    # scipy 1.17.1: permutation_test((d, zeros), sum of differences, permutation_type="samples", exact)
    values = [0.3, -0.1, 0.4, 0.2, 0.5, -0.2, 0.1, 0.35]
    assert permute(each_alone(values)).p_value() == pytest.approx(0.0859375)


def test_on_right_or_wrong_items_the_sign_flip_test_is_mcnemars():
    assert permute(each_alone([1] * 11 + [-1] * 4)).p_value() == pytest.approx(mcnemar(4, 11))


def test_above_20_clusters_drawn_signs_come_near_the_exact_test():
    values = [1] * 20 + [-1] * 8 + [0] * 30
    found = permute(each_alone(values))
    assert len(found.totals) == 10_001
    assert found.p_value() == pytest.approx(mcnemar(8, 20), abs=0.006)  # 4 standard errors of 10,000 draws
    assert found.p_value() == permute(each_alone(values)).p_value()


def test_the_sign_flip_interval_ends_where_its_test_begins_to_reject():
    sums = cluster_sums([0.4, 0.1, 0.3, -0.1, 0.5, 0.2, 0.3, 0.0, 0.6, 0.2], "aabcdefghh")
    low, high = permute(sums).interval()

    def p_value(truth: float) -> float:
        return permute(Sums(sums.totals - truth * sums.sizes, sums.sizes)).p_value()

    assert p_value(low - 0.001) <= 0.05 < p_value(low + 0.001)
    assert p_value(high + 0.001) <= 0.05 < p_value(high - 0.001)


def test_five_clusters_exclude_nothing():
    found = permute(each_alone([0.5] * 5))
    assert found.p_value() == 0.0625
    assert found.interval() == (-1, 1)


def test_clustered_standard_errors_are_statsmodels():
    values = [0.1, 0.4, -0.2, 0.3, 0.0, 0.5, 0.2, -0.1, 0.6, 0.25]
    # statsmodels 0.15.0: OLS(values, ones).fit(cov_type="cluster", cov_kwds={"groups": ...}).bse, and plain
    clustered = standard_error(cluster_sums(values, "aaabbcccde"))
    assert clustered == pytest.approx(0.058051701094799936, rel=1e-12)
    assert standard_error(each_alone(values)) == pytest.approx(0.08180260794538684, rel=1e-12)


def test_one_cluster_has_no_standard_error():
    assert np.isnan(standard_error(cluster_sums([0.1, 0.2], "aa")))


def test_the_bootstrap_interval_is_scipys_for_the_same_draws():
    random = np.random.default_rng(0)
    sizes = random.integers(1, 30, 40).astype(float)
    totals = random.normal(0.1, 0.3, 40) * sizes
    found = resample(np.stack([totals, sizes], axis=1), mean_of)
    scipys = bootstrap(
        (totals, sizes),
        lambda total, size, axis: total.sum(axis=axis) / size.sum(axis=axis),
        paired=True,
        n_resamples=0,
        method="BCa",
        bootstrap_result=SimpleNamespace(bootstrap_distribution=found.drawn),
    )
    assert found.interval() == pytest.approx(tuple(scipys.confidence_interval), rel=1e-12)
    assert found.drawn.std(ddof=1) == pytest.approx(scipys.standard_error, rel=1e-12)


def test_the_bootstrap_draws_as_scipys_does():
    random = np.random.default_rng(1)
    scores = random.beta(0.5, 0.5, 200) - random.beta(0.6, 0.5, 200)
    found = resample(np.stack(each_alone(list(scores)), axis=1), mean_of).interval()
    scipys = bootstrap((scores,), np.mean, n_resamples=10_000, rng=random).confidence_interval
    # Limits of 10,000 draws are sure to about 0.03 standard errors of 0.03; four times that.
    assert found == pytest.approx(tuple(scipys), abs=0.004)


def test_the_bootstrap_is_the_same_each_time():
    rows = np.stack(each_alone([0.1, 0.5, 0.2, -0.3] * 10), axis=1)
    assert resample(rows, mean_of).interval() == resample(rows, mean_of).interval()


def test_what_never_varies_has_a_point_for_an_interval():
    assert resample(np.ones((30, 2)) * [0.25, 1], mean_of).interval() == (0.25, 0.25)


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    # statsmodels 0.15.0: multipletests(p, method="holm")[1]
    [
        ([0.01, 0.04, 0.03, 0.005, 0.2], [0.04, 0.09, 0.09, 0.025, 0.2]),
        ([0.01, 0.01, 0.9], [0.03, 0.03, 0.9]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.03], [0.03]),
    ],
)
def test_holms_correction_is_statsmodels(p_values, corrected):
    assert holm(p_values) == pytest.approx(corrected)


@pytest.mark.parametrize(
    ("looks", "errors"),
    # The expected largest normal order statistic: Harter 1961, Biometrika 48:151, table 1.
    [(1, 0.0), (2, 0.56419), (3, 0.84628), (5, 1.16296), (10, 1.53875), (20, 1.86748), (100, 2.50759)],
)
def test_the_best_of_many_is_as_optimistic_as_harters_table(looks, errors):
    assert optimism(looks) == pytest.approx(errors, abs=5e-6)


def test_which_test_and_interval_depends_on_the_data():
    right = [0.0] * 10 + [1.0] * 20
    assert difference(right, [1.0] * 30).test == "exact McNemar"
    assert difference(right, [0.5] * 30).test == "sign-flip test"
    assert difference(right, [1.0] * 30, ["a", "b", "c"] * 10).test == "cluster sign-flip test"


def test_ten_questions_asked_five_times_are_no_fifty():
    base, tuned = [0.0] * 50, [1.0] * 15 + [0.0] * 35
    alone = difference(base, tuned)
    together = difference(base, tuned, [place // 5 for place in range(50)])
    assert alone.p_value == pytest.approx(2 / 2**15)
    assert together.p_value == pytest.approx(2 / 2**3)  # three of ten questions
    assert together.interval().low <= 0 < alone.interval().low


def test_scores_above_100_items_have_the_bootstrap_interval():
    random = np.random.default_rng(2)
    base, tuned = random.beta(2, 2, 150).tolist(), random.beta(3, 2, 150).tolist()
    rows = np.stack(each_alone([b - a for a, b in zip(base, tuned, strict=True)]), axis=1)
    assert difference(base, tuned).interval() == resample(rows, mean_of).interval()


def test_a_difference_refuses_lists_that_do_not_fit():
    with pytest.raises(DataError, match="2 base scores, 1 tuned ones and 2 clusters"):
        difference([0.0, 1.0], [1.0])
    with pytest.raises(DataError, match="7 is no score from 0 to 1; divide"):
        difference([0.0], [7.0])
    with pytest.raises(DataError, match="There is no item to compare"):
        difference([], [])
