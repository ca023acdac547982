"""Every address family, with every class of the official client, sync and async, and either header."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx2
import openai
import pytest
from echo_service import ROOT, Watch, client_of, echo_service, say
from idle_service import KEY
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI
from starlette.testclient import TestClient

V1 = ["/openai/v1/", "/v1/", "/api/projects/my-project/openai/v1/"]
AZURE = {"azure_endpoint": ROOT, "api_key": KEY, "max_retries": 0}
DATES = ["2024-10-21", "2025-04-01-preview", "v1", "preview"]
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def http(home: Path) -> Iterator[TestClient]:
    with echo_service(home, Watch()) as http:
        http.headers.pop("api-key")
        yield http


def use(client: openai.OpenAI) -> list[object]:
    """One call of each kind that a notebook makes."""
    file = client.files.create(file=("train.jsonl", b'{"messages": []}\n' * 10), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="nano", training_file=file.id)
    client.fine_tuning.jobs.cancel(job.id)
    return [
        client.models.retrieve("nano").id,
        client.files.content(file.id).content[:11],
        client.fine_tuning.jobs.list_events(job.id).data[-1].message,
        client.fine_tuning.jobs.retrieve(job.id).status,
        say(client, "nano"),
    ]


async def use_async(client: openai.AsyncOpenAI) -> list[object]:
    """The same, awaited."""
    file = await client.files.create(file=("train.jsonl", b'{"messages": []}\n' * 10), purpose="fine-tune")
    job = await client.fine_tuning.jobs.create(model="nano", training_file=file.id)
    await client.fine_tuning.jobs.cancel(job.id)
    content = await client.files.content(file.id)
    events = await client.fine_tuning.jobs.list_events(job.id)
    answer = await client.chat.completions.create(model="nano", messages=HELLO)
    return [
        (await client.models.retrieve("nano")).id,
        content.content[:11],
        events.data[-1].message,
        (await client.fine_tuning.jobs.retrieve(job.id)).status,
        answer.choices[0].message.content,
    ]


USED = ["nano", b'{"messages"', "Job enqueued. Waiting for jobs ahead to complete.", "cancelled", "hello"]


@pytest.mark.parametrize("path", V1)
def test_the_v1_addresses_answer_the_client(http: TestClient, path: str) -> None:
    assert use(client_of(http, path)) == USED


@pytest.mark.parametrize("path", V1)
@pytest.mark.parametrize("version", ["v1", "preview"])
def test_the_v1_addresses_take_a_version_all_the_same(http: TestClient, path: str, version: str) -> None:
    client = client_of(http, path, default_query={"api-version": version})
    assert say(client, "nano") == "hello"


@pytest.mark.parametrize("date", DATES)
def test_the_dated_address_answers_azures_client(http: TestClient, date: str) -> None:
    assert use(AzureOpenAI(**AZURE, api_version=date, http_client=http)) == USED


def test_the_dated_address_answers_for_the_deployment_that_a_client_is_bound_to(http: TestClient) -> None:
    client = AzureOpenAI(**AZURE, azure_deployment="nano", api_version="2024-10-21", http_client=http)
    assert say(client, "whatever") == "hello"


def test_azures_client_may_bring_a_token_instead_of_a_key(http: TestClient) -> None:
    client = AzureOpenAI(
        azure_endpoint=ROOT,
        azure_ad_token_provider=lambda: KEY,
        api_version="2024-10-21",
        http_client=http,
        max_retries=0,
    )
    assert say(client, "nano") == "hello"


def asynchronous(http: TestClient) -> httpx2.AsyncClient:
    """The same app for a client that awaits."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=http.app), base_url=ROOT)


@pytest.mark.parametrize("path", V1)
def test_the_v1_addresses_answer_the_asynchronous_client(http: TestClient, path: str) -> None:
    async def used() -> list[object]:
        async with asynchronous(http) as transport:
            client = AsyncOpenAI(base_url=f"{ROOT}{path}", api_key=KEY, http_client=transport, max_retries=0)
            return await use_async(client)

    assert anyio.run(used) == USED


@pytest.mark.parametrize("date", DATES)
def test_the_dated_address_answers_azures_asynchronous_client(http: TestClient, date: str) -> None:
    async def used() -> list[object]:
        async with asynchronous(http) as transport:
            return await use_async(AsyncAzureOpenAI(**AZURE, api_version=date, http_client=transport))

    assert anyio.run(used) == USED


@pytest.mark.parametrize("path", [*V1, "/openai/"])
@pytest.mark.parametrize("headers", [{"api-key": KEY}, {"Authorization": f"Bearer {KEY}"}])
def test_either_header_opens_every_address(http: TestClient, path: str, headers: dict[str, str]) -> None:
    for rest in ("models", "files", "fine_tuning/jobs", "chat/completions"):
        answer = http.get(f"{path}{rest}?api-version=2024-10-21", headers=headers)
        assert (answer.status_code, answer.json()["object"]) == (200, "list")


@pytest.mark.parametrize(
    "headers", [{}, {"api-key": "wrong"}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}]
)
@pytest.mark.parametrize(
    "path",
    [
        *(f"{path}models" for path in V1),
        "/openai/models?api-version=2024-10-21",
        "/openai/deployments/nano/chat/completions?api-version=2024-10-21",
        "/subscriptions/s/providers/Microsoft.CognitiveServices/accounts?api-version=2024-10-01",
        "/nowhere",
    ],
)
def test_no_address_opens_without_the_key(http: TestClient, path: str, headers: dict[str, str]) -> None:
    answer = http.get(path, headers=headers)
    code = "invalid_api_key" if path.startswith("/v1/") else "unauthorized"
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)


def test_a_version_is_not_part_of_a_v1_address(http: TestClient) -> None:
    client = AzureOpenAI(
        base_url=f"{ROOT}/openai/v1/", api_key=KEY, api_version="v1", http_client=http, max_retries=0
    )
    assert [model.id for model in client.models.list()] == ["SmolLM2-135M-Instruct", "nano"]
