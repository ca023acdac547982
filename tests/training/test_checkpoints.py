"""Which checkpoint to use: the order of the measures, the one-standard-error rule, and what still exists."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from workbench.errors import DataError
from workbench.training.checkpoints import (
    advise_stopping,
    choose_checkpoint,
    evaluations_without_improvement,
    generalisation_loss,
    progress_quotient,
    successive_rises,
    training_progress,
)
from workbench.training.curve import Curve


def curve(steps: int = 50, **sparse: dict[int, float]) -> Curve:
    """A training loss that falls to its end, and what else was measured."""
    frame = pd.DataFrame({"train_loss": 1.0}, index=pd.RangeIndex(1, steps + 1, name="step"))
    frame["train_loss"] /= frame.index
    for name, values in sparse.items():
        frame[name] = pd.Series(values)
    return Curve(frame)


def checkpoint(step: int, **metrics: float) -> FineTuningJobCheckpoint:
    return FineTuningJobCheckpoint.model_validate(
        {
            "id": f"ftchkpt-{step}",
            "created_at": 1,
            "fine_tuned_model_checkpoint": f"nano.ft-1:ckpt-step-{step}",
            "fine_tuning_job_id": "ftjob-1",
            "metrics": metrics | {"step": step},
            "object": "fine_tuning.job.checkpoint",
            "step_number": step,
        }
    )


EPOCHS = {10: 1.0, 20: 0.8, 30: 0.7, 40: 0.9, 50: 1.1}


def right(count: int, of: int = 100) -> list[float]:
    return [1.0] * count + [0.0] * (of - count)


# The task's score


@pytest.mark.parametrize(("first", "chosen"), [(76, 10), (75, 20)])
def test_the_earliest_score_within_one_standard_error_of_the_best_is_taken(first, chosen):
    # 80 of 100: the standard error is sqrt(0.8 * 0.2 / 99) = 0.0402
    choice = choose_checkpoint(curve(), scores={20: right(80), 30: right(79), 10: right(first)})
    assert choice.chosen is not None
    assert (choice.measure, choice.chosen.step) == ("task score", chosen)


def test_the_task_score_outranks_reward_and_loss():
    measured = curve(full_valid_loss=EPOCHS, full_valid_mean_reward=EPOCHS)
    choice = choose_checkpoint(measured, scores={40: right(20), 50: right(90)})
    assert choice.chosen is not None
    assert choice.chosen.step == 50


def test_the_reward_outranks_the_loss_and_knows_its_error_by_its_items():
    measured = curve(full_valid_loss=EPOCHS, full_valid_mean_reward={30: 0.75, 40: 0.8, 50: 0.8})
    exact = choose_checkpoint(measured, n_epochs=5)
    few_items = choose_checkpoint(measured, n_epochs=5, n_items=24)  # sqrt(0.8 * 0.2 / 24) = 0.082
    assert exact.chosen is not None
    assert few_items.chosen is not None
    assert (exact.measure, exact.chosen.step, few_items.chosen.step) == ("full_valid_mean_reward", 40, 30)


def test_an_error_that_nobody_knows_is_not_shown_as_0():
    measured = curve(full_valid_mean_reward={30: 0.75, 40: 0.8, 50: 0.833})
    unknown = choose_checkpoint(measured, n_epochs=5)
    assert [each.standard_error for each in unknown.checkpoints] == [None, None, None]
    assert unknown._repr_html_().count(">not known</td>") == 3
    known = choose_checkpoint(measured, n_epochs=5, n_items=24)  # sqrt(0.833 * 0.167 / 24)
    assert known.checkpoints[-1].standard_error == pytest.approx(0.0761, abs=1e-4)
    assert known.chosen is not None
    assert known.chosen.step == 40  # 0.8 is above 0.833 - 0.076


def test_all_of_24_items_right_is_no_certainty():
    choice = choose_checkpoint(curve(full_valid_mean_reward={40: 0.9, 50: 1.0}), n_epochs=5, n_items=24)
    assert choice.checkpoints[-1].standard_error == pytest.approx(0.0487, abs=1e-4)  # 26 of 28


# The loss


def test_the_lowest_full_validation_loss_is_taken():
    choice = choose_checkpoint(curve(full_valid_loss={10: 1.0, 30: 0.7, 40: 0.9, 50: 1.1}), n_epochs=5)
    assert choice.chosen is not None
    assert (choice.measure, choice.chosen.step) == ("full_valid_loss", 30)


@pytest.mark.parametrize(("early", "chosen"), [(0.72, 30), (0.90, 40)])
def test_losses_that_scatter_have_an_error_of_their_own(early, chosen):
    # Second differences 0.2, 0.3, 0.4 or alike: the scatter is about 1.4826 * 0.3 / sqrt(6) = 0.18.
    scattered = {10: 1.0, 20: 0.9, 30: early, 40: 0.7, 50: 0.75}
    spread = choose_checkpoint(curve(full_valid_loss=scattered), n_epochs=5)
    assert spread.chosen is not None
    assert spread.chosen.step == chosen


def test_the_training_loss_never_chooses():
    for measured in (curve(), curve(valid_loss=EPOCHS), curve(full_valid_loss={50: 0.7})):
        choice = choose_checkpoint(measured, n_epochs=5)
        assert choice.chosen is None
        assert repr(choice).startswith("It cannot be said: neither the task nor the whole validation set")


def test_between_the_ends_of_epochs_there_is_no_checkpoint():
    measured = curve(full_valid_loss={15: 0.1, 30: 0.7, 40: 0.9})
    choice = choose_checkpoint(measured, n_epochs=5)
    assert [each.step for each in choice.checkpoints] == [30, 40]


def test_an_epoch_that_does_not_fill_its_last_batch_ends_a_step_later():
    # 7 rows in batches of 2, three epochs: after ceil(3.5), 7 and ceil(10.5) steps
    choice = choose_checkpoint(curve(steps=11, full_valid_loss={4: 0.9, 7: 0.8, 11: 0.7}), n_epochs=3)
    assert [(each.step, each.kept) for each in choice.checkpoints] == [(4, True), (7, True), (11, True)]


# A Trainer's log, whose validations stand where somebody told it

WER = {1000: 0.789, 2000: 0.748, 3000: 0.743, 4000: 0.744, 5000: 0.745}
RISING_LOSS = {1000: 0.321, 2000: 0.358, 3000: 0.394, 4000: 0.412, 5000: 0.42}


def trainer_log(**sparse: dict[int, float]) -> Curve:
    """Epochs of 131 steps, logged at every tenth step."""
    steps = pd.RangeIndex(10, 5001, 10, name="step")
    frame = pd.DataFrame({"train_loss": 0.3 * 0.99 ** np.arange(500), "epoch": steps / 131}, index=steps)
    return Curve(frame.assign(**{name: pd.Series(values) for name, values in sparse.items()}))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("wer", WER),
        ("f1", {step: 1 - wer for step, wer in WER.items()}),
        ("accuracy", {step: 1 - wer for step, wer in WER.items()}),
    ],
)
def test_a_task_measure_outranks_the_loss_wherever_it_was_measured(name, values):
    choice = choose_checkpoint(trainer_log(**{"full_valid_loss": RISING_LOSS, f"eval_{name}": values}))
    assert choice.chosen is not None
    assert (choice.measure, choice.chosen.step, choice.chosen.kept) == (name, 3000, None)
    assert [each.step for each in choice.checkpoints] == [1000, 2000, 3000, 4000, 5000]
    assert choice.sentence.endswith(
        f"the earliest within one standard error of the best {name}, if it was saved."
    )


def test_without_a_task_measure_the_lowest_loss_is_taken_although_no_epoch_ends_there():
    choice = choose_checkpoint(trainer_log(full_valid_loss=RISING_LOSS))
    assert choice.chosen is not None
    assert (choice.measure, choice.chosen.step) == ("full_valid_loss", 1000)


def test_of_several_evaluation_sets_the_mean_chooses():
    law = {1000: 1.0, 2000: 0.8, 3000: 1.2}
    news = {1000: 1.0, 2000: 1.1, 3000: 0.9}
    choice = choose_checkpoint(trainer_log(eval_law_loss=law, eval_news_loss=news))
    assert choice.chosen is not None
    assert (choice.measure, choice.chosen.step) == ("mean loss on law, news", 2000)
    assert choice.chosen.value == pytest.approx(0.95)


def test_a_task_that_goes_on_getting_better_keeps_a_job_from_being_stopped():
    loss_alone = advise_stopping(trainer_log(full_valid_loss=RISING_LOSS))
    both = advise_stopping(trainer_log(full_valid_loss=RISING_LOSS, eval_wer=WER))
    assert (loss_alone.stop, loss_alone.best_step) == (True, 1000)
    assert (both.stop, both.measure, both.best_step) == (False, "wer", 3000)


# What still exists


def test_only_the_last_three_epochs_stay():
    choice = choose_checkpoint(curve(full_valid_loss={10: 0.5, 30: 0.8, 40: 0.9, 50: 1.0}), n_epochs=5)
    assert [(each.step, each.kept) for each in choice.checkpoints] == [
        (10, False),
        (30, True),
        (40, True),
        (50, True),
    ]
    assert choice.sentence == (
        "Use step 30, validation loss 0.8: the earliest with the best validation loss (how far chance "
        "reaches is not known) that still exists. Step 10 would be it, but is gone: train fewer epochs."
    )


def test_of_reinforcement_the_three_highest_rewards_stay():
    rewards = {10: 0.7, 20: 0.2, 30: 0.6, 40: 0.5, 50: 0.1}
    frame = pd.DataFrame({"full_valid_mean_reward": rewards}).rename_axis("step")
    choice = choose_checkpoint(Curve(frame), n_epochs=5)
    assert [each.step for each in choice.checkpoints if each.kept] == [10, 30, 40]


def test_the_services_list_tells_what_exists_and_its_name():
    kept = [checkpoint(50), checkpoint(40), checkpoint(30)]
    choice = choose_checkpoint(curve(full_valid_loss={10: 0.5} | EPOCHS), kept)
    assert choice.chosen is not None
    assert (choice.chosen.step, choice.chosen.model) == (30, "nano.ft-1:ckpt-step-30")


def test_a_curve_without_full_losses_takes_those_of_the_checkpoints():
    kept = [checkpoint(50, full_valid_loss=1.1), checkpoint(40, full_valid_loss=0.9)]
    choice = choose_checkpoint(curve(), kept)
    assert choice.chosen is not None
    assert choice.chosen.step == 40


def test_without_epochs_or_a_list_nobody_knows_what_exists():
    choice = choose_checkpoint(curve(full_valid_loss={12: 0.9, 30: 0.7, 41: 0.8}))
    assert choice.chosen is None
    assert choice.sentence == (
        "Step 30 is the earliest with the best validation loss (how far chance reaches is not known); "
        "list the checkpoints to see if it exists."
    )


def test_it_shows_itself_as_table_and_json():
    choice = choose_checkpoint(curve(full_valid_loss=EPOCHS), n_epochs=5)
    assert json.loads(json.dumps(choice.facts))["chosen"] == choice.facts["chosen"]
    assert "still exists" in choice._repr_html_()


def test_a_score_of_one_item_has_no_error():
    with pytest.raises(DataError, match=r"scores\[10\] holds 1 items; a standard error needs at least two"):
        choose_checkpoint(curve(), scores={10: [1.0]})


def test_a_reward_that_is_the_same_everywhere_leaves_the_choice_to_the_loss():
    nothing = dict.fromkeys(EPOCHS, 0.0)
    choice = choose_checkpoint(curve(full_valid_mean_reward=nothing, full_valid_loss=EPOCHS))
    assert (choice.measure, choice.wanted.step) == ("full_valid_loss", 30)


# Early stopping: Prechelt's criteria against implementations of their own, and the advice.

LOSSES = st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=40)


def run(valid: list[float], train: list[float] | None = None, name: str = "full_valid_loss") -> Curve:
    """One evaluation every ten steps, and a training loss beside each."""
    steps = pd.RangeIndex(10, 10 * len(valid) + 1, 10, name="step")
    train = train or [2.0 * 0.9**number for number in range(len(valid))]
    return Curve(pd.DataFrame({"train_loss": train, name: valid}, index=steps, dtype=float))


# The formulas, worked out by hand


def test_the_generalisation_loss_is_percent_above_the_lowest_so_far():
    found = generalisation_loss(np.array([2.0, 1.0, 1.05, 0.8, 1.0]))
    assert found.tolist() == pytest.approx([0, 0, 5, 0, 25])


def test_the_progress_is_the_mean_over_the_lowest_of_a_strip_in_thousandths():
    found = training_progress(np.array([4.0, 2.0, 2.0, 1.0]), strip=2)
    assert math.isnan(found[0])
    assert found[1:].tolist() == pytest.approx([500, 0, 500])  # means 3, 2 and 1.5 over 2, 2 and 1


def test_the_quotient_is_the_loss_over_the_progress():
    assert progress_quotient(np.array([5.0, 25.0]), np.array([500.0, 50.0])).tolist() == [0.01, 0.5]


def test_successive_rises_count_strips_not_evaluations():
    losses = np.array([1.0, 2.0, 3.0, 1.5, 4.0, 5.0])
    assert successive_rises(losses, 1).tolist() == [0, 1, 2, 0, 1, 2]
    assert successive_rises(losses, 2).tolist() == [0, 0, 1, 0, 2, 1]


def test_waiting_starts_again_with_each_improvement_that_is_large_enough():
    losses = np.array([1.0, 0.9, 0.95, 0.89, 0.7])
    assert evaluations_without_improvement(losses).tolist() == [0, 0, 1, 0, 0]
    assert evaluations_without_improvement(losses, min_delta=0.05).tolist() == [0, 0, 1, 2, 0]


# The formulas, against other implementations


@given(LOSSES)
def test_the_formulas_agree_with_the_paper_read_word_by_word(losses):
    strip = 5
    for t in range(len(losses)):
        lowest = min(losses[: t + 1])
        assert generalisation_loss(np.array(losses))[t] == pytest.approx(100 * (losses[t] / lowest - 1))
    progress = training_progress(np.array(losses), strip)
    for t in range(strip - 1, len(losses)):
        last = losses[t - strip + 1 : t + 1]
        expected = 1000 * (sum(last) / (strip * min(last)) - 1)
        assert progress[t] == pytest.approx(expected, rel=1e-9, abs=1e-9)

    def up(s: int, t: int) -> bool:
        """UP_s: stop if UP_(s-1) stopped a strip before and the loss rose again; UP_1: if it rose."""
        rose = t >= strip and losses[t] > losses[t - strip]
        return rose if s == 1 else rose and up(s - 1, t - strip)

    rises = successive_rises(np.array(losses), strip)
    for t in range(len(losses)):
        for s in (1, 2, 3, 4):
            assert bool(rises[t] >= s) is up(s, t)


def test_patience_stops_where_the_trainer_of_hugging_face_stops():
    """Its EarlyStoppingCallback, driven as its Trainer drives it."""
    from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments

    arguments = TrainingArguments(metric_for_best_model="eval_loss", greater_is_better=False, report_to=[])
    draw = np.random.default_rng(0)
    for _ in range(50):
        losses = draw.uniform(0.5, 1.5, size=30)
        callback, state, stopped = EarlyStoppingCallback(early_stopping_patience=4), TrainerState(), None
        for number, loss in enumerate(losses):
            callback.check_metric_value(arguments, state, TrainerControl(), loss)
            if state.best_metric is None or loss < state.best_metric:
                state.best_metric = loss
            if stopped is None and callback.early_stopping_patience_counter >= 4:
                stopped = number
        waits = evaluations_without_improvement(losses)
        assert int(np.argmax(waits >= 4)) == stopped


# The advice


def test_a_falling_loss_goes_on():
    advice = advise_stopping(run([2.0, 1.5, 1.2, 1.1, 1.0]))
    assert advice.stop is False
    assert repr(advice) == "Go on: nothing that decides says stop; full_valid_loss was best at step 50."


def test_a_preference_job_with_every_validation_pair_right_stops_although_its_loss_falls():
    measured = {"full_valid_loss": {10: 0.5, 20: 0.3, 30: 0.2}}
    measured |= {"full_valid_rewards/margins": {10: 0.5, 20: 1.0, 30: 2.0}}
    enough = curve(**measured, **{"full_valid_rewards/accuracies": {10: 0.9, 20: 1.0, 30: 1.0}})
    advice = advise_stopping(enough, method="dpo")
    assert (advice.stop, advice.best_step) == (True, 20)
    assert repr(advice).startswith("Stop: the share of pairs in the right order says so;")
    one_wrong = curve(**measured, **{"full_valid_rewards/accuracies": {10: 0.9, 20: 1.0, 30: 0.99}})
    assert advise_stopping(one_wrong, method="dpo").stop is False


@pytest.mark.parametrize(("last", "stop"), [(1.051, True), (1.049, False)])
def test_a_loss_five_percent_above_its_lowest_stops(last, stop):
    advice = advise_stopping(run([2.0, 1.0, last]))
    assert (advice.stop, advice.best_step) == (stop, 20)


@pytest.mark.parametrize(("evaluations", "stop"), [(3, True), (2, False)])
def test_three_evaluations_without_improvement_stop(evaluations, stop):
    assert advise_stopping(run([2.0, 1.0, *[1.01] * evaluations])).stop is stop
    assert advise_stopping(run([2.0, 1.0, *[1.01] * evaluations]), patience=4).stop is False


def test_a_gain_below_min_delta_is_none():
    slow = run([1.0, 0.999, 0.998, 0.997])
    assert advise_stopping(slow).stop is False
    assert advise_stopping(slow, min_delta=0.01).stop is True


def test_it_says_what_each_way_to_stop_keeps():
    sentence = advise_stopping(run([2.0, 1.0, 1.2])).sentence
    assert sentence.startswith("Stop: generalisation loss (%) says so; full_valid_loss was best at step 20.")
    assert sentence.endswith("Pausing keeps a checkpoint and can be undone; cancelling cannot.")


def test_every_criterion_tells_its_number_and_when_it_first_said_stop():
    advice = advise_stopping(run([2.0, 1.0, 1.1, 1.2, 1.3, 1.25]))
    told = {each.name: (round(each.value, 2), each.step) for each in advice.criteria}
    # The last five training losses have a mean of 1.474236 over a lowest of 1.18098: a progress of 248.316
    assert told == {
        "patience": (4, 50),
        "generalisation loss (%)": (25, 30),
        "successive rises": (0, 50),
        "progress quotient": (round(25 / 248.316, 2), None),
    }
    assert advice.facts["stop"] is True
    assert "<caption" in advice._repr_html_()


def test_without_validation_or_with_single_batches_it_cannot_be_told():
    for curve in (run([math.nan] * 30), run([1.0]), run([2.0, 1.0, 1.2], name="valid_loss")):
        assert advise_stopping(curve).stop is None
    assert advise_stopping(run([1.0] * 10 + [2.0] * 10, name="valid_loss")).stop is True


def test_a_reward_is_better_when_it_is_higher():
    rewards = pd.DataFrame({"full_valid_mean_reward": [0.2, 0.5, 0.4, 0.4, 0.4]}, index=[5, 10, 15, 20, 25])
    advice = advise_stopping(Curve(rewards))
    assert (advice.stop, advice.best_step) == (True, 10)


def test_a_patience_that_cannot_be_is_told():
    with pytest.raises(DataError, match=r"patience is 0 and min_delta 0\.0; give at least 1 and 0"):
        advise_stopping(run([1.0, 1.0]), patience=0)
