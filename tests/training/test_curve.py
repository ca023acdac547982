"""Curves: the same from every dialect, merged, and told in sentences."""

import base64
import math

import numpy as np
import pandas as pd
import pytest
from openai.types.fine_tuning import FineTuningJobEvent

from workbench.errors import DataError
from workbench.training.curve import Curve, exponential
from workbench.training.curve_files import read_curve

PLAIN = (
    b"step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy\n"
    b"1,1.5,0.3,1.1,0.4\n10,0.5,0.8,,\n"
)
OPENAI = (
    b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,1.5,0.3,1.1,0.4\n10,0.5,0.8,,\n"
)
DOCUMENTED = (
    b"\xef\xbb\xbfstep,train_loss,train_mean_token_accuracy,valid_loss,validation_mean_token_accuracy\r\n"
    b"10,0.5,0.8,-1,N/A\r\n\r\n1,1.5,0.3,1.1,0.4\r\n"
)


def event(message: str, data: object = None) -> FineTuningJobEvent:
    return FineTuningJobEvent.construct(
        id=f"ftevent-{message}", created_at=1, level="info", message=message, object="x", data=data
    )


def gql_run() -> Curve:
    """Two epochs of two steps, as the local service reports them."""
    return read_curve(
        b"step,train_loss,valid_loss,full_valid_loss,full_valid_mean_reward\n"
        b"1,2.0,2.5,,\n2,1.0,1.5,1.25,0.125\n3,0.5,0.75,,\n4,0.25,0.5,0.375,0.875\n"
    )


@pytest.mark.parametrize(
    "content",
    [PLAIN, OPENAI, DOCUMENTED, base64.encodebytes(OPENAI), PLAIN.decode().encode("utf-16")],
    ids=["azure", "openai", "documented", "base64", "utf-16"],
)
def test_every_dialect_gives_the_same_curve(content):
    curve = read_curve(content)
    assert list(curve.frame.index) == [1, 10]
    assert list(curve.frame["train_loss"]) == [1.5, 0.5]
    assert list(curve.frame["train_mean_token_accuracy"]) == [0.3, 0.8]
    assert curve.measured("valid_loss").to_dict() == {1: 1.1}
    assert curve.measured("valid_mean_token_accuracy").to_dict() == {1: 0.4}


def test_a_file_is_read_by_its_path(tmp_path):
    (tmp_path / "results.csv").write_bytes(PLAIN)
    assert read_curve(tmp_path / "results.csv").steps == 10
    with pytest.raises(DataError, match=r"none\.csv cannot be read: No such file"):
        read_curve(str(tmp_path / "none.csv"))


def test_a_repeated_step_becomes_one_row_with_the_last_value_of_each_column():
    curve = read_curve(b"step,train_loss,full_valid_loss\n2,0.5,\n1,0.9,\n2,,0.7\n2,0.4,\n")
    assert curve.frame.to_dict("list") == {
        "train_loss": [0.9, 0.4],
        "full_valid_loss": [pytest.approx(float("nan"), nan_ok=True), 0.7],
    }


def test_two_names_for_one_metric_are_joined():
    curve = read_curve(b"step,train_accuracy,train_mean_token_accuracy\n1,,0.5\n2,0.6,\n")
    assert curve.frame.to_dict("list") == {"train_mean_token_accuracy": [0.5, 0.6]}


def test_an_unknown_column_is_kept():
    assert read_curve(b"step,entropy_loss_sum,note\n1,-3.5,fine\n").frame.loc[1].to_dict() == {
        "entropy_loss_sum": -3.5,
        "note": "fine",
    }


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"", "results.csv is empty"),
        (b"\n \n", "results.csv is empty"),
        (bytes(range(256)) * 4, "is not text"),
        (b"<html>Sign in</html>", "has no column 'step'; it has <html>Sign in</html>"),
        (b"step,a\n1,2\n2,3,4\n", "line 3 has 3 cells, others 2"),
        (b"step,a\n1,2,3\n", "is no table"),
        (b'step,a\n1,"2\n', "is no table"),
        (b"step,train_loss\n1,0.5\n\n2,abc\n", "line 4: train_loss is 'abc', not a number"),
        (b"step,train_loss\n1.5,0.5\n", "line 2: step is '1.5', not a step"),
        (b"step,train_loss\n1,0.5\n,0.4\n", "line 3: step is 'nan', not a step"),
    ],
)
def test_what_is_no_result_file_is_told_with_its_place(content, finding):
    with pytest.raises(DataError) as caught:
        read_curve(content)
    assert finding in str(caught.value)


def test_a_curve_without_rows_says_so():
    for empty in (read_curve(b"step,train_loss\n"), read_curve([])):
        assert (empty.steps, empty.final, empty.best_full_valid_step) == (0, {}, None)
        assert empty.summary == ("Nothing has been measured yet.",)


def test_events_give_a_curve_from_their_data_or_their_text():
    curve = read_curve(
        [
            event("Job started."),
            event("Step 1: training loss=0.6786144375801086"),
            event("Step 10: training loss=0.73", {"step": 10, "train_loss": 0.7283, "full_valid_loss": 0.9}),
            event("Step 20/20 , train mean reward=0.42, full validation mean reward=0.68"),
            event("Step 8250: training loss=3.814697265625E-06"),
        ]
    )
    assert curve.measured("train_loss").to_dict() == {
        1: 0.6786144375801086,
        10: 0.7283,
        8250: 3.814697265625e-06,
    }
    assert curve.measured("full_valid_loss").to_dict() == {10: 0.9}
    assert curve.frame.loc[20, ["train_mean_reward", "full_valid_mean_reward"]].tolist() == [0.42, 0.68]


def test_merging_fills_gaps_and_lets_the_first_curve_stand():
    file = read_curve(b"step,train_loss,note\n10,0.5,a\n")
    merged = file.merge(read_curve(b"step,train_loss,full_valid_loss\n10,0.4,0.9\n20,0.3,0.8\n"))
    assert merged.measured("train_loss").to_dict() == {10: 0.5, 20: 0.3}
    assert merged.measured("full_valid_loss").to_dict() == {10: 0.9, 20: 0.8}
    assert list(merged.frame.columns) == ["train_loss", "note", "full_valid_loss"]


def test_merging_with_nothing_changes_nothing():
    assert gql_run().merge(read_curve([])).frame.equals(gql_run().frame)
    assert read_curve([]).merge(gql_run()).frame.equals(gql_run().frame)


def test_final_is_the_last_finite_value_of_each_metric():
    curve = read_curve(b"step,train_loss,full_valid_loss,note\n1,0.5,0.9,a\n2,inf,,b\n")
    assert curve.final == {"train_loss": 0.5, "full_valid_loss": 0.9}


def test_the_best_step_is_the_first_of_equals():
    assert read_curve(b"step,full_valid_loss\n3,0.5\n6,0.2\n9,0.2\n").best_full_valid_step == 6


def test_the_summary_says_what_the_numbers_say():
    assert gql_run().summary == (
        "4 steps, 4 of them with numbers.",
        "Training loss: 2 at step 1, 0.25 at step 4; lowest 0.25 at step 4.",
        "Validation loss, batch by batch: 2.5 at step 1, 0.5 at step 4; lowest 0.5 at step 4.",
        "Full validation loss: 1.25 at step 2, 0.375 at step 4; lowest 0.375 at step 4.",
        # (2 + 1 + 0.5 + 0.25) / 4 = 0.9375
        "At step 4 the full validation loss is 0.5625 below the training loss (mean of the last 4).",
        "Held-out accuracy: 12% at step 2, 88% at step 4; highest 88% at step 4.",
    )


def test_a_curve_shows_itself_as_text_and_as_a_list():
    assert repr(gql_run()).splitlines()[0] == "4 steps, 4 of them with numbers."
    assert gql_run()._repr_html_().startswith("<ul><li>4 steps, 4 of them with numbers.</li>")


@pytest.mark.parametrize(
    ("header", "method"),
    [
        ("train_loss,train_mean_token_accuracy", "sft"),
        ("train_loss,train_mean_token_accuracy,full_valid_mean_reward", "sft"),  # examined on the way
        ("train_loss,rewards/chosen", "dpo"),
        ("train_mean_reward,full_valid_mean_reward", "rft"),
        ("full_valid_mean_reward,completion_tokens_mean", "rft"),
        ("train_loss,valid_loss", None),
    ],
)
def test_the_columns_tell_the_method_or_nothing(header, method):
    cells = ",".join("0.5" for _ in header.split(","))
    assert read_curve(f"step,{header}\n1,{cells}\n".encode()).method == method


@pytest.mark.parametrize(
    ("content", "first"),
    [
        (b"step,train_loss\n5,0.5\n", "5 steps, 1 of them with numbers."),
        (b"step,train_loss\n1,nan\n2,nan\n", "2 steps, 0 of them with numbers."),
        (b"step,train_loss\n1,inf\n2,-inf\n", "2 steps, 2 of them with numbers."),
        (b"step,train_loss\n1,-1\n2,-1\n", "Nothing has been measured yet."),
    ],
    ids=["one point", "all NaN", "all infinite", "all missing"],
)
def test_a_curve_of_odd_values_is_still_a_curve(content, first):
    assert read_curve(content).summary[0] == first


def test_merging_keeps_failed_measurements_unless_the_other_has_a_value():
    file = read_curve(b"step,train_loss\n1,nan\n2,nan\n3,0.5\n4,\n")
    merged = file.merge(read_curve([event("Step 2: training loss=0.25"), event("Step 4: training loss=nan")]))
    assert list(merged.not_finite("train_loss")) == [1, 4]
    assert merged.measured("train_loss").to_dict() == {2: 0.25, 3: 0.5}


def test_merging_keeps_the_notes_of_both_once():
    unsorted = read_curve(b"step,train_loss\n2,1\n1,1\n")
    assert unsorted.merge(unsorted).notes == unsorted.notes


def test_the_summary_tells_preferences_and_rewards():
    preferred = read_curve(b"step,rewards/accuracies,rewards/margins\n1,0.5,0.0\n2,0.75,1.5\n")
    assert preferred.summary[1:] == (
        "Margin between preferred and rejected answers: 0 at step 1, 1.5 at step 2; highest 1.5 at step 2.",
        "Training pairs in the right order: 50% at step 1, 75% at step 2; highest 75% at step 2.",
    )
    rewarded = read_curve(b"step,train_mean_reward,full_valid_mean_reward\n1,0.25,0.5\n")
    assert rewarded.summary[1:] == (
        "Training reward: 0.25 at step 1; highest 0.25 at step 1.",
        "Held-out reward: 50% at step 1; highest 50% at step 1.",
    )


# Smoothing against other people's implementations, and by hand.

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
    np.testing.assert_allclose(exponential([0.7] * 50, 0.99), [0.7] * 50, rtol=1e-12)


def test_gaps_and_infinite_values_stand_where_they_stood_and_count_for_nothing():
    smoothed = exponential([2.0, NAN, 3.0, INF, 4.0, -INF], 0.5)
    np.testing.assert_equal(smoothed[[1, 3, 5]], [NAN, INF, -INF])
    np.testing.assert_allclose(smoothed[[0, 2, 4]], exponential([2.0, 3.0, 4.0], 0.5))


def test_nothing_to_smooth_gives_nothing():
    assert exponential([], 0.5).tolist() == []
    np.testing.assert_equal(exponential([NAN, NAN], 0.5), [NAN, NAN])


def test_one_value_is_its_own_average():
    assert exponential([0.5], 0.9).tolist() == [0.5]


def test_the_values_given_stay_as_they_are():
    values = np.array(LOSSES)
    exponential(values, 0.5)
    assert values.tolist() == LOSSES


@pytest.mark.parametrize("weight", [-0.1, 1.0, NAN])
def test_a_weight_outside_its_range_is_refused(weight):
    with pytest.raises(DataError, match=r"give at least 0 and less than 1"):
        exponential(LOSSES, weight)
