"""The rules of prompts for reinforcement, each with a bad line and a near miss that passes."""

import pytest

from workbench.dataset.check.methods import CheckTask, grader_findings, response_format_findings
from workbench.dataset.check.row import Row
from workbench.dataset.check.rules import Phase, Rules, completed

ASK = {"role": "user", "content": "24 from [3, 8]?"}
SAY = {"role": "assistant", "content": "3 * 8"}
LINE = {
    "messages": [{"role": "developer", "content": "Count."}, ASK],
    "target": "24",
    "meta": {"nums": "[3, 8]"},
}
GRADER = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{ item.target }}",
    "operation": "eq",
}


def found(line: object, grader: object = GRADER) -> list[tuple[str, str, str]]:
    return [finding[:3] for finding in Rules("rft", grader).findings(line)]


def reading(*templates: str) -> dict[str, object]:
    """A multi grader with a scoring model in it that reads these."""
    messages = [{"role": "user", "content": f"Score this: {template}"} for template in templates]
    score = {"type": "score_model", "name": "s", "model": "o3-mini", "input": messages}
    return {"type": "multi", "name": "m", "graders": {"s": score, "e": GRADER}, "calculate_output": "s + e"}


def python(body: str, signature: str = "sample, item") -> dict[str, object]:
    return {"type": "python", "name": "p", "source": f"def grade({signature}):\n    {body}\n"}


@pytest.mark.parametrize(
    ("line", "grader"),
    [
        (LINE, GRADER),
        (LINE, None),
        (LINE, reading("{{item.meta.nums}} {{sample.output_json.total}}")),
        (LINE, python("return item['meta']['nums'] == item.get('answer', '')")),
        ({**LINE, "messages": [ASK, SAY, ASK]}, GRADER),
        ({**LINE, "target": 24}, GRADER),
        ({**LINE, "target": 0}, GRADER),
        ({**LINE, "target": False}, GRADER),
        ({**LINE, "tools": [{"type": "function", "function": {"name": "f"}}]}, GRADER),
    ],
)
def test_a_right_prompt_has_no_finding(line, grader):
    assert found(line, grader) == []


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"messages": None}, ("error", "messages", "messages")),
        ({"messages": [ASK, SAY]}, ("error", "last_user", "messages[1]")),
        ({"messages": [{"role": "bot", "content": "q"}, ASK]}, ("error", "role", "messages[0].role")),
        ({"messages": [ASK, {**SAY, "weight": 0}, ASK]}, ("warning", "weight", "messages[1].weight")),
        ({"tools": {}}, ("error", "tools", "tools")),
        ({"target": None}, ("error", "template", "target")),
        ({"target": " "}, ("error", "template", "target")),
        ({"my answer": "x"}, ("warning", "reference", "my answer")),
        ({"answer-1": "x"}, ("warning", "reference", "answer-1")),
    ],
)
def test_a_broken_prompt_is_found(changes, finding):
    assert found({**LINE, **changes}) == [finding]


def test_a_prompt_without_any_reference_is_worth_knowing():
    assert found({"messages": [ASK]}, None) == [("info", "reference", "")]


def test_an_image_needs_a_model_with_vision():
    image = {"type": "image_url", "image_url": {"url": "https://example.org/c.png"}}
    line = {**LINE, "messages": [{"role": "user", "content": [image]}]}
    assert [f.path for f in Rules("rft", GRADER, vision=False).findings(line)] == ["messages"]
    assert Rules("rft", GRADER, vision=True).findings(line) == []


@pytest.mark.parametrize(
    ("template", "path", "message", "fix"),
    [
        (
            "{{item.targt}}",
            "",
            "the grader reads {{item.targt}}, and there is no 'targt'",
            "did you mean 'target'",
        ),
        (
            "{{item.answer}}",
            "",
            "the grader reads {{item.answer}}, and there is no 'answer'",
            "add the field, or change the grader",
        ),
        (
            "{{ item.meta.num }}",
            "meta",
            "the grader reads {{item.meta.num}}, and there is no 'num'",
            "did you mean 'nums'",
        ),
        (
            "{{item.target.value}}",
            "target",
            "the grader reads {{item.target.value}}, and this is '24'",
            "write an object with the field 'value'",
        ),
    ],
)
def test_a_template_that_finds_nothing_is_told_with_its_place(template, path, message, fix):
    (finding,) = Rules("rft", reading(template)).findings(LINE)
    assert finding == ("error", "template", path, message, fix)


def test_what_a_python_grader_reads_and_a_line_lacks_is_worth_a_look():
    (finding,) = Rules("rft", python("return float(item['answer'] == '24')")).findings(LINE)
    assert finding == (
        "warning",
        "template",
        "",
        "the grader's source reads item['answer'], and there is no 'answer'",
        "add the field, or change the grader",
    )


@pytest.mark.parametrize(
    ("template", "message", "fix"),
    [
        (
            "{{sample.answer}}",
            "a sample has no 'answer'",
            "use output_text, output_json, output_tools, output_reasoning_summary, choices",
        ),
        ("{{sample.output_txt}}", "a sample has no 'output_txt'", "did you mean 'output_text'"),
        (
            "{{sample.output_text.total}}",
            "sample.output_text is a text, with nothing below it",
            "use sample.output_json, and give the job a response format",
        ),
        (
            "{{item.nums[0]}}",
            "'{{item.nums[0]}}' names no place",
            "templates take no index; give each line a field of its own for this",
        ),
        (
            "{{target}}",
            "'{{target}}' names no place",
            "write {{item.field}} or {{sample.output_text}}, deeper fields with dots",
        ),
    ],
)
def test_a_template_that_can_never_work_is_told_once(template, message, fix):
    rules = Rules("rft", reading(template))
    assert grader_findings(reading(template)) == [
        ("error", "template", "grader.graders.s.input[0].content", message, fix)
    ]
    assert rules.findings(LINE) == []


@pytest.mark.parametrize(
    "template",
    [
        "{{sample.output_text}}",
        "{{ sample.output_json.a.b }}",
        "{{sample.output_tools}}",
        "{{sample.output_reasoning_summary}}",
        "{{sample.choices}}",
        '{ "target": {{item.target}} }',
    ],
)
def test_a_template_that_works_is_not_told(template):
    assert grader_findings(reading(template)) == []


@pytest.mark.parametrize(
    ("grader", "path", "fix"),
    [
        ({"type": "string-check"}, "grader.type", "did you mean 'string_check'"),
        ({"type": "multi"}, "grader.graders", 'write {"graders": {"name": {…}, …}, "calculate_output": …}'),
        ({"type": "multi", "graders": {"a": 5}}, "grader.graders.a", 'write {"type": …}'),
        (
            {"type": "multi", "graders": {"a": {"type": "pyton"}}},
            "grader.graders.a.type",
            "did you mean 'python'",
        ),
    ],
)
def test_a_grader_of_no_known_type_is_told(grader, path, fix):
    (finding,) = grader_findings(grader)
    assert (finding.level, finding.rule, finding.path, finding.fix) == ("error", "template", path, fix)


SCHEMA = {"type": "object", "properties": {"result": {"type": "string"}}, "required": ["result"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "result", "strict": True, "schema": SCHEMA}}


def in_format(**changes: object) -> dict[str, object]:
    named = FORMAT["json_schema"] | changes
    return {**FORMAT, "json_schema": {key: value for key, value in named.items() if value != "left out"}}


def test_a_wrapped_schema_is_a_response_format():
    assert response_format_findings(FORMAT) == []


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        (None, "response_format", "null is no response format"),
        (SCHEMA, "response_format", "this is a bare schema"),
        ({"type": "json_object"}, "response_format", "this is no json_schema format"),
        (in_format(name="my result"), "response_format.json_schema.name", "'my result' is no name"),
        (in_format(name="left out"), "response_format.json_schema.name", "null is no name"),
        (in_format(schema="left out"), "response_format.json_schema.schema", "there is no schema"),
        (in_format(schema=[]), "response_format.json_schema.schema", "a list is no JSON Schema"),
        (
            in_format(schema={"properties": {"n": {"type": "int"}}}),
            "response_format.json_schema.schema.properties.n.type",
            "'int' is no type of JSON Schema",
        ),
    ],
)
def test_a_broken_response_format_is_told(given, path, message):
    (finding,) = map(completed, response_format_findings(given))
    assert finding[:4] == ("error", "response_format", path, message)


def test_a_response_format_that_is_not_strict_is_worth_a_look():
    (finding,) = response_format_findings(in_format(strict="left out"))
    assert finding[:3] == ("warning", "response_format", "response_format.json_schema.strict")


def test_a_bare_schema_is_told_how_to_be_wrapped():
    (finding,) = response_format_findings(SCHEMA)
    assert finding.fix == (
        'wrap it: {"type": "json_schema", "json_schema": {"name": …, "strict": true, "schema": {…}}}'
    )


# Fields that nearly all rows have


def missed(values, *, cut=1_000, grader=None, plain=True):
    """The findings of a form about these rows, looked at in stretches."""
    made = lambda: Phase("format", CheckTask("rft", grader, role="test"))  # noqa: E731
    form = made()
    for first in range(0, len(values), cut):
        part = made()
        if not plain:
            part._rules.unclear = lambda rows: rows
        part.add([Row(n + 1, value) for n, value in enumerate(values)][first : first + cut])
        form.merge(part)
    return sorted((finding, list(rows)) for finding, rows in form.found(None))


def prompts(number, **fields):
    return [{"messages": [ASK], **fields} for _ in range(number)]


@pytest.mark.parametrize(
    "lacking",
    [
        {"messages": [ASK], "hint": "h"},
        {"messages": [ASK], "hint": "h", "answer": None},
        {"messages": [ASK], "hint": "h", "answer": " "},
        {"messages": [{"role": "developer", "content": "Count."}, ASK], "hint": "h"},
    ],
)
def test_a_row_without_what_nearly_all_others_have_is_named_without_a_grader(lacking):
    rows = [*prompts(11, answer="a", hint="h"), lacking, *prompts(8, answer="a", hint="h")]
    assert missed(rows) == [
        (
            (
                "warning",
                "missing_field",
                "",
                "the row has no 'answer', and 19 of 19 other rows do",
                "fill it in, or leave the row out: a grader that reads it would have nothing to compare with",
            ),
            [12],
        )
    ]


def test_fields_of_some_rows_are_not_missed_in_the_others():
    assert missed([*prompts(88, answer="a"), *prompts(12, answer="a", hint="h")]) == []
    assert missed([*prompts(12, answer="a"), *prompts(88, answer="a", hint="h")]) == []
    assert missed([*prompts(4, answer="a"), {"messages": [ASK], "other": "b"}]) == []


def test_with_a_grader_only_what_it_reads_is_missed():
    rows = [*prompts(19, target="a", hint="h"), *prompts(1, target="a")]
    assert missed(rows, grader=GRADER) == []


@pytest.mark.parametrize("cut", [1, 3, 7, 1_000])
def test_the_fast_path_and_the_slow_one_and_every_cut_miss_the_same(cut):
    rows = [*prompts(3, answer="a"), {"messages": [ASK, SAY, ASK], "answr": "a"}, *prompts(20, answer="a")]
    found = missed(rows, cut=cut)
    assert found == missed(rows, cut=cut, plain=False)
    assert [(finding[1], numbers) for finding, numbers in found] == [("missing_field", [4])]
