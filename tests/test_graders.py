"""Graders: OpenAI's grader JSON, checked and run."""

import json
from typing import get_args, get_type_hints

import pytest
from openai.types.graders import PythonGraderParam, StringCheckGraderParam

from workbench.errors import DataError
from workbench.evaluation.graders import check_grader, grade, grader

ITEM = {"question": "How many?", "answer": "42", "origin": "faq.csv:2"}


def string_check(operation: str = "eq", **changes: object) -> dict[str, object]:
    plain = {
        "type": "string_check",
        "name": "mine",
        "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
        "operation": operation,
    }
    return plain | changes


def python(body: str) -> dict[str, object]:
    return {"type": "python", "name": "mine", "source": f"def grade(sample, item):\n    {body}\n"}


@pytest.mark.parametrize(
    ("operation", "said", "score"),
    [
        ("eq", "42", 1.0),
        ("eq", "42.", 0.0),
        ("ne", "43", 1.0),
        ("ne", "42", 0.0),
        ("like", "It is 42!", 1.0),
        ("like", "It is 4!", 0.0),
    ],
)
def test_a_string_check_compares_answer_and_reference(operation, said, score):
    assert grade(string_check(operation), said, ITEM) == score


def test_like_minds_capitals_and_ilike_does_not():
    item = {"answer": "Straße"}
    assert grade(string_check("like"), "Hauptstraße 1", item) == 0.0
    assert grade(string_check("ilike"), "HauptSTRASSE 1", item) == 1.0


def test_templates_may_have_spaces_stand_in_text_and_reach_deep():
    mine = string_check(input="<{{ sample.output_text }}>", reference="<{{  item.meta.right.value }}>")
    assert grade(mine, "7", {"meta": {"right": {"value": 7}}}) == 1.0


def test_a_template_reads_json_in_the_answer():
    mine = string_check(input="{{sample.output_json.total}}")
    assert grade(mine, '{"total": 42}', ITEM) == 1.0
    assert grade(mine, '{"sum": 42}', ITEM) == 0.0
    assert grade(mine, "forty-two", ITEM) == 0.0
    assert grade(mine, "[" * 100_000, ITEM) == 0.0


def test_an_answer_that_looks_like_a_template_is_only_text():
    assert grade(string_check(), "{{item.answer}}", ITEM) == 0.0


def test_a_missing_field_of_the_item_is_named_with_those_it_has():
    with pytest.raises(DataError) as error:
        grade(string_check(reference="{{item.anwser}}"), "42", ITEM)
    assert str(error.value) == (
        "grader 'mine': {{item.anwser}} finds nothing in item faq.csv:2; it has question, answer, origin."
    )


def test_check_grader_tries_the_templates_on_every_item():
    items = [ITEM, {"question": "Why?", "origin": "faq.csv:3"}]
    with pytest.raises(DataError, match=r"\{\{item.answer\}\} finds nothing in item faq.csv:3"):
        check_grader(string_check(), items)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("exact", r'not str; take a ready-made one with grader\("exact"\)'),
        ({}, "grader.type is None; this version grades string_check and python."),
        ({"type": ["a"]}, r"grader.type is \['a'\]"),
        (string_check("equals"), "grader.operation is 'equals'; use eq, ne, like, ilike."),
        (string_check(reference=7), "grader.reference is 7; a string_check grader needs a text there."),
        ({"type": "python", "name": "mine"}, "grader.source is missing; a python grader needs a text there."),
        (string_check(input="{{output}}"), r"grader.input has the template \{\{output\}\}; write"),
        (string_check(input="{{item.rows[0]}}"), r"grader.input has the template"),
        (python("return ("), "grader.source does not load: SyntaxError"),
        ({"type": "python", "name": "mine", "source": "x = 1"}, "defines no function grade"),
        ({"type": "python", "name": "mine", "source": "import nowhere_1"}, "ModuleNotFoundError.*, line 1"),
        ({"type": "python", "name": "mine", "source": "#" * 300_000}, "has 300,000 bytes; at most 262,144"),
    ],
)
def test_a_broken_grader_is_told_with_its_place(broken, told):
    with pytest.raises(DataError, match=told):
        check_grader(broken)


def test_required_fields_and_operations_are_those_of_the_openai_client():
    fields = get_type_hints(StringCheckGraderParam)
    for field in fields:
        changed = {name: value for name, value in string_check().items() if name != field}
        with pytest.raises(DataError, match=rf"grader\.{field}"):
            check_grader(changed)
    for operation in get_args(fields["operation"]):
        check_grader(string_check(operation))
    assert set(get_type_hints(PythonGraderParam)) == {"name", "source", "type", "image_tag"}


def test_a_python_grader_gets_sample_and_item():
    mine = python("return 0.25 * (sample['output_text'] == 'a') + 0.5 * (item['answer'] == '42')")
    assert grade(mine, "a", ITEM) == 0.75
    assert grade(mine, "b", ITEM) == 0.5


def test_a_python_grader_may_define_dataclasses_and_cannot_change_the_item():
    source = (
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Seen:\n    text: str\n"
        "def grade(sample, item):\n    item['answer'] = 'changed'\n    return Seen('x').text == 'x'\n"
    )
    assert grade({"type": "python", "name": "mine", "source": source}, "", ITEM) == 1.0
    assert ITEM["answer"] == "42"


def test_an_error_in_a_python_grader_names_grader_item_and_line():
    with pytest.raises(DataError) as error:
        grade(python("return 1 / 0"), "42", ITEM)
    assert str(error.value) == (
        "grader 'mine' stopped at item faq.csv:2: ZeroDivisionError: division by zero, "
        "line 2 of grader.source."
    )


def test_a_python_grader_cannot_end_the_program():
    with pytest.raises(DataError, match="SystemExit"):
        grade(python("raise SystemExit(3)"), "42", ITEM)


@pytest.mark.parametrize("result", ["'1'", "None", "float('nan')", "float('inf')", "[1]"])
def test_a_score_that_is_no_finite_number_is_refused(result):
    with pytest.raises(DataError, match="grade must return a finite number"):
        grade(python(f"return {result}"), "42", ITEM)


def test_exact_is_letter_by_letter():
    assert grade(grader("exact"), "42", ITEM) == 1.0
    assert grade(grader("exact"), "42 ", ITEM) == 0.0


def test_gql_compares_meaning_and_gql_valid_only_grammar():
    item = {"answer": "customers ~ vip = yes ~ year < 2022 -> count per segment"}
    same = "customers  ~ year < 2022 ~ vip = yes -> count per segment"
    other = "customers ~ vip = yes -> count"
    assert grade(grader("gql"), same, item) == 1.0
    assert grade(grader("gql"), other, item) == 0.0
    assert grade(grader("gql_valid"), other, item) == 1.0
    assert grade(grader("gql_valid"), "SELECT count(*) FROM customers", item) == 0.0


def test_a_reference_that_is_no_query_stops_the_gql_grader_with_its_item():
    item = {"answer": "SELECT 1", "origin": "faq.csv:9"}
    with pytest.raises(DataError, match=r"grader 'gql' stopped at item faq.csv:9: GqlError: at character 1"):
        grade(grader("gql"), "customers -> count", item)


def test_ready_made_graders_are_json_and_independent_of_each_other():
    for name in ("exact", "gql", "gql_valid"):
        assert json.loads(json.dumps(grader(name)))["name"] == name
        check_grader(grader(name))
    grader("exact")["operation"] = "ne"
    assert grader("exact")["operation"] == "eq"


def test_an_unknown_ready_made_grader_is_told_with_those_there_are():
    with pytest.raises(DataError, match="no ready-made grader 'exakt'; there are exact, gql, gql_valid"):
        grader("exakt")
