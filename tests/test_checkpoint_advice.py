"""Which checkpoint to use: the order of the measures, the one-standard-error rule, and what still exists."""

import json

import pandas as pd
import pytest
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from workbench.errors import DataError
from workbench.training.checkpoints import choose_checkpoint
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
        assert repr(choice).startswith("It cannot be told: neither the task nor the whole validation set")


def test_between_the_ends_of_epochs_there_is_no_checkpoint():
    measured = curve(full_valid_loss={15: 0.1, 30: 0.7, 40: 0.9})
    choice = choose_checkpoint(measured, n_epochs=5)
    assert [each.step for each in choice.checkpoints] == [30, 40]


def test_an_epoch_that_does_not_fill_its_last_batch_ends_a_step_later():
    # 7 rows in batches of 2, three epochs: after ceil(3.5), 7 and ceil(10.5) steps
    choice = choose_checkpoint(curve(steps=11, full_valid_loss={4: 0.9, 7: 0.8, 11: 0.7}), n_epochs=3)
    assert [(each.step, each.kept) for each in choice.checkpoints] == [(4, True), (7, True), (11, True)]


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
        "Use step 30, full_valid_loss 0.8: the earliest within one standard error of the best "
        "full_valid_loss that still exists. Step 10 would be it, but is gone: train fewer epochs."
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
        "Step 30 is the earliest within one standard error of the best full_valid_loss; "
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
