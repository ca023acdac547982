"""The rules of a conversation, each with a bad line and a near miss that passes."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.dataset.check.methods import METHODS
from workbench.dataset.check.rules import RULES, Rules
from workbench.errors import DataError

SYSTEM = {"role": "system", "content": "Be brief."}
ASK = {"role": "user", "content": "q"}
SAY = {"role": "assistant", "content": "a"}
GOOD = [ASK, SAY]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
TEXT = {"type": "text", "text": "q"}


def found(messages: object, **more: object) -> list[tuple[str, str, str]]:
    findings = Rules("sft").findings({"messages": messages, **more})
    return [(finding.level, finding.rule, finding.path) for finding in findings]


def test_a_good_line_has_no_finding():
    assert found([SYSTEM, ASK, SAY, ASK, SAY]) == []


@pytest.mark.parametrize(
    ("messages", "finding"),
    [
        (None, ("error", "messages", "messages")),
        ({"role": "user"}, ("error", "messages", "messages")),
        ([], ("error", "messages", "messages")),
        (["q", ASK, SAY], ("error", "messages", "messages[0]")),
        ([{"role": "bot", "content": "q"}, *GOOD], ("error", "role", "messages[0].role")),
        ([{"content": "q"}, *GOOD], ("error", "role", "messages[0].role")),
        ([{"role": ["user"], "content": "q"}, *GOOD], ("error", "role", "messages[0].role")),
        ([{"role": "User", "content": "q"}, *GOOD], ("error", "role", "messages[0].role")),
        ([{"role": "user", "content": ""}, SAY], ("error", "empty", "messages[0].content")),
        ([ASK, {"role": "assistant", "content": " \n"}], ("error", "empty", "messages[1].content")),
        ([ASK, {"role": "assistant"}], ("error", "empty", "messages[1].content")),
        ([ASK, {"role": "assistant", "content": None}], ("error", "empty", "messages[1].content")),
        ([{"role": "user", "content": []}, SAY], ("error", "empty", "messages[0].content")),
        (
            [{"role": "user", "content": [{**TEXT, "text": " "}]}, SAY],
            ("error", "empty", "messages[0].content"),
        ),
        (
            [{"role": "user", "content": [TEXT, {**TEXT, "text": ""}]}, SAY],
            ("warning", "empty", "messages[0].content[1]"),
        ),
        ([ASK, {"role": "assistant", "content": 5}], ("error", "content", "messages[1].content")),
        ([{"role": "user", "content": ["q"]}, SAY], ("error", "content", "messages[0].content[0]")),
        ([{"role": "user", "content": [{}]}, SAY], ("error", "content", "messages[0].content[0]")),
        (
            [{"role": "user", "content": [{"type": "text", "text": 1}]}, SAY],
            ("error", "content", "messages[0].content[0].text"),
        ),
        (
            [{"role": "user", "content": [{"type": "input_audio"}]}, SAY],
            ("error", "content", "messages[0].content[0].type"),
        ),
        (
            [{"role": "user", "content": [{"type": "refusal", "refusal": "no"}]}, SAY],
            ("error", "content", "messages[0].content[0].type"),
        ),
        ([ASK, {**SAY, "refusal": 1}], ("error", "content", "messages[1].refusal")),
        ([{**ASK, "weight": 1}, SAY], ("error", "weight", "messages[0].weight")),
        ([ASK, {**SAY, "weight": 0.5}], ("error", "weight", "messages[1].weight")),
        ([ASK, {**SAY, "weight": True}], ("error", "weight", "messages[1].weight")),
        ([ASK, {**SAY, "weight": "1"}], ("error", "weight", "messages[1].weight")),
        ([ASK, {**SAY, "weight": None}], ("error", "weight", "messages[1].weight")),
        ([ASK, {**SAY, "weight": 0}], ("warning", "weight", "messages")),
        ([ASK], ("error", "last", "messages[0]")),
        ([SAY], ("error", "user", "messages")),
        ([*GOOD, SAY], ("error", "order", "messages[2]")),
        ([ASK, *GOOD], ("warning", "order", "messages[1]")),
        ([ASK, SYSTEM, SAY], ("warning", "system_place", "messages[1]")),
        ([{**ASK, "name": 5}, SAY], ("error", "name", "messages[0].name")),
        ([{**ASK, "name": None}, SAY], ("error", "name", "messages[0].name")),
        ([{**ASK, "name": "Ada Lovelace"}, SAY], ("warning", "name", "messages[0].name")),
        ([{**ASK, "mood": "good"}, SAY], ("warning", "unknown_key", "messages[0].mood")),
        ([{**ASK, "my mood": "good"}, SAY], ("warning", "unknown_key", "messages[0]['my mood']")),
        ([{**ASK, "tool_call_id": "call_1"}, SAY], ("error", "unknown_key", "messages[0].tool_call_id")),
    ],
)
def test_a_broken_conversation_is_found(messages, finding):
    assert found(messages) == [finding]


@pytest.mark.parametrize(
    "messages",
    [
        (ASK, SAY),
        [{"role": "developer", "content": "Be brief."}, *GOOD],
        [SAY, *GOOD],
        [*GOOD, *GOOD],
        [ASK, {**SAY, "weight": 0}, ASK, {**SAY, "weight": 1}],
        [ASK, {**SAY, "weight": 0}, ASK, SAY],
        [{"role": "user", "content": [TEXT, TEXT]}, SAY],
        [ASK, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
        [ASK, {"role": "assistant", "content": None, "refusal": "I cannot help with that."}],
        [ASK, {**SAY, "refusal": None, "audio": None, "function_call": None}],
        [{**ASK, "name": "Ada_Lovelace"}, SAY],
    ],
)
def test_an_unusual_but_right_conversation_has_no_finding(messages):
    assert found(messages) == []


def test_a_tool_may_give_nothing_but_must_say_so():
    call = {"role": "assistant", "tool_calls": [CALL]}
    answer = {"role": "tool", "tool_call_id": "call_1"}
    assert found([ASK, call, {**answer, "content": ""}, SAY], tools=TOOLS) == []
    assert found([ASK, call, answer, SAY], tools=TOOLS) == [("error", "content", "messages[2].content")]


def test_everything_is_found_at_once():
    assert found([{"role": "bot", "content": 1}, {"role": "user", "content": "", "weight": 1}]) == [
        ("error", "role", "messages[0].role"),
        ("error", "content", "messages[0].content"),
        ("error", "empty", "messages[1].content"),
        ("error", "weight", "messages[1].weight"),
        ("error", "last", "messages[1]"),
    ]


@pytest.mark.parametrize(
    ("role", "right"),
    [
        ("human", "user"),
        ("gpt", "assistant"),
        ("Bot", "assistant"),
        ("ASSISTANT", "assistant"),
        ("asistant", "assistant"),
        (" user", "user"),
        ("observation", "tool"),
    ],
)
def test_a_role_of_another_format_is_understood(role, right):
    (finding,) = Rules("sft").findings({"messages": [{"role": role, "content": "q"}, *GOOD]})
    assert (finding.message, finding.fix) == (f"{role!r} is no role", f"did you mean {right!r}")


def test_a_role_that_is_like_none_gets_the_list():
    (finding,) = Rules("sft").findings({"messages": [{"role": "x" * 50, "content": "q"}, *GOOD]})
    assert (finding.message, finding.fix) == (f"'{'x' * 40}'… is no role", "use system, user or assistant")


def test_a_message_of_sharegpt_is_told_key_by_key():
    findings = Rules("sft").findings({"messages": [{"from": "human", "value": "q"}, SAY]})
    assert [(finding.path, finding.fix) for finding in findings] == [
        ("messages[0].role", "rename 'from' to 'role'"),
        ("messages[0].content", "fill it in, or leave the example out"),
        ("messages[0].from", "did you mean 'role'"),
        ("messages[0].value", "did you mean 'content'"),
        ("messages", "add the question"),
    ]


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        (
            {"prompt": "q", "completion": "a"},
            "this is the old form for completion models; read() turns it into messages",
        ),
        ({"conversations": []}, "this is the form of another tool; read() turns it into messages"),
        (
            {"input": {}, "preferred_output": [], "non_preferred_output": []},
            "check preference pairs with method dpo",
        ),
        ({"message": []}, "rename the key to 'messages'"),
        ({}, 'write {"messages": [{"role": …, "content": …}]}'),
    ],
)
def test_a_line_of_another_format_is_one_finding(line, fix):
    (finding,) = Rules("sft").findings(line)
    assert (finding.rule, finding.path, finding.fix) == ("messages", "messages", fix)


def test_a_part_of_no_known_kind_gets_the_list_of_its_role():
    messages = [{"role": "user", "content": [TEXT, {"type": "input_audio"}]}, SAY]
    (finding,) = Rules("sft").findings({"messages": messages})
    assert finding.message == "'input_audio' is no kind of part that a message of this role can hold"
    assert finding.fix == "use text or image_url"


def test_a_key_that_nobody_reads_is_worth_a_look():
    assert found(GOOD, source="faq.csv") == [("warning", "unknown_key", "source")]
    (slip,) = Rules("sft").findings({"messages": GOOD, "tool": TOOLS})
    assert slip.fix == "did you mean 'tools'"
    (old,) = Rules("sft").findings({"messages": GOOD, "prompt_loss_weight": 0.01})
    assert old.fix == "remove it; old tools took it as a setting of the job, never of a line"


def test_a_method_must_be_known():
    with pytest.raises(DataError, match="no method 'ppo'; choose sft, dpo, rft"):
        Rules("ppo")


@pytest.mark.parametrize("method", METHODS)
def test_rules_can_be_sent_to_another_process(method):
    grader = {"type": "string_check", "reference": "{{item.answer}}"}
    these = Rules(method, grader=grader)
    line = {"messages": [{"role": "bot"}]}
    assert pickle.loads(pickle.dumps(these)).findings(line) == these.findings(line)


# Anything JSON can hold, and lines that are nearly right: words of the format in wrong places.
WORDS = st.sampled_from(
    """
    messages role content user assistant system tool tool_calls tool_call_id function name arguments id type
    text image_url url weight input preferred_output non_preferred_output tools parameters properties required
    refusal answer json_schema $ref {} call_1
    """.strip().split()
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS | st.just("{}")
ANY_JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=25,
)
LINES = st.dictionaries(WORDS | st.text(max_size=4), ANY_JSON, max_size=5)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
VALID = {
    "sft": {
        "messages": [
            SYSTEM,
            {
                "role": "user",
                "content": [TEXT, {"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}],
            },
            {
                "role": "assistant",
                "tool_calls": [{**CALL, "function": {"name": "f", "arguments": '{"city":"O"}'}}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "12"},
            {**SAY, "weight": 1},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}],
    },
    "dpo": {
        "input": {"messages": [ASK]},
        "preferred_output": [SAY],
        "non_preferred_output": [{**SAY, "content": "b"}],
    },
    "rft": {"messages": [SYSTEM, ASK], "answer": "42"},
}
GRADER = {"type": "string_check", "input": "{{sample.output_text}}", "reference": "{{item.answer}}"}


def every_place(value: object) -> list[tuple[object, ...]]:
    if isinstance(value, dict | list):
        steps = value.items() if isinstance(value, dict) else enumerate(value)
        return [(), *((key, *rest) for key, inner in steps for rest in every_place(inner))]
    return [()]


def changed(value: object, place: tuple[object, ...], new: object) -> object:
    if not place:
        return new
    step, *rest = place
    if isinstance(value, dict):
        return {**value, step: changed(value[step], tuple(rest), new)}
    return [changed(inner, tuple(rest), new) if n == step else inner for n, inner in enumerate(value)]


@st.composite
def nearly_valid(draw: st.DrawFn) -> tuple[str, object]:
    """A right line with one to three places replaced."""
    method = draw(st.sampled_from(METHODS))
    line = VALID[method]
    for _ in range(draw(st.integers(1, 3))):
        line = changed(line, draw(st.sampled_from(every_place(line)[1:])), draw(ANY_JSON))
    return method, line


@pytest.mark.parametrize("method", METHODS)
def test_the_valid_lines_that_are_mutated_are_valid(method):
    assert Rules(method, GRADER).findings(VALID[method]) == []


@pytest.mark.parametrize("method", METHODS)
@given(line=LINES)
def test_no_json_makes_the_rules_raise(method, line):
    these = Rules(method, GRADER)
    assert {finding.rule for finding in these.findings(line)} <= set(RULES)
    assert not these.plain(line) or these.findings(line) == []


@given(nearly_valid())
def test_no_slip_makes_the_rules_raise(case):
    method, line = case
    these = Rules(method, GRADER)
    assert {finding.rule for finding in these.findings(line)} <= set(RULES)
    assert not these.plain(line) or these.findings(line) == []


@pytest.mark.parametrize("method", METHODS)
def test_no_depth_makes_the_rules_raise(method):
    deep: object = "bottom"
    for _ in range(5_000):
        deep = [{"content": deep, "type": "text", "text": deep}]
    for place in every_place(VALID[method])[1:]:
        assert isinstance(Rules(method, GRADER).findings(changed(VALID[method], place, deep)), list)


TEXTS = st.text(max_size=3) | st.sampled_from(["a", "A", "a ", "ａ", "\u00a0", "ﬁ", "fi"])
SIMPLE = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "developer", "user", "assistant"]),
    TEXTS,
)
TURNS = st.lists(SIMPLE, max_size=4)


@given(
    TURNS, TURNS, TURNS, st.dictionaries(st.sampled_from(["answer", "tools", "a b", "x"]), TEXTS, max_size=2)
)
def test_what_is_plain_has_no_finding(messages, preferred, rejected, more):
    pair = {"input": {"messages": messages}, "preferred_output": preferred, "non_preferred_output": rejected}
    for these in (Rules("sft"), Rules("rft"), Rules("rft", GRADER), Rules("dpo")):
        for line in ({"messages": messages}, {"messages": messages, **more}, pair):
            assert not these.plain(line) or these.findings(line) == []


@pytest.mark.parametrize(
    ("these", "line"),
    [
        (Rules("sft"), {"messages": GOOD}),
        (Rules("sft"), {"messages": (SYSTEM, ASK, SAY, ASK, SAY)}),
        (Rules("dpo"), VALID["dpo"]),
        (Rules("rft"), VALID["rft"]),
        (Rules("rft", GRADER), VALID["rft"]),
    ],
)
def test_a_typical_good_line_is_plain(these, line):
    assert these.plain(line)
