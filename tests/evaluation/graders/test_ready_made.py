"""Ready-made graders: plain JSON, and what each counts as right."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.errors import DataError
from workbench.evaluation.graders.grading import check_grader, grade, graded
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.graders.sandbox import close_sandboxes
from workbench.evaluation.graders.sources import json_schema, normalised, numeric, regex
from workbench.evaluation.graders.sources.numeric import last_number

ALL = {
    "exact": {},
    "normalised": {},
    "contains": {},
    "regex": {"pattern": r"^\d+$"},
    "json_schema": {"schema": {"type": "object", "required": ["a"]}},
    "numeric": {"tolerance": 0.5},
}
# Microsoft Learn, "Reinforcement fine-tuning" (10/05/2026): what a python grader can import there.
ON_AZURE = {"numpy", "scipy", "sympy", "pandas", "rapidfuzz", "sklearn", "rouge_score", "deepdiff"}
ON_AZURE |= {"jsonschema", "pydantic", "yaml", "nltk", "sqlparse", "rdkit", "skbio", "ast_grep_py"}


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_sandboxes()


def test_ready_made_graders_are_json_and_independent_of_each_other():
    for name, options in ALL.items():
        assert json.loads(json.dumps(grader(name, **options)))["name"] == name
        check_grader(grader(name, **options))
    grader("exact")["operation"] = "ne"
    assert grader("exact")["operation"] == "eq"


def test_every_source_imports_only_what_azure_has_and_is_short_enough():
    for name, options in (ALL | {"data/gql/gql.py": {}}).items():
        source = str(grader(name, **options).get("source", ""))
        imported = {
            (node.names[0].name if isinstance(node, ast.Import) else node.module).split(".")[0]
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert (
            imported
            <= {"re", "string", "json", "math", "collections", "dataclasses", "decimal", "functools"}
            | ON_AZURE
        )
        assert len(source) < 256 * 1024


def test_a_source_runs_without_the_workbench_and_under_any_name():
    for module in (normalised, numeric, regex, json_schema):
        namespace: dict[str, object] = {"__name__": "elsewhere"}
        exec(Path(module.__file__).read_text(encoding="utf-8"), namespace)
        assert namespace["grade"]({"output_text": "1"}, {"answer": "1"}) == 1.0


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("exakt", {}, r"no ready-made grader 'exakt'\. Did you mean exact\? There are exact, norm"),
        ("exact", {"pattern": "x"}, "The grader 'exact' takes no pattern"),
        ("mine.py", {"tolerance": 0.0}, "mine.py takes no schema, tolerance or pattern; write them into"),
        ("regex", {}, 'The grader "regex" needs a pattern'),
        ("regex", {"pattern": "("}, "pattern is no regular expression: missing"),
        ("json_schema", {}, 'The grader "json_schema" needs a schema'),
        (
            "json_schema",
            {"schema": {"type": "objekt"}},
            r"schema is no JSON schema: \$.type: 'objekt' is not valid",
        ),
        ("numeric", {"tolerance": -1.0}, "tolerance is -1.0; give the largest difference that is right"),
        ("numeric", {"tolerance": float("nan")}, "tolerance is nan"),
    ],
)
def test_what_cannot_be_made_is_told(name, options, told):
    with pytest.raises(DataError, match=told):
        grader(name, **options)


# One's own, in a file


def test_a_python_file_is_a_grader_under_its_name(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "def grade(sample, item):\n    return float(sample['output_text'] == item['answer'])\n"
        "\n\ndef explain(sample, item):\n    return 'compared'\n\n\n"
        "def short(sample, item):\n    return float(len(sample['output_text']) < 3)\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    for given in ("mine.py", tmp_path / "mine.py", "./mine.py:grade"):
        mine = grader(given)
        assert (mine["name"], mine["type"]) == ("mine", "python")
        found = graded(mine, "yes", {"answer": "yes"})
        assert (found.score, found.reason) == (1.0, "compared")
    short = grader("mine.py:short")
    assert (short["name"], grade(short, "yes", {}), grade(short, "no", {})) == ("mine_short", 0.0, 1.0)
    assert graded(short, "no", {}).reason == "mine_short gave 1"


def test_a_json_file_is_a_grader(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(grader("contains")), encoding="utf-8")
    assert grader(tmp_path / "mine.json") == grader("contains")


def test_a_relative_path_counts_from_the_repository_where_there_is_none_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert grader("data/gql/gql.py")["name"] == "gql"


@pytest.mark.parametrize(
    ("file", "text", "named", "told"),
    [
        ("mine.py", None, "mine.py", "mine.py cannot be read: No such file or directory."),
        ("mine.py", b"\xff", "mine.py", "mine.py is not UTF-8 text; save it as UTF-8."),
        (
            "mine.py",
            b"def score(sample, item):\n    return 1\n",
            "mine.py",
            "mine.py has no function grade(sample, item); it defines score. Add it, or name another one: "
            "mine.py:NAME.",
        ),
        (
            "mine.py",
            b"A = 1\n",
            "mine.py:valid",
            "mine.py has no function valid(sample, item); it defines none",
        ),
        ("mine.py", b"def grade(:\n", "mine.py", "mine.py line 1 is not Python: invalid syntax."),
        (
            "mine.py",
            b"import nowhere\n\n\ndef grade(sample, item):\n    return 1\n",
            "mine.py",
            "mine.py: grader.source does not load: ModuleNotFoundError: No module named 'nowhere', line 1",
        ),
        ("mine.json", b"{", "mine.json", "mine.json is not JSON: Expecting property name"),
        ("mine.json", b"[]", "mine.json", "mine.json should hold one grader, a JSON object such as"),
        ("mine.json", b'{"type": "exact"}', "mine.json", "mine.json: grader.type is 'exact'"),
        (
            "mine.json",
            b"{}",
            "mine.json:valid",
            "mine.json is JSON and has no function 'valid'; give mine.json",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_name(tmp_path, monkeypatch, file, text, named, told):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / file).write_bytes(text)
    with pytest.raises(DataError) as caught:
        grader(named)
    assert str(caught.value).startswith(told)


# What each counts as right


def test_exact_is_letter_by_letter():
    assert grade(grader("exact"), "42", {"answer": "42"}) == 1.0
    assert grade(grader("exact"), "42 ", {"answer": "42"}) == 0.0


def test_contains_finds_the_reference_anywhere_letter_by_letter():
    assert grade(grader("contains"), "It is Paris.", {"answer": "Paris"}) == 1.0
    assert grade(grader("contains"), "It is paris.", {"answer": "Paris"}) == 0.0


@pytest.mark.parametrize(
    ("said", "wanted", "score"),
    [
        ("The Eiffel Tower", "eiffel tower", 1.0),
        ("an  apple\n", "Apple.", 1.0),
        ("St. Mary's", "st marys", 1.0),
        ("theatre", "atre", 0.0),
        ("U.S.A.", "usa", 1.0),
        ("Paris", "London", 0.0),
        ("", "the", 1.0),
        ("Straße", "STRASSE", 0.0),
    ],
)
def test_normalised_forgives_case_articles_punctuation_and_white_space(said, wanted, score):
    assert normalised.grade({"output_text": said}, {"answer": wanted}) == score


def test_normalised_shows_what_it_compared():
    result = graded(grader("normalised"), "The  Cat!", {"answer": "a dog"})
    assert (result.score, result.reason) == (0.0, "normalised: 'cat' is not 'dog'")


def test_regex_looks_for_its_pattern():
    mine = grader("regex", pattern=r"\b[A-Z]{2}-\d{3}\b")
    assert grade(mine, "It is AB-123.", {}) == 1.0
    assert graded(mine, "ab-123", {}).reason == "nothing fits '\\\\b[A-Z]{2}-\\\\d{3}\\\\b'"


def test_json_schema_tells_what_does_not_follow():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    mine = grader("json_schema", schema=schema)
    assert grade(mine, '{"n": 1}', {}) == 1.0
    assert graded(mine, '{"n": "é\'"}', {}).reason == "$.n: \"é'\" is not of type 'integer'"
    assert graded(mine, '```json\n{"n": 1}\n```', {}).reason.startswith("the answer is not JSON")
    assert grade(mine, "[" * 100_000, {}) == 0.0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", 42.0),
        ("The answer is 42.", 42.0),
        ("first 1, then 2", 2.0),
        ("-3.5", -3.5),
        ("−3", -3.0),
        ("$-5", -5.0),
        ("-$5", -5.0),
        ("between 10-12", 12.0),
        ("1,234", 1234.0),
        ("1,234,567.89", 1234567.89),
        ("1'234'567", 1234567.0),
        ("1\u202f234\u00a0567,5", 1234567.5),
        ("1.234.567", 1234567.0),
        ("1.234,5", 1234.5),
        ("3,75", 3.75),
        ("1.234", 1.234),
        ("12.5%", 0.125),
        ("12 %", 0.12),
        ("3/4", 0.75),
        ("1 1/2", 1.5),
        ("-1/4", -0.25),
        ("1/0", None),
        ("on 12/05/2024", 2024.0),
        ("1,2,3", 3.0),
        ("version 1.2.3", 3.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.5E-3 m", 0.0015),
        ("10km", 10.0),
        ("H2O", None),
        ("none at all", None),
        ("", None),
        ("9" * 400, None),
        ("１２", 12.0),
    ],
)
def test_the_last_number_of_a_text(text, number):
    assert last_number(text) == (None if number is None else pytest.approx(number, rel=1e-12))


@pytest.mark.parametrize(
    ("said", "wanted", "tolerance", "score"),
    [
        ("0.30000000000000004", "0.3", None, 1.0),
        ("0.31", "0.3", None, 0.0),
        ("0.31", "0.3", 0.02, 1.0),
        ("50 %", "0.5", None, 1.0),
        ("I do not know", "3", 10, 0.0),
    ],
)
def test_numeric_compares_within_its_tolerance(said, wanted, tolerance, score):
    assert grade(grader("numeric", tolerance=tolerance), said, {"answer": wanted}) == score


def test_numeric_tells_both_numbers_and_stops_at_a_reference_without_one():
    result = graded(grader("numeric", tolerance=0.5), "about 41", {"answer": "42"})
    assert result.reason == "41 is not 42 within 0.5"
    assert graded(grader("numeric"), "1", {"answer": "one"}).problem.startswith(
        "ValueError: the reference 'one' has no number, line "
    )


def test_reading_a_long_text_takes_no_longer_than_its_length():
    for text in ("1," * 50_000, "1 " * 50_000, "1'" * 50_000, "-" * 100_000, "9" * 100_000, "1/" * 50_000):
        last_number(text)


def test_the_samples_grader_compares_meaning_and_its_second_function_only_grammar():
    item = {"answer": "customers ~ vip = yes ~ year < 2022 -> count per segment"}
    same = "customers  ~ year < 2022 ~ vip = yes -> count per segment"
    other = "customers ~ vip = yes -> count"
    assert graded(grader("data/gql/gql.py"), same, item).reason == "it means the same"
    assert graded(grader("data/gql/gql.py"), other, item).reason == "a query that means something else"
    assert grade(grader("data/gql/gql.py"), other, item) == 0.0
    assert grade(grader("data/gql/gql.py:valid"), other, item) == 1.0
    assert grade(grader("data/gql/gql.py:valid"), "SELECT count(*) FROM customers", item) == 0.0
    assert grader("data/gql/gql.py:valid")["name"] == "gql_valid"


def test_a_reference_that_is_no_query_stops_the_gql_grader_with_its_item():
    item = {"answer": "SELECT 1", "origin": "faq.csv:9"}
    with pytest.raises(DataError, match=r"grader 'gql' stopped at item faq.csv:9: GqlError: at character 1"):
        grade(grader("data/gql/gql.py"), "customers -> count", item)


def test_a_ready_made_grader_takes_its_option_from_a_json_file(tmp_path):
    file = tmp_path / "code.json"
    file.write_text('{"name": "regex", "pattern": "^[A-Z]{2}$"}')
    made = grader(file)
    assert made == grader("regex", pattern="^[A-Z]{2}$")
    file.write_text('{"name": "numeric", "tolerance": 0.5}')
    assert grader(file) == grader("numeric", tolerance=0.5)


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ('{"name": "regex"}', 'The grader "regex" needs a pattern'),
        ('{"name": "regex", "patern": "a"}', "gives regex patern = 'a'; it may give a pattern"),
        ('{"name": "json_schema", "schema": "a"}', "gives json_schema schema = 'a'"),
        ('{"name": "exact", "pattern": "a"}', "The grader 'exact' takes no pattern"),
        ('{"name": "mine"}', "type"),
    ],
)
def test_such_a_file_without_a_fitting_option_is_refused(tmp_path, content, finding):
    (tmp_path / "mine.json").write_text(content)
    with pytest.raises(DataError, match=re.escape(finding)):
        grader(tmp_path / "mine.json")


def test_a_mistyped_grader_is_answered_with_the_near_one():
    with pytest.raises(DataError, match=r"no ready-made grader 'exakt'\. Did you mean exact"):
        grader("exakt")
