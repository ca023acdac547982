"""What came out of a job: read from the job and its events alone."""

import pandas
import pytest
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from workbench.errors import SetupError
from workbench.training.curve import Curve
from workbench.training.follow import KeptCheckpoint, Pace, Progress, job_result

REWARD = "full_valid_mean_reward"


def job(**changes: object) -> FineTuningJob:
    facts = {
        "id": "ftjob-1",
        "object": "fine_tuning.job",
        "created_at": 1000,
        "finished_at": 1300,
        "model": "nano",
        "fine_tuned_model": "nano.ft-1",
        "status": "succeeded",
        "hyperparameters": {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 1.0},
        "trained_tokens": 4000,
        "training_file": "file-1",
        "result_files": [],
        "seed": 0,
        "organization_id": "",
    }
    return FineTuningJob.model_validate(facts | changes)


def said(at: int, message: str) -> FineTuningJobEvent:
    event = {"id": f"e{at}", "created_at": at, "level": "info", "message": message}
    return FineTuningJobEvent.model_validate(event | {"object": "fine_tuning.job.event"})


def step(at: int, number: int, **data: object) -> FineTuningJobEvent:
    event = said(at, f"Step {number}: training loss=1.0").model_dump()
    return FineTuningJobEvent.model_validate(event | {"data": {"step": number, **data}})


def progress(found: FineTuningJob, *events: FineTuningJobEvent) -> Progress:
    frame = pandas.DataFrame({REWARD: [0.25, 0.75]}, index=pandas.Index([10, 20], name="step"))
    return Progress(found, Curve(frame), events)


def test_training_is_timed_from_the_services_word_to_the_end():
    found = job_result(progress(job(), said(1000, "Job started."), said(1040, "Training started.")))
    assert found.training_seconds == 260


def test_without_that_word_it_is_timed_from_the_jobs_creation():
    assert job_result(progress(job())).training_seconds == 300
    assert progress(job()).result.training_seconds == 300


def test_the_facts_are_told_in_order_with_what_the_service_chose():
    assert repr(job_result(progress(job()))) == (
        "job: ftjob-1\ntuned model: nano.ft-1\nbase model: nano\nbatch_size: 8\n"
        "learning_rate_multiplier: 1.0\nn_epochs: 3\nsteps: 20\ntrained tokens: 4000\n"
        "training seconds: 300\nheld-out answers right: 75%"
    )


def test_a_failed_job_is_told_with_its_reason():
    failed = job(
        status="failed", fine_tuned_model=None, error={"code": "x", "message": "Too few rows.", "param": None}
    )
    with pytest.raises(SetupError) as told:
        job_result(progress(failed))
    assert str(told.value) == "Job ftjob-1 failed (Too few rows); run 04_launch again."


def test_a_paused_reinforcement_job_may_have_reached_the_price_at_which_azure_pauses_it():
    running = job(finished_at=None, fine_tuned_model=None, method={"type": "reinforcement"})
    with pytest.raises(SetupError) as told:
        job_result(progress(running.model_copy(update={"status": "paused"})))
    assert str(told.value) == (
        "Job ftjob-1 is paused; Azure pauses such a job by itself at $5,000 of training and grading: to "
        "resume it lifts that limit, and its newest checkpoint can be deployed as it is; resume it in "
        "09_reinforcement."
    )


def test_a_running_job_has_no_outcome_yet():
    with pytest.raises(SetupError, match="Job ftjob-1 is running; wait for it in 04_launch"):
        job_result(progress(job(status="running", finished_at=None, fine_tuned_model=None)))


RUNNING = {"status": "running", "finished_at": None, "fine_tuned_model": None}


def test_the_pace_is_read_from_the_times_of_the_steps():
    begun = said(1000, "Training started.")
    now = progress(
        job(**RUNNING),
        begun,
        step(1010, 10, total_steps=120, trained_tokens=1000),
        step(1030, 20, total_steps=120, trained_tokens=3000),
    )
    assert now.pace() == Pace(20, 120, 30.0, 200.0, 100.0)  # 10 steps in 20 s, 100 to go
    assert now.pace().words == "step 20 of 120 (17 %), about 3 min left, 100 tokens a second"


def test_where_the_service_does_not_tell_of_how_many_steps_the_plan_does():
    now = progress(job(**RUNNING), said(1000, "Training started."), step(1010, 10), step(1030, 20))
    assert now.pace().words == "step 20"
    assert now.pace(40).words == "step 20 of 40 (50 %), about 40 s left"


def test_openai_tells_of_how_many_steps_in_its_words():
    now = progress(
        job(**RUNNING), said(1000, "Fine-tuning job started"), said(1010, "Step 20/80: training loss=1")
    )
    assert now.pace().total == 80


def test_a_pause_is_not_in_the_speed_after_it():
    events = [said(1000, "Training started."), step(1010, 5), said(5000, "Training started.")]
    assert progress(job(**RUNNING), *events, step(5010, 10)).pace(40).seconds_left is None
    resumed = progress(job(**RUNNING), *events, step(5010, 10), step(5020, 20))
    assert resumed.pace(40).seconds_left == 20.0
    paused = job(**RUNNING).model_copy(update={"status": "paused"})
    assert progress(paused, *events, step(5010, 10), step(5020, 20)).pace(40).seconds_left is None


def test_at_the_end_the_speed_is_that_of_the_whole():
    pace = progress(job(), said(1100, "Training started."), step(1290, 20)).pace()
    assert pace == Pace(20, 20, 200.0, None, 20.0)  # 4,000 tokens


def test_checkpoints_show_what_was_measured_and_blank_what_was_not():
    checkpoint = FineTuningJobCheckpoint.model_validate(
        {
            "id": "c",
            "created_at": 1,
            "fine_tuned_model_checkpoint": "nano.ft-1:ckpt-step-10",
            "fine_tuning_job_id": "ftjob-1",
            "metrics": {"step": 10, "full_valid_loss": 0.12345, "full_valid_mean_token_accuracy": 0.5},
            "object": "fine_tuning.job.checkpoint",
            "step_number": 10,
        }
    )
    kept = KeptCheckpoint((checkpoint,))
    assert kept.models == ["nano.ft-1:ckpt-step-10"]
    assert [text in kept._repr_html_() for text in ("0.1235", "50%", "None")] == [True, True, False]
