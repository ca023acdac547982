"""Evaluating on the service: the real client on the real local service, and on one that misbehaves."""

import json
import math
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench import DataError, Prompt, SetupError, evaluate, grader
from workbench.dataset.examples import Dataset, Example
from workbench.evaluation.evals import evaluate_on_service
from workbench.local.api.app import create_app
from workbench.local.chat import ChatError, ChatRequest, Choice, Completion, Delta

KEY = "the-key-of-this-test"
EXACT = grader("exact")
IDS = ("0dec03f96ef7", "ccc355c37093")  # of the first two questions


def dataset(count: int, system: str = "") -> Dataset:
    """Questions ``2 x n?`` whose answers are the products."""
    leading = ({"role": "system", "content": system},) if system else ()
    rows = [
        Example(
            (
                *leading,
                {"role": "user", "content": f"2 x {n}?"},
                {"role": "assistant", "content": f"{2 * n}"},
            ),
            f"sums.csv:{n + 2}",
        )
        for n in range(count)
    ]
    return Dataset("sums.csv", tuple(rows))


class Doubling:
    """The local service's workers, of one thought: it doubles, but for odd numbers, and will not take 9."""

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def wake(self) -> None: ...

    async def complete(self, request: ChatRequest) -> Completion:
        self.asked.append(request)
        number = int(request.messages[-1]["content"].split()[-1].strip("?"))
        if number == 9:
            raise ChatError(400, "context_length_exceeded", "This prompt is too long.")
        said = "no" if number % 2 else str(2 * number)
        return Completion((Choice(said, "stop"),), 12, 1, 4)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta | Completion]:
        yield await self.complete(request)


@pytest.fixture
def workers() -> Doubling:
    return Doubling()


@pytest.fixture
def client(home: Path, workers: Doubling) -> Iterator[OpenAI]:
    app = create_app(home, KEY, workers=workers)
    with TestClient(app, headers={"api-key": KEY}) as http:
        yield OpenAI(base_url="http://testserver/openai/v1/", api_key=KEY, http_client=http, max_retries=0)


def on_service(client: OpenAI, rows: Dataset, **changes: object):
    return evaluate_on_service(
        client, "nano", rows, changes.pop("grader", EXACT), poll_seconds=0.01, **changes
    )


def test_it_gives_the_same_evaluation_as_asking_here(client: OpenAI):
    there = on_service(client, dataset(5, "Sums."))
    here = evaluate(client, "nano", dataset(5, "Sums."), EXACT)
    assert [item.score for item in there.items] == [1.0, 0.0, 1.0, 0.0, 1.0]
    for one, other in zip(there.items, here.items, strict=True):
        assert (one.id, one.origin, one.question, one.reference) == (
            other.id,
            other.origin,
            other.question,
            other.reference,
        )
        assert (one.answer, one.score, one.prompt_tokens) == (other.answer, other.score, other.prompt_tokens)
    assert (there.prompt, there.grader, there.interval) == (here.prompt, here.grader, here.interval)
    assert math.isnan(there.seconds_p50)


def test_a_second_time_finds_the_run_and_pays_nothing(client: OpenAI, workers: Doubling):
    first = on_service(client, dataset(3))
    assert on_service(client, dataset(3)).items == first.items
    assert len(workers.asked) == 3
    assert len(list(client.files.list(purpose="evals"))) == 1


def test_another_prompt_is_another_run_of_the_same_eval(client: OpenAI, workers: Doubling):
    on_service(client, dataset(2, "Sums."))
    on_service(client, dataset(2, "Sums."), prompt=Prompt("other", system="Double it."))
    [whole] = client.evals.list()
    assert len(list(client.evals.runs.list(whole.id))) == 2
    said = [request.messages[0]["content"] for request in workers.asked]
    assert sorted(said) == ["Double it.", "Double it.", "Sums.", "Sums."]


def test_another_grader_is_another_eval(client: OpenAI):
    on_service(client, dataset(2))
    found = on_service(client, dataset(2), grader={**EXACT, "operation": "ne"})
    assert [item.score for item in found.items] == [0.0, 1.0]
    assert len(list(client.evals.list())) == 2


def test_what_is_around_every_question_stands_in_the_template_and_nothing_else_is_sent(client: OpenAI):
    rows = [Example(row.messages, row.origin, metadata={"customer": "secret"}) for row in dataset(2, "Sums.")]
    on_service(client, Dataset("sums.csv", tuple(rows)))
    [whole] = client.evals.list()
    [run] = client.evals.runs.list(whole.id)
    template = run.data_source.input_messages.template
    assert [(message.role, message.content) for message in template] == [
        ("system", "Sums."),
        ("user", "{{item.message_2}}"),
    ]
    [file] = client.files.list(purpose="evals")
    assert json.loads(client.files.content(file.id).text.splitlines()[1]) == {
        "item": {"question": "2 x 1?", "answer": "2", "workbench_id": IDS[1], "message_2": "2 x 1?"}
    }


def test_templates_in_a_prompt_are_not_filled_in_by_the_service(client: OpenAI, workers: Doubling):
    on_service(client, dataset(1), prompt=Prompt("odd", system="Write {{item.answer}} and {x}."))
    assert workers.asked[0].messages[0]["content"] == "Write {{item.answer}} and {x}."


def test_questions_with_different_turns_bring_their_messages_whole(client: OpenAI, workers: Doubling):
    rows = Dataset("mixed", (dataset(1, "Sums.")[0], dataset(2)[1]))
    assert [item.score for item in on_service(client, rows).items] == [1.0, 0.0]
    assert sorted(len(request.messages) for request in workers.asked) == [1, 2]


def test_more_items_than_a_page_come_back_all(client: OpenAI):
    found = on_service(client, dataset(230))
    assert len(found.items) == 230
    assert (found.items[229].question, found.items[228].answer) == ("2 x 229?", "456")


def test_what_the_service_could_not_ask_or_grade_is_a_problem_of_that_item(client: OpenAI):
    source = "def grade(sample, item):\n    return 1 if sample['output_text'] != '4' else 1 / 0"
    found = on_service(client, dataset(10), grader={"type": "python", "name": "odd", "source": source})
    assert [math.isnan(item.score) for item in found.items].count(True) == 2
    assert "ZeroDivisionError" in found.items[2].problem
    assert found.items[9].problem == (
        "the service got no answer: This prompt is too long. (context_length_exceeded)"
    )


def test_several_samples_are_a_run_each(client: OpenAI, workers: Doubling):
    found = on_service(client, dataset(2), samples=3, temperature=0.5)
    assert [len(item.samples) for item in found.items] == [3, 3]
    assert sorted(request.seed for request in workers.asked) == [0, 0, 1, 1, 2, 2]


def test_a_grader_that_the_api_does_not_have_is_told_before_anything_is_sent(client: OpenAI):
    multi = {"type": "multi", "name": "both", "graders": {"a": EXACT}, "calculate_output": "a"}
    with pytest.raises(DataError, match=r"this grader is of type 'multi'; evaluate\(client, …\) grades"):
        on_service(client, dataset(1), grader=multi)
    with pytest.raises(DataError, match=r"\{\{item.origin\}\}"):
        on_service(client, dataset(1), grader={**EXACT, "reference": "{{item.origin}}"})
    assert list(client.evals.list()) == []


class Odd:
    """A service that runs evals its own way."""

    def __init__(self, **run: object) -> None:
        self.run = {"status": "completed", "result_counts": None, "error": None, **run}
        self.items: list[dict[str, object]] = []
        self.sent: list[str] = []
        self.interrupted = False
        routes = [
            Route("/v1/{rest:path}", self.answer, methods=["GET", "POST"]),
        ]
        http = TestClient(Starlette(routes=routes), base_url="http://testserver/v1/")
        self.client = OpenAI(
            base_url="http://testserver/v1/", api_key="test", http_client=http, max_retries=0
        )

    async def answer(self, request: Request) -> JSONResponse:
        path, method = request.path_params["rest"], request.method
        self.sent.append(f"{method} {path}")
        if path == "files" and method == "POST":
            return JSONResponse({"id": "file-1", "status": "processed", "bytes": 1, "filename": "f"})
        if path == "evals" and method == "POST":
            return JSONResponse({"id": "eval_1", "metadata": {}})
        if path == "evals/eval_1/runs" and method == "POST":
            return JSONResponse({"id": "evalrun_1", "eval_id": "eval_1", **self.run})
        if path == "evals/eval_1/runs/evalrun_1":
            signal.raise_signal(signal.SIGINT)
            return JSONResponse({"id": "evalrun_1", "eval_id": "eval_1", **self.run})
        held = self.items if path.endswith("output_items") else []
        return JSONResponse({"object": "list", "data": held, "has_more": False})


def output(n: int, **changes: object) -> dict[str, object]:
    """What came out for question ``n``, as the service tells it."""
    sample = {"output": [{"role": "assistant", "content": f" {2 * n}\n"}], "finish_reason": "stop"}
    return {
        "id": f"outputitem_{n}",
        "datasource_item": {"item": {"workbench_id": IDS[n]}},
        "results": [{"name": "exact-1f", "passed": True, "score": 1.0, "sample": None}],
        "sample": sample,
        **changes,
    }


def test_a_run_that_the_service_gave_up_is_told_with_its_reason():
    service = Odd(status="failed", error={"code": "quota", "message": "No quota is left."})
    with pytest.raises(SetupError, match=r"The service ended run evalrun_1 as failed: No quota is left\."):
        on_service(service.client, dataset(1))


def test_items_that_the_service_did_not_give_back_have_a_problem():
    service = Odd()
    service.items = [output(1)]
    found = on_service(service.client, dataset(2))
    assert found.problems == {"the service returned nothing for it": 1}
    assert (found.items[1].answer, found.items[1].score, found.items[1].prompt_tokens) == ("2", 1.0, 0)


def test_an_item_without_a_result_or_with_an_odd_score_has_a_problem():
    service = Odd()
    service.items = [output(0, results=[]), output(1, results=[{"name": "x", "score": 7.0}])]
    found = on_service(service.client, dataset(2))
    assert [item.problem for item in found.items] == [
        "the grader gave no score",
        "the grader gave 7, and a score lies between 0 and 1",
    ]


def test_an_interrupt_leaves_the_run_going_on_and_says_how_to_end_it():
    service = Odd(status="in_progress")
    with pytest.raises(KeyboardInterrupt) as interrupted:
        on_service(service.client, dataset(1))
    [note] = interrupted.value.__notes__
    assert note.startswith("Run evalrun_1 goes on at the service, and the same call takes it up again")
    assert "client.evals.runs.cancel('evalrun_1', eval_id='eval_1')" in note
