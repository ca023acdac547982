"""The rules of preference pairs, each with a bad line and a near miss that passes."""

import pytest

from workbench.dataset.check.rules import Rules

ASK = {"role": "user", "content": "How many?"}
GOOD = {"role": "assistant", "content": "Forty-two."}
BAD = {"role": "assistant", "content": "Many."}
PAIR = {"input": {"messages": [ASK]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]}
CALLING = {
    "role": "assistant",
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "count", "arguments": "{}"}}],
}
TOOLS = [
    {"type": "function", "function": {"name": "count"}},
    {"type": "function", "function": {"name": "sum"}},
]
ANSWER = {"role": "tool", "tool_call_id": "call_1", "content": "42"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/c.png"}}


def findings(**changes: object) -> list[tuple[str, str, str, str, str]]:
    line = {key: value for key, value in (PAIR | changes).items() if value != "left out"}
    return Rules("dpo").findings(line)


def found(**changes: object) -> list[tuple[str, str, str]]:
    return [finding[:3] for finding in findings(**changes)]


def prompt(*messages: object, **more: object) -> dict[str, object]:
    return {"messages": list(messages), **more}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"input": prompt({"role": "system", "content": "Be brief."}, ASK)},
        {"input": prompt(ASK, GOOD, ASK)},
        {"input": prompt(ASK, tools=TOOLS), "preferred_output": [CALLING, ANSWER, GOOD]},
        {
            "input": prompt(ASK, CALLING, tools=TOOLS),
            "preferred_output": [ANSWER, GOOD],
            "non_preferred_output": [ANSWER, BAD],
        },
        {"input": prompt(ASK, tools=TOOLS, parallel_tool_calls=False), "preferred_output": [CALLING]},
    ],
)
def test_a_right_pair_has_no_finding(changes):
    assert found(**changes) == []


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"input": "left out"}, ("error", "input", "input")),
        ({"input": [ASK]}, ("error", "input", "input")),
        ({"input": {}}, ("error", "messages", "input.messages")),
        ({"input": prompt()}, ("error", "messages", "input.messages")),
        (
            {"input": prompt({"role": "bot", "content": "q"}, ASK)},
            ("error", "role", "input.messages[0].role"),
        ),
        ({"input": prompt({"role": "system", "content": "s"})}, ("error", "user", "input.messages")),
        ({"input": prompt(ASK, GOOD)}, ("warning", "input", "input.messages[1]")),
        ({"input": prompt(ASK, model="m")}, ("warning", "unknown_key", "input.model")),
        ({"input": prompt(ASK, tools={})}, ("error", "tools", "input.tools")),
        ({"preferred_output": "left out"}, ("error", "outputs", "preferred_output")),
        ({"preferred_output": "Forty-two."}, ("error", "outputs", "preferred_output")),
        ({"preferred_output": GOOD}, ("error", "outputs", "preferred_output")),
        ({"non_preferred_output": []}, ("error", "outputs", "non_preferred_output")),
        ({"preferred_output": ["Forty-two."]}, ("error", "messages", "preferred_output[0]")),
        ({"preferred_output": [ASK, GOOD]}, ("error", "outputs", "preferred_output[0].role")),
        ({"preferred_output": [{**GOOD, "content": ""}]}, ("error", "empty", "preferred_output[0].content")),
        ({"preferred_output": [{**GOOD, "weight": 1}]}, ("warning", "weight", "preferred_output[0].weight")),
        (
            {"preferred_output": [GOOD, {**GOOD, "mood": 1}]},
            ("warning", "unknown_key", "preferred_output[1].mood"),
        ),
        ({"note": "x"}, ("warning", "unknown_key", "note")),
        (
            {"preferred_output": [{**GOOD, "content": [IMAGE]}]},
            ("error", "image", "preferred_output[0].content[0]"),
        ),
        (
            {"input": prompt({"role": "user", "content": [IMAGE]})},
            ("error", "image", "input.messages[0].content[0]"),
        ),
        (
            {"input": prompt(ASK, {**GOOD, "weight": 0}, ASK)},
            ("warning", "weight", "input.messages[1].weight"),
        ),
        (
            {"preferred_output": [ANSWER, GOOD]},
            ("error", "tool_pairing", "preferred_output[0].tool_call_id"),
        ),
        (
            {"input": prompt(ASK, CALLING, tools=TOOLS)},
            ("error", "tool_pairing", "input.messages[1].tool_calls[0]"),
        ),
    ],
)
def test_a_broken_pair_is_found(changes, finding):
    assert finding in found(**changes)


def test_an_output_has_an_assistant_message():
    changes = {"input": prompt(ASK, CALLING, tools=TOOLS), "non_preferred_output": [ANSWER, BAD]}
    assert ("error", "outputs", "preferred_output") in found(preferred_output=[ANSWER], **changes)
    assert found(preferred_output=[ANSWER, GOOD], **changes) == []


@pytest.mark.parametrize("other", ["preferred_completion", "chosen"])
def test_another_name_for_an_output_is_understood(other):
    (finding,) = findings(preferred_output="left out", **{other: [GOOD]})
    assert (finding.rule, finding.path) == ("outputs", other)
    assert (finding.message, finding.fix) == ("the service calls this 'preferred_output'", "rename it")


def test_messages_outside_the_input_are_understood():
    (finding,) = findings(input="left out", messages=[ASK])
    assert (finding.message, finding.fix) == (
        "there is no input",
        "put 'messages' (and 'tools') inside 'input'",
    )


def with_outputs(preferred: object, rejected: object) -> list[tuple[str, str, str]]:
    return found(
        preferred_output=[{**GOOD, "content": preferred}], non_preferred_output=[{**BAD, "content": rejected}]
    )


def test_two_equal_outputs_teach_nothing():
    assert with_outputs("Forty-two.", "Forty-two.") == [("error", "identical", "")]
    assert with_outputs("Forty-two.", [{"type": "text", "text": "Forty-two."}]) == [
        ("error", "identical", "")
    ]


@pytest.mark.parametrize("rejected", ["forty-two.", " Forty-two.\n", "Ｆorty-two.", "FORTY-TWO."])
def test_outputs_that_differ_in_form_only_are_worth_a_look(rejected):
    assert with_outputs("Forty-two.", rejected) == [("warning", "identical", "")]


@pytest.mark.parametrize("rejected", ["Forty-two", "Forty two.", "Forty-two!"])
def test_outputs_that_differ_in_a_sign_are_fine(rejected):
    assert with_outputs("Forty-two.", rejected) == []


def test_calls_of_different_tools_are_different_outputs():
    other = {**CALLING, "tool_calls": [{**CALLING["tool_calls"][0], "id": "call_2"}]}
    sums = {"name": "sum", "arguments": "{}"}
    better = {**CALLING, "tool_calls": [{**CALLING["tool_calls"][0], "function": sums}]}
    tools = prompt(ASK, tools=TOOLS)
    assert found(input=tools, preferred_output=[CALLING], non_preferred_output=[other]) == [
        ("error", "identical", "")
    ]
    assert found(input=tools, preferred_output=[CALLING], non_preferred_output=[better]) == []
