"""Asking many questions at once: retries, counts of tokens, and the file that keeps every answer."""

import json
import time
from dataclasses import replace
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.evaluation.requests import RETRIES, Answer, Request, ask

USAGE = {"prompt_tokens": 1_200, "completion_tokens": 3, "total_tokens": 1_203}


class Busy:
    """A service that refuses the first tries of every question and says when to come again."""

    def __init__(
        self, refusals: int, usage: dict[str, object] | None = None, code: str = "", **headers: str
    ) -> None:
        self.code = code
        self.refusals, self.usage, self.headers = refusals, USAGE if usage is None else usage, headers
        self.tried: list[float] = []
        app = Starlette(routes=[Route("/v1/chat/completions", self.complete, methods=["POST"])])
        self.http = TestClient(app, base_url="http://testserver/v1/")

    def client(self, **options: int) -> OpenAI:
        return OpenAI(base_url="http://testserver/v1/", api_key="test", http_client=self.http, **options)

    async def complete(self, request: HttpRequest) -> JSONResponse:
        self.tried.append(time.monotonic())
        if len(self.tried) <= self.refusals:
            error = {"error": {"message": "too many requests"}}
            if self.code:
                return JSONResponse({"error": {"message": "no", "code": self.code}}, status_code=400)
            headers = {name.replace("_", "-"): value for name, value in self.headers.items()}
            return JSONResponse(error, status_code=429, headers=headers)
        choice = {"index": 0, "message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}
        reply = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        return JSONResponse(reply | ({"usage": self.usage} if self.usage else {}))


def question(text: str = "2 x 2?") -> Request:
    return Request("m", [{"role": "user", "content": text}], 8, 0.0)


def answers(client: OpenAI, *requests: Request, cache: Path | None = None) -> list[Answer]:
    found = dict(ask(client, requests, concurrency=4, cache=cache))
    return [found[place] for place in range(len(requests))]


def test_a_refused_question_is_asked_again_when_the_service_said():
    service = Busy(2, retry_after="0.3")
    [answer] = answers(service.client(), question())
    first, second, third = service.tried
    assert answer.text == "4"
    assert second - first >= 0.3
    assert third - second >= 0.3


def test_a_reasoning_model_gets_the_longest_answer_by_the_name_it_knows():
    sent = []

    async def complete(request: HttpRequest) -> JSONResponse:
        body = await request.json()
        sent.append({name: value for name, value in body.items() if name.startswith("max_")})
        if "max_tokens" in body:
            error = {"message": "no", "code": "unsupported_parameter", "param": "max_tokens"}
            return JSONResponse({"error": error}, status_code=400)
        choice = {"index": 0, "message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}
        return JSONResponse(
            {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        )

    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
    http = TestClient(app, base_url="http://testserver/v1/")
    client = OpenAI(base_url="http://testserver/v1/", api_key="test", http_client=http)
    assert answers(client, question())[0].text == "4"
    assert sent == [{"max_tokens": 8}, {"max_completion_tokens": 8}]


def test_the_wait_for_a_free_place_is_no_part_of_the_answers_time():
    [answer] = answers(Busy(1, retry_after="0.5").client(), question())
    assert answer.seconds < 0.4


def test_a_rate_limit_is_outlasted_unless_somebody_chose_the_number_of_retries():
    patient = Busy(RETRIES, retry_after_ms="1")
    assert answers(patient.client(), question())[0].text == "4"
    chosen = Busy(1, retry_after_ms="1")
    with pytest.raises(openai.RateLimitError, match="too many requests"):
        answers(chosen.client(max_retries=0), question())


def test_tokens_that_the_service_had_read_before_are_counted_apart():
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 1_024}}
    [answer] = answers(Busy(0, usage).client(), question())
    assert (answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens) == (1_200, 1_024, 3)


def test_a_service_that_counts_no_tokens_gives_zeros():
    [without] = answers(Busy(0, {}).client(), question())
    [undetailed] = answers(Busy(0, USAGE).client(), question())
    assert (without.prompt_tokens, without.cached_tokens, undetailed.cached_tokens) == (0, 0, 0)


def test_an_answer_kept_before_cached_tokens_were_counted_is_not_paid_for_again(tmp_path):
    service, cache = Busy(0), tmp_path / "answers.jsonl"
    old = {"key": question().key, "model": "m", "text": "kept", "finish_reason": "stop"}
    old |= {"seconds": 0.5, "prompt_tokens": 7, "completion_tokens": 1}
    cache.write_text(json.dumps(old) + "\n")
    assert answers(service.client(), question(), cache=cache) == [Answer("kept", "stop", 0.5, 7, 1, 0)]
    assert service.tried == []


def test_a_line_that_is_no_answer_costs_that_question_and_no_more(tmp_path):
    service, cache = Busy(0), tmp_path / "answers.jsonl"
    cache.write_text(f'["no", "answer"]\n{{"key": "{question().key}"}}\nno JSON\n\n')
    assert answers(service.client(), question(), cache=cache)[0].text == "4"
    assert len(service.tried) == 1


def test_a_refusal_about_the_question_is_an_answer_with_a_problem_and_is_not_kept(tmp_path):
    service, cache = Busy(1, code="context_length_exceeded"), tmp_path / "answers.jsonl"
    [refused] = answers(service.client(max_retries=0), question(), cache=cache)
    assert refused.problem == "the service refused the question (context_length_exceeded)"
    assert (refused.text, refused.finish_reason, cache.exists()) == ("", "refused", False)
    assert answers(service.client(max_retries=0), question(), cache=cache)[0].text == "4"


def test_further_fields_make_another_question_and_those_kept_before_there_were_any_are_still_found():
    plain = question()
    # The sha256 of model, messages, max_tokens and temperature as JSON with sorted keys.
    assert plain.key == "13e7267c96d45c4f5d4359731998acc6bd166c665d5c35b91128c833dfc7ff8a"
    assert replace(plain, more={"top_p": 0.5}).key != plain.key


def test_what_is_left_after_an_error_is_told_with_it(tmp_path):
    service = Busy(10, retry_after_ms="1")
    with pytest.raises(openai.RateLimitError) as raised:
        answers(service.client(max_retries=0), question(), cache=tmp_path / "answers.jsonl")
    told = f"0 of 1 answers are kept in {tmp_path / 'answers.jsonl'}; run it again to go on."
    assert raised.value.__notes__ == [told]
