"""The service's API, spoken to by the official client; jobs wait here, nothing loads torch."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import openai
import pytest
from openai import AzureOpenAI, OpenAI
from starlette.testclient import TestClient

from workbench.local.api.app import create_app
from workbench.local.chat_protocol import ChatRequest, Choice, Completion, Delta, Refusal
from workbench.local.store.store import Store

KEY = "the-key-of-this-test"
V1 = "http://testserver/openai/v1/"


class EchoWorkers:
    """Leaves jobs pending and answers with the last message, word by word."""

    def __init__(self) -> None:
        self.state = "new"
        self.woken = 0
        self.asked: list[ChatRequest] = []

    async def start(self) -> None:
        self.state = "started"

    async def stop(self) -> None:
        self.state = "stopped"

    def wake(self) -> None:
        self.woken += 1

    async def complete(self, request: ChatRequest) -> Completion:
        async for piece in self.stream(request):
            if isinstance(piece, Completion):
                return piece
        raise AssertionError

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta | Completion]:
        self.asked.append(request)
        text = request.messages[-1]["content"]
        if text == "crash":
            raise RuntimeError("a secret of the service")
        if text == "too long":
            raise Refusal(400, "context_length_exceeded", "This prompt is too long.")
        for index in range(request.n):
            for word in text.split():
                yield Delta(index, f"{word} ")
                if word == "break":
                    raise Refusal(503, "serviceUnavailable", "The process ended; ask again.")
        choice = Choice("".join(f"{word} " for word in text.split()), "stop")
        yield Completion((choice,) * request.n, 5, 2 * request.n, 1)


@pytest.fixture
def workers() -> EchoWorkers:
    return EchoWorkers()


@pytest.fixture
def http(home: Path, workers: EchoWorkers) -> Iterator[TestClient]:
    app = create_app(home, KEY, workers=workers)
    with TestClient(app, headers={"api-key": KEY}, raise_server_exceptions=False) as http:
        yield http


@pytest.fixture
def client(http: TestClient) -> OpenAI:
    return OpenAI(base_url=V1, api_key=KEY, http_client=http, max_retries=0)


@pytest.fixture
def training_file(client: OpenAI) -> str:
    return client.files.create(file=("train.jsonl", b'{"messages": []}\n' * 10), purpose="fine-tune").id


def tune(client: OpenAI, home: Path, name: str) -> str:
    """Make ``name`` a tuned model, as a worker would."""
    store = Store(home)
    job = store.jobs.add({"model": "nano", "training_file": "file-x", "hyperparameters": {}, "seed": 1})["id"]
    store.checkpoints.add(
        job, 10, f"{name}:ckpt-step-10", {"train_loss": 1.0}, store.checkpoints.folder(job, 10)
    )
    store.checkpoints.add(job, 20, name, {"train_loss": 0.5}, store.checkpoints.folder(job, 20))
    store.jobs.update(job, status="succeeded", fine_tuned_model=name)
    store.close()
    return job


# Addresses and keys


@pytest.mark.parametrize("path", ["/openai/v1/", "/v1/", "/api/projects/my-project/openai/v1/"])
def test_every_address_of_the_v1_api_answers(http: TestClient, path: str) -> None:
    client = OpenAI(base_url=f"http://testserver{path}", api_key=KEY, http_client=http)
    assert [model.id for model in client.models.list()] == ["SmolLM2-135M-Instruct", "nano"]


def test_the_dated_api_answers_azures_client(http: TestClient) -> None:
    client = AzureOpenAI(
        azure_endpoint="http://testserver",
        api_key=KEY,
        api_version="2025-04-01-preview",
        http_client=http,
        max_retries=0,
    )
    assert [model.id for model in client.models.list()] == ["SmolLM2-135M-Instruct", "nano"]
    answer = client.chat.completions.create(model="nano", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content == "hello "


def test_the_dated_api_wants_its_date(http: TestClient) -> None:
    answer = http.get("/openai/models")
    assert answer.status_code == 404
    assert "api-version" in answer.json()["error"]["message"]


@pytest.mark.parametrize("headers", [{"api-key": KEY}, {"Authorization": f"Bearer {KEY}"}])
def test_either_header_carries_the_key(home: Path, workers: EchoWorkers, headers: dict[str, str]) -> None:
    with TestClient(create_app(home, KEY, workers=workers)) as http:
        assert http.get("/openai/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"api-key": "wrong"},
        {"api-key": ""},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer kéy"},
    ],
)
@pytest.mark.parametrize("path", ["/health", "/openai/v1/models", "/nowhere"])
def test_no_door_opens_without_the_key(
    home: Path, workers: EchoWorkers, headers: dict[str, str], path: str
) -> None:
    with TestClient(create_app(home, KEY, workers=workers)) as http:
        answer = http.get(path, headers={name: value.encode() for name, value in headers.items()})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert KEY not in answer.text


def test_a_wrong_key_is_the_clients_authentication_error(http: TestClient) -> None:
    http.headers.pop("api-key")
    client = OpenAI(base_url=V1, api_key="wrong", http_client=http, max_retries=0)
    with pytest.raises(openai.AuthenticationError, match="WORKBENCH_LOCAL_KEY"):
        client.models.list()


def test_workers_start_and_stop_with_the_service(home: Path, workers: EchoWorkers) -> None:
    with TestClient(create_app(home, KEY, workers=workers)):
        assert workers.state == "started"
    assert workers.state == "stopped"


# Errors


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/openai/v1/nothing", 404, "notFound"),
        ("GET", "/elsewhere", 404, "notFound"),
        ("PUT", "/openai/v1/files", 405, "methodNotAllowed"),
        ("GET", "/openai/v1/files/file-none", 404, "notFound"),
        ("GET", "/openai/v1/files/..%2F..%2Fservice.db/content", 404, "notFound"),
        ("DELETE", "/openai/v1/files/file-none", 404, "notFound"),
        ("GET", "/openai/v1/fine_tuning/jobs/ftjob-none", 404, "notFound"),
        ("GET", "/openai/v1/fine_tuning/jobs/ftjob-none/events", 404, "notFound"),
        ("POST", "/openai/v1/fine_tuning/jobs/ftjob-none/cancel", 404, "notFound"),
        ("GET", "/openai/v1/models/gpt-none", 404, "notFound"),
        ("GET", "/openai/v1/files?limit=0", 400, "invalidPayload"),
        ("GET", "/openai/v1/files?limit=99999999999999999999", 400, "invalidPayload"),
        ("GET", "/openai/v1/files?order=up", 400, "invalidPayload"),
        ("GET", "/openai/v1/fine_tuning/jobs?after=ftjob-none", 400, "invalidPayload"),
    ],
)
def test_every_error_has_openais_shape(
    http: TestClient, method: str, path: str, status: int, code: str
) -> None:
    answer = http.request(method, path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert set(error) == {"code", "message", "param", "type"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"model": "\\ud800", "training_file": "x"}',
        b'{"model": "nano", "training_file": "x", "seed": NaN}',
        b'{"model": "nano", "training_file": "x", "seed": 1e999}',
        b'{"model": "nano", "training_file": "x", "seed": ' + b"9" * 5000 + b"}",
        b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model": 7, "training_file": "x"}',
        b'{"model": "nano", "training_file": ["x"]}',
        b'{"training_file": "x"}',
    ],
)
@pytest.mark.parametrize("path", ["/openai/v1/fine_tuning/jobs", "/openai/v1/chat/completions"])
def test_a_body_that_makes_no_sense_is_refused(http: TestClient, path: str, body: bytes) -> None:
    answer = http.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalidPayload"


def test_a_body_beyond_the_bound_is_refused(http: TestClient) -> None:
    answer = http.post("/openai/v1/chat/completions", content=b" " * (16 * 1024 * 1024 + 1))
    assert answer.status_code == 413
    assert "16,777,216 bytes" in answer.json()["error"]["message"]


def test_a_full_disk_is_told_as_such(http: TestClient, client: OpenAI, training_file: str) -> None:
    http.app.state.store._db.all("PRAGMA max_page_count = 1")  # SQLite's own way to have no room

    def upload_until_full() -> None:
        for _ in range(1000):
            client.files.create(file=("more.jsonl", b"x"), purpose="fine-tune")

    with pytest.raises(openai.InternalServerError, match="disk of the local service is full") as caught:
        upload_until_full()
    assert (caught.value.status_code, caught.value.code) == (507, "insufficient_storage")
    assert client.files.retrieve(training_file).bytes == 170


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": ""}], "store": True}),
        ("responses", {"input": [{"role": "user", "content": ""}]}),
    ],
)
def test_a_stored_answer_in_one_piece_tells_a_full_disk_by_its_status_in_a_stream_too(
    http: TestClient, path: str, asked: dict[str, object]
) -> None:
    http.app.state.store._db.all("PRAGMA max_page_count = 1")
    body = {"model": "nano", "stream": True, **asked}
    answers = (http.post(f"{V1}{path}", json=body) for _ in range(1000))
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert (refused.status_code, refused.json()["error"]["code"]) == (507, "insufficient_storage")


def test_a_streamed_answer_in_one_piece_is_stored_once(http: TestClient) -> None:
    body = {"model": "nano", "stream": True, "store": True, "messages": [{"role": "user", "content": ""}]}
    assert http.post(f"{V1}chat/completions", json=body).text.endswith("data: [DONE]\n\n")
    assert len(http.get(f"{V1}chat/completions").json()["data"]) == 1


def test_a_mistake_of_the_service_shows_no_traceback(http: TestClient) -> None:
    answer = http.post(
        "/openai/v1/chat/completions",
        json={"model": "nano", "messages": [{"role": "user", "content": "crash"}]},
    )
    assert answer.status_code == 500
    assert answer.json()["error"] == {
        "code": "internalFailure",
        "message": "The local service made a mistake; service.log in its home folder says which.",
        "param": None,
        "type": "error",
    }


# Files


def test_an_uploaded_file_comes_back_byte_for_byte(client: OpenAI) -> None:
    content = b"\xef\xbb\xbf" + b'{"a": "\r\n--boundary"}\r\n' * 30_000
    file = client.files.create(file=("sp\u00e4\u00dfe 1.jsonl", content), purpose="fine-tune")
    assert (file.filename, file.bytes, file.status) == (
        "sp\u00e4\u00dfe 1.jsonl",
        len(content),
        "processed",
    )
    assert client.files.content(file.id).content == content
    assert client.files.retrieve(file.id) == file


def test_content_is_sent_as_octets(client: OpenAI, training_file: str) -> None:
    answer = client.files.content(training_file)
    assert answer.response.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("filename", "kept"),
    [("../../etc/passwd", "passwd"), ("C:\\data\\faq.jsonl", "faq.jsonl"), ("/tmp/x.jsonl", "x.jsonl")],
)
def test_a_filename_is_a_name_and_never_a_path(client: OpenAI, home: Path, filename: str, kept: str) -> None:
    file = client.files.create(file=(filename, b"x"), purpose="fine-tune")
    assert file.filename == kept
    stored = sorted(path.name for path in (home / "service" / "files").iterdir())
    assert stored == [file.id, f"{file.id}.json"]


def test_a_file_whose_bytes_are_gone_says_so_and_can_be_deleted(client: OpenAI, home: Path) -> None:
    file = client.files.create(file=("faq.jsonl", b"x" * 18), purpose="fine-tune").id
    path = home / "service" / "files" / file
    path.write_bytes(b"four")
    with pytest.raises(openai.NotFoundError, match=r"\(faq.jsonl\) has 4 bytes instead of 18 on the disk"):
        client.files.content(file)
    path.unlink()
    with pytest.raises(
        openai.NotFoundError, match=r"\(faq.jsonl\) is gone from the disk of the local service"
    ):
        client.files.content(file)
    assert client.files.delete(file).deleted


def test_files_list_newest_first_and_by_purpose(client: OpenAI) -> None:
    ids = [
        client.files.create(file=(f"{number}.jsonl", b"x"), purpose=purpose).id
        for number, purpose in enumerate(["fine-tune", "evals", "fine-tune"])
    ]
    assert [file.id for file in client.files.list()] == ids[::-1]
    assert [file.id for file in client.files.list(purpose="fine-tune", order="asc")] == [ids[0], ids[2]]
    page = client.files.list(limit=2)
    assert ([file.id for file in page.data], page.has_more) == ([ids[2], ids[1]], True)
    assert [file.id for file in client.files.list(limit=1)] == ids[::-1]


def test_a_deleted_file_is_gone(client: OpenAI, training_file: str) -> None:
    assert client.files.delete(training_file).deleted
    with pytest.raises(openai.NotFoundError, match="no file"):
        client.files.content(training_file)


@pytest.mark.parametrize(
    ("name", "content", "purpose", "finding"),
    [
        ("empty.jsonl", b"", "fine-tune", "'empty.jsonl' is empty"),
        ("x.jsonl", b"x", "fine-tune-results", "should be 'fine-tune', 'assistants'"),
        ("x" * 300, b"x", "fine-tune", "1 to 255 characters"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    client: OpenAI, home: Path, name: str, content: bytes, purpose: str, finding: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=finding):
        client.files.create(file=(name, content), purpose=purpose)
    assert client.files.list().data == []
    assert list((home / "service" / "incoming").iterdir()) == []


FORM = {"content-type": "multipart/form-data; boundary=b"}
FILE_PART = b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n'
PURPOSE_PART = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nevals\r\n'


def test_the_purpose_may_follow_the_file(http: TestClient) -> None:
    answer = http.post("/openai/v1/files", content=FILE_PART + PURPOSE_PART + b"--b--\r\n", headers=FORM)
    assert (answer.status_code, answer.json()["purpose"]) == (200, "evals")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "application/json"}, b"{}"),
        ({"content-type": "multipart/form-data"}, b""),
        ({"content-type": "multipart/form-data; boundary=" + "b" * 1000}, b""),
        (FORM, b""),
        (FORM, b"nonsense"),
        (FORM, PURPOSE_PART + FILE_PART),  # cut off
        (FORM, PURPOSE_PART + b"--b--\r\n"),
        (FORM, FILE_PART + b"--b--\r\n"),
        (FORM, PURPOSE_PART + FILE_PART + FILE_PART + b"--b--\r\n"),
        (FORM, PURPOSE_PART + FILE_PART + PURPOSE_PART.replace(b"purpose", b"other") + b"--b--\r\n"),
        (
            FORM,
            PURPOSE_PART.replace(b"purpose", b"expires_after[anchor]")
            + FILE_PART
            + PURPOSE_PART
            + b"--b--\r\n",
        ),
        (FORM, PURPOSE_PART.replace(b"evals", b"e" * 70_000) + FILE_PART + b"--b--\r\n"),
        (FORM, b"--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
    ],
)
def test_a_broken_form_is_refused(http: TestClient, home: Path, headers: dict[str, str], body: bytes) -> None:
    answer = http.post("/openai/v1/files", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalidPayload")
    assert http.get("/openai/v1/files").json()["data"] == []
    assert list((home / "service" / "incoming").iterdir()) == []


def test_a_file_announced_as_too_large_is_refused_unread(http: TestClient) -> None:
    answer = http.post(
        "/openai/v1/files", content=b"x", headers=FORM | {"content-length": str(600 * 1024 * 1024)}
    )
    assert answer.status_code == 413
    assert "536,870,912 bytes" in answer.json()["error"]["message"]


# Jobs


def test_a_new_job_has_azures_shape(http: TestClient, training_file: str, workers: EchoWorkers) -> None:
    method = {
        "type": "supervised",
        "supervised": {
            "hyperparameters": {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": 0.1}
        },
    }
    asked = {
        "model": "NANO",
        "training_file": training_file,
        "validation_file": training_file,
        "method": method,
        "seed": 42,
        "suffix": "my-run",
        "trainingType": "GlobalStandard",
        "metadata": {"workbench_content": "abc"},
    }
    job = http.post("/openai/v1/fine_tuning/jobs", json=asked).json()
    numbers = {"batch_size": -1, "learning_rate_multiplier": 0.1, "n_epochs": 3}
    assert job.pop("id").startswith("ftjob-")
    assert job.pop("created_at") > 1_700_000_000
    assert job == {
        "object": "fine_tuning.job",
        "status": "pending",
        "hyperparameters": numbers,
        "model": "nano",
        "seed": 42,
        "training_file": training_file,
        "validation_file": training_file,
        "method": {"type": "supervised", "supervised": {"hyperparameters": numbers}},
        "suffix": "my-run",
        "trainingType": "globalStandard",
        "metadata": {"workbench_content": "abc"},
    }
    assert workers.woken == 1


def test_what_is_not_asked_for_is_left_to_the_service(http: TestClient, training_file: str) -> None:
    answer = http.post("/openai/v1/fine_tuning/jobs", json={"model": "nano", "training_file": training_file})
    job = answer.json()
    assert set(job) == {
        "id", "created_at", "object", "status", "hyperparameters", "model", "seed", "training_file"
    }  # fmt: skip
    assert job["hyperparameters"] == {"batch_size": -1, "learning_rate_multiplier": -1, "n_epochs": -1}
    assert 0 <= job["seed"] < 2**31


def test_the_older_place_for_hyperparameters_still_works(client: OpenAI, training_file: str) -> None:
    job = client.fine_tuning.jobs.create(
        model="nano", training_file=training_file, hyperparameters={"n_epochs": 2, "batch_size": 4}
    )
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size, job.method) == (2, 4, None)


GRADER = {
    "type": "string_check",
    "name": "exact",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
}


def test_a_grader_rides_along_with_its_settings(http: TestClient, training_file: str) -> None:
    supervised = {"hyperparameters": {"n_epochs": 1, "eval_samples": 20}, "grader": GRADER}
    asked = {"model": "nano", "training_file": training_file, "validation_file": training_file}
    job = http.post(
        "/openai/v1/fine_tuning/jobs",
        json=asked | {"method": {"type": "supervised", "supervised": supervised}},
    ).json()
    numbers = {"batch_size": -1, "learning_rate_multiplier": -1, "n_epochs": 1}
    numbers |= {"eval_interval": -1, "eval_samples": 20}
    assert job["method"]["supervised"] == {"hyperparameters": numbers, "grader": GRADER}
    assert job["hyperparameters"] == numbers


def supervised(hyperparameters: dict[str, object] | None = None, **more: object) -> dict[str, object]:
    return {
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters or {}, **more}}
    }


@pytest.mark.parametrize(
    ("change", "param", "finding"),
    [
        ({"model": "gpt-4.1"}, "model", "The specified base model does not support fine-tuning"),
        ({"model": "nano.ft-none"}, "model", "The specified base model does not support fine-tuning"),
        ({"unknown": 1}, "unknown", "Unknown parameter: 'unknown'"),
        (
            supervised({"n_epochs": 0}),
            "method.supervised.hyperparameters.n_epochs",
            "greater than or equal to 1",
        ),
        (
            supervised({"n_epochs": 51}),
            "method.supervised.hyperparameters.n_epochs",
            "less than or equal to 50",
        ),
        (supervised({"n_epochs": 1.5}), "method.supervised.hyperparameters.n_epochs", "valid integer"),
        (supervised({"n_epochs": True}), "method.supervised.hyperparameters.n_epochs", "valid integer"),
        (
            supervised({"batch_size": 257}),
            "method.supervised.hyperparameters.batch_size",
            "less than or equal to 256",
        ),
        (
            supervised({"learning_rate_multiplier": 0}),
            "method.supervised.hyperparameters.learning_rate_multiplier",
            "greater than 0",
        ),
        (supervised({"beta": 0.1}), "method.supervised.hyperparameters.beta", "Unknown parameter"),
        (supervised({"eval_samples": 5}), "method.supervised", "eval_samples need a grader"),
        (supervised(grader=GRADER), None, "needs a validation_file"),
        (
            supervised(grader={"type": "score_model", "name": "s", "model": "nano", "input": []}),
            "method.supervised.grader.type",
            "is 'score_model', which asks a model, and local training asks none",
        ),
        ({"method": {"type": "magic"}}, "method.type", "should be 'supervised', 'dpo' or 'reinforcement'"),
        ({"suffix": "v1.0"}, "suffix", "no dots"),
        ({"suffix": "x" * 41}, "suffix", "1 to 40"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"seed": 2**31}, "seed", "less than or equal to 2147483647"),
        (
            {"metadata": {str(number): "" for number in range(17)}},
            "metadata",
            "at most 16 pairs; there are 17",
        ),
        ({"metadata": {"key": 1}}, "metadata.key", "valid string"),
        ({"trainingType": "cheap"}, "trainingType", "developerTier"),
    ],
)
def test_a_job_that_cannot_be_done_is_refused_with_the_place(
    http: TestClient, training_file: str, change: dict[str, object], param: str | None, finding: str
) -> None:
    answer = http.post(
        "/openai/v1/fine_tuning/jobs", json={"model": "nano", "training_file": training_file} | change
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert finding in error["message"]
    assert http.get("/openai/v1/fine_tuning/jobs").json()["data"] == []


def test_all_that_is_wrong_is_told_at_once(http: TestClient) -> None:
    answer = http.post("/openai/v1/fine_tuning/jobs", json={"seed": "x", "suffix": "a b"})
    message = answer.json()["error"]["message"]
    assert [place in message for place in ("'model'", "'training_file'", "'seed'", "'suffix'")] == [True] * 4


def test_a_job_needs_a_file_that_is_there_and_meant_for_it(client: OpenAI, training_file: str) -> None:
    with pytest.raises(openai.NotFoundError, match="The resource is not found") as caught:
        client.fine_tuning.jobs.create(model="nano", training_file="file-none")
    assert (caught.value.code, caught.value.param) == ("notFound", "training_file")
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.create(model="nano", training_file=training_file, validation_file="file-none")
    other = client.files.create(file=("x.jsonl", b"x"), purpose="evals").id
    with pytest.raises(openai.BadRequestError, match="training_file was uploaded for evals"):
        client.fine_tuning.jobs.create(model="nano", training_file=other)


def test_the_twenty_first_job_in_the_queue_is_refused(client: OpenAI, training_file: str) -> None:
    jobs = [client.fine_tuning.jobs.create(model="nano", training_file=training_file) for _ in range(20)]
    with pytest.raises(openai.RateLimitError, match="20 jobs are queued already") as caught:
        client.fine_tuning.jobs.create(model="nano", training_file=training_file)
    assert caught.value.code == "quotaExceeded"
    client.fine_tuning.jobs.cancel(jobs[0].id)
    assert client.fine_tuning.jobs.create(model="nano", training_file=training_file).status == "pending"


def test_a_job_is_cancelled_once(client: OpenAI, training_file: str, workers: EchoWorkers) -> None:
    job = client.fine_tuning.jobs.create(model="nano", training_file=training_file)
    cancelled = client.fine_tuning.jobs.cancel(job.id)
    assert cancelled.status == "cancelled"
    assert cancelled.finished_at >= job.created_at
    assert client.fine_tuning.jobs.retrieve(job.id) == cancelled
    assert workers.woken == 2
    with pytest.raises(openai.BadRequestError, match="it has ended: cancelled") as caught:
        client.fine_tuning.jobs.cancel(job.id)
    assert caught.value.code == "unexpectedEntityState"


def test_jobs_list_newest_first_and_by_metadata(client: OpenAI, training_file: str) -> None:
    ids = [
        client.fine_tuning.jobs.create(
            model="nano", training_file=training_file, metadata={"workbench_content": content}
        ).id
        for content in ("a", "b", "a")
    ]
    assert [job.id for job in client.fine_tuning.jobs.list(limit=1)] == ids[::-1]
    found = client.fine_tuning.jobs.list(metadata={"workbench_content": "a"})
    assert [job.id for job in found] == [ids[2], ids[0]]


def test_events_and_checkpoints_come_newest_first_in_pages(client: OpenAI, home: Path) -> None:
    job = tune(client, home, "nano.ft-1")
    store = Store(home)
    for step in range(1, 25):
        store.events.add(job, f"Step {step}: training loss=1.0", data={"step": step})
    store.close()
    page = client.fine_tuning.jobs.list_events(job)
    assert (len(page.data), page.has_more, page.data[0].data) == (20, True, {"step": 24})
    messages = [event.message for event in client.fine_tuning.jobs.list_events(job, limit=10)]
    assert len(messages) == 25
    assert messages[-1] == "Job enqueued. Waiting for jobs ahead to complete."
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job, limit=1)
    assert (checkpoints.data[0].fine_tuned_model_checkpoint, checkpoints.has_more) == ("nano.ft-1", True)
    assert [row.step_number for row in checkpoints] == [20, 10]


def test_the_result_file_grows_and_is_read_like_any_other(client: OpenAI, home: Path) -> None:
    store = Store(home)
    job = store.jobs.add({"model": "nano", "training_file": "file-x", "hyperparameters": {}, "seed": 1})["id"]
    store.jobs.update(job, status="running")
    (file_id,) = client.fine_tuning.jobs.retrieve(job).result_files
    assert client.files.content(file_id).text.count("\n") == 1
    store.metrics.add(job, 1, {"train_loss": 2.5, "train_mean_token_accuracy": 0.5})
    assert client.files.content(file_id).text.splitlines()[1] == "1,2.5,0.5,,,,"
    assert client.files.retrieve(file_id).bytes == len(client.files.content(file_id).content)
    assert [file.id for file in client.files.list(purpose="fine-tune-results")] == [file_id]
    store.close()


def test_a_tuned_model_or_checkpoint_can_be_tuned_further(
    client: OpenAI, home: Path, training_file: str
) -> None:
    tune(client, home, "nano.ft-1-first")
    job = client.fine_tuning.jobs.create(model="nano.FT-1-first:ckpt-step-10", training_file=training_file)
    assert job.model == "nano.ft-1-first:ckpt-step-10"


# Models


def test_models_are_the_bases_and_what_was_tuned(client: OpenAI, home: Path) -> None:
    job = tune(client, home, "nano.ft-1")
    assert [model.id for model in client.models.list()] == [
        "SmolLM2-135M-Instruct",
        "nano",
        "nano.ft-1:ckpt-step-10",
        "nano.ft-1",
    ]
    model = client.models.retrieve("nano.ft-1:ckpt-step-10")
    assert (model.model, model.fine_tune, model.capabilities["fine_tune"]) == ("nano", job, True)
    assert client.models.retrieve("smollm2-135m-instruct").id == "SmolLM2-135M-Instruct"


# Chat


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def test_a_question_is_answered_with_its_cost(client: OpenAI, workers: EchoWorkers) -> None:
    answer = client.chat.completions.create(
        model="NANO", messages=ask("one two"), temperature=0, max_tokens=9, top_p=0.5, stop="x", seed=3
    )
    assert answer.model == "nano"
    assert answer.choices[0].message.content == "one two "
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        5,
        2,
        7,
    )
    assert answer.usage.prompt_tokens_details.cached_tokens == 1
    assert workers.asked == [
        ChatRequest(
            model="nano",
            base_model="nano",
            adapter=None,
            messages=tuple(ask("one two")),
            max_tokens=9,
            temperature=0.0,
            top_p=0.5,
            stop=("x",),
            seed=3,
        )
    ]


def test_a_tuned_model_answers_with_its_adapter(client: OpenAI, home: Path, workers: EchoWorkers) -> None:
    job = tune(client, home, "nano.ft-1")
    client.chat.completions.create(model="nano.ft-1:ckpt-step-10", messages=ask("hi"), n=2)
    (asked,) = workers.asked
    assert (asked.model, asked.base_model, asked.n) == ("nano.ft-1:ckpt-step-10", "nano", 2)
    assert asked.adapter == str(home / "service" / "adapters" / job / "step-10")


def test_a_stream_brings_the_answer_piece_by_piece(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="nano", messages=ask("one two"), n=2, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    texts = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == ["one two ", "one two "]
    assert [choice.finish_reason for chunk in chunks[-3:-1] for choice in chunk.choices] == ["stop", "stop"]
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 4)
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_ends_with_done(http: TestClient) -> None:
    answer = http.post(
        "/openai/v1/chat/completions", json={"model": "nano", "messages": ask("hi"), "stream": True}
    )
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "usage" not in answer.text


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_the_model_keeps_its_code(client: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError, match="too long") as caught:
        client.chat.completions.create(model="nano", messages=ask("too long"), stream=stream)
    assert caught.value.code == "context_length_exceeded"


def test_a_stream_that_breaks_off_says_so(client: OpenAI) -> None:
    stream = client.chat.completions.create(model="nano", messages=ask("so break far"), stream=True)
    with pytest.raises(openai.APIError, match="The process ended; ask again"):
        list(stream)


def test_an_unknown_model_is_named(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-5'") as caught:
        client.chat.completions.create(model="gpt-5", messages=ask("hi"))
    assert (caught.value.code, caught.value.param) == ("DeploymentNotFound", "model")


def test_text_parts_and_developer_messages_are_understood(client: OpenAI, workers: EchoWorkers) -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    client.chat.completions.create(
        model="nano", messages=[{"role": "developer", "content": "Hm."}, {"role": "user", "content": parts}]
    )
    assert workers.asked[0].messages == (
        {"role": "system", "content": "Hm."},
        {"role": "user", "content": "one two"},
    )


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"reasoning_effort": "high"}, "reasoning_effort is not offered"),
        ({"frequency_penalty": 2.5}, "less than or equal to 2"),
        ({"temperature": 2.1}, "less than or equal to 2"),
        ({"top_p": -0.1}, "greater than or equal to 0"),
        ({"max_tokens": 0}, "greater than or equal to 1"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "not both"),
        ({"n": 129}, "less than or equal to 128"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "at most 4 items"),
        ({"stream_options": {"include_usage": True}}, "stream_options need stream"),
        ({"messages": []}, "at least 1 item"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "'system', 'user', 'assistant' or 'tool'"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "'messages.0.tool_call_id'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "images, audio and files"),
        ({"messages": [{"role": "user"}]}, "'messages.0.content'"),
        ({"model": None}, "Missing required parameter: 'model'"),
        ({"typo": 1}, "Unknown parameter: 'typo'"),
    ],
)
def test_what_would_change_the_answer_is_obeyed_or_refused(
    http: TestClient, workers: EchoWorkers, change: dict[str, object], finding: str
) -> None:
    answer = http.post("/openai/v1/chat/completions", json={"model": "nano", "messages": ask("hi")} | change)
    assert answer.status_code == 400
    assert finding in answer.json()["error"]["message"]
    assert workers.asked == []


def test_what_is_wished_for_reaches_the_model(client: OpenAI, workers: EchoWorkers) -> None:
    client.chat.completions.create(
        model="nano",
        messages=ask("hi"),
        presence_penalty=0.5,
        frequency_penalty=-1,
        logit_bias={"7": -3},
        logprobs=True,
        top_logprobs=4,
        response_format={"type": "json_object"},
    )
    (asked,) = workers.asked
    assert (asked.presence_penalty, asked.frequency_penalty) == (0.5, -1.0)
    assert (asked.logit_bias, asked.top_logprobs) == (((7, -3.0),), 4)
    assert asked.schema == '{"type": "object"}'


def test_what_changes_nothing_is_accepted(http: TestClient) -> None:
    harmless = {
        "user": "me", "service_tier": "auto", "parallel_tool_calls": True, "tools": [], "logprobs": False,
        "response_format": {"type": "text"}, "frequency_penalty": 0, "metadata": {"a": "b"}, "stop": None,
    }  # fmt: skip
    answer = http.post(
        "/openai/v1/chat/completions", json={"model": "nano", "messages": ask("hi")} | harmless
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_stops_the_writing(home: Path, stream: bool) -> None:
    class SlowWorkers(EchoWorkers):
        left = False

        async def stream(self, request: ChatRequest) -> AsyncIterator[Delta | Completion]:
            try:
                yield Delta(0, "once ")
                writing.set()
                await asyncio.Event().wait()
            finally:
                self.left = True

    workers = SlowWorkers()
    writing = asyncio.Event()
    body = json.dumps({"model": "nano", "messages": ask("hi"), "stream": stream}).encode()
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    scope = {
        "type": "http", "method": "POST", "path": "/openai/v1/chat/completions", "query_string": b"",
        "root_path": "", "headers": [(b"api-key", KEY.encode())], "asgi": {"version": "3.0"},
    }  # fmt: skip

    async def receive() -> dict[str, object]:
        if incoming:
            return incoming.pop()
        await writing.wait()
        return {"type": "http.disconnect"}

    async def send(_: object) -> None:
        pass

    asyncio.run(create_app(home, KEY, workers=workers)(scope, receive, send))
    assert workers.left


def test_the_service_never_loads_torch(home: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from workbench.local.api.app import create_app;"
        f"create_app(Path({str(home)!r}), 'key');"
        "print([name for name in ('torch', 'transformers', 'pandas', 'openai') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
