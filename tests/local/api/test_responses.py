"""The Responses API, by OpenAI's own client at every address; behind it a model that repeats or calls."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from echo_service import ROOT, EchoWorkers, Watch, client_of
from idle_service import KEY
from openai import AzureOpenAI, OpenAI
from openai.types.responses import Response, ResponseItemList, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter
from starlette.testclient import TestClient

from workbench.local.api.app import create_app
from workbench.local.chat_protocol import (
    ChatRequest,
    Choice,
    Completion,
    Delta,
    Likelihood,
    Refusal,
    ToolCall,
)
from workbench.local.emulation import Emulation
from workbench.local.store.store import Store

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
ADDRESSES = ["/openai/v1/", "/api/projects/p/openai/v1/", "/v1/"]


class ResponseWorkers(EchoWorkers):
    """Repeats the last message in two pieces; calls what must be called; ``break off`` fails half-way."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta | Completion]:
        self.asked.append(request)
        text, likelihoods = str(request.messages[-1]["content"]), None
        if text == "refuse":
            raise Refusal(400, "context_length_exceeded", "Too long.")
        if request.top_logprobs is not None:
            token = Likelihood(text, tuple(text.encode()), -0.5)
            likelihoods = (Likelihood(text, tuple(text.encode()), -0.5, (token,) * request.top_logprobs),)
        calls = tuple(ToolCall(name, '{"city": "Bern"}') for name in request.calls)
        if not calls:
            yield Delta(0, text[:2], likelihoods or ())
            if text == "break off":
                raise Refusal(503, "serviceUnavailable", "The process ended; ask again.")
            yield Delta(0, text[2:])
        reason = "tool_calls" if calls else "length" if request.max_tokens < 3 else "stop"
        yield Completion((Choice("" if calls else text, reason, likelihoods, calls),), 5, 2, 1)


@pytest.fixture
def workers() -> ResponseWorkers:
    return ResponseWorkers()


@pytest.fixture
def http(home: Path, workers: ResponseWorkers) -> Iterator[TestClient]:
    app = create_app(home, KEY, workers=workers, emulation=Emulation(clock=Watch().clock()))
    with TestClient(app, headers={"api-key": KEY}, raise_server_exceptions=False) as http:
        yield http


@pytest.fixture
def client(http: TestClient) -> OpenAI:
    return client_of(http)


def asked_of(workers: ResponseWorkers) -> list[dict[str, Any]]:
    """The turns that the model got last."""
    return list(workers.asked[-1].messages)


# Text


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_text_is_answered_at_every_v1_address(http: TestClient, path: str) -> None:
    answer = client_of(http, path).responses.create(model="nano", input="hello")
    assert (answer.output_text, answer.status, answer.model, answer.object) == (
        "hello", "completed", "nano", "response",
    )  # fmt: skip


def test_a_text_is_answered_at_the_dated_address(http: TestClient) -> None:
    client = AzureOpenAI(
        azure_endpoint=ROOT, api_key=KEY, api_version="2025-04-01-preview", http_client=http, max_retries=0
    )
    assert client.responses.create(model="nano", input="hello").output_text == "hello"


def test_a_response_has_every_field_in_the_clients_own_types(http: TestClient) -> None:
    body = {
        "model": "nano",
        "input": "hello",
        "instructions": "Be brief.",
        "metadata": {"a": "b"},
        "max_output_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "tools": [WEATHER],
        "tool_choice": "none",
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 1,
        "parallel_tool_calls": False,
        "text": {"verbosity": "medium"},
        "store": False,
    }
    found = http.post("/v1/responses", json=body).json()
    Response.model_validate(found, strict=True)
    assert found["id"].startswith("resp_")
    repeated = {name: value for name, value in body.items() if name not in ("input", "include", "text")}
    assert {name: found[name] for name in repeated} == repeated
    assert found["text"] == {"format": {"type": "text"}, "verbosity": "medium"}
    assert found["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 7,
    }


def test_the_model_gets_what_was_asked_for(client: OpenAI, workers: ResponseWorkers) -> None:
    client.responses.create(
        model="nano",
        input="hello",
        instructions="Be brief.",
        max_output_tokens=50,
        temperature=0.5,
        top_p=0.9,
    )
    (asked,) = workers.asked
    assert (asked.max_tokens, asked.temperature, asked.top_p, asked.n) == (50, 0.5, 0.9, 1)
    assert asked_of(workers) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
    ]


def test_items_are_turns(client: OpenAI, workers: ResponseWorkers) -> None:
    parts = [{"type": "input_text", "text": "one "}, {"type": "input_text", "text": "text"}]
    items: Any = [
        {"role": "developer", "content": "Be kind."},
        {"type": "message", "role": "user", "content": parts},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Go on."},
    ]
    client.responses.create(model="nano", input=items)
    assert asked_of(workers) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "one text"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Go on."},
    ]


def test_an_answer_that_was_cut_is_incomplete(client: OpenAI) -> None:
    answer = client.responses.create(model="nano", input="hello", max_output_tokens=2)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.output[0].status == "incomplete"


def test_log_probabilities_come_with_the_text(client: OpenAI) -> None:
    answer = client.responses.create(
        model="nano", input="hey", include=["message.output_text.logprobs"], top_logprobs=1
    )
    (token,) = answer.output[0].content[0].logprobs
    assert (token.token, token.logprob, token.bytes) == ("hey", -0.5, [104, 101, 121])
    assert token.top_logprobs[0].token == "hey"


# Structured output


class City(BaseModel):
    name: str
    people: int


def test_the_clients_own_parsing_of_a_schema_works(client: OpenAI, workers: ResponseWorkers) -> None:
    answer = client.responses.parse(
        model="nano", input='{"name": "Bern", "people": 134000}', text_format=City
    )
    assert answer.output_parsed == City(name="Bern", people=134_000)
    assert json.loads(str(workers.asked[0].schema))["required"] == ["name", "people"]
    assert answer.text.format.name == "City"


def test_a_json_object_is_asked_of_the_model(client: OpenAI, workers: ResponseWorkers) -> None:
    client.responses.create(model="nano", input="{}", text={"format": {"type": "json_object"}})
    assert json.loads(str(workers.asked[0].schema)) == {"type": "object"}


# Functions


def test_a_call_and_its_result_go_back_and_forth(client: OpenAI, workers: ResponseWorkers) -> None:
    conversation: list[Any] = [{"role": "user", "content": "And in Bern?"}]
    first = client.responses.create(
        model="nano", input=conversation, tools=[WEATHER], tool_choice={"type": "function", "name": "weather"}
    )
    (call,) = first.output
    assert (call.type, call.name, call.arguments) == ("function_call", "weather", '{"city": "Bern"}')
    assert workers.asked[0].tools == (
        {"type": "function", "function": {name: WEATHER[name] for name in WEATHER if name != "type"}},
    )
    conversation += first.output
    conversation.append({"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."})
    answer = client.responses.create(model="nano", input=conversation, tools=[WEATHER])
    assert answer.output_text == "Sunny."
    function = {"name": "weather", "arguments": '{"city": "Bern"}'}
    assert asked_of(workers)[1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": call.call_id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call.call_id, "content": "Sunny."},
    ]


def test_calls_at_once_are_one_turn(client: OpenAI, workers: ResponseWorkers) -> None:
    calls = [
        {"type": "function_call", "call_id": f"c{at}", "name": "weather", "arguments": "{}", "status": None}
        for at in (1, 2)
    ]
    results = [{"type": "function_call_output", "call_id": f"c{at}", "output": str(at)} for at in (1, 2)]
    client.responses.create(model="nano", input=[*calls, *results])  # type: ignore[list-item]
    assert [turn["role"] for turn in asked_of(workers)] == ["assistant", "tool", "tool"]
    assert [call["id"] for call in asked_of(workers)[0]["tool_calls"]] == ["c1", "c2"]


# Streams


def events_of(answer: str) -> list[dict[str, Any]]:
    """The events of a stream; each is one of the client's own types."""
    known: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    events = []
    for block in answer.strip().split("\n\n"):
        name, data = (line.partition(": ")[2] for line in block.split("\n"))
        events.append(json.loads(data))
        known.validate_python(events[-1], strict=True)
        assert name == events[-1]["type"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


TEXT_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]
CALL_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "response.completed",
]


@pytest.mark.parametrize("path", ["/openai/v1", "/v1"])
@pytest.mark.parametrize(("choice", "names"), [("none", TEXT_EVENTS), ("required", CALL_EVENTS)])
def test_a_stream_has_openais_events_in_their_order(
    http: TestClient, path: str, choice: str, names: list[str]
) -> None:
    body = {"model": "nano", "input": "hello", "stream": True, "tools": [WEATHER], "tool_choice": choice}
    answer = http.post(f"{path}/responses", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert [event["type"] for event in events] == names
    last = events[-1]["response"]
    assert last == http.get(f"{path}/responses/{last['id']}").json()


def test_the_client_reads_a_stream(client: OpenAI) -> None:
    pieces = [
        event.delta
        for event in client.responses.create(model="nano", input="hello", stream=True)
        if event.type == "response.output_text.delta"
    ]
    assert pieces == ["he", "llo"]


def test_the_clients_helper_gathers_a_stream(client: OpenAI) -> None:
    with client.responses.stream(
        model="nano", input='{"name": "Bern", "people": 1}', text_format=City
    ) as stream:
        assert stream.get_final_response().output_parsed == City(name="Bern", people=1)
    asked: Any = {"model": "nano", "input": "x", "tools": [WEATHER], "tool_choice": "required"}
    with client.responses.stream(**asked) as stream:
        (call,) = stream.get_final_response().output
    assert (call.name, call.arguments) == ("weather", '{"city": "Bern"}')


def test_a_stream_that_was_cut_ends_incomplete(http: TestClient) -> None:
    body = {"model": "nano", "input": "hello", "stream": True, "max_output_tokens": 2}
    assert events_of(http.post("/v1/responses", json=body).text)[-1]["type"] == "response.incomplete"


def test_a_stream_that_breaks_off_says_why_and_is_not_kept(http: TestClient) -> None:
    body = {"model": "nano", "input": "break off", "stream": True}
    last = events_of(http.post("/v1/responses", json=body).text)[-1]
    assert (last["type"], last["response"]["error"]) == (
        "response.failed", {"code": "server_error", "message": "The process ended; ask again."},
    )  # fmt: skip
    assert http.get(f"/v1/responses/{last['response']['id']}").status_code == 404


def test_what_is_refused_at_once_has_its_status_in_a_stream_too(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="Too long") as caught:
        client.responses.create(model="nano", input="refuse", stream=True)
    assert caught.value.code == "context_length_exceeded"


# Kept and continued


def test_a_response_goes_on_from_the_one_before_but_for_its_instructions(
    client: OpenAI, workers: ResponseWorkers
) -> None:
    first = client.responses.create(model="nano", input="one", instructions="Be brief.")
    second = client.responses.create(model="nano", input="two", previous_response_id=first.id)
    third = client.responses.create(model="nano", input="three", previous_response_id=second.id)
    assert third.previous_response_id == second.id
    assert asked_of(workers) == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]


def test_a_call_is_answered_in_the_next_response(client: OpenAI, workers: ResponseWorkers) -> None:
    first = client.responses.create(model="nano", input="x", tools=[WEATHER], tool_choice="required")
    result: Any = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "Sunny."}
    answer = client.responses.create(model="nano", input=[result], previous_response_id=first.id)
    assert answer.output_text == "Sunny."
    assert [turn["role"] for turn in asked_of(workers)] == ["user", "assistant", "tool"]


def test_a_kept_response_is_shown_with_its_input_and_forgotten(http: TestClient, client: OpenAI) -> None:
    items: Any = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "d"},
    ]
    answer = client.responses.create(model="nano", input=items)
    assert client.responses.retrieve(answer.id) == answer
    listed = http.get(f"/v1/responses/{answer.id}/input_items?order=asc").json()
    ResponseItemList.model_validate(listed, strict=True)
    assert [item["type"] for item in listed["data"]] == [
        "message", "message", "function_call", "function_call_output",
    ]  # fmt: skip
    newest = client.responses.input_items.list(answer.id, limit=1)
    assert (newest.data[0].output, newest.has_more) == ("d", True)
    assert len(list(newest)) == 4
    client.responses.delete(answer.id)
    with pytest.raises(openai.NotFoundError, match="no response"):
        client.responses.retrieve(answer.id)
    with pytest.raises(openai.BadRequestError, match="Send the whole conversation as input") as caught:
        client.responses.create(model="nano", input="x", previous_response_id=answer.id)
    assert caught.value.param == "previous_response_id"


def test_a_response_that_is_not_to_be_kept_is_not(client: OpenAI) -> None:
    answer = client.responses.create(model="nano", input="hello", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)


def test_responses_are_forgotten_after_thirty_days(tmp_path: Path) -> None:
    watch = Watch()
    store = Store(tmp_path, watch.clock())
    store.responses.add({"id": "resp_1", "previous_response_id": None, "output": []}, [])
    watch.now += 30 * 86_400 - 1
    store.tidy()
    assert store.responses.conversation("resp_1") == []
    watch.now += 2
    store.tidy()
    assert store.responses.conversation("resp_1") is None
    store.close()


def test_there_is_no_background_response_to_cancel(client: OpenAI) -> None:
    answer = client.responses.create(model="nano", input="hello")
    with pytest.raises(openai.BadRequestError, match="only a background response can be cancelled"):
        client.responses.cancel(answer.id)


# Refused


def test_what_else_the_client_can_ask_for_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="responses/compact is not offered"):
        client.responses.compact(model="nano", input="x")
    with pytest.raises(openai.BadRequestError, match="responses/input_tokens is not offered"):
        client.responses.input_tokens.count(model="nano", input="x")


@pytest.mark.parametrize(
    ("change", "param", "finding"),
    [
        ({"model": None}, "model", "Missing required parameter"),
        ({"input": None}, "input", "list"),
        ({"input": []}, "input", "at least 1 item"),
        ({"background": True}, "background", "not offered"),
        ({"conversation": "conv_1"}, "conversation", "not offered"),
        ({"prompt": {"id": "p"}}, "prompt", "not offered"),
        ({"truncation": "auto"}, "truncation", "not offered"),
        ({"moderation": {"model": "m"}}, "moderation", "not offered"),
        ({"context_management": [{"type": "compaction"}]}, "context_management", "not offered"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort", "no model of the local service reasons"),
        ({"reasoning": 1}, "reasoning", "no model of the local service reasons"),
        ({"text": {"verbosity": "low"}}, "text.verbosity", "'medium'"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format", "needs a name and a schema"),
        ({"text": {"format": {"type": "text", "name": "x"}}}, "text.format", "name belong to"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type", "web_search does not run here"),
        ({"tools": [WEATHER, WEATHER]}, None, "two tools have the same name"),
        ({"tool_choice": "required"}, None, "tool_choice needs tools"),
        ({"tools": [WEATHER], "text": {"format": {"type": "json_object"}}}, None, "text.format and tools"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0", "an item is a message"),
        ({"input": [{"type": "reasoning", "id": "x", "summary": []}]}, "input.0", "an item is a message"),
        ({"input": [3]}, "input.0", "an item is a message"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input.0.message.content",
            "images, audio and files are not read",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "x", "output": "y"}]},
            "input.0.call_id",
            "no function_call before it",
        ),
        ({"previous_response_id": "resp_none"}, "previous_response_id", "There is no response"),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"seed": 1}, "seed", "Unknown parameter"),
        ({"messages": []}, "messages", "Unknown parameter"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    http: TestClient, change: dict[str, Any], param: str | None, finding: str
) -> None:
    answer = http.post("/v1/responses", json={"model": "nano", "input": "hi"} | change)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert finding in error["message"]


@pytest.mark.parametrize(
    "harmless",
    [
        {"background": False, "truncation": "disabled", "conversation": None},
        {"reasoning": {"effort": None, "summary": "auto"}},
        {"reasoning": {"effort": "none"}},
        {"service_tier": "auto", "user": "u", "safety_identifier": "s", "prompt_cache_key": "k"},
        {"include": ["reasoning.encrypted_content"], "max_tool_calls": 3, "tool_choice": "auto"},
        {"stream_options": {"include_obfuscation": False}},
    ],
)
def test_what_changes_nothing_is_taken(http: TestClient, harmless: dict[str, Any]) -> None:
    answer = http.post("/v1/responses", json={"model": "nano", "input": "hi"} | harmless)
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
