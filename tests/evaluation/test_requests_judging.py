"""Judges: models that a grader asks, through the real client, and each judgement paid for once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.evaluation.graders.judges import Judged, JudgeError, Reply
from workbench.evaluation.requests import judging

USAGE = {"prompt_tokens": 40, "completion_tokens": 3, "total_tokens": 43}


class Judge:
    """A service whose model says one thing; it remembers what it was asked."""

    def __init__(self, said: str | int | None = "Score: 1", **choice: object) -> None:
        self.said, self.choice = said, choice
        self.asked: list[dict[str, object]] = []
        app = Starlette(routes=[Route("/v1/chat/completions", self.judge, methods=["POST"])])
        http = TestClient(app, base_url="http://testserver/v1/")
        self.client = OpenAI(
            base_url="http://testserver/v1/", api_key="test", http_client=http, max_retries=0
        )

    async def judge(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.asked.append(body)
        if isinstance(self.said, int):
            error = {"message": "not now", "code": self.choice.get("code")}
            return JSONResponse({"error": error}, status_code=self.said)
        message = {"role": "assistant", "content": self.said, "refusal": self.choice.get("refusal")}
        choice = {"index": 0, "message": message, "finish_reason": self.choice.get("finish_reason", "stop")}
        reply = {"id": "c", "object": "chat.completion", "created": 0, "model": "large", "choices": [choice]}
        return JSONResponse(reply | {"usage": USAGE})


def judged(text: str = "Is 4 right?", **sampling: object) -> Judged:
    return Judged("large", ({"role": "user", "content": text},), sampling)


def test_it_is_asked_as_the_grader_says_and_its_tokens_are_counted():
    judge = Judge()
    asked = judged(temperature=0.2, seed=7, max_completions_tokens=16, reasoning_effort="low")
    assert judging(judge.client)(asked) == Reply("Score: 1", 43, False)
    assert judge.asked == [
        {
            "model": "large",
            "messages": [{"role": "user", "content": "Is 4 right?"}],
            "temperature": 0.2,
            "seed": 7,
            "max_completion_tokens": 16,
            "reasoning_effort": "low",
        }
    ]


def test_the_same_judgement_is_paid_for_once_in_this_run_and_the_next(tmp_path):
    judge, cache = Judge(), tmp_path / "cache" / "answers.jsonl"
    ask = judging(judge.client, cache)
    assert [ask(judged()), ask(judged()), ask(judged("Is 5 right?"))] == [Reply("Score: 1", 43)] * 3
    assert judging(judge.client, cache)(judged()) == Reply("Score: 1", 43)
    assert len(judge.asked) == 2


def test_another_sampling_is_another_judgement(tmp_path):
    judge = Judge()
    ask = judging(judge.client, tmp_path / "answers.jsonl")
    ask(judged(temperature=0))
    ask(judged(temperature=1))
    assert len(judge.asked) == 2


def test_equal_answers_that_are_graded_at_once_are_judged_once():
    judge, together = Judge(), threading.Barrier(8, timeout=30)
    ask = judging(judge.client)

    def one(_: int) -> Reply:
        together.wait()
        return ask(judged())

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(8))) == {Reply("Score: 1", 43)}
    assert len(judge.asked) == 1


@pytest.mark.parametrize(
    ("judge", "text"),
    [
        (lambda: Judge(None, refusal="I will not judge this."), "I will not judge this."),
        (lambda: Judge("Sco", finish_reason="content_filter"), "the content filter stopped it"),
        (lambda: Judge(400, code="content_filter"), "the service refused the question (content_filter)"),
    ],
    ids=["by the model", "by a filter of answers", "by a filter of questions"],
)
def test_a_refusal_is_marked_as_one(judge: Callable[[], Judge], text: str):
    reply = judging(judge().client)(judged())
    assert (reply.text, reply.refused) == (text, True)


def test_a_service_that_fails_at_one_judgement_is_told_of_that_one():
    with pytest.raises(JudgeError, match="large gave no answer: Error code: 500"):
        judging(Judge(500).client)(judged())


@pytest.mark.parametrize("status", [401, 404, 429])
def test_what_holds_for_every_judgement_stops_it(status: int):
    with pytest.raises(openai.APIStatusError, match="not now"):
        judging(Judge(status).client)(judged())
