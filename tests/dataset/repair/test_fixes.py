"""Every fix: a row that needs it, what becomes of it, and a row that only looks like one."""

import json

import pytest

from workbench.dataset.dataset import Dataset
from workbench.dataset.repair.fixes import BY_DEFAULT, FIXES, chosen
from workbench.dataset.repair.lines import example_from
from workbench.dataset.repair.repair import propose
from workbench.errors import DataError

HI, HELLO = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 1}'}}
CALLING = {"role": "assistant", "tool_calls": [CALL]}


def chat(*messages, **more):
    return {"messages": [*messages], **more}


def said(*messages):
    """``said("user: Hi", "bot: Hello")``: a conversation in short."""
    return chat(*({"role": role, "content": text} for role, _, text in (m.partition(": ") for m in messages)))


def weighted(weight, role="assistant"):
    return chat(HI, HELLO | {"role": "assistant"}, HI, {"role": role, "content": "Bye", "weight": weight})


def calling(arguments):
    function = {"name": "look_up", "arguments": arguments}
    return chat(HI, {"role": "assistant", "tool_calls": [CALL | {"function": function}]})


def pair(preferred, rejected, **more):
    return {"input": chat(HI), "preferred_output": preferred, "non_preferred_output": rejected, **more}


def repaired(value, *rules, method="sft"):
    """What becomes of one row; nothing when it is dropped, the very same value when nothing is changed."""
    dataset = Dataset("faq", (example_from(value, "faq.jsonl:1", {}),))
    repair = propose(dataset, rules=rules, method=method)
    if not repair.changes:
        return value
    assert {change.rule for change in repair.changes} == set(rules)
    examples = repair.apply().examples
    return json.loads(json.dumps(examples[0].wire, default=dict)) if examples else None


REPAIRED = [
    ("surrogate", chat(HI, HELLO | {"content": "a\ud83d"}), chat(HI, HELLO | {"content": "a\ufffd"})),
    ("control", said("user: H\x00i", "assistant: a\x1fb"), said("user: Hi", "assistant: ab")),
    ("role", said("human: Hi", "gpt: Hello"), chat(HI, HELLO)),
    ("role", said("System: Be brief.", "USER : Hi", "Bot: Hello"), chat(SYSTEM, HI, HELLO)),
    ("role", chat({"from": "human", "value": "Hi"}, {"from": "model", "value": "Hello"}), chat(HI, HELLO)),
    ("weight", weighted("1"), weighted(1)),
    ("weight", weighted(True), weighted(1)),
    ("weight", weighted(0.0), weighted(0)),
    ("weight", weighted(None), chat(HI, HELLO, HI, HELLO | {"content": "Bye"})),
    ("weight", weighted(1, "user"), chat(HI, HELLO, HI, HI | {"content": "Bye"})),
    ("arguments", calling({"a": 1}), calling('{"a": 1}')),
    ("arguments", calling(None), calling("{}")),
    ("arguments", calling(" "), calling("{}")),
    ("content", chat(HI, HELLO | {"content": 42}), chat(HI, HELLO | {"content": "42"})),
    (
        "content",
        chat(HI | {"content": ["Hi"]}, HELLO),
        chat(HI | {"content": [{"type": "text", "text": "Hi"}]}, HELLO),
    ),
    (
        "content",
        chat(HI | {"content": {"type": "text", "text": "Hi"}}, HELLO),
        chat(HI | {"content": [{"type": "text", "text": "Hi"}]}, HELLO),
    ),
    (
        "content",
        chat(HI, CALLING, {"role": "tool", "tool_call_id": "call_1", "content": None}, HELLO),
        chat(HI, CALLING, {"role": "tool", "tool_call_id": "call_1", "content": ""}, HELLO),
    ),
    (
        "mojibake",
        said("user: CafÃ©?", "assistant: Itâ€™s open."),
        said("user: Café?", "assistant: It’s open."),
    ),
    ("whitespace", said("user: Hi", "assistant:  Hello\n"), chat(HI, HELLO)),
    ("system_place", chat(HI, SYSTEM, HELLO), chat(SYSTEM, HI, HELLO)),
    ("last", chat(HI, HELLO, HI), chat(HI, HELLO)),
    (
        "order",
        said("user: Hi", "user: You?", "assistant: Hello"),
        said("user: Hi\n\nYou?", "assistant: Hello"),
    ),
    ("order", chat(HI, HELLO, HELLO), said("user: Hi", "assistant: Hello\n\nHello")),
    ("order", chat(HI, HELLO, CALLING), chat(HI, HELLO | {"tool_calls": [CALL]})),
    (
        "order",
        chat(HI, HI | {"content": [{"type": "text", "text": "?"}]}, HELLO),
        chat(HI | {"content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "?"}]}, HELLO),
    ),
    (
        "empty",
        chat(HI | {"content": [{"type": "text", "text": " "}, {"type": "text", "text": "Hi"}]}, HELLO),
        chat(HI | {"content": [{"type": "text", "text": "Hi"}]}, HELLO),
    ),
    ("empty", said("user: ", "assistant:  "), None),
    ("empty", chat(tools=[{"type": "function", "function": {"name": "look_up"}}]), None),
]


@pytest.mark.parametrize(("rule", "before", "after"), REPAIRED)
def test_a_row_that_needs_a_fix_gets_it(rule, before, after):
    assert repaired(before, rule) == after


@pytest.mark.parametrize(("rule", "before", "after"), REPAIRED)
def test_a_fixed_row_needs_no_further_fix_by_the_same_rule(rule, before, after):
    assert after is None or repaired(after, rule) is after


NEAR_MISSES = [
    ("surrogate", said("user: 😀", "assistant: Hello")),
    (
        "control",
        said("user: a\tb\r\nc", "assistant: \x0crac{1}{2}"),
    ),  # no \x0c, but a lost backslash
    ("role", chat(SYSTEM, HI, HELLO)),
    ("role", said("narrator: Hi", "assistant: Hello")),  # nobody knows who that is
    ("role", chat(HI | {"from": "human"}, HELLO)),
    ("weight", weighted(0)),
    ("weight", weighted(0.5)),
    ("weight", weighted("high")),
    ("arguments", calling('{"a": 1}')),
    ("arguments", calling("look it up")),
    ("content", chat(HI, CALLING | {"content": None})),
    ("content", chat(HI, HELLO | {"content": None})),
    ("content", chat(HI, HELLO | {"content": True})),
    ("mojibake", said("user: Ça va, naïve Zoë? “Ω”", "assistant: SÃO PAULO.")),
    ("whitespace", said("user:  Hi ", "assistant: Hello\n\nyou")),
    ("whitespace", said("user: Hi", "assistant:     if a:\n        return b")),  # code keeps its indentation
    ("whitespace", said("user: Hi", "assistant:  ")),
    ("system_place", chat(SYSTEM, SYSTEM, HI, HELLO)),
    ("last", chat(HI, CALLING)),
    ("last", chat(HI)),
    ("order", chat(HI, HELLO, HI, HELLO)),
    ("order", chat(HI, HELLO | {"weight": 0}, HELLO | {"weight": 1})),
    ("order", chat(HI | {"name": "Ann"}, HI | {"name": "Bob"}, HELLO)),
    ("order", chat(HI, CALLING, HELLO)),
    ("empty", chat(HI, HELLO | {"content": ""})),
    ("empty", chat(HI, CALLING | {"content": None})),
]


@pytest.mark.parametrize(("rule", "value"), NEAR_MISSES)
def test_a_row_that_only_looks_like_it_is_left_alone(rule, value):
    assert repaired(value, rule) is value


def test_old_functions_become_tools():
    old = chat(
        HI,
        {"role": "assistant", "content": None, "function_call": {"name": "look_up", "arguments": "{}"}},
        {"role": "function", "name": "look_up", "content": "42"},
        HELLO,
        functions=[{"name": "look_up", "parameters": {"type": "object"}}],
    )
    new = repaired(old, "legacy")
    assert new["tools"] == [
        {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    ]
    assert new["messages"][1]["tool_calls"][0]["function"] == {"name": "look_up", "arguments": "{}"}
    assert new["messages"][2]["role"] == "tool"
    assert new["messages"][2]["tool_call_id"] == new["messages"][1]["tool_calls"][0]["id"]
    assert "functions" not in new


def test_an_old_answer_that_nobody_asked_for_is_left_alone():
    value = chat(HI, {"role": "function", "name": "look_up", "content": "42"}, HELLO)
    assert repaired(value, "legacy") is value


def test_tools_are_left_alone():
    value = chat(HI, CALLING, tools=[{"type": "function", "function": {"name": "look_up"}}])
    assert repaired(value, "legacy") is value


def test_old_names_of_a_pairs_answers_are_replaced():
    old = {"input": chat(HI), "preferred_completion": "Hello", "non_preferred_completion": [HELLO]}
    assert repaired(old, "outputs", method="dpo") == pair([HELLO], [HELLO])


def test_a_pair_with_both_names_keeps_both():
    value = pair([HELLO], [HELLO], preferred_completion=[HI])
    assert repaired(value, "outputs", method="dpo") is value


def test_two_keys_are_never_made_one():
    value = chat(HI, HELLO, **{"a\x00": 1, "a": 2})
    assert repaired(value, "control") is value


def test_an_example_that_is_nested_too_deep_is_left_alone():
    deep = []
    for _ in range(150):
        deep = [deep]
    data = Dataset("faq", (example_from(chat(HI | {"role": "human"}, HELLO, deep=deep), "faq:1", {}),))
    repair = propose(data)
    assert repair.unreadable == ("faq:1",)
    assert repair.apply() == data


def test_weights_of_a_pair_are_removed():
    assert repaired(pair([HELLO | {"weight": 1}], [HELLO]), "weight", method="dpo") == pair([HELLO], [HELLO])


def test_what_a_pair_prefers_is_put_right_as_well():
    value = pair([{"role": "gpt", "content": "Yes"}], [{"role": "gpt", "content": "No"}])
    answers = [[{"role": "assistant", "content": text}] for text in ("Yes", "No")]
    assert repaired(value, "role", method="dpo") == pair(*answers)


def test_a_prompt_for_reinforcement_keeps_its_last_question():
    value = chat(HI, HELLO, HI, answer="42")
    dataset = Dataset("faq", (example_from(value, "faq:1", {}),))
    assert not propose(dataset).changes
    assert not propose(dataset, rules=["last"], method="rft").changes


def test_merging_happens_after_the_roles_are_put_right():
    value = said("human: Hi", "user: You?", "gpt: Hello")
    assert repaired(value, "role", "order") == said("user: Hi\n\nYou?", "assistant: Hello")


def test_only_what_loses_nothing_is_done_unasked():
    named = {"near_duplicate", "contradiction", "overlap", "refusal", "system", "pii", "secret", "too_long"}
    assert not named & set(BY_DEFAULT)
    assert {"role", "duplicate", "empty", "json"} <= set(BY_DEFAULT)


def test_every_fix_says_what_it_does():
    assert all(fix.title[0].islower() or fix.title.startswith(("JSON", "NaN", "UTF")) for fix in FIXES)
    assert all(not fix.title.endswith(".") for fix in FIXES)


def test_an_unknown_rule_is_refused_with_those_there_are():
    with pytest.raises(DataError, match=r"no fix for 'roles'; there are fixes for line_ends, .*, errors"):
        chosen(["roles"])
