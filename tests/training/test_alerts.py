"""What is told of a job at once, told once, and sent on to who wants it."""

import json
import math
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pandas as pd
import pytest
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.fine_tuning_job import Method

from workbench.errors import DataError, SetupError
from workbench.training.alerts import Alert, alerts, alerts_now, post
from workbench.training.cost import CostCap
from workbench.training.curve import Curve
from workbench.training.diagnosis import diagnose
from workbench.training.follow import Progress

FALLING = [2.0 * 0.95**step for step in range(40)]


def curve(train: list[float], valid: list[float] | None = None) -> Curve:
    """A training loss at each step, and a full validation loss at every fourth."""
    frame = pd.DataFrame({"train_loss": train}, index=pd.RangeIndex(1, len(train) + 1, name="step"))
    if valid is not None:
        frame["full_valid_loss"] = pd.Series(valid, index=range(4, 4 * len(valid) + 1, 4))
    return Curve(frame)


def look(status: str = "running", shown: Curve | None = None, **fields: object) -> Progress:
    words = {
        "id": "ftjob-1",
        "object": "fine_tuning.job",
        "created_at": 1_000,
        "model": "m",
        "seed": 0,
        "organization_id": "",
        "result_files": [],
        "training_file": "file-1",
        "hyperparameters": {"n_epochs": -1},
    }
    job = FineTuningJob.construct(**words | {"status": status} | fields)
    return Progress(job, shown or curve([]), ())


def at(progress: Progress, *said: tuple[int, str]) -> Progress:
    """The same look, with these messages at these seconds."""
    events = (
        FineTuningJobEvent.construct(id=f"e{n}", created_at=second, message=text, level="info")
        for n, (second, text) in enumerate(said)
    )
    return Progress(progress.job, progress.curve, tuple(events))


def kinds(*looks: Progress, cap: CostCap | None = None) -> list[str]:
    return [alert.kind for alert in alerts(looks, cost_cap=cap)]


def preference(chosen: list[float], logps: list[float]) -> Curve:
    """A preference job whose margin rises by 0.1 a step."""
    steps = range(1, len(chosen) + 1)
    columns = {
        "train_loss": [0.69 * 0.97**step for step in steps],
        "rewards/chosen": chosen,
        "rewards/margins": [0.1 * step for step in steps],
        "logps/chosen": logps,
    }
    return Curve(pd.DataFrame(columns, index=pd.RangeIndex(1, len(chosen) + 1, name="step")))


def test_preferred_answers_that_become_less_likely_while_the_margin_rises_are_told_while_it_trains():
    falling = [-20.0 - step for step in range(12)]
    negative = [-0.1 * step for step in range(12)]
    running = look(shown=preference(negative, falling))
    (alert,) = alerts([running, running])
    assert (alert.kind, alert.step) == ("likelihood_displacement", 12)
    assert alert.message == (
        "The preferred answers become less likely: the margin rose to 1, and the log-probability of the "
        "preferred answers fell from -22 to -29"
    )
    assert diagnose(running.curve).flags == ("likelihood_displacement",)
    # Harder batches, a fall below a tenth, and too few steps are none.
    assert kinds(look(shown=preference([0.1] * 12, falling))) == []
    assert kinds(look(shown=preference(negative, [-20.0 - step / 10 for step in range(12)]))) == []
    assert kinds(look(shown=preference(negative[:5], falling[:5]))) == []


def test_a_job_that_goes_well_is_told_when_it_is_done():
    done = look("succeeded", curve(FALLING), fine_tuned_model="m.ft-1")
    (alert,) = alerts([look("pending"), look(shown=curve(FALLING[:20])), done])
    assert alert == Alert("done", "ftjob-1", "the model is m.ft-1", 40)
    assert str(alert) == "ftjob-1 at step 40: done: the model is m.ft-1"
    assert str(Alert("cost_cap", "ftjob-1", "it is over", 3)) == "ftjob-1 at step 3: cost cap: it is over"


def test_a_failed_job_is_told_with_its_reason_and_what_is_mostly_behind_it():
    text = "The provided training data failed RAI checks for harm types: [violence]."
    (alert,) = alerts_now(look("failed", error={"code": "x", "message": text, "param": None}))
    assert alert.kind == "failed"
    assert alert.message.startswith(f"{text} Hint: data full of personal details gives false hits")


def test_a_reason_that_says_it_all_stays_alone():
    failed = look("failed", error={"code": "x", "message": "Line 3 is no JSON.", "param": None})
    assert alerts_now(failed)[0].message == "Line 3 is no JSON."


def test_a_pause_and_a_cancellation_are_told():
    assert kinds(look("paused")) == ["paused"]


def test_a_reinforcement_job_that_stands_still_may_have_reached_azures_own_limit():
    (plain,) = alerts_now(look("paused"))
    assert plain.message == "it waits until it is resumed"
    by_the_hour = Method.model_validate({"type": "reinforcement"})
    (paused,) = alerts_now(look("paused", method=by_the_hour))
    assert paused.message == (
        "it waits until it is resumed; Azure pauses such a job by itself at $5,000 of training and grading: "
        "to resume it lifts that limit, and its newest checkpoint can be deployed as it is"
    )
    assert kinds(look("cancelled")) == ["cancelled"]


def test_a_loss_that_becomes_infinite_is_told_at_its_step_and_once():
    gone = curve([*FALLING[:20], math.inf, math.inf])
    told = list(alerts([look(shown=curve(FALLING[:20])), look(shown=gone), look(shown=gone)]))
    assert [(alert.kind, alert.step) for alert in told] == [("diverged", 21)]
    assert "train_loss is infinite" in told[0].message


def test_a_loss_that_only_jumps_about_is_no_divergence():
    jumping = [loss * (1.2 if step % 2 else 0.8) for step, loss in enumerate(FALLING)]
    assert kinds(look(shown=curve(jumping))) == []


def test_validation_that_rises_while_training_falls_is_told():
    falls_then_rises = [2.0, 1.5, 1.2, 1.0, 1.0, 1.1, 1.3, 1.5, 1.8, 2.0]
    falls = [2.0, 1.8, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1.05, 1.0]
    assert kinds(look(shown=curve(FALLING, falls_then_rises))) == ["overfitting"]
    assert kinds(look(shown=curve(FALLING, falls))) == []


def test_several_jobs_are_told_apart():
    other = look("succeeded", id="ftjob-2", fine_tuned_model="x")
    told = alerts([look("cancelled"), other, look("cancelled"), other])
    assert [(alert.job_id, alert.kind) for alert in told] == [("ftjob-1", "cancelled"), ("ftjob-2", "done")]


@pytest.mark.parametrize(("n_epochs", "told"), [(-1, []), (3, []), (4, ["cost_cap"])])
def test_epochs_that_the_service_chose_may_cost_more_than_the_cap(n_epochs, told):
    cap = CostCap(10.0, usd_per_epoch=3.0)
    assert kinds(look(hyperparameters={"n_epochs": n_epochs}), cap=cap) == told


def test_hours_of_training_are_counted_from_its_beginning_and_not_from_the_queue():
    cap = CostCap(150.0, usd_per_hour=100.0)
    waiting = at(look(), (0, "Job enqueued."), (90_000, "Job queued, waiting for GPUs."))
    short = at(look(), (0, "Job enqueued."), (90_000, "Training started."), (95_000, "Step 1"))
    long = at(look(), (0, "Job enqueued."), (90_000, "Training started."), (97_200, "Step 9"))
    assert kinds(waiting, short, cap=cap) == []
    (alert,) = alerts_now(long, cost_cap=cap)
    assert alert.message == "it costs $200.00 by now, and $150.00 is the cap"


def test_a_cap_without_a_price_tells_nothing():
    assert kinds(look(hyperparameters={"n_epochs": 50}), cap=CostCap(0.01)) == []


# The webhook


@pytest.fixture
def inbox() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """An address on this machine, and what was posted to it; /broken answers 500."""
    posted: list[dict[str, object]] = []

    class Inbox(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append({"type": self.headers["Content-Type"], **json.loads(body)})
            self.send_response(500 if self.path.startswith("/broken") else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Inbox)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", posted
    server.shutdown()
    thread.join()
    server.server_close()


DONE = Alert("done", "ftjob-1", "the model is m.ft-1", 40)


def test_an_alert_is_posted_as_json(inbox):
    url, posted = inbox
    post(DONE, f"{url}/secret")
    assert posted == [
        {
            "type": "application/json",
            "text": "ftjob-1: the model is m.ft-1",
            "kind": "done",
            "job_id": "ftjob-1",
            "message": "the model is m.ft-1",
            "step": 40,
        }
    ]


def test_a_webhook_that_refuses_is_told_without_its_secret(inbox):
    with pytest.raises(SetupError, match=r"^The webhook at 127\.0\.0\.1 answers 500; check its address\.$"):
        post(DONE, f"{inbox[0]}/broken/secret")


def test_a_webhook_that_nobody_listens_at_is_told(inbox):
    with pytest.raises(SetupError, match=r"^The webhook at 127\.0\.0\.1 cannot be reached: "):
        post(DONE, "http://127.0.0.1:9/secret")


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "hooks.example.com/x", "https://"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(DataError, match="begins with https://"):
        post(DONE, url)
