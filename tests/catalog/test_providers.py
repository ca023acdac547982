"""Which provider a client talks to: told by ``connect``, carried by every copy, never guessed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from echo_service import Watch, echo_service
from idle_service import KEY
from job_specs import spec, start
from openai import AzureOpenAI, OpenAI
from starlette.testclient import TestClient

from workbench.catalog.providers import PROVIDERS, Provider, provider_of
from workbench.connect import connect
from workbench.connection_check import self_test
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import SetupError
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.evaluation import cost_per_request
from workbench.evaluation.graders.ready_made import grader
from workbench.project import open_project
from workbench.training.follow import choices
from workbench.training.preflight import launch, preflight
from workbench.training.runs import runs

RESOURCE = "https://my-resource.openai.azure.com"
GATEWAY = "https://models.example.com"


@pytest.fixture(autouse=True)
def keys(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORKBENCH_LOCAL_KEY", "AZURE_OPENAI_API_KEY", "OPENAI_API_KEY", "ACME_API_KEY"):
        monkeypatch.setenv(name, KEY)


@pytest.fixture
def service(home: Path) -> Iterator[TestClient]:
    """The local service, to be reached by whatever name."""
    with echo_service(home / "service", Watch()) as http:
        yield http


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Provider:
    """A provider that nobody knew before: one row in the table."""
    row = Provider(
        "acme", hosts=("api.acme.example",), base_model="nano", key_setting="ACME_API_KEY",
        address="https://api.acme.example/v1/",
    )  # fmt: skip
    monkeypatch.setitem(PROVIDERS, "acme", row)
    return row


def dataset(name: str, size: int = 60) -> Dataset:
    rows = (
        ({"role": "user", "content": f"{name} {n}"}, {"role": "assistant", "content": f"{name} {n}"})
        for n in range(size)
    )
    return Dataset(name, tuple(Example(row, f"{name}.csv:{n}") for n, row in enumerate(rows, 2)))


# What the client carries


@pytest.mark.parametrize("name", ["azure", "openai", "local"])
def test_every_copy_of_a_client_knows_its_provider(name):
    client = connect(name, endpoint=GATEWAY)
    copies = (
        client,
        client.with_options(max_retries=0),
        client.copy(timeout=1).with_options(api_key="other"),
    )
    assert [provider_of(each).name for each in copies] == [name] * 3
    assert (copies[2].api_key, copies[2].timeout, type(copies[2])) == ("other", 1, OpenAI)


def test_a_client_of_the_dated_api_knows_its_provider_too():
    client = connect("azure", endpoint=GATEWAY, api_version="2024-10-21").with_options(timeout=1)
    assert (type(client), provider_of(client).name) == (AzureOpenAI, "azure")


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("http://127.0.0.1:8123/openai/v1/", "local"),
        ("http://localhost:8123/v1/", "local"),
        ("http://[::1]:8123/v1/", "local"),
        ("https://r.openai.azure.com/openai/", "azure"),
        ("https://r.services.ai.azure.com/api/projects/p/openai/v1/", "azure"),
        ("https://r.cognitiveservices.azure.com/openai/v1/", "azure"),
        ("https://api.openai.com/v1/", "openai"),
        ("https://eu.api.openai.com/v1/", "openai"),
    ],
)
def test_a_client_made_by_hand_is_known_at_a_providers_own_host(base_url, name):
    assert provider_of(OpenAI(base_url=base_url, api_key="x")) is PROVIDERS[name]


@pytest.mark.parametrize("host", ["evil-openai.azure.com.example.org", "openai.azure.com.x", "x"])
def test_a_client_made_by_hand_for_another_host_is_told_once(host):
    by_hand = OpenAI(base_url=f"https://{host}/v1/", api_key="x", default_headers={"team": "a"})
    with pytest.raises(SetupError) as caught:
        provider_of(by_hand)
    assert str(caught.value) == (
        f"Which provider answers at {host} cannot be seen from its address; tell the client once: "
        "connect('local', 'azure' or 'openai', client=client)."
    )
    assert connect("azure", client=by_hand) is by_hand
    assert provider_of(by_hand.with_options(timeout=3)).name == "azure"
    assert connect("openai", client=by_hand) is by_hand  # told anew
    assert provider_of(by_hand).name == "openai"


# Gateways and custom domains


@pytest.mark.parametrize(
    ("endpoint", "base_url"),
    [
        (GATEWAY, f"{GATEWAY}/openai/v1/"),
        ("models.example.com", f"{GATEWAY}/openai/v1/"),
        (f"{GATEWAY}/team-a/", f"{GATEWAY}/team-a/openai/v1/"),
        (f"{GATEWAY}/team-a/openai", f"{GATEWAY}/team-a/openai/v1/"),
        (f"{GATEWAY}/team-a/openai/v1", f"{GATEWAY}/team-a/openai/v1/"),
        (f"{GATEWAY}/openai-models/v1/", f"{GATEWAY}/openai-models/v1/"),
        (f"{GATEWAY}/a/api/projects/p", f"{GATEWAY}/a/api/projects/p/openai/v1/"),
        ("http://gateway:8080", "http://gateway:8080/openai/v1/"),
    ],
)
def test_azure_is_reached_through_a_gateway(endpoint, base_url):
    assert str(connect("azure", endpoint=endpoint).base_url) == base_url


def test_the_dated_api_is_reached_through_a_gateway():
    client = connect("azure", endpoint=f"{GATEWAY}/team-a/openai/v1", api_version="2024-10-21")
    assert str(client.base_url) == f"{GATEWAY}/team-a/openai/"


def test_a_resources_name_alone_is_no_address():
    with pytest.raises(SetupError, match="'my-resource' is no Azure resource's address"):
        connect("azure", endpoint="my-resource")


def test_a_job_is_started_and_found_through_a_gateway(service):
    client = connect("azure", endpoint="http://gateway.example.com:8080").with_options(http_client=service)
    assert self_test(client).facts["provider"] == "azure"
    plan = preflight(client, spec(dataset("dogs"), model="nano"))
    assert (plan.host, plan.body["trainingType"]) == ("gateway.example.com:8080", "globalStandard")
    job = start(client, dataset("dogs"), model="nano", project=open_project("p"))
    assert start(client, dataset("dogs"), model="nano").id == job.id
    assert open_project("p").latest("job").facts["provider"] == "azure"


def test_the_local_service_may_have_any_name(service):
    client = connect("local", endpoint="http://big-machine.example.com:81").with_options(http_client=service)
    assert self_test(client).sentence.startswith("Connected to local at big-machine.example.com:81: ")
    plan = preflight(client, spec(dataset("dogs"), model="nano"), cost_cap=0)
    assert (plan.ok, plan.cost.likely, "trainingType" in plan.body) == (True, 0, False)


# One more provider


def test_a_new_provider_is_one_row_in_the_table(acme, service, monkeypatch):
    assert str(connect("acme").base_url) == "https://api.acme.example/v1/"
    assert provider_of(OpenAI(base_url=acme.address, api_key="by hand")) is acme
    client = connect("acme").with_options(http_client=service)
    assert self_test(client).sentence.startswith("Connected to acme at api.acme.example: ")

    project, dogs = open_project("p"), dataset("dogs")
    plan = preflight(client, spec(dogs, model="nano"), project=project)
    assert (plan.ok, "trainingType" in plan.body) == (True, False)
    assert "cost: not known" in repr(plan)
    assert [finding.rule for finding in plan.findings] == ["retired", "few"]  # nobody knows its models' dates
    capped = preflight(client, spec(dogs, model="nano"), cost_cap=5)
    assert [error.rule for error in capped.errors] == ["cost_cap"]

    job = launch(client, plan, project=project)
    assert project.latest("job").facts["provider"] == "acme"
    assert launch(client, plan, project=project).id == job.id
    assert [run.status for run in runs(project, client).runs] == ["queued"]
    assert [choice.possible for choice in choices(client, job).all] == [False, False, True]

    evaluation = evaluate(client, "nano", dataset("cats", 4), grader("exact"))
    assert (evaluation.score, cost_per_request(evaluation, "acme")) == (1.0, None)

    monkeypatch.setenv("ACME_API_KEY", "")
    with pytest.raises(SetupError, match=r"Set ACME_API_KEY in \.env"):
        connect("acme")
