"""Three models by two measures: what was reached, what it cost, and what does not count."""

from dataclasses import replace

import pytest
from made_evaluations import evaluation

from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.model_comparison import compare_models


def three(base: str, sft: str, tuned: str) -> dict[str, Evaluation]:
    names = {"base": base, "SFT": sft, "SFT + DPO": tuned}
    return {name: evaluation(scores, name.lower()) for name, scores in names.items()}


def measured(tone: tuple[str, str, str], task: tuple[str, str, str]) -> dict[str, dict[str, Evaluation]]:
    return {"tone": three(*tone), "task": three(*task)}


NONE, ALL, MOST = "0" * 100, "1" * 100, "1" * 99 + "0"


def test_a_preference_that_costs_nothing_is_reached():
    found = compare_models(measured((NONE, NONE, ALL), (NONE, ALL, ALL)))
    assert found.outcome == "reached, and nothing lost"
    assert found.models == ("base", "SFT", "SFT + DPO")
    assert found.steps["tone"].difference == 1.0
    assert found.whole["task"].difference == 1.0
    assert found.verdict.startswith("Reached, and nothing lost: tone 0.0 → 100.0 % (+100.0 points, 95 % ")
    assert found.headline.startswith("Reached, and nothing lost: tone 0.0 → 100.0 %, ")
    assert "; task 100.0 → 100.0 % (+0.0 points, " in found.verdict
    assert found.verdict.endswith("no more than 5 points lost.")


def test_right_answers_that_are_lost_are_the_price():
    found = compare_models(measured((NONE, NONE, ALL), (NONE, ALL, "1" * 60 + "0" * 40)))
    assert found.outcome == "reached, at a price"
    assert found.kept["task"].outcome == "worse"
    assert "task 100.0 → 60.0 % (−40.0 points" in found.verdict
    assert found.verdict.endswith("more than 5 points lost.")


def test_too_few_items_do_not_show_that_nothing_is_lost():
    found = compare_models(measured(("0" * 12, "0" * 12, "1" * 12), ("0" * 12, "1" * 12, "1" * 12)))
    assert found.outcome == "reached, the price not known"
    assert found.verdict.endswith("too few items to show that no more than 5 points are lost.")


@pytest.mark.parametrize(
    ("tuned", "outcome"), [("0" * 98 + "11", "not shown"), (NONE, "not reached")], ids=["few", "none"]
)
def test_a_preference_that_is_not_reached_is_called_so(tuned: str, outcome: str):
    found = compare_models(measured((NONE, NONE, tuned), (NONE, ALL, ALL)), minimum=0.05)
    assert found.outcome == outcome


def test_both_comparisons_on_the_same_items_are_corrected_for():
    tone = (NONE, NONE, "1" * 10 + "0" * 90)
    found = compare_models(measured(tone, (ALL, ALL, ALL)))
    # Exact McNemar: 2 / 2**10, and twice that after Holm for two comparisons.
    assert found.steps["tone"].p_value == pytest.approx(4 / 2**10)
    again = compare_models(measured(tone, (ALL, ALL, ALL)), comparisons_made=4)
    assert again.steps["tone"].p_value == pytest.approx(8 / 2**10)


def test_questions_that_were_trained_on_do_not_count():
    found = compare_models(
        measured(("00" + NONE, "00" + NONE, "11" + ALL), ("00" + NONE, "00" + ALL, "11" + ALL)),
        contaminated={"faq.csv:2", "id1"},
    )
    assert found.steps["tone"].items == 100
    assert found.verdict.endswith("2 items are left out (trained on): id0, id1.")
    assert found.facts["left_out"] == [{"why": "trained on", "ids": ["id0", "id1"]}]
    assert "2 items are left out" in found._repr_html_()


def test_where_every_question_was_trained_on_the_way_out_is_named():
    with pytest.raises(DataError) as caught:
        compare_models(
            measured((NONE, NONE, ALL), (NONE, ALL, ALL)), contaminated={f"id{n}" for n in range(100)}
        )
    assert str(caught.value) == (
        "All 100 questions were trained on, so nothing is left to judge by; add questions to the test, or "
        "train on other pairs (PAIRS = 'sampled' or 'file')."
    )


def test_one_measure_alone_is_the_aim():
    found = compare_models({"task": three(NONE, NONE, ALL)})
    assert (found.aim, found.outcome, dict(found.kept)) == ("task", "reached, and nothing lost", {})


def test_a_single_model_is_no_comparison():
    with pytest.raises(DataError, match="measure two models at least"):
        compare_models({"task": {"base": evaluation(NONE)}})
    with pytest.raises(DataError, match="measure every model by every grader"):
        compare_models(
            {"tone": three(NONE, NONE, ALL), "task": {"base": evaluation(NONE), "b": evaluation(ALL)}}
        )


def test_the_facts_are_json_with_every_score_and_test():
    facts = compare_models(measured((NONE, NONE, ALL), (NONE, ALL, MOST))).facts
    assert facts["models"] == {"base": "base", "SFT": "sft", "SFT + DPO": "sft + dpo"}
    assert facts["measures"]["task"]["scores"]["SFT + DPO"]["score"] == 0.99
    assert facts["measures"]["task"]["last_step"]["difference"] == pytest.approx(-0.01)
    assert facts["measures"]["tone"]["from_the_first"]["outcome"] == "better"
    assert (facts["aim"], facts["margin"], facts["measures"]["task"]["kept"]) == ("tone", 0.05, "not worse")


def test_the_tables_show_each_model_by_each_measure_and_each_test(unstyled):
    tone = three(NONE, NONE, ALL)
    html = unstyled(compare_models({"tone <b>": tone, "task": three(NONE, ALL, ALL)})._repr_html_())
    assert "tone &lt;b&gt;, 95 % interval" in html
    assert "<td>SFT + DPO against SFT</td><td>+100.0</td>" in html
    assert "<td>SFT + DPO against base</td><td>+100.0</td>" in html


def test_models_are_compared_by_one_grader():
    other = {
        name: replace(one, grader={"type": "x", "name": "y"}) for name, one in three(NONE, NONE, ALL).items()
    }
    mixed = {**three(NONE, NONE, ALL), "SFT + DPO": other["SFT + DPO"]}
    with pytest.raises(DataError, match="evaluate both with one grader"):
        _ = compare_models({"task": mixed}).steps
