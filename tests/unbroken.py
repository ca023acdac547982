"""What every answer of the service is held to, whatever was asked; and one of each kind to ask about."""

import time
from typing import Any

import httpx2
from api_description import description, schema
from echo_service import client_of
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

V1 = "/openai/v1"
CPU_SECONDS = 5.0  # of this process, the service in it; what one request may cost at most
ERROR = Draft202012Validator(schema("ErrorResponse", description()))
DATED_ERROR = Draft202012Validator(
    {
        "properties": {
            "error": {
                "properties": {
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "target": {"type": "string"},
                    "details": {"type": "array", "maxItems": 0},
                },
                "required": ["code", "message", "details"],
                "additionalProperties": False,
            }
        }
    }
)
# A server error that is an answer: what Azure has and a single machine cannot do.
SAID_PLAINLY = {501: "notImplemented"}

EXACT = {"type": "string_check", "name": "e", "operation": "eq", "input": "a", "reference": "a"}


def assert_no_failure(answer: httpx2.Response) -> None:
    """An answer, or a refusal in OpenAI's shape, at the dated addresses in Azure's older one."""
    if answer.status_code < 400:
        return
    body = answer.json()
    (DATED_ERROR if "details" in body["error"] else ERROR).validate(body)
    said = SAID_PLAINLY.get(answer.status_code)
    assert answer.status_code < 500 or body["error"]["code"] == said, body
    assert "Traceback" not in body["error"]["message"]


def send(http: TestClient, method: str, path: str, **content: Any) -> httpx2.Response:
    """The answer, if it came in time."""
    begin = time.process_time()
    answer = http.request(method, path, **content)
    assert time.process_time() - begin < CPU_SECONDS
    return answer


def one_of_each(http: TestClient) -> dict[str, str]:
    """Ids by the names that the paths of the API description have for them."""
    client, store = client_of(http), http.app.state.store
    file = client.files.create(file=("a.jsonl", b'{"messages": []}\n' * 10), purpose="fine-tune").id
    upload = client.uploads.create(filename="a.jsonl", purpose="evals", bytes=1, mime_type="text/jsonl").id
    job = client.fine_tuning.jobs.create(model="nano", training_file=file).id
    model = f"nano.ft-{job}"
    store.checkpoints.add(job, 1, model, {"train_loss": 1.0}, store.checkpoints.folder(job, 1))
    client.chat.completions.create(model="nano", messages=[{"role": "user", "content": "x"}], store=True)
    return {
        "file_id": file,
        "upload_id": upload,
        "part_id": client.uploads.parts.create(upload, data=b"x").id,
        "fine_tuning_job_id": job,
        "checkpoint_id": model,
        "fine_tuned_model_checkpoint": model,
        "permission_id": "none",
        "model": model,
        "deployment": "nano",
        "response_id": client.responses.create(model="nano", input="x").id,
        "completion_id": client.chat.completions.list(order="desc", limit=1).data[0].id,
    }
