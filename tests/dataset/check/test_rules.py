"""Every rule is explained once, and the guide to the data has the same table."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from workbench.dataset.check.check import EXPLAINED, EXPLAINED_ASPECTS
from workbench.dataset.check.report import LEVELS
from workbench.settings import ROOT

DATASET = ROOT / "workbench" / "dataset"
GUIDE = ROOT / "data" / "README.md"
BY_A_VARIABLE = {"pii", "secret"}  # quality/privacy.py names them by the rule of what was found


def table() -> str:
    """The rules as the guide prints them."""
    rows = [
        f"| {aspect} | `{rule}` | {sentence} |"
        for aspect, of_aspect in EXPLAINED_ASPECTS.items()
        for rule, sentence in of_aspect.items()
    ]
    return "\n".join(["| looks at | rule | what it asks, or why |", "| --- | --- | --- |", *rows])


def rules_in(path: Path) -> Iterator[str]:
    """The second argument of every ``Finding(level, rule, …)`` that is written out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding" and len(node.args) > 1:
            rule = node.args[1]
            if isinstance(rule, ast.Constant):
                yield str(rule.value)


def test_every_rule_is_explained_and_every_explained_rule_exists():
    written = {rule for path in DATASET.rglob("*.py") for rule in rules_in(path)}
    assert len(written) > 50
    assert written | BY_A_VARIABLE == set(EXPLAINED)


def test_every_finding_has_a_rule_a_level_a_place_a_sentence_and_a_fix():
    for path in DATASET.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding":
                level, _, _, message, fix = node.args
                either = (level.body, level.orelse) if isinstance(level, ast.IfExp) else (level,)
                named = {part.value for part in either if isinstance(part, ast.Constant)}
                assert named <= set(LEVELS), f"{path}:{node.lineno}"
                assert "''" not in (ast.unparse(message), ast.unparse(fix)), f"{path}:{node.lineno}"


def test_no_rule_is_explained_twice():
    assert sum(len(of_aspect) for of_aspect in EXPLAINED_ASPECTS.values()) == len(EXPLAINED)


def test_explanations_are_one_sentence_each():
    assert [
        text for text in EXPLAINED.values() if not re.fullmatch(r"[A-Za-z0-9].{10,100}[^.]\.", text)
    ] == []


def test_the_guide_to_the_data_explains_the_same_rules():
    assert table() in GUIDE.read_text(encoding="utf-8")
