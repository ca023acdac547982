"""The service keeps the contract: its answers held to OpenAI's schemas, its calls made by OpenAI's client.

What Azure answers otherwise stands in ``AZURE``, what is otherwise at plain ``/v1/`` in ``OPENAI``, a reason
each; nothing else is excused.
"""

import functools
import inspect
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import openai
import pytest
from api_description import closed, description, rewritten, schema
from echo_service import ROOT, EchoWorkers
from idle_service import KEY
from jsonschema import Draft202012Validator, ValidationError
from openai import AzureOpenAI, OpenAI
from openai._resource import SyncAPIResource
from openai.types import Upload
from openai.types.uploads import UploadPart
from starlette.testclient import TestClient
from unbroken import EXACT, V1, one_of_each

from workbench.local.api.app import create_app
from workbench.local.chat_protocol import ChatRequest, Choice, Completion, Delta, Likelihood, ToolCall
from workbench.local.emulation import Emulation
from workbench.local.store.store import Store

DOCUMENT = description()
CLOSED = rewritten(DOCUMENT, closed)

NO_VALUE = "Azure leaves a field without value out"
AUTO = "Azure's auto, until the service has chosen"
OWN_GRADER = "this service's own: held-out answers graded while the job trains"
MORE_OF_A_MODEL = "Azure tells more of a model"
ENDS = "Azure's lists do not tell their ends"
HYPERPARAMETERS = ("hyperparameters", "method.supervised.hyperparameters")
# Where an answer is not as the description says: the schema, the place in it, what stands there; and why.
AZURE: dict[tuple[str, str, str], str] = {
    **{
        ("FineTuningJob", "", f"{field} is missing"): NO_VALUE
        for field in (
            "error", "finished_at", "fine_tuned_model", "organization_id", "result_files", "trained_tokens",
            "validation_file",
        )
    },
    **{
        ("FineTuningJob", f"{place}.{field}", "-1"): AUTO
        for place in HYPERPARAMETERS
        for field in ("batch_size", "learning_rate_multiplier", "n_epochs")
    },
    **{
        ("FineTuningJob", place, f"{field} is added"): OWN_GRADER
        for place in HYPERPARAMETERS
        for field in ("eval_interval", "eval_samples")
    },
    ("FineTuningJob", "method.supervised", "grader is added"): OWN_GRADER,
    **{
        ("FineTuningJob", "status", state): "a state of Azure's"
        for state in ("pending", "pausing", "paused", "resuming")
    },
    ("FineTuningJob", "", "trainingType is added"): "Azure's own: standard, global or developer",
    ("FineTuningJob", "", "suffix is added"): "Azure repeats it",
    ("FineTuningJobEvent", "level", "warning"): "Azure's word for OpenAI's warn",
    **{("ListFilesResponse", "", f"{field} is missing"): ENDS for field in ("first_id", "last_id")},
    ("OpenAIFile", "purpose", "evals"): "known to the description's request, not to its answer",
    **{
        ("Model", "", f"{field} is added"): MORE_OF_A_MODEL
        for field in ("created_at", "status", "lifecycle_status", "capabilities", "model", "fine_tune")
    },
    ("ValidateGraderResponse", "grader", "another multi"): "has graders by name; described as one grader",
    **{
        ("ChatCompletionMessageList", "data.*.role", role): "whoever spoke; the description knows one role"
        for role in ("system", "user")
    },
}  # fmt: skip
OPENAI: dict[tuple[str, str, str], str] = {
    **{
        ("FineTuningJob", place, f"{field} is added"): OWN_GRADER
        for place in HYPERPARAMETERS
        for field in ("eval_interval", "eval_samples")
    },
    ("FineTuningJob", "method.supervised", "grader is added"): OWN_GRADER,
    ("FineTuningJob", "status", "paused"): "a state of OpenAI's guide",
    **{
        finding: reason
        for finding, reason in AZURE.items()
        if finding[0] in ("OpenAIFile", "ValidateGraderResponse", "ChatCompletionMessageList")
    },
}
EXCUSED = {"/openai/v1": AZURE, "/v1": OPENAI}
# Calls of the description that Azure does not have.
REFUSED = {
    ("get", "/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions"),
    ("post", "/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions"),
    ("delete", "/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions/{permission_id}"),
}
ITEMS = {
    "ListFilesResponse": "OpenAIFile",
    "ListPaginatedFineTuningJobsResponse": "FineTuningJob",
    "ListFineTuningJobEventsResponse": "FineTuningJobEvent",
    "ListFineTuningJobCheckpointsResponse": "FineTuningJobCheckpoint",
    "ListModelsResponse": "Model",
    "ChatCompletionList": "CreateChatCompletionResponse",
}
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
JUDGE = {"type": "score_model", "name": "j", "model": "nano", "input": [{"role": "user", "content": "7"}]}
GRADERS: list[dict[str, object]] = [
    EXACT,
    {"type": "text_similarity", "name": "t", "evaluation_metric": "bleu", "input": "a b", "reference": "a c"},
    {"type": "python", "name": "p", "source": "def grade(sample, item):\n    return 1 / len(item)\n"},
    JUDGE | {"range": [0, 10]},
    {"type": "multi", "name": "m", "calculate_output": "a", "graders": {"a": EXACT}},
]


class FullWorkers(EchoWorkers):
    """Says everything that a model can: text, calls of tools, likelihoods."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta | Completion]:
        text = str(request.messages[-1]["content"])
        likelihoods = None
        if request.top_logprobs is not None:
            token = Likelihood(text, tuple(text.encode()), -0.5)
            likelihoods = (Likelihood(text, tuple(text.encode()), -0.5, (token,) * request.top_logprobs),)
        calls = tuple(ToolCall(name, "{}") for name in request.calls)
        if not calls:
            yield Delta(0, text, likelihoods or ())
        choice = Choice("" if calls else text, "tool_calls" if calls else "stop", likelihoods, calls)
        yield Completion((choice,) * request.n, 5, 2, 1)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = tmp_path_factory.mktemp("contract") / "home"
    app = create_app(home, KEY, workers=FullWorkers(), emulation=Emulation(quota="off"))
    with TestClient(app, headers={"api-key": KEY}, raise_server_exceptions=False) as http:
        yield http


# The answers


class Asked:
    """Calls of the description, as a method with a path that stands there, and what was answered."""

    def __init__(self, http: TestClient, base: str, known: dict[str, str]) -> None:
        self.http, self.base, self.known = http, base, known
        self.calls: set[tuple[str, str]] = set()
        self.findings: set[tuple[str, str, str]] = set()

    def __call__(self, call: str, query: str = "", known: dict[str, str] | None = None, **sent: Any) -> Any:
        method, _, path = call.partition(" ")
        answer = self.http.request(
            method, self.base + path.format(**self.known | (known or {})) + query, **sent
        )
        self.calls.add((method.lower(), path))
        responses = DOCUMENT["paths"][path][method.lower()]["responses"]
        assert str(answer.status_code) in responses, answer.text
        if answer.headers["content-type"] == "application/json":
            declared = responses["200"]["content"]["application/json"]["schema"]["$ref"]
            self.hold(declared.rpartition("/")[2], answer.json())
            return answer.json()
        return answer

    def hold(self, name: str, body: Any) -> None:
        """Note what is not as the schema says; the items of a list by their own."""
        if name in ITEMS:
            for item in body["data"]:
                self.hold(ITEMS[name], item)
            body = body | {"data": []}
        for error in Draft202012Validator(schema(name, CLOSED)).iter_errors(body):
            place = ".".join("*" if isinstance(part, int) else part for part in error.absolute_path)
            self.findings |= {(name, place, finding) for finding in _findings(error)}


def _findings(error: ValidationError) -> Iterator[str]:
    schema = error.schema
    assert isinstance(schema, dict)
    if error.validator == "required":
        yield f"{error.message.split(chr(39))[1]} is missing"
    elif error.validator == "additionalProperties":
        yield from (f"{name} is added" for name in error.instance if name not in schema["properties"])
    elif isinstance(error.instance, dict):
        yield f"another {error.instance.get('type', 'object')}"
    else:
        yield str(error.instance)


@pytest.fixture(scope="module", params=EXCUSED)
def asked(http: TestClient, request: pytest.FixtureRequest) -> Asked:
    """Everything that the description knows, asked once in either dialect."""
    asked = Asked(http, request.param, one_of_each(http))
    _ask_for_files(asked)
    _ask_for_jobs(asked)
    _ask_for_graders(asked)
    _ask_for_answers(asked)
    asked("GET /models")
    asked("GET /models/{model}")
    asked("GET /models/{model}", known={"model": "nano"})
    asked("DELETE /models/{model}")
    return asked


def _ask_for_files(asked: Asked) -> None:
    form = {"purpose": "evals", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    file = {"file_id": asked("POST /files", data=form, files={"file": ("a.jsonl", b"x")})["id"]}
    asked("GET /files")
    asked("GET /files", "?purpose=none")
    asked("GET /files/{file_id}", known=file)
    assert asked("GET /files/{file_id}/content", known=file).content == b"x"
    asked("DELETE /files/{file_id}", known=file)


def _ask_for_jobs(asked: Asked) -> None:
    job, store = "/fine_tuning/jobs/{fine_tuning_job_id}", asked.http.app.state.store
    body = {"model": "nano", "training_file": asked.known["file_id"]}
    supervised = {"hyperparameters": {"eval_samples": 2, "eval_interval": 1, "n_epochs": 3}, "grader": EXACT}
    plain = asked("POST /fine_tuning/jobs", json=body)
    full = asked(
        "POST /fine_tuning/jobs",
        json=body
        | {
            "validation_file": asked.known["file_id"],
            "suffix": "a",
            "trainingType": "Standard",
            "metadata": {"a": "b"},
            "method": {"type": "supervised", "supervised": supervised},
        },
    )
    asked("POST /fine_tuning/jobs", json=body | {"method": {"type": "supervised"}})
    for status in ("running", "pausing", "paused", "resuming", "running", "succeeded"):
        store.jobs.update(
            full["id"], status=status, trained_tokens=7, estimated_finish=9, fine_tuned_model="m"
        )
        asked(f"GET {job}", known={"fine_tuning_job_id": full["id"]})
    store.jobs.fail(plain["id"], code="invalid", message="No.", param="training_file")
    asked(f"GET {job}", known={"fine_tuning_job_id": plain["id"]})
    store.jobs.update(asked.known["fine_tuning_job_id"], status="running")
    store.metrics.add(asked.known["fine_tuning_job_id"], 1, {"train_loss": 1.0})
    store.events.add(asked.known["fine_tuning_job_id"], "Beware.", level="warning")
    asked(f"POST {job}/pause")
    store.jobs.update(asked.known["fine_tuning_job_id"], status="paused")
    asked(f"POST {job}/resume")
    asked(f"POST {job}/cancel")
    asked(f"GET {job}/events")
    asked(f"GET {job}/checkpoints")
    asked("GET /fine_tuning/jobs")


def _ask_for_graders(asked: Asked) -> None:
    for grader in GRADERS:
        asked("POST /fine_tuning/alpha/graders/validate", json={"grader": grader})
        for item in ({"a": 1}, {}):
            sent = {"grader": grader, "model_sample": "a", "item": item}
            asked("POST /fine_tuning/alpha/graders/run", json=sent)


def _ask_for_answers(asked: Asked) -> None:
    chat, one = "POST /chat/completions", "/chat/completions/{completion_id}"
    body: dict[str, object] = {"model": "nano", "messages": MESSAGES}
    kept = {"completion_id": asked(chat, json=body | {"store": True, "metadata": {"a": "b"}})["id"]}
    asked(chat, json=body | {"n": 2, "logprobs": True, "top_logprobs": 2})
    asked(chat, json=body | {"tools": [TOOL], "tool_choice": "required"})
    for more in ({}, {"logprobs": True}, {"tools": [TOOL], "tool_choice": "required"}):
        options = {"stream": True, "stream_options": {"include_usage": True}}
        for line in asked(chat, json=body | options | more).text.split("\n\n"):
            if line and line != "data: [DONE]":
                asked.hold("CreateChatCompletionStreamResponse", json.loads(line.removeprefix("data: ")))
    asked("GET /chat/completions")
    asked(f"GET {one}", known=kept)
    asked(f"GET {one}/messages", known=kept)
    asked(f"POST {one}", known=kept, json={"metadata": {"c": "d"}})
    asked(f"DELETE {one}", known=kept)


def test_every_answer_is_as_described_but_for_what_is_excused(asked: Asked) -> None:
    assert asked.findings - EXCUSED[asked.base].keys() == set()


def test_nothing_is_excused_that_does_not_happen(asked: Asked) -> None:
    assert EXCUSED[asked.base].keys() - asked.findings == set()


def test_every_call_of_the_description_is_answered_or_refused_plainly(asked: Asked) -> None:
    described = {(method, path) for path, calls in DOCUMENT["paths"].items() for method in calls}
    assert described - asked.calls == REFUSED
    for method, path in REFUSED:
        answer = asked.http.request(method, asked.base + path.format(**asked.known))
        assert answer.status_code == 404
        assert "Azure has none" in answer.json()["error"]["message"]
        Draft202012Validator(schema("ErrorResponse", CLOSED)).validate(answer.json())


# Uploads, which the description's part leaves out, against the types of the official client


def test_uploads_have_the_shapes_that_the_client_knows(http: TestClient) -> None:
    def sent(method: str, path: str, **content: Any) -> Any:
        answer = http.request(method, V1 + path, **content)
        assert answer.is_success, answer.text
        return answer.json()

    upload = {"filename": "a.jsonl", "purpose": "fine-tune", "bytes": 1, "mime_type": "x"}
    began = Upload.model_validate(sent("POST", "/uploads", json=upload), strict=True)
    part = sent("POST", f"/uploads/{began.id}/parts", files={"data": b"x"})
    parts = {"part_ids": [UploadPart.model_validate(part, strict=True).id]}
    Upload.model_validate(sent("POST", f"/uploads/{began.id}/complete", json=parts), strict=True)
    other = Upload.model_validate(sent("POST", "/uploads", json=upload), strict=True)
    Upload.model_validate(sent("POST", f"/uploads/{other.id}/cancel"), strict=True)


# The official client


def methods(resource: SyncAPIResource, name: str) -> Iterator[str]:
    """All calls of a part of the client: ``fine_tuning.jobs.checkpoints.list``."""
    for member in dir(type(resource)):
        found = inspect.getattr_static(type(resource), member)
        if member.startswith(("_", "with_")):
            continue
        if isinstance(found, property | functools.cached_property):
            yield from methods(getattr(resource, member), f"{name}.{member}")
        elif callable(found):
            yield f"{name}.{member}"


class Here(NamedTuple):
    """A client and the names of what there is: ``here["file_id"]``."""

    client: OpenAI
    store: Store
    ids: dict[str, str]

    def __getitem__(self, name: Any) -> Any:
        return self.ids[name]

    def job(self, status: str) -> str:
        """A job in this state, after its first step, as a worker would bring it there."""
        self.store.metrics.add(self["fine_tuning_job_id"], 1, {"train_loss": 1.0})
        self.store.jobs.update(self["fine_tuning_job_id"], status=status)
        return self["fine_tuning_job_id"]


def _old_content(here: Here) -> str:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return here.client.files.retrieve_content(here["file_id"])[:11]


def _streamed(here: Here) -> str | None:
    with here.client.chat.completions.stream(model="nano", messages=MESSAGES) as stream:  # type: ignore[arg-type]
        return stream.get_final_completion().choices[0].message.content


def _deleted_model(here: Here) -> bool:
    here.client.fine_tuning.jobs.cancel(here["fine_tuning_job_id"])  # it needs the model
    return here.client.models.delete(here["model"]).deleted


UPLOAD: Any = {"filename": "a", "bytes": 2, "mime_type": "x", "purpose": "fine-tune"}
CHAT: Any = {"model": "nano", "messages": MESSAGES}
GRADER: Any = EXACT
# Every call of the client, and what comes of it: a value, or the name of one in ``Here``.
CALLS: dict[str, tuple[Callable[[Here], object], object]] = {
    "files.create": (lambda h: h.client.files.create(file=("a", b"xy"), purpose="evals").bytes, 2),
    "files.retrieve": (lambda h: h.client.files.retrieve(h["file_id"]).id, "file_id"),
    "files.list": (lambda h: h.client.files.list(purpose="fine-tune").data[0].id, "file_id"),
    "files.delete": (lambda h: h.client.files.delete(h["file_id"]).deleted, True),
    "files.content": (lambda h: h.client.files.content(h["file_id"]).content[:11], b'{"messages"'),
    "files.retrieve_content": (_old_content, '{"messages"'),
    "files.wait_for_processing": (
        lambda h: h.client.files.wait_for_processing(h["file_id"]).status,
        "processed",
    ),
    "uploads.create": (lambda h: h.client.uploads.create(**UPLOAD).status, "pending"),
    "uploads.cancel": (lambda h: h.client.uploads.cancel(h["upload_id"]).status, "cancelled"),
    "uploads.complete": (
        lambda h: h.client.uploads.complete(h["upload_id"], part_ids=[h["part_id"]]).status,
        "completed",
    ),
    "uploads.parts.create": (
        lambda h: h.client.uploads.parts.create(h["upload_id"], data=b"x").upload_id,
        "upload_id",
    ),
    "uploads.upload_file_chunked": (
        lambda h: h.client.uploads.upload_file_chunked(file=b"ab", part_size=1, **UPLOAD).status,
        "completed",
    ),
    "fine_tuning.jobs.create": (
        lambda h: h.client.fine_tuning.jobs.create(model="nano", training_file=h["file_id"]).training_file,
        "file_id",
    ),
    "fine_tuning.jobs.retrieve": (
        lambda h: h.client.fine_tuning.jobs.retrieve(h["fine_tuning_job_id"]).id,
        "fine_tuning_job_id",
    ),
    "fine_tuning.jobs.list": (
        lambda h: h.client.fine_tuning.jobs.list(limit=1).data[0].id,
        "fine_tuning_job_id",
    ),
    "fine_tuning.jobs.cancel": (
        lambda h: h.client.fine_tuning.jobs.cancel(h.job("running")).status,
        "cancelled",
    ),
    "fine_tuning.jobs.pause": (lambda h: h.client.fine_tuning.jobs.pause(h.job("running")).status, "pausing"),
    "fine_tuning.jobs.resume": (
        lambda h: h.client.fine_tuning.jobs.resume(h.job("paused")).status,
        "resuming",
    ),
    "fine_tuning.jobs.list_events": (
        lambda h: h.client.fine_tuning.jobs.list_events(h["fine_tuning_job_id"]).data[0].message[:12],
        "Job enqueued",
    ),
    "fine_tuning.jobs.checkpoints.list": (
        lambda h: (
            h.client.fine_tuning.jobs.checkpoints.list(h["fine_tuning_job_id"])
            .data[0]
            .fine_tuned_model_checkpoint
        ),
        "model",
    ),
    "fine_tuning.alpha.graders.validate": (
        lambda h: h.client.fine_tuning.alpha.graders.validate(grader=GRADER).grader.type,  # type: ignore[union-attr]
        "string_check",
    ),
    "fine_tuning.alpha.graders.run": (
        lambda h: h.client.fine_tuning.alpha.graders.run(grader=GRADER, model_sample="a").reward,
        1.0,
    ),
    "models.retrieve": (lambda h: h.client.models.retrieve(h["model"]).id, "model"),
    "models.list": (lambda h: h.client.models.list().data[-1].id, "model"),
    "models.delete": (_deleted_model, True),
    "chat.completions.create": (
        lambda h: h.client.chat.completions.create(**CHAT).choices[0].message.content,
        "hello",
    ),
    "chat.completions.parse": (
        lambda h: h.client.chat.completions.parse(**CHAT).choices[0].message.content,
        "hello",
    ),
    "chat.completions.stream": (_streamed, "hello"),
    "chat.completions.retrieve": (
        lambda h: h.client.chat.completions.retrieve(h["completion_id"]).id,
        "completion_id",
    ),
    "chat.completions.list": (
        lambda h: h.client.chat.completions.list(order="desc", limit=1).data[0].id,
        "completion_id",
    ),
    "chat.completions.update": (
        lambda h: h.client.chat.completions.update(h["completion_id"], metadata={"a": "b"}).id,
        "completion_id",
    ),
    "chat.completions.delete": (lambda h: h.client.chat.completions.delete(h["completion_id"]).deleted, True),
    "chat.completions.messages.list": (
        lambda h: h.client.chat.completions.messages.list(h["completion_id"]).data[0].content,
        "x",
    ),
}
# Not offered: OpenAI's own, which Azure does not have.
NOT_OFFERED: dict[str, Callable[[OpenAI], object]] = {
    "fine_tuning.checkpoints.permissions.create": lambda client: (
        client.fine_tuning.checkpoints.permissions.create("nano", project_ids=["a"])
    ),
    "fine_tuning.checkpoints.permissions.list": lambda client: (
        client.fine_tuning.checkpoints.permissions.list("nano")
    ),
    "fine_tuning.checkpoints.permissions.retrieve": lambda client: client.get(
        "/fine_tuning/checkpoints/nano/permissions", cast_to=object
    ),
    "fine_tuning.checkpoints.permissions.delete": lambda client: (
        client.fine_tuning.checkpoints.permissions.delete("a", fine_tuned_model_checkpoint="nano")
    ),
}


def of_openai(http: TestClient) -> OpenAI:
    return OpenAI(base_url=f"{ROOT}{V1}/", api_key=KEY, http_client=http, max_retries=0)


def of_azure(http: TestClient) -> OpenAI:
    date = "2025-04-01-preview"
    return AzureOpenAI(azure_endpoint=ROOT, api_key=KEY, api_version=date, http_client=http, max_retries=0)


def test_no_call_of_the_client_is_forgotten() -> None:
    client = OpenAI(api_key="none")
    parts = ("files", "uploads", "fine_tuning", "models", "chat")
    there = {name for part in parts for name in methods(getattr(client, part), part)}
    assert there == CALLS.keys() | NOT_OFFERED.keys()


@pytest.mark.parametrize("family", [of_openai, of_azure])
@pytest.mark.parametrize("name", CALLS)
def test_every_call_of_the_client_works(
    http: TestClient, family: Callable[[TestClient], OpenAI], name: str
) -> None:
    here = Here(family(http), http.app.state.store, one_of_each(http))
    call, expected = CALLS[name]
    assert call(here) == here.ids.get(str(expected), expected)


@pytest.mark.parametrize("family", [of_openai, of_azure])
@pytest.mark.parametrize("name", NOT_OFFERED)
def test_what_is_not_offered_is_refused_plainly(
    http: TestClient, family: Callable[[TestClient], OpenAI], name: str
) -> None:
    with pytest.raises(openai.NotFoundError, match="Azure has none") as caught:
        NOT_OFFERED[name](family(http))
    assert caught.value.code == "notFound"
