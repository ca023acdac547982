"""The forecast: a law that is there is found, and what cannot be told is not told."""

import json

import numpy
import pytest
from scipy.optimize import curve_fit

from workbench.decide.forecast import Forecast, Law, Point, forecast
from workbench.errors import DataError


def runs(law: Law, *sizes: int, items: int = 1_000_000) -> list[Point]:
    return [Point(size, 1 - law.error(size), items) for size in sizes]


def test_a_power_law_is_found_again():
    law = forecast(runs(Law(0.1, 2.0, 0.5), 50, 100, 200, 400)).law
    assert law == (pytest.approx(0.1, abs=1e-3), pytest.approx(2.0, abs=0.02), pytest.approx(0.5, abs=5e-3))


def test_it_agrees_with_an_independent_fit_from_many_starts():
    points = [Point(50, 0.52, 200), Point(100, 0.60, 200), Point(200, 0.71, 200), Point(400, 0.75, 200)]
    sizes = numpy.array([point.examples for point in points], dtype=float)
    errors = numpy.array([1 - point.score for point in points])
    spread = numpy.array([point.uncertainty for point in points])

    def misfit(floor: float, scale: float, exponent: float) -> float:
        return float((((errors - floor - scale * sizes**-exponent) / spread) ** 2).sum())

    starts = [(c, b, a) for c in (0.01, 0.1) for b in (0.5, 2.0) for a in (0.1, 0.3, 1.0)]
    fits = [
        curve_fit(
            lambda n, c, b, a: c + b * n**-a,
            sizes,
            errors,
            start,
            spread,
            bounds=([0, 0, 0.02], [1, 100, 2]),
        )[0]
        for start in starts
    ]
    assert misfit(*forecast(points).law) <= min(misfit(*fit) for fit in fits) + 1e-6


def test_a_steep_curve_measured_well_says_that_more_helps():
    found = forecast(runs(Law(0.0, 4.0, 0.5), 50, 100, 200, 400, items=2_000))
    assert found.verdict == "likely_helps"
    assert found.probability >= 0.8
    assert found.doubled[1] == pytest.approx(1 - 4 * 800**-0.5, abs=0.01)


def test_a_flat_curve_says_that_more_is_unlikely_to_help():
    found = forecast(runs(Law(0.2, 0.1, 1.0), 50, 100, 200, 400, items=5_000))
    assert found.verdict == "unlikely"
    assert found.probability <= 0.2


def test_few_test_questions_leave_it_open():
    points = [Point(100, 0.60, 50), Point(200, 0.64, 50), Point(400, 0.66, 50)]
    assert forecast(points).verdict == "run_more"


def test_a_score_that_falls_by_more_than_chance_is_ill_behaved():
    points = [Point(100, 0.60, 500), Point(200, 0.70, 500), Point(400, 0.50, 500)]
    assert forecast(points).verdict == "ill_behaved"
    points[2] = Point(400, 0.66, 500)  # 1.4 standard errors
    assert forecast(points).verdict != "ill_behaved"


def test_the_interval_is_at_least_as_wide_as_the_rule_says():
    points = runs(Law(0.1, 2.0, 0.5), 50, 100, 200, 400)
    low, likely, high = forecast(points).doubled
    rise = likely - points[-1].score
    assert high - likely >= rise + 0.01 - 1e-3
    assert likely - low >= rise + 0.01 - 1e-3


def test_the_examples_needed_for_a_score():
    found = forecast(runs(Law(0.1, 2.0, 0.5), 50, 100, 200, 400))
    assert found.needed(0.85) == pytest.approx((2.0 / 0.05) ** 2, rel=0.05)
    assert found.needed(0.92) is None


def test_the_missing_examples_have_a_price():
    found = forecast(runs(Law(0.1, 2.0, 0.5), 50, 100, 200, 400))
    assert found.price(0.85, per_example=2.0) == 2.0 * (found.needed(0.85) - 400)
    assert found.price(0.5, per_example=2.0) == 0
    assert found.price(0.95, per_example=2.0) is None


def test_the_same_runs_give_the_same_forecast_in_any_order():
    points = runs(Law(0.05, 3.0, 0.4), 400, 100, 50, 200, items=300)
    first, second = forecast(points), forecast(sorted(points))
    assert first == second
    assert isinstance(first, Forecast)


def test_perfect_scores_are_no_certainty():
    # Beta(0.5, 50.5): sqrt(0.5 * 50.5 / 52) / 51
    assert Point(100, 1.0, 50).uncertainty == pytest.approx(0.01366, abs=1e-5)


@pytest.mark.parametrize("right", [(24, 27, 30), (25, 29, 30), (24, 30, 30)])
def test_thirty_of_thirty_leave_errors_open(right):
    points = [Point(size, count / 30, 30) for size, count in zip((50, 100, 200), right, strict=True)]
    low, likely, high = forecast(points).doubled
    assert low < 0.969  # to which 90 % of Jeffreys' posterior reach down even of 60 right of 60
    assert likely < 0.997
    assert high == 1


def test_one_question_tells_nothing():
    found = forecast([Point(100, 0, 1), Point(200, 1, 1), Point(400, 1, 1)])
    assert found.verdict == "run_more"
    assert found.doubled[0] < 0.6


def test_the_interval_near_100_percent_holds_the_truth_nine_times_of_ten():
    draw, held = numpy.random.default_rng(1), 0
    for _ in range(60):
        law = Law(draw.uniform(0, 0.03), draw.uniform(0.1, 2.0), draw.uniform(0.4, 0.9))
        errors = {size: min(0.3, law.error(size)) for size in (50, 100, 200, 400)}
        points = [Point(size, draw.binomial(30, 1 - errors[size]) / 30, 30) for size in (50, 100, 200)]
        low, _, high = forecast(points).doubled
        held += low <= 1 - errors[400] <= high
    assert held >= 54


def test_it_reads_as_a_sentence_and_as_json():
    found = forecast(runs(Law(0.0, 4.0, 0.5), 50, 100, 200, 400, items=2_000))
    assert repr(found).startswith("Twice the data likely helps: 85.")
    assert json.loads(json.dumps(found.facts))["verdict"] == "likely_helps"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([Point(100, 0.5, 100), Point(200, 0.6, 100)], "A forecast needs runs on three sizes"),
        (
            [Point(100, 0.5, 100), Point(100, 0.5, 100), Point(200, 0.6, 100)],
            "A forecast needs runs on three",
        ),
        ([Point(100, 1.5, 100), Point(200, 0.6, 100), Point(400, 0.6, 100)], "a score runs from 0 to 1"),
        ([Point(0, 0.5, 100), Point(200, 0.6, 100), Point(400, 0.6, 100)], "counts from 1 on"),
    ],
)
def test_runs_that_cannot_be_are_refused(points: list[Point], message: str):
    with pytest.raises(DataError, match=message):
        forecast(points)
