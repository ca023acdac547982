"""The table of check rules: complete, equal on its fast and slow path, and one entry is all a rule needs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from workbench.__main__ import app
from workbench.dataset.check import rules
from workbench.dataset.check.check import check
from workbench.dataset.check.methods import METHODS, CheckTask
from workbench.dataset.check.report import LEVELS
from workbench.dataset.check.row import Finding, Row, breaks
from workbench.dataset.check.rules import (
    PHASES,
    RULES,
    CheckRule,
    Phase,
    RowCheck,
    Rules,
    completed,
    explained,
)
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.settings import ROOT

DATASET = ROOT / "workbench" / "dataset"
GUIDE = ROOT / "data" / "README.md"
BY_A_VARIABLE = {"pii", "secret"}  # privacy names them by the rule of what was found
ASK, SAY = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


def findings_in(path: Path) -> Iterator[tuple[set[str], str, int]]:
    """Levels, rule and line of every ``Finding(level, rule, …)`` and ``breaks(rule, …)``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Finding", "breaks"):
            level, rule, _, *words = [None] * (ast.unparse(node.func) == "breaks") + node.args
            assert "''" not in map(ast.unparse, words), f"{path}:{node.lineno}"
            if isinstance(rule, ast.Constant):
                either = (level.body, level.orelse) if isinstance(level, ast.IfExp) else (level,)
                named = {str(part.value) for part in either if isinstance(part, ast.Constant)}
                yield named, str(rule.value), node.lineno


def test_the_table_has_every_rule_that_is_found_and_no_other():
    written = {rule for path in DATASET.rglob("*.py") for _, rule, _ in findings_in(path)}
    assert len(written) > 50
    assert written | BY_A_VARIABLE == set(RULES)


def test_every_finding_has_a_level_of_its_rule():
    for path in DATASET.rglob("*.py"):
        for levels, rule, line in findings_in(path):
            assert levels <= set(RULES[rule].levels.split(", ")), f"{path}:{line}"


def test_a_finding_without_a_level_and_a_way_out_has_those_of_its_rule():
    assert completed(breaks("empty", "messages[0]", "there is no text")) == (
        "error",
        "empty",
        "messages[0]",
        "there is no text",
        "fill it in, or leave the example out",
    )
    other = Finding("info", "empty", "", "there is no text", "write one")
    assert completed(other) is other


def test_every_level_of_the_table_is_known_and_the_worst_comes_first():
    for rule in RULES.values():
        levels = rule.levels.split(", ")
        assert levels == sorted(set(levels), key=LEVELS.index), rule.id


def test_every_rule_is_in_the_table_once_in_a_phase_with_a_function_and_a_way_out():
    assert len(rules._TABLE) == len(RULES)
    for rule in RULES.values():
        assert rule.phase in PHASES
        assert rule.functions
        assert set(rule.methods) <= set(METHODS)
        assert re.fullmatch(r"[a-z].{3,90}[^.]", rule.fix), rule.id


def test_sentences_are_one_sentence_each():
    assert [
        rule.id for rule in RULES.values() if not re.fullmatch(r"[A-Za-z0-9].{10,100}[^.]\.", rule.sentence)
    ] == []


def test_the_guide_to_the_data_has_the_same_table():
    assert explained() in GUIDE.read_text(encoding="utf-8")


def test_a_rule_that_there_is_not_is_an_error_with_the_nearest_one():
    with pytest.raises(DataError, match=r"There is no rule 'duplicates'; did you mean 'duplicate'\?"):
        explained(["duplicates"])


# Both paths

MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "user", "assistant", "bot"]),
        "content": st.text("a Q\ufffd", max_size=3),
    },
    optional={"weight": st.sampled_from([0, 1, 2])},
)
TURNS = st.lists(MESSAGE, max_size=4)
VALUES = (
    st.fixed_dictionaries({"messages": TURNS}, optional={"answer": st.text("ab ", max_size=2)})
    | st.tuples(st.text("aQ", min_size=1), st.text("aQ", min_size=1)).map(
        lambda said: {"messages": [{**ASK, "content": said[0]}, {**SAY, "content": said[1]}]}
    )
    | st.fixed_dictionaries(
        {
            "input": st.fixed_dictionaries({"messages": TURNS}),
            "preferred_output": st.just([SAY]),
            "non_preferred_output": st.lists(MESSAGE, min_size=1, max_size=1),
        }
    )
)


def no_shouting(row, task):
    """The made-up rule: also a row whose form is plain may break it."""
    for turn in row.turns:
        if "Q" in turn.text:
            yield Finding("warning", "shouting", turn.path, "a Q is a shout", "write q")


SHOUTING = CheckRule(
    "shouting", "warning", "format", "write q", "Capitals are for emergencies.", (RowCheck(no_shouting),)
)
WITH_SHOUTING = MappingProxyType({**RULES, "shouting": SHOUTING})


def by_the_fast_path(values, method):
    phase = Phase("format", CheckTask(method))
    phase.add([Row(number, value) for number, value in enumerate(values)])
    return sorted((finding, n) for finding, numbers in phase._found for n in numbers)


def by_the_slow_path(values, method):
    found = ((finding, n) for n, value in enumerate(values) for finding in Rules(method).findings(value))
    return sorted(found)


@pytest.mark.parametrize("table", [RULES, WITH_SHOUTING], ids=["as it is", "with a made-up rule"])
@pytest.mark.parametrize("method", METHODS)
def test_the_fast_path_finds_what_the_slow_path_finds(method, table):
    @given(VALUES)
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def same(value):
        assert by_the_fast_path([value, value], method) == by_the_slow_path([value, value], method)
        assert not Rules(method).plain(value) or Rules(method).findings(value) == []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "RULES", table)
        same()


# A made-up rule


@pytest.fixture
def shouting(monkeypatch):
    """The table with one more entry; nothing else knows of it."""
    monkeypatch.setattr(rules, "RULES", WITH_SHOUTING)


def dataset(*answers):
    return Dataset(
        "a.csv", tuple(Example((ASK, {**SAY, "content": a}), f"a.csv:{n}") for n, a in enumerate(answers))
    )


@pytest.mark.usefixtures("shouting")
def test_a_new_rule_is_run_on_rows_that_are_plain_and_on_others():
    report = check(dataset("a", "Q", "Q "), only=("format",))
    assert [(p.origin, p.path) for p in report.of("shouting")] == [
        ("a.csv:1", "messages[1].content"),
        ("a.csv:2", "messages[1].content"),
    ]
    odd = {"messages": [ASK, {"role": "bot", "content": "Q"}]}
    assert {finding.rule for finding in Rules("sft").findings(odd)} == {"role", "last", "shouting"}


@pytest.mark.usefixtures("shouting")
def test_a_new_rule_can_be_asked_for_alone():
    report = check(dataset("Q", "a"), only=("shouting",))
    assert {problem.rule for problem in report.problems} == {"shouting"}
    assert [p.rule for p in check(dataset("Q", "a"), only=("privacy",)).problems] == []


@pytest.mark.usefixtures("shouting")
def test_a_new_rule_is_explained_in_the_shell_in_the_report_and_in_the_guide():
    said = CliRunner().invoke(app, ["check", "--explain", "shouting"])
    assert said.exit_code == 0
    assert "| format | `shouting` | warning | Capitals are for emergencies. | write q |" in said.output
    assert "Capitals are for emergencies." in check(dataset("Q"), only=("shouting",))._repr_html_()
    assert "Capitals are for emergencies." in explained()


def test_findings_by_other_rules_stay_out_of_a_report_on_one():
    twice = dataset("a", "a")
    assert {p.rule for p in check(twice, only=("duplicate",)).problems} == {"duplicate"}
    assert {p.rule for p in check(twice, only=("format", "duplicate")).problems} == {"too_few", "duplicate"}
