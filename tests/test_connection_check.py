"""Does the connection work: in a sentence, and part by part, without a key, a token or an id in it."""

import datetime
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from control_plane import management, sent_by
from echo_service import Watch, client_of, echo_service, tune
from openai import OpenAI
from recorder import Recorder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from typer.testing import CliRunner

from workbench import catalog
from workbench.__main__ import app
from workbench.catalog.providers import carrying, provider
from workbench.catalog.refresh import Listed
from workbench.connect import connect
from workbench.connection_check import ConnectionPart, check_connection, models_to_train, self_test
from workbench.deploy import deploy, plan_deployment
from workbench.local.emulation import Emulation, read_faults

RESOURCE = "https://my-resource.openai.azure.com"
TUNED = "nano.ft-0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def a_home(home: Path) -> None:
    pass


# In a sentence


def azure(response: Response) -> OpenAI:
    return Recorder(response)(OpenAI(base_url=f"{RESOURCE}/openai/v1/", api_key="secret"))


def error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"code": "x", "message": message}}, status)


def test_a_connection_that_works_is_told_with_its_facts():
    tested = self_test(Recorder()(OpenAI(base_url="http://127.0.0.1:81/openai/v1/", api_key="secret")))
    assert tested.ok
    assert tested.sentence.startswith("Connected to local at 127.0.0.1:81: 2 models (")
    assert (tested.facts["provider"], tested.facts["endpoint"], tested.facts["models"]) == (
        "local",
        "127.0.0.1:81",
        2,
    )
    assert repr(tested) == f"✓ {tested.sentence}"
    assert f"<p class='mathjax_ignore' role='status'>✓ {tested.sentence}</p>" in tested._repr_html_()


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (error(401, "Access denied"), "refused (401): the key is not that of this resource"),
        (
            error(403, "No."),
            "refused (403): the role is missing, or the token is older than the role (to train",
        ),
        (
            error(404, "Resource not found"),
            "known only to the resource (and project) in which they were made",
        ),
        (error(400, "api-version query parameter is not allowed"), "leave OPENAI_API_VERSION empty for v1"),
        (error(404, "API version not supported"), "the dated API and the v1 API are mixed"),
        (error(429, "Too many"), "refused (429): the service was asked more often than its quota allows"),
        (error(503, "<b>down</b>"), "refused (503): the service is overloaded, or a part of it does not run"),
        (HTMLResponse("<html>Sign in to the proxy</html>"), "does not answer as a model service"),
        (JSONResponse(["x"]), "does not answer as a model service"),
    ],
)
def test_a_service_that_refuses_is_told_in_one_sentence(response, sentence):
    tested = self_test(azure(response))
    assert not tested.ok
    assert tested.sentence.startswith("my-resource.openai.azure.com ")
    assert sentence in tested.sentence
    assert "<b>" not in tested._repr_html_()


def test_a_key_is_never_shown():
    tested = self_test(azure(error(400, "Incorrect API key provided: secret.")))
    assert "secret" not in repr(tested) + tested._repr_html_()


def test_a_local_service_that_is_not_running_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with OpenAI(base_url=f"http://127.0.0.1:{port}/openai/v1/", api_key="secret") as client:
        assert self_test(client).sentence == (
            f"The local service is not running at 127.0.0.1:{port}; connect('local') starts it."
        )


class Broken(httpx2.BaseTransport):
    """A network on which nothing arrives."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        raise self.reason from self.reason.__cause__


def unknown_name() -> Exception:
    reason = httpx2.ConnectError("[Errno -2] Name or service not known")
    reason.__cause__ = socket.gaierror(-2, "Name or service not known")
    return reason


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (
            unknown_name(),
            "The name my-resource.openai.azure.com is not known; check the spelling of the endpoint",
        ),
        (
            httpx2.ConnectError("Network is unreachable"),
            "my-resource.openai.azure.com cannot be reached (Network is",
        ),
        (
            httpx2.ConnectTimeout("x"),
            "my-resource.openai.azure.com did not answer within 20 s; check network",
        ),
    ],
)
def test_a_network_that_fails_is_told_in_one_sentence(reason, sentence):
    with httpx2.Client(transport=Broken(reason)) as http:
        tested = self_test(OpenAI(base_url=f"{RESOURCE}/openai/v1/", api_key="secret", http_client=http))
    assert not tested.ok
    assert tested.sentence.startswith(sentence)


# Part by part


@pytest.fixture
def watch() -> Watch:
    return Watch()


def of_the_app(home: Path, watch: Watch, *faults: str, name: str = "azure") -> Iterator[OpenAI]:
    tune(home, TUNED)
    with echo_service(home, watch, Emulation(strict=True, faults=read_faults(faults))) as http:
        yield connect(name, client=client_of(http), management=management(http, watch))


def states(parts: tuple[ConnectionPart, ...]) -> dict[str, str]:
    return {part.name: part.state for part in parts}


def test_a_connection_that_works_is_told_part_by_part_and_sends_nothing_but_questions(home, watch):
    for client in of_the_app(home, watch):
        report = check_connection(client)
        sent = sent_by(vars(client)["workbench_management"])
    assert report.ok
    assert report.verdict == "azure at testserver: nothing fails."
    assert repr(report).splitlines()[1:-1] == [
        "✓ Address          testserver, the v1 API, not an address of Azure's own: a gateway, or a rehearsal",
        "✓ Sign-in          the client's key",
        "✓ Models           2 base models listed",
        "✓ Files            training files can be listed",
        "✓ Training jobs    training jobs can be listed; whether you may start one, see Roles",
        "✓ Control plane    resource workbench in the region local, group workbench",
        "✓ Roles            you may train and deploy",
        "✓ Deployments      0, of tuned models 0 of at most 10",
        "✓ Quota            13 quotas granted in local, none used up",
        "✓ Models to train  SmolLM2-135M-Instruct, nano; perhaps (not in the service's list): gpt-4.1, "
        "gpt-4.1-mini, gpt-4.1-nano, gpt-4o, gpt-4o-mini, o4-mini, gpt-5, gpt-oss-20b and 10 more",
    ]
    assert {request.method for request in sent} == {"GET"}
    assert [str(request.url).split("?")[0].rsplit("/", 1)[1] for request in sent] == [
        "accounts", "permissions", "deployments", "usages",
    ]  # fmt: skip


def test_somebody_who_may_train_but_not_deploy_is_told_the_role_before_the_first_deployment(home, watch):
    for client in of_the_app(home, watch, "role"):
        report = check_connection(client)
    assert [part for part in report.parts if part.state == "fails"] == [
        ConnectionPart(
            "Roles",
            "fails",
            "you may train but not deploy: ask for the role Foundry Owner, or any with "
            "Microsoft.CognitiveServices/accounts/deployments/write, then sign in again with 'az login'",
        )
    ]
    assert report.verdict == "azure at testserver: does not work: roles."


USER = {"actions": ["*/read"], "dataActions": ["Microsoft.CognitiveServices/*"]}
OWNER = {"actions": ["Microsoft.CognitiveServices/*"], "dataActions": ["Microsoft.CognitiveServices/*"]}
CONTRIBUTOR = {"actions": ["*"], "notActions": ["Microsoft.Authorization/*/Write"]}
READER = {"actions": ["*/read"]}


@pytest.mark.parametrize(
    ("roles", "state", "says"),
    [
        ([OWNER], "works", "you may train and deploy"),
        ([READER, USER], "fails", "you may train but not deploy: ask for the role Foundry Owner"),
        ([CONTRIBUTOR], "fails", "you may deploy but not train: ask for the role Foundry User"),
        ([USER, CONTRIBUTOR], "works", "you may train and deploy"),
        ([READER], "fails", "you may read only: ask for the role Foundry Owner"),
        (None, "unknown", "not known: the control plane does not say what you may do (403)"),
    ],
)
def test_what_somebody_may_do_is_read_from_the_roles_given(watch, roles, state, says):
    account = (
        "/subscriptions/my-subscription/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/r"
    )

    async def answer(request: Request) -> Response:
        if request.url.path.endswith("/permissions"):
            assert str(request.url).endswith(f"{account}{PERMISSIONS}")
            return JSONResponse({"value": roles}) if roles is not None else error(403, "No.")
        accounts = {"id": account, "name": "r", "location": "swedencentral", "properties": {}}
        return JSONResponse(
            {"value": [accounts] if request.url.path.endswith("/accounts") else [], "data": []}
        )

    with TestClient(Starlette(routes=[Route("/{path:path}", answer)])) as http:
        signed_in = OpenAI(
            base_url="https://r.openai.azure.com/openai/v1/", api_key=lambda: "token", http_client=http
        )
        client = connect("azure", client=signed_in, management=management(http, watch))
        found = {part.name: part for part in check_connection(client).parts}["Roles"]
    assert found.state == state
    assert found.sentence.startswith(says)


PERMISSIONS = "/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"


def test_deployments_and_used_up_quotas_are_counted(home, watch):
    for client in of_the_app(home, watch):
        deploy(client, plan_deployment(client, TUNED, capacity=1_000_000), agreed=True)
        parts = {part.name: part for part in check_connection(client).parts}
    assert parts["Deployments"].sentence == "1, of tuned models 1 of at most 10"
    assert parts["Quota"].state == "look"
    assert parts["Quota"].sentence.endswith("; used up: OpenAI.DeveloperTier.nano-finetune")


def test_the_local_service_is_checked_with_its_control_plane(home, watch):
    for client in of_the_app(home, watch, name="local"):
        report = check_connection(client)
    assert report.ok
    assert report.trainable == ("SmolLM2-135M-Instruct", "nano")


def test_a_service_without_a_control_plane_needs_none():
    client = Recorder()(
        carrying(OpenAI(base_url="https://api.openai.com/v1/", api_key="secret"), provider("openai"))
    )
    found = states(check_connection(client).parts)
    assert {name for name, state in found.items() if state == "not needed"} == {
        "Control plane", "Roles", "Deployments", "Quota",
    }  # fmt: skip


def test_a_service_that_does_not_answer_is_asked_no_more(monkeypatch):
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "")
    with httpx2.Client(transport=Broken(unknown_name())) as http:
        client = OpenAI(base_url=f"{RESOURCE}/openai/v1/", api_key="secret", http_client=http)
        parts = {part.name: part for part in check_connection(client).parts}
    assert parts["Models"].sentence.startswith("The name my-resource.openai.azure.com is not known")
    assert parts["Files"][1:] == ("unknown", "not known: the service does not answer")
    assert parts["Models to train"].state == "unknown"
    assert parts["Versions"].state == "works"


def test_what_was_corrected_in_an_address_is_told(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "secret")
    pasted = f"{RESOURCE}/openai/deployments/x/chat/completions?api-version=2024-10-21"
    address = check_connection(Recorder()(connect("azure", endpoint=pasted))).parts[0]
    assert address == ConnectionPart(
        "Address",
        "look",
        "my-resource.openai.azure.com, the v1 API of Azure OpenAI resource my-resource; corrected: "
        "/deployments/x/chat/completions is the path of a call and is left out; the api-version in it does "
        "not count; set OPENAI_API_VERSION to use the dated API",
    )


def test_all_of_what_a_service_said_is_shown_as_text(monkeypatch):
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "")
    said = f"<b>{'no ' * 150}</b>"
    shown = check_connection(azure(error(400, said)))._repr_html_()
    assert f"&lt;b&gt;{'no ' * 150}&lt;/b&gt;" in shown
    assert "<b>" not in shown


# Models to train


def listed(*names: str, fine_tune: bool | None = True) -> list[Listed]:
    return [Listed(name, fine_tune=fine_tune) for name in names]


ALL = ("gpt-4.1-mini-2025-04-14", "gpt-oss-20b", "gpt-5-2025-08-07", "o4-mini-2025-04-16")
DAY = datetime.date(2026, 12, 1)


def trainable(models: list[Listed], **named: object):
    return models_to_train(catalog.models(), models, where=provider("azure"), on=DAY, **named)


def test_a_new_customer_is_told_which_models_are_open_and_which_hang_on_an_earlier_deployment():
    found = trainable(listed(*ALL), region="swedencentral", deployed=[])
    assert found.yes == ("gpt-oss-20b",)
    assert found.perhaps["if this subscription deployed it before"] == ("gpt-4.1-mini", "o4-mini")
    assert found.perhaps["by invitation"] == ("gpt-5",)


def test_a_model_that_is_deployed_can_be_trained_by_an_existing_customer():
    found = trainable(listed(*ALL), region="swedencentral", deployed=[("gpt-4.1-mini", "2025-04-14")])
    assert found.yes == ("gpt-4.1-mini", "gpt-oss-20b")


def test_open_weights_are_believed_to_be_tunable_although_the_list_denies_it():
    found = trainable(listed("gpt-oss-20b", "gpt-4.1-mini-2025-04-14", fine_tune=False))
    assert found.yes == ("gpt-oss-20b",)
    assert "if this subscription deployed it before" not in found.perhaps


def test_a_region_in_which_a_model_is_not_trained_is_named():
    found = trainable(listed(*ALL), region="uaenorth")
    assert "gpt-4.1-mini" in found.perhaps["not in uaenorth by the catalogue"]


def test_after_the_last_day_of_training_a_model_is_left_out():
    late = models_to_train(
        catalog.models(), listed(*ALL), where=provider("azure"), on=datetime.date(2027, 6, 1)
    )
    assert all("gpt-4.1-mini" not in names for names in (late.yes, *late.perhaps.values()))


# Nothing secret is shown


KEY, SUBSCRIPTION = "canary-key-1234567890", "c0ffee00-cafe-4bad-8bad-c0ffee123456"


async def tells_all(request: Request) -> Response:
    """Refuses, and repeats everything secret that it was sent."""
    said = f"Key {request.headers.get('authorization')} of {request.url} ({SUBSCRIPTION}) is not known."
    return JSONResponse({"error": {"code": "401", "message": said}}, 401)


def test_no_key_and_no_id_is_in_anything_that_is_shown_or_logged(watch, monkeypatch, caplog, capfd):
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with TestClient(Starlette(routes=[Route("/{path:path}", tells_all)])) as http:
        client = connect("azure", endpoint=RESOURCE).with_options(http_client=http)
        client = connect("azure", client=client, management=management(http, watch))
        report, tested = check_connection(client), self_test(client)
    shown = [repr(report), report._repr_html_(), json.dumps(report.facts), repr(tested), tested._repr_html_()]
    ours = ("azure", "openai", "urllib3", "workbench")  # what else stands there is the test's own transport
    logged = [each.getMessage() for each in caplog.records if each.name.startswith(ours)]
    shown += [json.dumps(dict(tested.facts)), *logged, *capfd.readouterr()]
    assert any("Request URL" in line for line in logged)
    assert "is not known" in shown[0]
    assert [canary for canary in (KEY, SUBSCRIPTION, "my-subscription") if canary in "\n".join(shown)] == []


# In a shell


def test_the_verb_prints_the_parts_and_ends_with_1_where_one_fails(home, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    done = CliRunner().invoke(app, ["check-connection", "--provider", "azure", "--json"])
    facts = json.loads(done.stdout)
    assert (done.exit_code, facts["ok"]) == (1, False)
    assert next(part["state"] for part in facts["parts"] if part["name"] == "Models") == "fails"
    assert KEY not in done.output
