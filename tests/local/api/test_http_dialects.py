"""Two dialects: Azure's at Azure's addresses, OpenAI's own at plain ``/v1/``; the same jobs behind both."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from echo_service import client_of
from idle_service import idle_service
from openai import OpenAI
from openai.types import FileObject, Model
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from pydantic import BaseModel
from starlette.testclient import TestClient

from workbench.local.store.store import Store

JOBS = "fine_tuning/jobs"
DATED = "?api-version=2024-10-21"


@pytest.fixture
def http(home: Path) -> Iterator[TestClient]:
    with idle_service(home) as http:
        yield http


@pytest.fixture
def store(http: TestClient) -> Store:
    return http.app.state.store


@pytest.fixture
def training_file(http: TestClient) -> str:
    file = ("train.jsonl", b'{"messages": []}\n' * 10)
    return client_of(http).files.create(file=file, purpose="fine-tune").id


@pytest.fixture
def new_job(http: TestClient, training_file: str) -> dict[str, Any]:
    """A job as OpenAI's dialect answers its creation."""
    body = {"model": "nano", "training_file": training_file, "suffix": "a", "trainingType": "Standard"}
    created: dict[str, Any] = http.post(f"/v1/{JOBS}", json=body).json()
    return created


# OpenAI's own


def test_a_job_at_openais_address_has_every_field_of_openais(
    new_job: dict[str, Any], training_file: str
) -> None:
    FineTuningJob.model_validate(new_job, strict=True)
    hyperparameters = {"batch_size": "auto", "learning_rate_multiplier": "auto", "n_epochs": "auto"}
    known = {name: new_job[name] for name in ("id", "created_at", "seed")}
    assert new_job == known | {
        "object": "fine_tuning.job",
        "model": "nano",
        "status": "validating_files",
        "organization_id": "org-workbench",
        "training_file": training_file,
        "validation_file": None,
        "result_files": [],
        "fine_tuned_model": None,
        "finished_at": None,
        "trained_tokens": None,
        "estimated_finish": None,
        "error": None,
        "integrations": [],
        "metadata": None,
        "hyperparameters": hyperparameters,
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
    }


def test_the_same_job_at_azures_address_has_azures_fields_only(
    http: TestClient, new_job: dict[str, Any], training_file: str
) -> None:
    shown = http.get(f"/openai/v1/{JOBS}/{new_job['id']}").json()
    assert shown == {name: new_job[name] for name in ("id", "created_at", "object", "seed", "model")} | {
        "status": "pending",
        "training_file": training_file,
        "hyperparameters": {"batch_size": -1, "learning_rate_multiplier": -1, "n_epochs": -1},
        "suffix": "a",
        "trainingType": "standard",
    }


@pytest.mark.parametrize(
    ("azure", "own"),
    [
        ("pending", "queued"),
        ("running", "running"),
        ("pausing", "running"),
        ("paused", "paused"),
        ("resuming", "queued"),
        ("succeeded", "succeeded"),
        ("failed", "failed"),
        ("cancelled", "cancelled"),
    ],
)
def test_a_state_is_told_in_the_words_of_the_address(
    http: TestClient, store: Store, new_job: dict[str, Any], azure: str, own: str
) -> None:
    store.jobs.update(new_job["id"], status=azure)
    assert http.get(f"/v1/{JOBS}").json()["data"][0]["status"] == own
    assert http.get(f"/openai/v1/{JOBS}").json()["data"][0]["status"] == azure


def test_a_warning_is_openais_warn_and_azures_warning(
    http: TestClient, store: Store, new_job: dict[str, Any]
) -> None:
    store.events.add(new_job["id"], "Beware.", level="warning")
    for path, level in (("/v1", "warn"), ("/openai/v1", "warning")):
        assert http.get(f"{path}/{JOBS}/{new_job['id']}/events").json()["data"][0]["level"] == level


def test_openai_sends_a_result_file_as_base64_and_azure_as_it_is(
    http: TestClient, store: Store, new_job: dict[str, Any]
) -> None:
    job = store.jobs.update(new_job["id"], status="running")
    assert job is not None
    store.metrics.add(job["id"], 1, {"train_loss": 1.5})
    (file,) = job["result_files"]
    azures = http.get(f"/openai/v1/files/{file}/content").content
    assert azures.startswith(b"step,train_loss,")
    assert base64.b64decode(http.get(f"/v1/files/{file}/content").content) == azures


def test_openai_tells_less_of_a_model(http: TestClient) -> None:
    assert http.get("/v1/models/nano").json().keys() == {"id", "object", "created", "owned_by"}
    assert http.get("/v1/models").json()["data"][0].keys() == {"id", "object", "created", "owned_by"}
    assert http.get("/openai/v1/models/nano").json()["capabilities"]["fine_tune"] is True


def _strictly(kind: type[BaseModel], rows: list[dict[str, Any]]) -> int:
    for row in rows:
        kind.model_validate(row, strict=True)
    return len(rows)


def test_every_row_at_openais_address_is_of_the_clients_own_type(
    http: TestClient, store: Store, new_job: dict[str, Any]
) -> None:
    job = f"/v1/{JOBS}/{new_job['id']}"
    store.metrics.add(new_job["id"], 1, {"train_loss": 1.0})
    store.checkpoints.add(new_job["id"], 1, "nano.ft-1", {}, store.checkpoints.folder(new_job["id"], 1))
    assert _strictly(FineTuningJob, http.get(f"/v1/{JOBS}").json()["data"]) == 1
    assert _strictly(FineTuningJob, [http.post(f"{job}/cancel").json()]) == 1
    assert _strictly(FineTuningJobEvent, http.get(f"{job}/events").json()["data"]) == 2
    assert _strictly(FineTuningJobCheckpoint, http.get(f"{job}/checkpoints").json()["data"]) == 1
    assert _strictly(FileObject, http.get("/v1/files").json()["data"]) == 1
    assert _strictly(Model, http.get("/v1/models").json()["data"]) == 3


# Lists and errors


@pytest.mark.parametrize(
    ("path", "ends"),
    [
        ("files", True),
        (JOBS, False),
        (f"{JOBS}/{{job}}/events", False),
        (f"{JOBS}/{{job}}/checkpoints", True),
    ],
)
def test_only_openai_tells_the_ends_of_some_lists(
    http: TestClient, new_job: dict[str, Any], path: str, ends: bool
) -> None:
    rest = path.format(job=new_job["id"])
    plain = {"object", "data", "has_more"}
    assert http.get(f"/openai/v1/{rest}").json().keys() == plain
    assert http.get(f"/v1/{rest}").json().keys() == plain | ({"first_id", "last_id"} if ends else set())


MODEL = {"model": "gpt-none", "messages": [{"role": "user", "content": "x"}]}
WRONG = {"model": 3, "training_file": "x"}


@pytest.mark.parametrize(
    ("path", "rest", "body", "status", "error"),
    [
        ("/v1", f"/{JOBS}", WRONG, 400, {"code": None, "param": "model", "type": "invalid_request_error"}),
        ("/openai/v1", f"/{JOBS}", WRONG, 400, {"code": "invalidPayload", "param": "model", "type": "error"}),
        (
            "/openai", f"/{JOBS}{DATED}", WRONG, 400,
            {"code": "invalidPayload", "target": "model", "details": []},
        ),
        (
            "/v1", "/chat/completions", MODEL, 404,
            {"code": "model_not_found", "param": "model", "type": "invalid_request_error"},
        ),
        (
            "/openai/v1", "/chat/completions", MODEL, 404,
            {"code": "DeploymentNotFound", "param": "model", "type": "error"},
        ),
        (
            "/v1", f"/{JOBS}/none/cancel", {}, 404,
            {"code": None, "param": None, "type": "invalid_request_error"},
        ),
        ("/openai", f"/{JOBS}/none/cancel{DATED}", {}, 404, {"code": "notFound", "details": []}),
        (
            "/api/projects/p/openai/v1", "/nowhere", {}, 404,
            {"code": "notFound", "param": None, "type": "error"},
        ),
    ],
)  # fmt: skip
def test_an_error_has_the_shape_of_its_address(
    http: TestClient, path: str, rest: str, body: object, status: int, error: dict[str, object]
) -> None:
    answer = http.post(f"{path}{rest}", json=body)
    found = answer.json()["error"]
    assert found.pop("message")
    assert (answer.status_code, found) == (status, error)


def test_a_key_that_is_wrong_is_refused_as_openai_does(http: TestClient) -> None:
    answer = http.get("/v1/models", headers={"api-key": "wrong"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (
        401, "invalid_api_key", "invalid_request_error",
    )  # fmt: skip


def test_too_many_requests_are_openais_rate_limit(http: TestClient) -> None:
    client = client_of(http, "/v1/")
    with pytest.raises(openai.RateLimitError) as caught:
        client.models.list(extra_headers={"x-workbench-fault": "rate-limit"})
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "requests")


# The dated addresses


def test_what_is_made_at_a_dated_address_is_answered_by_201_and_its_place(
    http: TestClient, training_file: str
) -> None:
    job = http.post(f"/openai/{JOBS}{DATED}", json={"model": "nano", "training_file": training_file})
    form: dict[str, Any] = {"data": {"purpose": "evals"}, "files": {"file": ("a", b"x")}}
    file = http.post(f"/openai/files{DATED}", **form)
    for answer, place in ((job, JOBS), (file, "files")):
        location = f"http://testserver/openai/{place}/{answer.json()['id']}"
        assert (answer.status_code, answer.headers["location"]) == (201, location)
        assert http.get(location + DATED).json() == answer.json()


@pytest.mark.parametrize("path", ["/openai/v1", "/v1"])
def test_what_is_made_at_a_v1_address_is_answered_by_200(
    http: TestClient, training_file: str, path: str
) -> None:
    job = http.post(f"{path}/{JOBS}", json={"model": "nano", "training_file": training_file})
    file = http.post(f"{path}/files", data={"purpose": "evals"}, files={"file": ("a", b"x")})
    for answer in (job, file):
        assert (answer.status_code, answer.headers.get("location")) == (200, None)


# Requests


@pytest.fixture
def client(http: TestClient) -> OpenAI:
    return client_of(http)


@pytest.mark.parametrize(
    ("asked", "repeated"),
    [
        (1, "globalStandard"),
        ("1", "globalStandard"),
        ("GlobalStandard", "globalStandard"),
        ("standard", "standard"),
        ("DeveloperTier", "developerTier"),
    ],
)
def test_a_training_type_is_taken_as_tools_send_it(
    client: OpenAI, training_file: str, asked: object, repeated: str
) -> None:
    job = client.fine_tuning.jobs.create(
        model="nano", training_file=training_file, extra_body={"trainingType": asked}
    )
    assert job.trainingType == repeated  # type: ignore[attr-defined]


@pytest.mark.parametrize("asked", [0, 2, True, "2", 1.5, [], {}])
def test_another_training_type_is_refused(client: OpenAI, training_file: str, asked: object) -> None:
    with pytest.raises(openai.BadRequestError, match=r"or 1 for globalStandard") as caught:
        client.fine_tuning.jobs.create(
            model="nano", training_file=training_file, extra_body={"trainingType": asked}
        )
    assert str(caught.value.param).startswith("trainingType")


def test_of_hyperparameters_in_two_places_those_of_the_method_win(client: OpenAI, training_file: str) -> None:
    job = client.fine_tuning.jobs.create(
        model="nano",
        training_file=training_file,
        hyperparameters={"n_epochs": 7, "batch_size": 4, "learning_rate_multiplier": 0.5},
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 2, "learning_rate_multiplier": "auto"}},
        },
    )
    chosen = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": -1}
    assert job.hyperparameters.to_dict() == chosen
    assert job.method is not None
    assert job.method.to_dict() == {"type": "supervised", "supervised": {"hyperparameters": chosen}}


def test_a_cancelled_job_says_so_in_its_log(client: OpenAI, training_file: str) -> None:
    job = client.fine_tuning.jobs.create(model="nano", training_file=training_file)
    client.fine_tuning.jobs.cancel(job.id)
    with pytest.raises(openai.BadRequestError, match="it has ended"):
        client.fine_tuning.jobs.cancel(job.id)
    assert [event.message for event in client.fine_tuning.jobs.list_events(job.id)] == [
        "Job cancelled.",
        "Job enqueued. Waiting for jobs ahead to complete.",
    ]
