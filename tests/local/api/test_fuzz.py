"""Nothing that is sent makes the service fail: requests made from the API description, right and broken.

`pytest tests/local/api/test_fuzz.py --hypothesis-profile=search` looks further than the same few examples of
each run.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import schemathesis
from api_description import SCHEMAS, closed, description, rewritten
from echo_service import Watch, echo_service
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic.json_schema import models_json_schema
from schemathesis import GenerationMode
from schemathesis.schemas import APIOperation
from starlette.testclient import TestClient
from unbroken import V1, assert_no_failure, one_of_each, send

from workbench.local.api.chat_request import CompletionRequest
from workbench.local.api.chat_routes import CompletionChange
from workbench.local.api.deployment_routes import DeploymentChange, DeploymentRequest
from workbench.local.api.file_routes import ImportRequest, NewUpload, UploadCompletion
from workbench.local.api.job_routes import CopyRequest, job_request
from workbench.local.api.responses import ResponseRequest
from workbench.local.emulation import Emulation

ACCOUNT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a"
DEPLOYMENT = f"{ACCOUNT}/deployments"

# What OpenAI's description does not have, or only with much that is never read here: the path, the method,
# and the service's own shape of the body. All but the management API and the dated addresses are below v1.
MORE = (
    ("/uploads", "post", NewUpload),
    ("/uploads/{upload_id}/parts", "post", None),
    ("/uploads/{upload_id}/complete", "post", UploadCompletion),
    ("/uploads/{upload_id}/cancel", "post", None),
    ("/files/import", "post", ImportRequest),
    ("/chat/completions/{completion_id}", "post", CompletionChange),
    ("/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints/{checkpoint_id}/copy", "post", CopyRequest),
    ("/responses", "post", ResponseRequest),
    ("/responses/{response_id}", "get", None),
    ("/responses/{response_id}", "delete", None),
    ("/responses/{response_id}/cancel", "post", None),
    ("/responses/{response_id}/input_items", "get", None),
    ("/openai/deployments/{deployment}/chat/completions", "post", CompletionRequest),
    ("/openai/fine_tuning/jobs", "post", job_request()),
    ("/openai/fine_tuning/jobs/{fine_tuning_job_id}", "delete", None),
    ("/v1/fine_tuning/jobs", "post", job_request()),
    ("/v1/responses", "post", ResponseRequest),
    (f"{DEPLOYMENT}/{{deployment}}", "put", DeploymentRequest),
    (f"{DEPLOYMENT}/{{deployment}}", "patch", DeploymentChange),
    (f"{DEPLOYMENT}/{{deployment}}", "get", None),
    (f"{DEPLOYMENT}/{{deployment}}", "delete", None),
    (f"{DEPLOYMENT}/{{deployment}}/skus", "get", None),
    (f"{ACCOUNT}/listKeys", "post", None),
    (f"{ACCOUNT}/usages", "get", None),
)
# Fields that must often be right for a request to get any further.
KNOWN_VALUES: dict[str, dict[str, Any]] = {
    "model": {"enum": ["nano", "NANO", "KNOWN-model", "none"]},
    "training_file": {"enum": ["KNOWN-file_id"]},
    "validation_file": {"enum": ["KNOWN-file_id"]},
    "purpose": {"enum": ["fine-tune", "evals"]},
    "previous_response_id": {"enum": ["KNOWN-response_id", "resp_none"]},
    "part_ids": {"enum": [["KNOWN-part_id"]]},
    "bytes": {"enum": [1, 10, 8 * 1024**3]},
    "content_url": {"enum": ["http://127.0.0.1:1/x", "http://[::1%25lo]:1/", "http://localhost:1/\u00e9"]},
    "messages": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "properties": {"role": {"enum": ["system", "user", "assistant"]}, "content": {"type": "string"}},
            "required": ["role", "content"],
        },
    },
}


def requests() -> dict[str, Any]:
    """The description with all calls; known names come up in it, and only mistakes have unknown fields."""
    document = description()
    every = document["components"]["schemas"]
    shapes = [(shape, "validation") for _, _, shape in MORE if shape]
    _, own = models_json_schema(shapes, ref_template=f"{SCHEMAS}Own{{model}}")
    every |= {f"Own{name}": one for name, one in own["$defs"].items()}
    for path, method, shape in MORE:
        call: dict[str, Any] = {"responses": {}}
        if "{" in path:
            names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
            any_text = {"in": "path", "required": True, "schema": {"type": "string"}}
            call["parameters"] = [any_text | {"name": name} for name in names]
        if shape:
            body = {"$ref": f"{SCHEMAS}Own{shape.__name__}"}
            call["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
        document["paths"].setdefault(path, {})[method] = call
    return rewritten(document, _likely)


def _likely(part: dict[str, Any]) -> dict[str, Any]:
    properties = part.get("properties")
    if part.get("type") == "object" and isinstance(properties, dict):
        part["properties"] = {name: _known(name, inner) for name, inner in properties.items()}
    return closed(part)


def _known(name: str, inner: dict[str, Any]) -> dict[str, Any]:
    a_deployments = inner.get("$ref", "").endswith("DeployedModel")  # an object, and no name
    return inner if a_deployments else KNOWN_VALUES.get(name, inner)


OPERATIONS = [found.ok() for found in schemathesis.openapi.from_dict(requests()).get_all_operations()]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with echo_service(tmp_path_factory.mktemp("fuzz") / "home", Watch(), Emulation(quota="off")) as http:
        yield http


@pytest.fixture
def known(http: TestClient) -> dict[str, str]:
    return one_of_each(http)


def modes(operation: APIOperation) -> list[GenerationMode]:
    """A call without a body and without a query has nothing to be broken but its path, which is any text."""
    can_break = bool(operation.body.items or operation.query.items)
    return [GenerationMode.POSITIVE] + [GenerationMode.NEGATIVE] * can_break


def _written(filename: str | None, content: object, *kind: str) -> tuple[object, ...]:
    """A part of a form; the test client sends nothing but bytes and text."""
    return (filename, content if isinstance(content, bytes | str) else json.dumps(content), *kind)


@pytest.mark.parametrize(
    ("operation", "mode"),
    [(operation, mode) for operation in OPERATIONS for mode in modes(operation)],
    ids=lambda value: value.label if isinstance(value, APIOperation) else value.value,
)
def test_no_request_makes_the_service_fail(
    http: TestClient, known: dict[str, str], operation: APIOperation, mode: GenerationMode
) -> None:
    @settings(
        max_examples=12 if settings.default.derandomize else 500,
        deadline=None,  # a busy machine is no failure; ``send`` bounds the processor's time
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_known=st.booleans())
    def send_one(case: schemathesis.Case, is_known: bool) -> None:
        asked = case.as_transport_kwargs()
        path = operation.path.format(**known) if is_known else asked["url"]
        dated = path.startswith(("/openai/", "/subscriptions/"))
        query = (asked["params"] or {}) | ({"api-version": "2025-04-01-preview"} if dated else {})
        whole = dated or path.startswith("/v1/")
        url = f"{path if whole else V1 + path}?{urlencode(query, doseq=True, errors='replace')}"
        body = json.dumps(asked["json"]) if "json" in asked else asked.get("data")
        for name, value in known.items():
            body = body.replace(f"KNOWN-{name}", value) if isinstance(body, str) else body
        files = [(name, _written(*part)) for name, part in asked.get("files") or ()]
        assert_no_failure(send(http, asked["method"], url, content=body, files=files))

    send_one()
