"""What the SDKs send to Azure: by method, model and tier, and on a network that loses one in five."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from control_plane import management
from echo_service import EchoWorkers, Watch, client_of, tune
from idle_service import KEY
from openai import OpenAI
from requests.exceptions import ConnectionError as LostRequest
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.connect import connect
from workbench.dataset.dataset import Dataset, Example
from workbench.deploy import deploy, deployments, follow, plan_deployment, remove
from workbench.local.api.app import create_app
from workbench.local.emulation import Emulation
from workbench.project import Project
from workbench.training.jobs import start_or_find
from workbench.training.spec import JobSpec

MINI, REASONING, OPEN = "gpt-4.1-mini-2025-04-14", "o4-mini-2025-04-16", "gpt-oss-20b"
TUNED = "nano.ft-0123456789abcdef0123456789abcdef"
EXACT = {
    "type": "string_check",
    "name": "exact",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
}
AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}


class Wire:
    """Lies between the SDKs and the service: keeps every request, has nano serve each model, loses some."""

    def __init__(self, service: ASGIApp) -> None:
        self.service = service
        self.sent: list[tuple[str, str, dict[str, str], bytes]] = []
        self.lose_every, self.lost = 0, {"question": 0, "answer": 0}

    def bodies(self, method: str, end: str) -> list[dict[str, object]]:
        """What was sent to addresses that end so, as JSON."""
        return [
            json.loads(body) for verb, path, _, body in self.sent if verb == method and path.endswith(end)
        ]

    def count(self, method: str, end: str) -> int:
        """How often such a request was sent."""
        return sum(verb == method and path.endswith(end) for verb, path, *_ in self.sent)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.service(scope, receive, send)
            return
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.sent.append((scope["method"], scope["path"], headers, body))
        losing = bool(self.lose_every) and len(self.sent) % self.lose_every == 0
        if losing and sum(self.lost.values()) % 2:
            self.lost["question"] += 1
            raise _lost(scope["path"])
        for name in (MINI, REASONING, OPEN):
            body = body.replace(b'"%s"' % name.encode(), b'"nano"')
        size = str(len(body)).encode()
        scope["headers"] = [
            (name, size if name == b"content-length" else value) for name, value in scope["headers"]
        ]
        await self.service(scope, _once(body), _nowhere if losing else send)
        if losing:
            self.lost["answer"] += 1
            raise _lost(scope["path"])


def _lost(path: str) -> Exception:
    """What a broken connection raises in the SDK that asked."""
    return httpx2.ReadError("Lost.") if path.startswith("/openai") else LostRequest("Lost.")


def _once(body: bytes) -> Receive:
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return left.pop() if left else {"type": "http.disconnect"}

    return receive


async def _nowhere(_: Message) -> None:
    pass


class Azure:
    """A strict service behind a wire, with the clients that ``connect`` gives."""

    def __init__(self, wire: Wire, http: TestClient, watch: Watch) -> None:
        self.wire, self.watch = wire, watch
        # Retries as everywhere; none of the answers is lost but by the wire.
        self.management = management(http, watch, lose_every=10**9)
        self.client: OpenAI = connect(
            "azure", client=client_of(http, max_retries=2), management=self.management
        )


@contextmanager
def azure_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Azure]:
    watch = Watch()
    monkeypatch.setattr(time, "sleep", lambda seconds: setattr(watch, "now", watch.now + seconds))
    tune(home, TUNED)
    emulation = Emulation(strict=True, quota="azure", clock=watch.clock())
    wire = Wire(create_app(home, KEY, workers=EchoWorkers(), emulation=emulation))
    with TestClient(wire) as http:
        yield Azure(wire, http, watch)


@pytest.fixture
def azure(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Azure]:
    with azure_of(home, monkeypatch) as made:
        yield made


def rows(name: str, **last: object) -> Dataset:
    """Twelve examples; without a last message they are prompts."""
    answer = {"role": "assistant", "content": "Yes."}
    made = []
    for number in range(12):
        asked = {"role": "user", "content": f"{name} {number}?"}
        made.append(Example((asked,) if last else (asked, answer), f"{name}:{number}", dict(last)))
    return Dataset(name, tuple(made))


PAIR = {
    "preferred_output": [{"role": "assistant", "content": "Yes."}],
    "non_preferred_output": [{"role": "assistant", "content": "No."}],
}
SPECS = {
    "supervised": JobSpec(rows("asked"), MINI, rows("held out"), suffix="gql"),
    "dpo": JobSpec(rows("asked", **PAIR), MINI, rows("held out", **PAIR), hyperparameters={"beta": 0.2}),
    "reinforcement": JobSpec(
        rows("asked", answer="Yes."),
        REASONING,
        rows("held out", answer="Yes."),
        method="reinforcement",
        grader=EXACT,
        hyperparameters={"reasoning_effort": "low"},
    ),
}
# The field method of each job as the API documents it: "auto" is what the service chooses.
METHOD_SENT = {
    "supervised": {"hyperparameters": AUTO},
    "dpo": {"hyperparameters": AUTO | {"beta": 0.2}},
    "reinforcement": {"grader": EXACT, "hyperparameters": AUTO | {"reasoning_effort": "low"}},
}


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize(
    ("tier", "sent"),
    [("Standard", "Standard"), ("Global", "globalStandard"), ("Developer", "developerTier")],
)
def test_each_method_in_each_tier_is_asked_for_as_documented(azure: Azure, kind: str, tier: str, sent: str):
    spec = SPECS[kind]
    asked = JobSpec(
        **{name: getattr(spec, name) for name in spec.__dataclass_fields__} | {"training_type": tier}
    )
    job = start_or_find(azure.client, asked)
    (body,) = azure.wire.bodies("POST", "/fine_tuning/jobs")
    files = [file.id for file in azure.client.files.list(order="asc")]
    assert len(body["metadata"].pop("workbench_content")) == 64
    assert body == {
        "model": spec.model,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "method": {"type": kind, kind: METHOD_SENT[kind]},
        "seed": 0,
        "metadata": {},
        "trainingType": sent,
    } | ({"suffix": "gql"} if kind == "supervised" else {})
    assert sorted(files) == sorted([job.training_file, job.validation_file])


def test_an_open_weight_model_is_trained_globally_whatever_is_left_out(azure: Azure):
    start_or_find(azure.client, JobSpec(rows("asked"), OPEN))
    (body,) = azure.wire.bodies("POST", "/fine_tuning/jobs")
    assert (body["model"], body["trainingType"]) == ("gpt-oss-20b", "globalStandard")
    assert body["method"] == {"type": "supervised", "supervised": {"hyperparameters": AUTO}}
    assert "validation_file" not in body


def test_a_file_is_sent_as_a_form_with_its_purpose_and_whole(azure: Azure):
    start_or_find(azure.client, SPECS["supervised"])
    forms = [
        (head, body) for verb, path, head, body in azure.wire.sent if (verb, path[-6:]) == ("POST", "/files")
    ]
    assert len(forms) == 2
    head, body = forms[0]
    assert head["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="purpose"\r\n\r\nfine-tune\r\n' in body
    assert SPECS["supervised"].training.to_jsonl() in body


@pytest.mark.parametrize("sku", ["Standard", "GlobalStandard", "DeveloperTier"])
def test_a_tuned_model_is_deployed_in_each_tier_by_one_put_of_the_documented_body(azure: Azure, sku: str):
    plan = plan_deployment(azure.client, TUNED, sku=sku, name="live", capacity=7)
    deploy(azure.client, plan, agreed=True)
    (body,) = azure.wire.bodies("PUT", "/deployments/live")
    assert body == {
        "sku": {"name": sku, "capacity": 7},
        "properties": {"model": {"format": "OpenAI", "name": TUNED, "version": "1"}},
        "tags": {"made-by": "fine-tuning-workbench"},
    }


def test_the_key_of_the_control_plane_and_of_the_data_plane_travel_in_their_headers_only(azure: Azure):
    start_or_find(azure.client, SPECS["supervised"])
    deploy(azure.client, plan_deployment(azure.client, TUNED))
    assert {head["authorization"] for _, _, head, _ in azure.wire.sent} == {f"Bearer {KEY}"}
    assert [path for _, path, _, body in azure.wire.sent if KEY.encode() in path.encode() + body] == []


@pytest.mark.parametrize("already_sent", range(5))
def test_one_request_lost_in_five_delays_and_neither_doubles_nor_loses_anything(
    azure: Azure, already_sent: int, tmp_path: Path
):
    project = Project("gql", tmp_path / "project")
    for _ in range(already_sent):  # the losses then hit other requests
        azure.client.models.list()
    azure.wire.lose_every = 5
    jobs = [start_or_find(azure.client, spec, project=project).id for spec in SPECS.values()]
    plan = plan_deployment(azure.client, TUNED, sku="GlobalStandard", project=project)
    begun = deploy(azure.client, plan, project=project, agreed=True)
    *_, ready = follow(azure.client, begun, project=project)
    azure.wire.lose_every = 0
    assert azure.wire.lost["question"] + azure.wire.lost["answer"] >= 5
    assert len(set(jobs)) == 3
    there = [job.id for job in azure.client.fine_tuning.jobs.list() if job.metadata]
    assert sorted(there) == sorted(jobs)  # beside the one that TUNED came from
    assert len(list(azure.client.files.list())) == 6
    assert [entry.facts["job_id"] for entry in project.entries("job")] == jobs
    assert [one.name for one in deployments(azure.client)] == [ready.name]
    assert remove(azure.client, ready.name, project=project) is True
    record = (project.path / "record.jsonl").read_text()
    assert KEY not in record
    assert "my-subscription" not in record
