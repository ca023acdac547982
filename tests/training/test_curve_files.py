"""Reading result files, saved events and Trainers' logs: their dialects, their slips, and what is none."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis.strategies import binary, integers, text
from openai.types.fine_tuning import FineTuningJobEvent

from workbench.errors import DataError
from workbench.training import curve_files
from workbench.training.curve_files import known, read_curve

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


DPO = {
    "rewards/chosen": 0.5,
    "rewards/rejected": -0.5,
    "rewards/margins": 1.0,
    "rewards/accuracies": 0.75,
}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("train_accuracy", "train_mean_token_accuracy"),
        ("validation_mean_token_accuracy", "valid_mean_token_accuracy"),
        ("full_validation_loss", "full_valid_loss"),
        ("eval_loss", "full_valid_loss"),
        ("loss", "train_loss"),
        (" Train_Loss ", "train_loss"),
        ("train_reward_mean", "train_mean_reward"),
        ("valid_reward_mean", "full_valid_mean_reward"),
        ("eval_reward", "full_valid_mean_reward"),
        ("mean_token_accuracy", "train_mean_token_accuracy"),
        ("eval_mean_token_accuracy", "full_valid_mean_token_accuracy"),
        ("eval_rewards/margins", "full_valid_rewards/margins"),
        ("num_tokens", "tokens"),
        ("global_step", "step"),
        ("training_loss", "train_loss"),
        ("validation_loss", "valid_loss"),
        ("training_token_accuracy", "train_mean_token_accuracy"),
        ("validation_token_accuracy", "valid_mean_token_accuracy"),
        ("training_sequence_accuracy", "train_sequence_accuracy"),
        ("validation_sequence_accuracy", "valid_sequence_accuracy"),
        ("elapsed_tokens", "tokens"),
    ],
)
def test_one_metric_has_one_name(theirs, ours):
    assert known(theirs) == ours


@pytest.mark.parametrize("column", ["entropy_loss_sum", "eval_runtime", "Train Tokens", "eval_num_tokens"])
def test_a_name_that_nobody_knows_stays_as_it_is(column):
    assert known(column) == column


def test_minus_one_blank_and_not_available_are_gaps_and_nan_is_a_measurement_that_failed():
    curve = read_curve(b"step,train_loss\n1,-1\n2,\n3,N/A\n4, n/a\n5,null\n6,nan\n7,0.5\n8,inf\n")
    assert curve.measured("train_loss").to_dict() == {7: 0.5}
    assert list(curve.not_finite("train_loss")) == [6, 8]
    assert (int(curve.frame["train_loss"].isna().sum()), curve.notes) == (6, ())


def test_a_negative_loss_is_taken_as_missing_and_noted_but_a_negative_reward_is_one():
    curve = read_curve(b"step,train_loss,train_mean_reward\n1,-0.5,-0.5\n2,0.5,-1\n")
    assert curve.measured("train_loss").to_dict() == {2: 0.5}
    assert curve.measured("train_mean_reward").to_dict() == {1: -0.5, 2: -1.0}
    assert curve.notes == ("train_loss is negative (rows: 1), which it cannot be: taken as not measured.",)


def test_what_was_put_right_is_noted():
    curve = read_curve(b"step,train_loss\n3,0.3\n1,0.1\n1,0.2\n")
    assert curve.frame["train_loss"].to_dict() == {1: 0.2, 3: 0.3}
    assert curve.notes == (
        "The rows were not in the order of their steps; here they are.",
        "Some steps are repeated (rows: 1); the last value of each column counts.",
    )


def test_a_step_reported_as_nan_and_then_with_a_value_has_the_value():
    curve = read_curve(b"step,train_loss\n2,nan\n1,nan\n2,0.5\n")
    assert (list(curve.not_finite("train_loss")), curve.final) == ([1], {"train_loss": 0.5})


def test_a_last_line_that_breaks_off_is_left_out_and_noted():
    curve = read_curve(b"step,train_loss,valid_loss\n1,0.5,\n2,0.4,\n3,0.")
    assert curve.steps == 2
    assert curve.notes == ("The last line breaks off ('3,0.') and was left out.",)


def test_base64_that_breaks_off_gives_what_is_whole():
    wrapped = base64.b64encode(OPENAI.replace(b"10,0.5", b"10,0.25"))
    curve = read_curve(wrapped[:-5])
    assert curve.frame["train_loss"].to_list()[0] == 1.5
    assert list(curve.frame.index) == [1]


def test_numbers_are_read_to_the_last_bit():
    numbers = [0.1 + 0.2, 3.814697265625e-06, 1e-300, 0.6786144375801086]
    rows = "".join(f"{step},{number!r}\n" for step, number in enumerate(numbers, 1))
    assert read_curve(f"step,train_loss\n{rows}".encode()).frame["train_loss"].to_list() == numbers


def test_a_text_far_below_numbers_keeps_the_column_as_it_was_written():
    rows = "".join(f"{step},{step}\n" for step in range(1, 200_000))
    curve = read_curve(f"step,seed\n{rows}200000,none left\n".encode())
    assert curve.frame["seed"].iloc[[0, -1]].to_list() == ["1", "none left"]


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"step,note\n1,a\n2,\xff\n", "results.csv is not text"),
        (b"step,note\n" + b"1,a\n" * 20_000 + b"2,\xff\n", "results.csv is not text"),
        (b'step,note\n1,a\n2,"b\n3,c\n', "a quotation mark is never closed"),
        (b"step,train_loss,valid_loss\n1,2,3\n2\n3,4,5\n", "line 3 has 1 cells, others 3"),
        (b"\n\nstep,train_loss\n\n1,x\n", "line 5: train_loss is 'x', not a number"),
        (b"step,train_loss\r\n\r\n1,1\r\n-1,2\r\n", "line 4: step is '-1', not a step"),
        (base64.b64encode(b"step,train_loss\n1,0.5\n2,abc\n"), "line 3: train_loss is 'abc'"),
        (b"step," + b"a" * 70_000, "its header does not end within 64 KB"),
        (b"step,train_loss\n1," + b"9" * 3_000_000 + b"\n", "is no table"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not text"),
        (b"PK\x03\x04\0\0step,", "is not text"),
        (b"step," + b",".join([b"loss"] * 501) + b"\n", "has 502 columns, more than 500"),
        (b"date;step;loss\n1;2;3\n", "has no column 'step'; it has date;step;loss"),
        (b"question,answer\nHow?,So.\n", "has no column 'step'; it has question, answer"),
        (b'{"error": "not found"}', "has no events, checkpoints or log_history"),
        (b'[{"question": "How?"}]', "has no events, checkpoints or log_history"),
        (b'{"log_history": 3}', "log_history is no list"),
        (b'{"log_history": [{"loss": 0.5}]}', "log_history[0] has no step"),
        (b'{"data": [', "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_a_wrong_file_is_told_with_what_is_wrong(content, finding):
    with pytest.raises(DataError) as caught:
        read_curve(content)
    assert finding in str(caught.value)


def test_a_file_too_large_to_hold_is_told_to_be_one(monkeypatch):
    monkeypatch.setattr(curve_files, "_MOST", 5)
    assert read_curve(b"step,train_loss\n1,0.5\n2,0.5\n").steps == 2
    with pytest.raises(DataError, match=r"results\.csv has more than 5 cells; keep the steps you need"):
        read_curve(b"step,train_loss\n1,0.5\n2,0.5\n3,0.5\n")


def test_json_too_large_to_hold_is_told_to_be_one(monkeypatch):
    monkeypatch.setattr(curve_files, "_JSON_MOST", 2_000_000)
    with pytest.raises(DataError, match=r"has more than 2 MB of JSON; give the job's results\.csv"):
        read_curve(b"[" + b" " * 2_000_000)


def told(content: bytes) -> str:
    """What a person reads, whatever the file is."""
    try:
        return read_curve(content).summary[-1]
    except DataError as error:
        return str(error)


@settings(deadline=None)
@given(binary(max_size=300) | binary(max_size=60).map(lambda end: PLAIN + end) | text().map(str.encode))
def test_any_bytes_give_a_curve_or_a_sentence(content):
    assert told(content).endswith(".")


@settings(deadline=None)
@given(integers(0, len(DOCUMENTED) - 1), integers(0, 255))
def test_one_wrong_byte_gives_a_curve_or_a_sentence(place, byte):
    assert told(DOCUMENTED[:place] + bytes([byte]) + DOCUMENTED[place + 1 :]).endswith(".")


def test_nested_data_of_a_reinforcement_event_comes_under_flat_names():
    data = {
        "step": 10,
        "total_steps": 20,
        "scores": {
            "train_reward_mean": 0.42157,
            "valid_reward_mean": 0.675,
            "graders": [{"name": "exact", "train_reward_mean": 0.4471}],
        },
        "usage": {"samples": {"train_reasoning_tokens_mean": 3330, "valid_reasoning_tokens_mean": 1948.9}},
        "mean_unresponsive_rewards": None,
        "type": "metrics",
    }
    assert read_curve([event("Step 10/20", data)]).final == {
        "valid_reasoning_tokens_mean": 1948.9,
        "reasoning_tokens_mean": 3330.0,
        "scores.graders.exact.train_reward_mean": 0.4471,
        "full_valid_mean_reward": 0.675,
        "train_mean_reward": 0.42157,
    }


def test_a_flat_name_in_an_event_counts_before_a_nested_one():
    data = {"step": 1, "scores": {"train_reward_mean": 0.1}, "train_mean_reward": 0.2}
    assert read_curve([event("", data)]).final == {"train_mean_reward": 0.2}
    assert read_curve([event("", dict(reversed(data.items())))]).final == {"train_mean_reward": 0.2}


def test_nan_in_an_event_is_a_measurement_that_failed():
    curve = read_curve([event("Step 1: training loss=NaN"), event("", {"step": 2, "train_loss": "Infinity"})])
    assert list(curve.not_finite("train_loss")) == [1, 2]
    assert curve.summary == (
        "2 steps, 1 of them with numbers.",
        "train_loss was NaN or infinite (steps: 2), first at step 1.",
    )


# What the tutorial of Azure's documentation shows (gpt-4o-mini, 2024), shortened.
SAVED_EVENTS = {
    "data": [
        {"id": "a", "message": "Job succeeded.", "object": "fine_tuning.job.event", "type": "message"},
        {
            "id": "b",
            "message": "Step 100: training loss=0.001577",
            "type": "metrics",
            "data": {"step": 100, "train_loss": 0.001577, "full_valid_loss": 1.7538},
        },
        {"id": "c", "message": "Step 90: training loss=0.0011", "type": "metrics", "data": None},
    ],
    "has_more": False,
    "object": "list",
}


def test_saved_events_are_read_from_their_json(tmp_path):
    (tmp_path / "events.json").write_text(json.dumps(SAVED_EVENTS))
    curve = read_curve(tmp_path / "events.json")
    assert curve.measured("train_loss").to_dict() == {90: 0.0011, 100: 0.001577}
    assert (curve.final["full_valid_loss"], curve.notes) == (1.7538, ())
    assert read_curve(json.dumps(SAVED_EVENTS["data"]).encode()).frame.equals(curve.frame)


def test_saved_checkpoints_are_a_curve_too():
    listed = {"data": [{"id": "ftchkpt-1", "step_number": 80, "metrics": {"step": 80.0, "train_loss": 0.25}}]}
    assert read_curve(json.dumps(listed).encode()).measured("train_loss").to_dict() == {80: 0.25}


def trainer_state(*history: dict[str, float]) -> bytes:
    return json.dumps({"epoch": 1.0, "global_step": 4, "log_history": list(history)}).encode()


def test_a_trainers_log_is_read_without_the_line_that_sums_it_up():
    curve = read_curve(
        trainer_state(
            {
                "epoch": 0.5,
                "grad_norm": 1.5,
                "learning_rate": 0.0002,
                "loss": 1.25,
                "step": 2,
                "num_tokens": 512,
            },
            {"epoch": 1.0, "grad_norm": float("nan"), "learning_rate": 0.0, "loss": 0.75, "step": 4},
            {"epoch": 1.0, "eval_loss": 1.0, "eval_runtime": 0.5, "step": 4},
            {"epoch": 1.0, "step": 4, "total_flos": 1e12, "train_loss": 1.0, "train_runtime": 3.5},
        )
    )
    assert curve.measured("train_loss").to_dict() == {2: 1.25, 4: 0.75}
    assert curve.measured("full_valid_loss").to_dict() == {4: 1.0}
    assert curve.measured("tokens").to_dict() == {2: 512.0}
    assert curve.measured("eval_runtime").to_dict() == {4: 0.5}
    assert "train_runtime" not in curve.frame
    assert (curve.measured("epoch").to_dict(), curve.notes) == ({2: 0.5, 4: 1.0}, ())


def test_a_loss_of_nan_in_a_trainers_log_is_seen():
    curve = read_curve(trainer_state({"loss": 2.0, "step": 1}, {"loss": float("nan"), "step": 2}))
    assert list(curve.not_finite("train_loss")) == [2]


def test_a_preference_log_keeps_trls_names():
    curve = read_curve(trainer_state({"loss": 0.6931, "step": 1, **DPO, "eval_rewards/margins": 0.5}))
    assert curve.method == "dpo"
    assert curve.final == {"train_loss": 0.6931, **DPO, "full_valid_rewards/margins": 0.5}


def test_the_loss_of_reinforcement_is_no_training_loss_and_may_be_negative():
    curve = read_curve(trainer_state({"loss": -0.02, "reward": 0.25, "step": 1, "frac_reward_zero_std": 0.5}))
    assert curve.method == "rft"
    assert curve.final == {"loss": -0.02, "train_mean_reward": 0.25, "frac_reward_zero_std": 0.5}


LEGACY = (
    b"step,elapsed_tokens,elapsed_examples,training_loss,training_sequence_accuracy,training_token_accuracy,"
    b"validation_loss,validation_sequence_accuracy,validation_token_accuracy\n"
    b"1,150,1,1.9600,0.0,0.5,2.0685,0.0,0.5\n2,300,2,1.9208,0.25,0.5,2.0375,0.5,0.5\n"
)


def test_the_names_of_before_chat_models_are_read():
    curve = read_curve(LEGACY)
    assert curve.measured("train_loss").to_dict() == {1: 1.96, 2: 1.9208}
    assert curve.measured("valid_loss").to_dict() == {1: 2.0685, 2: 2.0375}
    assert curve.measured("tokens").to_dict() == {1: 150, 2: 300}
    assert curve.final["valid_sequence_accuracy"] == 0.5
    assert curve.method == "sft"


def test_several_evaluation_sets_each_have_their_column_and_their_failures():
    curve = read_curve(
        trainer_state(
            {"loss": 0.99, "step": 100},
            {"eval_law_loss": 1.16, "eval_law_runtime": 2.0, "eval_news_loss": 1.68, "step": 100},
            {"eval_law_loss": float("nan"), "eval_news_loss": -1, "step": 200},
        )
    )
    assert curve.evaluation_sets == {"law": "eval_law_loss", "news": "eval_news_loss"}
    assert curve.measured("eval_news_loss").to_dict() == {100: 1.68}
    assert list(curve.not_finite("eval_law_loss")) == [200]
    assert "Loss on news: 1.68 at step 100; lowest 1.68 at step 100." in curve.summary


def test_a_part_of_the_loss_is_no_evaluation_set():
    parts = read_curve(trainer_state({"eval_loss": 1.0, "eval_aux_loss": 0.1, "step": 1}))
    assert parts.evaluation_sets == {}
    sets = {"eval_loss": 1.0, "eval_law_loss": 0.9, "eval_law_runtime": 2.0, "step": 1}
    assert read_curve(trainer_state(sets)).evaluation_sets == {"law": "eval_law_loss"}


def test_what_a_trainer_measured_on_the_task_is_known_with_its_direction():
    curve = read_curve(
        trainer_state(
            {"eval_loss": 0.3, "eval_wer": 0.789, "eval_f1_macro": 0.5, "eval_runtime": 3.0, "step": 10},
            {"eval_a_accuracy": 0.5, "eval_b_accuracy": 0.7, "eval_mean_token_accuracy": 0.9, "step": 10},
        )
    )
    assert curve.task_measures == {
        "accuracy": (1, ["eval_a_accuracy", "eval_b_accuracy"]),
        "f1": (1, ["eval_f1_macro"]),
        "wer": (-1, ["eval_wer"]),
    }


def test_a_new_dialect_is_a_line_for_each_of_its_columns(monkeypatch: pytest.MonkeyPatch):
    content = b"step,loss_on_training_data\n1,2.5\n2,1.5\n"
    monkeypatch.setattr(
        curve_files, "_ALIASES", {**curve_files._ALIASES, "loss_on_training_data": "train_loss"}
    )
    assert read_curve(content).measured("train_loss").to_dict() == {1: 2.5, 2: 1.5}
