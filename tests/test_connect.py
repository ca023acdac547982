"""Connecting: the right class, address and header for each service, and one sentence for what is missing."""

import json
import socket
from pathlib import Path

import httpx2
import pytest
from openai import AzureOpenAI, OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.catalog.providers import default_model
from workbench.connect import about, connect, self_test
from workbench.errors import SetupError
from workbench.local import process
from workbench.settings import setting

VARIABLES = (
    "WORKBENCH_PROVIDER",
    "WORKBENCH_MODEL",
    "WORKBENCH_LOCAL_KEY",
    "AZURE_OPENAI_ENDPOINT",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_TOKEN_SCOPE",
    "OPENAI_API_VERSION",
    "OPENAI_API_KEY",
)
RESOURCE = "https://my-resource.openai.azure.com"


@pytest.fixture(autouse=True)
def blank_settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # set, so that nobody's own .env comes in


class Recorder:
    """A service that answers every request alike, and remembers what it was asked."""

    def __init__(self, response: Response | None = None) -> None:
        self.response = response or JSONResponse({"object": "list", "data": [{"id": "a"}, {"id": "b"}]})
        self.requests: list[Request] = []

    async def answer(self, request: Request) -> Response:
        self.requests.append(request)
        return self.response

    def __call__(self, client: OpenAI) -> OpenAI:
        """The same client, wired to this service instead of the network."""
        app = Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "POST"])])
        return client.with_options(http_client=TestClient(app), max_retries=0)


@pytest.mark.parametrize(
    ("endpoint", "base_url"),
    [
        (RESOURCE, f"{RESOURCE}/openai/v1/"),
        (f"{RESOURCE}/", f"{RESOURCE}/openai/v1/"),
        (f"{RESOURCE}/openai", f"{RESOURCE}/openai/v1/"),
        (f"{RESOURCE}/openai/v1", f"{RESOURCE}/openai/v1/"),
        (f"{RESOURCE}/openai/v1/", f"{RESOURCE}/openai/v1/"),
        (f"{RESOURCE}/openai/deployments/x/chat/completions?api-version=1", f"{RESOURCE}/openai/v1/"),
        ("my-resource.openai.azure.com", f"{RESOURCE}/openai/v1/"),
        ("http://my-resource.openai.azure.com", f"{RESOURCE}/openai/v1/"),
        ("https://r.cognitiveservices.azure.com/", "https://r.cognitiveservices.azure.com/openai/v1/"),
        (
            "https://r.services.ai.azure.com/api/projects/p",
            "https://r.services.ai.azure.com/api/projects/p/openai/v1/",
        ),
        (
            "https://r.services.ai.azure.com/api/projects/p/openai/v1/",
            "https://r.services.ai.azure.com/api/projects/p/openai/v1/",
        ),
        ("http://127.0.0.1:8123", "http://127.0.0.1:8123/openai/v1/"),
    ],
)
def test_azure_takes_every_address_that_its_portal_shows(endpoint, base_url, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "secret")
    client = connect("azure", endpoint=endpoint)
    assert type(client) is OpenAI
    assert str(client.base_url) == base_url


def test_the_v1_api_is_sent_the_key_as_bearer(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "secret")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", RESOURCE)
    service = Recorder()
    assert self_test(service(connect("azure"))).ok
    (request,) = service.requests
    assert request.headers["authorization"] == "Bearer secret"
    assert str(request.url) == f"{RESOURCE}/openai/v1/models"


def test_the_dated_api_is_sent_an_api_key_and_its_version(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "secret")
    monkeypatch.setenv("OPENAI_API_VERSION", "2025-04-01-preview")
    service = Recorder()
    client = connect("azure", endpoint="https://r.services.ai.azure.com/api/projects/p/openai/v1")
    assert isinstance(client, AzureOpenAI)
    assert self_test(service(client)).ok
    (request,) = service.requests
    assert request.headers["api-key"] == "secret"
    assert "authorization" not in request.headers
    assert str(request.url) == "https://r.services.ai.azure.com/openai/models?api-version=2025-04-01-preview"


def test_an_undated_version_belongs_to_the_v1_api(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "secret")
    service = Recorder()
    client = connect("azure", endpoint=RESOURCE, api_version="preview")
    assert type(client) is OpenAI
    assert self_test(service(client)).ok
    assert str(service.requests[0].url) == f"{RESOURCE}/openai/v1/models?api-version=preview"


@pytest.fixture
def signed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which ``az login`` was done: its ``az`` writes down what it was asked for."""
    asked = tmp_path / "asked"
    token = json.dumps(
        {"accessToken": "entra-token", "expires_on": 4102444800, "expiresOn": "2100-01-01 00:00:00"}
    )
    az = tmp_path / "az"
    az.write_text(f"#!/bin/sh\necho \"$@\" >> '{asked}'\necho '{token}'\n")
    az.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    return asked


@pytest.mark.parametrize("api_version", [None, "2024-10-21"])
def test_without_a_key_the_sign_in_is_used(signed_in, api_version):
    service = Recorder()
    client = service(connect("azure", endpoint=RESOURCE, api_version=api_version))
    assert self_test(client).ok
    assert service.requests[0].headers["authorization"] == "Bearer entra-token"
    assert "api-key" not in service.requests[0].headers
    assert "--resource https://cognitiveservices.azure.com" in signed_in.read_text()


def test_a_sign_in_that_has_run_out_is_told(signed_in, tmp_path):
    az = tmp_path / "az"
    az.write_text(az.read_text().replace("4102444800", "1"))  # a token that must be asked for anew each time
    client = Recorder()(connect("azure", endpoint=RESOURCE))
    az.write_text("#!/bin/sh\necho 'Please run az login' >&2\nexit 1\n")
    assert self_test(client).sentence.startswith(
        "Signing in to Azure failed; run 'az login' again. It said: "
    )


def test_the_scope_of_the_sign_in_is_a_setting(signed_in, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_TOKEN_SCOPE", "https://ai.azure.com/.default")
    connect("azure", endpoint=RESOURCE)
    assert "--resource https://ai.azure.com" in signed_in.read_text()


def test_neither_key_nor_sign_in_is_told_with_the_way_out(monkeypatch, capfd):
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")  # so that no network is asked
    with pytest.raises(SetupError) as caught:
        connect("azure", endpoint=RESOURCE)
    assert str(caught.value) == (
        "Set AZURE_OPENAI_API_KEY in .env, or sign in with 'az login' (see .env.example)."
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("provider", "endpoint", "sentence"),
    [
        ("azure", None, "Set AZURE_OPENAI_ENDPOINT in .env to your resource's address, such as https://my-"),
        ("azure", "https://api.openai.com/v1", "'https://api.openai.com/v1' is no Azure resource's address"),
        ("azure", "https://<my resource>", "is no Azure resource's address; copy the one the portal shows"),
        ("azure", "https://[", "'https://[' is no Azure resource's address"),
        ("openai", None, "Set OPENAI_API_KEY in .env"),
        (
            "local",
            "http://127.0.0.1:1",
            "Set WORKBENCH_LOCAL_KEY in .env to the key of the service at that address",
        ),
        ("aws", None, "There is no provider 'aws'; choose local, azure or openai."),
    ],
)
def test_what_is_missing_is_one_sentence(provider, endpoint, sentence):
    with pytest.raises(SetupError) as caught:
        connect(provider, endpoint=endpoint)
    assert sentence in str(caught.value)


def test_the_provider_can_be_a_setting(monkeypatch):
    monkeypatch.setenv("WORKBENCH_PROVIDER", "openai")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert str(connect().base_url) == "https://api.openai.com/v1/"


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:81", "http://127.0.0.1:81/v1", "http://127.0.0.1:81/openai/v1/"]
)
def test_a_local_service_run_by_hand_is_reached_by_its_address(endpoint, monkeypatch):
    monkeypatch.setenv("WORKBENCH_LOCAL_KEY", "drawn")
    client = connect("local", endpoint=endpoint, timeout=7)
    assert (str(client.base_url), client.api_key, client.timeout) == (
        "http://127.0.0.1:81/openai/v1/",
        "drawn",
        7,
    )


def test_the_local_service_is_started_and_found_again(home):
    try:
        with connect("local") as first, connect("local") as second:
            assert self_test(first).ok
            assert (first.base_url, first.api_key) == (second.base_url, second.api_key)
            assert first.base_url.host == "127.0.0.1"
            assert "refuses the key" in self_test(first.with_options(api_key="wrong")).sentence
    finally:
        process.stop(home)


# .env


def test_env_files_are_found_upward_and_reread_and_never_win(tmp_path, monkeypatch):
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    (tmp_path / ".env").write_text(
        "\ufeffAZURE_OPENAI_ENDPOINT=https://one.openai.azure.com\nOPENAI_API_KEY=file\n"
    )
    assert setting("AZURE_OPENAI_ENDPOINT") == "https://one.openai.azure.com"
    assert setting("OPENAI_API_KEY") is None  # it is set, to nothing
    (tmp_path / ".env").write_text("AZURE_OPENAI_ENDPOINT=https://two.openai.azure.com\n")
    assert setting("AZURE_OPENAI_ENDPOINT") == "https://two.openai.azure.com"
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://real.openai.azure.com")
    assert setting("AZURE_OPENAI_ENDPOINT") == "https://real.openai.azure.com"


def test_a_line_taken_out_of_the_env_file_is_gone(tmp_path, monkeypatch):
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("AZURE_OPENAI_ENDPOINT=https://one.openai.azure.com\n")
    assert setting("AZURE_OPENAI_ENDPOINT") == "https://one.openai.azure.com"
    (tmp_path / ".env").write_text("")
    assert setting("AZURE_OPENAI_ENDPOINT") is None


def test_an_env_file_that_is_no_text_is_told_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes("OPENAI_API_KEY=ä".encode("utf-16"))
    with pytest.raises(SetupError, match=r"\.env is not UTF-8 text; save it as UTF-8"):
        setting("OPENAI_API_KEY")


# The table of services


def test_the_default_model_is_the_services_unless_a_setting_says_otherwise(monkeypatch):
    assert default_model("local") == "SmolLM2-135M-Instruct"
    assert default_model("azure") == "gpt-oss-20b"
    monkeypatch.setenv("WORKBENCH_MODEL", "nano")
    assert default_model("azure") == "nano"


# The self-test


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
        (error(401, "Access denied"), "refuses the key or sign-in; check AZURE_OPENAI_API_KEY in .env."),
        (
            error(403, "No."),
            "does not let you in (on Azure, fine-tuning needs the role Foundry User). It said",
        ),
        (error(404, "Resource not found"), "has no such API at /openai/v1/; check the endpoint."),
        (error(400, "api-version query parameter is not allowed"), "unset OPENAI_API_VERSION to use v1"),
        (error(404, "API version not supported"), "does not take this api-version"),
        (error(429, "Too many"), "answers with status 429; try again later. It said: "),
        (error(503, "<b>down</b>"), "answers with status 503; try again later. It said: "),
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


def test_about_names_versions_and_the_machine(home):
    facts = about()
    assert facts.versions["workbench"] == "0.1.0"
    assert facts.versions["openai"].startswith("3.")
    assert facts.cores >= 1
    assert f"home: {home}" in repr(facts)
