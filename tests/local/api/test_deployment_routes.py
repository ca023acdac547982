"""Deployments, made by Azure's own management client and called by OpenAI's."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
from azure.mgmt.cognitiveservices.models import (
    Deployment,
    DeploymentModel,
    DeploymentProperties,
    PatchResourceTagsAndSku,
    Sku,
)
from control_plane import management
from echo_service import ROOT, Watch, client_of, echo_service, say, tune
from idle_service import KEY
from starlette.testclient import TestClient

from workbench.local.emulation import Emulation

TUNED = "nano.ft-0123456789abcdef0123456789abcdef"
PLACE = {"resource_group_name": "my-group", "account_name": "my-account"}
PATH = (
    "/subscriptions/my-subscription/resourceGroups/my-group/providers/Microsoft.CognitiveServices"
    "/accounts/my-account/deployments"
)
DAY = 86_400


def wanted(
    model: str = TUNED, sku: str = "GlobalStandard", capacity: int = 50, **of_model: str
) -> Deployment:
    found = DeploymentModel(**{"format": "OpenAI", "name": model, "version": "1"} | of_model)
    return Deployment(sku=Sku(name=sku, capacity=capacity), properties=DeploymentProperties(model=found))


def deploy(
    azure: CognitiveServicesManagementClient, name: str, deployment: Deployment | None = None
) -> Deployment:
    poller = azure.deployments.begin_create_or_update(
        **PLACE, deployment_name=name, deployment=deployment or wanted()
    )
    made: Deployment = poller.result()
    return made


def begin(azure: CognitiveServicesManagementClient, name: str) -> None:
    azure.deployments.begin_create_or_update(
        **PLACE, deployment_name=name, deployment=wanted(), polling=False
    )


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def http(home: Path, watch: Watch) -> Iterator[TestClient]:
    tune(home, TUNED)
    with echo_service(home, watch) as http:
        yield http


@pytest.fixture
def azure(http: TestClient, watch: Watch) -> CognitiveServicesManagementClient:
    return management(http, watch)


# Created, shown, changed, deleted


def test_a_deployment_is_creating_and_then_succeeded(
    azure: CognitiveServicesManagementClient, watch: Watch
) -> None:
    begin(azure, "my-gql")
    states = []
    for _ in range(2):
        states.append(azure.deployments.get(**PLACE, deployment_name="my-gql").properties.provisioning_state)
        watch.now += 5
    assert states == ["Creating", "Succeeded"]


def test_azures_poller_ends_with_the_deployment(azure: CognitiveServicesManagementClient) -> None:
    poller = azure.deployments.begin_create_or_update(**PLACE, deployment_name="my-gql", deployment=wanted())
    assert (poller.result().name, poller.status()) == ("my-gql", "Succeeded")


def test_azures_client_waits_as_long_as_it_is_told(azure: CognitiveServicesManagementClient) -> None:
    deploy(azure, "my-gql")
    assert azure._client._pipeline._transport.slept == [5]


def test_a_faster_clock_creates_faster(home: Path, watch: Watch) -> None:
    tune(home, TUNED)
    with echo_service(home, watch, factor=10) as http:
        azure = management(http, watch)
        begin(azure, "my-gql")
        watch.now += 0.5  # a tenth of the five seconds
        found = azure.deployments.get(**PLACE, deployment_name="my-gql")
        assert found.properties.provisioning_state == "Succeeded"


def test_a_deployment_has_azures_shape(http: TestClient, azure: CognitiveServicesManagementClient) -> None:
    deploy(azure, "my-gql")
    shown = http.get(f"{PATH}/my-gql?api-version=2024-10-01").json()
    assert len(shown.pop("etag")) == 34
    assert shown == {
        "id": f"{PATH}/my-gql",
        "name": "my-gql",
        "type": "Microsoft.CognitiveServices/accounts/deployments",
        "sku": {"name": "GlobalStandard", "capacity": 50},
        "tags": {},
        "systemData": {"createdAt": "2027-01-15T08:00:00Z", "lastModifiedAt": "2027-01-15T08:00:00Z"},
        "properties": {
            "model": {"format": "OpenAI", "name": TUNED, "version": "1"},
            "provisioningState": "Succeeded",
            "capabilities": {"chatCompletion": "true"},
            "rateLimits": [
                {"key": "request", "renewalPeriod": 60, "count": 50},
                {"key": "token", "renewalPeriod": 60, "count": 50_000},
            ],
        },
    }


def test_deployments_are_listed_and_survive_a_restart(home: Path, watch: Watch) -> None:
    tune(home, TUNED)
    with echo_service(home, watch) as http:
        for name in ("first", "second"):
            deploy(management(http, watch), name)
    with echo_service(home, watch) as http:
        assert [one.name for one in management(http, watch).deployments.list(**PLACE)] == ["first", "second"]


def test_the_size_of_a_deployment_can_be_changed(azure: CognitiveServicesManagementClient) -> None:
    first = deploy(azure, "my-gql").etag
    change = PatchResourceTagsAndSku(sku=Sku(name="GlobalStandard", capacity=100), tags={"for": "evals"})
    changed = azure.deployments.begin_update(**PLACE, deployment_name="my-gql", deployment=change).result()
    assert (changed.sku.capacity, changed.tags) == (100, {"for": "evals"})
    assert changed.etag != first
    assert deploy(azure, "my-gql", wanted(capacity=20)).sku.capacity == 20


def test_a_deleted_deployment_is_gone_and_its_model_is_not(
    http: TestClient, azure: CognitiveServicesManagementClient
) -> None:
    deploy(azure, "my-gql")
    azure.deployments.begin_delete(**PLACE, deployment_name="my-gql").result()
    with pytest.raises(ResourceNotFoundError, match="deployments/my-gql' under resource group 'my-group'"):
        azure.deployments.get(**PLACE, deployment_name="my-gql")
    assert http.delete(f"{PATH}/my-gql?api-version=2024-10-01").status_code == 204
    assert say(client_of(http), TUNED) == "hello"


def test_a_deployed_model_cannot_be_deleted(
    http: TestClient, azure: CognitiveServicesManagementClient
) -> None:
    deploy(azure, "my-gql")
    with pytest.raises(openai.ConflictError, match="deployed as my-gql"):
        client_of(http).models.delete(TUNED)


def test_the_service_is_an_account_with_models(azure: CognitiveServicesManagementClient) -> None:
    assert [account.name for account in azure.accounts.list()] == ["workbench"]
    account = azure.accounts.get(**PLACE)
    assert (account.name, account.properties.endpoint) == ("my-account", f"{ROOT}/")
    names = [found.model.name for found in azure.models.list("swedencentral")]
    assert names == ["SmolLM2-135M-Instruct", "nano", TUNED]


# What a tool asks before it deploys

LOCAL = {"location": "swedencentral"}
NANO = {"model_format": "OpenAI", "model_name": "nano", "model_version": "1"}


def test_both_keys_of_the_account_are_the_services(azure: CognitiveServicesManagementClient) -> None:
    keys = azure.accounts.list_keys(**PLACE)
    assert (keys.key1, keys.key2) == (KEY, KEY)
    with pytest.raises(ResourceExistsError, match="set when it is started"):
        azure.accounts.regenerate_key(**PLACE, key_name="Key1")


def test_models_are_listed_with_the_kinds_and_sizes_that_they_can_have(
    azure: CognitiveServicesManagementClient,
) -> None:
    of_account = {model.name: model for model in azure.accounts.list_models(**PLACE)}
    of_place = {found.model.name: found.model for found in azure.models.list("swedencentral")}
    assert of_account.keys() == of_place.keys() == {"SmolLM2-135M-Instruct", "nano", TUNED}
    skus = {sku.name: sku for sku in of_account[TUNED].skus}
    assert [*skus] == [
        "Standard",
        "GlobalStandard",
        "DataZoneStandard",
        "DeveloperTier",
        "ProvisionedManaged",
    ]
    assert skus["GlobalStandard"].usage_name == "OpenAI.GlobalStandard.nano-finetune"
    size = skus["GlobalStandard"].capacity
    assert (size.minimum, size.maximum, size.step) == (1, 1_000_000, 1)
    assert "DeveloperTier" not in [sku.name for sku in of_account["nano"].skus]


def test_the_quota_of_a_place_counts_what_is_deployed(azure: CognitiveServicesManagementClient) -> None:
    deploy(azure, "one", wanted(capacity=50))
    deploy(azure, "two", wanted(capacity=20))
    used = {usage.name.value: usage for usage in azure.usages.list(**LOCAL)}
    assert used["OpenAI.GlobalStandard.nano-finetune"].current_value == 70
    assert used["OpenAI.GlobalStandard.nano-finetune"].limit == 1_000_000
    assert used["OpenAI.GlobalStandard.nano"].current_value == 0


def test_an_account_counts_its_deployments_against_azures_limits(home: Path, watch: Watch) -> None:
    tune(home, TUNED)
    with echo_service(home, watch, Emulation(quota="azure")) as http:
        azure = management(http, watch)
        deploy(azure, "tuned")
        deploy(azure, "base", wanted("nano"))
        found = azure.accounts.list_usages(**PLACE).value
        assert [(usage.name.value, usage.current_value, usage.limit) for usage in found] == [
            ("Deployments", 2, 32),
            ("FineTunedDeployments", 1, 10),
        ]


def test_the_kinds_of_accounts_and_of_a_deployment_are_listed(
    azure: CognitiveServicesManagementClient,
) -> None:
    assert [one.sku.name for one in azure.accounts.list_skus(**PLACE).value] == ["S0"]
    assert [(one.kind, one.name) for one in azure.resource_skus.list()] == [("AIServices", "S0")]
    deploy(azure, "base", wanted("nano"))
    found = [*azure.deployments.list_skus(**PLACE, deployment_name="base")]
    assert [one.sku.name for one in found] == [
        "Standard", "GlobalStandard", "DataZoneStandard", "ProvisionedManaged",
    ]  # fmt: skip
    assert found[0].capacity.maximum == 1_000_000
    with pytest.raises(ResourceNotFoundError, match="deployments/none' under resource group 'my-group'"):
        [*azure.deployments.list_skus(**PLACE, deployment_name="none")]


def test_the_capacity_for_a_model_is_listed_by_kind(azure: CognitiveServicesManagementClient) -> None:
    here = [*azure.location_based_model_capacities.list(**LOCAL, **NANO)]
    everywhere = [*azure.model_capacities.list(**NANO)]
    for found in (here, everywhere):
        assert {one.properties.sku_name: one.properties.available_capacity for one in found} == dict.fromkeys(
            ["Standard", "GlobalStandard", "DataZoneStandard", "ProvisionedManaged"], 1_000_000
        )
    assert [*azure.model_capacities.list(**NANO | {"model_name": "gpt-none"})] == []


# Refused


@pytest.mark.parametrize(
    ("name", "deployment", "code", "finding"),
    [
        ("my_gql", wanted(), "invalidPayload", "1 to 64 letters, digits and hyphens"),
        ("x" * 65, wanted(), "invalidPayload", "1 to 64 letters"),
        ("a", wanted(sku="S0"), "InvalidResourceProperties", "The deployment sku name 'S0' is invalid"),
        ("a", wanted(capacity=0), "invalidPayload", "sku.capacity"),
        (
            "a",
            wanted("gpt-none"),
            "DeploymentModelNotSupported",
            "The model 'Format: OpenAI, Name: gpt-none, Version: 1, Source: ' of account deployment is not",
        ),
        ("a", wanted(format="Meta"), "DeploymentModelNotSupported", "Its format is OpenAI"),
        ("a", wanted(version="2"), "DeploymentModelNotSupported", "version of a tuned model is 1"),
        ("a", wanted("nano", sku="DeveloperTier"), "InvalidResourceProperties", "It is for tuned models"),
    ],
)
def test_what_cannot_be_deployed_is_refused_in_azures_words(
    azure: CognitiveServicesManagementClient, name: str, deployment: Deployment, code: str, finding: str
) -> None:
    with pytest.raises(HttpResponseError) as caught:
        deploy(azure, name, deployment)
    assert (caught.value.status_code, caught.value.error.code) == (400, code)
    assert finding in caught.value.message
    assert list(azure.deployments.list(**PLACE)) == []


def test_skus_and_formats_are_read_in_any_case(azure: CognitiveServicesManagementClient) -> None:
    made = deploy(azure, "my-gql", wanted(sku="developertier", format="openai"))
    assert made.sku.name == "DeveloperTier"


def test_a_name_that_is_taken_by_another_model_is_a_conflict(
    azure: CognitiveServicesManagementClient,
) -> None:
    deploy(azure, "my-gql")
    with pytest.raises(ResourceExistsError, match="delete it first"):
        deploy(azure, "MY-GQL", wanted("nano"))


def test_nothing_is_changed_while_it_is_being_created(azure: CognitiveServicesManagementClient) -> None:
    begin(azure, "my-gql")
    with pytest.raises(ResourceExistsError, match="still being created"):
        azure.deployments.begin_delete(**PLACE, deployment_name="my-gql")


def test_azures_quota_allows_ten_deployments_of_tuned_models(home: Path, watch: Watch) -> None:
    tune(home, TUNED)
    with echo_service(home, watch, Emulation(quota="azure")) as http:
        azure = management(http, watch)
        for number in range(10):
            deploy(azure, f"number-{number}")
        with pytest.raises(HttpResponseError, match="10 deployments of tuned models") as caught:
            deploy(azure, "number-10")
        assert caught.value.error.code == "quotaExceeded"
        assert deploy(azure, "base", wanted("nano")).name == "base"


@pytest.mark.parametrize(
    "path", [f"{PATH}/x", PATH, "/subscriptions/s/providers/Microsoft.CognitiveServices/accounts"]
)
def test_the_management_api_wants_its_date(http: TestClient, path: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "MissingApiVersionParameter")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"sku": {"name": "Standard", "capacity": 1e400}, "properties": {}}',
        b'{"sku": {"name": "S0", "capacity": "1"}, "properties": {"model": {"format": "a", "name": ""}}}',
        b'{"sku": {"name": "Standard"}, "properties": {"model": {"format": "a", "name": "b"}, "typo": 1}}',
    ],
)
def test_a_body_that_makes_no_sense_is_refused(http: TestClient, body: bytes) -> None:
    answer = http.put(f"{PATH}/my-gql?api-version=2024-10-01", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalidPayload")


@pytest.mark.parametrize("subscription", ["s%C3%BC", "%E2%82%AC", "%0d%0aset-cookie:%20a=b", "%22", "%FF"])
def test_a_subscription_may_have_any_name(http: TestClient, subscription: str) -> None:
    body = {"sku": {"name": "Standard"}, "properties": {"model": {"format": "OpenAI", "name": "nano"}}}
    path = PATH.replace("my-subscription", subscription)
    answer = http.put(f"{path}/my-gql?api-version=2024-10-01", json=body)
    assert answer.status_code == 201
    assert "set-cookie" not in answer.headers
    assert http.get(answer.headers["azure-asyncoperation"]).json()["status"] == "InProgress"


# Called


@pytest.mark.parametrize("path", ["/openai/v1/", "/v1/", "/api/projects/my-project/openai/v1/"])
def test_a_deployment_answers_at_every_v1_address(
    http: TestClient, azure: CognitiveServicesManagementClient, path: str
) -> None:
    deploy(azure, "my-gql")
    answer = client_of(http, path).chat.completions.create(
        model="my-gql", messages=[{"role": "user", "content": "hello"}]
    )
    assert (answer.model, answer.choices[0].message.content) == (TUNED, "hello")


def test_a_deployment_answers_azures_client_at_the_dated_address(
    http: TestClient, azure: CognitiveServicesManagementClient
) -> None:
    deploy(azure, "my-gql")
    client = openai.AzureOpenAI(
        azure_endpoint=ROOT, api_key=KEY, api_version="2024-10-21", http_client=http, max_retries=0
    )
    assert say(client, "my-gql") == "hello"


def test_a_deployment_that_is_being_created_is_not_found_yet(
    http: TestClient, azure: CognitiveServicesManagementClient, watch: Watch
) -> None:
    begin(azure, "my-gql")
    with pytest.raises(openai.NotFoundError, match="within the last 5 minutes, please wait") as caught:
        say(client_of(http), "my-gql")
    assert caught.value.code == "DeploymentNotFound"
    watch.now += 5
    assert say(client_of(http), "my-gql") == "hello"


def test_a_strict_service_answers_under_deployments_only(home: Path, watch: Watch) -> None:
    tune(home, TUNED)
    with echo_service(home, watch, Emulation(strict=True)) as http:
        client = client_of(http)
        for name in (TUNED, "nano"):
            with pytest.raises(openai.NotFoundError, match="strict: deploy a model first") as caught:
                say(client, name)
            assert caught.value.code == "DeploymentNotFound"
        deploy(management(http, watch), "my-gql")
        assert say(client, "My-GQL") == "hello"


# Time


def test_a_deployment_that_nobody_calls_is_gone_after_15_days(
    http: TestClient, azure: CognitiveServicesManagementClient, watch: Watch
) -> None:
    deploy(azure, "my-gql")
    deploy(azure, "base", wanted("nano"))
    watch.now += 15 * DAY - 11
    assert [one.name for one in azure.deployments.list(**PLACE)] == ["my-gql", "base"]
    watch.now += 10
    assert [one.name for one in azure.deployments.list(**PLACE)] == ["base"]
    assert say(client_of(http), TUNED) == "hello"  # the model stays


def test_a_call_keeps_a_deployment_for_15_more_days(
    http: TestClient, azure: CognitiveServicesManagementClient, watch: Watch
) -> None:
    deploy(azure, "my-gql")
    watch.now += 14 * DAY
    assert say(client_of(http), "my-gql") == "hello"
    watch.now += 14 * DAY
    assert [one.name for one in azure.deployments.list(**PLACE)] == ["my-gql"]
    watch.now += DAY
    assert list(azure.deployments.list(**PLACE)) == []


def test_a_developer_deployment_lives_for_24_hours_however_often_it_is_called(
    http: TestClient, azure: CognitiveServicesManagementClient, watch: Watch
) -> None:
    deploy(azure, "my-gql", wanted(sku="DeveloperTier"))
    watch.now += DAY - 10
    assert say(client_of(http), "my-gql") == "hello"
    watch.now += 10
    with pytest.raises(openai.NotFoundError, match="no deployment and no model 'my-gql'"):
        say(client_of(http), "my-gql")
