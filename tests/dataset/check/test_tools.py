"""The rules of tools and their calls, each with a bad line and a near miss that passes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.dataset.check.rules import Rules

ASK = {"role": "user", "content": "Weather in Oslo?"}
SAY = {"role": "assistant", "content": "12 degrees."}
WEATHER = {
    "name": "get_weather",
    "description": "The weather now.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 1},
            "unit": {"enum": ["c", "f"]},
            "days": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        },
        "required": ["city"],
        "additionalProperties": False,
    },
}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": {"name": "now"}}]
CALL_PLACE = "messages[1].tool_calls[0]"


def call(identity: object = "call_1", name: object = "get_weather", **arguments: object) -> dict[str, object]:
    text = json.dumps(arguments or {"city": "Oslo"})
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": text}}


def calling(*calls: object) -> dict[str, object]:
    return {"role": "assistant", "tool_calls": list(calls)}


def answer(identity: object = "call_1") -> dict[str, object]:
    return {"role": "tool", "tool_call_id": identity, "content": "12"}


def findings(*messages: object, **more: object) -> list[tuple[str, str, str, str, str]]:
    return Rules("sft").findings({"messages": [ASK, *messages], "tools": TOOLS, **more})


def found(*messages: object, **more: object) -> list[tuple[str, str, str]]:
    return [(level, rule, path) for level, rule, path, _, _ in findings(*messages, **more)]


def arguments(text: object) -> dict[str, object]:
    return {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": text}}


@pytest.mark.parametrize(
    "messages",
    [
        [calling(call()), answer(), SAY],
        [calling(call())],
        [calling(call(), call("call_2", "now", x=1)), answer("call_2"), answer(), SAY],
        [calling(call()), answer(), calling(call("call_2")), answer("call_2"), SAY],
        [{**calling(call()), "content": None}, answer(), SAY],
        [{**calling(call()), "content": ""}, answer(), SAY],
        [calling(call(city="Oslo", unit="c", days=[1, 2])), answer(), SAY],
        [calling(call()), {**answer(), "name": "get_weather"}, SAY],
    ],
)
def test_a_right_use_of_tools_has_no_finding(messages):
    assert found(*messages) == []


@pytest.mark.parametrize(
    ("tools", "finding"),
    [
        (None, ("error", "tools", "tools")),
        ({}, ("error", "tools", "tools")),
        ([], ("warning", "tools", "tools")),
        (["f"], ("error", "tools", "tools[0]")),
        ([WEATHER], ("error", "tools", "tools[0]")),
        ([{"function": WEATHER}], ("error", "tools", "tools[0].type")),
        ([{"type": "function"}], ("error", "tools", "tools[0].function")),
        ([{"type": "function", "function": {}}], ("error", "tools", "tools[0].function.name")),
        (
            [{"type": "function", "function": {"name": "get weather"}}],
            ("error", "tools", "tools[0].function.name"),
        ),
        (
            [{"type": "function", "function": {"name": "x" * 65}}],
            ("error", "tools", "tools[0].function.name"),
        ),
        ([TOOLS[1], TOOLS[1]], ("error", "tools", "tools[1].function.name")),
        (
            [{"type": "function", "function": {"name": "f", "description": 1}}],
            ("error", "tools", "tools[0].function.description"),
        ),
        (
            [{"type": "function", "function": {"name": "f", "parameters": None}}],
            ("error", "tools", "tools[0].function.parameters"),
        ),
        (
            [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}],
            ("error", "tools", "tools[0].function.parameters.type"),
        ),
    ],
)
def test_a_broken_declaration_is_found(tools, finding):
    assert found(SAY, tools=tools) == [finding]


def test_a_tool_may_have_the_longest_name_and_no_parameters():
    assert found(SAY, tools=[{"type": "function", "function": {"name": "x" * 64, "parameters": {}}}]) == []


@pytest.mark.parametrize(
    ("parameters", "path", "message", "fix"),
    [
        (
            {"properties": {"city": {"type": "str"}}},
            ".properties.city.type",
            "'str' is no type of JSON Schema",
            "did you mean 'string'",
        ),
        (
            {"properties": {"city": {"type": "String"}}},
            ".properties.city.type",
            "'String' is no type of JSON Schema",
            "did you mean 'string'",
        ),
        (
            {"properties": {"city": {"type": "string", "required": True}}},
            ".properties.city.required",
            "'required' is a list of names, not true or false",
            "list the names in the object's own 'required'",
        ),
        (
            {"properties": ["city"]},
            ".properties",
            "this is no JSON Schema: it wants an object",
            "put the schema right",
        ),
        (
            {"properties": {"n": {"minLength": -1}}},
            ".properties.n.minLength",
            "this is no JSON Schema: it asks for minimum 0",
            "put the schema right",
        ),
    ],
)
def test_a_broken_schema_is_told_at_its_place(parameters, path, message, fix):
    (finding,) = findings(
        SAY, tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    )
    assert finding == ("error", "tools", f"tools[0].function.parameters{path}", message, fix)


@pytest.mark.parametrize(
    ("turn", "finding"),
    [
        ({"role": "assistant", "tool_calls": None}, ("error", "tool_call", "messages[1].tool_calls")),
        ({**SAY, "tool_calls": []}, ("error", "tool_call", "messages[1].tool_calls")),
        (calling("call_1"), ("error", "tool_call", CALL_PLACE)),
        (calling(call(None)), ("error", "tool_call", f"{CALL_PLACE}.id")),
        (calling(call(" ")), ("error", "tool_call", f"{CALL_PLACE}.id")),
        (calling({**call(), "type": "tool"}), ("error", "tool_call", f"{CALL_PLACE}.type")),
        (calling({"id": "call_1", "type": "function"}), ("error", "tool_call", f"{CALL_PLACE}.function")),
        (calling(call(name=None)), ("error", "tool_call", f"{CALL_PLACE}.function.name")),
        (calling(call(name="get_wether")), ("error", "tool_call", f"{CALL_PLACE}.function.name")),
        (calling(call(), call()), ("error", "tool_call", "messages[1].tool_calls[1].id")),
        ({**calling(call()), "content": "Let me see."}, ("info", "tool_call", "messages[1].content")),
    ],
)
def test_a_broken_call_is_found(turn, finding):
    assert finding in found(turn)


def test_a_name_that_is_nearly_declared_is_understood():
    (finding,) = findings(calling(call(name="get_wether")))
    assert (finding.message, finding.fix) == ("no tool is called 'get_wether'", "did you mean 'get_weather'")


def test_calls_without_declared_tools_are_worth_a_look():
    line = {"messages": [ASK, calling(call())]}
    (finding,) = Rules("sft").findings(line)
    assert (finding.level, finding.rule, finding.path) == (
        "warning",
        "tool_call",
        f"{CALL_PLACE}.function.name",
    )


def test_only_the_assistant_calls_tools():
    line = {"messages": [{**ASK, "tool_calls": [call()]}, SAY], "tools": TOOLS}
    (finding,) = Rules("sft").findings(line)
    assert finding.message == "'tool_calls' belongs to messages of role 'assistant'"


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        (
            {"city": "Oslo"},
            "the arguments are an object, not JSON in a text",
            "write the object as a text, as json.dumps gives it",
        ),
        (None, "the arguments are null, not JSON in a text", 'write "{}" for no arguments'),
        ("", "the arguments are no JSON", 'write "{}" for no arguments'),
        (
            "{'city': 'Oslo'}",
            "the arguments are no JSON: object keys must be strings",
            "write the object as json.dumps gives it",
        ),
        ('["Oslo"]', "the arguments are a list, not an object", 'write them by name: {"city": …}'),
        (
            "NaN",
            "the arguments are no JSON: invalid character",
            "write the object as json.dumps gives it",
        ),
    ],
)
def test_arguments_are_an_object_in_a_text(text, message, fix):
    (finding,) = findings(calling(arguments(text)))
    assert finding == ("error", "arguments", f"{CALL_PLACE}.function.arguments", message, fix)


@pytest.mark.parametrize(
    ("given", "path", "message", "fix"),
    [
        ({"city": 5}, ".city", "this breaks the tool's schema: it wants a text", "put the value right"),
        (
            {"city": ""},
            ".city",
            "this breaks the tool's schema: it asks for minLength 1",
            "put the value right",
        ),
        ({"unit": "c"}, "", "the required 'city' is missing", "add it"),
        (
            {"city": "Oslo", "unit": "k"},
            ".unit",
            "'k' breaks the tool's schema: it wants one of 'c', 'f'",
            "put the value right",
        ),
        (
            {"city": "Oslo", "days": [1, 0]},
            ".days[1]",
            "this breaks the tool's schema: it asks for minimum 1",
            "put the value right",
        ),
        (
            {"city": "Oslo", "units": "c"},
            ".units",
            "the tool has no parameter 'units'",
            "did you mean 'unit'",
        ),
        ({"city": "Oslo", "sea": True}, ".sea", "the tool has no parameter 'sea'", "remove it"),
    ],
)
def test_arguments_keep_to_the_declared_schema(given, path, message, fix):
    (finding,) = findings(calling(call(**given)))
    assert finding == ("error", "arguments", f"{CALL_PLACE}.function.arguments{path}", message, fix)


def test_every_violation_of_the_schema_is_told():
    told = {(path, message) for _, _, path, message, _ in findings(calling(call(citi=1, unit="k")))}
    place = f"{CALL_PLACE}.function.arguments"
    assert told == {
        (place, "the required 'city' is missing"),
        (f"{place}.citi", "the tool has no parameter 'citi'"),
        (f"{place}.unit", "'k' breaks the tool's schema: it wants one of 'c', 'f'"),
    }


@pytest.mark.parametrize(
    "parameters",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"properties": {"city": {"$ref": "#city"}}},
        {"properties": {"city": {"pattern": "["}}},
        {"patternProperties": {"(": {}}},
        {"$id": "http://[", "properties": {"city": {"$ref": "x"}}},
    ],
)
def test_a_schema_that_cannot_be_followed_is_told_and_nothing_is_fetched(parameters):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]
    (finding,) = findings(calling(call()), tools=tools)
    assert finding.message == "the arguments cannot be held against the tool's schema"


def test_a_schema_may_refer_to_its_own_parts():
    parameters = {"$defs": {"city": {"type": "string"}}, "properties": {"city": {"$ref": "#/$defs/city"}}}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]
    assert found(calling(call()), tools=tools) == []
    assert found(calling(call(city=1)), tools=tools) == [
        ("error", "arguments", f"{CALL_PLACE}.function.arguments.city")
    ]


KEYWORDS = st.sampled_from(
    [
        "type",
        "properties",
        "required",
        "items",
        "prefixItems",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
        "if",
        "then",
        "else",
        "$ref",
        "$id",
        "$defs",
        "$schema",
        "$anchor",
        "$dynamicRef",
        "pattern",
        "patternProperties",
        "additionalProperties",
        "unevaluatedProperties",
        "format",
        "minimum",
        "multipleOf",
        "minLength",
        "uniqueItems",
        "dependentRequired",
        "contains",
        "propertyNames",
        "city",
    ]
)
VALUES = (
    st.sampled_from(
        ["string", "object", "integer", "#", "#/$defs/city", "http://[", "(", "city", {}, [], True]
    )
    | st.integers(-2, 3)
    | st.floats()
    | st.none()
)
SCHEMAS = st.recursive(
    st.dictionaries(KEYWORDS, VALUES, max_size=3),
    lambda inner: st.dictionaries(
        KEYWORDS, inner | st.lists(inner | VALUES, max_size=2) | VALUES, max_size=4
    ),
    max_leaves=12,
)


@given(SCHEMAS, SCHEMAS)
def test_no_schema_makes_the_rules_raise(parameters, given):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]
    assert isinstance(found(calling(arguments(json.dumps(given, default=str))), tools=tools), list)


@pytest.mark.parametrize(
    ("messages", "path", "message", "fix"),
    [
        (
            [calling(call()), SAY],
            CALL_PLACE,
            "nobody answers this call before messages[2]",
            "add a tool message with its id, or remove the call",
        ),
        (
            [calling(call(), call("call_2")), answer(), SAY],
            "messages[1].tool_calls[1]",
            "nobody answers this call before messages[3]",
            "add a tool message with its id, or remove the call",
        ),
        (
            [calling(call()), answer("call_9"), answer(), SAY],
            "messages[2].tool_call_id",
            "no call before this has the id",
            "write the id of the open call",
        ),
        (
            [SAY, ASK, answer(), SAY],
            "messages[3].tool_call_id",
            "no call before this has the id",
            "add the call, or remove the answer",
        ),
        (
            [calling(call()), answer(), answer(), SAY],
            "messages[3].tool_call_id",
            "the call was answered before",
            "keep one answer",
        ),
        (
            [calling(call()), answer(), {"role": "tool", "content": "12"}, SAY],
            "messages[3].tool_call_id",
            "the tool message does not say which call it answers",
            "write the id of the call",
        ),
    ],
)
def test_calls_and_answers_come_in_pairs(messages, path, message, fix):
    pairing = [finding for finding in findings(*messages) if finding.rule == "tool_pairing"]
    assert pairing == [("error", "tool_pairing", path, message, fix)]


def test_an_id_that_comes_again_later_is_worth_a_look():
    assert found(calling(call()), answer(), SAY, ASK, calling(call()), answer(), SAY) == [
        ("warning", "tool_call", "messages[5].tool_calls[0].id")
    ]


@pytest.mark.parametrize(
    ("more", "finding"),
    [
        ({"parallel_tool_calls": "true"}, ("error", "tools", "parallel_tool_calls")),
        ({"parallel_tool_calls": None}, ("error", "tools", "parallel_tool_calls")),
    ],
)
def test_parallel_tool_calls_is_true_or_false(more, finding):
    assert found(SAY, **more) == [finding]
    assert found(SAY, parallel_tool_calls=False) == []


def test_parallel_tool_calls_without_tools_is_worth_a_look():
    line = {"messages": [ASK, SAY], "parallel_tool_calls": True}
    assert [finding[:3] for finding in Rules("sft").findings(line)] == [
        ("warning", "tools", "parallel_tool_calls")
    ]


FUNCTION_CALL = {
    "role": "assistant",
    "function_call": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
}
FUNCTION_ANSWER = {"role": "function", "name": "get_weather", "content": "12"}


def old(*messages: object, functions: object = (WEATHER,)) -> list[tuple[str, str, str]]:
    found = Rules("sft").findings({"messages": [ASK, *messages], "functions": functions})
    return [(level, rule, path) for level, rule, path, _, _ in found]


def test_the_old_form_is_worth_a_look_and_otherwise_right():
    assert old(FUNCTION_CALL, FUNCTION_ANSWER, SAY) == [
        ("warning", "legacy", "functions"),
        ("warning", "legacy", "messages[2].role"),
        ("warning", "legacy", "messages[1].function_call"),
    ]


def test_the_old_form_is_held_to_the_same_rules():
    wrong = {"role": "assistant", "function_call": {"name": "get_weather", "arguments": '{"city": 5}'}}
    assert ("error", "arguments", "messages[1].function_call.arguments.city") in old(wrong)
    assert ("error", "tools", "functions[0].name") in old(SAY, functions=[{"name": "get weather"}])
    assert ("error", "tool_pairing", "messages[1]") in old(FUNCTION_ANSWER, SAY)
    assert ("error", "name", "messages[2].name") in old(
        FUNCTION_CALL, {"role": "function", "content": ""}, SAY
    )
