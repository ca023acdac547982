"""Non-inferiority: the burden of proof is on the tuned model."""

from dataclasses import replace

import pytest
from made_evaluations import evaluation, in_clusters

from workbench.errors import DataError
from workbench.evaluation.probes import MARGIN, margin_shown, noninferior, read_probes


def test_a_model_that_lost_little_on_many_items_is_not_worse():
    scores = "1" * 1000
    result = noninferior(evaluation(scores), evaluation("0" * 5 + scores[5:], "tuned"))
    assert result.outcome == "not worse"
    # Newcombe's method 10 at 90 %: -0.01014
    assert result.verdict == (
        "Not worse: 995 of 1,000 items right against 1,000 (−0.5 points, with 95 % confidence above −1.0); "
        "a loss of up to 2 points was acceptable."
    )
    assert result.more_items == 0


def test_equal_scores_on_few_items_do_not_show_that_nothing_was_lost():
    result = noninferior(evaluation("1" * 20), evaluation("1" * 20, "tuned"))
    assert result.outcome == "inconclusive"
    assert result.verdict.startswith("Not shown to be no worse: 20 of 20 items right against 20")
    # (1.64485 + 0.84162)^2 x (1/20) / 0.02^2 = 772.8
    assert result.more_items == 773 - 20
    assert result.verdict.endswith(
        "About 753 more items would show it, if it is as good as it looks (80 % power)."
    )


def test_a_certain_loss_beyond_the_margin_is_worse():
    result = noninferior(evaluation("1" * 200), evaluation("0" * 40 + "1" * 160, "tuned"))
    assert result.outcome == "worse"
    assert "; 2 points were acceptable." in result.verdict


def test_a_loss_beyond_the_margin_is_not_cured_by_more_items():
    result = noninferior(evaluation("1" * 20), evaluation("0" + "1" * 19, "tuned"))
    assert (result.outcome, result.more_items) == ("inconclusive", 0)
    assert result.verdict.endswith("the loss seen is beyond the 2 points acceptable.")


def test_the_margin_decides():
    base, tuned = evaluation("1" * 400), evaluation("0" * 12 + "1" * 388, "tuned")
    assert noninferior(base, tuned, margin=0.1).outcome == "not worse"
    assert noninferior(base, tuned, margin=0.03).outcome == "inconclusive"
    with pytest.raises(DataError, match="margin is 5; give a share"):
        noninferior(base, tuned, margin=5)


def test_one_cluster_shows_nothing():
    base, tuned = (in_clusters(evaluation("1" * 50, name), ["doc"] * 50) for name in ("base", "tuned"))
    result = noninferior(base, tuned)
    assert (*result.bounds, result.outcome) == (-0.95, 0.95, "inconclusive")
    assert result.more_items > 0


def test_it_is_json_for_a_gate():
    facts = noninferior(evaluation("11"), evaluation("11", "tuned")).facts
    assert (facts["outcome"], facts["margin"], facts["items"]) == ("inconclusive", 0.02, 2)


def test_the_margin_of_the_probes_is_one_that_they_can_show():
    # (1.64485 + 0.84162) sqrt(0.2 / n): by hand
    assert margin_shown(400) == pytest.approx(0.05560, abs=1e-5)
    assert margin_shown(120) == pytest.approx(0.10151, abs=1e-5)
    assert margin_shown(400, lost=0.024) == pytest.approx(0.07960, abs=1e-5)
    assert margin_shown(1000, lost=0.015) == pytest.approx(0.05016, abs=1e-5)
    assert MARGIN == 0.08
    assert len(read_probes()) == 400


@pytest.mark.parametrize(
    ("lost", "gained", "outcome"),
    [(40, 40, "not worse"), (45, 35, "not worse"), (50, 30, "inconclusive"), (90, 10, "worse")],
)
def test_the_probes_let_a_model_pass_that_kept_what_matters(lost: int, gained: int, outcome: str):
    base = "1" * 170 + "0" * 230
    tuned = "0" * lost + "1" * (170 - lost) + "1" * gained + "0" * (230 - gained)
    found = noninferior(evaluation(base), evaluation(tuned, "tuned"), margin=MARGIN)
    assert found.outcome == outcome


def test_one_of_five_categories_is_not_called_worse_by_luck():
    base = evaluation("1" * 47 + "0" * 33)
    tuned = evaluation("0" * 14 + "1" * 33 + "1" + "0" * 32, "tuned")
    alone = noninferior(base, tuned, margin=MARGIN)
    assert alone.outcome == "worse"
    one_of_five = replace(alone, asked=5)
    assert one_of_five.outcome == "inconclusive"
    assert one_of_five.bounds.low == alone.bounds.low  # to pass is no easier
