"""The ways to better answers: what speaks against each here, and how strongly the evidence speaks for it.

Apart because nothing here decides: the rules do, and these sentences and figures stand beside the verdict.
"""

from collections.abc import Iterator, Mapping
from math import inf, log10

from workbench.decide.rules import OUT_OF_FORM, PAID
from workbench.decide.situation import (
    FAILURES,
    Situation,
    behaviour,
    gold_closes,
    met,
    out_of_form,
    takes_a_grader,
    to_save,
    trusted,
)
from workbench.decide.wording import NEEDED, percent, points, preferences_so_far, samples, too_few

# Why not each way: what is missing for it, in the figures of the situation.


def against(situation: Situation) -> Mapping[str, str]:
    """What speaks against each way of improving the answers; nothing where the target is met as it is."""
    s = situation
    if s.score is None or (met(s) and not to_save(s)):
        return {}
    found = {"add_rag": _not_rag, "sft": _not_sft, "dpo": _not_dpo, "rft": _not_rft, "distil": _not_distil}
    said = {way: ", and ".join(list(reasons(s))[:2]) for way, reasons in found.items()}
    return {way: why for way, why in said.items() if why}


def _missing(s: Situation, name: str) -> Iterator[str]:
    needed, thing, which, _ = NEEDED[name]
    have = getattr(s, name)
    if have is None:
        yield f"no {thing}s {which} are known"
    elif have < needed:
        yield too_few(s, name) if have else too_few(s, name).partition(" where ")[0]


def _share_of(s: Situation, words: str, *kinds: str) -> Iterator[str]:
    share = s.failing(*kinds)  # type: ignore[arg-type]
    if share is not None and share < 0.5:
        yield f"{percent(share) if share else 'none'} of the failures {words}"


def _not_rag(s: Situation) -> Iterator[str]:
    if s.retrieval_in_place:
        yield "it is in place, keep it"
    if s.gap is not None and s.gap <= 0:
        yield "nothing is missing to the target"
        return
    yield from _share_of(s, "lack knowledge", "missing_knowledge", "retrieval_miss")
    closes = gold_closes(s)
    if closes is not None and closes < 0.5:
        yield f"the right passage in the prompt closes {percent(max(0.0, closes))} of the gap"


def _not_sft(s: Situation) -> Iterator[str]:
    lacking = s.failing("missing_knowledge", "retrieval_miss") or 0
    if lacking >= 0.5 or (s.private_knowledge and (gold_closes(s) or 0) >= 0.5):
        yield "training teaches new facts badly"
    yield from _missing(s, "demonstrations")
    if s.trainable is False:
        yield "this model cannot be fine-tuned"
    if s.payback_months == inf and s.motive == "cost":
        yield "it does not pay back"


def _not_dpo(s: Situation) -> Iterator[str]:
    yield from _missing(s, "pairs")
    if s.preference_cost is not None and s.preference_cost > PAID:
        yield preferences_so_far(s)
    wrong = out_of_form(s) or 0
    if wrong >= OUT_OF_FORM and (s.failing("style") or 0) >= 0.3:
        yield f"{percent(wrong)} of the answers are out of form, and preferences teach no form"
    yield from _share_of(s, "are of style", "style")
    if (behaviour(s) or 0) >= 0.3:
        yield "behaviour comes first"


def _not_rft(s: Situation) -> Iterator[str]:
    if s.pass_rate is not None and s.pass_rate < 0.05:
        yield f"{samples(s)}, so there is nothing to reinforce"
    if s.pass_rate is not None and s.pass_rate > 0.95:
        yield f"{samples(s)} already"
    if s.grader_sound is False:
        yield "the grader took wrong answers for right ones when it was tried"
    elif s.grader == "judge" and not trusted(s):
        agrees = "nobody has compared it with experts"
        if s.judge_agreement is not None:
            agrees = f"it agrees with experts by {s.judge_agreement:.2g} where 0.6 are needed"
        yield f"the judge is not to be trusted yet: {agrees}"
    if s.grader == "people":
        yield "people grade, and training needs a program or a judge"
    if s.grader_trainable is False and s.reasoning_model is not False:
        yield "this model cannot be trained with a grader where you may train"
    elif takes_a_grader(s) is not True:
        known = s.reasoning_model is False
        yield "this is no reasoning model" if known else "only reasoning models can be trained that way"
    yield from _share_of(s, "are of reasoning", "reasoning")
    yield from _missing(s, "prompts")
    if s.mixed_share is not None and s.mixed_share < 0.2:
        yield f"only {percent(s.mixed_share)} of the questions have both right and wrong samples"


def _not_distil(s: Situation) -> Iterator[str]:
    if s.teacher_score is None:
        yield "no larger model was measured (TEACHER in 01_baseline)"
    elif s.target is not None and s.teacher_score < s.target:
        below_target = f"{points(s.target - s.teacher_score)} below the target"
        yield f"the larger model is at {percent(s.teacher_score)}, {below_target}"
    elif s.score is not None and s.teacher_score <= s.score:
        yield f"the larger model is no better: {percent(s.teacher_score)} against {percent(s.score)}"
    elif to_save(s) is False:
        yield f"quality is why you ask, and the larger model ({percent(s.teacher_score)}) could answer itself"


# How strongly the evidence speaks for each way, from 0 to 100.
#
# The rules decide. Strengths stand beside them and show how close another way comes; where two lie within
# 15 points, the cheapest experiment that separates them is worth its price. The formulas are ours.

CLOSE = 15.0
"""Two ways whose strengths lie no further apart than this are both worth a look."""


def strengths(situation: Situation) -> Mapping[str, float]:
    """Each way's strength; what is not known adds nothing to any."""
    s = situation
    fails = {kind: s.failing(kind) or 0.0 for kind in FAILURES}
    lacking = fails["missing_knowledge"] + fails["retrieval_miss"]
    enough = _clipped(log10(s.demonstrations / 10) / 2) if s.demonstrations else 0.0
    gold = _clipped(gold_closes(s) or 0.0) if s.private_knowledge else 0.0

    rft = 100 * fails["reasoning"] * _signal(s)
    reasoning = 0.5 * fails["reasoning"] if rft < 10 else 0.0
    use = (behaviour(s) or 0.0) + 0.5 * fails["context_misused"] + 0.5 * fails["style"] + reasoning
    sft = 80 * enough if s.gap is not None and s.gap <= 0 else 100 * enough * _clipped(use)
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


def _signal(s: Situation) -> float:
    """How much a trusted grader finds to learn from: most where half of the samples pass."""
    if s.pass_rate is None or s.mixed_share is None or not trusted(s):
        return 0.0
    return 4 * s.pass_rate * (1 - s.pass_rate) * _clipped(s.mixed_share / 0.4)


def _teaching(s: Situation) -> float:
    if s.teacher_score is None or s.target is None or s.score is None or s.teacher_score < s.target:
        return 0.0
    return 100 * _clipped((s.teacher_score - s.score) / 0.1)
