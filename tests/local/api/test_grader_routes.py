"""Graders over HTTP, by the official client: validated, run, and refused with their place."""

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from openai import AzureOpenAI, BadRequestError, NotFoundError, OpenAI
from openai.types.fine_tuning.alpha import GraderRunResponse, GraderValidateResponse
from starlette.testclient import TestClient

from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.graders.sandbox import close_sandboxes
from workbench.local.api.app import create_app
from workbench.local.chat_protocol import ChatRequest, Choice, Completion, Delta, Refusal

KEY = "the-key-of-this-test"
NO_ERRORS = {
    "formula_parse_error": False,
    "sample_parse_error": False,
    "truncated_observation_error": False,
    "unresponsive_reward_error": False,
    "invalid_variable_error": False,
    "other_error": False,
    "python_grader_server_error": False,
    "python_grader_server_error_type": None,
    "python_grader_runtime_error": False,
    "python_grader_runtime_error_details": None,
    "model_grader_server_error": False,
    "model_grader_refusal_error": False,
    "model_grader_parse_error": False,
    "model_grader_server_error_details": None,
}


class Judge:
    """Gives every answer the number that follows the word "worth"."""

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def wake(self) -> None:
        pass

    async def complete(self, request: ChatRequest) -> Completion:
        self.asked.append(request)
        said = request.messages[-1]["content"].split("worth ")[1].split("\n")[0]
        if said == "nothing":
            raise Refusal(503, "serviceUnavailable", "The process ended; ask again.")
        return Completion((Choice(said, "stop"),), 20, 3, 0)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta | Completion]:
        yield await self.complete(request)


@pytest.fixture
def judge() -> Judge:
    return Judge()


@pytest.fixture
def http(home: Path, judge: Judge) -> Iterator[TestClient]:
    app = create_app(home, KEY, workers=judge)
    with TestClient(app, headers={"api-key": KEY}, raise_server_exceptions=False) as http:
        yield http


@pytest.fixture
def client(http: TestClient) -> OpenAI:
    return OpenAI(base_url="http://testserver/openai/v1/", api_key=KEY, http_client=http, max_retries=0)


def string_check(**changes: object) -> dict[str, object]:
    return grader("exact") | changes


def judged(kind: str = "score_model", **changes: object) -> dict[str, object]:
    messages = [{"role": "user", "content": "This is worth {{sample.output_text}}"}]
    return {"type": kind, "name": "judge", "model": "nano", "input": messages} | changes


def python(body: str) -> dict[str, object]:
    return {"type": "python", "name": "mine", "source": f"def grade(sample, item):\n    {body}\n"}


def run(client: OpenAI, grader: dict[str, object], said: str, **item: object) -> GraderRunResponse:
    """The response, held to the client's own type."""
    raw = client.fine_tuning.alpha.graders.with_raw_response.run(grader=grader, model_sample=said, item=item)
    return GraderRunResponse.model_validate(raw.http_response.json(), strict=True)


def errors(response: GraderRunResponse) -> dict[str, object]:
    return response.metadata.errors.model_dump(by_alias=True)


def test_a_valid_grader_comes_back_as_it_was_sent(client: OpenAI):
    for mine in (string_check(), python("return 1"), judged(range=[0, 5]), grader("data/gql/gql.py")):
        answer = client.fine_tuning.alpha.graders.validate(grader=mine)
        assert isinstance(answer, GraderValidateResponse)
        assert answer.to_dict() == {"grader": mine}


def test_a_grader_is_run_on_an_answer(client: OpenAI):
    response = run(client, string_check(), "42", answer="42")
    assert response.reward == 1.0
    assert response.metadata.model_dump(exclude={"errors", "execution_time"}) == {
        "name": "exact",
        "type": "string_check",
        "scores": {},
        "token_usage": None,
        "sampled_model_name": None,
    }
    assert errors(response) == NO_ERRORS
    assert 0 < response.metadata.execution_time < 1
    assert (response.sub_rewards, response.api_model_grader_token_usage_per_model) == ({}, {})


def test_every_family_of_addresses_grades(http: TestClient):
    body = {"grader": string_check(), "model_sample": "1", "item": {"answer": "1"}}
    for path in ("/openai/v1", "/v1", "/api/projects/mine/openai/v1"):
        assert http.post(f"{path}/fine_tuning/alpha/graders/run", json=body).json()["reward"] == 1.0
    azure = AzureOpenAI(
        azure_endpoint="http://testserver",
        api_key=KEY,
        api_version="2025-04-01-preview",
        http_client=http,
        max_retries=0,
    )
    assert run(azure, string_check(), "1", answer="1").reward == 1.0


def test_python_runs_in_a_sandbox(client: OpenAI, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert run(client, python("return len(item['answer']) / 4"), "", answer="abc").reward == 0.75
    response = run(client, python("import os; return os.environ['OPENAI_API_KEY']"), "")
    assert response.reward == 0.0
    assert errors(response) == NO_ERRORS | {
        "python_grader_runtime_error": True,
        "python_grader_runtime_error_details": "KeyError: 'OPENAI_API_KEY', line 2 of grader.source",
    }
    died = run(client, python("import os; os._exit(1)"), "")
    assert errors(died) == NO_ERRORS | {
        "python_grader_server_error": True,
        "python_grader_server_error_type": "exit",
    }


def test_a_model_of_the_service_is_the_judge(client: OpenAI, judge: Judge):
    mine = judged(range=[0, 5], sampling_params={"temperature": 0, "max_completions_tokens": 9})
    response = run(client, mine, "4")
    assert response.reward == 4.0
    assert (response.metadata.token_usage, response.metadata.sampled_model_name) == (23, "nano")
    assert response.api_model_grader_token_usage_per_model == {"nano": 23}
    assert [(asked.base_model, asked.temperature, asked.max_tokens) for asked in judge.asked] == [
        ("nano", 0, 9)
    ]


def test_a_label_is_chosen(client: OpenAI):
    mine = judged("label_model", labels=["good", "bad"], passing_labels=["good"])
    assert [run(client, mine, said).reward for said in ("good", "bad")] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("a lot", {"model_grader_parse_error": True}),
        ("2", {"model_grader_parse_error": True}),
        ("I'm sorry, I cannot help", {"model_grader_refusal_error": True}),
        (
            "nothing",
            {
                "model_grader_server_error": True,
                "model_grader_server_error_details": "The process ended; ask again.",
            },
        ),
    ],
)
def test_a_judge_that_gives_no_score_is_told_in_the_errors(
    client: OpenAI, said: str, error: dict[str, object]
):
    response = run(client, judged(), said)
    assert (response.reward, errors(response)) == (0.0, NO_ERRORS | error)


def test_a_multi_grader_shows_its_parts(client: OpenAI):
    mine = {
        "type": "multi",
        "name": "both",
        "graders": {"exact": string_check(), "worth": judged()},
        "calculate_output": "0.5 * exact + 0.5 * worth",
    }
    # The client's own type knows one grader in a multi grader only; the guides have several, by name.
    raw = client.fine_tuning.alpha.graders.with_raw_response.validate(grader=mine)
    assert raw.http_response.json() == {"grader": mine}
    response = run(client, mine, "0.5", answer="0.5")
    assert response.reward == 0.75
    assert response.sub_rewards == {"exact": 1.0, "worth": 0.5}
    broken = run(client, mine | {"calculate_output": "1 / (1 - exact)"}, "0.5", answer="0.5")
    assert (broken.reward, errors(broken)["formula_parse_error"]) == (0.0, True)
    silent = run(client, mine, "much", answer="0.5")
    assert (silent.reward, silent.sub_rewards) == (0.0, {"exact": 0.0, "worth": None})


def test_an_item_without_the_field_and_an_answer_without_json_are_told(client: OpenAI):
    assert errors(run(client, string_check(), "42"))["invalid_variable_error"] is True
    response = run(client, string_check(input="{{sample.output_json.n}}"), "42", answer="42")
    assert (response.reward, errors(response)["sample_parse_error"]) == (0.0, True)


@pytest.mark.parametrize(
    ("broken", "param"),
    [
        (string_check(operation="is"), "grader.operation"),
        (string_check(reference="{{answer}}"), "grader.reference"),
        (
            string_check(type="text_similarity", evaluation_metric="cosine"),
            "grader.evaluation_metric",
        ),
        (python("return ("), "grader.source"),
        ({}, "grader.type"),
        (
            {"type": "multi", "name": "x", "graders": {"a": string_check()}, "calculate_output": "b"},
            "grader.calculate_output",
        ),
        (
            {"type": "multi", "name": "x", "graders": {"a": python("")}, "calculate_output": "a"},
            "grader.graders.a.source",
        ),
        (judged(input=[]), "grader.input"),
    ],
)  # fmt: skip
def test_a_bad_grader_is_refused_with_its_place(client: OpenAI, broken: dict[str, object], param: str):
    for call in (
        lambda: client.fine_tuning.alpha.graders.validate(grader=broken),
        lambda: client.fine_tuning.alpha.graders.run(grader=broken, model_sample="x"),
    ):
        with pytest.raises(BadRequestError) as caught:
            call()
        assert caught.value.body["param"] == param
        assert caught.value.body["message"].startswith(param)


def test_a_judge_that_is_not_here_is_refused_with_its_place(client: OpenAI):
    inner = {"type": "multi", "name": "x", "graders": {"a": judged(model="gpt-4o")}, "calculate_output": "a"}
    for broken, param in ((judged(model="gpt-4o"), "grader.model"), (inner, "grader.graders.a.model")):
        with pytest.raises(NotFoundError) as caught:
            client.fine_tuning.alpha.graders.validate(grader=broken)
        assert caught.value.body["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model_sample": "x"}, "grader"),
        ({"grader": string_check()}, "model_sample"),
        ({"grader": string_check(), "model_sample": 7}, "model_sample"),
        ({"grader": "exact", "model_sample": "x"}, "grader"),
        ({"grader": string_check(), "model_sample": "x", "item": [1]}, "item"),
        ({"grader": string_check(), "model_sample": "x", "more": 1}, "more"),
    ],
)
def test_a_body_of_another_shape_is_refused(http: TestClient, body: dict[str, object], param: str):
    answer = http.post("/v1/fine_tuning/alpha/graders/run", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_grader_that_takes_its_time_keeps_nobody_waiting(client: OpenAI, http: TestClient):
    slow = python("import time; time.sleep(1.5); return 1")
    begun = threading.Barrier(5)

    def grade(_: int) -> float:
        begun.wait()
        return run(client, slow, "").reward

    with ThreadPoolExecutor(4) as threads:
        rewards = [threads.submit(grade, number) for number in range(4)]
        begun.wait()
        assert http.get("/health").json()["status"] == "ok"
        assert not any(reward.done() for reward in rewards)
        assert [reward.result() for reward in rewards] == [1.0] * 4


def test_numbers_that_json_does_not_know_are_no_mistake_of_the_service(http: TestClient):
    mine = string_check(reference="{{item.n}}", more="number")
    plain = json.dumps({"grader": mine, "model_sample": "x", "item": {"n": "number"}})
    for number in ("NaN", "Infinity", "1e999", "[NaN]"):
        body = plain.replace('"number"', number)
        for call in ("validate", "run"):
            answer = http.post(f"/v1/fine_tuning/alpha/graders/{call}", content=body)
            assert answer.status_code in (200, 400), answer.text


def test_a_reply_of_thirty_thousand_brackets_is_the_graders_own_error(client: OpenAI):
    body = (
        "import os, time\n    for number in range(3, 256):"
        "\n        try: os.write(number, b'[' * 30_000 + b'\\n')"
        "\n        except OSError: pass\n    time.sleep(20)"
    )
    response = run(client, python(body), "")
    assert (response.reward, errors(response)) == (
        0.0,
        NO_ERRORS | {"python_grader_server_error": True, "python_grader_server_error_type": "output"},
    )


def test_graders_that_hang_do_not_hold_up_the_others(client: OpenAI):
    hanging = python("import time; time.sleep(100)")
    multi = {"type": "multi", "name": "m", "graders": {"a": hanging}, "calculate_output": "a"}
    with ThreadPoolExecutor(40) as threads:
        hung = [threads.submit(run, client, (hanging, multi)[number % 2], "") for number in range(40)]
        while sum(one.name.startswith("grade-sandbox") for one in threading.enumerate()) < 16:
            time.sleep(0.05)
        start = time.monotonic()
        assert run(client, string_check(), "42", answer="42").reward == 1.0
        assert run(client, judged(), "1").reward == 1.0
        assert time.monotonic() - start < 3
        assert not any(one.done() for one in hung)
        while wait(hung, timeout=0.2).not_done:
            close_sandboxes()  # which ends them, one batch after the other


def test_jobs_whose_grader_hangs_do_not_hold_up_an_upload(client: OpenAI, http: TestClient):
    def file() -> str:
        return client.files.create(file=("rows.jsonl", b"{}\n"), purpose="fine-tune").id

    reinforcement = {"grader": {"type": "python", "name": "g", "source": "import time\ntime.sleep(100)"}}
    body = {
        "model": "nano",
        "training_file": file(),
        "validation_file": file(),
        "method": {"type": "reinforcement", "reinforcement": reinforcement},
    }
    with ThreadPoolExecutor(45) as threads:
        asked = [threads.submit(http.post, "/openai/v1/fine_tuning/jobs", json=body) for _ in range(45)]
        while sum(one.name.startswith("grade-sandbox") for one in threading.enumerate()) < 16:
            time.sleep(0.05)
        start = time.monotonic()
        file()
        assert time.monotonic() - start < 3
        assert not all(one.done() for one in asked)
        while wait(asked, timeout=0.2).not_done:
            close_sandboxes()
    assert {one.result().status_code for one in asked} == {400}
