"""Power: what a test set can show, and how many items a difference needs."""

import math

import pytest
from mcnemar import exact_power

from workbench.decide.power import (
    detectable,
    detectable_in_scores,
    items_needed,
    items_needed_for_scores,
    power_table,
)
from workbench.errors import DataError


@pytest.mark.parametrize(
    ("items", "visible"),
    # Connor 1987, Biometrics 43:207, solved for the difference in points, where 10, 20 and 30 % flip.
    [
        (100, (8.8, 12.4, 15.2)),
        (200, (6.2, 8.8, 10.8)),
        (500, (4.0, 5.6, 6.8)),
        (1000, (2.8, 4.0, 4.8)),
        (2000, (2.0, 2.8, 3.4)),
    ],
)
def test_the_smallest_visible_difference_is_connors(items, visible):
    found = tuple(round(100 * detectable(items, flips), 1) for flips in (0.1, 0.2, 0.3))
    assert found == visible


def test_fifty_items_show_17_points():
    assert [round(100 * detectable(50, flips), 1) for flips in (0.2, 0.3)] == [17.3, 21.2]


@pytest.mark.parametrize(
    ("items", "difference", "discordant"),
    [(50, 0.173, 0.2), (100, 0.124, 0.2), (200, 0.088, 0.2), (500, 0.068, 0.3), (1000, 0.028, 0.1)],
)
def test_items_needed_is_connors_table(items, difference, discordant):
    assert items_needed(difference, discordant) == pytest.approx(items, rel=0.03)


def test_items_needed_by_hand():
    # (1.959964 sqrt(0.14) + 0.841621 sqrt(0.14 - 0.01))^2 / 0.01 = 107.2
    assert items_needed(0.1, 0.14) == 108


def test_no_fewer_items_can_flip_than_the_difference():
    assert items_needed(0.3, 0.1) == items_needed(0.3, 0.3)


def test_three_items_show_nothing():
    assert detectable(3) == math.inf


def test_a_difference_of_nothing_cannot_be_shown():
    with pytest.raises(DataError, match="No test set shows a difference of 0; ask for a share"):
        items_needed(0.0)
    with pytest.raises(DataError, match="a difference of 5;"):
        items_needed_for_scores(5, 0.1)


def test_a_mean_of_scores_needs_millers_969_items():
    # Miller 2024, arXiv:2411.00640, section 5: omega^2 = 1/9, delta = 3 points.
    assert items_needed_for_scores(0.03, 1 / 9) == 969


def test_samples_only_lessen_the_noise():
    # z^2 (1/9 + 2/6/K) / 0.03^2 with z = 1.959964 + 0.841621
    assert items_needed_for_scores(0.03, 1 / 9, base_noise=1 / 6, tuned_noise=1 / 6) == 3876
    assert items_needed_for_scores(0.03, 1 / 9, base_noise=1 / 6, tuned_noise=1 / 6, samples=10) == 1260


def test_fifty_scores_show_four_tenths_of_their_standard_deviation():
    assert detectable_in_scores(50, 1.0) == pytest.approx(0.396, abs=5e-4)


def test_exact_power_is_mcnemars_own():
    assert exact_power(100, 0.05, 0.15) == pytest.approx(0.54, abs=0.005)
    # One item can never be significant, and six that all flip one way always are.
    assert exact_power(1, 0.0, 1.0) == 0
    assert exact_power(6, 0.0, 1.0) == pytest.approx(1)


def test_without_a_difference_the_exact_test_finds_one_in_at_most_5_of_100():
    assert 0.02 < exact_power(200, 0.1, 0.1) <= 0.05


def test_the_power_table_says_it_in_a_sentence():
    found = power_table(50, differences=(0.05,))
    assert found.sentence == "With 50 items you can only see 17 points; you need 626 for 5."
    assert repr(found) == f"{found.sentence} If 20 % of the items change; found in 80 of 100 tests at 5 %."
    assert power_table(50).sentence == (
        "With 50 items you can only see 17 points; you need 155 for 10, 626 for 5 and 3,923 for 2."
    )
    assert power_table(5000).sentence == "With 5,000 items you can see 2 points."
    assert power_table(2).sentence.startswith("With 2 items you can see nothing at all; you need 155 for 10")


def test_the_power_table_shows_each_difference():
    page = power_table(200)._repr_html_()
    assert '<th scope="row"' in page
    assert page.count("<tr>") == 4
    assert page.count(">yes<") == 1


def test_clusters_and_looks_need_more_items():
    # 1 + (10 - 1) x 0.3 = 3.7 times Connor's 155, rounded up
    clustered = power_table(200, differences=(0.1,), cluster_size=10, correlation=0.3)
    assert clustered.needed == ((0.1, 574),)
    assert "clusters make 3.7 items worth one" in clustered.assumed
    assert power_table(200, differences=(0.1,), comparisons=5).needed == (
        (0.1, items_needed(0.1, level=0.01)),
    )


def test_items_of_one_cluster_count_as_fewer():
    # Four clusters of 5 and 20 items alone: (4 x 25 + 20) / 40 = 3, so 1 + (3 - 1) x 0.2 = 1.4 times 155
    names = [name for name in "abcd" for _ in range(5)] + [""] * 20
    found = power_table(40, differences=(0.1,), clusters=names)
    assert found.needed == ((0.1, 217),)
    assert "clusters make 1.4 items worth one (correlation 0.2)" in found.assumed
    assert power_table(40, differences=(0.1,), clusters=["", ""]).needed == ((0.1, 155),)


def test_the_power_table_takes_scores_too():
    found = power_table(100, differences=(0.03,), variance=1 / 9)
    assert found.needed == ((0.03, 969),)
    assert found.detectable == pytest.approx(0.0934, abs=5e-5)


def test_a_power_table_of_nothing_is_refused():
    with pytest.raises(DataError, match="at least one item"):
        power_table(0)
