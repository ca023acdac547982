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
        self.lose_every = 0  # the answer to every so many-th request is lost on its way; 0: none

    def send(self, request: requests.PreparedRequest, **_: object) -> requests.Response:
        self.sent.append(request)
        answer = self._http.request(
            str(request.method), str(request.url), content=request.body, headers=dict(request.headers)
        )
        if self.lose_every and len(self.sent) % self.lose_every == 0:
            raise requests.exceptions.ConnectionError("The answer was lost.")
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


def management(http: TestClient, watch: Watch, *, lose_every: int = 0) -> CognitiveServicesManagementClient:
    """The management client of an account that the app is, with retries where answers are lost."""
    transport = OnTheWatch(http, watch)
    transport.app.lose_every = lose_every
    key = AzureKeyCredential(KEY)
    policy = AzureKeyCredentialPolicy(key, "Authorization", prefix="Bearer")
    return CognitiveServicesManagementClient(
        key,
        "my-subscription",
        base_url=ROOT,
        authentication_policy=policy,
        polling_interval=1,
        retry_total=3 if lose_every else 0,
        transport=transport,
    )
