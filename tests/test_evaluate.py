"""Evaluate: the real client against a small service that counts what it is asked."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.dataset.examples import Dataset, Example
from workbench.errors import DataError
from workbench.evaluation.asking.prompts import Prompt, nearest
from workbench.evaluation.asking.retrieval import Documents, Gold, Passage
from workbench.evaluation.evaluate import Evaluation, evaluate
from workbench.evaluation.graders import grader
from workbench.evaluation.statistics.intervals import wilson

EXACT = grader("exact")


def dataset(count: int) -> Dataset:
    """Questions ``2 x n?`` whose answers are the products."""
    rows = [
        Example(
            messages=(
                {"role": "user", "content": f"2 x {n}?"},
                {"role": "assistant", "content": f"{2 * n}"},
            ),
            origin=f"sums.csv:{n + 2}",
        )
        for n in range(count)
    ]
    return Dataset("sums.csv", tuple(rows))


class Service:
    """A chat service of one thought; it remembers what it was asked."""

    def __init__(self, reply: Callable[[str], str | int]) -> None:
        self.reply = reply  # a text, or the status of a refusal
        self.asked: list[dict[str, object]] = []
        app = Starlette(routes=[Route("/v1/chat/completions", self.complete, methods=["POST"])])
        self.http = TestClient(app, base_url="http://testserver/v1/")
        self.client = OpenAI(
            base_url="http://testserver/v1/", api_key="test", http_client=self.http, max_retries=0
        )

    async def complete(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.asked.append(body)
        said = self.reply(body["messages"][-1]["content"])
        if isinstance(said, int):
            return JSONResponse({"error": {"message": f"refused with {said}"}}, status_code=said)
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        return JSONResponse(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [choice],
                "usage": usage,
            }
        )


def double(question: str) -> str:
    return f" {2 * int(question[4:-1])}\n"


def wrong_for_odd(question: str) -> str:
    number = int(question[4:-1])
    return "<b>no</b>" if number % 2 else str(2 * number)


def test_every_question_is_asked_once_and_graded():
    service = Service(wrong_for_odd)
    evaluation = evaluate(service.client, "nano", dataset(4), EXACT)
    assert [item.score for item in evaluation.items] == [1.0, 0.0, 1.0, 0.0]
    assert [item.question for item in evaluation.items] == ["2 x 0?", "2 x 1?", "2 x 2?", "2 x 3?"]
    assert (evaluation.score, evaluation.correct, len(service.asked)) == (0.5, 2, 4)


def test_white_space_around_an_answer_does_not_make_it_wrong():
    evaluation = evaluate(Service(double).client, "nano", dataset(3), EXACT)
    assert [item.answer for item in evaluation.items] == ["0", "2", "4"]
    assert evaluation.score == 1.0


def test_the_request_carries_prompt_and_decoding():
    service = Service(double)
    prompt = Prompt("engineered", system="Sums.")
    evaluate(service.client, "nano", dataset(1), EXACT, prompt=prompt, max_tokens=7, temperature=0.5)
    assert service.asked == [
        {
            "model": "nano",
            "messages": [{"role": "system", "content": "Sums."}, {"role": "user", "content": "2 x 0?"}],
            "max_tokens": 7,
            "temperature": 0.5,
        }
    ]


def test_a_rerun_with_a_cache_asks_nothing_and_keeps_the_first_latency(tmp_path):
    service, cache = Service(double), tmp_path / "cache" / "answers.jsonl"
    first = evaluate(service.client, "nano", dataset(5), EXACT, cache=cache)
    again = evaluate(service.client, "nano", dataset(5), EXACT, cache=cache)
    assert len(service.asked) == 5
    assert again == first


def test_another_model_prompt_or_decoding_is_asked_anew(tmp_path):
    service, cache = Service(double), tmp_path / "answers.jsonl"
    for changes in ({}, {"temperature": 1.0}, {"max_tokens": 8}, {"prompt": Prompt("x", system="Y")}):
        evaluate(service.client, "nano", dataset(2), EXACT, cache=cache, **changes)
    evaluate(service.client, "nano-2", dataset(2), EXACT, cache=cache)
    assert len(service.asked) == 10


def test_the_same_request_is_sent_once_even_without_a_cache():
    service, rows = Service(double), dataset(2)
    evaluation = evaluate(service.client, "nano", Dataset("twice", (*rows, *rows)), EXACT)
    assert len(service.asked) == 2
    assert evaluation.score == 1.0


def test_repeated_items_have_ids_of_their_own_that_do_not_depend_on_the_model():
    rows = dataset(2)
    twice = Dataset("twice", (*rows, *rows))
    ids = [item.id for item in evaluate(Service(double).client, "a", twice, EXACT).items]
    assert ids == [item.id for item in evaluate(Service(wrong_for_odd).client, "b", twice, EXACT).items]
    assert ids[2:] == [f"{ids[0]}-2", f"{ids[1]}-2"]
    assert len(set(ids)) == 4


def test_a_refused_question_raises_the_clients_error_and_loses_no_other_answer(tmp_path):
    cache = tmp_path / "answers.jsonl"
    service = Service(lambda question: 400 if question == "2 x 3?" else double(question))
    with pytest.raises(openai.BadRequestError, match="refused with 400"):
        evaluate(service.client, "nano", dataset(6), EXACT, cache=cache, concurrency=2)
    answered = len(service.asked) - 1
    assert len(cache.read_text().splitlines()) == answered
    repaired = Service(double)
    evaluation = evaluate(repaired.client, "nano", dataset(6), EXACT, cache=cache)
    assert len(repaired.asked) == 6 - answered
    assert evaluation.score == 1.0


def test_an_interrupt_keeps_what_was_answered_and_sends_no_more(tmp_path):
    cache, service = tmp_path / "answers.jsonl", Service(double)
    stop = {
        "type": "python",
        "name": "stop",
        "source": "def grade(sample, item):\n    raise KeyboardInterrupt",
    }
    with pytest.raises(KeyboardInterrupt):
        evaluate(service.client, "nano", dataset(50), stop, cache=cache, concurrency=1)
    kept = len(cache.read_text().splitlines())
    assert kept == len(service.asked)
    again = Service(double)
    assert evaluate(again.client, "nano", dataset(50), EXACT, cache=cache).score == 1.0
    assert len(again.asked) == 50 - kept


def test_a_torn_last_line_of_the_cache_costs_one_question_and_no_more(tmp_path):
    service, cache = Service(double), tmp_path / "answers.jsonl"
    evaluate(service.client, "nano", dataset(3), EXACT, cache=cache)
    cache.write_bytes(cache.read_bytes()[:-20])
    evaluate(service.client, "nano", dataset(3), EXACT, cache=cache)
    evaluate(service.client, "nano", dataset(3), EXACT, cache=cache)
    assert len(service.asked) == 4


def test_no_more_questions_are_under_way_than_allowed_and_they_do_run_at_once():
    together, most, lock = 0, 0, threading.Lock()
    four = threading.Barrier(4, timeout=30)

    def reply(question: str) -> str:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        four.wait()  # passes only if four are here at once
        with lock:
            together -= 1
        return double(question)

    evaluate(Service(reply).client, "nano", dataset(12), EXACT, concurrency=4)
    assert most == 4


def test_a_grader_that_cannot_read_the_items_is_told_before_anything_is_asked():
    service = Service(double)
    with pytest.raises(DataError, match=r"\{\{item.solution\}\} finds nothing in item sums.csv:2"):
        evaluate(service.client, "nano", dataset(3), {**EXACT, "reference": "{{item.solution}}"})
    assert service.asked == []


def test_a_score_outside_0_to_1_is_refused():
    five = {"type": "python", "name": "five", "source": "def grade(sample, item):\n    return 5"}
    with pytest.raises(DataError, match=r"grader 'five' gave 5 for item .*; a score lies between"):
        evaluate(Service(double).client, "nano", dataset(1), five)


def test_an_empty_dataset_is_refused():
    with pytest.raises(DataError, match=r"sums.csv has no examples"):
        evaluate(Service(double).client, "nano", dataset(0), EXACT)


def test_an_evaluation_comes_back_from_disk_as_it_was(tmp_path):
    prompt = Prompt("few-shot", system="Sümmen <ü>", shots=dataset(2))
    evaluation = evaluate(Service(wrong_for_odd).client, "nano", dataset(3), EXACT, prompt=prompt)
    path = evaluation.save(tmp_path / "evaluations" / "base.jsonl")
    assert Evaluation.load(path) == evaluation
    assert [file.name for file in path.parent.iterdir()] == ["base.jsonl"]
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[0])["items"] == 3


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt("retrieved examples", nearest=nearest(dataset(5), 2)),
        Prompt("retrieved documents", context=Documents((Passage("0 is nothing.", "sums.md:1"),), k=1)),
        Prompt("gold context", system="Sums.", shots=dataset(1), context=Gold("passage")),
    ],
    ids=lambda prompt: prompt.name,
)
def test_what_a_prompt_looks_up_comes_back_from_disk_and_asks_the_same(tmp_path, prompt):
    row = dataset(1)[0]
    rows = Dataset("sums.csv", (Example(row.messages, row.origin, metadata={"passage": "0 is 0."}),))
    evaluation = evaluate(Service(lambda question: "0").client, "nano", rows, EXACT, prompt=prompt)
    loaded = Evaluation.load(evaluation.save(tmp_path / "base.jsonl"))
    assert loaded == evaluation
    assert loaded.prompt.messages(rows[0]) == prompt.messages(rows[0])


def test_an_evaluation_saved_before_cached_tokens_were_counted_is_still_read(tmp_path):
    path = evaluate(Service(double).client, "nano", dataset(1), EXACT).save(tmp_path / "base.jsonl")
    path.write_text(path.read_text().replace(', "cached_tokens": 0', ""))
    assert Evaluation.load(path).cached_tokens == 0


def test_a_missing_short_or_foreign_file_is_no_evaluation(tmp_path):
    path = evaluate(Service(double).client, "nano", dataset(3), EXACT).save(tmp_path / "base.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    with pytest.raises(DataError, match=r"There is no evaluation .*other.jsonl"):
        Evaluation.load(tmp_path / "other.jsonl")
    for content, told in (
        ("".join(lines[:-1]), "has 2 of its 3 items"),
        (lines[1], "is not a saved evaluation"),
        ("question,answer\n", "is not a saved evaluation"),
        ("", "is not a saved evaluation"),
    ):
        Path(path).write_text(content)
        with pytest.raises(DataError, match=told):
            Evaluation.load(path)


def test_an_evaluation_shows_score_interval_and_failures_escaped():
    evaluation = evaluate(Service(wrong_for_odd).client, "nano", dataset(10), EXACT)
    page = evaluation._repr_html_()
    assert "50.0 % (95 % interval 24–76), 5 of 10 right" in page
    assert "5 of 5 failures" in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "<b>no" not in page
    assert list(evaluation.failing.failures["origin"]) == [f"sums.csv:{line}" for line in (3, 5, 7, 9, 11)]
    assert repr(evaluation) == "<Evaluation of nano: 50.0 % (95 % interval 24–76), 5 of 10 right>"
    assert evaluation.frame.shape == (10, 11)


def test_an_answer_that_never_came_is_empty_and_wrong():
    def nothing(question: str) -> str:
        return ""

    assert evaluate(Service(nothing).client, "nano", dataset(2), EXACT).score == 0.0


@pytest.mark.parametrize(
    ("correct", "items", "low", "high"),
    # scipy 1.17.1: binomtest(correct, items).proportion_ci(method="wilson")
    [
        (0, 50, 0.0, 0.07134759913335872),
        (6, 50, 0.056176001509322726, 0.23804817383202986),
        (47, 50, 0.8378290831116182, 0.979385029651026),
        (50, 50, 0.9286524008666412, 1.0),
        (1, 1, 0.20654931437723745, 1.0),
    ],
)
def test_wilson_is_scipys(correct, items, low, high):
    assert wilson(correct / items, items) == pytest.approx((low, high), abs=1e-12)


def test_wilson_is_on_the_safe_side_for_scores_between_0_and_1():
    # Twenty scores of 0.5: whatever their spread, the interval of ten right in twenty.
    assert wilson(0.5, 20) == pytest.approx((0.29929801, 0.70070199), abs=1e-8)
