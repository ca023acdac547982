"""The comparison of prompts, and what evaluations leave in the record."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.dataset.dataset import Example
from workbench.decide.situation import situation
from workbench.errors import DataError
from workbench.evaluation.compare import compare
from workbench.evaluation.evaluation import Evaluation, Item, cost_per_request
from workbench.evaluation.failures import failures
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.prompt_comparison import PromptComparison, compare_prompts
from workbench.evaluation.prompts import Prompt, gold_context
from workbench.evaluation.records import evidence, record_baseline, record_comparison
from workbench.evaluation.requests import Answer
from workbench.project import Project

VALID_GQL = grader("data/gql/gql.py:valid")
GQL = "orders -> count"


def evaluation(prompt: str, *answers: str, tokens: int = 10, model: str = "base") -> Evaluation:
    """One right answer for each that is the reference."""
    items = tuple(
        Item(
            f"i{number}",
            f"test.csv:{number + 2}",
            f"How many orders? ({number})",
            GQL,
            (Answer(answer, "stop", 0.5, tokens, 4, score=float(answer == GQL)),),
        )
        for number, answer in enumerate(answers)
    )
    return Evaluation(model, Prompt(prompt), grader("exact"), items, 64, 0.0)


def test_the_best_rung_has_the_highest_score():
    rungs = compare_prompts([evaluation("zero-shot", "?", "?"), evaluation("few-shot", GQL, "?", tokens=90)])
    assert rungs.best.prompt.name == "few-shot"


def test_of_equal_rungs_the_shorter_prompt_is_best():
    rungs = compare_prompts([evaluation("long", GQL, tokens=90), evaluation("short", GQL, tokens=10)])
    assert rungs.best.prompt.name == "short"


def test_valid_is_the_share_of_well_formed_answers_right_or_not():
    answers = (GQL, "customers -> all", "How many?", "orders ->")
    [rung] = compare_prompts([evaluation("zero-shot", *answers)], valid=VALID_GQL).scores
    assert rung.valid == 0.5


def test_prompts_with_different_questions_or_models_are_not_compared():
    with pytest.raises(DataError, match="differ in model or questions"):
        compare_prompts([evaluation("a", GQL), evaluation("b", GQL, "?")])
    with pytest.raises(DataError, match="differ in model or questions"):
        compare_prompts([evaluation("a", GQL), evaluation("b", GQL, model="other")])
    with pytest.raises(DataError, match="no evaluation to compare"):
        compare_prompts([])


def test_the_table_shows_each_rung_and_escapes_its_name():
    shown = compare_prompts([evaluation("<b>", GQL, "?", "?", "?")])._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "25.0 %" in shown
    assert "5–70 %" in shown  # Wilson for 1 of 4
    assert "valid" not in shown
    assert repr(compare_prompts([evaluation("x", GQL, "?")])) == "<Prompts of base: x 50.0 %>"


def shown(shots: int, *answers: str, tokens: int = 10) -> Evaluation:
    """An evaluation of a prompt with so many shots."""
    turns = ({"role": "user", "content": "A?"}, {"role": "assistant", "content": "a"})
    prompt = Prompt(f"{shots}-shot", system="Rules.", shots=shots * (Example(turns, "a:1"),))
    return replace(evaluation("", *answers, tokens=tokens), prompt=prompt)


def test_gold_context_and_a_teacher_stand_beside_the_prompts_and_are_never_its_best():
    base = evaluation("zero-shot", GQL, "?")
    gold = replace(evaluation("", GQL, GQL), prompt=gold_context(Prompt("zero-shot"), "passage"))
    rungs = compare_prompts([base], gold=gold, teacher=evaluation("zero-shot", GQL, GQL, model="large"))
    assert rungs.best == base
    assert [rung.evaluation.score for rung in rungs.all] == [0.5, 1.0, 1.0]
    assert "zero-shot, large" in rungs._repr_html_()


def test_the_right_passages_are_no_rung_and_the_base_model_is_no_teacher():
    base = evaluation("zero-shot", GQL)
    gold = replace(base, prompt=gold_context(base.prompt, "passage"))
    with pytest.raises(
        DataError, match=r"'gold context' was given the right passages.*give its evaluation as"
    ):
        compare_prompts([base, gold])
    with pytest.raises(DataError, match="base is the base model itself; a teacher is another"):
        compare_prompts([base], teacher=base)
    with pytest.raises(DataError, match="differ in model or questions"):
        compare_prompts([base], teacher=evaluation("zero-shot", GQL, GQL, model="large"))
    with pytest.raises(DataError, match="differ in model or questions"):
        compare_prompts([base], gold=replace(gold, model="large"))


def test_a_rung_that_was_left_out_is_none():
    assert len(compare_prompts([evaluation("a", GQL), None]).scores) == 1


def test_the_last_doubling_is_the_largest_of_an_otherwise_equal_prompt():
    ones, twos, fours = shown(1, "?", "?"), shown(2, GQL, "?"), shown(4, GQL, GQL)
    other = replace(fours, prompt=replace(shown(8, "?").prompt, system="Other rules."))
    assert compare_prompts([fours, ones, other, twos]).doubling == (twos, fours)
    assert compare_prompts([shown(0, GQL, GQL), ones]).doubling is None
    assert compare_prompts([ones, fours]).doubling is None


def test_95_of_100_answers_took_no_longer_than_p95():
    timed = evaluation("x", *100 * "?")
    items = tuple(item.answered(seconds=second) for second, item in enumerate(timed.items, start=1))
    assert replace(timed, items=items).seconds_p95 == 95
    assert replace(timed, items=items[:1]).seconds_p95 == 1
    assert replace(timed, items=items[:20]).seconds_p95 == 19


def tokens_of(model: str, prompt: int, cached: int, completion: int) -> Evaluation:
    [item] = evaluation("x", GQL).items
    counted = item.answered(prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion)
    return replace(evaluation("x", GQL, model=model), items=(counted,))


def test_a_request_costs_its_tokens_at_the_catalogues_prices():
    # OpenAI's page: gpt-4.1-mini $0.40 in, $0.10 cached, $1.60 out a million; tuned twice as much.
    asked = tokens_of("gpt-4.1-mini-2025-04-14", 3_000, 1_000, 200)
    assert cost_per_request(asked, "openai") == pytest.approx(0.00122, abs=1e-12)
    tuned = tokens_of("ft:gpt-4.1-mini-2025-04-14:me::1", 3_000, 1_000, 200)
    assert cost_per_request(tuned, "openai") == pytest.approx(0.00244, abs=1e-12)


def test_this_machine_charges_nothing_and_what_is_not_known_is_no_zero():
    asked = tokens_of("gpt-4.1-mini", 3_000, 0, 200)
    assert cost_per_request(asked, "local") == 0
    assert cost_per_request(asked, None) is None
    assert cost_per_request(tokens_of("my-deployment", 3_000, 0, 200), "azure") is None
    assert cost_per_request(tokens_of("gpt-4.1-mini", 0, 0, 0), "openai") is None
    assert cost_per_request(tokens_of("Qwen3-32B", 3_000, 0, 200), "openai") is None


def test_the_table_shows_what_a_thousand_requests_cost_only_where_it_is_known():
    asked = tokens_of("gpt-4.1-mini", 3_000, 1_000, 200)
    assert "$1.22" in compare_prompts([asked], service="openai")._repr_html_()
    assert "cost" not in compare_prompts([asked])._repr_html_()
    assert "of them cached" in compare_prompts([asked])._repr_html_()
    assert "of them cached" not in compare_prompts([evaluation("x", GQL)])._repr_html_()


def test_evidence_is_what_a_situation_asks_for():
    base, few, many = evaluation("zero-shot", "?", "?"), shown(1, GQL, "?"), shown(2, GQL, GQL)
    gold = replace(many, prompt=gold_context(many.prompt, "passage"))
    rungs = compare_prompts([base, few, many], gold=gold, teacher=evaluation("x", GQL, "?", model="large"))
    known = evidence(rungs)
    assert known == {
        "eval_items": 2,
        "score": 1.0,
        "grader": "programmatic",
        "prompt_iterations": 3,
        "shots_gain": 0.5,
        "gold_context_score": 1.0,
        "teacher_score": 0.5,
    }
    assert situation(known).gap is None


def test_what_was_not_measured_is_left_out():
    assert evidence(compare_prompts([evaluation("zero-shot", "?")])) == {
        "eval_items": 1,
        "score": 0.0,
        "grader": "programmatic",
        "prompt_iterations": 1,
    }


def test_the_same_prompt_under_two_names_was_tried_once():
    rungs = compare_prompts([evaluation("one", GQL), evaluation("other", GQL)])
    assert evidence(rungs)["prompt_iterations"] == 1


def test_more_shots_fit_if_twice_as_many_again_leave_room_for_the_answer():
    # 500 tokens with two, 700 with four: eight take 1,100, and the answer 64 more.
    rungs = compare_prompts([shown(2, GQL, tokens=500), shown(4, GQL, tokens=700)])
    assert evidence(rungs, context_tokens=1_164)["more_shots_fit"] is True
    assert evidence(rungs, context_tokens=1_163)["more_shots_fit"] is False
    assert "more_shots_fit" not in evidence(rungs)


def test_failures_are_evidence_once_each_has_a_kind_by_label_or_by_a_programs_score():
    rungs = compare_prompts([evaluation("zero-shot", "?", "customers -> all")])
    told = evidence(rungs, failures(rungs, valid=VALID_GQL))["failures"]
    assert told == {"format": 0.5, "instruction": 0.5}
    open_ones = failures(rungs, valid=VALID_GQL)
    open_ones = replace(open_ones, items=tuple(replace(one, graded=None) for one in open_ones.items))
    assert "failures" not in evidence(rungs, open_ones)
    unreadable = compare_prompts([evaluation("zero-shot", "?", "!")])
    assert evidence(unreadable, failures(unreadable, valid=VALID_GQL))["failures"] == {"format": 1}
    right = compare_prompts([evaluation("zero-shot", GQL)])
    assert "failures" not in evidence(right, failures(right))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project("gql", tmp_path / "gql")


def test_the_best_evaluation_is_found_again_through_the_record(project: Project):
    rungs: PromptComparison = compare_prompts(
        [evaluation("zero-shot", "?", "?"), evaluation("few-shot", GQL, "?")]
    )
    record_baseline(project, rungs, test_sha256="abc")
    facts = project.need("baseline", "01_baseline").facts
    assert (facts["best_prompt"], facts["best_score"], facts["model"]) == ("few-shot", 0.5, "base")
    assert Evaluation.load(project.path / facts["best_evaluation"]) == rungs.best
    assert [rung["correct"] for rung in facts["rungs"]] == [0, 1]


def test_failures_and_evidence_are_recorded_with_the_baseline(project: Project):
    base = evaluation("zero-shot", "?", GQL)
    rungs = compare_prompts([base], teacher=evaluation("zero-shot", GQL, GQL, model="large"))
    found = failures(rungs, valid=VALID_GQL)
    facts = record_baseline(project, rungs, test_sha256="abc", failures=found).facts
    assert facts["evidence"]["failures"] == {"format": 1.0}
    assert facts["evidence"]["teacher_score"] == 1.0
    assert facts["failures"] == {
        "found": 1,
        "looked_at": 1,
        "unlabelled": 0,
        "labelled_by": {"rule": 1},
        "shares": {"format": 1.0},
        "kinds": {"format": 1.0},
        "list": "failures/failures.jsonl",
    }
    [line] = (project.path / "failures" / "failures.jsonl").read_text().splitlines()
    assert (json.loads(line)["answer"], json.loads(line)["kind"]) == ("?", "format")
    assert [(rung["role"], rung["model"]) for rung in facts["rungs"]] == [
        ("rung", "base"),
        ("teacher", "large"),
    ]
    assert project.latest("baseline").facts == facts


def test_a_comparison_is_recorded_with_both_evaluations(project: Project):
    comparison = compare(evaluation("best", "?", GQL, "?"), evaluation("short", GQL, "?", GQL, model="tuned"))
    record_comparison(project, comparison, job_id="ftjob-1", training_seconds=12)
    facts = project.need("comparison", "06_evaluate").facts
    assert (facts["items"], facts["fixed"], facts["broken"]) == (3, 2, 1)
    assert (facts["base_prompt"], facts["tuned_model"], facts["training_seconds"]) == ("best", "tuned", 12)
    assert Evaluation.load(project.path / facts["tuned_evaluation"]).model == "tuned"
