"""Starting a job once and only once, finding it again, and following it through everything."""

import base64
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from subprocess import PIPE

import openai
import pytest
import uvicorn
from job_specs import spec, start
from openai import AzureOpenAI, OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError, SetupError
from workbench.evaluation.graders.ready_made import grader
from workbench.local.api.app import create_app
from workbench.project import open_project
from workbench.settings import ROOT
from workbench.training.follow import follow, kept_checkpoints
from workbench.training.jobs import find_job

pytestmark = pytest.mark.usefixtures("home")

LOCAL = "http://127.0.0.1:8123/openai/v1/"
AZURE = "https://my-resource.openai.azure.com/openai/v1/"
OPENAI = "https://api.openai.com/v1/"


def dataset(name: str, size: int = 12) -> Dataset:
    rows = ((f"How many dogs in {name} {number}?", f"count dogs {number}") for number in range(size))
    return Dataset(
        name,
        tuple(
            Example(
                ({"role": "user", "content": question}, {"role": "assistant", "content": answer}),
                f"{name}.csv:{number}",
            )
            for number, (question, answer) in enumerate(rows, start=2)
        ),
    )


DOGS, CATS = dataset("dogs"), dataset("cats")
PAIRS = Dataset(
    "pairs",
    tuple(
        Example(
            ({"role": "user", "content": f"Dog {number}?"},),
            f"pairs:{number}",
            {
                "preferred_output": [{"role": "assistant", "content": "Yes."}],
                "non_preferred_output": [{"role": "assistant", "content": "No."}],
            },
        )
        for number in range(12)
    ),
)


class Idle:
    """Workers of the local service that leave every job pending."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def wake(self) -> None: ...


class Service:
    """A service in Azure's dialect whose jobs do what a test says, and which remembers its requests."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.created: list[dict[str, object]] = []  # the bodies
        self.jobs: dict[str, dict[str, object]] = {}
        self.files: dict[str, tuple[str, bytes]] = {}
        self.events: list[dict[str, object]] = []  # newest first, as the wire has them
        self.results: bytes | None = None
        self.on_retrieve: Iterator[object] = iter(())  # callables and answers, one for each look at a job
        self.on_create: Callable[[], Response | None] = lambda: None
        self.lock = threading.Lock()

    def client(self, base_url: str = LOCAL) -> OpenAI:
        return OpenAI(base_url=base_url, api_key="secret", http_client=TestClient(self.app()), max_retries=0)

    def app(self) -> Starlette:
        routes = [
            Route("/models", self.models),
            Route("/files", self.files_, methods=["GET", "POST"]),
            Route("/files/{id}", self.file),
            Route("/files/{id}/content", self.content),
            Route("/fine_tuning/jobs", self.jobs_, methods=["GET", "POST"]),
            Route("/fine_tuning/jobs/{id}", self.job),
            Route("/fine_tuning/jobs/{id}/events", self.events_),
            Route("/fine_tuning/jobs/{id}/checkpoints", self.checkpoints),
        ]
        return Starlette(
            routes=[
                Route(prefix + route.path, route.endpoint, methods=route.methods)
                for prefix in ("/openai/v1", "/openai", "/v1")
                for route in routes
            ]
        )

    async def models(self, request: Request) -> Response:
        self.requests.append(request)
        data = [{"id": name, "object": "model"} for name in ("nano", "m", "other")]
        return JSONResponse({"object": "list", "data": data, "has_more": False})

    async def files_(self, request: Request) -> Response:
        self.requests.append(request)
        if request.method == "POST":
            form = await request.form()
            upload = form["file"]
            self.files[f"file-{len(self.files)}"] = (upload.filename, await upload.read())
            await form.close()
            return JSONResponse(self.listed(f"file-{len(self.files) - 1}"))
        return JSONResponse(
            {"object": "list", "data": [self.listed(id) for id in self.files], "has_more": False}
        )

    def listed(self, id: str) -> dict[str, object]:
        name, content = self.files[id]
        return {
            "id": id,
            "filename": name,
            "bytes": len(content),
            "object": "file",
            "created_at": 1,
            "purpose": "fine-tune",
            "status": "processed",
        }

    async def file(self, request: Request) -> Response:
        if request.path_params["id"] in self.files:
            return JSONResponse(self.listed(request.path_params["id"]))
        if self.results is None:
            return missing()
        return JSONResponse(
            {"id": "file-r", "bytes": len(self.results), "filename": "results.csv", "object": "file"}
        )

    async def content(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(self.results, media_type="application/octet-stream")

    async def jobs_(self, request: Request) -> Response:
        self.requests.append(request)
        if request.method == "GET":
            newest_first = list(reversed(self.jobs.values()))
            return JSONResponse({"object": "list", "data": newest_first, "has_more": False})
        body = json.loads(await request.body())
        self.created.append(body)
        if refusal := self.on_create():
            return refusal
        id = f"ftjob-{len(self.jobs)}"
        self.jobs[id] = job(id, metadata=body["metadata"], model=body["model"])
        return self.on_created() or JSONResponse(self.jobs[id], 201)

    def on_created(self) -> Response | None:
        return None

    async def job(self, request: Request) -> Response:
        self.requests.append(request)
        step = next(self.on_retrieve, None)
        if isinstance(step, Response):
            return step
        if callable(step):
            step()
        id = request.path_params["id"]
        return JSONResponse(self.jobs[id]) if id in self.jobs else missing()

    async def events_(self, request: Request) -> Response:
        self.requests.append(request)
        after, limit = request.query_params.get("after"), 3  # pages of three, however many are asked for
        ids = [event["id"] for event in self.events]
        begin = ids.index(after) + 1 if after else 0
        page = self.events[begin : begin + limit]
        return JSONResponse({"object": "list", "data": page, "has_more": begin + limit < len(ids)})

    async def checkpoints(self, request: Request) -> Response:
        data = [
            {
                "id": f"ftchkpt-{step}",
                "step_number": step,
                "fine_tuned_model_checkpoint": f"m:ckpt-step-{step}",
            }
            for step in (90, 60, 30)
        ]
        return JSONResponse({"object": "list", "data": data, "has_more": False})

    # What a test does to a job

    def say(self, *messages: str) -> None:
        for message in messages:
            id = f"ftevent-{len(self.events)}"
            self.events.insert(
                0, {"id": id, "created_at": 1, "level": "info", "message": message, "type": "message"}
            )

    def becomes(self, status: str, *messages: str, results: bytes | None = None) -> Callable[[], None]:
        def change() -> None:
            self.say(*messages)
            self.jobs["ftjob-0"]["status"] = status
            if results is not None:
                self.results = results
                self.jobs["ftjob-0"]["result_files"] = ["file-r"]

        return change

    def paths(self) -> list[str]:
        return [
            f"{request.method} {request.url.path.removeprefix('/openai/v1')}" for request in self.requests
        ]


def job(id: str, **fields: object) -> dict[str, object]:
    return {
        "id": id,
        "object": "fine_tuning.job",
        "created_at": 1,
        "status": "pending",
        "model": "nano",
        "seed": 0,
        "training_file": "file-0",
        "hyperparameters": {"n_epochs": -1},
        **fields,
    }


def missing() -> Response:
    return JSONResponse({"error": {"code": "notFound", "message": "The resource is not found."}}, 404)


@pytest.fixture
def service() -> Service:
    return Service()


# Starting


def test_the_request_is_what_the_api_documents(service):
    started = start(service.client(), DOGS, model="nano", validation=CATS, n_epochs=3, seed=7, suffix="gql")
    assert (started.id, started.status) == ("ftjob-0", "pending")
    (body,) = service.created
    assert len(body["metadata"].pop("workbench_content")) == 64
    assert body == {
        "model": "nano",
        "training_file": "file-0",
        "validation_file": "file-1",
        "method": {
            "type": "supervised",
            "supervised": {
                "hyperparameters": {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": "auto"}
            },
        },
        "seed": 7,
        "suffix": "gql",
        "metadata": {},
    }


def test_the_files_hold_the_data_byte_for_byte_and_their_hash_in_the_name(service):
    start(service.client(), DOGS, model="nano", validation=CATS)
    assert list(service.files.values()) == [
        (f"train-{DOGS.sha256[:12]}.jsonl", DOGS.to_jsonl()),
        (f"validation-{CATS.sha256[:12]}.jsonl", CATS.to_jsonl()),
    ]


@pytest.mark.parametrize(
    ("base_url", "training_type", "sent"),
    [
        (AZURE, None, "globalStandard"),
        (AZURE, "developerTier", "developerTier"),
        (LOCAL, None, None),
        (LOCAL, "Standard", "Standard"),
        (OPENAI, None, None),
    ],
)
def test_the_training_type_travels_where_it_is_known(service, base_url, training_type, sent):
    start(service.client(base_url), DOGS, model="m", training_type=training_type)
    assert service.created[0].get("trainingType") == sent


def test_the_dated_azure_api_takes_the_same_request(service):
    client = AzureOpenAI(
        azure_endpoint="https://my-resource.openai.azure.com",
        api_version="2025-04-01-preview",
        api_key="secret",
        http_client=TestClient(service.app()),
        max_retries=0,
    )
    assert start(client, DOGS, model="m").id == "ftjob-0"
    assert service.created[0]["trainingType"] == "globalStandard"
    assert {request.headers["api-key"] for request in service.requests} == {"secret"}
    assert {request.query_params["api-version"] for request in service.requests} == {"2025-04-01-preview"}


def test_a_grader_goes_with_the_job_where_it_is_understood(service):
    start(service.client(), DOGS, model="nano", validation=CATS, grader=grader("exact"))
    assert service.created[0]["method"]["supervised"]["grader"] == grader("exact")
    with pytest.raises(SetupError, match="azure takes no grader in a supervised job: leave it out"):
        start(service.client(AZURE), DOGS, model="m", grader=grader("exact"))


def test_too_few_examples_are_refused_before_anything_is_sent(service):
    with pytest.raises(SetupError, match=r"nothing was uploaded\. 9 examples, and a job needs at least 10"):
        start(service.client(), dataset("few", 9), model="nano")
    assert {path.partition(" ")[0] for path in service.paths()} == {"GET"}


@pytest.mark.parametrize("suffix", ["", "a.b", "ü", "x" * 41])
def test_a_suffix_that_cannot_be_is_refused(service, suffix):
    with pytest.raises(SetupError, match="cannot be a suffix: use up to 40 letters"):
        start(service.client(), DOGS, model="nano", suffix=suffix)


def test_a_misleading_refusal_gets_a_hint_and_keeps_its_text(service):
    text = "The specified base model does not support fine-tuning"
    service.on_create = lambda: JSONResponse({"error": {"code": "invalidPayload", "message": text}}, 400)
    with pytest.raises(openai.BadRequestError, match=text) as caught:
        start(service.client(AZURE), DOGS, model="my-deployment")
    (hint,) = caught.value.__notes__
    assert "trainingType is not (this request: globalStandard" in hint
    assert "a deployment's name" in hint
    with pytest.raises(openai.BadRequestError) as caught:
        start(service.client(), DOGS, model="nano")
    assert not hasattr(caught.value, "__notes__")  # the local service means what it says


def test_preference_pairs_are_trained_by_preference(service):
    start(service.client(AZURE), PAIRS, model="gpt-4.1", hyperparameters={"beta": 0.1})
    knobs = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto", "beta": 0.1}
    assert service.created[0]["method"] == {"type": "dpo", "dpo": {"hyperparameters": knobs}}


def test_a_file_that_the_service_cannot_use_is_told_with_the_likely_cause(service):
    service.listed = lambda id: {
        **Service.listed(service, id),
        "status": "error",
        "status_details": "Validation of jsonl file failed: No valid json line found in file.",
    }
    with pytest.raises(DataError, match=r"No valid json line found in file\. Hint: .* prompt/completion"):
        start(service.client(AZURE), DOGS, model="m")


# Finding


def test_projects_of_earlier_versions_find_their_jobs_by_the_same_content():
    assert spec(DOGS, model="nano").content == (
        "4962ba99fbf5c2bcc371952a8083a1a0f7aae1b278724e4b1c5808ea8b9f1a6c"
    )
    chosen = {"n_epochs": 3, "learning_rate_multiplier": 0.5, "batch_size": None}
    graded = spec(DOGS, validation=CATS, model="nano", seed=7, grader=grader("exact"), **chosen)
    assert graded.content == "591bb40daf29db7ee2ce5ac791e024639f98e72615f7a3013bc4d7f7474e65eb"
    assert replace(graded, suffix="x", training_type="Standard").content == graded.content
    assert spec(PAIRS, model="gpt-4.1", beta=0.1).content == (
        "892b70ff710b0e0d9d803dc14d1136f9caf1ff51ab2c548b1713c1487bc9f211"
    )


def test_the_same_content_is_started_once(service):
    gql = open_project("gql")
    first = start(service.client(), DOGS, model="nano", validation=CATS, project=gql)
    again = start(service.client(), DOGS, model="nano", validation=CATS, project=gql, suffix="other-name")
    assert (first.id, again.id, len(service.created)) == ("ftjob-0", "ftjob-0", 1)
    assert len(gql.entries("job")) == 1


def test_the_record_says_what_the_job_is_made_of(service):
    gql = open_project("gql")
    start(service.client(), DOGS, model="nano", validation=CATS, n_epochs=2, project=gql)
    facts = dict(gql.latest("job").facts)
    assert facts.pop("content") == service.created[0]["metadata"]["workbench_content"]
    assert facts == {
        "job_id": "ftjob-0",
        "model": "nano",
        "provider": "local",
        "endpoint": "127.0.0.1:8123",
        "training_sha256": DOGS.sha256,
        "validation_sha256": CATS.sha256,
        "training_examples": 12,
        "hyperparameters": {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": "auto"},
        "seed": 0,
        "estimated_usd": 0,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"n_epochs": 4},
        {"batch_size": 2},
        {"learning_rate_multiplier": 0.5},
        {"seed": 1},
        {"validation": None},
        {"dataset": CATS},
        {"grader": grader("exact")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_other_content_is_another_job(service, change):
    same = {"dataset": DOGS, "model": "nano", "validation": CATS}
    for arguments in (same, same | change):
        start(
            service.client(), arguments["dataset"], **{k: v for k, v in arguments.items() if k != "dataset"}
        )
    assert len(service.created) == 2


def test_a_job_is_found_on_the_service_when_the_record_is_lost(service):
    started = start(service.client(), DOGS, model="nano")
    gql = open_project("gql")
    assert start(service.client(), DOGS, model="nano", project=gql).id == started.id
    assert gql.latest("job").facts["job_id"] == "ftjob-0"
    assert find_job(service.client(), started.metadata["workbench_content"]).id == "ftjob-0"
    assert find_job(service.client(), "0" * 64) is None


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_job_that_came_to_nothing_is_started_anew(service, status):
    gql = open_project("gql")
    start(service.client(), DOGS, model="nano", project=gql)
    service.jobs["ftjob-0"]["status"] = status
    assert start(service.client(), DOGS, model="nano", project=gql).id == "ftjob-1"
    assert [entry.facts["job_id"] for entry in gql.entries("job")] == ["ftjob-0", "ftjob-1"]


def test_a_job_that_the_service_has_forgotten_is_started_anew(service):
    gql = open_project("gql")
    start(service.client(), DOGS, model="nano", project=gql)
    other = Service()
    assert start(other.client(), DOGS, model="nano", project=gql).id == "ftjob-0"
    assert len(other.created) == 1


def test_a_recorded_job_of_one_service_is_not_looked_for_on_another(service):
    gql = open_project("gql")
    start(service.client(), DOGS, model="m", project=gql)
    azure = Service()
    start(azure.client(AZURE), DOGS, model="m", project=gql)
    assert "GET /fine_tuning/jobs/ftjob-0" not in azure.paths()
    assert len(azure.created) == 1


def test_the_same_data_is_not_uploaded_twice(service):
    start(service.client(), DOGS, model="nano", validation=CATS)
    start(service.client(), DOGS, model="nano", validation=CATS, seed=1)
    assert service.paths().count("POST /files") == 2
    assert service.created[0]["training_file"] == service.created[1]["training_file"]


def test_a_job_whose_answer_was_lost_is_found_and_not_sent_again(service):
    service.on_created = lambda: JSONResponse({"error": {"message": "gateway"}}, 502)
    assert start(service.client(), DOGS, model="nano").id == "ftjob-0"
    assert len(service.created) == 1


def test_a_service_that_fails_for_good_says_so_itself(service):
    service.on_create = lambda: JSONResponse({"error": {"message": "down"}}, 500)
    with pytest.raises(openai.InternalServerError, match="down"):
        start(service.client(), DOGS, model="nano")


def test_two_kernels_that_start_at_once_share_one_job(service):
    def launch(_: int) -> str:
        return start(service.client(), DOGS, model="nano", project=open_project("gql")).id

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(launch, range(4))) == {"ftjob-0"}
    assert len(service.created) == 1
    assert len(open_project("gql").entries("job")) == 1


STARTING = """
import sys
from openai import OpenAI
from workbench import Dataset, Example, JobSpec, launch, open_project

rows = [({"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}."}) for n in range(12)]
data = Dataset("rows", tuple(Example(row, f"rows:{n}") for n, row in enumerate(rows)))
client = OpenAI(base_url=sys.argv[1], api_key="key", max_retries=0)
print("ready", flush=True)
sys.stdin.readline()
print(launch(client, JobSpec(data, "nano"), project=open_project(sys.argv[2])).id)
"""


@pytest.fixture
def address(home: Path) -> Iterator[str]:
    """Where the real local service answers, which lets jobs wait."""
    config = uvicorn.Config(create_app(home / "service", "key", workers=Idle()), port=0, log_level="error")
    with closing(config.bind_socket()) as socket:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([socket],))
        thread.start()
        yield f"http://127.0.0.1:{socket.getsockname()[1]}/openai/v1/"
        server.should_exit = True
        thread.join()


def kernel(address: str, project: str) -> "subprocess.Popen[str]":
    """A process that starts the job as soon as it is told to go."""
    command = [sys.executable, "-c", STARTING, address, project]
    process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "ready\n"
    return process


def jobs_at(address: str) -> list[str]:
    with OpenAI(base_url=address, api_key="key") as client:
        return [job.id for job in client.fine_tuning.jobs.list()]


@pytest.mark.parametrize("projects", [("gql", "gql"), ("gql", "another")], ids=["one", "two projects"])
def test_two_processes_that_start_at_once_share_one_job_on_the_real_service(address, projects):
    kernels = [kernel(address, project) for project in projects]
    for each in kernels:
        each.stdin.write("go\n")
        each.stdin.flush()
    told = [each.communicate(timeout=60)[0].strip() for each in kernels]
    assert jobs_at(address) == [told[0]] == [told[1]]
    for project in projects:
        assert [entry.facts["job_id"] for entry in open_project(project).entries("job")] == [told[0]]


def test_a_kernel_that_is_killed_at_any_moment_leaves_one_job_to_be_found_again(address):
    for milliseconds in (5, 20, 40, 60, 80, 120, 200):
        killed = kernel(address, "gql")
        with contextlib.suppress(subprocess.TimeoutExpired):
            killed.communicate("go\n", timeout=milliseconds / 1000)
        killed.kill()
        killed.communicate()
    last = kernel(address, "gql").communicate("go\n", timeout=60)[0].strip()
    assert jobs_at(address) == [last]
    assert [entry.facts["job_id"] for entry in open_project("gql").entries("job")] == [last]


# Following


FIRST_ROW = b"step,train_loss,full_valid_loss\n1,2.0,\n"
CSV = FIRST_ROW + b"2,1.0,1.5\n"


@pytest.fixture
def running(service: Service) -> Service:
    """A job that is queued at the first look, trains at the next two, and has ended at the fourth."""
    service.jobs["ftjob-0"] = job("ftjob-0")
    service.on_retrieve = iter(
        (
            service.becomes("pending", "Job enqueued."),
            service.becomes("running", "Job started.", "Step 1: training loss=2.0", results=FIRST_ROW),
            service.becomes("running", results=CSV),
            service.becomes("running"),
            service.becomes("succeeded", "Job succeeded.", "Training tokens billed: 1000"),
        )
    )
    return service


def test_following_yields_what_is_new_and_ends_with_the_job(running):
    seen = list(follow(running.client(), "ftjob-0", poll_seconds=0))
    assert [(look.job.status, look.curve.steps, len(look.events)) for look in seen] == [
        ("pending", 0, 1),
        ("running", 1, 3),
        ("running", 2, 3),
        ("succeeded", 2, 5),
    ]
    assert [look.ended for look in seen] == [False, False, False, True]
    assert [event.message for event in seen[-1].events] == [
        "Job enqueued.",
        "Job started.",
        "Step 1: training loss=2.0",
        "Job succeeded.",
        "Training tokens billed: 1000",
    ]
    assert seen[-1].curve.final == {"train_loss": 1.0, "full_valid_loss": 1.5}
    assert repr(seen[-1]).startswith("ftjob-0: succeeded\n2 steps")


def test_a_look_is_one_request_each_for_job_and_events(running):
    progress = follow(running.client(), "ftjob-0", poll_seconds=0)
    next(progress)
    assert running.paths() == ["GET /fine_tuning/jobs/ftjob-0", "GET /fine_tuning/jobs/ftjob-0/events"]


def test_the_result_file_is_read_only_when_it_has_grown(running):
    list(follow(running.client(), "ftjob-0", poll_seconds=0))
    assert running.paths().count("GET /files/file-r/content") == 2


def test_only_new_events_are_read(service):
    service.jobs["ftjob-0"] = job("ftjob-0", status="running")
    service.say(*(f"Step {step}: training loss={1 / step}" for step in range(1, 9)))
    service.on_retrieve = iter(
        (None, lambda: service.say("Step 9: training loss=0.1"), service.becomes("succeeded"))
    )
    looks = follow(service.client(), "ftjob-0", poll_seconds=0)
    assert len(next(looks).events) == 8
    assert service.paths().count("GET /fine_tuning/jobs/ftjob-0/events") == 3  # pages of three
    assert next(looks).curve.steps == 9
    assert service.paths().count("GET /fine_tuning/jobs/ftjob-0/events") == 4


def test_looking_once_at_a_job_that_has_ended_is_enough(service):
    service.jobs["ftjob-0"] = job("ftjob-0", status="failed", error={"code": "x", "message": "bad data"})
    (only,) = follow(service.client(), "ftjob-0")
    assert (only.job.error.message, only.ended) == ("bad data", True)


def test_whoever_stops_to_follow_can_follow_on_by_the_id(running):
    first = follow(running.client(), "ftjob-0", poll_seconds=0)
    list(islice(first, 2))
    with pytest.raises(KeyboardInterrupt):
        first.throw(KeyboardInterrupt)
    *_, last = follow(running.client(), "ftjob-0", poll_seconds=0)
    assert (last.job.status, last.curve.steps, len(last.events)) == ("succeeded", 2, 5)


def test_following_outlasts_a_service_that_restarts_or_is_busy(running):
    busy = [JSONResponse({"error": {"message": "later"}}, status) for status in (503, 429, 500)]
    script = list(running.on_retrieve)
    running.on_retrieve = iter([*busy, script[0], *busy, *script[1:]])
    assert [look.job.status for look in follow(running.client(), "ftjob-0", poll_seconds=0)] == [
        "pending",
        "running",
        "running",
        "succeeded",
    ]


def test_a_service_that_stays_away_is_told_after_the_patience(running):
    running.on_retrieve = iter([JSONResponse({"error": {"message": "down"}}, 503)] * 9)
    with pytest.raises(SetupError, match=r"No answer from 127\.0\.0\.1:8123 for 0 s\. Job ftjob-0 goes on"):
        next(follow(running.client(), "ftjob-0", poll_seconds=0, patience_seconds=0))


def test_a_job_that_nobody_knows_is_the_services_own_error(service):
    with pytest.raises(openai.NotFoundError, match="The resource is not found"):
        next(follow(service.client(), "ftjob-9"))


@pytest.mark.parametrize("results", [None, b"", b"step,train_loss\n"], ids=["announced", "empty", "header"])
def test_a_result_file_without_numbers_leaves_the_events_to_tell(service, results):
    service.jobs["ftjob-0"] = job("ftjob-0", status="succeeded", result_files=["file-r"])
    service.results = results
    service.say("Step 1: training loss=2.0")
    (only,) = follow(service.client(), "ftjob-0")
    assert only.curve.final == {"train_loss": 2.0}


def test_a_result_file_in_base64_is_read_like_any_other(service):
    service.jobs["ftjob-0"] = job("ftjob-0", status="succeeded", result_files=["file-r"])
    service.results = base64.b64encode(CSV)
    (only,) = follow(service.client(OPENAI), "ftjob-0")
    assert only.curve.steps == 2


def test_checkpoints_are_the_services_own_newest_first(service):
    service.jobs["ftjob-0"] = job("ftjob-0", status="succeeded")
    assert kept_checkpoints(service.client(), "ftjob-0").steps == [90, 60, 30]
