"""Templates of graders: which places they name, and what stands there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.evaluation.graders.grader_types import item_fields, python_sources, template_texts
from workbench.evaluation.graders.grades import filled, final_answer, item_reads, places, value_at

CHECK = {"type": "string_check", "input": "{{sample.output_text}}", "reference": "{{ item.meta.answer }}"}
SCORE = {
    "type": "score_model",
    "input": [
        {"role": "developer", "content": "Score."},
        {"role": "user", "content": [{"type": "input_text", "text": "{{item.target}}"}, {"type": "x"}, 5]},
        {"role": "user", "content": {"type": "input_text", "text": "{{item.nums}}"}},
        {"role": "user", "content": '{ "target": {{item.target}}, "output": {{sample.output_text}}}'},
        "no message",
    ],
}
PYTHON = {"type": "python", "source": "def grade(sample, item):\n    return item['answer'] == '{{item.x}}'\n"}
MULTI = {"type": "multi", "graders": {"check": CHECK, "score": SCORE, "python": PYTHON, "broken": 5}}


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{{item.answer}}", ("item", "answer")),
        ("{{ item.answer }}", ("item", "answer")),
        ("{{\n item.meta.answer\t}}", ("item", "meta", "answer")),
        ("{{item.größe_2}}", ("item", "größe_2")),
        ("{{sample.output_json.a.b}}", ("sample", "output_json", "a", "b")),
        ("{{item}}", ()),
        ("{{answer}}", ()),
        ("{{item.rows[0]}}", ()),
        ("{{item.my-key}}", ()),
        ("{{item. answer}}", ()),
        ("{{}}", ()),
    ],
)
def test_a_template_names_a_place_with_dots(template, path):
    assert places(f"before {template} behind") == ((template, path),)


def test_braces_that_are_no_template_are_left_alone():
    assert places('{"a": {"b": 1}} {item.x} { {item.y} }') == ()


def test_templates_are_filled_where_they_stand():
    assert filled("<{{ item.a }}|{{b}}>", {"{{ item.a }}": "{{b}}", "{{b}}": "2"}.__getitem__) == "<{{b}}|2>"


def test_a_value_is_found_at_its_path_or_there_is_none():
    values = {"item": {"meta": {"answer": 42}}}
    assert value_at(("item", "meta", "answer"), values) == 42
    assert value_at(("item", "meta", "answer", "deeper"), values) is None
    assert value_at(("item", "mta", "answer"), values) is None


def test_a_grader_in_a_grader_is_read_too():
    assert item_fields(CHECK) == {("meta", "answer")}
    assert item_fields(SCORE) == {("target",), ("nums",)}
    assert item_fields(MULTI) == {("meta", "answer"), ("target",), ("nums",)}


def test_each_text_has_its_path():
    assert [path for path, _ in template_texts(MULTI)] == [
        "grader.graders.check.input",
        "grader.graders.check.reference",
        "grader.graders.score.input[0].content",
        "grader.graders.score.input[1].content[0].text",
        "grader.graders.score.input[2].content.text",
        "grader.graders.score.input[3].content",
    ]


def test_sources_are_found_in_a_grader_and_have_no_templates():
    assert list(python_sources(MULTI)) == [("grader.graders.python.source", PYTHON["source"])]
    assert list(template_texts(PYTHON)) == []


@pytest.mark.parametrize(
    ("body", "reads"),
    [
        ("return item['answer'] == 1", {("answer",)}),
        ("return item['meta']['answer'] == 1", {("meta", "answer")}),
        ("return item['meta'].get('answer') == 1", {("meta", "answer")}),
        ("return item.get('answer') == 1", {("answer",)}),
        ("return item.get('answer', '') == 1", set()),
        ("return sample['output_text'] == item[sample['key']]", set()),
        ("item['seen'] = 1", set()),
        ("return item['nums'][0] + item['target']", {("nums",), ("target",)}),
        ("return (", set()),
        ("return '\0'", set()),
    ],
)
def test_what_a_source_reads_of_the_item_is_seen(body, reads):
    assert item_reads(f"def grade(sample, item):\n    {body}\n") == reads


def test_the_item_may_have_any_name_and_only_grade_has_one():
    source = "def other(sample, item):\n    return item['x']\ndef grade(s, row):\n    return row['answer']\n"
    assert item_reads(source) == {("answer",)}


@given(st.text(alphabet="{}. itemsapl[0]\n", max_size=40))
def test_no_text_makes_templates_raise(text):
    assert all(place.shown in text for place in places(text))
    assert filled(text, lambda shown: shown) == text


# Thinking text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("42", "42"),
        ("<think>Six times seven.</think>\n\n42", "42"),
        ("\n<thinking>\nSix\ntimes seven.\n</thinking> 42", "42"),
        ("Six times seven.</think>\n42", "42"),  # the template of the chat opened it
        ("<think>Six times", ""),  # cut off
        ("<think></think>", ""),
        (
            "<|channel|>analysis<|message|>6 x 7<|end|>"
            "<|start|>assistant<|channel|>final<|message|>42<|return|>",
            "42",
        ),
        ("<|channel|>analysis<|message|>6 x", ""),
        ('<|channel|>final <|constrain|>json<|message|>{"x": 42}<|end|>', '{"x": 42}'),
        ("analysisSix times seven.assistantfinal42", "42"),
        ("analysis of variance", "analysis of variance"),
        ("I think <b>42</b>.", "I think <b>42</b>."),
        ("Write <think> before it.", "Write <think> before it."),
    ],
)
def test_thinking_text_is_no_part_of_the_answer(text: str, answer: str):
    assert final_answer(text) == answer
