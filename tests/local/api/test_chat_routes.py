"""Answers of the real engine through the official client, on the nano model; nothing here is pretended."""

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from idle_service import KEY, client_of
from openai import OpenAI
from pydantic import BaseModel
from scheduler_service import SchedulerWorkers, nano, nano_with_tools
from starlette.testclient import TestClient

from workbench.local.api.app import create_app
from workbench.local.models.bases import build_nano
from workbench.local.models.model import Base

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("models") / "nano"
    build_nano(folder)
    return nano(folder)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return nano(nano_with_tools(tmp_path_factory.mktemp("tools") / "nano"))


def serving(base: Base, home: Path) -> Iterator[OpenAI]:
    app = create_app(home, KEY, workers=SchedulerWorkers(base))
    with TestClient(app, headers={"api-key": KEY}, raise_server_exceptions=False) as http:
        yield client_of(http)


@pytest.fixture
def client(base: Base, home: Path) -> Iterator[OpenAI]:
    yield from serving(base, home)


@pytest.fixture
def caller_client(caller: Base, home: Path) -> Iterator[OpenAI]:
    yield from serving(caller, home)


def ask(client: OpenAI, **wishes: object) -> openai.types.chat.ChatCompletion:
    settings = {"max_tokens": 8, "temperature": 0, "messages": [{"role": "user", "content": "say red"}]}
    return client.chat.completions.create(model="nano", **(settings | wishes))  # type: ignore[call-overload]


def refusal(client: OpenAI, **wishes: object) -> openai.BadRequestError:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **wishes)
    return caught.value


# Drawing


def test_a_bias_decides_what_is_said(client: OpenAI) -> None:
    assert ask(client, logit_bias={"65": 100}, max_tokens=3).choices[0].message.content == "bbb"


def test_the_same_seed_gives_the_same_answers(client: OpenAI) -> None:
    first = ask(client, temperature=1, seed=3, n=2, top_p=0.9)
    again = ask(client, temperature=1, seed=3, n=2, top_p=0.9)
    assert [one.message.content for one in first.choices] == [one.message.content for one in again.choices]


# Log-probabilities


def test_log_probabilities_have_their_bytes_and_rivals(client: OpenAI) -> None:
    choice = ask(client, logprobs=True, top_logprobs=3, max_tokens=2).choices[0]
    assert choice.logprobs is not None
    content = choice.logprobs.content or []
    assert [len(token.top_logprobs) for token in content] == [3, 3]
    # Greedy: what was said is the likeliest.
    assert [token.top_logprobs[0].token for token in content] == [token.token for token in content]
    said = b"".join(bytes(token.bytes or []) for token in content)
    assert said.decode(errors="replace") == choice.message.content


def test_log_probabilities_are_streamed_with_their_tokens(client: OpenAI) -> None:
    whole = ask(client, logprobs=True).choices[0].logprobs
    chunks = client.chat.completions.create(
        model="nano",
        messages=[{"role": "user", "content": "say red"}],
        max_tokens=8,
        temperature=0,
        logprobs=True,
        stream=True,
    )
    streamed = [
        token
        for chunk in chunks
        if chunk.choices and chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content or []
    ]
    assert whole is not None
    assert streamed == whole.content


def test_nobody_gets_log_probabilities_unasked(client: OpenAI) -> None:
    assert ask(client).choices[0].logprobs is None


# Formats


class Order(BaseModel):
    table: str
    limit: int


def test_the_clients_own_parsing_of_a_schema_works(client: OpenAI) -> None:
    parsed = client.chat.completions.parse(
        model="nano",
        messages=[{"role": "user", "content": "say red"}],
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "order",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {"table": {"enum": ["a", "b"]}, "limit": {"enum": [1, 20]}},
                    "required": ["table", "limit"],
                    "additionalProperties": False,
                },
            },
        },  # type: ignore[arg-type]
        max_tokens=100,
        temperature=1,
        seed=0,
    )
    order = Order.model_validate_json(parsed.choices[0].message.content or "")
    assert order.table in "ab"
    assert order.limit in (1, 20)


def test_a_json_object_is_one(client: OpenAI) -> None:
    answer = ask(client, response_format={"type": "json_object"}, max_tokens=1)
    assert answer.choices[0].message.content == "{"
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("wish", "finding"),
    [
        ({"type": "json_schema"}, "json_schema comes with the type json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "a b"}}, "response_format.json_schema.name"),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "objekt"}}}, "objekt"),
        ({"type": "xml"}, "'text', 'json_object' or 'json_schema'"),
    ],
)
def test_a_format_that_cannot_be_kept_is_refused(
    client: OpenAI, wish: dict[str, object], finding: str
) -> None:
    assert finding in str(refusal(client, response_format=wish))


# Tools


def test_a_demanded_call_comes_as_one(caller_client: OpenAI) -> None:
    choice = ask(caller_client, tools=[WEATHER], tool_choice="required", max_tokens=200).choices[0]
    (call,) = choice.message.tool_calls or ()
    assert (choice.finish_reason, choice.message.content, call.type) == ("tool_calls", None, "function")
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")


def test_a_streamed_call_is_the_one_that_is_kept(caller_client: OpenAI) -> None:
    chunks = list(
        caller_client.chat.completions.create(
            model="nano",
            messages=[{"role": "user", "content": "say red"}],
            tools=[WEATHER],  # type: ignore[list-item]
            tool_choice={"type": "function", "function": {"name": "weather"}},
            max_tokens=200,
            temperature=0,
            stream=True,
            store=True,
        )
    )
    (call,) = chunks[-1].choices[0].delta.tool_calls or ()
    kept = caller_client.chat.completions.retrieve(chunks[0].id).choices[0].message.tool_calls or []
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert [one.id for one in kept] == [call.id]


def test_a_conversation_with_calls_and_results_goes_on(caller_client: OpenAI) -> None:
    called = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    messages = [
        {"role": "user", "content": "Rome?"},
        {"role": "assistant", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
    ]
    answer = ask(caller_client, messages=messages, tools=[WEATHER])
    assert answer.choices[0].finish_reason == "length"


def test_tools_that_may_not_be_used_are_not_shown_to_the_model(client: OpenAI) -> None:
    without = ask(client)
    assert ask(client, tools=[WEATHER], tool_choice="none").choices == without.choices


@pytest.mark.parametrize(
    ("wishes", "finding"),
    [
        ({"messages": [{"role": "user", "content": "x", "refusal": "y"}]}, "only the assistant refuses"),
        ({"tool_choice": "required"}, "tool_choice needs tools"),
        ({"tools": [WEATHER, WEATHER]}, "two tools have the same name"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "'x', which is not among the tools",
        ),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools.0.type"),
        ({"tools": [WEATHER], "response_format": {"type": "json_object"}}, "cannot be combined"),
        (
            {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]},
            "no tool_calls before it have this id",
        ),
        ({"messages": [{"role": "user", "tool_calls": []}]}, "'messages.0.content' is missing"),
        ({"logit_bias": {"red": 1}}, "a token is a whole number"),
        ({"logit_bias": {"1": 101}}, "less than or equal to 100"),
        ({"logit_bias": {"999": 1}}, "has the tokens 0 to 258"),
        ({"top_logprobs": 2}, "top_logprobs need logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "less than or equal to 20"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    client: OpenAI, wishes: dict[str, object], finding: str
) -> None:
    assert finding in str(refusal(client, **wishes))
