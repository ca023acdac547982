"""The table of training methods: ranges, reasons, and that an entry is all that a new one takes."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import openai
import pytest
from idle_service import KEY, idle_service
from job_specs import spec
from made_up_method import ECHO
from openai import OpenAI
from pydantic import ValidationError

from workbench.catalog.limits import SPECIFICATION
from workbench.catalog.methods import METHODS, Hyperparameter, Method, method
from workbench.catalog.providers import provider
from workbench.dataset.check.check import check
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError, SetupError
from workbench.local.api.job_routes import job_request
from workbench.local.models.bases import NANO
from workbench.local.training.run import resolve
from workbench.local.training.training_worker import TRAINERS
from workbench.project import open_project
from workbench.training.follow import follow
from workbench.training.preflight import hyperparameter_findings, launch, preflight
from workbench.training.runs import runs

BASE_URL = "http://127.0.0.1/openai/v1/"
GRADER = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
GENTLE = Hyperparameter(
    "gentle", "float", "how gently it is taught", "0.5", SPECIFICATION, low=0, default=0.5
)


def dataset(name: str, size: int = 12) -> Dataset:
    rows = (
        ({"role": "user", "content": f"{name} {n}?"}, {"role": "assistant", "content": f"{n}."})
        for n in range(size)
    )
    return Dataset(name, tuple(Example(row, f"{name}:{n}") for n, row in enumerate(rows, 1)))


DOGS, CATS = dataset("dogs"), dataset("cats", 10)


@pytest.fixture
def local(home: Path) -> Iterator[OpenAI]:
    with idle_service(home / "service") as http:
        yield OpenAI(base_url=BASE_URL, api_key=KEY, http_client=http, max_retries=0)


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Method:
    monkeypatch.setitem(METHODS, "echo", ECHO)
    return ECHO


@pytest.fixture
def gentle(monkeypatch: pytest.MonkeyPatch) -> Hyperparameter:
    supervised = METHODS["supervised"]
    more = replace(supervised, hyperparameters=(*supervised.hyperparameters, GENTLE))
    monkeypatch.setitem(METHODS, "supervised", more)
    return GENTLE


def asked(name: str, hyperparameters: dict[str, object]) -> dict[str, object]:
    """The body of a request for a job by one method."""
    settings: dict[str, object] = {"hyperparameters": hyperparameters}
    if METHODS[name].grader != "none":
        settings["grader"] = GRADER
    files = {"training_file": "file-t", "validation_file": "file-v"}
    return {"model": "m", **files, "method": {"type": name, name: settings}}


# The table


@pytest.mark.parametrize(
    ("name", "hyperparameter", "span", "allowed", "refused"),
    [
        ("supervised", "n_epochs", "1 to 50", (1, 50, "auto"), (0, 51, 1.5, "many")),
        ("supervised", "batch_size", "1 to 256", (1, 256), (0, 257)),
        ("supervised", "learning_rate_multiplier", "more than 0", (0.001, 900), (0, -1, float("inf"))),
        ("dpo", "beta", "more than 0 to 2", (0.1, 2), (0, 2.1)),
        ("dpo", "l2_multiplier", "0 or more", (0, 0.1), (-0.1,)),
        ("dpo", "chosen_likelihood", "0 or more", (0, 0.5), (-0.1,)),
        ("reinforcement", "compute_multiplier", "more than 1e-05 to 10", (0.00002, 10), (0.00001, 11)),
        ("reinforcement", "eval_samples", "1 or more", (1, 1000), (0,)),
        (
            "reinforcement",
            "reasoning_effort",
            "default or low or medium or high",
            ("low", "default"),
            ("huge",),
        ),
    ],
)
def test_client_and_service_hold_a_hyperparameter_to_the_same_range(
    name: str, hyperparameter: str, span: str, allowed: tuple[object, ...], refused: tuple[object, ...]
) -> None:
    entry = METHODS[name].hyperparameter(hyperparameter)
    assert entry.span == span
    for value in allowed:
        assert entry.allows(value)
        job_request().model_validate(asked(name, {hyperparameter: value}))
    for value in refused:
        assert not entry.allows(value)
        with pytest.raises(ValidationError):
            job_request().model_validate(asked(name, {hyperparameter: value}))


def test_a_method_is_found_by_either_name_and_a_wrong_one_is_told_which_there_are() -> None:
    assert method("rft") is method("reinforcement") is METHODS["reinforcement"]
    with pytest.raises(DataError, match="There is no method 'ppo'; choose sft, dpo, rft"):
        method("ppo")


def test_every_range_of_a_hyperparameter_has_its_source_with_an_address_and_a_date() -> None:
    sources = [each.source for method in METHODS.values() for each in method.hyperparameters]
    assert len(sources) == 19
    assert [page.title for page in sources if not page.url.startswith("https://")] == []
    assert {(page.title, page.date.year) for page in sources} == {
        ("Azure REST specification, data plane 2025-04-01-preview", 2025),
        ("TRL, DPO trainer (rpo_alpha)", 2026),
        ("TRL, GRPO trainer (max_completion_length)", 2026),
    }


def test_every_method_that_is_trained_locally_has_a_trainer_and_no_other() -> None:
    assert set(TRAINERS) == {name for name, each in METHODS.items() if each.trained_locally}


def test_a_method_that_the_service_does_not_train_by_yet_is_told_before_anything_is_sent(
    local: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = replace(METHODS["reinforcement"], not_local="local training by reinforcement comes later")
    monkeypatch.setitem(METHODS, "reinforcement", later)
    prompts = Dataset("prompts", tuple(replace(row, messages=row.messages[:1]) for row in DOGS))
    job = spec(prompts, model=NANO, validation=prompts, grader=GRADER)
    with pytest.raises(SetupError, match="local training by reinforcement comes later: train it at another"):
        launch(local, job)


def test_a_hyperparameter_of_the_local_service_alone_is_refused_elsewhere() -> None:
    job = spec(DOGS, model="gpt-4.1-mini-2025-04-14", method="dpo", chosen_likelihood=0.5)
    (error,) = hyperparameter_findings(job, provider("azure"))
    assert error.message == "chosen_likelihood is the local service's own, and azure does not know it"
    assert list(hyperparameter_findings(job, provider("local"))) == []


# A job spec


def test_a_spec_keeps_what_was_chosen_and_sends_auto_for_the_rest() -> None:
    job = spec(DOGS, model=NANO, n_epochs=3, batch_size=None, learning_rate_multiplier="auto")
    assert job.hyperparameters == {"n_epochs": 3}
    assert job.sent_hyperparameters == {
        "n_epochs": 3,
        "batch_size": "auto",
        "learning_rate_multiplier": "auto",
    }
    assert str(job) == (
        "nano on 12 examples (sft): n_epochs 3, batch_size auto, learning_rate_multiplier auto, seed 0"
    )


def test_to_change_a_spec_gives_another_one() -> None:
    first = spec(DOGS, model=NANO, n_epochs=3)
    second = first.with_hyperparameters(n_epochs=None, batch_size=2)
    assert (first.hyperparameters, second.hyperparameters) == ({"n_epochs": 3}, {"batch_size": 2})
    assert replace(first, seed=1).content != first.content
    assert second.with_hyperparameters(n_epochs=3, batch_size=None).content == first.content


def test_a_spec_shows_its_hyperparameters_with_their_reasons_escaped() -> None:
    shown = spec(DOGS, model="<nano>", n_epochs=3)._repr_html_()
    assert "<nano>" not in shown
    assert "with 12 examples 3 to 5 are usual" in shown


# A made-up method


def test_a_new_method_is_an_entry_in_the_tables(
    echo: Method, local: OpenAI, home: Path, models: Path
) -> None:
    project = open_project("dogs")
    job = spec(DOGS, model=NANO, validation=CATS, method="ech", n_epochs=1, batch_size=4, loudness=3.0)
    plan = preflight(local, job, project=project)
    sent = {"n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": "auto", "loudness": 3.0}
    assert plan.errors == ()
    assert plan.body["method"] == {"type": "echo", "echo": {"hyperparameters": sent}}
    assert plan.hyperparameters[-1][:3] == (
        "loudness",
        3.0,
        "how loud the echo is; with 12 examples 2 is usual",
    )
    started = launch(local, plan, project=project)
    assert started.to_dict()["method"]["echo"]["hyperparameters"]["loudness"] == 3.0

    command = [sys.executable, str(Path(__file__).parents[1] / "made_up_method.py"), home / "service", models]
    subprocess.run([*command, started.id], check=True, timeout=300)

    *_, done = follow(local, started.id)
    assert done.job.status == "succeeded", done.job.error
    assert done.job.to_dict()["hyperparameters"] == {
        "n_epochs": 1,
        "batch_size": 4,
        "learning_rate_multiplier": 1.0,
        "loudness": 3.0,
    }
    csv = local.files.content(done.job.result_files[0]).text
    assert csv.splitlines()[0] == "step,train_loss,train_echo,full_valid_loss,full_valid_echo"
    assert done.curve.frame["train_echo"].tolist() == [3.0, 3.0, 3.0]
    assert done.curve.final["full_valid_echo"] == 3.0
    assert launch(local, job, project=project).id == started.id
    (run,) = runs(project, local)
    assert (run.configuration["method"], run.configuration["loudness"]) == ("echo", 3.0)


def test_the_hyperparameter_of_a_new_method_is_held_to_its_range(echo: Method, local: OpenAI) -> None:
    (error,) = preflight(local, spec(DOGS, model=NANO, method="echo", loudness=12)).errors
    assert (error.path, error.message) == ("hyperparameters.loudness", "loudness is 12")
    assert error.fix == "give more than 0 to 11, or None"
    file = local.files.create(file=("t.jsonl", DOGS.to_jsonl()), purpose="fine-tune").id
    body = asked("echo", {"loudness": 12}) | {"model": NANO, "training_file": file, "validation_file": file}
    with pytest.raises(openai.BadRequestError, match="less than or equal to 11") as caught:
        local.post("/fine_tuning/jobs", body=body, cast_to=object)
    assert caught.value.param == "method.echo.hyperparameters.loudness"


def test_data_is_checked_for_a_new_method_by_the_shape_of_its_rows(echo: Method) -> None:
    report = check(dataset("few", 9), method="echo", only=("format",))
    assert (report.method, [problem.message for problem in report.errors]) == (
        "ech",
        ["9 examples, and a job needs at least 10"],
    )


# A made-up hyperparameter


def test_a_new_hyperparameter_is_an_entry_of_its_method(gentle: Hyperparameter, local: OpenAI) -> None:
    plan = preflight(local, spec(DOGS, model=NANO, gentle=0.25))
    assert plan.errors == ()
    assert plan.hyperparameters[-1][:3] == ("gentle", 0.25, "how gently it is taught")
    job = launch(local, plan).to_dict()
    assert job["hyperparameters"]["gentle"] == 0.25
    assert resolve({**job, "hyperparameters": job["hyperparameters"]}, 12, 0).more["gentle"] == 0.25
    (error,) = preflight(local, spec(DOGS, model=NANO, gentle=-1)).errors
    assert (error.message, error.fix) == ("gentle is -1", "give 0 or more, or None")


def test_a_new_hyperparameter_that_nobody_chose_is_not_sent_and_has_its_default(
    gentle: Hyperparameter, local: OpenAI
) -> None:
    job = launch(local, spec(DOGS, model=NANO)).to_dict()
    assert "gentle" not in job["hyperparameters"]
    assert resolve(job, 12, 0).more == {"gentle": 0.5}


def test_a_new_hyperparameter_does_not_change_the_content_of_jobs_on_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = spec(DOGS, model=NANO).content
    supervised = METHODS["supervised"]
    more = replace(supervised, hyperparameters=(*supervised.hyperparameters, GENTLE))
    monkeypatch.setitem(METHODS, "supervised", more)
    assert spec(DOGS, model=NANO).content == before
