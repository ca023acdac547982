"""Azure's own management client on the app, without a port: every request noted, waits move the watch."""

import io

import requests
from azure.core.credentials import AzureKeyCredential
from azure.core.pipeline.policies import AzureKeyCredentialPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
from echo_service import ROOT, Watch
from idle_service import KEY
from requests.adapters import BaseAdapter
from starlette.testclient import TestClient
from urllib3 import HTTPResponse


class IntoTheApp(BaseAdapter):
    """Carries what the management client sends into the app, without a port."""

    def __init__(self, http: TestClient) -> None:
        super().__init__()
        self._http = TestClient(http.app)  # without the key that the other one always sends
        self.sent: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, **_: object) -> requests.Response:
        self.sent.append(request)
        answer = self._http.request(
            str(request.method), str(request.url), content=request.body, headers=dict(request.headers)
        )
        found = requests.Response()
        found.request, found.url, found.status_code = request, str(request.url), answer.status_code
        found.headers.update(answer.headers)
        found.raw = HTTPResponse(io.BytesIO(answer.content), preload_content=False)
        return found

    def close(self) -> None:
        pass


class OnTheWatch(RequestsTransport):
    """Waits by moving the watch."""

    def __init__(self, http: TestClient, watch: Watch) -> None:
        session = requests.Session()
        self.app = IntoTheApp(http)
        session.mount(ROOT, self.app)
        super().__init__(session=session, session_owner=False)
        self._watch = watch
        self.slept: list[float] = []

    def sleep(self, duration: float) -> None:
        self.slept.append(duration)
        self._watch.now += duration


def sent_by(azure: CognitiveServicesManagementClient) -> list[requests.PreparedRequest]:
    """What the client has sent so far."""
    sent: list[requests.PreparedRequest] = azure._client._pipeline._transport.app.sent
    return sent


def management(http: TestClient, watch: Watch) -> CognitiveServicesManagementClient:
    """The management client of an account that the app is."""
    key = AzureKeyCredential(KEY)
    policy = AzureKeyCredentialPolicy(key, "Authorization", prefix="Bearer")
    return CognitiveServicesManagementClient(
        key,
        "my-subscription",
        base_url=ROOT,
        authentication_policy=policy,
        polling_interval=1,
        retry_total=0,
        transport=OnTheWatch(http, watch),
    )
