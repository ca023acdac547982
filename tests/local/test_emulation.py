"""Faults on purpose: only where asked for, and then as Azure's client would meet them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from echo_service import Watch, client_of, echo_service, say, tune
from idle_service import KEY
from openai import OpenAI
from starlette.testclient import TestClient

from workbench.errors import SetupError
from workbench.local.emulation import KNOWN, Clock, Emulation, read_faults
from workbench.local.store.store import Store

TUNED = "nano.ft-0123456789abcdef0123456789abcdef"
PATH = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/deployments/my-gql"
    "?api-version=2024-10-01"
)
WANTED = {
    "sku": {"name": "GlobalStandard", "capacity": 2},
    "properties": {"model": {"format": "OpenAI", "name": TUNED, "version": "1"}},
}


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def http(home: Path, watch: Watch) -> Iterator[TestClient]:
    tune(home, TUNED)
    with echo_service(home, watch) as http:
        yield http


def faulty(http: TestClient, fault: str, **options: object) -> OpenAI:
    return client_of(http, default_headers={"x-workbench-fault": fault}, **options)


def emulating(*faults: str) -> Emulation:
    return Emulation(faults=read_faults(faults))


def start_job(client: OpenAI) -> str:
    file = client.files.create(file=("train.jsonl", b'{"messages": []}\n' * 10), purpose="fine-tune")
    return client.fine_tuning.jobs.create(model="nano", training_file=file.id).id


# Words


def test_faults_are_read_with_their_values() -> None:
    assert dict(read_faults(["slow=2.5", "quota", " rate-limit = once "])) == {
        "slow": "2.5",
        "quota": "",
        "rate-limit": "once",
    }


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("fire", "There is no fault 'fire'; there are data-check, model-check, quota"),
        ("slow=soon", "slow takes no value 'soon', such as slow=5"),
        ("rate-limit=0", "such as rate-limit=2"),
        ("quota=3", "write quota alone"),
        ("slow=", "takes no value ''"),
    ],
)
def test_a_fault_that_there_is_not_is_told(text: str, finding: str) -> None:
    with pytest.raises(SetupError, match=finding):
        read_faults([text])


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_a_clock_runs_forward(factor: float) -> None:
    with pytest.raises(SetupError, match="more than 0"):
        Clock(factor)


def test_every_fault_is_in_the_help_of_the_command_line() -> None:
    command = [sys.executable, "-m", "workbench.local", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name, known in KNOWN.items():
        assert f"  {name}" in said
        assert known.meaning in said


@pytest.mark.parametrize("words", [["--fault", "fire"], ["--clock", "0"], ["--quota", "most"]])
def test_a_word_that_means_nothing_ends_the_command(home: Path, words: list[str]) -> None:
    command = [sys.executable, "-m", "workbench.local", "--home", str(home), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


# At the door


def test_without_a_word_nothing_fails(http: TestClient, watch: Watch) -> None:
    for _ in range(3):
        assert say(client_of(http), "nano") == "hello"
    assert watch.paused == []


def test_an_unknown_fault_in_a_header_is_refused(http: TestClient) -> None:
    with pytest.raises(openai.BadRequestError, match="There is no fault 'fire'"):
        say(faulty(http, "fire"), "nano")


def test_too_many_requests_say_when_to_come_back(http: TestClient) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        say(faulty(http, "rate-limit=1"), "nano")
    assert caught.value.code == "tooManyRequests"
    assert caught.value.response.headers["retry-after"] == "1"
    assert "x-should-retry" not in caught.value.response.headers


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("rate-limit", [429, 200, 429, 200]),
        ("rate-limit=3", [429, 200, 200, 429]),
        ("rate-limit=once", [429, 200, 200, 200]),
        ("server-error", [500, 200, 500, 200]),
    ],
)
def test_faults_come_in_turn(http: TestClient, fault: str, statuses: list[int]) -> None:
    found = [
        http.get("/openai/v1/models", headers={"x-workbench-fault": fault}).status_code for _ in statuses
    ]
    assert found == statuses


def test_the_client_repeats_what_failed_once_when_it_is_told_to(http: TestClient) -> None:
    slept: list[float] = []

    class Patient(OpenAI):
        def _sleep_for_retry(self, *, response: httpx2.Response | None, **more: Any) -> None:
            assert response is not None
            slept.append(float(response.headers["retry-after"]))

    client = Patient(
        base_url="http://testserver/v1/",
        api_key=KEY,
        http_client=http,
        max_retries=1,
        default_headers={"x-workbench-fault": "rate-limit=once"},
    )
    assert say(client, "nano") == "hello"
    assert slept == [1]


def test_an_answer_can_be_slow(http: TestClient, watch: Watch) -> None:
    assert say(faulty(http, "slow=3"), "nano") == "hello"
    assert watch.paused == [3]


def test_a_slow_answer_is_as_slow_as_the_clock_is_fast(home: Path, watch: Watch) -> None:
    with echo_service(home, watch, factor=60) as http:
        say(faulty(http, "slow=3"), "nano")
    assert watch.paused == [0.05]


def test_a_whole_service_can_be_faulty_and_still_be_found(home: Path, watch: Watch) -> None:
    with echo_service(home, watch, emulating("server-error=1", "slow=3")) as http:
        with pytest.raises(openai.InternalServerError):
            say(client_of(http), "nano")
        assert http.get("/health").status_code == 200
    assert watch.paused == [3]


def test_faults_open_no_door(http: TestClient) -> None:
    answer = http.get("/openai/v1/models", headers={"api-key": "wrong", "x-workbench-fault": "rate-limit"})
    assert answer.status_code == 401


# Quota and safety


def test_without_quota_no_job_is_taken_on(http: TestClient) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        start_job(faulty(http, "quota"))
    assert caught.value.code == "quotaExceeded"


def test_without_quota_nothing_is_deployed(http: TestClient) -> None:
    answer = http.put(PATH, json=WANTED, headers={"x-workbench-fault": "quota"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "InsufficientQuota")
    assert answer.json()["error"]["message"] == (
        "This operation require 2 new capacity in quota Tokens Per Minute (thousands) - GlobalStandard - "
        f"{TUNED}, which is bigger than the current available capacity 0."
    )
    assert http.put(PATH, json=WANTED).status_code == 201


def test_a_model_that_fails_its_check_cannot_be_deployed(http: TestClient) -> None:
    answer = http.put(PATH, json=WANTED, headers={"x-workbench-fault": "model-check=Violence"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        "This model is unable to be deployed. Model evaluation identified that this fine tuned model scores "
        "above acceptable thresholds for [Violence]. "
        "Please review your training data set and resubmit the job."
    )


def test_the_model_of_a_job_that_was_to_fail_cannot_be_deployed_later(home: Path, watch: Watch) -> None:
    job = tune(home, TUNED)
    store = Store(home)
    store.safety.expect(job, data=(), model=("Violence", "Self Harm"))
    store.close()
    with echo_service(home, watch) as http:
        answer = http.put(PATH, json=WANTED)
        assert "[Violence, Self Harm]" in answer.json()["error"]["message"]
        assert say(client_of(http), TUNED) == "hello"  # the model exists


def test_a_job_remembers_what_its_data_check_is_to_find(http: TestClient, home: Path) -> None:
    innocent = start_job(client_of(http))
    guilty = start_job(faulty(http, "data-check=violence+self_harm"))
    store = Store(home)
    assert store.safety.data_problem(innocent) is None
    assert store.safety.data_problem(guilty) == (
        "The provided training data failed RAI checks for harm types: [violence, self_harm]. "
        "Please fix the data and try again."
    )
    assert store.safety.model_problem(guilty) is None
    store.close()


# Deployments


def test_a_deployment_that_succeeded_may_not_be_ready(http: TestClient, watch: Watch) -> None:
    http.put(PATH, json=WANTED)
    watch.now += 5
    assert http.get(PATH).json()["properties"]["provisioningState"] == "Succeeded"
    client = faulty(http, "not-ready=30")
    with pytest.raises(openai.APIStatusError) as caught:
        say(client, "my-gql")
    assert caught.value.code == "DeploymentNotReady"
    watch.now += 30
    assert say(client, "my-gql") == "hello"


def test_a_deployment_can_be_held_to_its_capacity(home: Path, watch: Watch) -> None:
    tune(home, TUNED)
    with echo_service(home, watch, emulating("capacity")) as http:
        http.put(PATH, json=WANTED)
        watch.now += 5
        client = client_of(http)
        assert [say(client, "my-gql") for _ in range(2)] == ["hello", "hello"]
        watch.now += 20
        with pytest.raises(openai.RateLimitError, match="capacity of 2") as caught:
            say(client, "my-gql")
        assert caught.value.response.headers["retry-after"] == "41"
        watch.now += 41
        assert say(client, "my-gql") == "hello"
