"""Graders: OpenAI's grader JSON, checked and run."""

import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import get_args, get_type_hints

import pytest
from openai.types.fine_tuning.alpha.grader_run_response import MetadataErrors
from openai.types.graders import PythonGraderParam, StringCheckGraderParam, TextSimilarityGraderParam

from workbench.errors import DataError
from workbench.evaluation.graders.grades import NO_ERRORS, BadGraderError
from workbench.evaluation.graders.grading import check_grader, grade, graded, passes
from workbench.evaluation.graders.sandbox import SandboxLimits, close_sandboxes


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_sandboxes()


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


def similarity(metric: str) -> dict[str, object]:
    texts = {"input": "{{sample.output_text}}", "reference": "{{item.answer}}"}
    return {"type": "text_similarity", "name": "close", "evaluation_metric": metric, **texts}


def multi(formula: str, **graders: object) -> dict[str, object]:
    return {"type": "multi", "name": "both", "graders": graders, "calculate_output": formula}


def python(body: str) -> dict[str, object]:
    return {"type": "python", "name": "mine", "source": f"def grade(sample, item):\n    {body}\n"}


def endpoint(url: str, headers: object = None) -> dict[str, object]:
    return {"type": "endpoint", "name": "mine", "url": url, "headers": headers}


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
        ({}, "grader.type is None; there are string_check, text_similarity, python, score_model"),
        ({"type": ["a"]}, r"grader.type is \['a'\]"),
        (string_check("equals"), "grader.operation is 'equals'; use eq, ne, like, ilike."),
        (string_check(reference=7), "grader.reference is 7; a string_check grader needs a text there."),
        ({"type": "python", "name": "mine"}, "grader.source is missing; a python grader needs a text there."),
        (string_check(input="{{output}}"), r"grader.input has the template \{\{output\}\}; write"),
        (string_check(input="{{item.rows[0]}}"), r"grader.input has the template"),
        (
            endpoint("https://example.com/grade"),
            "grader.url is 'https://example.com/grade', which only Azure",
        ),
        (endpoint("http://10.0.0.1:80/"), "which only Azure can call; here it is an address of this machine"),
        (endpoint("http://localhost:8000/", {"a": 1}), "grader.headers is an object of texts"),
        (endpoint("http://localhost:8000/", {"a": "Ω"}), "grader.headers is an object of texts in ASCII"),
        (endpoint("http://localhost:8000/", {"": "a"}), "grader.headers is an object of texts in ASCII"),
        (
            endpoint("http://localhost:8000/ä"),
            "grader.url is 'http://localhost:8000/ä'; write characters such",
        ),
        (endpoint("http://localhost:8000/a b"), "such as spaces and umlauts as %20 and %C3%BC"),
        (string_check(pass_threshold="high"), "grader.pass_threshold is 'high'; it is the lowest score"),
        (
            string_check(input="{{sample.text}}"),
            r"\{\{sample.text\}\}; a sample has output_text, output_json",
        ),
        (string_check(input="{{sample.choices.0}}"), "only output_json has named fields below it"),
        (
            similarity("cosine"),
            "grader.evaluation_metric is 'cosine', which compares embeddings .* use rouge_l",
        ),
        (similarity("rouge_6"), "grader.evaluation_metric is 'rouge_6'; use fuzzy_match, bleu"),
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
    with pytest.raises(DataError, match="it must return a finite number"):
        grade(python(f"return {result}"), "42", ITEM)


# What a grade tells


@pytest.mark.parametrize(
    ("operation", "said", "reason"),
    [
        ("eq", "42", "'42' is '42'"),
        ("eq", "43", "'43' is not '42'"),
        ("ne", "43", "'43' is not '42'"),
        ("ne", "42", "'42' is '42'"),
        ("like", "It is 42!", "'42' is in 'It is 42!'"),
        ("ilike", "x" * 90, f"'42' is not in '{'x' * 80}…'"),
    ],
)
def test_a_grade_says_why(operation, said, reason):
    assert graded(string_check(operation), said, ITEM).reason == reason


def test_a_grade_of_an_answer_that_is_not_the_json_it_should_be_is_the_lowest_and_says_so():
    grade = graded(string_check(input="{{sample.output_json.total}}"), "forty-two", ITEM)
    assert (grade.score, grade.problem) == (0.0, "")
    assert grade.reason == "{{sample.output_json.total}} finds nothing in the answer"
    assert grade.errors == {**NO_ERRORS, "sample_parse_error": True}


def test_an_item_without_the_field_is_not_graded():
    grade = graded(string_check(reference="{{item.anwser}}"), "42", ITEM)
    assert math.isnan(grade.score)
    assert (
        str(grade)
        == "not graded: {{item.anwser}} finds nothing in item faq.csv:2; it has question, answer, origin"
    )
    assert grade.errors["invalid_variable_error"] is True


def test_python_that_raises_is_the_code_s_fault_and_keeps_the_rest_going():
    mine = python("return 1 / (sample['output_text'] != 'zero')")
    grade = graded(mine, "zero", ITEM)
    assert grade.problem == "ZeroDivisionError: division by zero, line 2 of grader.source"
    assert grade.errors["python_grader_runtime_error_details"] == grade.problem
    assert graded(mine, "one", ITEM).reason == "mine gave 1"


def test_python_that_dies_is_told_by_its_kind():
    errors = graded(python("import os; os._exit(1)"), "", ITEM).errors
    assert errors == {
        **NO_ERRORS,
        "python_grader_server_error": True,
        "python_grader_server_error_type": "exit",
    }


def test_a_python_grader_may_explain_itself():
    mine = python("return 0.5")
    mine["source"] += "def explain(sample, item):\n    return 'half of ' + item['answer']\n"
    assert graded(mine, "", ITEM).reason == "half of 42"


def test_a_similarity_is_told_with_both_texts():
    grade = graded(similarity("fuzzy_match"), "sitting", {"answer": "kitten"})
    assert grade.reason == "fuzzy_match of 'sitting' and 'kitten' is 0.62"


def test_the_errors_are_those_of_the_openai_client():
    aliases = {field.alias or name for name, field in MetadataErrors.model_fields.items()}
    assert set(NO_ERRORS) == aliases


def test_the_measures_are_those_of_the_openai_client_but_for_the_one_that_needs_embeddings():
    for metric in get_args(get_type_hints(TextSimilarityGraderParam)["evaluation_metric"]):
        if metric != "cosine":
            check_grader(similarity(metric))


# Several graders at once


def test_a_multi_grader_calculates_from_the_scores_by_name():
    mine = multi("0.25 * exact + 0.75 * min(close, 0.5)", exact=string_check(), close=python("return 0.8"))
    grade = graded(mine, "42", ITEM)
    assert grade.score == 0.625
    assert grade.sub_scores == {"exact": 1.0, "close": 0.8}
    assert grade.reason == (
        "0.25 * exact + 0.75 * min(close, 0.5) = 0.625, with exact = 1, close = 0.8 "
        "(exact: '42' is '42'; close: mine gave 0.8)"
    )


def test_a_multi_grader_has_no_score_when_one_in_it_has_none():
    mine = multi("exact + close", exact=string_check(), close=python("raise ValueError('no')"))
    grade = graded(mine, "42", ITEM)
    assert grade.problem == "close: ValueError: no, line 2 of grader.source"
    assert grade.sub_scores["exact"] == 1.0
    assert grade.errors["python_grader_runtime_error"] is True


def test_a_formula_without_a_value_is_not_graded():
    grade = graded(multi("1 / exact", exact=string_check()), "43", ITEM)
    assert grade.problem == "the formula 1 / exact divides by zero, with exact = 0"
    assert grade.errors["formula_parse_error"] is True


@pytest.mark.parametrize(
    ("broken", "path", "told"),
    [
        (multi("a", a=string_check("is")), "grader.graders.a.operation", "is 'is'; use eq"),
        (multi("a + c", a=string_check()), "grader.calculate_output", "names 'c'; the graders are a"),
        (multi("a +", a=string_check()), "grader.calculate_output", "cannot be read: invalid syntax"),
        (multi("a", a=multi("b", b=string_check())), "grader.graders.a", "none inside another"),
        (multi("a", **{"a b": string_check()}), "grader.graders", "'a b'; a formula can only name letters"),
        (multi("1"), "grader.graders", "an object of graders by name"),
        (multi("a", a=7), "grader.graders.a", "not int"),
        (multi("a", a=python("return (")), "grader.graders.a.source", "does not load: SyntaxError"),
        (multi("a", a=string_check(input="{{x}}")), "grader.graders.a.input", "has the template"),
    ],
)
def test_what_is_wrong_inside_a_multi_grader_has_its_path(broken, path, told):
    with pytest.raises(BadGraderError, match=told) as caught:
        check_grader(broken)
    assert caught.value.path == path


def test_the_items_are_checked_for_all_graders_of_a_multi_grader():
    mine = multi("a", a=string_check(reference="{{item.other}}"))
    with pytest.raises(DataError, match=r"\{\{item.other\}\} finds nothing in item faq.csv:2"):
        check_grader(mine, [ITEM])


# Passing


def test_a_score_passes_from_the_threshold_on():
    mine = string_check(pass_threshold=0.5)
    assert [passes(mine, score) for score in (0.49, 0.5, float("nan"))] == [False, True, False]


def test_without_a_threshold_only_the_full_score_passes():
    assert [passes(string_check(), score) for score in (0.99, 1.0)] == [False, True]


def test_an_answer_is_graded_without_its_thinking_text():
    said = "<think>40? No, 43?</think>42"
    assert graded(string_check(), said, ITEM).score == 1.0
    assert graded(python("return sample['output_text'] == '42'"), said, ITEM).score == 1.0
    assert graded(string_check(), "<think>42", ITEM).reason == "'' is not '42'"


# An address of one's own


@pytest.fixture
def address() -> Iterator[tuple[str, list[object], list[tuple[int, object]]]]:
    """An address, what it was sent, and what it replies, one after the other, the last again and again."""
    sent: list[object] = []
    replies: list[tuple[int, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            sent.append({"place": self.path, "key": self.headers["x-key"], **body})
            status, reply = replies[min(len(sent), len(replies)) - 1]
            if reply == "nothing":
                done.wait(10)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

        def log_message(self, *_: object) -> None:
            pass

    done = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/grade?by=me", sent, replies
    done.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_on_this_machine_grades_and_is_asked_again_when_it_fails(address):
    url, sent, replies = address
    replies += [(500, {}), (200, {"score": 0.7})]
    found = graded(endpoint(url, {"x-key": "secret"}), "It is 42.", ITEM)
    assert (found.score, found.reason) == (0.7, f"{url} gave 0.7")
    assert len(sent) == 2
    assert (sent[0]["place"], sent[0]["key"], sent[0]["item"]) == ("/grade?by=me", "secret", ITEM)
    assert sent[0]["sample"]["output_text"] == "It is 42."
    assert sent[0]["trace_id"] == sent[1]["trace_id"]


def test_an_address_is_asked_no_oftener_than_its_rate_limit_allows_by_all_threads_together(address):
    url, sent, replies = address
    replies += [(200, {"score": 1})]
    limited = endpoint(url) | {"rate_limit": 25}
    began = time.monotonic()
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda text: graded(limited, text, ITEM), "abcdef"))
    assert [grade.score for grade in found] == [1.0] * 6
    assert len(sent) == 6
    assert time.monotonic() - began >= 5 / 25  # the first leaves at once


def test_the_wait_for_a_rate_limit_is_no_part_of_the_time_for_an_answer(address):
    url, _, replies = address
    replies += [(200, {"score": 1})]
    limited = endpoint(url) | {"rate_limit": 2}
    found = [graded(limited, text, ITEM, limits=SandboxLimits(seconds=0.4)) for text in "ab"]
    assert [grade.score for grade in found] == [1.0, 1.0]


@pytest.mark.parametrize("rate", [0, -1, True, "10"])
def test_a_rate_limit_is_a_number_of_requests_a_second(rate):
    with pytest.raises(DataError, match="the requests that the address takes in a second, such as 10"):
        check_grader(endpoint("http://127.0.0.1:9/") | {"rate_limit": rate})


@pytest.mark.parametrize(
    ("replies", "problem", "asked"),
    [
        ([(500, {})], "replied with status 500", 4),
        ([(404, {})], "replied with status 404", 1),
        ([(200, {"score": "high"})], 'the reply is no JSON with a finite "score"', 1),
        ([(200, {"score": math.nan})], 'the reply is no JSON with a finite "score"', 1),
        ([(200, {"score": 10**400})], 'the reply is no JSON with a finite "score"', 1),
        ([(200, [])], 'the reply is no JSON with a finite "score"', 1),
        ([(200, "nothing")], "did not reply within 0.3 seconds", 1),
    ],
)
def test_an_address_without_a_score_is_a_problem_of_the_answer(address, replies, problem, asked):
    url, sent, given = address
    given += replies
    found = graded(endpoint(url), "It is 42.", ITEM, limits=SandboxLimits(seconds=0.3))
    assert not found.graded
    assert problem in found.problem
    assert found.errors["other_error"]
    assert len(sent) == asked


@pytest.mark.parametrize("status", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_reply_that_comes_byte_by_byte_is_waited_for_as_long_as_any_other(status):
    def drip(server):
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.sendall(status)
            for _ in range(100):
                connection.sendall(b" ")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        found = graded(endpoint(url), "42", ITEM, limits=SandboxLimits(seconds=0.3))
        thread.join()
    assert found.problem == f"{url} did not reply within 0.3 seconds"
    assert 0.3 <= found.seconds < 2


def test_an_address_that_sends_elsewhere_is_not_followed(address):
    url, sent, replies = address
    replies += [(302, {})]
    found = graded(endpoint(url), "42", ITEM)
    assert found.problem == f"{url} replied with status 302"
    assert len(sent) == 1


def test_an_address_where_nobody_listens_cannot_be_reached():
    found = graded(endpoint("http://127.0.0.1:9/"), "42", ITEM)
    assert "cannot be reached" in found.problem
