"""Connecting: the right class, address and header for each service, and one sentence for what is missing."""

import json
from pathlib import Path

import pytest
from openai import AzureOpenAI, OpenAI
from recorder import Recorder

from workbench.catalog.providers import default_model, notes_of, provider
from workbench.connect import about, azure_address, connect
from workbench.connection_check import self_test
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


@pytest.mark.parametrize(
    ("endpoint", "kind", "notes"),
    [
        (RESOURCE, "Azure OpenAI resource my-resource", ()),
        (f"{RESOURCE}/openai/v1/", "Azure OpenAI resource my-resource", ()),
        ("https://r.services.ai.azure.com/openai", "Foundry resource r", ()),
        ("https://r.services.ai.azure.com/api/projects/p", "project p of Foundry resource r", ()),
        ("https://r.cognitiveservices.azure.com/", "resource r", ()),
        ("http://r.openai.azure.com", "Azure OpenAI resource r", ("http is read as https",)),
        (
            "https://r.services.ai.azure.com/models",
            "Foundry resource r",
            ("/models is the path of a call and is left out",),
        ),
        (
            "https://r.openai.azure.com/api/projects/p",
            "project p of Foundry resource r",
            ("a project's address is that of its Foundry resource, r.services.ai.azure.com",),
        ),
        ("https://models.example.com/team", "gateway models.example.com", ()),
        ("http://127.0.0.1:81", "this machine", ()),
    ],
)
def test_resource_foundry_project_and_gateway_are_told_apart_and_corrected(endpoint, kind, notes):
    address = azure_address(provider("azure"), endpoint)
    assert (address.kind, address.notes) == (kind, notes)


def test_a_projects_address_at_the_wrong_host_is_corrected(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "secret")
    client = connect("azure", endpoint="https://r.openai.azure.com/api/projects/p")
    assert str(client.base_url) == "https://r.services.ai.azure.com/api/projects/p/openai/v1/"
    assert len(notes_of(client.with_options(timeout=1))) == 1


def test_the_dated_api_says_that_it_leaves_the_project_out(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "secret")
    project = "https://r.services.ai.azure.com/api/projects/p"
    client = connect("azure", endpoint=project, api_version="2025-04-01-preview")
    assert notes_of(client) == ("the dated API knows resources only, so the project is left out",)


def test_a_version_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "secret")
    with pytest.raises(SetupError, match="'2025-4-1' is no version of Azure's API: leave OPENAI_API_VERSION"):
        connect("azure", endpoint=RESOURCE, api_version="2025-4-1")


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
        "Set AZURE_OPENAI_API_KEY in .env, or sign in with 'az login' (see .env.example). It said: "
        "EnvironmentCredential: EnvironmentCredential authentication unavailable. Environment variables are "
        "not fully configured."
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("provider", "endpoint", "sentence"),
    [
        ("azure", None, "Set AZURE_OPENAI_ENDPOINT in .env to your resource's address, such as https://my-"),
        ("azure", "https://api.openai.com/v1", "'https://api.openai.com/v1' is no Azure resource's address"),
        ("azure", "https://<my resource>", "is no Azure resource's address; copy the one the portal shows"),
        ("azure", "https://[", "'https://[' is no Azure resource's address"),
        (
            "azure",
            "https://ai.azure.com/build",
            "is the portal's own address, and no Azure resource's address",
        ),
        ("azure", "https://portal.azure.com/#home", "is the portal's own address, and no Azure resource's"),
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


def test_about_names_versions_and_the_machine(home):
    facts = about()
    assert facts.versions["workbench"] == "0.1.0"
    assert facts.versions["openai"].startswith("3.")
    assert facts.cores >= 1
    assert f"home: {home}" in repr(facts)
