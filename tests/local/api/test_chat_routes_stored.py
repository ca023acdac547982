"""Stored completions through the official client: kept, found by metadata, described anew, deleted."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from echo_service import Watch, client_of, echo_service
from openai import OpenAI
from openai.types.chat import ChatCompletion
from starlette.testclient import TestClient


@pytest.fixture
def http(home: Path) -> Iterator[TestClient]:
    with echo_service(home, Watch()) as http:
        yield http


@pytest.fixture
def client(http: TestClient) -> OpenAI:
    return client_of(http)


def keep(client: OpenAI, text: str, **metadata: str) -> ChatCompletion:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    return client.chat.completions.create(model="nano", messages=messages, store=True, metadata=metadata)


def test_an_answer_is_kept_with_its_metadata(client: OpenAI) -> None:
    kept = keep(client, "hello", use="faq")
    found = client.chat.completions.retrieve(kept.id)
    assert found.choices[0].message.content == "hello"
    assert (found.model, found.metadata, found.usage) == ("nano", {"use": "faq"}, kept.usage)


def test_only_what_is_asked_to_be_kept_is_kept(client: OpenAI) -> None:
    client.chat.completions.create(model="nano", messages=[{"role": "user", "content": "hello"}])
    assert client.chat.completions.list().data == []


def test_a_streamed_answer_is_kept_whole(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="nano", messages=[{"role": "user", "content": "once upon"}], store=True, stream=True
    )
    [name] = {chunk.id for chunk in stream}
    assert client.chat.completions.retrieve(name).choices[0].message.content == "once upon"


def test_answers_are_found_by_metadata_and_model(client: OpenAI) -> None:
    first, second, third = (
        keep(client, "one", use="faq", lang="de").id,
        keep(client, "two", use="faq").id,
        keep(client, "three", use="other").id,
    )
    listed = client.chat.completions.list
    assert [one.id for one in listed()] == [first, second, third]
    assert [one.id for one in listed(order="desc", limit=1)] == [third, second, first]
    assert [one.id for one in listed(metadata={"use": "faq"})] == [first, second]
    assert [one.id for one in listed(metadata={"use": "faq", "lang": "de"})] == [first]
    assert [one.id for one in listed(model="NANO", after=first)] == [second, third]
    assert listed(model="gpt-none").data == []


def test_the_messages_of_an_answer_come_in_their_order(client: OpenAI) -> None:
    name = keep(client, "hello").id
    messages = client.chat.completions.messages.list(name)
    assert [(one.role, one.content) for one in messages] == [("system", "Be brief."), ("user", "hello")]
    assert [one.role for one in client.chat.completions.messages.list(name, order="desc", limit=1)] == [
        "user",
        "system",
    ]
    assert [one.id for one in messages] == [f"{name}-0", f"{name}-1"]


def test_metadata_can_be_replaced(client: OpenAI) -> None:
    name = keep(client, "hello", use="faq").id
    assert client.chat.completions.update(name, metadata={"good": "yes"}).metadata == {"good": "yes"}
    assert [one.id for one in client.chat.completions.list(metadata={"good": "yes"})] == [name]


def test_a_deleted_answer_is_gone(client: OpenAI) -> None:
    name = keep(client, "hello").id
    assert client.chat.completions.delete(name).deleted
    with pytest.raises(openai.NotFoundError, match="no stored completion"):
        client.chat.completions.retrieve(name)


def test_kept_answers_survive_a_restart(home: Path) -> None:
    with echo_service(home, Watch()) as http:
        name = keep(client_of(http), "hello").id
    with echo_service(home, Watch()) as http:
        assert [one.id for one in client_of(http).chat.completions.list()] == [name]


def test_too_much_metadata_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="at most 16 pairs"):
        keep(client, "hello", **{str(number): "" for number in range(17)})
