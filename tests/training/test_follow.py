"""Following several jobs at once, through a service that is away or busy, and steering them."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.errors import SetupError
from workbench.local.api.app import create_app
from workbench.local.store.store import Store
from workbench.training.follow import change_job, choices, follow, follow_all

pytestmark = pytest.mark.usefixtures("home")

LOCAL = "http://127.0.0.1:8123/openai/v1/"
AZURE = "https://my-resource.openai.azure.com/openai/v1/"
BUSY = JSONResponse({"error": {"message": "later"}}, 429)


class Scripted:
    """A service whose jobs go through the states that a test gives, one at each look."""

    def __init__(self, **states: list[str | Response]) -> None:
        self.states = {f"ftjob-{name}": iter(each) for name, each in states.items()}
        self.looks: list[str] = []
        self.verbs: list[str] = []

    def client(self, base_url: str = LOCAL) -> OpenAI:
        job = "/openai/v1/fine_tuning/jobs/{id}"
        app = Starlette(
            routes=[
                Route(job, self.show),
                Route(f"{job}/events", self.events),
                Route(f"{job}/{{verb}}", self.steer, methods=["POST"]),
            ]
        )
        return OpenAI(base_url=base_url, api_key="key", http_client=TestClient(app), max_retries=0)

    async def show(self, request: Request) -> Response:
        id = request.path_params["id"]
        self.looks.append(id)
        state = next(self.states[id])
        return state if isinstance(state, Response) else JSONResponse(shown(id, state))

    async def events(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [], "has_more": False})

    async def steer(self, request: Request) -> Response:
        self.verbs.append(request.path_params["verb"])
        return JSONResponse(shown(request.path_params["id"], f"{request.path_params['verb']}d"))


def shown(id: str, status: str, **fields: object) -> dict[str, object]:
    return {"id": id, "object": "fine_tuning.job", "status": status, "model": "m", **fields}


def seen(service: Scripted, *ids: str, **settings: float) -> list[tuple[str, str]]:
    looks = follow_all(service.client(), ids, **{"poll_seconds": 0, **settings})
    return [(look.job.id.removeprefix("ftjob-"), look.job.status) for look in looks]


def test_each_job_is_followed_to_its_own_end():
    service = Scripted(a=["pending", "running", "succeeded"], b=["running", "failed"])
    assert seen(service, "ftjob-a", "ftjob-b") == [
        ("a", "pending"),
        ("b", "running"),
        ("a", "running"),
        ("b", "failed"),
        ("a", "succeeded"),
    ]


def test_a_job_that_has_ended_is_not_asked_for_again():
    service = Scripted(a=["succeeded"], b=["running", "running", "succeeded"])
    seen(service, "ftjob-a", "ftjob-b")
    assert service.looks == ["ftjob-a", "ftjob-b", "ftjob-b", "ftjob-b"]


def test_a_job_named_twice_is_followed_once():
    assert seen(Scripted(a=["succeeded"]), "ftjob-a", "ftjob-a") == [("a", "succeeded")]


def test_no_jobs_are_no_progress():
    assert seen(Scripted()) == []


def test_a_busy_moment_for_one_job_costs_the_others_nothing():
    service = Scripted(a=[BUSY, BUSY, "succeeded"], b=["running", "running", "succeeded"])
    assert seen(service, "ftjob-a", "ftjob-b", patience_seconds=5) == [
        ("b", "running"),
        ("a", "succeeded"),
        ("b", "succeeded"),
    ]


def test_a_service_that_asks_for_a_pause_gets_it():
    asked = JSONResponse({"error": {"message": "later"}}, 429, {"retry-after": "0.3"})
    begun = time.monotonic()
    assert seen(Scripted(a=[asked, "succeeded"]), "ftjob-a") == [("a", "succeeded")]
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize("nonsense", ["", "soon", "-5", "Wed, 21 Oct 2026 07:28:00 GMT", "nan"])
def test_a_pause_that_cannot_be_read_is_the_usual_one(nonsense):
    asked = JSONResponse({"error": {"message": "later"}}, 503, {"retry-after": nonsense})
    assert seen(Scripted(a=[asked, "succeeded"]), "ftjob-a") == [("a", "succeeded")]


def test_a_service_that_stays_away_names_all_that_goes_on_without_us():
    service = Scripted(a=[BUSY] * 3, b=[BUSY] * 3)
    with pytest.raises(SetupError, match=r"Jobs ftjob-a, ftjob-b go on without us; connect again and follow"):
        seen(service, "ftjob-a", "ftjob-b", patience_seconds=0)


class Breaking(httpx2.BaseTransport):
    """A network whose second answer breaks off, and whose third request finds nobody."""

    def __init__(self, whole: httpx2.BaseTransport) -> None:
        self.whole = whole
        self.requests = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests += 1
        if self.requests == 2:
            raise httpx2.RemoteProtocolError("peer closed connection without sending complete message body")
        if self.requests == 3:
            raise httpx2.ConnectError("Connection refused")
        return self.whole.handle_request(request)


def test_a_network_that_breaks_and_is_gone_is_outlasted():
    service = Scripted(a=["running", "running", "succeeded"])
    http = httpx2.Client(transport=Breaking(service.client()._client._transport))
    with OpenAI(base_url=LOCAL, api_key="key", http_client=http, max_retries=0) as client:
        looks = list(follow_all(client, ["ftjob-a"], poll_seconds=0))
    assert [look.job.status for look in looks] == ["running", "succeeded"]


# Steering


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = Store(home / "service")
    yield store
    store.close()


@pytest.fixture
def local(home: Path) -> Iterator[OpenAI]:
    class Idle:
        async def start(self) -> None: ...

        async def stop(self) -> None: ...

        def wake(self) -> None: ...

    with TestClient(create_app(home / "service", "key", workers=Idle())) as http:
        yield OpenAI(base_url="http://127.0.0.1/openai/v1/", api_key="key", http_client=http, max_retries=0)


def waiting(client: OpenAI) -> FineTuningJob:
    """A job on the real service that nobody works on."""
    rows = b'{"messages": []}\n' * 10
    file = client.files.create(file=("train.jsonl", rows), purpose="fine-tune")
    return client.fine_tuning.jobs.create(model="nano", training_file=file.id)


def job(status: str, method: str = "supervised") -> FineTuningJob:
    return FineTuningJob.construct(**shown("ftjob-a", status, method={"type": method}))


def test_a_job_is_cancelled_on_the_real_service(local):
    assert change_job(local, waiting(local).id, "cancel").status == "cancelled"


def test_what_is_followed_can_be_steered_meanwhile():
    service = Scripted(a=["running", "succeeded"])
    following = follow(service.client(), "ftjob-a", poll_seconds=0)
    now = next(following)
    assert [choice.possible for choice in following.choices(now.job).all] == [True, False, True]
    assert following.change(now.job, "pause").status == "paused"
    assert [each.job.status for each in following] == ["succeeded"]


def test_what_cannot_be_cancelled_is_the_services_own_sentence(local):
    ended = change_job(local, waiting(local), "cancel")
    with pytest.raises(openai.BadRequestError, match=r"cannot be cancelled; it has ended: cancelled"):
        change_job(local, ended, "cancel")


@pytest.mark.parametrize(("verb", "status"), [("pause", "paused"), ("resume", "resumed")])
def test_azure_is_asked_to_pause_and_to_resume(verb, status):
    service = Scripted()
    assert change_job(service.client(AZURE), "ftjob-a", verb).status == status
    assert service.verbs == [verb]


@pytest.mark.parametrize(
    ("status", "possible"),
    [
        ("pending", ["cancel"]),
        ("running", ["pause", "cancel"]),
        ("paused", ["resume", "cancel"]),
        ("succeeded", []),
        ("failed", []),
    ],
)
def test_what_can_be_done_depends_on_the_state(status, possible):
    found = choices(Scripted().client(AZURE), job(status))
    assert [choice.verb for choice in found.all if choice.possible] == possible


def test_cancelling_costs_nothing_before_training_and_hours_of_reinforcement_after():
    client = Scripted().client(AZURE)

    def costs(shown: FineTuningJob) -> str:
        return choices(client, shown).all[-1].costs

    assert costs(job("pending")) == "nothing, because training has not begun"
    assert costs(job("running")).startswith("what was trained may be billed")
    assert costs(job("running", "reinforcement")).startswith("the hours trained so far")


def test_the_choices_show_themselves(unstyled):
    found = choices(Scripted().client(AZURE), job("running"))
    assert repr(found).splitlines()[0].startswith("pause (possible: while it runs")
    assert "<caption>ftjob-a: training</caption>" in unstyled(found._repr_html_())
