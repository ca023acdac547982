"""The decision: each rule on both sides of its threshold, and nothing guessed."""

import json
import re
from typing import NamedTuple

import jsonschema
import pytest

from workbench.decide import decision as deciding
from workbench.decide.criteria import CRITERIA, criteria
from workbench.decide.decision import decide
from workbench.decide.payback import payback
from workbench.decide.power import items_needed
from workbench.decide.rules import RULES, VERDICTS, Reference, Rule
from workbench.decide.situation import (
    Situation,
    data_in,
    half_width,
    measured_in,
    questions,
    schema_of,
    situation,
)
from workbench.decide.wording import LABELS, Known
from workbench.errors import DataError

# A task that should be tuned: every rule before the last one says no.
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
ANOTHER = REASONING | {"reasoning_model": False, "demonstrations": 0}
UNABLE = REASONING | {"pass_rate": 0.0, "mixed_share": 0.0}
PREFERENCES = {"failures": {"style": 0.71, "format": 0.29}, "pairs": 500}
BOTH = {"failures": {"style": 0.3, "format": 0.3, "reasoning": 0.4}, "pairs": 500, "reasoning_model": False}
DOCUMENTS = {"private_knowledge": True, "gold_context_score": 0.6, "retrieval_in_place": True}
DOCUMENTS |= {"failures": {"context_misused": 0.5, "instruction": 0.5}}


def first_gate(**known: object) -> str:
    return decide(READY.but(**known)).matches[0].rule.id


def test_a_task_with_nothing_in_its_way_is_tuned_on_demonstrations():
    decision = decide(READY)
    assert (decision.verdict, decision.matches[0].rule.id) == ("sft", "G19")
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
        (
            "G13",
            "distil",
            SAVING | {"score": 0.7, "teacher_score": 0.85},
            SAVING | {"score": 0.7, "teacher_score": 0.84},
        ),
        # A larger model that is no better teaches nothing.
        ("G13", "distil", SAVING | {"teacher_score": 0.91}, SAVING | {"teacher_score": 0.90}),
        ("G20", "keep_prompting", {"months_of_service": 1.9}, {"months_of_service": 2.0}),
        ("G20", "keep_prompting", {"months_of_service": 0}, {"months_of_service": "unlimited"}),
        (
            "G4",
            "keep_prompting",
            SAVING | {"score": 0.5, "payback_months": "never"},
            SAVING | {"score": 0.5, "motive": "quality", "payback_months": "never"},
        ),
        ("G7", "not_yet_build_eval", {"eval_items": 25, "score": 0.88}, {"eval_items": 25, "score": 0.99}),
        ("G21", "keep_prompting", ANOTHER, ANOTHER | {"demonstrations": 50}),
        ("G14", "rft", REASONING, REASONING | {"pass_rate": 0.04}),
        ("G14", "rft", REASONING | {"pass_rate": 0.95}, REASONING | {"pass_rate": 0.96}),
        ("G14", "rft", REASONING, REASONING | {"mixed_share": 0.19}),
        ("G14", "rft", REASONING, REASONING | {"prompts": 99}),
        ("G14", "rft", REASONING, REASONING | {"failures": {"reasoning": 0.49, "format": 0.51}}),
        # What sampling found is too little to start from: examples first.
        ("G22", "stack_sft_rft", REASONING | {"pass_rate": 0.049}, REASONING),
        ("G22", "stack_sft_rft", REASONING | {"mixed_share": 0.19}, REASONING),
        ("G22", "stack_sft_rft", UNABLE, UNABLE | {"demonstrations": 49}),
        ("G22", "stack_sft_rft", UNABLE, UNABLE | {"prompts": 99}),
        ("G22", "stack_sft_rft", UNABLE, UNABLE | {"pass_rate": 0.96, "mixed_share": 0.0}),
        ("G22", "stack_sft_rft", UNABLE, UNABLE | {"grader_sound": False}),
        ("G14", "rft", REASONING | {"reasoning_model": False, "grader_trainable": True}, ANOTHER),
        ("G14", "rft", REASONING, REASONING | {"grader_sound": False}),
        ("G14", "rft", REASONING, REASONING | {"grader_trainable": False}),
        ("G21", "keep_prompting", ANOTHER, ANOTHER | {"grader_trainable": True}),
        # Preferences that cost too much of the task, and a model that does not follow the form yet.
        ("G23", "dpo", PREFERENCES | {"preference_cost": 0.051}, PREFERENCES | {"preference_cost": 0.05}),
        ("G23", "dpo", PREFERENCES | {"preference_cost": 0.36}, PREFERENCES),
        ("G15", "dpo", PREFERENCES | {"score": 0.32}, PREFERENCES | {"score": 0.31}),
        ("G16", "stack_sft_dpo", PREFERENCES | {"score": 0.31}, PREFERENCES | {"score": 0.32}),
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
    assert (decision.matches[0].rule.id, decision.verdict) == (gate, verdict)
    assert gate not in [match.rule.id for match in decide(READY.but(**teacher | just_not)).matches]


def test_a_judge_that_agrees_with_experts_is_as_good_as_a_program():
    judged = REASONING | {"grader": "judge", "agreement": 0.7}
    assert first_gate(**judged, judge_agreement=0.6) == "G14"
    assert first_gate(**judged, judge_agreement=0.59) == "G19"


def test_whether_a_model_can_be_trained_with_a_grader_counts_before_what_kind_it_is():
    unknown = REASONING | {"reasoning_model": None, "pass_rate": None}
    assert decide(READY.but(**unknown)).matches[0].missing == ("reasoning_model", "pass_rate")
    assert decide(READY.but(**unknown, grader_trainable=True)).matches[0].missing == ("pass_rate",)


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
    assert decision.next_measurement == (
        "measure the base model with its best prompt on 100 held-out questions or more (01_baseline)"
    )


def test_every_rule_that_holds_is_shown_with_its_values_and_source_but_for_the_last():
    decision = decide(READY.but(prompt_iterations=1, leaks=3))
    assert [match.rule.id for match in decision.matches] == ["G10", "G12", "G19"]
    assert [reason["gate"] for reason in decision.facts["reasons"]] == ["G10", "G12"]
    reason = decision.facts["reasons"][1]
    assert reason["values"] == {"contradictions": 0.0, "leaks": 3, "format_errors": 0}
    assert reason["source"].startswith("Microsoft, Azure OpenAI fine-tuning considerations, 26 Mar 2025")
    assert [reason["gate"] for reason in decide(READY).facts["reasons"]] == ["G19"]


def test_the_nearest_thresholds_that_would_lead_elsewhere_are_named_with_both_figures():
    assert decide(READY).would_change == (
        "If the score of the best prompt reached 85 % (now 50 %), you would keep the prompt as it is.",
        "If the number of examples with the right answer fell below 50 (now 400), you would collect more "
        "data "
        "first.",
        "If the days between two changes of the task fell below 30 (now 365), you would keep prompting: "
        "the task "
        "changes too fast to train for.",
        "If half of the failures lacked knowledge (now 0 %), you would add retrieval.",
    )
    assert decide(READY.but(prompt_iterations=1)).would_change[0] == (
        "If the score of the best prompt reached 85 % (now 50 %), you would keep the prompt as it is."
    )


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


def test_it_reads_as_a_verdict_a_reason_and_a_next_step():
    decision = decide(READY.but(leaks=3))
    assert repr(decision) == (
        "Not yet: repair the data first. The best prompt answers 50 % of 200 questions right, 35 points "
        "below "
        "the target of 85 %, but 3 examples are in the test as well. Next: Repair or remove these 3 rows "
        "(03_build_data, or python -m workbench fix), then run this again. After that: fine-tune on "
        "demonstrations (SFT)."
    )
    html = decision._repr_html_()
    assert html.startswith('<div class="mathjax_ignore" style="border:')
    assert "Not yet: repair the data first</p>" in html
    assert "<summary>The rules, in their order</summary><table class=" in html
    assert html.count("Not yet: repair the data first</p>") == 1
    held = html.partition("The rules that hold")[2].partition("</table>")[0]
    assert held.count('<th scope="row"') == 1  # of 23 rules; the others are folded


def test_its_facts_are_json():
    facts = decide(READY).facts
    assert json.loads(json.dumps(facts)) == facts
    assert set(facts) >= {
        "verdict",
        "title",
        "reason",
        "advice",
        "alternatives",
        "reasons",
        "strengths",
        "would_change",
        "next_measurement",
    }


def test_gates_name_fields_and_verdicts_that_exist():
    assert {name for rule in RULES for name in rule.reads.split()} <= set(questions())
    assert {rule.verdict for rule in RULES} == set(VERDICTS) - {"not_yet_find_out"}
    assert len({rule.id for rule in RULES}) == len(RULES) == 23
    assert set(LABELS) == set(questions())


def named_sources() -> list[Reference]:
    """Every source of the decision: of its rules, of the pages' criteria and of what the pages claim."""
    claims = criteria(READY).claims().claims
    found = [source for rule in RULES for source in rule.sources]
    found += [aspect.source for aspect in CRITERIA]
    return found + [source for claim in claims for source in (claim.page, *claim.sources)]


def test_every_source_has_an_address_and_a_date():
    assert len(named_sources()) > 50
    without = [each for each in named_sources() if not re.fullmatch(r"https://[a-z.]+/\S+", each.url)]
    assert without == []
    assert [each.title for each in named_sources() if not re.search(r"\b(19|20)\d\d\b", each.title)] == []


def test_every_rule_has_a_source_and_names_the_thresholds_that_are_our_own():
    assert [rule.id for rule in RULES if not rule.sources] == []
    own = {rule.id: rule.ours for rule in RULES if rule.ours}
    assert own == {
        "G7": "half of the half-width, and 10 points: ours",
        "G10": "two points: ours",
        "G20": "two months: ours",
        "G12": "the thresholds: ours",
        "G14": "0.2 mixed: ours",
        "G22": "0.2 mixed: ours",
        "G23": "five points: ours",
        "G15": "one answer in five out of form: ours",
        "G16": "one answer in five out of form: ours",
    }


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
        ({"payback_months": "soon"}, "payback_months is 'soon'; it should be a number, or \"never\"."),
        ({"payback_months": float("nan")}, "payback_months is nan; it should be 0 or more."),
        # As in a form where counts of two files were mixed up:
        (
            {"eval_items": 100, "demonstrations": 100, "leaks": 5000, "format_errors": 0},
            "leaks is 5,000: more than the 100 examples there are; count them again",
        ),
        (
            {"demonstrations": 100, "format_errors": 900},
            "format_errors is 900: more than the 100 examples there are",
        ),
        (
            {"pass_rate": 0.0, "mixed_share": 1.0},
            "pass_rate is 0, so no sample passes, and mixed_share is 1:",
        ),
        (
            {"pass_rate": 1.0, "mixed_share": 0.1},
            "pass_rate is 1, so every sample passes, and mixed_share is",
        ),
        ({"score": 1.0, "failures": {"format": 1.0}}, "score is 1, so nothing failed; leave failures out"),
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


def test_microsofts_criteria_are_answered_one_by_one():
    told = {each.name: answer for each, answer in criteria(READY.but(latency_objective_missed=True)).answers}
    assert told["latency is high"] is True
    assert told["the output is not steadily in the right format"] is True
    assert told["it fails on edge cases or exceptions"] is False
    assert told["a larger model's skill in a smaller one (efficiency, distillation)"] is None
    assert told["there is little data: hundreds of examples are advised"] is False
    assert len(told) == 16


def test_the_criteria_are_shown_with_their_sources(unstyled):
    html = unstyled(criteria(Situation())._repr_html_())
    assert "<td>not known</td><td>Microsoft, Fine-tune models with Azure AI Foundry, 31 Oct 2024</td>" in html


def test_what_the_pages_claim_stands_beside_what_is_known_and_what_was_measured(unstyled):
    measured = criteria(READY.but(pairs=0)).claims({"long_prompt": 475, "short_prompt": 35, "answer": 20})
    told = {claim.claim: claim for claim in measured.claims}
    assert len(told) == 9
    assert told["Fewer hallucinations"].known.startswith("Not by adding facts")
    assert told["Fewer hallucinations"].measured == "0 % of the failures lack knowledge."
    dpo = told["DPO is equally effective at alignment as reinforcement from human feedback"]
    assert (dpo.known.split(":")[0], dpo.measured) == ("Contested", "There are no pairs.")
    assert "from 0 to 100 % and the right answers from 92 to 56 % in 22 steps (measured on" in dpo.known
    assert "a shop's tone rose from 18 to at least 98 % of 120 tickets and the right team" in dpo.known
    assert told["Shorter prompts, which lead to cost savings"].measured == "475 prompt tokens become 35."
    assert told["Quicker responses"].measured == ""
    base = {"name": "large, best prompt", "prompt_tokens": 475, "completion_tokens": 20}
    base |= {"input_price": 2.0, "output_price": 8.0}
    own = base | {"name": "large, tuned", "prompt_tokens": 35, "training": 10_000}
    small = base | {
        "name": "small tuned in its place",
        "input_price": 0.1,
        "output_price": 0.3,
        "training": 10,
    }
    money = payback({"base": base, "ways": [own, small], "requests_per_month": 100_000})
    told = {claim.claim: claim for claim in criteria(READY).claims(None, money).claims}
    assert told["Shorter prompts, which lead to cost savings"].measured.startswith(
        "large, tuned does not pay:"
    )
    place = told["A smaller tuned model does what a larger one does"].measured
    assert place.startswith("small tuned in its place saves $")
    sources = [source for claim in measured.claims for source in (claim.page, *claim.sources)]
    assert all(source.url.startswith("https://") for source in sources)
    html = measured._repr_html_()
    assert '<a href="https://arxiv.org/abs/2405.05904">' in html
    assert '<a href="https://www.youtube.com/watch?v=0Jo-z-MFxJs">' in html


def test_not_yet_says_what_comes_after_as_far_as_that_can_be_told():
    assert decide(READY.but(leaks=3)).then == "sft"
    assert decide(READY.but(leaks=3, failures=None)).then is None
    assert decide(READY).then is None


def test_once_a_list_is_long_enough_its_own_method_follows():
    style = decide(READY.but(failures={"style": 1.0}, pairs=450, demonstrations=0))
    assert (style.advice, style.then) == (
        "Collect 50 more pairs: two answers to a question, and which is better.",
        "dpo",
    )
    reasoning = decide(READY.but(**REASONING | {"prompts": 40}, demonstrations=0))
    assert (reasoning.advice.split(":")[0], reasoning.then) == ("Collect 60 more prompts", "rft")
    plain = decide(READY.but(demonstrations=12))
    assert (plain.advice.split(":")[0], plain.then) == ("Collect 38 more examples", "sft")


def test_what_needs_no_training_is_not_stopped_by_what_training_needs():
    lacking = {"failures": {"missing_knowledge": 1.0}, "private_knowledge": True, "gold_context_score": 0.9}
    for stopped in ({"trainable": False}, {"task_changes_every_days": 7}, {"months_of_service": 0}):
        assert decide(READY.but(**lacking, **stopped)).verdict == "add_rag"
        assert first_gate(prompt_iterations=1, **stopped) == "G10"
    assert decide(READY.but(**lacking, trainable=None)).verdict == "add_rag"


def test_a_larger_model_that_nobody_measured_stops_only_a_case_that_misses_its_target():
    assert decide(READY.but(**SAVING)).verdict == "sft"
    short = decide(READY.but(**SAVING | {"score": 0.7}))
    assert (short.verdict, short.matches[0].missing) == ("not_yet_build_eval", ("teacher_score",))


def test_a_missing_look_up_is_named_as_one():
    unpriced = decide(READY.but(**SAVING | {"payback_months": None}))
    assert (unpriced.verdict, unpriced.title) == (
        "not_yet_find_out",
        "Not yet: look up the price of the model first",
    )
    assert unpriced.advice.startswith("Look up the price of the model (python -m workbench models NAME)")


def test_a_target_met_by_luck_asks_for_as_many_questions_as_the_power_table_says():
    lucky = decide(READY.but(target=0.9, score=0.92, eval_items=25))
    assert (lucky.title, lucky.then) == ("Not yet: test on more questions first", "keep_prompting")
    assert lucky.advice == (
        "Test on 130 more questions, 155 in all, which show a difference of 10 points where 25 show none "
        "below "
        "28.5 points."
    )
    assert items_needed(0.1) == 155
    assert first_gate(target=0.9, score=0.92, eval_items=155) == "G3"
    short = decide(READY.but(score=0.83)).advice
    assert short.startswith("Test on 426 more questions, 626 in all, which show a difference of 5 points")


def test_never_and_unlimited_are_values_in_files_and_pages():
    never = READY.but(motive="cost", payback_months="never", months_of_service="unlimited")
    assert (never.facts["payback_months"], never.facts["months_of_service"]) == ("never", "unlimited")
    assert json.loads(json.dumps(decide(never).facts))["verdict"] == "keep_prompting"
    assert decide(never).reason == (
        "The best prompt answers 50 % of 200 questions right, 35 points below the target of 85 %; cost "
        "is why "
        "you ask, but training never pays back."
    )


def test_an_opened_page_has_the_rules_and_all_that_was_known():
    page = decide(READY.but(leaks=3)).page
    assert page.startswith(
        "# Not yet: repair the data first\n\nThe best prompt answers 50 % of 200 questions"
    )
    assert "**After that:** fine-tune on demonstrations (SFT)." in page
    told = "60 % do something else than the prompt asks, 40 % have the wrong form"
    assert f"| What is wrong with the failures | {told} |" in page
    rules = page.partition("<summary>The rules, in their order</summary>")[2]
    assert "| two people agree on what is right by less than kappa 0.4 | no | " in rules
    assert "yes; the share of examples that contradict another one: 0 %; the number of examples" in rules


def test_a_score_of_nothing_is_said_in_words():
    assert decide(READY.but(score=0.0)).reason.startswith(
        "The best prompt answers none of 200 questions right,"
    )


def test_what_one_missing_fact_decides_is_said_as_what_follows_from_it():
    unlike = decide(READY.but(representative=None)).reason
    assert unlike.endswith(
        "One thing is missing, whether the examples are like the requests in use, and it decides: if the "
        "examples differ from the requests in use, the advice is to collect examples from real use first."
    )


def test_one_of_a_thing_is_counted_as_one():
    gain = decide(READY.but(shots_gain=0.01, more_shots_fit=True)).page
    assert "| The gain of the last doubling of examples in the prompt | 1 point |" in gain
    assert "(now 1 point)" in gain
    assert "your 1 example stays useful." in decide(READY.but(trainable=False, demonstrations=1)).advice


class Line(NamedTuple):
    """An entry of a record."""

    kind: str
    facts: dict[str, object]


BASELINE = Line("baseline", {"model": "nano", "evidence": {"score": 0.3, "eval_items": 120}})


def test_the_newest_measurements_on_record_are_what_is_known():
    rates = {"model": "nano", "reward": 0.03, "mixed": 0.1}
    checks = [{"name": "a grader to trust", "result": "passed"}]
    last = {"tone": 0.97, "team": -0.36}
    measures = {name: {"last_step": {"difference": value}} for name, value in last.items()}
    record = [
        BASELINE,
        Line("pass_rates", rates | {"reward": 0.5}),
        Line("pass_rates", rates),
        Line(
            "comparison", {"gate": {"checks": checks}, "forgetting": {"items": 400, "base": 160, "tuned": 40}}
        ),
        Line("preference", {"aim": "tone", "measures": measures}),
        Line("reinforcement", {"difference": 0.45, "grader_quality": {"result": "refused"}}),
    ]
    assert measured_in(record) == {
        "score": 0.3,
        "eval_items": 120,
        "pass_rate": 0.03,
        "mixed_share": 0.1,
        "grader_sound": False,
        "forgotten": 0.3,
        "preferred_gain": 0.97,
        "preference_cost": 0.36,
        "graded_gain": 0.45,
    }
    assert situation(measured_in(record)).preference_cost == 0.36


@pytest.mark.parametrize(("share", "known"), [(0.1, None), (0.3, 0.3)])
def test_a_lower_bound_of_the_mixed_share_below_a_fifth_is_not_known_to_be_too_little(share, known):
    rates = {"model": "nano", "reward": 0.5, "mixed": share, "mixed_at_least": True}
    assert measured_in([BASELINE, Line("pass_rates", rates)]).get("mixed_share") == known


def test_pass_rates_of_a_tuned_model_say_nothing_of_the_base():
    rates = {"mean": 0.6, "mixed_share": 0.5}
    assert (
        measured_in([BASELINE, Line("pass_rates", rates | {"model": "nano.ft-1"})])
        == BASELINE.facts["evidence"]
    )
    assert measured_in([BASELINE, Line("pass_rates", rates | {"model": "nano"})])["pass_rate"] == 0.6


def test_what_was_found_of_another_base_model_does_not_count():
    probed = {"items": 400, "base": 160, "tuned": 40}
    record = [BASELINE, Line("comparison", {"base_model": "SmolLM2", "forgetting": probed})]
    assert "forgotten" not in measured_in(record)
    other = {"model": "SmolLM2", "evidence": {"score": 0.6, "eval_items": 120}}
    assert measured_in([*record, Line("baseline", other)])["forgotten"] == 0.3
    record = [BASELINE, Line("reinforcement", {"base_model": "nano.ft-1", "difference": 0.2})]
    assert measured_in(record)["graded_gain"] == 0.2


def test_the_data_of_all_methods_count_together_the_newest_of_each():
    sound = {"contradictions": 0.0, "leaks": 0, "format_errors": 0}
    record = [
        Line("dataset", {"evidence": sound | {"demonstrations": 100, "leaks": 9}}),
        Line("dataset", {"evidence": sound | {"demonstrations": 421, "leaks": 1}}),
        Line("pairs", {"evidence": sound | {"pairs": 120, "contradictions": 0.02, "leaks": 2}}),
        Line("prompts", {"evidence": sound | {"prompts": 300}}),
        Line("decision", {"evidence": {"pairs": 9}}),
    ]
    assert data_in(record) == {
        "demonstrations": 421,
        "pairs": 120,
        "prompts": 300,
        "contradictions": 0.02,
        "leaks": 3,
        "format_errors": 0,
    }
    assert data_in([BASELINE]) == {}


def test_known_facts_are_shown_in_words_without_the_names_of_fields(unstyled):
    shown = Known({"score": 0.58, "prompt_iterations": 3, "more_shots_fit": True, "failures": {"style": 1.0}})
    assert repr(shown) == (
        "The score of the best prompt: 58 %\nThe number of prompts that were tried: 3\nWhether more examples "
        "fit into the prompt: yes\nWhat is wrong with the failures: 100 % have the wrong style"
    )
    assert '<th scope="row">The score of the best prompt</th><td>58 %</td>' in unstyled(shown._repr_html_())
    with pytest.raises(DataError, match=r"^score is 58; it should be 1 or less\.$"):
        repr(Known({"score": 58}))


def test_the_reward_of_a_grader_with_partial_credit_is_called_a_mean_reward():
    rates = {"reward": 0.04, "mixed": 0.5, "right_or_wrong": False}
    known = measured_in([BASELINE, Line("pass_rates", rates)])
    assert known["partial_credit"] is True
    assert "partial_credit" not in measured_in(
        [BASELINE, Line("pass_rates", rates | {"right_or_wrong": True})]
    )
    for partial, said in (
        (True, "the mean reward of the samples is 30 % of a full one, and"),
        (None, "30 % of the samples pass, and"),
    ):
        known = REASONING | {"teacher_score": 0.5, "pass_rate": 0.3, "partial_credit": partial}
        assert said in decide(READY.but(**known)).reason
    nothing = decide(READY.but(**UNABLE, teacher_score=0.5, partial_credit=True)).reason
    assert "the mean reward of the samples is 0 % of a full one, and where none is right" in nothing


def test_a_new_rule_is_an_entry_in_the_table(monkeypatch: pytest.MonkeyPatch):
    made_up = Rule(
        "X1",
        "keep_prompting",
        "fewer than 5 requests come a month",
        "requests_per_month",
        lambda s: None if s.requests_per_month is None else s.requests_per_month < 5,
        "Fewer than 5 requests come a month.",
        "Answer them by hand.",
        (Reference("A made-up source", "https://example.org"),),
    )
    monkeypatch.setattr(deciding, "RULES", (made_up, *RULES))
    found = decide(situation({"requests_per_month": 4}))
    assert (found.verdict, found.advice) == ("keep_prompting", "Answer them by hand.")
    assert found.reason == "Fewer than 5 requests come a month."
    assert "A made-up source" in found._repr_html_()
    assert decide(situation({"requests_per_month": 5})).verdict == "not_yet_build_eval"
