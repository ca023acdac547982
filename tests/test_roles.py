"""Who speaks, under whatever name; the check, the repair and the reading go by the same table."""

import pytest

from workbench.dataset.chat_formats import example_of
from workbench.dataset.check.row import method_of
from workbench.dataset.check.rules import Rules
from workbench.dataset.dataset import OTHER_NAMES, ROLES, role_meant
from workbench.dataset.repair.chats import with_known_roles

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
    assert with_known_roles(line)["messages"][0] == {"role": role, "content": "Hi"}


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
