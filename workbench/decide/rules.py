"""The rules between a situation and a verdict, in their order, each with its source; and how near each is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log10
from types import MappingProxyType

from workbench.decide.situation import (
    FAILURES,
    Situation,
    Ternary,
    all_of,
    any_of,
    at_least,
    below,
    gold_closes,
    half_width,
    no,
    trusted,
)

# The gates between a situation and a verdict, asked in order: the first that is no plain "no" decides.
#
# A gate whose condition hangs on something unknown decides too: "not yet", with the measurement to make.
# The order and the thresholds follow Microsoft's concept pages (Fine-tune models with Azure AI Foundry,
# 31 Oct 2024; Fine-tuning considerations, 26 Mar 2025) and OpenAI's accuracy and fine-tuning guides; each
# gate names its own source, and says so where a threshold is ours.

VERDICTS: Mapping[str, str] = MappingProxyType(
    {
        "keep_prompting": "Keep prompting",
        "add_rag": "Add retrieval",
        "sft": "Fine-tune on demonstrations (SFT)",
        "dpo": "Fine-tune on preferences (DPO)",
        "rft": "Fine-tune with a grader (RFT)",
        "distil": "Distil a larger model into this one",
        "stack_sft_dpo": "Fine-tune on demonstrations, then on preferences (SFT, then DPO)",
        "rag_plus_sft": "Keep retrieval and fine-tune on using it (RAG + SFT)",
        "not_yet_build_eval": "Not yet: build the evaluation first",
        "not_yet_collect_data": "Not yet: collect or repair data first",
    }
)


@dataclass(frozen=True)
class Rule:
    """One question to a situation."""

    id: str
    verdict: str
    condition: str
    """In words, for "if"."""
    advice: str
    source: str
    reads: tuple[str, ...]
    """The fields of the situation it hangs on."""
    holds: Callable[[Situation], Ternary]


def _met(s: Situation) -> Ternary:
    return at_least(s.score, s.target)


def _to_save(s: Situation) -> Ternary:
    return None if s.motive is None else s.motive in ("cost", "latency")


def _short(s: Situation) -> Ternary:
    """Whether there is a gap that better answers could close."""
    return None if s.gap is None else s.gap > 0


def _behaviour(s: Situation) -> float | None:
    return s.failing("format", "instruction", "edge_case", "tool_use")


def _no_evaluation(s: Situation) -> Ternary:
    return s.score is None or s.eval_items is None or s.eval_items < 20


def _too_slow(s: Situation) -> Ternary:
    return all_of(None if s.motive is None else s.motive == "latency", s.latency_objective_missed)


def _within_noise(s: Situation) -> Ternary:
    width = half_width(s)
    return all_of(_short(s), below(s.gap, None if width is None else width / 2))


def _lacks_knowledge(s: Situation) -> Ternary:
    lacking = at_least(s.failing("missing_knowledge", "retrieval_miss"), 0.5)
    gold = all_of(s.private_knowledge, at_least(gold_closes(s), 0.5))
    return all_of(_short(s), any_of(lacking, gold))


def _prompt_unfinished(s: Situation) -> Ternary:
    gains = all_of(at_least(s.shots_gain, 0.02), s.more_shots_fit)
    return all_of(_short(s), any_of(below(s.prompt_iterations, 3), gains))


def _unclean(s: Situation) -> Ternary:
    contradicts = None if s.contradictions is None else s.contradictions > 0.05
    return any_of(contradicts, at_least(s.leaks, 1), at_least(s.format_errors, 1))


def _reinforce(s: Situation) -> Ternary:
    signal = all_of(at_least(s.pass_rate, 0.05), at_least(0.95, s.pass_rate), at_least(s.mixed_share, 0.2))
    able = all_of(s.reasoning_model, trusted(s), at_least(s.prompts, 100))
    return all_of(_short(s), at_least(s.failing("reasoning"), 0.5), able, signal)


def _preferences(s: Situation) -> Ternary:
    taste = all_of(at_least(s.failing("style"), 0.5), below(_behaviour(s), 0.3))
    return all_of(_short(s), taste, at_least(s.pairs, 500))


def _stack(s: Situation) -> Ternary:
    both = all_of(at_least(_behaviour(s), 0.3), at_least(s.failing("style"), 0.3))
    return all_of(_short(s), both, at_least(s.pairs, 500), at_least(s.demonstrations, 50))


def _use_of_context(s: Situation) -> Ternary:
    misuse = at_least(s.failing("context_misused", "format", "tool_use"), 0.5)
    return all_of(_short(s), s.private_knowledge, s.retrieval_in_place, misuse)


RULES: tuple[Rule, ...] = (
    Rule(
        "G1",
        "not_yet_build_eval",
        "there is no score, or fewer than 20 questions stand behind it",
        "Hold 100 questions or more back and measure the base model on them (01_baseline).",
        "OpenAI, accuracy guide: good evals first, 20 questions at the least",
        ("score", "eval_items"),
        _no_evaluation,
    ),
    Rule(
        "G2",
        "not_yet_build_eval",
        "two people agree on what is right by less than kappa 0.4",
        "Rewrite the rules of what is right until two careful people agree.",
        "OpenAI, RFT guide: a task on which careful people disagree is too fuzzy; 0.4: Landis & Koch 1977",
        ("grader", "agreement"),
        lambda s: all_of(None if s.grader is None else s.grader != "programmatic", below(s.agreement, 0.4)),
    ),
    Rule(
        "G3",
        "keep_prompting",
        "the target is met, and neither cost nor latency is the reason to ask",
        "Ship it with the best prompt.",
        "OpenAI, accuracy guide: the accuracy target is the objective",
        ("score", "target", "motive"),
        lambda s: all_of(_met(s), no(_to_save(s))),
    ),
    Rule(
        "G4",
        "keep_prompting",
        "the target is met, and the model is retired before training pays back",
        "Keep the prompt, or move to a base model that is served longer.",
        "Azure, model retirement schedule, 5 Oct 2026",
        ("score", "target", "motive", "payback_months", "months_of_service"),
        lambda s: all_of(_met(s), _to_save(s), no(at_least(s.months_of_service, s.payback_months))),
    ),
    Rule(
        "G5",
        "keep_prompting",
        "the target is met, and there are too few requests for the saving to pay for training and hosting",
        "Keep the prompt; look at prompt caching and at a cheaper base model first.",
        "Microsoft, Fine-tune models with Azure AI Foundry: with cost as the motive, proceed with caution",
        (
            "score",
            "target",
            "motive",
            "requests_per_month",
            "break_even_requests",
            "latency_objective_missed",
        ),
        lambda s: all_of(
            _met(s), _to_save(s), below(s.requests_per_month, s.break_even_requests), no(_too_slow(s))
        ),
    ),
    Rule(
        "G6",
        "keep_prompting",
        "the model cannot be fine-tuned on any platform we may use",
        "Choose another base model, one that can be trained and is served long enough.",
        "Azure, model retirement schedule, 5 Oct 2026",
        ("trainable",),
        lambda s: no(s.trainable),
    ),
    Rule(
        "G7",
        "not_yet_build_eval",
        "the gap to the target is smaller than half of the score's uncertainty",
        "Test on more questions: this test cannot tell whether the target is met.",
        "Wilson 1927; half of the half-width is our threshold",
        ("score", "target", "eval_items"),
        _within_noise,
    ),
    Rule(
        "G8",
        "keep_prompting",
        "the task becomes another one more often than every 30 days",
        "A prompt can be changed in a minute; a tuned model is out of date by then.",
        "Microsoft, fine-tuning skill, 20 Aug 2026: a task that keeps changing",
        ("task_changes_every_days",),
        lambda s: below(s.task_changes_every_days, 30),
    ),
    Rule(
        "G9",
        "add_rag",
        "most failures lack knowledge, or the right passage in the prompt closes half of the gap",
        "Put the knowledge into the prompt: retrieve documents, or mend the retrieval there is.",
        "Ovadia et al., arXiv 2312.05934; Gekhman et al., arXiv 2405.05904: tuning teaches new facts badly",
        ("score", "target", "failures", "private_knowledge", "gold_context_score"),
        _lacks_knowledge,
    ),
    Rule(
        "G10",
        "keep_prompting",
        "the prompt is not finished: fewer than three versions, or more examples in it still help and fit",
        "Go on with the prompt: it is the cheapest thing to change.",
        "Microsoft, Fine-tune models with Azure AI Foundry: begin with prompt engineering; two points: ours",
        ("score", "target", "prompt_iterations", "shots_gain", "more_shots_fit"),
        _prompt_unfinished,
    ),
    Rule(
        "G11",
        "not_yet_collect_data",
        "the examples are not like the requests in use",
        "Collect examples from real use; the failures of the base model are the best of them.",
        "Microsoft, Fine-tuning considerations, 26 Mar 2025: representative data of high quality",
        ("representative",),
        lambda s: no(s.representative),
    ),
    Rule(
        "G12",
        "not_yet_collect_data",
        "more than 5 % of the examples contradict each other, the test has leaked, or lines are refused",
        "Repair the data (03_build_data).",
        "Microsoft, Fine-tuning considerations, 26 Mar 2025; the thresholds are ours",
        ("contradictions", "leaks", "format_errors"),
        _unclean,
    ),
    Rule(
        "G13",
        "distil",
        "a larger model meets the target, and cost or latency is the reason to ask",
        "Let the larger model answer, keep what a grader passes, and train this one on it.",
        "Microsoft, Fine-tuning considerations: distillation; OpenAI cookbook, model distillation",
        ("teacher_score", "target", "motive"),
        lambda s: all_of(at_least(s.teacher_score, s.target), _to_save(s)),
    ),
    Rule(
        "G14",
        "rft",
        "most failures are of reasoning, and a trusted grader finds right and wrong samples to learn from",
        "Fine-tune with the grader; grade the grader first.",
        "OpenAI, RFT guide; Azure, reinforcement fine-tuning; 0.2 mixed is ours",
        (
            "score",
            "target",
            "failures",
            "reasoning_model",
            "grader",
            "judge_agreement",
            "prompts",
            "pass_rate",
            "mixed_share",
        ),
        _reinforce,
    ),
    Rule(
        "G15",
        "dpo",
        "most failures are of style, few of behaviour, and there are 500 pairs",
        "Fine-tune on the pairs.",
        "Azure, direct preference optimization, 5 Oct 2026",
        ("score", "target", "failures", "pairs"),
        _preferences,
    ),
    Rule(
        "G16",
        "stack_sft_dpo",
        "behaviour and style both fail, and there are demonstrations and 500 pairs",
        "Teach the behaviour first, then the taste.",
        "Zephyr, arXiv 2310.16944: DPO alone 4.76, SFT 6.64, both 7.00",
        ("score", "target", "failures", "pairs", "demonstrations"),
        _stack,
    ),
    Rule(
        "G17",
        "not_yet_collect_data",
        "there are fewer than 50 examples with the right answer",
        "Collect 50 to 100 good ones, the base model's failures first.",
        "OpenAI, fine-tuning guide: 50 to 100 examples; Microsoft, fine-tuning skill, 20 Aug 2026",
        ("demonstrations",),
        lambda s: below(s.demonstrations, 50),
    ),
    Rule(
        "G18",
        "rag_plus_sft",
        "the right documents are there, and the model misuses them, the form or the tools",
        "Keep retrieval, and train on examples that contain what is retrieved.",
        "RAFT, arXiv 2403.10131; Microsoft's own example, questions into GQL",
        ("score", "target", "private_knowledge", "retrieval_in_place", "failures"),
        _use_of_context,
    ),
    Rule(
        "G19",
        "sft",
        "nothing stands in the way",
        "Fine-tune on the demonstrations.",
        "Microsoft, Fine-tune models with Azure AI Foundry, 31 Oct 2024",
        ("score", "target", "failures", "demonstrations"),
        lambda s: True,
    ),
)
"""In the order in which they are asked."""

# How strongly the evidence speaks for each way, from 0 to 100.
#
# The gates decide. Strengths stand beside them and show how close another way comes; where two lie within
# 15 points, the cheapest experiment that separates them is worth its price. The formulas are ours.

CLOSE = 15.0
"""Two ways whose strengths lie no further apart than this are both worth a look."""


def strengths(situation: Situation) -> Mapping[str, float]:
    """Each way's strength; what is not known adds nothing to any."""
    s = situation
    fails = {kind: s.failing(kind) or 0.0 for kind in FAILURES}
    behaviour = fails["format"] + fails["instruction"] + fails["edge_case"] + fails["tool_use"]
    lacking = fails["missing_knowledge"] + fails["retrieval_miss"]
    enough = _clipped(log10(s.demonstrations / 10) / 2) if s.demonstrations else 0.0
    met = s.gap is not None and s.gap <= 0
    gold = _clipped(gold_closes(s) or 0.0) if s.private_knowledge else 0.0

    rft = 100 * fails["reasoning"] * _grading(s) * _signal(s)
    reasoning = 0.5 * fails["reasoning"] if rft < 10 else 0.0
    use = behaviour + 0.5 * fails["context_misused"] + 0.5 * fails["style"] + reasoning
    sft = 80 * enough if met else 100 * enough * _clipped(use)
    dpo = 100 * fails["style"] * _clipped((s.pairs or 0) / 500)
    found = {"add_rag": 100 * max(lacking, gold), "sft": sft, "dpo": dpo, "rft": rft, "distil": _teaching(s)}
    if sft >= 30 and dpo >= 30:
        found["stack_sft_dpo"] = min(100.0, max(sft, dpo) + 5)
    if s.retrieval_in_place and lacking < 0.5:
        context = fails["context_misused"] + fails["tool_use"] + fails["format"] + fails["edge_case"]
        found["rag_plus_sft"] = min(100.0, 100 * enough * _clipped(context) + 5)
    return {way: round(strength, 1) for way, strength in sorted(found.items(), key=lambda pair: -pair[1])}


def _clipped(value: float) -> float:
    return min(1.0, max(0.0, value))


def _grading(s: Situation) -> float:
    return 1.0 if trusted(s) else 0.0


def _signal(s: Situation) -> float:
    """How much reinforcement can learn from: most where half of the samples pass."""
    if s.pass_rate is None or s.mixed_share is None:
        return 0.0
    return 4 * s.pass_rate * (1 - s.pass_rate) * _clipped(s.mixed_share / 0.4)


def _teaching(s: Situation) -> float:
    if s.teacher_score is None or s.target is None or s.score is None or s.teacher_score < s.target:
        return 0.0
    return 100 * _clipped((s.teacher_score - s.score) / 0.1)
