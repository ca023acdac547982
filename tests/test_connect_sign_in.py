"""Signing in with the real ``azure-identity`` against a managed identity's endpoint on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from echo_service import Watch, echo_service
from identity_service import HEADER, Identity, identity_service
from idle_service import KEY
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.connect import connect
from workbench.connection_check import check_connection, self_test
from workbench.errors import SetupError

RESOURCE = "https://my-resource.openai.azure.com"
IMDS = "AZURE_POD_IDENTITY_AUTHORITY_HOST"


@pytest.fixture
def identity(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Identity]:
    """The only way to sign in on this machine."""
    with identity_service() as (identity, address):
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{address}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", HEADER)
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        yield identity


class Resource:
    """A resource that takes the tokens that were issued and not revoked."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.revoked: set[str] = set()
        self.shown: list[str] = []

    async def answer(self, request: Request) -> Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        self.shown.append(token)
        if token in self.revoked or token not in self.identity.issued:
            message = f"The access token has expired: {token}"
            return JSONResponse({"error": {"code": "401", "message": message}}, 401)
        return JSONResponse({"object": "list", "data": [], "has_more": False})

    def __call__(self, client: OpenAI) -> OpenAI:
        app = Starlette(routes=[Route("/{path:path}", self.answer)])
        return client.with_options(http_client=TestClient(app), max_retries=0)


@pytest.mark.parametrize("api_version", [None, "2024-10-21"])
def test_a_managed_identity_signs_in_once_for_many_requests(identity, api_version):
    resource = Resource(identity)
    client = resource(connect("azure", endpoint=RESOURCE, api_version=api_version))
    assert [self_test(client).ok for _ in range(3)] == [True, True, True]
    assert (resource.shown, identity.resources) == (
        identity.issued * 3,
        ["https://cognitiveservices.azure.com"],
    )


def test_the_other_documented_scope_is_a_setting(identity, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_TOKEN_SCOPE", "https://ai.azure.com/.default")
    connect("azure", endpoint=RESOURCE)
    assert identity.resources == ["https://ai.azure.com"]


def test_a_scope_that_is_none_is_refused_with_those_there_are(identity, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_TOKEN_SCOPE", "ai.azure.com")
    with pytest.raises(SetupError) as caught:
        connect("azure", endpoint=RESOURCE)
    assert str(caught.value) == (
        "AZURE_OPENAI_TOKEN_SCOPE is 'ai.azure.com'; Azure's documents give "
        "https://cognitiveservices.azure.com/.default and https://ai.azure.com/.default."
    )


@pytest.mark.parametrize("api_version", [None, "2024-10-21"])
def test_a_token_that_is_about_to_end_is_renewed_before_the_next_request(identity, api_version):
    identity.lifetime = 60  # azure-core asks anew in the last five minutes
    resource = Resource(identity)
    client = resource(connect("azure", endpoint=RESOURCE, api_version=api_version))
    identity.lifetime = 86_400
    assert [self_test(client).ok, self_test(client).ok] == [True, True]
    assert len(identity.issued) == 2
    assert resource.shown == [identity.issued[1]] * 2


def test_a_token_that_the_service_no_longer_takes_is_named_and_connecting_again_gets_a_new_one(identity):
    resource = Resource(identity)
    client = resource(connect("azure", endpoint=RESOURCE))
    assert self_test(client).ok
    resource.revoked = set(identity.issued)
    said = self_test(client).sentence
    assert said.startswith(
        "my-resource.openai.azure.com refused (401): the token of the sign-in has run out or was revoked: "
        "sign in again with 'az login', then connect again, which asks for a new one. It said: "
    )
    assert "The access token has expired: …" in said
    assert self_test(resource(connect("azure", endpoint=RESOURCE))).ok


def test_an_identity_that_is_refused_later_is_told_in_the_middle_of_the_work(identity):
    identity.lifetime = 60
    client = Resource(identity)(connect("azure", endpoint=RESOURCE))
    identity.refusal = (400, "The identity was removed.")
    said = self_test(client).sentence
    assert said.startswith("Signing in to Azure failed; run 'az login' again. It said: ")
    assert "The identity was removed." in said


def test_an_endpoint_that_refuses_is_told_with_its_words(identity):
    identity.refusal = (400, "No user assigned identity 0b1f6471-1bf0-4dda-aec3-cb9272f09590 found.")
    with pytest.raises(SetupError) as caught:
        connect("azure", endpoint=RESOURCE)
    said = str(caught.value)
    assert said.startswith(
        "Set AZURE_OPENAI_API_KEY in .env, or sign in with 'az login' (see .env.example). It said: "
    )
    assert "No user assigned identity … found." in said
    assert HEADER not in said


def test_a_machine_without_an_identity_is_told(home, monkeypatch):
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    with identity_service() as (identity, address):
        monkeypatch.setenv(IMDS, address)  # a virtual machine's own endpoint
        identity.refusal = (400, "Identity not found")
        with pytest.raises(SetupError, match=r"It said: ManagedIdentityCredential: .*Identity not found"):
            connect("azure", endpoint=RESOURCE)
        identity.refusal = None
        assert self_test(Resource(identity)(connect("azure", endpoint=RESOURCE))).ok


def test_a_way_to_sign_in_that_is_none_is_refused_with_those_there_are(home, monkeypatch):
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzCli")
    with pytest.raises(
        SetupError, match=r"Invalid value for AZURE_TOKEN_CREDENTIALS: azcli\..*azureclicredential"
    ):
        connect("azure", endpoint=RESOURCE)


def test_the_local_service_is_used_as_azure_with_a_managed_identity(identity, home):
    identity.key = KEY
    with echo_service(home, Watch()) as http:
        client = connect("azure", endpoint="http://127.0.0.1:81").with_options(
            http_client=TestClient(http.app)
        )
        tested = self_test(client)
    assert (tested.facts["provider"], tested.facts["models"]) == ("azure", 2)
    assert identity.resources == ["https://cognitiveservices.azure.com"]


def test_the_check_says_until_when_a_token_holds_and_shows_none(identity, monkeypatch):
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "")
    report = check_connection(Resource(identity)(connect("azure", endpoint=RESOURCE)))
    parts = {part.name: part for part in report.parts}
    assert parts["Sign-in"].state == "works"
    assert parts["Sign-in"].sentence.startswith(
        "signed in to Entra ID for https://cognitiveservices.azure.com/.default; the token holds until 20"
    )
    assert parts["Control plane"].sentence.startswith("Set AZURE_SUBSCRIPTION_ID in .env")
    assert (parts["Roles"].state, parts["Quota"].state) == ("unknown", "unknown")
    assert "canary" not in repr(report) + report._repr_html_()
