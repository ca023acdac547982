"""The decision: each gate on both sides of its threshold, and nothing guessed."""

import json

import jsonschema
import pytest

from workbench.decide.criteria import criteria
from workbench.decide.decision import decide
from workbench.decide.rules import RULES, VERDICTS
from workbench.decide.situation import Situation, half_width, questions, schema_of, situation
from workbench.errors import DataError

# A task that should be tuned: every gate before the last one says no.
READY = situation(
    {
        "motive": "quality",
        "target": 0.85,
        "task_changes_every_days": 365.0,
        "eval_items": 200,
        "score": 0.50,
        "grader": "programmatic",
        "prompt_iterations": 3,
        "shots_gain": 0.0,
        "more_shots_fit": True,
        "failures": {"format": 0.4, "instruction": 0.6},
        "private_knowledge": False,
        "trainable": True,
        "demonstrations": 400,
        "representative": True,
        "contradictions": 0.0,
        "leaks": 0,
        "format_errors": 0,
    }
)
SAVING = {"motive": "cost", "score": 0.90, "requests_per_month": 500_000, "break_even_requests": 3_125}
SAVING |= {"payback_months": 0.1, "months_of_service": 10.7}
REASONING = {"failures": {"reasoning": 0.5, "format": 0.5}, "reasoning_model": True, "prompts": 100}
REASONING |= {"pass_rate": 0.05, "mixed_share": 0.2}
PREFERENCES = {"failures": {"style": 0.71, "format": 0.29}, "pairs": 500}
BOTH = {"failures": {"style": 0.3, "format": 0.3, "reasoning": 0.4}, "pairs": 500, "reasoning_model": False}
DOCUMENTS = {"private_knowledge": True, "gold_context_score": 0.6, "retrieval_in_place": True}
DOCUMENTS |= {"failures": {"context_misused": 0.5, "instruction": 0.5}}


def first_gate(**known: object) -> str:
    return decide(READY.but(**known)).matches[0].gate.id


def test_a_task_with_nothing_in_its_way_is_tuned_on_demonstrations():
    decision = decide(READY)
    assert (decision.verdict, decision.matches[0].gate.id) == ("sft", "G19")
    assert decision.next_measurement is None


@pytest.mark.parametrize(
    ("gate", "verdict", "holds", "just_not"),
    [
        ("G1", "not_yet_build_eval", {"eval_items": 19}, {"eval_items": 20}),
        (
            "G2",
            "not_yet_build_eval",
            {"grader": "people", "agreement": 0.39},
            {"grader": "people", "agreement": 0.4},
        ),
        ("G3", "keep_prompting", {"score": 0.85}, {"score": 0.75}),
        ("G4", "keep_prompting", SAVING | {"payback_months": 10.8}, SAVING | {"payback_months": 10.7}),
        (
            "G5",
            "keep_prompting",
            SAVING | {"requests_per_month": 3_124},
            SAVING | {"requests_per_month": 3_125},
        ),
        ("G6", "keep_prompting", {"trainable": False}, {"trainable": True}),
        ("G7", "not_yet_build_eval", {"score": 0.83}, {"score": 0.82}),
        ("G8", "keep_prompting", {"task_changes_every_days": 29}, {"task_changes_every_days": 30}),
        (
            "G9",
            "add_rag",
            {"failures": {"missing_knowledge": 0.3, "retrieval_miss": 0.2, "format": 0.5}},
            {"failures": {"missing_knowledge": 0.29, "retrieval_miss": 0.2, "format": 0.51}},
        ),
        (
            "G9",
            "add_rag",
            DOCUMENTS | {"gold_context_score": 0.675},
            DOCUMENTS | {"gold_context_score": 0.67},
        ),
        ("G10", "keep_prompting", {"prompt_iterations": 2}, {"prompt_iterations": 3}),
        ("G10", "keep_prompting", {"shots_gain": 0.02}, {"shots_gain": 0.019}),
        ("G10", "keep_prompting", {"shots_gain": 0.02}, {"shots_gain": 0.02, "more_shots_fit": False}),
        ("G11", "not_yet_collect_data", {"representative": False}, {"representative": True}),
        ("G12", "not_yet_collect_data", {"contradictions": 0.051}, {"contradictions": 0.05}),
        ("G12", "not_yet_collect_data", {"leaks": 1}, {"leaks": 0}),
        ("G12", "not_yet_collect_data", {"format_errors": 1}, {"format_errors": 0}),
        ("G13", "distil", SAVING | {"teacher_score": 0.85}, SAVING | {"teacher_score": 0.84}),
        ("G14", "rft", REASONING, REASONING | {"pass_rate": 0.04}),
        ("G14", "rft", REASONING | {"pass_rate": 0.95}, REASONING | {"pass_rate": 0.96}),
        ("G14", "rft", REASONING, REASONING | {"mixed_share": 0.19}),
        ("G14", "rft", REASONING, REASONING | {"prompts": 99}),
        ("G14", "rft", REASONING, REASONING | {"failures": {"reasoning": 0.49, "format": 0.51}}),
        ("G15", "dpo", PREFERENCES, PREFERENCES | {"pairs": 499}),
        ("G15", "dpo", PREFERENCES, PREFERENCES | {"failures": {"style": 0.7, "format": 0.3}}),
        ("G16", "stack_sft_dpo", BOTH, BOTH | {"pairs": 499}),
        ("G17", "not_yet_collect_data", {"demonstrations": 49}, {"demonstrations": 50}),
        ("G18", "rag_plus_sft", DOCUMENTS, DOCUMENTS | {"retrieval_in_place": False}),
    ],
)
def test_each_gate_on_both_sides(
    gate: str, verdict: str, holds: dict[str, object], just_not: dict[str, object]
):
    teacher = {} if "teacher_score" in holds else {"teacher_score": 0.5}
    decision = decide(READY.but(**teacher | holds))
    assert (decision.matches[0].gate.id, decision.verdict) == (gate, verdict)
    assert gate not in [match.gate.id for match in decide(READY.but(**teacher | just_not)).matches]


def test_a_judge_that_agrees_with_experts_is_as_good_as_a_program():
    judged = REASONING | {"grader": "judge", "agreement": 0.7}
    assert first_gate(**judged, judge_agreement=0.6) == "G14"
    assert first_gate(**judged, judge_agreement=0.59) == "G19"


def test_slow_answers_are_a_reason_even_where_the_money_is_not():
    few = SAVING | {"motive": "latency", "requests_per_month": 10, "teacher_score": 0.5}
    assert first_gate(**few, latency_objective_missed=False) == "G5"
    assert first_gate(**few, latency_objective_missed=True) == "G19"


@pytest.mark.parametrize("name", [name for name in READY.facts if name not in ("score", "eval_items")])
def test_what_is_not_known_and_matters_leads_to_not_yet_and_to_the_measurement(name: str):
    decision = decide(READY.but(**{name: None}))
    if decision.verdict == "sft":  # it did not matter, or the programmatic grader answers it
        assert name in ("shots_gain", "more_shots_fit")
        return
    assert decision.verdict.startswith("not_yet_")
    assert name in decision.matches[0].missing
    assert decision.next_measurement is not None


def test_what_does_not_matter_need_not_be_known():
    assert READY.teacher_score is None
    assert READY.reasoning_model is None
    assert decide(READY).verdict == "sft"


def test_nothing_known_is_not_yet():
    decision = decide(Situation())
    assert decision.verdict == "not_yet_build_eval"
    assert decision.next_measurement == "measure the base model with its best prompt (01_baseline)"


def test_every_gate_that_holds_is_told_with_its_values_and_source():
    decision = decide(READY.but(prompt_iterations=1, leaks=3))
    assert [match.gate.id for match in decision.matches] == ["G10", "G12", "G19"]
    reason = decision.facts["reasons"][1]
    assert reason["values"] == {"contradictions": 0.0, "leaks": 3, "format_errors": 0}
    assert reason["source"].startswith("Microsoft, Fine-tuning considerations")


def test_the_evidence_that_would_change_the_verdict_is_named():
    changes = decide(READY.but(prompt_iterations=1)).would_change
    assert changes[0].startswith("If there is no score, or fewer than 20 questions stand behind it: not yet")
    assert len(changes) == 9  # the gates before the tenth


def test_ways_of_like_strength_are_both_named_with_what_separates_them():
    decision = decide(READY.but(failures={"style": 0.9, "format": 0.1}, pairs=400, demonstrations=1_000))
    assert decision.strengths == {
        "stack_sft_dpo": 77.0,
        "dpo": 72.0,
        "sft": 55.0,
        "add_rag": 0.0,
        "rft": 0.0,
        "distil": 0.0,
    }
    assert (decision.verdict, decision.alternatives) == ("sft", ("stack_sft_dpo", "dpo"))
    assert decision.next_measurement.startswith("fine-tune on 50 examples")


def test_it_reads_as_a_sentence_and_as_a_table(unstyled):
    decision = decide(READY.but(leaks=3))
    assert repr(decision) == (
        "Not yet: collect or repair data first, because more than 5 % of the examples contradict each other, "
        "the test has leaked, or lines are refused (contradictions 0, leaks 3, format_errors 0). "
        "Repair the data (03_build_data). After that: Fine-tune on demonstrations (SFT)."
    )
    assert '<th scope="row">verdict</th><td>Not yet: collect or repair data first</td>' in unstyled(
        decision._repr_html_()
    )


def test_its_facts_are_json():
    facts = decide(READY).facts
    assert json.loads(json.dumps(facts)) == facts
    assert set(facts) >= {
        "verdict",
        "alternatives",
        "reasons",
        "strengths",
        "would_change",
        "next_measurement",
    }


def test_gates_name_fields_and_verdicts_that_exist():
    assert {name for gate in RULES for name in gate.reads} <= set(questions())
    assert {gate.verdict for gate in RULES} == set(VERDICTS)
    assert [gate.id for gate in RULES] == [f"G{number}" for number in range(1, 20)]


def test_half_the_interval_is_wilsons():
    # statsmodels.stats.proportion.proportion_confint(60, 100, method="wilson"): 0.50202, 0.69060
    assert half_width(situation({"eval_items": 100, "score": 0.6})) == pytest.approx(
        (0.69060 - 0.50202) / 2, abs=1e-5
    )


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"scoer": 1}, "scoer is not known; there are motive, target, "),
        ({"score": 1.2}, "score is 1.2; it should be 1 or less."),
        ({"score": float("nan")}, "score is nan; it should be a finite number."),
        ({"score": "high"}, "score is 'high'; it should be a number."),
        ({"score": True}, "score is True; it should be a number."),
        ({"pairs": -1}, "pairs is -1; it should be 0 or more."),
        ({"pairs": 1.5}, "pairs is 1.5; it should be a whole number."),
        ({"leaks": False}, "leaks is False; it should be a whole number."),
        ({"trainable": 1}, "trainable is 1; it should be true or false."),
        ({"motive": "fame"}, "motive is 'fame'; it may be 'quality', 'cost' or 'latency'."),
        ({"failures": {"form": 1.0}}, "failures.form is not known; there are 'missing_knowledge', "),
        ({"failures": {"format": 0.5}}, "failures sum to 0.50; the shares of all failures sum to 1."),
        ({"failures": {"format": 1.5}}, "failures.format is 1.5; it should be 1 or less."),
        ({"failures": "format"}, "failures is 'format'; it should name each with its number."),
    ],
)
def test_what_cannot_be_is_refused_by_name(facts: dict[str, object], message: str):
    with pytest.raises(DataError) as caught:
        situation(facts)
    assert str(caught.value).startswith(message)


def test_the_schema_takes_what_a_situation_takes():
    jsonschema.validate(READY.facts, schema_of(Situation))
    assert set(schema_of(Situation)["properties"]) == set(Situation.__dataclass_fields__)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"score": 1.2}, schema_of(Situation))


def test_every_field_is_asked_for_in_words():
    assert questions()["score"] == "What does the base model score with its best prompt?"
    assert all(question.endswith(("?", "sum to 1.")) for question in questions().values())


def test_microsofts_criteria_are_told_one_by_one():
    told = {each.name: answer for each, answer in criteria(READY.but(latency_objective_missed=True)).told}
    assert told["latency is high"] is True
    assert told["the output is not steadily in the right format"] is True
    assert told["it fails on edge cases or exceptions"] is False
    assert told["a larger model's skill in a smaller one (efficiency, distillation)"] is None
    assert told["there is little data: hundreds of examples are advised"] is False
    assert len(told) == 16


def test_the_criteria_are_shown_with_their_sources(unstyled):
    html = unstyled(criteria(Situation())._repr_html_())
    assert "<td>not known</td><td>Microsoft, Fine-tune models with Azure AI Foundry, 31 Oct 2024</td>" in html


def test_not_yet_says_what_comes_after_as_far_as_that_can_be_told():
    assert decide(READY.but(leaks=3)).then == "sft"
    assert decide(READY.but(leaks=3, failures=None)).then is None
    assert decide(READY).then is None


def test_the_page_holds_the_verdict_the_rules_and_what_was_known():
    page = decide(READY.but(leaks=3)).page
    assert page.startswith("# Not yet: collect or repair data first\n\nBecause more than 5 %")
    assert "After that: Fine-tune on demonstrations (SFT)." in page
    assert "| failures | format 40%, instruction 60% |" in page
    assert "- If two people agree on what is right by less than kappa 0.4: not yet" in page
