import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.dataset.check.privacy import sensitive
from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.repair.fixes import redacted
from workbench.dataset.repair.repair import propose
from workbench.errors import DataError

SENSITIVE = [
    "jane@contoso.com",
    "+49 30 901820",
    "4111 1111 1111 1111",
    "my name is Jane Doe",
    "password=Xy12!abcQ",
]
PIECES = st.one_of(st.sampled_from([*SENSITIVE, "[EMAIL_1]", "+", "=", '"', "\\n", " "]), st.text(max_size=5))
TEXTS = st.lists(PIECES, max_size=10).map("".join)


def conversation(*texts: str) -> dict[str, list[dict[str, str]]]:
    return {"messages": [{"role": "user", "content": text} for text in texts]}


def contents(*rows: dict[str, list[dict[str, str]]], kinds: tuple[str, ...] = ("pii", "secret")) -> list[str]:
    return [message["content"] for row in redacted(rows, kinds) for message in row["messages"]]


def with_arguments(arguments: str) -> dict[str, object]:
    function = {"name": "send", "arguments": arguments}
    return {"messages": [{"role": "assistant", "tool_calls": [{"id": "call_1", "function": function}]}]}


def arguments(row: dict[str, object]) -> str:
    (value,) = redacted([row])
    return value["messages"][0]["tool_calls"][0]["function"]["arguments"]


def test_the_same_person_has_the_same_placeholder_in_every_row():
    first = conversation("I am Jane@contoso.com", "Not joe@contoso.com? jane@contoso.com!")
    second = conversation("JANE@CONTOSO.COM again")
    assert contents(first, second) == ["I am [EMAIL_1]", "Not [EMAIL_2]? [EMAIL_1]!", "[EMAIL_1] again"]


def test_numbers_are_the_same_however_they_are_spaced():
    assert contents(conversation("+49 30 901820", "+49 (30) 90-18-20")) == ["[PHONE_1]", "[PHONE_1]"]


def test_every_kind_counts_for_itself():
    row = conversation("jane@contoso.com, 4111-1111-1111-1111", "password=Xy12!abcQ")
    assert contents(row) == ["[EMAIL_1], [CARD_1]", "password=[PASSWORD_1]"]


def test_only_what_is_named_is_redacted():
    row = conversation("jane@contoso.com, 4111-1111-1111-1111, password=Xy12!abcQ")
    assert contents(row, kinds=("card",)) == ["jane@contoso.com, [CARD_1], password=Xy12!abcQ"]
    assert contents(row, kinds=("secret",)) == [
        "jane@contoso.com, 4111-1111-1111-1111, password=[PASSWORD_1]"
    ]


def test_an_unknown_kind_is_named_with_those_that_there_are():
    with pytest.raises(DataError, match=r"'emails' cannot be redacted; the kinds are email, phone, card,"):
        list(redacted([], ("emails",)))


def test_arguments_of_a_tool_stay_json():
    row = with_arguments(
        '{"to": "jane@contoso.com", "card": 4111111111111111, "note": "Hi\\njane@contoso.com"}'
    )
    assert json.loads(arguments(row)) == {"to": "[EMAIL_1]", "card": "[CARD_1]", "note": "Hi\n[EMAIL_1]"}


def test_roles_names_and_identifiers_stay():
    message = {"role": "jane@contoso.com", "name": "jane@contoso.com", "content": "jane@contoso.com"}
    (value,) = redacted([{"messages": [message], "id": "jane@contoso.com"}])
    assert value["messages"][0] == {**message, "content": "[EMAIL_1]"}
    assert value["id"] == "[EMAIL_1]"


def test_placeholders_that_stand_there_already_are_somebody_else():
    assert contents(conversation("jane@contoso.com", "ask [EMAIL_1]")) == ["[EMAIL_2]", "ask [EMAIL_1]"]


def test_a_row_without_anything_private_is_the_same_object():
    row = conversation("nothing here")
    assert next(redacted([row])) is row


def test_a_dataset_is_redacted_in_its_messages_and_in_what_else_its_lines_hold():
    message = {"role": "user", "content": "jane@contoso.com"}
    example = Example(
        (message,), "faq:1", {"reference": "jane@contoso.com"}, {"customer": "jane@contoso.com"}
    )
    untouched = Example(({"role": "user", "content": "q"},), "faq:2")
    done = propose(Dataset("faq", (example, untouched), ("read",)), rules=["pii"]).apply()
    assert done[0].wire == {"messages": ({"role": "user", "content": "[EMAIL_1]"},), "reference": "[EMAIL_1]"}
    assert (done[0].origin, done[0].metadata) == ("faq:1", {"customer": "jane@contoso.com"})
    assert done[1] is untouched
    assert (done.name, done.notes) == ("faq", ("read",))


def test_a_row_nested_without_end_is_refused_in_words():
    value: object = "jane@contoso.com"
    for _ in range(300):
        value = [value]
    with pytest.raises(DataError, match="nested more than 200 levels deep"):
        list(redacted([{"messages": value}]))


@given(TEXTS)
@settings(deadline=None)
def test_redacting_twice_changes_nothing_more(text):
    once = contents(conversation(text))
    assert sensitive(once[0]) == []
    assert contents(conversation(*once)) == once


@given(
    st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(), st.floats(allow_nan=False), st.none()), max_size=4)
)
@settings(deadline=None)
def test_what_was_json_is_json_with_the_same_number_of_values(values):
    assert len(json.loads(arguments(with_arguments(json.dumps(values))))) <= len(values)


@given(st.lists(st.integers(min_value=10**9, max_value=10**16), max_size=5))
@settings(deadline=None)
def test_lists_of_numbers_stay_json(numbers):
    text = json.dumps({"phone": numbers, "card": [4111111111111111, *numbers]})
    first = json.loads(arguments(with_arguments(text)))["card"][0]
    assert re.fullmatch(r"\[CARD_\d\]", first)  # a number before it may be a card as well
