"""Evals through the official client: items of a file, answers of a model, grades by criterion."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import openai
import pytest
from echo_service import EchoWorkers, Watch, client_of, echo_service
from idle_service import KEY
from openai import OpenAI
from openai.types.evals import RunRetrieveResponse
from starlette.testclient import TestClient

from workbench.local.api.app import create_app
from workbench.local.chat import ChatRequest, Completion, Delta
from workbench.local.rehearsal import Rehearsal
from workbench.local.storage.store import Store

SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
}
EXACT = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{ item.answer }}",
    "operation": "eq",
}
SHORT = {
    "type": "python",
    "name": "short",
    "source": "def grade(sample, item):\n    return 1 / len(sample['output_text'])\n",
    "pass_threshold": 0.2,
}
ITEMS = [("Berlin", "Berlin"), ("Paris", "Rome"), ("Rom", "Rom")]
TEMPLATE = {"type": "template", "template": [{"role": "user", "content": "{{item.question}}"}]}


@pytest.fixture
def http(home: Path) -> Iterator[TestClient]:
    with echo_service(home, Watch()) as http:
        yield http


@pytest.fixture
def client(http: TestClient) -> OpenAI:
    return client_of(http)


def made(client: OpenAI, *criteria: dict[str, object]) -> str:
    config = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
    whole = client.evals.create(
        name="capitals", data_source_config=config, testing_criteria=criteria or (EXACT,)
    )
    return whole.id


def uploaded(client: OpenAI, items: list[tuple[str, str]] = ITEMS) -> str:
    lines = [json.dumps({"item": {"question": question, "answer": answer}}) for question, answer in items]
    return client.files.create(file=("items.jsonl", "\r\n".join(lines).encode()), purpose="evals").id


def questions(file_id: str, model: str = "nano", **more: object) -> dict[str, object]:
    source = {"type": "file_id", "id": file_id}
    return {"type": "completions", "model": model, "source": source, "input_messages": TEMPLATE, **more}


def finished(client: OpenAI, eval_id: str, run_id: str) -> RunRetrieveResponse:
    """The run when it has ended; each look gives the service its turn."""
    for _ in range(10_000):
        run = client.evals.runs.retrieve(run_id, eval_id=eval_id)
        if run.status not in ("queued", "in_progress"):
            return run
    raise AssertionError(run.status)


def examined(client: OpenAI, *criteria: dict[str, object], **source: object) -> tuple[str, str]:
    eval_id = made(client, *criteria)
    run = client.evals.runs.create(eval_id, name="first", data_source=questions(uploaded(client), **source))
    finished(client, eval_id, run.id)
    return eval_id, run.id


# Evals


def test_an_eval_repeats_what_it_is_made_of(client: OpenAI) -> None:
    whole = client.evals.retrieve(made(client, EXACT, SHORT))
    assert whole.name == "capitals"
    assert [criterion.name for criterion in whole.testing_criteria] == ["exact", "short"]
    assert whole.data_source_config.to_dict() == {
        "type": "custom",
        "schema": {
            "type": "object",
            "properties": {"item": SCHEMA, "sample": {"type": "object"}},
            "required": ["item", "sample"],
        },
    }


def test_evals_are_listed_renamed_and_deleted(client: OpenAI) -> None:
    first, second = made(client), made(client)
    assert [whole.id for whole in client.evals.list()] == [first, second]
    assert [whole.id for whole in client.evals.list(order="desc", limit=1)] == [second, first]
    assert client.evals.update(first, name="towns", metadata={"a": "b"}).name == "towns"
    assert client.evals.delete(second).deleted
    assert [(whole.id, whole.metadata) for whole in client.evals.list()] == [(first, {"a": "b"})]


@pytest.mark.parametrize(
    ("criteria", "config", "finding"),
    [
        ([EXACT | {"operation": "equals"}], {}, r"testing_criteria.0: grader.operation"),
        ([EXACT, EXACT], {}, "two criteria are called 'exact'"),
        ([], {}, "testing_criteria"),
        ([EXACT], {"item_schema": {"type": "text"}}, "item_schema.type is no JSON Schema"),
        ([EXACT], {"type": "logs"}, "keeps no logs to evaluate"),
    ],
)
def test_an_eval_that_could_grade_nothing_is_refused(
    client: OpenAI, criteria: list[dict[str, object]], config: dict[str, object], finding: str
) -> None:
    config = {"type": "custom", "item_schema": SCHEMA} | config
    with pytest.raises(openai.BadRequestError, match=finding):
        client.evals.create(data_source_config=config, testing_criteria=criteria)


# Runs


def test_a_run_counts_items_and_criteria(client: OpenAI) -> None:
    eval_id, run_id = examined(client, EXACT, SHORT)
    run = client.evals.runs.retrieve(run_id, eval_id=eval_id)
    assert (run.status, run.name, run.model, run.error) == ("completed", "first", "nano", None)
    # Berlin is right and too long, Paris is wrong, Rom is right and short.
    assert run.result_counts.to_dict() == {"total": 3, "passed": 1, "failed": 2, "errored": 0}
    assert [(one.testing_criteria, one.passed, one.failed) for one in run.per_testing_criteria_results] == [
        ("exact", 2, 1),
        ("short", 2, 1),
    ]
    [usage] = run.per_model_usage
    assert usage.to_dict() == {
        "model_name": "nano",
        "invocation_count": 3,
        "prompt_tokens": 15,
        "completion_tokens": 6,
        "total_tokens": 21,
        "cached_tokens": 3,
    }


def test_an_output_item_has_the_question_the_answer_and_its_grades(client: OpenAI) -> None:
    eval_id, run_id = examined(client, EXACT, SHORT, sampling_params={"temperature": 0, "seed": 7})
    items = list(client.evals.runs.output_items.list(run_id, eval_id=eval_id, limit=2))
    assert [(item.datasource_item_id, item.status) for item in items] == [
        (0, "fail"),
        (1, "fail"),
        (2, "pass"),
    ]
    assert items[0].datasource_item == {"question": "Berlin", "answer": "Berlin"}
    assert [(result.name, result.passed, round(result.score, 3)) for result in items[0].results] == [
        ("exact", True, 1.0),
        ("short", False, 0.167),
    ]
    sample = items[0].sample
    assert (sample.input[0].role, sample.input[0].content) == ("user", "Berlin")
    assert (sample.output[0].content, sample.finish_reason) == ("Berlin", "stop")
    assert (sample.temperature, sample.seed, sample.usage.total_tokens) == (0, 7, 7)
    same = client.evals.runs.output_items.retrieve(items[0].id, eval_id=eval_id, run_id=run_id)
    assert same.to_dict() == items[0].to_dict()


def test_output_items_are_found_by_their_status(client: OpenAI) -> None:
    eval_id, run_id = examined(client)
    failed = client.evals.runs.output_items.list(run_id, eval_id=eval_id, status="fail")
    assert [item.datasource_item["question"] for item in failed] == ["Paris"]


def test_a_run_asks_a_deployment(home: Path) -> None:
    path = (
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/deployments/towns"
    )
    body = {"sku": {"name": "Standard"}, "properties": {"model": {"format": "OpenAI", "name": "nano"}}}
    watch = Watch()
    with echo_service(home, watch, Rehearsal(strict=True)) as http:
        client = client_of(http)
        http.put(f"{path}?api-version=2024-10-01", json=body)
        eval_id, source = made(client), questions(uploaded(client), "towns")
        with pytest.raises(openai.NotFoundError, match="please wait a moment"):
            client.evals.runs.create(eval_id, data_source=source)
        watch.now += 5
        run = client.evals.runs.create(eval_id, data_source=source)
        assert finished(client, eval_id, run.id).result_counts.passed == 2


def test_what_cannot_be_answered_or_graded_is_counted_apart(client: OpenAI) -> None:
    file_id = uploaded(client, [("out of order", "x"), ("", "x"), ("Rome", "Rome")])
    eval_id = made(client, SHORT | {"pass_threshold": 0.1})
    run = client.evals.runs.create(eval_id, data_source=questions(file_id))
    counts = finished(client, eval_id, run.id).result_counts
    assert (counts.passed, counts.failed, counts.errored) == (1, 0, 2)
    unasked, ungraded, _ = client.evals.runs.output_items.list(run.id, eval_id=eval_id)
    assert (unasked.status, unasked.sample.error.code, unasked.results) == ("error", "serviceUnavailable", [])
    assert ungraded.status == "error"
    assert "ZeroDivisionError" in ungraded.results[0].error["message"]


def test_a_model_of_the_service_can_judge(client: OpenAI) -> None:
    judge = {
        "type": "score_model",
        "name": "judge",
        "model": "nano",
        "input": [{"role": "user", "content": "Score: {{item.answer}}"}],
        "range": [0, 10],
        "pass_threshold": 5,
    }
    file_id = uploaded(client, [("a", "7"), ("b", "2")])
    eval_id = made(client, judge)
    run = client.evals.runs.create(eval_id, data_source=questions(file_id))
    counts = finished(client, eval_id, run.id).result_counts
    assert (counts.passed, counts.failed) == (1, 1)


def test_answers_that_a_file_brings_are_graded_as_they_are(client: OpenAI) -> None:
    eval_id = made(client)
    lines = [
        {"item": {"question": "Italy", "answer": "Rome"}, "sample": {"output_text": text}}
        for text in ("Rome", "Bari")
    ]
    source = {"type": "jsonl", "source": {"type": "file_content", "content": lines}}
    run = client.evals.runs.create(eval_id, data_source=source)
    counts = finished(client, eval_id, run.id).result_counts
    assert (counts.passed, counts.failed) == (1, 1)


def test_messages_may_stand_in_the_item(client: OpenAI) -> None:
    config = {"type": "custom", "item_schema": {"type": "object"}}
    eval_id = client.evals.create(data_source_config=config, testing_criteria=[EXACT]).id
    item = {"answer": "Rome", "chat": [{"role": "user", "content": "Rome"}]}
    source = {
        "type": "completions",
        "model": "nano",
        "source": {"type": "file_content", "content": [{"item": item}]},
        "input_messages": {"type": "item_reference", "item_reference": "item.chat"},
    }
    run = client.evals.runs.create(eval_id, data_source=source)
    assert finished(client, eval_id, run.id).result_counts.passed == 1


def test_runs_are_listed_by_status_and_deleted(client: OpenAI) -> None:
    eval_id, run_id = examined(client)
    assert [run.id for run in client.evals.runs.list(eval_id, status="completed")] == [run_id]
    assert client.evals.runs.list(eval_id, status="failed").data == []
    with pytest.raises(openai.BadRequestError, match="it has ended: completed"):
        client.evals.runs.cancel(run_id, eval_id=eval_id)
    assert client.evals.runs.delete(run_id, eval_id=eval_id).deleted
    assert client.evals.runs.list(eval_id).data == []


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b'{"item": {"question": "a", "answer": "b"}}\nnonsense', "items.jsonl line 2 is not JSON"),
        (b'{"question": "a"}', r'items.jsonl line 1 has no "item"'),
        (b'\n{"item": {"question": "a", "answer": 7}}', "items.jsonl line 2: item.answer breaks"),
        (b"\xef\xbb\xbf\n", "has no lines"),
        (b"\xff", "not UTF-8"),
        (b'{"item": {"question": "\\ud800", "answer": "b"}}', "line 1 is not JSON"),
        (b'{"item": {"question": "a", "answer": NaN}}', "line 1 is not JSON"),
        (b'{"item": ' + b"[" * 100_000, "line 1 is not JSON"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(
    client: OpenAI, content: bytes, finding: str
) -> None:
    file_id = client.files.create(file=("items.jsonl", content), purpose="evals").id
    with pytest.raises(openai.BadRequestError, match=finding):
        client.evals.runs.create(made(client), data_source=questions(file_id))


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"model": "gpt-none"}, "does not exist"),
        ({"sampling_params": {"temperature": 9}}, "temperature"),
        ({"sampling_params": {"best_of": 3}}, "sampling_params knows"),
        ({"source": {"type": "file_id", "id": "file-none"}}, "no file 'file-none'"),
        ({"source": {"type": "stored_completions"}}, "data_source"),
        (
            {
                "input_messages": {
                    "type": "template",
                    "template": [{"role": "user", "content": "{{item.town}}"}],
                }
            },
            "{{item.town}} finds nothing",
        ),
    ],
)
def test_a_run_that_could_ask_nothing_is_refused(
    client: OpenAI, change: dict[str, object], finding: str
) -> None:
    eval_id = made(client)
    with pytest.raises(openai.APIStatusError, match=finding):
        client.evals.runs.create(eval_id, data_source=questions(uploaded(client)) | change)
    assert client.evals.runs.list(eval_id).data == []


# Restarts


class SilentWorkers(EchoWorkers):
    """Answers Berlin, and nothing else ever."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta | Completion]:
        if request.messages[-1]["content"] != "Berlin":
            await anyio.sleep_forever()
        async for piece in super().stream(request):
            yield piece


def test_a_run_goes_on_after_a_restart_without_its_file(home: Path) -> None:
    with TestClient(create_app(home, KEY, workers=SilentWorkers()), headers={"api-key": KEY}) as http:
        client = client_of(http)
        eval_id, file_id = made(client), uploaded(client)
        run = client.evals.runs.create(eval_id, data_source=questions(file_id))
        while not client.evals.runs.retrieve(run.id, eval_id=eval_id).result_counts.passed:
            pass
        client.files.delete(file_id)
    with echo_service(home, Watch()) as http:
        done = finished(client_of(http), eval_id, run.id)
        assert done.result_counts.to_dict() == {"total": 3, "passed": 2, "failed": 1, "errored": 0}


def test_a_cancelled_run_keeps_what_it_has_and_does_not_go_on(home: Path) -> None:
    with TestClient(create_app(home, KEY, workers=SilentWorkers()), headers={"api-key": KEY}) as http:
        client = client_of(http)
        eval_id = made(client)
        run = client.evals.runs.create(eval_id, data_source=questions(uploaded(client)))
        while not client.evals.runs.retrieve(run.id, eval_id=eval_id).result_counts.passed:
            pass
        assert client.evals.runs.cancel(run.id, eval_id=eval_id).status == "canceled"
    with echo_service(home, Watch()) as http:
        cancelled = client_of(http).evals.runs.retrieve(run.id, eval_id=eval_id)
        assert (cancelled.status, cancelled.result_counts.passed) == ("canceled", 1)
    assert Store(home).eval_runs.unfinished() == []
