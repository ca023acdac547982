"""The rules between a situation and a verdict, in their order, and what each says of this situation.

Each has its condition, the reason in the figures of the case, the next step with its size, and its source.
What needs no training (prompts, retrieval) is asked before what training needs (a model, money, data).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from workbench.decide import wording as say
from workbench.decide.situation import (
    Situation,
    Ternary,
    all_of,
    any_of,
    at_least,
    behaviour,
    below,
    gold_closes,
    half_width,
    met,
    money_decides,
    no,
    out_of_form,
    short,
    takes_a_grader,
    taste,
    to_save,
    trusted,
)

# The rules, asked in order: the first that is no plain "no" decides.
#
# A rule whose condition hangs on something unknown decides too: "not yet", with the measurement to make.
# The order and the thresholds follow Microsoft's concept pages (Fine-tune models with Azure AI Foundry,
# 31 Oct 2024; Fine-tuning considerations, 26 Mar 2025) and OpenAI's accuracy and fine-tuning guides; each
# rule names its own source, and says so where a threshold is ours.

VERDICTS: Mapping[str, str] = MappingProxyType(
    {
        "keep_prompting": "Keep prompting",
        "add_rag": "Add retrieval",
        "sft": "Fine-tune on demonstrations (SFT)",
        "dpo": "Fine-tune on preferences (DPO)",
        "rft": "Fine-tune with a grader (RFT)",
        "distil": "Distil a larger model into this one",
        "stack_sft_dpo": "Fine-tune on demonstrations, then on preferences (SFT, then DPO)",
        "stack_sft_rft": "Fine-tune on demonstrations, then with a grader (SFT, then RFT)",
        "rag_plus_sft": "Keep retrieval and fine-tune on using it (RAG + SFT)",
        "not_yet_build_eval": "Not yet: build the evaluation first",
        "not_yet_collect_data": "Not yet: collect or repair data first",
        "not_yet_find_out": "Not yet: find out first",
    }
)

SHORTEST_LIFE = 2.0
"""Months of service below which nothing is trained: ours; evaluating and rolling out take weeks."""


LUCKY = 0.1
"""Half an interval that is wider makes of a target that is just met a matter of luck: ours."""


PAID = 0.05
"""The share of the task's score that a training on preferences may take: ours."""


OUT_OF_FORM = 0.2
"""The share of answers in the wrong form from which demonstrations come before preferences: ours."""


class Reference(NamedTuple):
    """Who says so, and where."""

    title: str
    """With its date, or the day it was read where it bears none."""
    url: str


LEARN = "https://learn.microsoft.com/azure"
ARXIV = "https://arxiv.org/abs"
OPENAI = "https://developers.openai.com/api/docs/guides"
FOUNDRY = Reference(
    "Microsoft, Fine-tune models with Azure AI Foundry, 31 Oct 2024",
    f"{LEARN}/ai-studio/concepts/fine-tuning-overview",
)
CONSIDERATIONS = Reference(
    "Microsoft, Azure OpenAI fine-tuning considerations, 26 Mar 2025",
    f"{LEARN}/ai-services/openai/concepts/fine-tuning-considerations",
)
RETIREMENT = Reference(
    "Azure, model retirement schedule, 5 Oct 2026",
    f"{LEARN}/ai-foundry/openai/concepts/model-retirements",
)
ACCURACY = Reference("OpenAI, accuracy guide, read 22 Nov 2026", f"{OPENAI}/optimizing-llm-accuracy")
OPENAI_RFT = Reference(
    "OpenAI, reinforcement fine-tuning guide, read 22 Nov 2026", f"{OPENAI}/reinforcement-fine-tuning"
)
OPENAI_SFT = Reference(
    "OpenAI, supervised fine-tuning guide, read 22 Nov 2026", f"{OPENAI}/supervised-fine-tuning"
)
SKILL = Reference(
    "Microsoft, fine-tuning skill for Foundry, 20 Aug 2026", "https://github.com/microsoft/azure-skills"
)
GEKHMAN = Reference("Gekhman et al. 2024: tuning teaches new facts badly", f"{ARXIV}/2405.05904")
OVADIA = Reference("Ovadia et al. 2023: retrieval beats tuning for knowledge", f"{ARXIV}/2312.05934")
ZEPHYR = Reference("Zephyr 2023: DPO alone 4.76, SFT 6.64, both 7.00", f"{ARXIV}/2310.16944")
RAFT = Reference("RAFT 2024: training on retrieved context", f"{ARXIV}/2403.10131")
AZURE_RFT = Reference(
    "Azure, reinforcement fine-tuning, 5 Oct 2026",
    f"{LEARN}/ai-foundry/openai/how-to/reinforcement-fine-tuning",
)
DISPLACEMENT = Reference(
    "Razin et al. 2024: preferred answers become less likely, too", f"{ARXIV}/2410.08847"
)
AZURE_DPO = Reference(
    "Azure, direct preference optimization, 5 Oct 2026",
    f"{LEARN}/ai-foundry/openai/how-to/fine-tuning-direct-preference-optimization",
)
WILSON = Reference("Wilson 1927, and the power table (Connor 1987)", "https://doi.org/10.2307/2276774")


@dataclass(frozen=True)
class Rule:
    """One question to a situation."""

    id: str
    verdict: str
    condition: str
    """In words, for "if"."""
    reads: str
    """The names of the fields of the situation that it hangs on."""
    holds: Callable[[Situation], Ternary]
    reason: str
    """Why, with ``{phrases}`` in the figures of the situation (``wording``)."""
    step: str
    """What to do next, and how much of it."""
    sources: tuple[Reference, ...]
    title: str = ""
    """The verdict in the words of this rule; empty: those of ``VERDICTS``."""
    ours: str = ""
    """Which of its thresholds no source gives."""

    def titled(self, situation: Situation) -> str:
        """The verdict in a line, with what becomes of retrieval that is in place."""
        title = self.title or VERDICTS[self.verdict]
        if not situation.retrieval_in_place or self.verdict.startswith("not_yet"):
            return title
        if self.verdict == "add_rag":
            return "Keep retrieval, and repair it"
        if "etrieval" in title:
            return title
        verdict, colon, why = title.partition(": ")
        return f"{verdict}, and keep retrieval{colon}{why}"


# What the rules ask.


def _no_evaluation(s: Situation) -> Ternary:
    return s.score is None or s.eval_items is None or s.eval_items < 20


def _too_slow(s: Situation) -> Ternary:
    return all_of(None if s.motive is None else s.motive == "latency", s.latency_objective_missed)


def _within_noise(s: Situation) -> Ternary:
    """A score within half of its uncertainty of the target: above it only on a test that shows little."""
    width = half_width(s)
    if width is None or s.gap is None:
        return None
    if s.gap <= say.ROUNDING and width <= LUCKY:
        return False
    return below(abs(s.gap), width / 2)


def _lacks_knowledge(s: Situation) -> Ternary:
    lacking = at_least(s.failing("missing_knowledge", "retrieval_miss"), 0.5)
    gold = all_of(s.private_knowledge, at_least(gold_closes(s), 0.5))
    return all_of(short(s), any_of(lacking, gold))


def _prompt_unfinished(s: Situation) -> Ternary:
    gains = all_of(at_least(s.shots_gain, 0.02), s.more_shots_fit)
    return all_of(short(s), any_of(below(s.prompt_iterations, 3), gains))


def _paid_back_too_late(s: Situation) -> Ternary:
    if s.payback_months == inf:
        return money_decides(s)
    return all_of(money_decides(s), no(at_least(s.months_of_service, s.payback_months)))


def _too_few_requests(s: Situation) -> Ternary:
    return all_of(money_decides(s), below(s.requests_per_month, s.break_even_requests), no(_too_slow(s)))


def _unclean(s: Situation) -> Ternary:
    contradicts = None if s.contradictions is None else s.contradictions > 0.05
    return any_of(contradicts, at_least(s.leaks, 1), at_least(s.format_errors, 1))


def _distil(s: Situation) -> Ternary:
    """A larger model is a teacher where it meets the target and is better than the model itself.

    One that nobody measured stops only a case whose target is missed.
    """
    if s.teacher_score is None and met(s):
        return False
    better = None if s.teacher_score is None or s.score is None else s.teacher_score > s.score
    return all_of(at_least(s.teacher_score, s.target), better, to_save(s))


def _gradable(s: Situation) -> Ternary:
    return all_of(short(s), at_least(s.failing("reasoning"), 0.5), trusted(s), at_least(s.prompts, 100))


def _signal(s: Situation) -> Ternary:
    return all_of(at_least(s.pass_rate, 0.05), at_least(0.95, s.pass_rate), at_least(s.mixed_share, 0.2))


def _reinforce(s: Situation) -> Ternary:
    return all_of(takes_a_grader(s), _gradable(s), _signal(s))


def _reinforce_another(s: Situation) -> Ternary:
    return all_of(no(takes_a_grader(s)), _gradable(s), below(s.demonstrations, 50), _signal(s))


def _teach_then_reinforce(s: Situation) -> Ternary:
    """What sampling found is too little to start from, and examples can teach the first steps."""
    unmixed = all_of(at_least(0.95, s.pass_rate), below(s.mixed_share, 0.2))
    silent = any_of(below(s.pass_rate, 0.05), unmixed)
    return all_of(takes_a_grader(s), _gradable(s), silent, at_least(s.demonstrations, 50))


def _prefer(s: Situation) -> Ternary:
    """DPO alone: for style, and from a model that follows the form."""
    return all_of(short(s), taste(s), at_least(s.pairs, 500), below(out_of_form(s), OUT_OF_FORM))


def _prefer_again(s: Situation) -> Ternary:
    cost_too_much = s.preference_cost is not None and s.preference_cost > PAID + say.ROUNDING
    return all_of(cost_too_much, _prefer(s))


def _stack(s: Situation) -> Ternary:
    both = all_of(at_least(behaviour(s), 0.3), at_least(s.failing("style"), 0.3))
    form_first = all_of(taste(s), at_least(out_of_form(s), OUT_OF_FORM))
    return all_of(short(s), any_of(both, form_first), at_least(s.pairs, 500), at_least(s.demonstrations, 50))


def _use_of_context(s: Situation) -> Ternary:
    misuse = at_least(s.failing("context_misused", "format", "tool_use"), 0.5)
    return all_of(short(s), s.private_knowledge, s.retrieval_in_place, misuse)


RULES: tuple[Rule, ...] = (
    Rule(
        "G1",
        "not_yet_build_eval",
        "there is no score, or fewer than 20 questions stand behind it",
        "score eval_items",
        _no_evaluation,
        "{why_no_evaluation}.",
        "Measure the base model with its best prompt on 100 held-out questions or more (01_baseline).",
        (ACCURACY,),
    ),
    Rule(
        "G2",
        "not_yet_build_eval",
        "two people agree on what is right by less than kappa 0.4",
        "grader agreement",
        lambda s: all_of(None if s.grader is None else s.grader != "programmatic", below(s.agreement, 0.4)),
        "Two people agree on what is right by kappa {agreement} only; below 0.4 a score says little.",
        "Write down what is right and why, let two people judge the same 50 answers, and run this again.",
        (OPENAI_RFT, Reference("Landis & Koch 1977: 0.4 is moderate", "https://doi.org/10.2307/2529310")),
        title="Not yet: agree on what is right first",
    ),
    Rule(
        "G7",
        "not_yet_build_eval",
        "the score is so near the target that this test cannot show on which side it lies",
        "score target eval_items",
        _within_noise,
        "On {questions} a score of {score} may truly be anything from {score_interval}, and the "
        "target of {target} lies in between.",
        "{test_more}.",
        (WILSON,),
        ours="half of the half-width, and 10 points: ours",
        title="Not yet: test on more questions first",
    ),
    Rule(
        "G3",
        "keep_prompting",
        "the target is met, and neither cost nor latency is the reason to ask",
        "score target motive",
        lambda s: all_of(met(s), no(to_save(s))),
        "{standing}: it is good enough as it is.",
        "Put this prompt to use, and ask the {questions} again whenever the model or the task changes.",
        (ACCURACY,),
        title="Keep the prompt as it is",
    ),
    Rule(
        "G9",
        "add_rag",
        "most failures lack knowledge, or the right passage in the prompt closes half of the gap",
        "score target failures private_knowledge gold_context_score",
        _lacks_knowledge,
        "{standing}{fails}{gold}.",
        "{retrieve}.",
        (OVADIA, GEKHMAN),
    ),
    Rule(
        "G10",
        "keep_prompting",
        "fewer than three prompts were tried, or more examples in the prompt still help and fit",
        "score target prompt_iterations shots_gain more_shots_fit",
        _prompt_unfinished,
        "{standing}, and {why_prompt}.",
        "{better_prompt}.",
        (FOUNDRY,),
        ours="two points: ours",
        title="Keep prompting: the prompt can still be better",
    ),
    Rule(
        "G4",
        "keep_prompting",
        "training is paid back after the model is switched off, or never, and saving is the point",
        "score target motive payback_months months_of_service",
        _paid_back_too_late,
        "{standing}; {why_not_paid}.",
        "{cheaper}.",
        (FOUNDRY, RETIREMENT),
        title="Keep prompting: training would not pay",
    ),
    Rule(
        "G5",
        "keep_prompting",
        "there are too few requests for training and hosting to pay, and saving is the point",
        "score target motive requests_per_month break_even_requests latency_objective_missed",
        _too_few_requests,
        "{standing}; {why_not_paid}.",
        "{cheaper}.",
        (FOUNDRY,),
        title="Keep prompting: training would not pay",
    ),
    Rule(
        "G8",
        "keep_prompting",
        "the task becomes another one more often than every 30 days",
        "task_changes_every_days",
        lambda s: below(s.task_changes_every_days, 30),
        "{standing}, but the task becomes another one every {days}, and a tuned model would be out of "
        "date when "
        "it is ready.",
        "Change the prompt with the task; think of training once the task stands still for a month or more.",
        (SKILL,),
        title="Keep prompting: the task changes too fast to train for",
    ),
    Rule(
        "G6",
        "keep_prompting",
        "the model is closed to fine-tuning on every platform we may use",
        "trainable",
        lambda s: no(s.trainable),
        "{standing}, but this model cannot be fine-tuned where you may train.",
        "{another_model}.",
        (RETIREMENT,),
        title="Choose another base model",
    ),
    Rule(
        "G20",
        "keep_prompting",
        "a model tuned from this one would be served for less than two months",
        "months_of_service",
        lambda s: s.months_of_service is not None and s.months_of_service < SHORTEST_LIFE,
        "{standing}, but {why_life}.",
        "{another_model}.",
        (RETIREMENT,),
        ours="two months: ours",
        title="Choose another base model",
    ),
    Rule(
        "G11",
        "not_yet_collect_data",
        "the examples differ from the requests in use",
        "representative",
        lambda s: no(s.representative),
        "{standing}, but the examples differ from the requests in use, and a tuned model does what they do.",
        "Collect 50 to 100 questions from real use with their right answers, the base model's failures "
        "first.",
        (CONSIDERATIONS,),
        title="Not yet: collect examples from real use first",
    ),
    Rule(
        "G12",
        "not_yet_collect_data",
        "more than 5 % of the examples contradict each other, the test has leaked, or lines are refused",
        "contradictions leaks format_errors",
        _unclean,
        "{standing}, but {why_repair}.",
        "{repair}.",
        (CONSIDERATIONS,),
        ours="the thresholds: ours",
        title="Not yet: repair the data first",
    ),
    Rule(
        "G13",
        "distil",
        "a larger model meets the target and beats this one, and cost or latency is the reason to ask",
        "teacher_score score target motive",
        _distil,
        "{standing}; a larger model answers {teacher} right, and {motive} is why you ask.",
        "Let the larger model answer {to_answer} like those in use, keep the answers that the grader passes, "
        "train on them, then {same_test}.",
        (
            CONSIDERATIONS,
            Reference("OpenAI cookbook, read 22 Nov 2026", "https://github.com/openai/openai-cookbook"),
        ),
    ),
    Rule(
        "G14",
        "rft",
        "most failures are of reasoning, and a trusted grader finds right and wrong samples to learn from",
        "score target failures reasoning_model grader judge_agreement prompts pass_rate mixed_share",
        _reinforce,
        "{standing}{fails}, and a grader has something to choose from: {samples}, and "
        "{mixed} of the questions have both right and wrong ones.",
        "Try the grader on 50 answers that a person graded, train on the {prompts} (09_reinforcement), then "
        "{same_test}.",
        (OPENAI_RFT, AZURE_RFT),
        ours="0.2 mixed: ours",
    ),
    Rule(
        "G21",
        "keep_prompting",
        "most failures are of reasoning and can be graded, and this model cannot be trained with a grader",
        "score target failures reasoning_model grader prompts demonstrations pass_rate mixed_share",
        _reinforce_another,
        "{standing}{fails}; your {prompts} and the grader are what reinforcement (RFT) needs, but this model "
        "cannot be trained that way.",
        "Choose a reasoning model (python -m workbench models --method rft), and measure it on the same "
        "{questions} (01_baseline); prompts and grader stay as they are.",
        (OPENAI_RFT, AZURE_RFT),
        title="Choose another base model: one that can be trained with a grader (RFT)",
    ),
    Rule(
        "G22",
        "stack_sft_rft",
        "most failures are of reasoning and can be graded, but too few samples pass to start from, and "
        "there are demonstrations",
        "score target failures reasoning_model grader prompts pass_rate mixed_share demonstrations",
        _teach_then_reinforce,
        "{standing}{fails}; your {prompts} can be graded, but training with a grader cannot start: "
        "{why_no_start}. {examples} show how it is done.",
        "Train on the {examples} first (03_build_data, 04_launch), sample that model's answers, and once 5 "
        "to 95 % of them pass, go on from it with the grader (09_reinforcement); then {same_test}.",
        (OPENAI_RFT, AZURE_RFT),
        ours="0.2 mixed: ours",
    ),
    Rule(
        "G23",
        "dpo",
        "training on preferences took more than 5 points of the task's score here, and style is what fails",
        "preference_cost score target failures pairs",
        _prefer_again,
        "{standing}{fails}; {preferences_so_far}, and more than 5 points is too much.",
        "Train on the {pairs} again from the model before, and more gently (08_preferences): take an earlier "
        "checkpoint, halve the learning rate multiplier, or weigh the preferred answers' own likelihood in "
        "(chosen_likelihood, the local service's own); then judge style and task alike, and {same_test}.",
        (DISPLACEMENT, AZURE_DPO),
        title="Fine-tune on preferences again, and more gently (DPO)",
        ours="five points: ours",
    ),
    Rule(
        "G15",
        "dpo",
        "most failures are of style, few of behaviour or form, and there are 500 pairs",
        "score target failures pairs",
        _prefer,
        "{standing}{fails}, and {pairs} of a better and a worse answer show what you prefer.",
        "Train on the {pairs} (DPO, 08_preferences); it can cost right answers, so judge style and task "
        "alike, and {same_test}.",
        (AZURE_DPO,),
        ours="one answer in five out of form: ours",
    ),
    Rule(
        "G16",
        "stack_sft_dpo",
        "behaviour and style both fail, or style while one answer in five is out of form, and there are "
        "demonstrations and 500 pairs",
        "score target failures pairs demonstrations",
        _stack,
        "{standing}{fails}, and {examples} show the behaviour and {pairs} the style.",
        "Train on the {examples} first (04_launch), then on pairs of that model's own answers (DPO, "
        "08_preferences), then {same_test}.",
        (ZEPHYR,),
        ours="one answer in five out of form: ours",
    ),
    Rule(
        "G17",
        "not_yet_collect_data",
        "there are fewer than 50 examples, and too few pairs or prompts for another method",
        "demonstrations",
        lambda s: below(s.demonstrations, 50),
        "{standing}{fails}, and {why_collect}.",
        "{collect}.",
        (OPENAI_SFT, SKILL),
        title="Not yet: collect more data first",
    ),
    Rule(
        "G18",
        "rag_plus_sft",
        "the right documents are there, and the model misuses them, the form or the tools",
        "score target private_knowledge retrieval_in_place failures",
        _use_of_context,
        "{why_tune}.",
        "Put what retrieval finds into each of the {examples}, just as it stands in the prompt in use, "
        "train on them (04_launch), then {same_test}.",
        (RAFT, FOUNDRY),
    ),
    Rule(
        "G19",
        "sft",
        "none of the others decides",
        "score target failures demonstrations",
        lambda s: True,
        "{why_tune}.",
        "Train on the {examples} (03_build_data, 04_launch), then {same_test}.",
        (FOUNDRY,),
    ),
)
"""In the order in which they are asked; the last one always holds, and is shown only where it decides."""
