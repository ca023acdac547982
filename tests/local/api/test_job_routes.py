"""What may be asked of jobs, models and checkpoints, and in which state; nobody trains here."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import openai
import pytest
from idle_service import KEY, client_of, idle_service
from openai import AzureOpenAI, OpenAI
from starlette.testclient import TestClient

from workbench.catalog.methods import METHODS
from workbench.local.emulation import Emulation
from workbench.local.store.store import Store

GRADER = {
    "type": "string_check",
    "name": "exact",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
}


@pytest.fixture
def http(home: Path) -> Iterator[TestClient]:
    with idle_service(home) as http:
        yield http


@pytest.fixture
def client(http: TestClient) -> OpenAI:
    return client_of(http)


@pytest.fixture
def store(http: TestClient) -> Store:
    return http.app.state.store


@pytest.fixture
def training_file(client: OpenAI) -> str:
    return client.files.create(file=("train.jsonl", b'{"messages": []}\n' * 10), purpose="fine-tune").id


def new_job(store: Store, model: str = "nano", status: str = "pending") -> str:
    job = store.jobs.add({"model": model, "training_file": "file-x", "hyperparameters": {}, "seed": 1})["id"]
    if status != "pending":
        store.jobs.update(job, status="running")
        store.jobs.update(job, status=status)
    return job


# Methods


def asked(training_file: str, kind: str, settings: dict[str, object]) -> dict[str, object]:
    return {
        "model": "nano",
        "training_file": training_file,
        "validation_file": training_file,
        "method": {"type": kind, kind: settings},
    }


def test_a_right_request_for_a_method_that_comes_later_is_refused_with_that_reason(
    http: TestClient, training_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = replace(METHODS["reinforcement"], not_local="local training by reinforcement comes later")
    monkeypatch.setitem(METHODS, "reinforcement", later)
    answer = http.post("/v1/fine_tuning/jobs", json=asked(training_file, "reinforcement", {"grader": GRADER}))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "method.type")
    assert error["message"] == (
        "The request is complete, but local training by reinforcement comes later; this service trains by "
        "supervised or dpo."
    )


def test_a_reinforcement_job_is_taken_with_all_its_settings(http: TestClient, training_file: str) -> None:
    chosen = {
        "compute_multiplier": 1.5, "reasoning_effort": "medium", "eval_interval": 5, "eval_samples": 10,
        "batch_size": 9,
    }  # fmt: skip
    settings = {"grader": GRADER, "response_format": {"type": "json_object"}, "hyperparameters": chosen}
    answer = http.post("/v1/fine_tuning/jobs", json=asked(training_file, "reinforcement", settings))
    job = answer.json()
    assert (answer.status_code, job["status"]) == (200, "validating_files")
    assert job["hyperparameters"] == {"n_epochs": "auto", "learning_rate_multiplier": "auto"} | chosen
    kept = job["method"]["reinforcement"]
    assert (kept["grader"], kept["response_format"]) == (GRADER, {"type": "json_object"})


def test_tools_in_training_and_judges_that_nobody_serves_are_refused(
    http: TestClient, training_file: str
) -> None:
    judge = {
        "type": "score_model",
        "name": "judge",
        "model": "gpt-4o",
        "input": [{"role": "user", "content": "{{sample.output_text}}"}],
    }
    for settings, status, param in (
        (
            {"grader": GRADER, "tools": [{"name": "search"}], "max_episode_steps": 3},
            400,
            "method.reinforcement.tools",
        ),
        ({"grader": judge}, 404, "method.reinforcement.grader.model"),
    ):
        answer = http.post("/v1/fine_tuning/jobs", json=asked(training_file, "reinforcement", settings))
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, {}),
        ({"hyperparameters": {"beta": "auto", "l2_multiplier": 0.1}}, {"beta": "auto", "l2_multiplier": 0.1}),
        ({"hyperparameters": {"chosen_likelihood": 0.5}}, {"chosen_likelihood": 0.5}),
    ],
)
def test_a_job_on_preference_pairs_is_taken_with_what_it_was_asked(
    http: TestClient, training_file: str, settings: dict[str, object], sent: dict[str, object]
) -> None:
    answer = http.post("/v1/fine_tuning/jobs", json=asked(training_file, "dpo", settings))
    job = answer.json()
    assert (answer.status_code, job["status"], job["method"]["type"]) == (200, "validating_files", "dpo")
    usual = dict.fromkeys(("n_epochs", "batch_size", "learning_rate_multiplier"), "auto")
    assert job["hyperparameters"] == usual | sent


@pytest.mark.parametrize(
    ("kind", "settings", "param", "finding"),
    [
        ("dpo", {"hyperparameters": {"beta": 0}}, "method.dpo.hyperparameters.beta", "greater than 0"),
        (
            "dpo",
            {"hyperparameters": {"beta": 3}},
            "method.dpo.hyperparameters.beta",
            "less than or equal to 2",
        ),
        (
            "dpo",
            {"hyperparameters": {"eval_samples": 1}},
            "method.dpo.hyperparameters.eval_samples",
            "Unknown",
        ),
        ("dpo", {"grader": GRADER}, "method.dpo.grader", "Unknown parameter"),
        ("reinforcement", {}, "method.reinforcement.grader", "Missing required parameter"),
        ("reinforcement", {"grader": {"type": "magic"}}, "method.reinforcement.grader", "magic"),
        (
            "reinforcement",
            {"grader": GRADER, "hyperparameters": {"compute_multiplier": 0.00001}},
            "method.reinforcement.hyperparameters.compute_multiplier",
            "greater than 0.00001",
        ),
        (
            "reinforcement",
            {"grader": GRADER, "hyperparameters": {"reasoning_effort": "huge"}},
            "method.reinforcement.hyperparameters.reasoning_effort",
            "'default', 'low', 'medium' or 'high'",
        ),
        (
            "reinforcement",
            {"grader": GRADER, "max_episode_steps": 0},
            "method.reinforcement.max_episode_steps",
            "1",
        ),
    ],
)
def test_its_mistakes_are_found_first(
    http: TestClient, training_file: str, kind: str, settings: dict[str, object], param: str, finding: str
) -> None:
    answer = http.post("/v1/fine_tuning/jobs", json=asked(training_file, kind, settings))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert finding in error["message"]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"validation_file": None}, "reinforcement needs a validation_file"),
        ({"method": {"type": "reinforcement"}}, "reinforcement needs a grader"),
        ({"method": {"type": "dpo", "supervised": {}}}, "type is dpo, but there are settings for supervised"),
        ({"integrations": [{"type": "wandb"}]}, "'integrations.0.wandb'"),
        ({"integrations": [{"type": "mlflow", "wandb": {"project": "p"}}]}, "should be 'wandb'"),
        (
            {"method": None, "integrations": [{"type": "wandb", "wandb": {"project": "p"}}]},
            "tells nobody about its jobs",
        ),
    ],
)
def test_a_request_whose_parts_do_not_fit_is_refused(
    http: TestClient, training_file: str, change: dict[str, object], finding: str
) -> None:
    request = asked(training_file, "reinforcement", {"grader": GRADER}) | change
    answer = http.post("/v1/fine_tuning/jobs", json=request)
    assert answer.status_code == 400
    assert finding in answer.json()["error"]["message"]


def test_no_integrations_are_no_integrations(client: OpenAI, training_file: str) -> None:
    job = client.fine_tuning.jobs.create(model="nano", training_file=training_file, integrations=[])
    assert job.status == "pending"


# Pause, resume, cancel, delete


def test_a_running_job_is_paused_and_resumed(client: OpenAI, store: Store) -> None:
    job = new_job(store, status="running")
    store.metrics.add(job, 1, {"train_loss": 1.0})
    assert client.fine_tuning.jobs.pause(job).status == "pausing"
    store.jobs.update(job, expect={"pausing"}, status="paused")
    assert client.fine_tuning.jobs.resume(job).status == "resuming"


def test_a_job_before_its_first_step_is_not_paused(client: OpenAI, store: Store) -> None:
    job = new_job(store, status="running")
    with pytest.raises(
        openai.BadRequestError, match="only a running job can, after its first step"
    ) as caught:
        client.fine_tuning.jobs.pause(job)
    assert caught.value.code == "unexpectedEntityState"
    assert client.fine_tuning.jobs.retrieve(job).status == "running"


@pytest.mark.parametrize("status", ["pending", "pausing", "paused", "resuming", "succeeded", "cancelled"])
def test_only_a_running_job_is_paused(client: OpenAI, store: Store, status: str) -> None:
    job = new_job(store, status=status)
    store.metrics.add(job, 1, {"train_loss": 1.0})
    with pytest.raises(openai.BadRequestError, match=f"cannot be paused; .*: {status}"):
        client.fine_tuning.jobs.pause(job)


@pytest.mark.parametrize("status", ["pending", "running", "pausing", "resuming", "failed"])
def test_only_a_paused_job_is_resumed(client: OpenAI, store: Store, status: str) -> None:
    with pytest.raises(openai.BadRequestError, match=f"cannot be resumed; only a paused job can: {status}"):
        client.fine_tuning.jobs.resume(new_job(store, status=status))


@pytest.mark.parametrize("status", ["pending", "running", "pausing", "paused", "resuming"])
def test_a_job_is_cancelled_from_every_state_before_its_end(
    client: OpenAI, store: Store, status: str
) -> None:
    assert client.fine_tuning.jobs.cancel(new_job(store, status=status)).status == "cancelled"


def test_the_dated_address_deletes_a_job_that_has_ended_and_keeps_its_model(
    http: TestClient, client: OpenAI, store: Store
) -> None:
    job = new_job(store, status="running")
    store.metrics.add(job, 1, {"train_loss": 1.0})
    store.checkpoints.add(job, 1, "nano.ft-1", {}, store.checkpoints.folder(job, 1))
    address = f"/openai/fine_tuning/jobs/{job}?api-version=2024-10-21"
    assert http.delete(address).json()["error"]["message"].endswith("cancel it first: running.")
    store.jobs.update(job, status="succeeded", fine_tuned_model="nano.ft-1")
    assert http.delete(address).status_code == 204
    assert http.delete(address).status_code == 404
    assert client.fine_tuning.jobs.list().data == []
    assert client.files.list().data == []
    assert client.models.retrieve("nano.ft-1").id == "nano.ft-1"


def test_the_newer_address_deletes_no_jobs(http: TestClient, store: Store) -> None:
    assert http.delete(f"/openai/v1/fine_tuning/jobs/{new_job(store)}").status_code == 405


def test_azures_own_client_pauses_by_the_dated_address(http: TestClient, store: Store) -> None:
    client = AzureOpenAI(
        azure_endpoint="http://testserver",
        api_key=KEY,
        api_version="2025-04-01-preview",
        http_client=http,
        max_retries=0,
    )
    job = new_job(store, status="running")
    store.metrics.add(job, 1, {"train_loss": 1.0})
    assert client.fine_tuning.jobs.pause(job).status == "pausing"


# The queue


def test_without_a_quota_the_queue_has_no_end(home: Path) -> None:
    with idle_service(home, Emulation(quota="off")) as http:
        client, store = client_of(http), http.app.state.store
        file = client.files.create(file=("train.jsonl", b"x"), purpose="fine-tune").id
        for _ in range(20):
            new_job(store)
        assert client.fine_tuning.jobs.create(model="nano", training_file=file).status == "pending"


def test_jobs_that_run_or_rest_take_no_place_in_the_queue(
    client: OpenAI, store: Store, training_file: str
) -> None:
    for status in ("running", "paused", "succeeded"):
        new_job(store, status=status)
    for _ in range(19):
        new_job(store)
    assert client.fine_tuning.jobs.create(model="nano", training_file=training_file).status == "pending"
    with pytest.raises(openai.RateLimitError, match="20 jobs are queued already"):
        client.fine_tuning.jobs.create(model="nano", training_file=training_file)


# Faults asked for


def test_a_job_for_which_no_quota_is_left_is_refused(client: OpenAI, training_file: str) -> None:
    with pytest.raises(openai.RateLimitError, match="No quota is left") as caught:
        client.fine_tuning.jobs.create(
            model="nano", training_file=training_file, extra_headers={"x-workbench-fault": "quota"}
        )
    assert caught.value.code == "quotaExceeded"


def test_a_job_remembers_what_its_safety_checks_are_to_find(
    client: OpenAI, store: Store, training_file: str
) -> None:
    job = client.fine_tuning.jobs.create(
        model="nano", training_file=training_file, extra_headers={"x-workbench-fault": "data-check=violence"}
    )
    assert store.safety.data_problem(job.id) == (
        "The provided training data failed RAI checks for harm types: [violence]. "
        "Please fix the data and try again."
    )
    assert store.safety.model_problem(job.id) is None


# Models


def tune(store: Store, name: str, status: str = "succeeded") -> str:
    job = new_job(store, status="running")
    folder = store.checkpoints.folder(job, 5)
    folder.mkdir(parents=True)
    store.checkpoints.add(job, 5, name, {"train_loss": 1.0}, folder)
    store.jobs.update(job, status=status)
    return job


def test_a_tuned_model_is_deleted_with_its_adapter(client: OpenAI, store: Store) -> None:
    job = tune(store, "nano.ft-1:ckpt-step-5")
    deleted = client.models.delete("NANO.ft-1:ckpt-step-5")
    assert (deleted.id, deleted.deleted, deleted.object) == ("nano.ft-1:ckpt-step-5", True, "model")
    assert not store.checkpoints.folder(job, 5).exists()
    assert client.fine_tuning.jobs.checkpoints.list(job).data == []
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.models.delete("nano.ft-1:ckpt-step-5")


def test_a_base_model_is_not_deleted(client: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError, match="nano is a base model"):
        client.models.delete("nano")


@pytest.mark.parametrize("status", ["pending", "running", "paused"])
def test_a_model_on_which_a_job_builds_is_not_deleted(client: OpenAI, store: Store, status: str) -> None:
    tune(store, "nano.ft-1")
    job = new_job(store, model="nano.ft-1", status=status)
    with pytest.raises(openai.ConflictError, match=f"job {job} is {status} and needs it") as caught:
        client.models.delete("nano.ft-1")
    assert caught.value.code == "conflict"
    client.fine_tuning.jobs.cancel(job)
    assert client.models.delete("nano.ft-1").deleted


def test_a_checkpoint_of_a_job_that_goes_on_is_not_deleted(client: OpenAI, store: Store) -> None:
    tune(store, "nano.ft-1:ckpt-step-5", status="paused")
    with pytest.raises(openai.ConflictError, match="is paused and needs it"):
        client.models.delete("nano.ft-1:ckpt-step-5")


# Checkpoints


COPY = {"destinationResourceId": "/subscriptions/1", "region": "swedencentral"}


@pytest.mark.parametrize(
    ("method", "checkpoint", "headers", "body", "status", "finding"),
    [
        ("POST", "nano.ft-1", {}, COPY, 400, "send the header aoai-copy-ft-checkpoints: preview"),
        (
            "POST",
            "ftchkpt-0",
            {"aoai-copy-ft-checkpoints": "preview"},
            COPY,
            404,
            "no checkpoint 'ftchkpt-0'",
        ),
        ("POST", "nano.ft-1", {"aoai-copy-ft-checkpoints": "preview"}, {}, 400, "'destinationResourceId'"),
        ("POST", "nano.ft-1", {"aoai-copy-ft-checkpoints": "preview"}, COPY, 501, "it copies nowhere"),
        ("GET", "nano.ft-1", {"aoai-copy-ft-checkpoints": "preview"}, None, 501, "it copies nowhere"),
    ],
)
def test_copying_a_checkpoint_is_checked_and_then_refused(
    http: TestClient,
    store: Store,
    method: str,
    checkpoint: str,
    headers: dict[str, str],
    body: object,
    status: int,
    finding: str,
) -> None:
    job = tune(store, "nano.ft-1")
    address = f"/openai/v1/fine_tuning/jobs/{job}/checkpoints/{checkpoint}/copy"
    answer = http.request(method, address, headers=headers, json=body)
    assert answer.status_code == status
    assert finding in answer.json()["error"]["message"]


def test_checkpoints_have_no_permissions_as_on_azure(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="permissions on checkpoints are OpenAI's own"):
        client.fine_tuning.checkpoints.permissions.list("nano.ft-1:ckpt-step-5")


# Long jobs


def test_a_page_far_down_a_long_log_costs_what_the_first_one_does(store: Store) -> None:
    job = new_job(store)
    with store.together():
        for step in range(1, 10_001):
            store.events.add(job, f"Step {step}: training loss=1.0", data={"step": step})
    after, costs = None, []
    for _ in range(500):
        begin = time.thread_time()
        page, more = store.events.page(job, after=after, limit=20)
        costs.append(time.thread_time() - begin)
        after = page[-1]["id"]
    assert (page[-1]["data"], more) == ({"step": 1}, True)
    assert sorted(costs[-50:])[25] < 2 * sorted(costs[:50])[25]


def test_the_size_of_a_growing_result_file_is_known_without_rendering_it(
    client: OpenAI, store: Store
) -> None:
    job = new_job(store, status="running")
    for step in range(1, 30):
        store.metrics.add(job, step, {"train_loss": 1 / step})
        store.metrics.add(job, step, {"train_loss": 5.0, "full_valid_loss": step / 3})
    (file,) = client.files.list().data
    assert file.bytes == len(client.files.content(file.id).content)
    stored = store._db.one("SELECT bytes FROM files WHERE job_id = ?", (job,))
    assert stored["bytes"] == file.bytes
