"""Samples: several answers to a question, scored, and the pairs that come of them."""

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
from workbench.evaluation.evaluate import samples
from workbench.evaluation.graders.ready_made import grader

EXACT = grader("exact")


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


def test_every_question_is_answered_so_often_and_every_answer_scored():
    model = Model()
    found = samples(model.client, "m", questions("2 + 2?", "1 + 3?"), EXACT, n=3)
    assert [(scored.answer, scored.score) for scored in found] == [("0?", 0), ("4", 1), ("2?", 0)] * 2
    assert [scored.origin for scored in found] == ["sums.csv:2"] * 3 + ["sums.csv:3"] * 3
    assert sorted(body["seed"] for body in model.asked) == [0, 0, 1, 1, 2, 2]
    assert {body["temperature"] for body in model.asked} == {1.0}


def test_they_make_preference_pairs():
    found = samples(Model().client, "m", questions("2 + 2?"), EXACT, n=2)
    (pair,) = pairs_from_samples(found, name="pairs")
    assert pair.method == "dpo"
    assert (pair.answer, pair.more["non_preferred_output"][0]["content"]) == ("4", "0?")
    assert pair.origin == "sums.csv:2"


def test_none_is_paid_for_twice(tmp_path):
    model, cache = Model(), tmp_path / "answers.jsonl"
    samples(model.client, "m", questions("2 + 2?"), EXACT, n=2, cache=cache)
    again = samples(model.client, "m", questions("2 + 2?"), EXACT, n=3, cache=cache)
    assert (len(again), len(model.asked)) == (3, 3)


@pytest.mark.parametrize("wrong", [{"n": 1}, {"temperature": 0.0}])
def test_answers_that_could_not_differ_are_refused(wrong: dict[str, float]):
    with pytest.raises(DataError, match="pairs need two different answers to a question"):
        samples(Model().client, "m", questions("2 + 2?"), EXACT, **wrong)
