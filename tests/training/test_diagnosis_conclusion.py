"""One verdict and one next step for a job that has ended, from all that is known of it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.errors import SetupError
from workbench.project import Project, open_project
from workbench.training.curve import Curve
from workbench.training.diagnosis import Conclusion, conclude
from workbench.training.follow import Progress

JOB = "ftjob-1"
LOCAL = "http://127.0.0.1:8123/openai/v1/"
REWARD = "full_valid_mean_reward"


def client(steps: Sequence[int]) -> OpenAI:
    """A service that has kept checkpoints of these steps."""

    def list_them(request: Request) -> JSONResponse:
        rows = [
            {
                "id": f"ftchkpt-{step}",
                "object": "fine_tuning.job.checkpoint",
                "created_at": 1,
                "fine_tuned_model_checkpoint": f"nano.ft-1:ckpt-step-{step}",
                "fine_tuning_job_id": JOB,
                "metrics": {},
                "step_number": step,
            }
            for step in steps
        ]
        return JSONResponse({"object": "list", "data": rows, "has_more": False})

    app = Starlette(routes=[Route(f"/openai/v1/fine_tuning/jobs/{JOB}/checkpoints", list_them)])
    return OpenAI(base_url=LOCAL, api_key="key", http_client=TestClient(app), max_retries=0)


def done(status: str = "succeeded", **sparse: dict[int, float]) -> Progress:
    """A job of 90 steps in three epochs, with a training loss that falls to its end."""
    steps = pd.RangeIndex(1, 91, name="step")
    frame = pd.DataFrame({"train_loss": 2.0 * np.exp(-steps.to_numpy() / 30) + 0.3}, index=steps)
    for name, values in sparse.items():
        frame[name] = pd.Series(values)
    facts = {"id": JOB, "object": "fine_tuning.job", "created_at": 1000, "finished_at": 1300, "model": "nano"}
    facts |= {"fine_tuned_model": "nano.ft-1", "status": status, "trained_tokens": 4000, "seed": 0}
    facts |= {"hyperparameters": {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 1.0}}
    facts |= {"training_file": "file-1", "result_files": [], "organization_id": ""}
    return Progress(FineTuningJob.model_validate(facts), Curve(frame), ())


def concluded(
    project: Project | None = None, kept: Sequence[int] = (30, 60, 90), **sparse: object
) -> Conclusion:
    return conclude(client(kept), done(**sparse), project=project, held_out=63)


def judged(project: Project, outcome: str, **more: object) -> None:
    facts = {
        "tuned_model": "nano.ft-1",
        "base_model": "nano",
        "items": 100,
        "outcome": outcome,
        "verdict": "V.",
    }
    scores = {"tuned_score": 0.9, "base_score": 0.1}
    project.record("comparison", job_id=JOB, **facts | scores | more)


FALLING = {30: 1.2, 60: 0.9, 90: 0.8}
RISING = {30: 0.8, 60: 0.9, 90: 1.4}


def test_the_last_checkpoint_is_used_once_the_test_confirms_it():
    found = concluded(full_valid_loss=FALLING, **{REWARD: {30: 0.25, 60: 0.5, 90: 0.875}})
    assert found.verdict == "Use the last checkpoint, once the test confirms it"
    assert found.next_step == "Run 06_evaluate: the curve does not show answers."
    reasons = dict(found.reasons)
    assert reasons["Held-out answers"] == "88 % of 24 are right at step 90, 25 % at step 30."
    assert reasons["Checkpoint"].startswith(
        "Use step 90, score of held-out answers 0.875: the earliest within"
    )
    assert reasons["Test and forgetting"].startswith("Not measured yet; 06_evaluate")


def test_that_it_still_improves_is_a_reason_and_no_second_verdict():
    found = concluded(full_valid_loss={30: 1.6, 60: 1.1, 90: 0.7})
    assert found.diagnosis.verdict == "still_improving"
    assert found.verdict == "Use the last checkpoint, once the test confirms it"
    assert dict(found.reasons)["More epochs"].endswith("train one epoch more (N_EPOCHS = 4 in place of 3).")


def test_an_earlier_checkpoint_is_named_with_the_command_that_tests_it():
    found = concluded(full_valid_loss=RISING)
    assert found.verdict == "Use the checkpoint of step 30 (nano.ft-1:ckpt-step-30), not the last one"
    assert found.next_step == ("Test it: python -m workbench evaluate TEST --model nano.ft-1:ckpt-step-30")


def test_a_model_that_diverged_is_not_used_whatever_else_is_known():
    ended = done(full_valid_loss=FALLING)
    loss = ended.curve.frame["train_loss"].mask(ended.curve.frame.index > 80, np.inf)
    broken = Curve(ended.curve.frame.assign(train_loss=loss))
    found = conclude(client([90]), Progress(ended.job, broken, ()))
    assert found.verdict == "Do not use this model"
    assert found.next_step.startswith("Do not use this model. Train again with a tenth")


def test_the_test_confirms_the_model(home):
    project = open_project("shop")
    judged(project, "better", forgetting={"items": 400, "base": 145, "tuned": 140})
    found = concluded(project, full_valid_loss=FALLING)
    assert found.verdict == "Use this model: the test confirms it"
    assert dict(found.reasons)["Forgetting"] == (
        "Of 400 questions beside the task the base model has 145 right, this one 140."
    )


def test_a_model_that_is_better_and_forgot_too_much_is_trained_again(home):
    project = open_project("shop")
    check = {"name": "nothing lost elsewhere", "result": "refused", "why": "58 of 400 right against 145"}
    judged(project, "better", gate={"result": "refused", "checks": [check]})
    found = concluded(project, full_valid_loss=FALLING)
    assert found.verdict == "It is better at the task, but train again before you use this model"
    assert found.next_step == "Train it again with rehearsal (REHEARSAL in 03_build_data)."
    assert "58 of 400 right against 145" in dict(found.reasons)["Forgetting"]


def test_a_test_that_shows_nothing_is_said(home):
    project = open_project("shop")
    judged(project, "inconclusive")
    found = concluded(project, full_valid_loss=FALLING)
    assert found.verdict == "Do not count on this model: the test did not show that it is better"


def test_without_any_validation_the_curve_does_not_tell():
    found = concluded(kept=())
    assert found.verdict == "The curve does not tell whether to use this model"
    assert found.next_step == "Run 06_evaluate: the test does."


def test_a_job_that_has_not_succeeded_has_no_conclusion():
    with pytest.raises(SetupError, match="was cancelled"):
        conclude(client(()), done("cancelled"))


def test_it_shows_one_card_with_the_details_folded_and_everything_escaped():
    shown = concluded(full_valid_loss=FALLING)._repr_html_()
    assert shown.count("<details>") == 3
    assert shown.index("Use the last checkpoint, once the test confirms it") < shown.index("<details>")
    assert "mathjax_ignore" in shown
