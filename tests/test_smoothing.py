"""Smoothing against other people's implementations, and by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.signal import savgol_filter

from workbench.errors import DataError
from workbench.training.curve import exponential, savitzky_golay, time_weighted

NAN, INF = math.nan, math.inf
LOSSES = [2.5, 1.75, 2.0, 1.25, 0.5, 0.75, 0.25, 0.375, 0.125, 0.25]


def test_the_debiased_average_by_hand():
    # m = 1, 2, 3; divided by 1 - 1/2, 1 - 1/4, 1 - 1/8
    assert exponential([2.0, 3.0, 4.0], 0.5).tolist() == pytest.approx([2.0, 2.0 / 0.75, 3.0 / 0.875])


@pytest.mark.parametrize("weight", [0.0, 0.6, 0.9, 0.999999])
def test_the_debiased_average_agrees_with_pandas(weight):
    values = [*LOSSES[:4], NAN, NAN, *LOSSES[4:]]
    theirs = pd.Series(values).ewm(alpha=1 - weight, adjust=True, ignore_na=True).mean()
    theirs = theirs.where(pd.notna(pd.Series(values)))  # pandas fills gaps; here they stay
    np.testing.assert_allclose(exponential(values, weight), theirs, rtol=1e-9)


def test_a_constant_stays_what_it_is():
    for smoothed in (
        exponential([0.7] * 50, 0.99),
        time_weighted([0.7] * 50, range(50), 0.99),
        savitzky_golay([0.7] * 50, 11),
    ):
        np.testing.assert_allclose(smoothed, [0.7] * 50, rtol=1e-12)


def test_gaps_and_infinite_values_stand_where_they_stood_and_count_for_nothing():
    values = [2.0, NAN, 3.0, INF, 4.0, -INF]
    for smoothed, finite in (
        (exponential(values, 0.5), exponential([2.0, 3.0, 4.0], 0.5)),
        (time_weighted(values, range(6), 0.5), time_weighted([2.0, 3.0, 4.0, 4.0], [0, 2, 4, 5], 0.5)[:3]),
        (savitzky_golay(values, 3, 1), savitzky_golay([2.0, 3.0, 4.0], 3, 1)),
    ):
        np.testing.assert_equal(smoothed[[1, 3, 5]], [NAN, INF, -INF])
        np.testing.assert_allclose(smoothed[[0, 2, 4]], finite)


def test_the_time_weighted_average_by_hand():
    # w = sqrt(0.25) = 1/2; steps 0, 1, 3 of 0..1000 lie 1 and 2 units apart; the last one 997
    smoothed = time_weighted([8.0, 4.0, 2.0, 1.0], [0, 1, 3, 1000], 0.25)
    assert smoothed.tolist() == pytest.approx([8.0, 8.0 / 1.5, (8.0 / 4 + 2.0) / (1.5 / 4 + 1), 1.0])


@pytest.mark.parametrize("smoothing", [0.0, 0.6, 0.99, 0.9999])
def test_the_time_weighted_average_agrees_with_the_published_loop(smoothing):
    steps = [1, 10, 19, 20, 21, 22, 40, 90, 91, 100]

    def published() -> list[float]:  # docs.wandb.ai, "Smooth line plots", in Python
        weight, last, debias, found = min(math.sqrt(smoothing), 0.999), 0.0, 0.0, []
        for index, value in enumerate(LOSSES):
            change = (steps[index] - steps[max(index - 1, 0)]) / (steps[-1] - steps[0]) * 1000
            last = last * weight**change + value
            debias = debias * weight**change + 1
            found.append(last / debias)
        return found

    np.testing.assert_allclose(time_weighted(LOSSES, steps, smoothing), published(), rtol=1e-12)


def test_the_time_weighted_average_agrees_with_pandas_by_times():
    steps = np.array([1, 10, 19, 20, 21, 22, 40, 90, 91, 101])
    # 0.5^(distance / halflife) is w^(distance in thousandths of 100 steps): halflife = 0.1 ln 0.5 / ln w.
    halflife = 0.1 * math.log(0.5) / math.log(math.sqrt(0.9))
    times = pd.to_datetime(steps, unit="D")
    theirs = pd.Series(LOSSES).ewm(halflife=pd.Timedelta(halflife, "D"), times=times).mean()
    np.testing.assert_allclose(time_weighted(LOSSES, steps, 0.9), theirs, rtol=1e-9)


def test_savitzky_golay_agrees_with_scipy_and_with_a_fit_of_each_window():
    smoothed = savitzky_golay(LOSSES, 5, 2)
    np.testing.assert_allclose(smoothed, savgol_filter(LOSSES, 5, 2), rtol=1e-12)
    fits = [np.polyval(np.polyfit(range(-2, 3), LOSSES[at - 2 : at + 3], 2), 0) for at in range(2, 8)]
    np.testing.assert_allclose(smoothed[2:8], fits, rtol=1e-9)


def test_savitzky_golay_takes_all_values_where_there_are_fewer_than_its_window():
    # A line through (0, 1), (1, 3), (2, 2) by least squares: 1.5, 2, 2.5
    np.testing.assert_allclose(savitzky_golay([1.0, 3.0, 2.0], 11, 1), [1.5, 2.0, 2.5])
    assert savitzky_golay([1.0, 3.0], 11, 2).tolist() == [1.0, 3.0]


def test_nothing_to_smooth_gives_nothing():
    assert exponential([], 0.5).tolist() == []
    assert time_weighted([], [], 0.5).tolist() == []
    np.testing.assert_equal(savitzky_golay([NAN, NAN], 3), [NAN, NAN])


def test_one_value_is_its_own_average():
    assert exponential([0.5], 0.9).tolist() == [0.5]
    assert time_weighted([0.5], [7], 0.9).tolist() == [0.5]


def test_the_values_given_stay_as_they_are():
    values = np.array(LOSSES)
    exponential(values, 0.5)
    assert values.tolist() == LOSSES


@pytest.mark.parametrize("weight", [-0.1, 1.0, NAN])
def test_a_weight_outside_its_range_is_refused(weight):
    with pytest.raises(DataError, match=r"give at least 0 and less than 1"):
        exponential(LOSSES, weight)
    with pytest.raises(DataError, match=r"give at least 0 and less than 1"):
        time_weighted(LOSSES, range(10), weight)


def test_other_arguments_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"There are 2 values and 1 steps; give a step for each"):
        time_weighted([1.0, 2.0], [1], 0.5)
    with pytest.raises(DataError, match=r"a window is odd and greater than degree"):
        savitzky_golay(LOSSES, 4)
    with pytest.raises(DataError, match=r"a window is odd and greater than degree"):
        savitzky_golay(LOSSES, 3, 3)
