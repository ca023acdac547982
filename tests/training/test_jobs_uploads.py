"""Files of a job on their way to the service: in parts, cut off and resumed, over a network that fails."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import openai
import pytest
import uvicorn
from idle_service import KEY, IdleWorkers
from job_specs import start
from openai import OpenAI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.catalog.limits import LIMITS
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError, SetupError
from workbench.local.api.app import create_app
from workbench.local.store.store import Store
from workbench.settings import ROOT
from workbench.training.jobs import copy_checkpoint, upload_in_parts

pytestmark = pytest.mark.usefixtures("home")

V1 = "http://127.0.0.1/openai/v1/"
CONTENT = bytes(range(32, 127)) * 100  # 9,500 bytes
PART = 1_000
ROWS = Dataset(
    "rows",
    tuple(
        Example(
            ({"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}."}), f"rows:{n}"
        )
        for n in range(40)
    ),
)


class Network:
    """The real service behind a network that does what a test says with each request."""

    def __init__(self, service: ASGIApp) -> None:
        self.service = service
        self.calls: list[str] = []
        self.before: Callable[[str], Response | None] = lambda call: None
        self.after: Callable[[str], Response | None] = lambda call: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.service(scope, receive, send)
            return
        call = f"{scope['method']} {scope['path']}"
        self.calls.append(call)
        lost = self.before(call)
        if lost is None:
            held: list[Message] = []

            async def hold(message: Message) -> None:
                held.append(message)

            await self.service(scope, receive, hold)
            lost = self.after(call)
            if lost is None:
                for message in held:
                    await send(message)
                return
        else:
            await Request(scope, receive).body()
        await lost(scope, receive, send)

    def count(self, end: str) -> int:
        return sum(call.startswith("POST ") and call.endswith(end) for call in self.calls)


def failing(status: int = 502, *, again: bool = False) -> Response:
    """A gateway's answer; the client tries ``again``, at once, or lets it be."""
    headers = {"x-should-retry": str(again).lower(), "retry-after-ms": "1"}
    return JSONResponse({"error": {"message": "gateway"}}, status, headers=headers)


@pytest.fixture
def network(home: Path) -> Network:
    return Network(create_app(home / "service", KEY, workers=IdleWorkers()))


@pytest.fixture
def client(network: Network) -> Iterator[OpenAI]:
    with TestClient(network) as http:
        yield OpenAI(base_url=V1, api_key=KEY, http_client=http, max_retries=0)


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services that take 1,000 bytes in one upload."""
    for name in ("local", "azure"):
        less = replace(LIMITS[name], max_safe_file_bytes=PART, max_part_bytes=PART)
        monkeypatch.setitem(LIMITS, name, less)


def states(home: Path) -> list[Path]:
    return list((home / "uploads").glob("*.jsonl"))


# In parts


@pytest.mark.usefixtures("low")
def test_a_large_file_is_sent_in_parts_and_the_job_is_trained_on_it(client, network, home):
    size = len(ROWS.to_jsonl())
    job = start(client, ROWS, model="nano")
    assert (network.count("/files"), network.count("/parts")) == (0, -(-size // PART))
    assert client.files.content(job.training_file).content == ROWS.to_jsonl()
    assert client.files.retrieve(job.training_file).filename == f"train-{ROWS.sha256[:12]}.jsonl"
    assert states(home) == []
    start(client, ROWS, model="nano", seed=1)
    assert network.count("/uploads") == 1  # the same content is there already


def test_an_upload_that_is_cut_off_goes_on_where_it_stopped(client, network):
    network.before = lambda call: failing() if network.count("/parts") > 4 else None
    with pytest.raises(openai.InternalServerError):
        upload_in_parts(client, CONTENT, "rows.jsonl", part_bytes=PART)
    network.calls.clear()
    network.before = lambda call: None
    file = upload_in_parts(client, CONTENT, "rows.jsonl", part_bytes=PART)
    assert (network.count("/uploads"), network.count("/parts"), network.count("/complete")) == (0, 6, 1)
    assert client.files.content(file.id).content == CONTENT


def test_an_upload_that_the_service_has_ended_is_begun_anew(client, network, home):
    network.before = lambda call: failing() if network.count("/parts") > 4 else None
    with pytest.raises(openai.InternalServerError):
        upload_in_parts(client, CONTENT, "rows.jsonl", part_bytes=PART)
    network.before = lambda call: None
    (state,) = states(home)
    client.uploads.cancel(json.loads(state.read_text().splitlines()[0])["id"])
    network.calls.clear()
    file = upload_in_parts(client, CONTENT, "rows.jsonl", part_bytes=PART)
    assert (network.count("/uploads"), network.count("/parts")) == (1, 11)  # one part was refused
    assert client.files.content(file.id).content == CONTENT


def test_a_file_whose_last_answer_was_lost_is_found_and_not_put_together_twice(client, network):
    network.after = lambda call: failing() if call.endswith("/complete") else None
    file = upload_in_parts(client, CONTENT, "rows.jsonl", part_bytes=PART)
    assert [each.id for each in client.files.list()] == [file.id]
    assert client.files.content(file.id).content == CONTENT


def test_where_a_project_knows_no_uploads_the_dated_api_of_its_resource_takes_them(network):
    project = "/api/projects/p/openai/v1"
    missing = {"error": {"code": "404", "message": "Resource not found"}}
    network.before = lambda call: JSONResponse(missing, 404) if f"{project}/uploads" in call else None
    asked = []

    def note(request: object) -> None:
        asked.append((str(request.url), request.headers.get("api-key")))

    with TestClient(network) as http:
        http.event_hooks = {"request": [note]}
        url = f"https://my.services.ai.azure.com{project}/"
        client = OpenAI(base_url=url, api_key=KEY, http_client=http, max_retries=0)
        file = upload_in_parts(client, CONTENT, "rows.jsonl", part_bytes=5_000)
        assert client.files.content(file.id).content == CONTENT
    dated = [each for each in asked if "2025-04-01-preview" in each[0]]
    assert dated[0] == ("https://my.openai.azure.com/openai/uploads?api-version=2025-04-01-preview", KEY)
    assert len(dated) == 4  # announced, two parts, put together
    assert network.count(f"{project}/uploads") == 1


def test_somebody_who_signed_in_is_known_to_the_dated_api_by_the_token_and_sends_no_key(network):
    network.before = lambda call: JSONResponse({}, 404) if "/v1/uploads" in call else None
    asked = []

    def note(request: object) -> None:
        asked.append((request.headers.get("api-key"), request.headers["authorization"]))

    with TestClient(network) as http:
        http.event_hooks = {"request": [note]}
        url = "https://my.openai.azure.com/openai/v1/"
        client = OpenAI(base_url=url, api_key=lambda: KEY, http_client=http, max_retries=0)
        upload_in_parts(client, CONTENT, "rows.jsonl", part_bytes=5_000)
    assert set(asked) == {(None, f"Bearer {KEY}")}


def test_where_nobody_takes_parts_the_refusal_says_what_to_try(network):
    network.before = lambda call: JSONResponse({}, 404) if call.endswith("/uploads") else None
    with TestClient(network) as http:
        gateway = OpenAI(base_url=V1, api_key=KEY, http_client=http, max_retries=0)
        with pytest.raises(openai.NotFoundError) as refused:
            upload_in_parts(gateway, CONTENT, "rows.jsonl", part_bytes=5_000)
    (hint,) = refused.value.__notes__
    assert hint == (
        "Hint: this address takes no file in parts; connect to the resource's own address, or make the file "
        "smaller than 150 MB."
    )


# Over a network that loses one request in five


def test_a_network_that_loses_one_request_in_five_delays_and_doubles_nothing(home, low, monkeypatch):
    monkeypatch.setattr("workbench.training.jobs._WAITS", (0.0, 0.0, 0.0))
    network = Network(create_app(home / "service", KEY, workers=IdleWorkers()))
    # Every tenth request is lost on its way there, and the answer of every tenth on its way back.
    network.before = lambda call: failing(again=True) if len(network.calls) % 10 == 4 else None
    network.after = lambda call: failing(again=True) if len(network.calls) % 10 == 9 else None
    small = replace(ROWS, examples=ROWS.examples[:10])
    with TestClient(network) as http:
        client = OpenAI(base_url=V1, api_key=KEY, http_client=http, max_retries=5)
        started = [start(client, data, model="nano", seed=n) for n in range(4) for data in (ROWS, small)]
        jobs, files = list(client.fine_tuning.jobs.list()), list(client.files.list())
        assert client.files.content(started[0].training_file).content == ROWS.to_jsonl()
    assert len(network.calls) > 60
    assert {job.id for job in jobs} == {job.id for job in started}
    assert len(jobs) == 8
    assert len(files) == 2  # one in parts, one as a whole


# Killed in the middle

UPLOADING = """
import sys
from openai import OpenAI
from workbench.training.jobs import upload_in_parts
content = bytes(range(32, 127)) * 100
client = OpenAI(base_url=sys.argv[1], api_key=sys.argv[2])
print(upload_in_parts(client, content, "rows.jsonl", part_bytes=1_000).id)
"""


def test_an_upload_that_is_killed_in_the_middle_is_gone_on_with_by_the_next_process(network, home):
    network.before = lambda call: time.sleep(0.1) if call.endswith("/parts") else None
    config = uvicorn.Config(network, port=0, log_level="error", lifespan="on")
    with closing(config.bind_socket()) as socket:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([socket],))
        thread.start()
        address = f"http://127.0.0.1:{socket.getsockname()[1]}/openai/v1/"
        command = [sys.executable, "-c", UPLOADING, address, KEY]
        try:
            killed = subprocess.Popen(command, stdout=PIPE, text=True, cwd=ROOT)
            while network.count("/parts") < 4 and killed.poll() is None:
                time.sleep(0.01)
            killed.send_signal(signal.SIGKILL)
            assert killed.communicate()[0] == ""
            file_id = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
            with OpenAI(base_url=address, api_key=KEY) as client:
                assert client.files.content(file_id.strip()).content == CONTENT
                assert len(list(client.files.list())) == 1
        finally:
            server.should_exit = True
            thread.join()
    assert network.count("/uploads") == 1
    assert network.count("/parts") in (10, 11)  # the part that was on its way may be sent again
    assert states(home) == []


# The bytes


def test_a_byte_order_mark_stands_in_front_where_it_is_asked_for(client, monkeypatch):
    plain = client.files.content(start(client, ROWS, model="nano").training_file).content
    monkeypatch.setenv("WORKBENCH_BOM", "1")
    marked = client.files.content(start(client, ROWS, model="nano", seed=1).training_file).content
    assert (plain[:1], marked) == (b"{", b"\xef\xbb\xbf" + plain)


# A checkpoint for another resource

TO = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/other"


def test_a_copy_is_asked_for_as_documented_and_the_local_service_says_that_it_makes_none(network, home):
    bodies = []

    def taken(call: str) -> Response | None:
        return JSONResponse({"status": "accepted"}) if call.endswith("/copy") else None

    def note(request: object) -> None:
        if request.url.path.endswith("/copy"):
            bodies.append((request.headers, request.content))

    network.before = taken
    with TestClient(network) as http:
        http.event_hooks = {"request": [note]}
        url = "https://my.openai.azure.com/openai/v1/"
        azure = OpenAI(base_url=url, api_key=KEY, http_client=http, max_retries=2)
        said = copy_checkpoint(azure, "ftjob-1", "ftchkpt-2", destination=TO, region="westus3")
        assert said == {"status": "accepted"}
        assert network.calls == ["POST /openai/v1/fine_tuning/jobs/ftjob-1/checkpoints/ftchkpt-2/copy"]
        ((headers, body),) = bodies
        assert headers["aoai-copy-ft-checkpoints"] == "preview"
        assert json.loads(body) == {"destinationResourceId": TO, "region": "westus3"}
        network.before = lambda call: None
        local = OpenAI(base_url=V1, api_key=KEY, http_client=http, max_retries=2)
        job, store = start(local, ROWS, model="nano"), Store(home / "service")
        folder = store.checkpoints.folder(job.id, 5)
        folder.mkdir(parents=True)
        store.checkpoints.add(job.id, 5, "nano.ft-1", {"train_loss": 1.0}, folder)
        network.calls.clear()
        with pytest.raises(openai.InternalServerError, match="a single resource: it copies nowhere") as none:
            copy_checkpoint(local, job, "nano.ft-1", destination=TO, region="westus3")
        assert (none.value.status_code, len(network.calls)) == (501, 1)


def test_a_destination_that_is_none_is_refused_before_anything_is_sent(client, network):
    with pytest.raises(DataError, match="'other' is no resource: give its id as the Azure portal shows it"):
        copy_checkpoint(client, "ftjob-1", "ftchkpt-2", destination="other", region="westus3")
    elsewhere = OpenAI(base_url="https://api.openai.com/v1/", api_key=KEY)
    with pytest.raises(SetupError, match="openai copies no checkpoints"):
        copy_checkpoint(elsewhere, "ftjob-1", "ftchkpt-2", destination=TO, region="westus3")
    assert network.calls == []
