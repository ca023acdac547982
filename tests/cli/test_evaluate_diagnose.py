"""``python -m workbench diagnose``: a curve in a shell, and an exit code for CI."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from workbench.cli import OneSentence, evaluate
from workbench.training.diagnosis import VERDICTS


def call(*words: str) -> Result:
    app = typer.Typer(cls=OneSentence, pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    evaluate.add_to(app)
    return CliRunner().invoke(app, ["diagnose", *words], catch_exceptions=False)


def results(tmp_path: Path, valid: dict[int, float], steps: int = 40) -> str:
    lines = [f"{step},{2 * 0.98**step},{valid.get(step, '')}" for step in range(1, steps + 1)]
    file = tmp_path / "results.csv"
    file.write_text("\n".join(["step,train_loss,full_valid_loss", *lines]))
    return str(file)


@pytest.mark.parametrize(
    ("valid", "verdict", "code"),
    [
        ({10: 1.6, 30: 1.4, 40: 1.4}, "healthy", 0),
        ({10: 1.6, 30: 1.4, 40: 1.3}, "still_improving", 0),
        ({10: 1.6, 30: 1.2, 40: 1.6}, "overfitting_severe", 1),
        ({}, "no_validation_cannot_judge", 2),
    ],
)
def test_the_exit_code_goes_by_the_verdict(tmp_path, valid, verdict, code):
    done = call(results(tmp_path, valid), "--n-epochs", "4", "--json")
    assert (json.loads(done.stdout)["verdict"], done.exit_code) == (verdict, code)
    assert done.stdout.count("\n") == 1


def test_without_json_it_is_told_in_sentences(tmp_path):
    done = call(results(tmp_path, {10: 1.6, 30: 1.2, 40: 1.6}))
    assert done.stdout.splitlines()[0].startswith(
        "The model overfits severely: the validation loss ends 33.3%"
    )


def test_what_the_data_check_found_counts(tmp_path):
    file = results(tmp_path, {10: 1.7, 60: 0.6, 80: 0.4}, steps=80)
    assert json.loads(call(file, "--n-epochs", "4", "--json").stdout)["verdict"] == "leakage_suspected"
    cleared = call(file, "--n-epochs", "4", "--leaks", "0", "--json")
    assert (json.loads(cleared.stdout)["verdict"], cleared.exit_code) == ("still_improving", 0)


def test_events_and_trainer_states_are_read_too(tmp_path):
    events = [
        {
            "id": f"ftevent-{step}",
            "object": "fine_tuning.job.event",
            "created_at": step,
            "level": "info",
            "message": f"Step {step}: training loss=0.001",
        }
        for step in range(1, 41)
    ]
    (tmp_path / "events.json").write_text(json.dumps(events))
    done = call(str(tmp_path / "events.json"), "--method", "dpo", "--json")
    assert (json.loads(done.stdout)["verdict"], done.exit_code) == ("memorised", 1)
    history = [{"step": step, "loss": 1.0} for step in range(1, 6)]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    done = call(str(tmp_path / "trainer_state.json"), "--json")
    assert (json.loads(done.stdout)["verdict"], done.exit_code) == ("insufficient_data", 2)


def test_what_is_no_curve_is_one_sentence(tmp_path):
    (tmp_path / "page.csv").write_text("<html>Sign in</html>")
    done = call(str(tmp_path / "page.csv"))
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    missing = call(str(tmp_path / "none.csv"))
    assert (missing.exit_code, missing.stderr.count("\n")) == (2, 1)


def test_every_verdict_has_its_exit_code():
    fails = {name for name in VERDICTS if name not in (*evaluate.GOOD, *evaluate.NOT_JUDGED)}
    assert fails == {
        "diverged",
        "leakage_suspected",
        "overfitting_mild",
        "overfitting_severe",
        "underfitting",
        "memorised",
        "likelihood_displacement",
        "reward_hacking",
        "no_signal",
    }
