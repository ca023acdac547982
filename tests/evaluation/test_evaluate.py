"""Evaluate: the real client against a small service that counts what it is asked."""

import math
import signal
import threading
from collections.abc import Callable
from dataclasses import replace

import openai
import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.preference_pairs import pairs_from_samples
from workbench.errors import DataError
from workbench.evaluation.evaluate import evaluate, scored_answers
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.graders.sandbox import SandboxLimits
from workbench.evaluation.prompts import Documents, Gold, Passage, Prompt, nearest

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


ODD = """
def grade(sample, item):
    if item["answer"] == "6":
        return 1 / 0
    return {"0": 1, "2": 5, "4": "good"}[item["answer"]]
"""


class Service:
    """A chat service of one thought; it remembers what it was asked."""

    def __init__(self, reply: Callable[[str], str | int]) -> None:
        # A text, or the status of a refusal.
        self.reply_to = lambda body: reply(body["messages"][-1]["content"])
        self.asked: list[dict[str, object]] = []
        app = Starlette(routes=[Route("/v1/chat/completions", self.complete, methods=["POST"])])
        self.http = TestClient(app, base_url="http://testserver/v1/")
        self.client = OpenAI(
            base_url="http://testserver/v1/", api_key="test", http_client=self.http, max_retries=0
        )

    async def complete(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.asked.append(body)
        said = self.reply_to(body)
        if said == "content_filter":
            return JSONResponse({"error": {"code": said, "message": "filtered"}}, status_code=400)
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
    cache, asked = tmp_path / "answers.jsonl", []

    def interrupting(question: str) -> str:
        asked.append(question)
        if len(asked) == 20:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C, as the system sends it
        return double(question)

    with pytest.raises(KeyboardInterrupt) as interrupted:
        evaluate(Service(interrupting).client, "nano", dataset(500), EXACT, cache=cache, concurrency=2)
    kept = len(cache.read_text().splitlines())
    assert 20 <= kept == len(asked) < 500
    assert interrupted.value.__notes__ == [
        f"{kept} of 500 answers are kept in {cache}; run it again to go on."
    ]
    again = Service(double)
    assert evaluate(again.client, "nano", dataset(500), EXACT, cache=cache).score == 1.0
    assert len(again.asked) == 500 - kept


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


def test_what_a_grader_does_wrong_is_a_problem_of_that_item_and_everything_else_is_kept():
    odd = {"type": "python", "name": "odd", "source": ODD}
    evaluation = evaluate(Service(double).client, "nano", dataset(4), odd)
    assert [item.score for item in evaluation.items[:1]] == [1.0]
    assert [math.isnan(item.score) for item in evaluation.items] == [False, True, True, True]
    assert [item.answer for item in evaluation.items] == ["0", "2", "4", "6"]
    assert evaluation.items[1].problem == "the grader gave 5, and a score lies between 0 and 1"
    assert "'good'" in evaluation.items[2].problem
    assert "ZeroDivisionError" in evaluation.items[3].problem
    assert (evaluation.score, evaluation.correct, len(evaluation.graded)) == (1.0, 1, 1)


def test_an_empty_dataset_is_refused():
    with pytest.raises(DataError, match=r"sums.csv has no examples"):
        evaluate(Service(double).client, "nano", dataset(0), EXACT)


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


def test_an_answer_that_never_came_is_empty_and_wrong():
    def nothing(question: str) -> str:
        return ""

    assert evaluate(Service(nothing).client, "nano", dataset(2), EXACT).score == 0.0


def test_several_samples_have_a_seed_each_and_their_mean_is_the_items_score(tmp_path):
    service = Service(lambda question: "0")
    service.reply_to = lambda body: "0" if body["seed"] else "no"
    evaluation = evaluate(
        service.client,
        "nano",
        dataset(1),
        EXACT,
        samples=4,
        temperature=0.7,
        cache=tmp_path / "answers.jsonl",
    )
    [item] = evaluation.items
    assert sorted(body["seed"] for body in service.asked) == [0, 1, 2, 3]
    assert {body["temperature"] for body in service.asked} == {0.7}
    assert [sample.score for sample in item.answers] == [0.0, 1.0, 1.0, 1.0]
    assert (item.score, item.answer, evaluation.correct) == (0.75, "no", 0)


def test_more_samples_later_ask_only_for_those_that_are_missing(tmp_path):
    service, cache = Service(double), tmp_path / "answers.jsonl"
    evaluate(service.client, "nano", dataset(3), EXACT, samples=2, temperature=1.0, cache=cache)
    evaluate(service.client, "nano", dataset(3), EXACT, samples=3, temperature=1.0, cache=cache)
    assert len(service.asked) == 9


@pytest.mark.parametrize(("samples", "temperature"), [(2, 0.0), (0, 1.0)])
def test_samples_that_could_not_differ_are_refused(samples, temperature):
    with pytest.raises(DataError, match=r"samples is [02]"):
        evaluate(Service(double).client, "nano", dataset(1), EXACT, samples=samples, temperature=temperature)


def test_a_column_says_which_items_belong_together():
    rows = [replace(row, metadata={"page": "a.pdf" if n < 2 else ""}) for n, row in enumerate(dataset(3))]
    found = evaluate(Service(double).client, "nano", Dataset("d", tuple(rows)), EXACT, cluster="page")
    assert [item.cluster for item in found.items] == ["a.pdf", "a.pdf", ""]
    with pytest.raises(DataError, match=r"sums.csv has no column 'page' to go by; it has answer."):
        evaluate(Service(double).client, "nano", dataset(1), EXACT, cluster="page")


def test_repeated_questions_belong_together_and_others_do_not():
    rows = dataset(3)
    found = evaluate(Service(double).client, "nano", Dataset("d", (*rows, rows[0])), EXACT)
    first, second, third, again = (item.cluster for item in found.items)
    assert (second, third) == ("", "")
    assert first == again != ""


def test_a_question_that_the_service_will_not_take_is_a_problem_and_is_asked_again_by_a_rerun(tmp_path):
    cache = tmp_path / "answers.jsonl"
    service = Service(lambda question: "content_filter" if question == "2 x 1?" else double(question))
    found = evaluate(service.client, "nano", dataset(3), EXACT, cache=cache)
    assert found.problems == {"the service refused the question (content_filter)": 1}
    assert (found.score, [item.answer for item in found.items]) == (1.0, ["0", "", "4"])
    allowed = Service(double)
    assert evaluate(allowed.client, "nano", dataset(3), EXACT, cache=cache).correct == 3
    assert len(allowed.asked) == 1


def test_an_error_that_ends_it_says_how_many_answers_are_kept(tmp_path):
    cache = tmp_path / "answers.jsonl"
    service = Service(lambda question: 401 if question == "2 x 3?" else double(question))
    with pytest.raises(openai.AuthenticationError) as raised:
        evaluate(service.client, "nano", dataset(4), EXACT, cache=cache, concurrency=1)
    assert raised.value.__notes__ == [f"3 of 4 answers are kept in {cache}; run it again to go on."]
    with pytest.raises(openai.AuthenticationError) as raised:
        evaluate(service.client, "nano", dataset(4), EXACT, concurrency=1)
    assert raised.value.__notes__ == [
        "3 of 4 answers had come, and none is kept; give a cache= to keep them."
    ]


def test_a_grader_that_hangs_is_stopped_and_soon_not_waited_for_any_more():
    forever = "def grade(sample, item):\n    while True:\n        pass\n"
    hangs = {"type": "python", "name": "hangs", "source": forever}
    found = evaluate(Service(double).client, "nano", dataset(80), hangs, limits=SandboxLimits(seconds=0.5))
    told = dict(found.problems)
    assert [item.answer for item in found.items[:3]] == ["0", "2", "4"]
    given_up = told.pop("not graded, as the grader hung on 3 answers before")
    [(why, hung)] = told.items()
    assert why == "it ran longer than 0.5 seconds"
    assert hung + given_up == 80
    assert 3 <= hung < 40


JUDGE = {
    "type": "score_model",
    "name": "judge",
    "model": "large",
    "input": [{"role": "user", "content": "Is {{sample.output_text}} right for {{item.question}}?"}],
    "sampling_params": {"temperature": 0, "max_completions_tokens": 20},
}


def test_a_judge_is_asked_through_the_same_client_once_for_each_answer(tmp_path):
    cache = tmp_path / "answers.jsonl"
    service = Service(lambda question: "Score: 1" if question.startswith("Is ") else double(question))
    found = evaluate(service.client, "nano", dataset(3), JUDGE, cache=cache)
    assert (found.score, len(service.asked)) == (1.0, 6)
    assert "large gave 1" in found.items[0].reason
    assert evaluate(service.client, "nano", dataset(3), JUDGE, cache=cache) == found
    assert len(service.asked) == 6


def test_a_judge_may_live_at_another_service():
    model, judge = Service(double), Service(lambda question: "Score: 0.5")
    found = evaluate(model.client, "nano", dataset(2), JUDGE, judge=judge.client)
    assert (found.score, len(model.asked), len(judge.asked)) == (0.5, 2, 2)
    assert {body["model"] for body in judge.asked} == {"large"}
    assert {body["max_completion_tokens"] for body in judge.asked} == {20}


def test_a_judge_that_talks_nonsense_is_a_problem_of_that_answer():
    service = Service(double)
    replies = {"Is 0 ": "Score: 1", "Is 2 ": "Who knows?"}
    judge = Service(lambda question: replies[question[:5]])
    found = evaluate(service.client, "nano", dataset(2), JUDGE, judge=judge.client)
    assert (found.score, len(found.graded), found.items[1].answer) == (1.0, 1, "2")
    assert sum(found.problems.values()) == 1


def test_a_judge_that_is_gone_stops_it_and_the_answers_are_kept(tmp_path):
    cache, service = tmp_path / "answers.jsonl", Service(double)
    with pytest.raises(openai.NotFoundError, match="refused with 404"):
        evaluate(
            service.client,
            "nano",
            dataset(30),
            JUDGE,
            judge=Service(lambda q: 404).client,
            cache=cache,
            concurrency=1,
        )
    assert len(cache.read_text().splitlines()) == len(service.asked) < 30


def test_a_judges_scale_must_be_that_of_an_evaluation():
    service = Service(double)
    with pytest.raises(DataError, match=r'"calculate_output": "\(judge - 1\) / 4"'):
        evaluate(service.client, "nano", dataset(1), {**JUDGE, "range": [1, 5]})
    assert service.asked == []


def test_a_grader_reads_the_reference_fields_of_an_example_for_reinforcement():
    rows = [
        Example(
            ({"role": "user", "content": f"2 x {n}?"},),
            f"rft.jsonl:{n + 1}",
            {"answer": str(2 * n), "hint": "even"},
        )
        for n in range(2)
    ]
    reads = {**EXACT, "reference": "{{item.answer}}{{item.hint}}"}
    service = Service(lambda question: f"{double(question).strip()}even")
    found = evaluate(service.client, "nano", Dataset("rft.jsonl", tuple(rows)), reads)
    assert (found.score, found.items[1].reference, found.items[1].more) == (1.0, "2", {"hint": "even"})


# Samples: several answers to a question, scored, and the pairs that come of them.


class Model:
    """A model that is right at every second seed."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []
        app = Starlette(routes=[Route("/v1/chat/completions", self.answer, methods=["POST"])])
        http = TestClient(app, base_url="http://testserver/v1/")
        self.client = OpenAI(base_url="http://testserver/v1/", api_key="test", http_client=http)

    async def answer(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.asked.append(body)
        said = "4" if body["seed"] % 2 else f"{body['seed']}?"
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        reply = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        return JSONResponse(reply)


def questions(*asked: str) -> Dataset:
    rows = enumerate(asked, 2)
    return Dataset(
        "sums.csv",
        tuple(
            Example(
                ({"role": "user", "content": text}, {"role": "assistant", "content": "4"}), f"sums.csv:{line}"
            )
            for line, text in rows
        ),
    )


def sampled(model: Model, n: int, *asked: str, **options: object) -> Evaluation:
    options = {"temperature": 1.0, **options}
    return evaluate(model.client, "m", questions(*asked), EXACT, samples=n, **options)


def test_every_question_is_answered_so_often_and_every_answer_scored():
    model, asked = Model(), ("2 + 2?", "1 + 3?")
    found = scored_answers(sampled(model, 3, *asked), questions(*asked))
    assert [(scored.answer, scored.score) for scored in found] == [("0?", 0), ("4", 1), ("2?", 0)] * 2
    assert [scored.origin for scored in found] == ["sums.csv:2"] * 3 + ["sums.csv:3"] * 3
    assert sorted(body["seed"] for body in model.asked) == [0, 0, 1, 1, 2, 2]
    assert {body["temperature"] for body in model.asked} == {1.0}


def test_they_make_preference_pairs():
    found = scored_answers(sampled(Model(), 2, "2 + 2?"), questions("2 + 2?"))
    (pair,) = pairs_from_samples(found, name="pairs")
    assert pair.method == "dpo"
    assert (pair.answer, pair.more["non_preferred_output"][0]["content"]) == ("4", "0?")
    assert pair.origin == "sums.csv:2"


def test_no_sample_is_paid_for_twice(tmp_path):
    model, cache = Model(), tmp_path / "answers.jsonl"
    sampled(model, 2, "2 + 2?", cache=cache)
    [item] = sampled(model, 3, "2 + 2?", cache=cache).items
    assert (len(item.answers), len(model.asked)) == (3, 3)


def test_thinking_text_is_neither_graded_nor_kept():
    evaluation = evaluate(
        Service(lambda question: f"<think>{question}</think>{double(question)}").client,
        "nano",
        dataset(2),
        EXACT,
    )
    assert [item.answer for item in evaluation.items] == ["0", "2"]
    assert evaluation.score == 1.0
