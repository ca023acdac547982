"""Pass rates before a reinforcement job: what is expected of groups, and what the verdict says."""

import math

import pytest

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.grader_trial import Check, GraderQuality
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.pass_rates import (
    PassRates,
    calibrated,
    drawn,
    mixed,
    mixed_share,
    pass_rates,
    require,
)
from workbench.evaluation.prompts import AS_TRAINED
from workbench.evaluation.requests import Answer


def sampled(*prompts: tuple[float, ...], **grader_settings: object) -> Evaluation:
    """One item for each tuple of scores; nan is an answer that could not be graded."""
    items = tuple(
        Item(
            f"id{n}",
            f"tickets.csv:{n + 2}",
            f"Q{n}",
            f"A{n}",
            tuple(
                Answer(
                    f"said {s}",
                    "stop",
                    0.1,
                    9,
                    1,
                    score=s,
                    problem="the judge refused" if math.isnan(s) else "",
                )
                for s in scores
            ),
        )
        for n, scores in enumerate(prompts)
    )
    return Evaluation("nano", AS_TRAINED, {**grader("exact"), **grader_settings}, items, 32, 1.0)


def passing(*right: int, of: int = 8, compute_multiplier: float | None = None) -> PassRates:
    """Prompts of whose ``of`` answers so many pass."""
    prompts = [(1.0,) * each + (0.0,) * (of - each) for each in right]
    return pass_rates(sampled(*prompts), compute_multiplier=compute_multiplier)


# The share of mixed groups


@pytest.mark.parametrize(
    ("p", "share"), [(0.02, 0.149), (0.1, 0.570), (0.3, 0.942), (0.5, 0.992), (0.98, 0.149)]
)
def test_a_group_of_eight_is_mixed_as_the_formula_says(p: float, share: float):
    assert round(mixed(p, 8), 3) == share


def test_with_as_many_samples_as_a_group_every_subset_is_counted():
    # Of 4 answers with 2 right, 4 of the 6 pairs are mixed; of those with 4 right, none is.
    found = mixed_share([(1, 1, 0, 0), (1, 1, 1, 1)], 2)
    assert found.value == pytest.approx((4 / 6 + 0) / 2)
    assert not found.at_least


def test_the_count_is_unbiased():
    # Over all outcomes of 3 answers with p = 0.3, the mean is the probability that 2 of them differ: 0.42.
    outcomes = [(math.comb(3, right) * 0.3**right * 0.7 ** (3 - right), right) for right in range(4)]
    mean = sum(p * mixed_share([(1.0,) * r + (0.0,) * (3 - r)], 2).value for p, r in outcomes)
    assert mean == pytest.approx(0.42)


def test_partial_credit_is_mixed_where_any_two_scores_differ():
    assert mixed_share([(0.5, 0.5, 0.75)], 2).value == pytest.approx(2 / 3)


def test_with_fewer_samples_than_a_group_each_prompts_own_rate_would_say_too_little():
    # 400 prompts with p = 0.9: 57 % of groups of 8 are mixed. Of 4 samples, 66 % of prompts show none wrong.
    right = [4] * 262 + [3] * 117 + [2] * 19 + [1] * 2
    scores = [(1.0,) * each + (0.0,) * (4 - each) for each in right]
    naive = sum(mixed(each / 4, 8) for each in right) / len(right)
    found = mixed_share(scores, 8)
    assert naive == pytest.approx(0.317, abs=0.005)
    assert found.value == pytest.approx(0.570, abs=0.02)
    assert found.interval.low < 0.570 < found.interval.high
    assert "beta distribution" in found.how


def test_of_prompts_that_never_pass_no_group_is_expected_to_be_mixed_and_some_may_be():
    found = mixed_share([(0.0, 0.0)] * 40, 8)
    assert found.value == 0.0
    assert found.interval.low == 0.0
    assert 0.1 < found.interval.high < 1.0


def test_prompts_of_one_text_count_together():
    scores, texts = [], []
    for number in range(40):  # ten texts, four prompts each, which pass alike
        scores.append((1.0,) * 4 if number % 10 < 3 else (0.0,) * 4 if number % 10 < 6 else (1.0, 0.0) * 2)
        texts.append(f"text {number % 10}")
    alone, together = mixed_share(scores, 8), mixed_share(scores, 8, clusters=texts)
    assert together.value == alone.value
    wide, narrow = (each.interval.high - each.interval.low for each in (together, alone))
    assert wide > 1.5 * narrow


def test_a_single_text_tells_nothing_of_others():
    assert mixed_share([(1.0, 0.0), (1.0, 1.0)], 8, clusters=["a", "a"]).interval == (0.0, 1.0)


def test_one_prompt_whose_answers_could_hardly_be_graded_does_not_hide_the_others():
    found = mixed_share([(0.5, 0.25, 0.75), (0.5,)], 3)
    assert (found.value, found.at_least) == (0.5, True)


def test_few_samples_with_partial_credit_give_a_lower_bound():
    found = mixed_share([(0.5, 0.25), (0.5, 0.5)], 8)
    assert (found.value, found.at_least) == (0.5, True)


def test_without_a_score_nothing_is_known():
    assert math.isnan(mixed_share([(), ()], 8).value)


# The threshold


def test_the_threshold_lets_a_quarter_to_a_half_of_the_answers_fail():
    found = calibrated([0.0, 0.25, 0.25, 0.5, 0.75, 0.75, 1.0, 1.0])
    assert (found.value, found.failing, found.tells_apart) == (0.5, 0.375, True)
    assert str(found) == "0.5: 38 % of the answers fail"


def test_the_threshold_is_the_shortest_number_between_two_scores():
    assert calibrated([1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3]).value == 0.6


def test_where_no_threshold_tells_them_apart_the_nearest_is_named_as_that():
    found = calibrated([0.2] * 9 + [0.8])
    assert (found.failing, found.tells_apart) == (0.9, False)


def test_equal_scores_have_no_threshold():
    assert calibrated([0.5, 0.5]) is None


# The verdict


def test_three_percent_cannot_start_and_the_way_out_is_supervised_fine_tuning():
    rates = passing(*[0] * 30, *[1] * 10)
    assert rates.level == "cannot start"
    assert rates.verdict.startswith(
        "Reinforcement cannot start: 3.1 % of 320 answers to 40 prompts pass (95 % interval "
    )
    assert "Do supervised fine-tuning first (04_launch)" in rates.verdict
    assert rates.headline == "Reinforcement cannot start: 3.1 % of the answers pass"


def test_ninety_seven_percent_leave_nothing_to_learn():
    rates = passing(*[8] * 31, *[6] * 9, of=8)
    assert rates.reward == pytest.approx(0.944, abs=0.001)
    assert rates.level != "cannot start"
    rates = passing(*[8] * 34, *[7] * 6)
    assert rates.level == "cannot start"
    assert rates.verdict.startswith("There is nothing to learn by reinforcement: 98.1 % of 320 answers")
    assert "harder prompts, or a stricter grader" in rates.verdict
    assert rates.headline == "There is nothing to learn: 98.1 % of the answers pass"


def test_half_of_the_answers_with_mixed_groups_is_good():
    rates = passing(3, 4, 5, 4)
    assert rates.level == "good"
    assert rates.verdict == (
        "Reinforcement can start: 50 % of 32 answers to 4 prompts pass (95 % interval 15–85 %), and 100 % of "
        "groups of 8 are expected to hold answers of different worth."
    )


def test_ten_percent_can_start_slowly():
    rates = passing(*[1] * 8, *[0] * 2)
    assert rates.level == "can start"
    assert "will learn slowly" in rates.verdict
    assert "easier prompts or supervised fine-tuning first" in rates.verdict


def test_prompts_that_always_or_never_pass_cannot_start_whatever_the_mean():
    rates = passing(*[8] * 10, *[0] * 10, 4)
    assert 0.4 < rates.reward < 0.6
    assert rates.level == "cannot start"
    assert "only 4.8 % of groups of 8" in rates.verdict
    assert rates.headline == "Reinforcement cannot start: only 4.8 % of groups are expected to be mixed"
    assert (len(rates.always), len(rates.never)) == (10, 10)


def test_a_grader_without_a_number_is_named_with_its_reason():
    rates = pass_rates(sampled((math.nan,) * 2))
    assert rates.level == "cannot start"
    assert rates.verdict == (
        "Reinforcement cannot start: the grader gave no number for any of 2 answers (the judge refused). "
        "Repair the grader first."
    )
    assert rates.facts["reward"] is None


def test_answers_without_a_score_are_counted():
    rates = pass_rates(sampled((1.0, 0.0, math.nan), (1.0, 1.0, 0.0)))
    assert "1 answer: the judge refused" in rates._repr_html_()
    assert (rates.answers, rates.graded) == (6, 5)


def test_partial_credit_passes_from_the_calibrated_threshold_on():
    rates = pass_rates(sampled((0.2, 0.2, 0.6), (0.6, 0.9, 0.9)))
    assert rates.threshold.value == 0.6
    assert rates.by_prompt == pytest.approx((1 / 3, 1.0))
    assert "the mean reward of 6 answers to 2 prompts is 57 % of a full one" in rates.verdict
    assert rates.facts["right_or_wrong"] is False


def test_of_partial_credit_nobody_says_that_answers_pass():
    rates = pass_rates(sampled(*[(0.5,) * 8] * 10))
    assert rates.headline == ("Reinforcement cannot start: only 0 % of groups are expected to be mixed")
    assert rates.verdict.startswith(
        "Reinforcement cannot start: the mean reward of 80 answers to 10 prompts is 50 % of a full one "
    )
    assert "as all answers to most prompts earn the same." in rates.verdict
    assert pass_rates(sampled((0.02,) * 4)).headline == (
        "Reinforcement cannot start: 2.0 % of a full reward on average"
    )


def test_the_graders_own_threshold_counts_before_the_calibrated_one():
    rates = pass_rates(sampled((0.2, 0.9), (0.6, 0.9), pass_threshold=0.8))
    assert rates.by_prompt == (0.5, 0.5)
    assert "0.8: 50 % of the answers fail" in rates._repr_html_()


def test_the_distribution_has_a_bar_for_every_rate_that_samples_can_have():
    assert passing(0, 0, 1, 4, of=4).bars == ((0.0, 2), (0.25, 1), (0.5, 0), (0.75, 0), (1.0, 1))


def test_the_bars_at_the_ends_hold_only_what_never_or_always_passes():
    rates = passing(0, 1, 31, 32, 32, of=32)
    assert [prompts for _, prompts in rates.bars] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2]
    assert (len(rates.never), len(rates.always)) == (1, 2)


@pytest.mark.parametrize(("multiplier", "size"), [(None, 8), (1.5, 12), (0.1, 2)])
def test_the_group_follows_the_jobs_compute(multiplier: float | None, size: int):
    assert passing(4, compute_multiplier=multiplier).group_size == size


def test_one_answer_a_prompt_tells_no_rate():
    with pytest.raises(DataError, match="samples=8"):
        pass_rates(sampled((1.0,), (0.0,)))


# The stop before a launch

FIT = GraderQuality((Check("always gives a number", "passed", "it did."),), "exact")
UNFIT = GraderQuality((Check("always gives a number", "refused", "3 of 9 times it gave none."),), "exact")


def test_what_cannot_start_stops_with_every_reason():
    with pytest.raises(DataError) as stopped:
        require(passing(0, 0), UNFIT)
    assert "Reinforcement cannot start" in str(stopped.value)
    assert "Do not train with the grader exact. Always gives a number: 3 of 9 times it gave none." in str(
        stopped.value
    )
    assert "START_ANYWAY" in str(stopped.value)


def test_anyway_goes_on_and_says_so():
    assert require(passing(0, 0), FIT, anyway=True).startswith("Launched against this advice:\n")


def test_what_can_start_says_that():
    assert (
        require(passing(4, 4), FIT).splitlines()[-1] == "The grader exact is fit to train with, by 1 checks."
    )


def test_some_prompts_are_drawn_at_random_and_always_the_same():
    rows = Dataset("p", tuple(Example(({"role": "user", "content": str(n)},), f"p:{n}") for n in range(50)))
    some = drawn(rows, 5, seed=1)
    assert [e.origin for e in some] == [e.origin for e in drawn(rows, 5, seed=1)]
    assert [e.origin for e in some] != [e.origin for e in rows[:5]]
    assert drawn(rows, None) is rows
