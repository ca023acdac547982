"""Diagnoses of made curves: each verdict and each flag on both sides of its rule."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import DataError
from workbench.training.curve import Curve
from workbench.training.diagnosis import FLAGS, METHODS, VERDICTS, diagnose
from workbench.training.trends import epoch_length


def levels(*parts: tuple[float, int]) -> list[float]:
    """A series of plateaus: ``(1.0, 50), (0.5, 50)`` is fifty times 1.0, then fifty times 0.5."""
    return [value for value, count in parts for _ in range(count)]


def curve(columns: dict[str, Sequence[float]], **sparse: dict[int, float]) -> Curve:
    """Columns measured at each step from 1 on, and others measured at some steps only."""
    length = max(map(len, columns.values()))
    frame = pd.DataFrame(columns, index=pd.RangeIndex(1, length + 1, name="step"), dtype=float)
    for name, values in sparse.items():
        frame[name] = pd.Series(values)
    return Curve(frame)


def losses(train: Sequence[float], **sparse: dict[int, float]) -> Curve:
    return curve({"train_loss": train}, **sparse)


FALLING = [2.0 * 0.98**step for step in range(100)]  # to 0.27
GOOD = {25: 1.6, 50: 1.01, 75: 1.0, 100: 1.0}


def verdict_of(train: Sequence[float], full: dict[int, float] = GOOD, **known: float) -> str:
    return diagnose(losses(train, full_valid_loss=full), steps_per_epoch=1000, **known).verdict


# Diverged


@pytest.mark.parametrize("name", ["train_loss", "valid_loss", "full_valid_loss"])
def test_an_infinite_loss_has_diverged_at_any_length(name):
    diagnosis = diagnose(curve({"train_loss": [1.0, 1.0, 1.0], name: [1.0, math.inf, 1.0]}))
    assert (diagnosis.verdict, diagnosis.evidence[0].step) == ("diverged", 2)
    assert diagnosis.confidence == "high"


def test_a_loss_that_is_no_number_has_diverged_and_a_gap_has_not():
    gap = losses([*FALLING[:-1], math.nan], full_valid_loss=GOOD)
    assert diagnose(gap).verdict == "healthy"
    undefined = {"train_loss": gap.frame["train_loss"].isna().to_numpy()}
    diagnosis = diagnose(Curve(gap.frame, undefined=undefined))
    assert (diagnosis.verdict, diagnosis.evidence[0].step) == ("diverged", 100)


@pytest.mark.parametrize(("end", "diverges"), [(1.26, True), (1.24, False)])
def test_a_loss_a_quarter_above_its_start_has_diverged(end, diverges):
    assert (verdict_of(levels((1.0, 50), (end, 50))) == "diverged") is diverges


@pytest.mark.parametrize(("end", "diverges"), [(1.52, True), (1.48, False)])
def test_a_last_tenth_half_above_the_lowest_has_diverged(end, diverges):
    assert (verdict_of(levels((4.0, 50), (1.0, 50), (end, 50))) == "diverged") is diverges


@pytest.mark.parametrize(("end", "diverges"), [(0.31, True), (0.29, False)])
def test_a_ratio_between_two_losses_near_nothing_is_no_divergence(end, diverges):
    assert (verdict_of(levels((4.0, 50), (0.001, 50), (end, 50))) == "diverged") is diverges


# Too little to judge by


@pytest.mark.parametrize(("steps", "verdict"), [(9, "insufficient_data"), (10, "no_validation_cannot_judge")])
def test_ten_steps_are_needed(steps, verdict):
    assert diagnose(losses(FALLING[:steps])).verdict == verdict


@pytest.mark.parametrize(("points", "verdict"), [(4, "insufficient_data"), (5, "no_validation_cannot_judge")])
def test_five_points_are_needed_where_every_tenth_step_is_told(points, verdict):
    told = {10 * number: 1.0 for number in range(1, points + 1)}
    assert diagnose(losses([math.nan], train_loss=told)).verdict == "insufficient_data"
    frame = pd.DataFrame({"train_loss": told}).rename_axis("step")
    assert diagnose(Curve(frame)).verdict == verdict


def test_nothing_measured_is_too_little():
    assert diagnose(Curve(pd.DataFrame())).verdict == "insufficient_data"
    assert diagnose(losses([math.nan] * 50)).verdict == "insufficient_data"
    assert diagnose(losses([-1.0] * 50)).verdict == "insufficient_data"  # -1 is "not measured"


@pytest.mark.parametrize("name", ["valid_loss", "full_valid_loss"])
def test_one_validation_is_none_and_two_are_some(name):
    once = diagnose(losses(FALLING, **{name: {50: 1.0}}))
    assert once.verdict == "no_validation_cannot_judge"
    assert once.evidence[0].sentence == "validation loss was measured once"
    twice = diagnose(losses(FALLING, **{name: {50: 1.0, 100: 1.0}}))
    assert twice.verdict == "healthy"


def test_the_whole_validation_set_is_preferred_to_its_batches():
    batches = dict(zip(range(1, 101), FALLING, strict=True))
    rising = diagnose(losses(FALLING, valid_loss=batches, full_valid_loss={50: 1.0, 100: 1.5}))
    assert rising.verdict == "overfitting_severe"
    one = diagnose(losses(FALLING, valid_loss=batches, full_valid_loss={100: 1.5}))
    assert "each validation loss is of one batch, not of the whole set" in one.doubts


# Leakage


MEMORISED = levels((2.0, 60), (1.19, 60))  # 0.595 of what it was at step 40, the end of the first epoch


@pytest.mark.parametrize(
    ("train", "valid_end", "steps_per_epoch", "suspected"),
    [
        (MEMORISED, 1.30, 40, True),
        (levels((2.0, 60), (1.21, 60)), 1.30, 40, False),  # 0.605
        (MEMORISED, 1.32, 40, False),  # above 1.10 times 1.19
        (MEMORISED, 1.30, 50, False),  # 2.4 epochs
        (MEMORISED, 1.30, 48, True),  # 2.5 epochs
    ],
)
def test_validation_that_falls_as_far_as_memorisation_is_suspected(
    train, valid_end, steps_per_epoch, suspected
):
    measured = losses(train, full_valid_loss={40: 2.0, 80: 1.4, 120: valid_end})
    verdict = diagnose(measured, steps_per_epoch=steps_per_epoch).verdict
    assert (verdict == "leakage_suspected") is suspected


@pytest.mark.parametrize(
    ("second", "valid", "suspected"),
    [
        (1.78, {1: 2.4, 120: 1.90}, True),  # stairs of 11 %; 1.90 is below 1.10 times 1.78 and 0.8 times 2.4
        (1.82, {1: 2.4, 120: 1.90}, False),  # stairs of 9 %
        (1.78, {1: 2.4, 120: 1.97}, False),  # too far above the training loss
        (1.78, {1: 2.3, 120: 1.90}, False),  # validation fell by 17 % only
    ],
)
def test_stairs_that_validation_goes_down_too_are_suspected(second, valid, suspected):
    measured = losses(levels((2.0, 40), (second, 80)), full_valid_loss=valid)
    assert (diagnose(measured, n_epochs=3).verdict == "leakage_suspected") is suspected


@pytest.mark.parametrize(("share", "suspected"), [(0.84, True), (0.86, False)])
def test_validation_below_training_throughout_the_second_half_is_suspected(share, suspected):
    valid = {60: 1.0 * share, 80: 1.0 * share, 100: 1.0 * share}
    verdict = verdict_of(levels((2.0, 30), (1.0, 70)), valid)
    assert (verdict == "leakage_suspected") is suspected


def test_one_late_value_above_takes_the_suspicion_away():
    assert verdict_of(levels((2.0, 30), (1.0, 70)), {60: 0.8, 80: 0.9, 100: 0.8}) != "leakage_suspected"


def test_a_moving_average_that_comes_late_is_not_taken_for_a_leak():
    steep = [2.0 * 0.95**step for step in range(100)]  # the average is 1.24 times as high as the loss itself
    assert verdict_of(steep, {step: steep[step - 1] for step in (55, 65, 75, 85)}) != "leakage_suspected"


def test_a_search_that_found_no_leak_sets_the_suspicion_aside():
    measured = losses(MEMORISED, full_valid_loss={40: 2.0, 80: 1.3, 120: 1.3})
    assert diagnose(measured, steps_per_epoch=40, leaks=0).verdict == "healthy"
    suspected = diagnose(measured, steps_per_epoch=40)
    assert "the data were not searched for equal rows" in suspected.doubts
    found = diagnose(measured, steps_per_epoch=40, leaks=3)
    assert found.verdict == "leakage_suspected"
    assert "the data were not searched for equal rows" not in found.doubts


# Overfitting, underfitting, improving, healthy


@pytest.mark.parametrize(
    ("end", "verdict"),
    [(1.04, "healthy"), (1.06, "overfitting_mild"), (1.19, "overfitting_mild"), (1.21, "overfitting_severe")],
)
def test_validation_above_its_lowest_while_training_falls_is_overfitting(end, verdict):
    assert verdict_of(FALLING, {25: 1.6, 50: 1.0, 100: end}) == verdict


def test_overfitting_tells_the_best_step_and_its_source():
    rise, direction = diagnose(losses(FALLING, full_valid_loss={25: 1.6, 50: 1.0, 100: 1.5})).evidence[:2]
    assert (rise.step, rise.value, rise.threshold) == (50, pytest.approx(0.5), 0.2)
    assert rise.sentence == "the validation loss ends 50.0% above its lowest, 1 at step 50"
    assert direction.sentence.startswith("the training loss fell since then")


def test_validation_that_rises_beside_a_training_loss_that_does_not_fall_cannot_be_told():
    assert verdict_of(levels((2.0, 30), (1.0, 70)), {25: 1.6, 90: 1.0, 100: 1.1}) == "overfitting_mild"
    assert verdict_of(levels((2.0, 30), (1.0, 50), (1.1, 20)), {25: 1.6, 50: 1.0, 100: 1.1}) == "cannot_tell"


@pytest.mark.parametrize(
    ("train_end", "valid_end", "verdict"),
    [(0.91, 0.91, "underfitting"), (0.89, 0.91, "healthy"), (0.91, 0.89, "healthy")],
)
def test_two_losses_that_fall_by_less_than_a_tenth_are_underfitting(train_end, valid_end, verdict):
    valid = {1: 1.0, 50: valid_end, 100: valid_end}
    assert verdict_of(levels((1.0, 40), (train_end, 60)), valid) == verdict


@pytest.mark.parametrize(
    ("before", "lowest", "verdict"),
    [(1.03, 1.0, "still_improving"), (1.015, 1.0, "healthy"), (1.03, 0.99, "healthy")],
)
def test_validation_that_fell_in_the_last_quarter_to_its_lowest_still_improves(before, lowest, verdict):
    assert verdict_of(FALLING, {1: 2.0, 75: before, 90: lowest, 100: 1.0}) == verdict


# A run against its own noise: the first steps, flat runs, single batches


@pytest.mark.parametrize("seed", range(8))
def test_an_explosion_within_the_first_steps_has_diverged(seed):
    draw = np.random.default_rng(seed)
    first = [2.5, 124, 1164, 58, 160, 369, 19, 13]
    train = [*first, *draw.normal(8, 1.5, 192).clip(4)]
    full = {step: float(draw.uniform(6.8, 10.4)) for step in range(10, 201, 10)}
    diagnosis = diagnose(losses(train, full_valid_loss=full))
    assert (diagnosis.verdict, diagnosis.evidence[0].step) == ("diverged", 2)
    assert diagnosis.evidence[0].sentence.startswith(
        "the training loss exploded at step 2, from 2.5 to 1164, and stays at "
    )


def test_a_spike_in_the_first_steps_that_is_made_good_is_no_divergence():
    assert verdict_of([2.0, 90.0, 40.0, *FALLING[3:]]) == "healthy"


@pytest.mark.parametrize("seed", range(8))
def test_a_run_that_learnt_nothing_is_never_healthy(seed):
    train = np.random.default_rng(seed).normal(2.2, 0.22, 180)
    full = {step: 2.122 - 2e-6 * step for step in range(8, 181, 8)}
    diagnosis = diagnose(losses(list(train), full_valid_loss=full))
    assert diagnosis.verdict == "underfitting"
    assert "the validation loss fell by 0.0%" in repr(diagnosis)


def test_validation_that_does_not_follow_a_training_loss_down_is_no_learning():
    full = {step: 2.122 - 1e-5 * step for step in range(8, 101, 8)}
    assert verdict_of([2.2 * 0.98**step for step in range(100)], full) == "memorised"
    later = {step: loss for step, loss in full.items() if step > 50}  # what was learnt before, nobody knows
    assert verdict_of([2.2 * 0.98**step for step in range(100)], later) == "healthy"


ROUND = [1.5, 1.6, 2.2, 1.2, 1.8, 1.9, 1.2, 1.8, 1.5, 1.4, 1.8, 0.95, 1.7, 1.7, 1.0, 1.85, 1.3, 1.2, 1.8, 1.0]


@pytest.mark.parametrize("ends", [55, 57, 59])
def test_the_luck_of_single_batches_is_no_overfitting(ends):
    # The same twenty batches come round, each time 4 % lower; the round ends with a hard one.
    batches = [value * 0.96**turn for turn in range(3) for value in ROUND][:ends]
    train = [1.379 * 0.985**step for step in range(ends)]
    diagnosis = diagnose(losses(train, valid_loss=dict(enumerate(batches, 1))))
    assert diagnosis.verdict in ("cannot_tell", "healthy")


def test_a_rise_of_single_batches_beyond_their_noise_is_overfitting():
    factors = np.array(ROUND * 3) / np.mean(ROUND)
    rising = np.concatenate([np.linspace(2, 1, 25), np.linspace(1, 2.5, 35)]) * factors
    train = [2.0 * 0.96**step for step in range(60)]
    assert diagnose(losses(train, valid_loss=dict(enumerate(rising, 1)))).verdict == "overfitting_severe"


def test_a_whole_set_outranks_the_luck_of_its_batches():
    batches = {step: 1.0 + (step % 7) / 5 for step in range(1, 101)}
    diagnosis = diagnose(losses(FALLING, valid_loss=batches, full_valid_loss=GOOD))
    assert diagnosis.verdict == "healthy"


@pytest.mark.parametrize("valid", [(0.395, 0.4155, 0.389), (1.0, 1.1, 1.02), (0.8, 0.9, 0.82, 0.84)])
def test_a_few_validations_without_direction_are_too_little(valid):
    measured = losses(FALLING, full_valid_loss={25 * (place + 1): loss for place, loss in enumerate(valid)})
    diagnosis = diagnose(measured, steps_per_epoch=1000)
    assert diagnosis.verdict == "insufficient_data"
    assert f"{len(valid)} validations show no direction" in diagnosis.evidence[0].sentence


@pytest.mark.parametrize("valid", [(2.0, 1.5, 1.2), (2.0, 1.0, 1.3), (1.0, 1.2, 1.4), (2.0, 2.01, 1.2)])
def test_a_few_validations_with_a_direction_are_judged(valid):
    measured = losses(FALLING, full_valid_loss={25 * (place + 1): loss for place, loss in enumerate(valid)})
    assert diagnose(measured, steps_per_epoch=1000).verdict != "insufficient_data"


# A training loss at zero, and one that is a sum


def at_zero(draw: np.random.Generator) -> list[float]:
    late = np.where(draw.random(270) < 0.2, draw.uniform(0, 0.1, 270), 0)
    return [*(3.6 * 0.85**step for step in range(1, 31)), *late]


@pytest.mark.parametrize("seed", range(4))
def test_a_training_loss_at_zero_is_learnt_by_heart_or_too_easy_and_no_noise(seed):
    diagnosis = diagnose(losses(at_zero(np.random.default_rng(seed))))
    assert (diagnosis.verdict, diagnosis.flags) == ("memorised", ("training_loss_at_zero",))
    assert diagnosis.title == "The training examples are learnt by heart, or too easy"


def test_a_training_loss_at_zero_that_validation_follows_is_flagged_only():
    full = {step: 0.2 + 2 * 0.97**step for step in range(30, 301, 30)}
    diagnosis = diagnose(losses(at_zero(np.random.default_rng(0)), full_valid_loss=full))
    assert diagnosis.verdict in ("healthy", "still_improving")
    assert "training_loss_at_zero" in diagnosis.flags


@pytest.mark.parametrize("accumulated", [4, 8, 16])
def test_a_loss_summed_over_accumulation_steps_is_recognised(accumulated):
    full = {step: 1.1 * FALLING[step - 1] for step in range(10, 101, 10)}
    diagnosis = diagnose(losses([accumulated * loss for loss in FALLING], full_valid_loss=full))
    assert diagnosis.verdict == "still_improving"
    assert "summed_loss" in diagnosis.flags
    assert "large_gap" not in diagnosis.flags


def test_a_training_loss_a_fifth_above_validation_is_no_sum():
    full = {step: FALLING[step - 1] / 1.2 for step in range(10, 101, 10)}
    assert "summed_loss" not in diagnose(losses(FALLING, full_valid_loss=full)).flags


# The length of an epoch


def test_the_interval_of_validations_is_no_epoch():
    fast = [0.3 + 2 * 0.9**step for step in range(100)]
    every_ten = {step: 0.3 + 2 * 0.9**step for step in range(10, 101, 10)}
    assert diagnose(losses(fast, full_valid_loss=every_ten)).verdict == "healthy"
    assert epoch_length(losses(fast, full_valid_loss=every_ten)) is None
    single = dict.fromkeys(range(1, 101), 1.0)  # a service measures single batches in between
    assert epoch_length(losses(fast, valid_loss=single, full_valid_loss=every_ten)) == 10
    assert epoch_length(losses(fast, full_valid_loss={25: 1.0, 50: 1.0, 75: 1.0, 100: 1.0})) == 25
    assert epoch_length(losses(fast, full_valid_loss={25: 1.0, 50: 1.0, 75: 1.0})) is None


# Several evaluation sets, and a task beside the loss


def test_each_evaluation_set_has_its_say_and_the_gravest_is_the_verdict():
    rising = {step: 1.0 + step / 100 for step in range(10, 101, 10)}
    good = {step: 0.5 + 2 * 0.9**step for step in range(10, 101, 10)}
    diagnosis = diagnose(losses(FALLING, eval_news_loss=good, eval_law_loss=rising), steps_per_epoch=1000)
    assert diagnosis.verdict == "overfitting_severe"
    assert diagnosis.evidence[0].sentence.startswith("on law, the validation loss ends 81.8% above")
    assert {name: each.verdict for name, each in diagnosis.by_set.items()} == {
        "news": "healthy",
        "law": "overfitting_severe",
    }
    assert "on news: The curve is healthy:" in repr(diagnosis)
    assert json.loads(json.dumps(diagnosis.facts))["sets"]["news"]["verdict"] == "healthy"


def test_a_single_named_set_is_the_validation_set():
    diagnosis = diagnose(losses(FALLING, eval_test_loss=GOOD), steps_per_epoch=1000)
    assert (diagnosis.verdict, diagnosis.by_set) == ("healthy", {})


WER = {20: 0.789, 40: 0.748, 60: 0.743, 80: 0.744, 100: 0.745}
RISING_LOSS = {20: 0.321, 40: 0.358, 60: 0.394, 80: 0.412, 100: 0.42}


def test_a_task_that_goes_on_getting_better_has_its_say_on_overfitting():
    by_loss = diagnose(losses(FALLING, full_valid_loss=RISING_LOSS))
    both = diagnose(losses(FALLING, full_valid_loss=RISING_LOSS, eval_wer=WER))
    assert (by_loss.verdict, both.verdict) == ("overfitting_severe", "overfitting_mild")
    assert "task_disagrees" in both.flags
    assert "wer was best at step 60 (0.743), the validation loss at step 20 (wer 0.789)" in repr(both)
    got_worse = {20: 0.7, 40: 0.748, 60: 0.76, 80: 0.77, 100: 0.79}
    agrees = diagnose(losses(FALLING, full_valid_loss=RISING_LOSS, eval_wer=got_worse))
    assert (agrees.verdict, "task_disagrees" in agrees.flags) == ("overfitting_severe", False)


# Flags


@pytest.mark.parametrize(("swing", "flagged"), [(0.28, True), (0.26, False)])
def test_a_loss_that_jumps_about_is_noisy(swing, flagged):
    # A weight of 0.8 leaves a ninth of an alternation, so that the residuals are 8/9 of the swing:
    # 1.4826 * 8/9 * 0.28 = 0.369 beside a median of 1.03.
    flags = diagnose(losses([*[1 + swing, 1 - swing] * 50, 1 + swing])).flags
    assert ("noisy" in flags) is flagged


@pytest.mark.parametrize(("end", "flagged"), [(1.51, True), (1.49, False)])
def test_a_validation_loss_half_above_training_is_a_large_gap(end, flagged):
    measured = losses(levels((2.0, 30), (1.0, 70)), full_valid_loss={25: 1.6, 100: end})
    assert ("large_gap" in diagnose(measured).flags) is flagged


def test_losses_near_nothing_are_no_gap_and_their_flag_speaks_not_against_the_advice():
    # As the sample's own run: from 6 to nearly 0 within an epoch, and the validation loss still falls.
    falling = [6.15 * 0.92**step for step in range(80)] + [0.012, 0.004] * 28
    diagnosis = diagnose(losses(falling, full_valid_loss={45: 0.199, 90: 0.089, 136: 0.072}), n_epochs=3)
    assert (diagnosis.verdict, diagnosis.flags) == ("still_improving", ("training_loss_at_zero",))
    assert diagnosis.action.startswith("Train one or two epochs more")
    assert "epochs" not in FLAGS["training_loss_at_zero"]


@pytest.mark.parametrize(("second", "flagged"), [(1.79, True), (1.81, False)])
def test_a_loss_that_falls_where_an_epoch_ends_makes_stairs(second, flagged):
    measured = losses(levels((2.0, 40), (second, 40)))
    assert ("epoch_boundary_drop" in diagnose(measured, n_epochs=2).flags) is flagged


def test_a_fall_in_the_middle_of_an_epoch_or_within_its_noise_is_no_stair():
    assert diagnose(losses(levels((2.0, 30), (1.0, 50))), n_epochs=2).flags == ()
    jumping = [
        level + swing for level, swing in zip(levels((2.0, 40), (1.7, 40)), [0.5, -0.5] * 40, strict=True)
    ]
    assert diagnose(losses(jumping), n_epochs=2).flags == ()
    assert diagnose(losses(FALLING), n_epochs=2).flags == ()


def test_regular_full_validations_tell_where_epochs_end():
    stairs = levels((2.0, 40), (1.5, 40), (1.0, 40))
    regular = diagnose(losses(stairs, full_valid_loss={40: 2.0, 80: 2.0, 120: 2.0}))
    assert "epoch_boundary_drop" in regular.flags
    irregular = diagnose(losses(stairs, full_valid_loss={40: 2.0, 70: 2.0, 120: 2.0}))
    assert "epoch_boundary_drop" not in irregular.flags


# Preference jobs


@pytest.mark.parametrize(("low", "verdict"), [(20, "memorised"), (19, "no_validation_cannot_judge")])
def test_preference_pairs_that_cost_nothing_any_more_are_memorised(low, verdict):
    train = levels((0.69, 50), (0.3, 30), (0.004, low), (0.04, 30))
    assert diagnose(losses(train), method="dpo").verdict == verdict
    assert diagnose(losses(train), method="sft").verdict == "no_validation_cannot_judge"


@pytest.mark.parametrize(("valid", "memorised"), [(0.012, False), (0.2, True)])
def test_pairs_are_memorised_unless_validation_follows(valid, memorised):
    train = levels((0.69, 50), (0.3, 30), (0.004, 60))
    measured = losses(train, full_valid_loss={50: 0.6, 100: 0.2, 140: valid})
    assert (diagnose(measured, method="dpo").verdict == "memorised") is memorised


def pairs(shares: dict[int, float], margins: dict[int, float], **more: Sequence[float]) -> Curve:
    """A preference job of 100 steps whose losses fall to the end."""
    named = {"full_valid_rewards/accuracies": shares, "full_valid_rewards/margins": margins}
    train = [0.69 * 0.985**step for step in range(100)]
    falling = {25: 0.5, 50: 0.4, 75: 0.3, 100: 0.22}
    return curve({"train_loss": train, **more}, full_valid_loss=falling, **named)


GROWING = {25: 0.4, 50: 0.9, 75: 1.6, 100: 2.5}


def test_a_preference_job_whose_validation_pairs_are_all_right_is_told_that_this_is_enough():
    found = diagnose(pairs({25: 0.9, 50: 1.0, 75: 1.0, 100: 1.0}, GROWING), method="dpo")
    assert found.verdict == "pairs_in_order"
    assert found.evidence[0].sentence == (
        "every validation pair is in the right order since step 50, and the margin grew from 0.9 to 2.5"
    )
    assert found.action.startswith("Do not train longer")


@pytest.mark.parametrize(
    ("shares", "margins"),
    [
        ({25: 0.9, 50: 1.0, 75: 1.0, 100: 0.98}, GROWING),
        ({100: 1.0}, GROWING),
        ({25: 0.9, 100: 1.0}, {}),
        ({25: 1.0, 50: 1.0, 75: 1.0, 100: 1.0}, {25: 0.4, 50: 0.9, 75: 1.6, 100: 0.3}),
    ],
    ids=["one pair is wrong", "measured once", "no margin", "the margin shrinks"],
)
def test_it_is_not_enough_while_a_pair_is_wrong_or_the_margin_does_not_grow(shares, margins):
    assert diagnose(pairs(shares, margins), method="dpo").verdict == "still_improving"


def test_falling_preferred_answers_are_told_before_that_all_pairs_are_right():
    displaced = {
        "rewards/chosen": [-0.01 * step for step in range(100)],
        "rewards/margins": [0.02 * step for step in range(100)],
        "logps/chosen": [-20.0 - 0.1 * step for step in range(100)],
    }
    found = diagnose(pairs({25: 1.0, 50: 1.0, 75: 1.0, 100: 1.0}, GROWING, **displaced), method="dpo")
    assert found.verdict == "likelihood_displacement"
    assert found.flags == ("likelihood_displacement",)
    assert "the log-probability of the preferred answers fell" in found.evidence[0].sentence


def test_columns_of_pairs_or_rewards_tell_the_method():
    train = levels((0.69, 50), (0.004, 60))
    assert diagnose(curve({"train_loss": train, "rewards/margins": train})).verdict == "memorised"
    assert diagnose(curve({"train_mean_reward": [0.0] * 20})).verdict == "no_signal"


# Reinforcement


def rewards(train: Sequence[float], valid: dict[int, float] | None = None, **more: Sequence[float]) -> Curve:
    columns = {"train_mean_reward": train, **more}
    return curve(columns, full_valid_mean_reward=valid) if valid else curve(columns)


RISING = levels((0.3, 30), (0.5, 30))


@pytest.mark.parametrize(
    ("level", "verdict"),
    [
        (0.04, "no_signal"),
        (0.06, "no_validation_cannot_judge"),
        (0.81, "no_signal"),
        (0.79, "no_validation_cannot_judge"),
    ],
)
def test_a_reward_that_is_flat_at_the_bottom_or_at_the_top_teaches_nothing(level, verdict):
    assert diagnose(rewards([level] * 40), method="rft").verdict == verdict


def test_a_reward_that_moves_or_has_another_scale_is_no_missing_signal():
    assert diagnose(rewards(levels((0.8, 30), (0.9, 30))), method="rft").verdict != "no_signal"
    assert diagnose(rewards([5.0] * 40), method="rft").verdict != "no_signal"


@pytest.mark.parametrize(("valid", "verdict"), [(0.39, "reward_hacking"), (0.41, "healthy")])
def test_a_training_reward_a_tenth_above_validation_is_no_learning(valid, verdict):
    diagnosis = diagnose(rewards(RISING, {1: 0.3, 40: valid, 60: valid}), method="rft")
    assert diagnosis.verdict == verdict
    assert "watch_the_gap" in diagnosis.flags


@pytest.mark.parametrize(("valid", "flagged"), [(0.44, True), (0.46, False)])
def test_half_of_that_gap_is_worth_a_look(valid, flagged):
    assert ("watch_the_gap" in diagnose(rewards(RISING, {1: 0.3, 60: valid}), method="rft").flags) is flagged


@pytest.mark.parametrize(("tokens", "verdict"), [(301, "reward_hacking"), (299, "healthy")])
@pytest.mark.parametrize("name", ["completion_tokens_mean", "reasoning_tokens_mean"])
def test_answers_three_times_as_long_please_the_grader(name, tokens, verdict):
    longer = {name: levels((100, 30), (tokens, 30))}
    measured = rewards(RISING, {1: 0.3, 40: 0.5, 60: 0.5}, **longer)
    assert diagnose(measured, method="rft").verdict == verdict


@pytest.mark.parametrize(("end", "verdict"), [(0.44, "reward_hacking"), (0.46, "healthy")])
def test_a_training_reward_that_rises_while_validation_falls_is_no_learning(end, verdict):
    assert diagnose(rewards(RISING, {1: 0.3, 30: 0.5, 60: end}), method="rft").verdict == verdict


@pytest.mark.parametrize(
    ("valid", "verdict"),
    [
        ({60: 0.45}, "no_validation_cannot_judge"),
        ({1: 0.44, 60: 0.48}, "underfitting"),
        ({1: 0.42, 30: 0.48, 60: 0.48}, "healthy"),
        ({1: 0.3, 45: 0.45, 60: 0.48}, "still_improving"),
        ({1: 0.3, 45: 0.47, 60: 0.48}, "healthy"),
        ({1: 0.3, 45: 0.45, 50: 0.49, 60: 0.48}, "healthy"),
    ],
)
def test_the_validation_reward_tells_whether_it_learns(valid, verdict):
    assert diagnose(rewards(RISING, valid), method="rft").verdict == verdict


# Confidence, and what it looks like


def test_each_doubt_lowers_the_confidence():
    assert diagnose(losses(FALLING, full_valid_loss=GOOD | {90: 1.0}), n_epochs=4).confidence == "high"
    few = diagnose(losses(FALLING, full_valid_loss=GOOD), n_epochs=4)
    assert (few.confidence, few.doubts) == ("medium", ("validation was measured at 4 steps only",))
    assert diagnose(losses(FALLING[:15], valid_loss={1: 2.0, 15: 1.0})).confidence == "low"


def test_a_number_close_to_its_threshold_is_said_to_be():
    diagnosis = diagnose(losses(FALLING, full_valid_loss={25: 1.6, 50: 1.0, 100: 1.21}), n_epochs=4)
    assert diagnosis.doubts[0] == "0.21 is close to the threshold of 0.2"


def test_it_shows_itself_as_text_table_and_json():
    diagnosis = diagnose(losses(FALLING), n_epochs=4)
    assert repr(diagnosis).splitlines()[0] == (
        "It cannot be judged without validation: validation loss was measured never."
    )
    assert "<caption" in diagnosis._repr_html_()
    assert diagnosis.facts["verdict"] == "no_validation_cannot_judge"
    assert json.loads(json.dumps(diagnosis.facts)) == diagnosis.facts


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        ({"method": "rlhf"}, "There is no method 'rlhf'; choose sft, dpo, rft."),
        ({"n_epochs": 0}, "n_epochs is 0; give a number above 0."),
        ({"steps_per_epoch": math.nan}, "steps_per_epoch is nan; give a number above 0."),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(known, sentence):
    with pytest.raises(DataError) as told:
        diagnose(losses(FALLING), **known)
    assert str(told.value) == sentence


COLUMNS = (
    "train_loss",
    "valid_loss",
    "full_valid_loss",
    "train_mean_reward",
    "full_valid_mean_reward",
    "completion_tokens_mean",
    "epoch",
    "eval_a_loss",
    "eval_b_loss",
    "eval_wer",
)
NUMBERS = st.one_of(st.floats(), st.floats(0, 3), st.just(math.nan), st.just(0.0))


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    steps = sorted(draw(st.sets(st.integers(0, 2**53), max_size=40)))
    names = draw(st.sets(st.sampled_from(COLUMNS)))
    cells = {name: draw(st.lists(NUMBERS, min_size=len(steps), max_size=len(steps))) for name in names}
    return pd.DataFrame(cells, index=pd.Index(steps, name="step", dtype="int64"), dtype=float)


def test_an_epoch_too_short_for_a_number_is_no_epoch(monkeypatch):
    monkeypatch.setattr("workbench.training.diagnosis.epoch_length", lambda *_: 0.0)  # as when 5e-324 is 0.0
    assert diagnose(losses([0.0]), n_epochs=1e308).verdict == "insufficient_data"


@settings(max_examples=400, deadline=None)
@given(
    frames(),
    st.sampled_from([None, *METHODS]),
    st.none() | st.floats(0, exclude_min=True, allow_infinity=False, allow_subnormal=False),
    st.none() | st.floats(0, exclude_min=True, allow_infinity=False, allow_subnormal=False),
)
def test_no_curve_makes_it_raise(frame, method, n_epochs, steps_per_epoch):
    diagnosis = diagnose(Curve(frame), method=method, n_epochs=n_epochs, steps_per_epoch=steps_per_epoch)
    assert diagnosis.verdict in VERDICTS
    assert set(diagnosis.flags) <= set(FLAGS)
    json.dumps(diagnosis.facts, allow_nan=False)
    assert repr(diagnosis).startswith(diagnosis.title)
    assert np.isfinite([each.threshold for each in diagnosis.evidence if each.threshold is not None]).all()
