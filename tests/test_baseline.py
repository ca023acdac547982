"""The baseline ladder, and what evaluations leave in the record."""

from pathlib import Path

import pytest

from workbench import DataError, Evaluation, Prompt, grader
from workbench.evaluation.baseline import Ladder, ladder
from workbench.evaluation.compare import compare
from workbench.evaluation.evaluate import Item
from workbench.evaluation.records import record_baseline, record_comparison
from workbench.project import Project

GQL = "orders -> count"


def evaluation(prompt: str, *answers: str, tokens: int = 10, model: str = "base") -> Evaluation:
    """One right answer for each that is the reference."""
    items = tuple(
        Item(
            id=f"i{number}",
            origin=f"test.csv:{number + 2}",
            question=f"How many orders? ({number})",
            reference=GQL,
            answer=answer,
            score=float(answer == GQL),
            seconds=0.5,
            prompt_tokens=tokens,
            completion_tokens=4,
            finish_reason="stop",
        )
        for number, answer in enumerate(answers)
    )
    return Evaluation(model, Prompt(prompt), grader("exact"), items, 64, 0.0)


def test_the_best_rung_has_the_highest_score():
    rungs = ladder([evaluation("zero-shot", "?", "?"), evaluation("few-shot", GQL, "?", tokens=90)])
    assert rungs.best.prompt.name == "few-shot"


def test_of_equal_rungs_the_shorter_prompt_is_best():
    rungs = ladder([evaluation("long", GQL, tokens=90), evaluation("short", GQL, tokens=10)])
    assert rungs.best.prompt.name == "short"


def test_valid_is_the_share_of_well_formed_answers_right_or_not():
    answers = (GQL, "customers -> all", "How many?", "orders ->")
    [rung] = ladder([evaluation("zero-shot", *answers)], valid=grader("gql_valid")).rungs
    assert rung.valid == 0.5


def test_rungs_with_different_questions_or_models_are_no_ladder():
    with pytest.raises(DataError, match="differ in model or questions"):
        ladder([evaluation("a", GQL), evaluation("b", GQL, "?")])
    with pytest.raises(DataError, match="differ in model or questions"):
        ladder([evaluation("a", GQL), evaluation("b", GQL, model="other")])
    with pytest.raises(DataError, match="no evaluation to put on a ladder"):
        ladder([])


def test_the_table_shows_each_rung_and_escapes_its_name():
    shown = ladder([evaluation("<b>", GQL, "?", "?", "?")])._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "25.0 %" in shown
    assert "5–70 %" in shown  # Wilson for 1 of 4
    assert "valid" not in shown
    assert repr(ladder([evaluation("x", GQL, "?")])) == "<Ladder of base: x 50.0 %>"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project("gql", tmp_path / "gql")


def test_the_best_evaluation_is_found_again_through_the_record(project: Project):
    rungs: Ladder = ladder([evaluation("zero-shot", "?", "?"), evaluation("few-shot", GQL, "?")])
    record_baseline(project, rungs, test_sha256="abc")
    facts = project.need("baseline", "01_baseline").facts
    assert (facts["best_prompt"], facts["best_score"], facts["model"]) == ("few-shot", 0.5, "base")
    assert Evaluation.load(project.path / facts["best_evaluation"]) == rungs.best
    assert [rung["correct"] for rung in facts["rungs"]] == [0, 1]


def test_a_comparison_is_recorded_with_both_evaluations(project: Project):
    comparison = compare(evaluation("best", "?", GQL, "?"), evaluation("short", GQL, "?", GQL, model="tuned"))
    record_comparison(project, comparison, job_id="ftjob-1", training_seconds=12)
    facts = project.need("comparison", "06_evaluate").facts
    assert (facts["items"], facts["fixed"], facts["broken"]) == (3, 2, 1)
    assert (facts["base_prompt"], facts["tuned_model"], facts["training_seconds"]) == ("best", "tuned", 12)
    assert Evaluation.load(project.path / facts["tuned_evaluation"]).model == "tuned"
