import json
from contextlib import suppress

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.dataset.chat_formats import example_of, shape_of, uploaded_example
from workbench.dataset.check.row import method_of
from workbench.dataset.check.rules import Rules
from workbench.dataset.dataset import OTHER_NAMES, ROLES, Dataset, role_meant
from workbench.dataset.read import read
from workbench.dataset.repair.chats import with_known_role
from workbench.errors import DataError

USER, BETTER, WORSE = (
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "yes"},
    {"role": "assistant", "content": "no"},
)
PAIR = {"preferred_output": [BETTER], "non_preferred_output": [WORSE]}
TOOL = {"type": "function", "function": {"name": "f"}}


def lines(tmp_path, *values):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(value) for value in values), encoding="utf-8")
    return read(path)


# What is uploaded as it is


def test_a_chat_keeps_its_fields():
    example = example_of({"messages": [USER, BETTER], "tools": [TOOL]}, "a.jsonl:1")
    assert (example.method, example.messages, example.more) == ("sft", (USER, BETTER), {"tools": [TOOL]})


def test_a_prompt_for_reinforcement_keeps_its_reference_fields():
    line = {"messages": [USER], "answer": 7, "input": "x", "choices": ["A", "B"]}
    example = example_of(line, "a.jsonl:1")
    assert (example.method, example.more) == ("rft", {"answer": 7, "input": "x", "choices": ["A", "B"]})
    assert example.wire == {**line, "messages": (USER,)}


def test_a_preference_pair_keeps_its_tools_in_the_input():
    line = {"input": {"messages": [USER], "tools": [TOOL], "parallel_tool_calls": False}, **PAIR}
    example = example_of(line, "a.jsonl:1")
    assert (example.method, example.messages, example.answer) == ("dpo", (USER,), "yes")
    assert example.more == {"tools": [TOOL], "parallel_tool_calls": False, **PAIR}
    assert json.loads(Dataset("a", (example,)).to_jsonl()) == line


def test_what_is_uploaded_as_it_is_needs_no_note(tmp_path):
    assert lines(tmp_path, {"messages": [USER, BETTER]}, {"messages": [BETTER]}).notes == ()
    assert lines(tmp_path, {"input": {"messages": [USER]}, **PAIR}).notes == ()


# Preference pairs in other spellings


@pytest.mark.parametrize(
    "value",
    [
        {
            "input": {"messages": [USER]},
            "preferred_completion": [BETTER],
            "non_preferred_completion": [WORSE],
        },
        {"input": [USER], "preferred_output": BETTER, "non_preferred_output": WORSE},
        {"input": "q", "preferred_output": "yes", "non_preferred_output": "no"},
        {"prompt": "q", "chosen": "yes", "rejected": "no"},
        {"prompt": [USER], "chosen": [BETTER], "rejected": [WORSE]},
        {"prompt": "q", "chosen": [USER, BETTER], "rejected": [USER, WORSE]},
        {"chosen": [USER, BETTER], "rejected": [USER, WORSE]},
    ],
)
def test_a_pair_is_recognised_however_it_is_spelt(value):
    example = example_of(value, "a.jsonl:1")
    assert (example.messages, example.more, example.metadata) == ((USER,), PAIR, {})


def test_a_pair_of_whole_chats_beats_the_messages_beside_it():
    value = {"messages": [USER, BETTER], "chosen": [USER, BETTER], "rejected": [USER, WORSE], "score": 9}
    example = example_of(value, "a.jsonl:1")
    assert (example.method, example.messages, example.metadata["score"]) == ("dpo", (USER,), 9)


def test_what_both_chats_begin_with_is_the_prompt():
    again = {"role": "user", "content": "sure?"}
    value = {"chosen": [USER, BETTER, again, BETTER], "rejected": [USER, BETTER, again, WORSE]}
    example = example_of(value, "a.jsonl:1")
    assert (example.messages, example.more) == ((USER, BETTER, again), PAIR)


def test_two_equal_outputs_stay_two_outputs_for_a_check_to_find():
    for value in (
        {"prompt": "q", "chosen": "yes", "rejected": "yes"},
        {"chosen": [USER, BETTER], "rejected": [USER, BETTER]},
    ):
        more = example_of(value, "a.jsonl:1").more
        assert more == {"preferred_output": [BETTER], "non_preferred_output": [BETTER]}


def test_a_pair_keeps_tools_and_the_rest_as_metadata(tmp_path):
    dataset = lines(
        tmp_path, {"prompt": "q", "chosen": "yes", "rejected": "no", "tools": [TOOL], "who": "me"}
    )
    assert dataset[0].more == {"tools": [TOOL], **PAIR}
    assert dataset[0].metadata == {"who": "me"}
    assert dataset.notes == ("1 × preference pair in another spelling",)


# What other tools write


@pytest.mark.parametrize(
    ("given", "asked"),
    [("Names please", "List.\n\nNames please"), ("", "List."), (None, "List.")],
)
def test_an_alpaca_input_stands_below_its_instruction(given, asked):
    value = {"instruction": "List.", "input": given, "output": "A", "system": "S", "text": "all"}
    example = example_of(value, "a.jsonl:1")
    assert [message["content"] for message in example.messages] == ["S", asked, "A"]
    assert example.metadata == {"text": "all"}


def test_a_sharegpt_conversation_has_other_names_for_roles():
    turns = [
        {"from": "system", "value": "S"},
        {"from": "human", "value": "q"},
        {"from": "gpt", "value": "yes", "weight": 0},
        {"role": "user", "content": "r"},
        {"from": "gpt", "value": "no"},
    ]
    example = example_of({"conversations": turns, "id": "x1"}, "a.jsonl:1")
    assert example.messages == (
        {"role": "system", "content": "S"},
        USER,
        {**BETTER, "weight": 0},
        {"role": "user", "content": "r"},
        WORSE,
    )
    assert example.metadata == {"id": "x1"}


def test_a_system_text_beside_a_sharegpt_conversation_comes_first():
    value = {"conversations": [{"from": "human", "value": "q"}], "system": "S"}
    assert example_of(value, "a.jsonl:1").messages == ({"role": "system", "content": "S"}, USER)


@pytest.mark.parametrize("prompt", ["prompt", "context"])
def test_a_prompt_with_its_completion_becomes_a_chat(prompt):
    example = example_of({prompt: "q", "completion": "yes", "id": 3}, "a.jsonl:1")
    assert (example.messages, example.more, example.metadata) == ((USER, BETTER), {}, {"id": 3})


def test_prompt_and_completion_may_be_messages():
    assert example_of({"prompt": [USER], "completion": [BETTER]}, "a.jsonl:1").messages == (USER, BETTER)


def test_functions_become_tools_and_answers_find_their_call():
    f, g = {"name": "f", "parameters": {}}, {"name": "g"}
    value = {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
            {"role": "assistant", "function_call": {"name": "g", "arguments": "{}"}},
            {"role": "function", "name": "g", "content": "2"},
            BETTER,
        ],
        "functions": [f, g],
        "function_call": "auto",
        "answer": 1,
    }
    example = example_of(value, "a.jsonl:1")
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert example.messages == (
        USER,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
        {
            "role": "assistant",
            "tool_calls": [{**call, "id": "call_2", "function": {"name": "g", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call_2", "content": "2"},
        BETTER,
    )
    tools = [{"type": "function", "function": f}, {"type": "function", "function": g}]
    assert (example.more, example.metadata) == ({"answer": 1, "tools": tools}, {"function_call": "auto"})


def test_an_answer_of_a_function_that_nobody_called_stays_as_it_is():
    stray = {"role": "function", "name": "f", "content": "1"}
    assert example_of({"messages": [USER, stray, BETTER]}, "a.jsonl:1").messages == (USER, stray, BETTER)


def test_an_empty_function_call_is_left_out(tmp_path):
    dataset = lines(tmp_path, {"messages": [USER, {**BETTER, "function_call": None}]})
    assert dataset[0].messages == (USER, BETTER)
    assert dataset.notes == ("1 × chat with functions, made tools",)


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [USER], "tools": [TOOL]},
        {"input": [USER], "tools": [TOOL]},
        {"request": {"messages": [USER], "tools": [TOOL]}},
        {"request": {"body": {"messages": [USER], "tools": [TOOL]}}},
    ],
)
def test_a_stored_completion_is_its_request_and_its_first_choice(value):
    answer = {**BETTER, "refusal": None, "annotations": [], "tool_calls": None}
    response = {
        "id": "c-1",
        "object": "chat.completion",
        "model": "gpt-4.1",
        "choices": [{"index": 0, "message": answer, "finish_reason": "stop"}, {"message": WORSE}],
    }
    together = {**value, "response": response} if "request" in value else {**value, **response}
    example = example_of(together, "a.jsonl:1")
    assert (example.messages, example.more) == ((USER, BETTER), {"tools": [TOOL]})
    assert example.metadata == {
        "id": "c-1",
        "object": "chat.completion",
        "model": "gpt-4.1",
        "finish_reason": "stop",
    }


def test_several_shapes_in_one_file_are_counted(tmp_path):
    dataset = lines(
        tmp_path,
        {"messages": [USER, BETTER]},
        {"instruction": "q", "output": "yes"},
        {"instruction": "q", "output": "no"},
    )
    assert dataset.notes == ("1 × chat", "2 × Alpaca instruction")


def test_named_columns_beat_a_shape_whose_keys_could_be_columns(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"instruction": "i", "output": "o", "prompt": "p", "completion": "c"}', encoding="utf-8")
    (example,) = read(path, question="prompt", answer="output")
    assert [message["content"] for message in example.messages] == ["p", "o"]
    (pair,) = read(path, question="prompt", preferred="output", rejected="completion")
    assert (pair.method, pair.answer) == ("dpo", "o")


def test_a_field_of_a_conversation_becomes_a_reference(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"conversations": [{"from": "human", "value": "q"}], "gold": 7}', encoding="utf-8")
    (example,) = read(path, reference="gold")
    assert (example.method, example.more, example.metadata) == ("rft", {"gold": 7}, {})
    with pytest.raises(DataError, match=r"a.jsonl line 1 has no 'silver'; beside the messages it has gold"):
        read(path, reference="silver")


# What is refused


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"text": "all"},
            "a.jsonl line 1 is one running text, which does not say what is asked and what is to be learned; "
            "split it into a prompt and a completion.",
        ),
        ({}, "a.jsonl line 1 has no 'messages' (it has nothing); a chat is {\"messages\": [...]}."),
        ([USER], "a.jsonl line 1 is a list; it should be an object with 'messages'."),
        ({"messages": {}}, "a.jsonl line 1: messages is an object; it should be a list of messages."),
        (
            {"input": {}, **PAIR},
            "a.jsonl line 1: input.messages is null; it should be a list of messages.",
        ),
        (
            {"input": {"messages": [USER]}, "preferred_output": [], "non_preferred_output": [WORSE]},
            "a.jsonl line 1: preferred_output is empty; it should be a list of messages.",
        ),
        (
            {"input": {"messages": [USER]}, "preferred_output": [BETTER], "non_preferred_output": [3]},
            "a.jsonl line 1: non_preferred_output[0] is a number; "
            "it should be an object with 'role' and 'content'.",
        ),
        (
            {"chosen": [BETTER], "rejected": [WORSE]},
            "a.jsonl line 1: chosen and rejected do not begin alike; add the prompt to both.",
        ),
        (
            {"prompt": 5, "chosen": "a", "rejected": "b"},
            "a.jsonl line 1: prompt is a number; it should be a list of messages.",
        ),
        (
            {"conversations": [{"from": "observation", "value": "x"}]},
            "a.jsonl line 1: conversations[0].from is 'observation'; it should be human, gpt or system.",
        ),
        (
            {"conversations": [{"from": 3, "value": "x"}]},
            "a.jsonl line 1: conversations[0].from is a number; it should be human, gpt or system.",
        ),
        (
            {"object": "chat.completion", "choices": [{"message": BETTER}]},
            "a.jsonl line 1 is a stored completion without its request; "
            "put the messages that were asked beside it as 'messages'.",
        ),
        (
            {"object": "chat.completion", "messages": [USER], "choices": []},
            "a.jsonl line 1: choices[0].message is null; it should be a message.",
        ),
        ({"messages": [USER], "functions": 5, "x": [[[]]]}, None),
        ({"prompt": None, "completion": None}, None),
        ({"instruction": 1, "output": {"a": 1}}, None),
    ],
)
def test_a_broken_shape_is_named_and_its_near_miss_is_taken(value, message):
    if message is None:
        assert example_of(value, "a.jsonl:1").origin == "a.jsonl:1"
        return
    with pytest.raises(DataError) as caught:
        example_of(value, "a.jsonl:1")
    assert str(caught.value) == message


def test_an_upload_takes_only_what_the_service_takes():
    assert uploaded_example({"messages": [USER]}, "a:1").method == "rft"
    assert uploaded_example({"input": {"messages": [USER]}, **PAIR}, "a:1").method == "dpo"
    for other in ({"prompt": "q", "completion": "a"}, {"conversations": []}, {"prompt": "q", "chosen": "a"}):
        with pytest.raises(DataError, match="has no 'messages'"):
            uploaded_example(other, "a:1")
    with pytest.raises(DataError, match="input is a text; it should be an object with 'messages'"):
        uploaded_example({"input": "q", **PAIR}, "a:1")


def test_a_plain_record_has_no_shape():
    for value in (
        {"question": "q", "label": "l"},
        {"text": "t"},
        {"chosen": "a", "rejected": "b"},
        [1],
        None,
    ):
        assert shape_of(value) is None


KEYS = ["messages", "input", "prompt", "chosen", "rejected", "preferred_output", "non_preferred_output"]
KEYS += [
    "conversations",
    "system",
    "instruction",
    "output",
    "completion",
    "functions",
    "function_call",
    "role",
]
KEYS += ["choices", "message", "request", "response", "body", "object", "from", "value", "content", "tools"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "human", "function", "chat.completion"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5))
def test_no_object_is_a_traceback(value):
    with suppress(DataError):
        line = Dataset("a", (example_of(value, "a.jsonl:1"),)).to_jsonl()
        again = uploaded_example(json.loads(line), "a.jsonl:1")
        assert Dataset("a", (again,)).to_jsonl() == line


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4), min_size=1, max_size=3))
def test_no_table_of_objects_is_a_traceback(rows):
    frame = pandas.DataFrame([{key: json.dumps(value) for key, value in row.items()} for row in rows])
    with suppress(DataError):
        assert len(read(frame)) == len(rows)
    frame = pandas.DataFrame(rows, dtype=object)
    with suppress(DataError):
        assert len(read(frame, question="{prompt}", reference="input")) == len(rows)


# Who speaks, under whatever name; the check, the repair and the reading go by the same table.

SAID = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *((role, role) for role in ROLES),
        ("Human", "user"),
        (" GPT ", "assistant"),
        ("observation", "tool"),
        ("narrator", None),
        ("", None),
    ],
)
def test_a_role_is_known_by_its_other_names(name, role):
    assert role_meant(name) == role


@pytest.mark.parametrize(("name", "role"), OTHER_NAMES.items())
def test_what_a_check_proposes_is_what_a_repair_does(name, role):
    line = {"messages": [{"role": name, "content": "Hi"}, *SAID]}
    findings = [found for found in Rules("sft").findings(line) if found.rule == "role"]
    assert [found.fix for found in findings] == [f"did you mean {role!r}"]
    assert with_known_role(line["messages"][0]) == {"role": role, "content": "Hi"}


def test_chats_of_other_tools_are_read_by_the_same_names():
    turns = [{"from": "Prompter", "value": "Hi"}, {"from": "bot", "value": "Hello"}]
    assert list(example_of({"conversations": turns}, "a.jsonl:1").messages) == SAID


@pytest.mark.parametrize(
    ("value", "method"),
    [
        ({"messages": SAID}, "sft"),
        ({"messages": SAID[:1]}, "rft"),
        ({"messages": (SAID[0],), "answer": "x"}, "rft"),
        ({"input": {"messages": SAID[:1]}}, "dpo"),
        ({"preferred_output": []}, "dpo"),
        ({"preferred_completion": "Hello"}, "dpo"),
        ({"messages": []}, "sft"),
        ({"messages": "Hi"}, "sft"),
        ({"messages": [7]}, "sft"),
        ({}, "sft"),
    ],
)
def test_a_line_tells_what_it_is_to_teach_by(value, method):
    assert method_of(value) == method
