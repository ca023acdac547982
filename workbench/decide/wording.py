"""How a situation is put into words: its figures, the reasons and next steps of the rules, the distances.

Sentences are for people: percent and points, no names of fields, the size of what there is to do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isinf
from string import Formatter
from types import MappingProxyType
from typing import cast

from workbench.decide.power import detectable, items_needed
from workbench.decide.situation import (
    ENDLESS,
    Failure,
    Situation,
    Ternary,
    Value,
    at_least,
    gold_closes,
    interval,
    met,
    short,
    situation,
    takes_a_grader,
    taste,
    trusted,
)
from workbench.display import Facts

ROUNDING = 1e-9
SHOWN = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
"""The differences that a larger test may be sized for, the coarsest first."""

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "motive": "the reason to ask",
        "target": "the score that is good enough",
        "requests_per_month": "the requests a month",
        "latency_objective_missed": "whether answers are slower than they may be",
        "task_changes_every_days": "the days between two changes of the task",
        "eval_items": "the number of test questions",
        "score": "the score of the best prompt",
        "grader": "who says what is right",
        "agreement": "the agreement of two people on what is right (kappa)",
        "judge_agreement": "the agreement of the judge with experts",
        "grader_sound": "whether the grader knew right answers from wrong ones",
        "prompt_iterations": "the number of prompts that were tried",
        "shots_gain": "the gain of the last doubling of examples in the prompt",
        "more_shots_fit": "whether more examples fit into the prompt",
        "failures": "what is wrong with the failures",
        "private_knowledge": "whether answers need facts that the model cannot know",
        "gold_context_score": "the score with the right passage in the prompt",
        "retrieval_in_place": "whether documents are retrieved already",
        "trainable": "whether the model can be fine-tuned",
        "reasoning_model": "whether it is a reasoning model",
        "grader_trainable": "whether it can be trained with a grader",
        "teacher_score": "the score of a larger model",
        "pass_rate": "the share of samples that pass",
        "partial_credit": "whether the grader gives partial credit",
        "mixed_share": "the share of questions with both passing and failing samples",
        "months_of_service": "the months that a tuned model is served",
        "payback_months": "the months until training is paid back",
        "break_even_requests": "the requests a month from which training pays",
        "forgotten": "the loss of the last tuned model on general probes",
        "preferred_gain": "the gain of the last preference training in what it was for",
        "preference_cost": "the loss of the last preference training at the task",
        "graded_gain": "the gain of the last training with a grader",
        "demonstrations": "the number of examples with the right answer",
        "pairs": "the number of pairs of a better and a worse answer",
        "prompts": "the number of prompts for a grader",
        "representative": "whether the examples are like the requests in use",
        "contradictions": "the share of examples that contradict another one",
        "leaks": "the number of examples that are in the test as well",
        "format_errors": "the number of lines that a service refuses",
    }
)
"""What each field is, as the subject of a sentence."""
_FAILS: Mapping[Failure, str] = MappingProxyType(
    {
        "missing_knowledge": "lack knowledge",
        "retrieval_miss": "miss the right document",
        "context_misused": "misread what was retrieved",
        "format": "have the wrong form",
        "instruction": "do something else than the prompt asks",
        "style": "have the wrong style",
        "reasoning": "reason wrongly",
        "edge_case": "are unusual cases of what mostly goes right",
        "tool_use": "use tools wrongly",
    }
)


IN_PERCENT = {"target", "score", "gold_context_score", "teacher_score", "pass_rate"}
IN_PERCENT |= {"mixed_share", "contradictions"}
IN_POINTS = {"shots_gain", "forgotten", "preferred_gain", "preference_cost", "graded_gain"}
"""The fields that are shares, and those that are differences of shares."""


def percent(share: float) -> str:
    """``5.8 %``, ``70 %``."""
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def from_requests(number: float) -> str:
    """``from 1,000 requests a month``, ``from about 1.6 million requests a month``, or from the first."""
    if number >= 1e6:
        return f"from about {number / 1e6:,.1f} million requests a month"
    return f"from {number:,.0f} requests a month" if number >= 1 else "from the first request"


def counted(number: float, thing: str) -> str:
    """``1 example``, ``1,000 examples``, ``2.5 months``, ``no pairs``."""
    if number == 0:
        return f"no {thing}s"
    shown = f"{number:,.0f}" if number == round(number) or number >= 100 else f"{number:,.1f}"
    return f"{shown} {thing}{'' if shown == '1' else 's'}"


def points(share: float) -> str:
    """``79.2 points``, of the score."""
    return counted(round(100 * abs(share), 1), "point")


def joined(parts: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def yes_or_no(answer: Ternary) -> str:
    """``yes``, ``no`` or ``not known``."""
    return {True: "yes", False: "no", None: "not known"}[answer]


def worded(name: str, value: Value) -> str:
    """A value for people: shares in percent, counts with their commas, yes and no."""
    if isinstance(value, Mapping):
        kinds = sorted(value.items(), key=lambda pair: -pair[1])
        return ", ".join(f"{percent(share)} {_FAILS[cast(Failure, kind)]}" for kind, share in kinds if share)
    if isinstance(value, bool) or value is None:
        return yes_or_no(value)
    if isinstance(value, str):
        return value
    if isinf(value):
        return ENDLESS[name]
    if name in IN_POINTS:
        return counted(round(100 * value, 1), "point")
    if name in IN_PERCENT:
        return percent(value)
    return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:,.3g}"


@dataclass(frozen=True, repr=False)
class Known(Facts):
    """Fields of a situation, each in words, to be shown."""

    found: Mapping[str, Value]

    @property
    def facts(self) -> dict[str, str]:
        """What each field is, and its value; a field that is not known is left out."""
        found = situation(self.found).facts
        return {high(LABELS[name]): worded(name, value) for name, value in found.items()}


def filled(template: str, s: Situation) -> str:
    """A sentence of a rule with its ``{phrases}`` in the figures of this situation."""
    names = (name for _, name, _, _ in Formatter().parse(template) if name)
    found = template.format(**{name: PHRASES[name](s) for name in names})
    return high(found)


def high(text: str) -> str:
    """As a sentence begins."""
    return text[0].upper() + text[1:]


def low(text: str) -> str:
    """As it stands within a sentence."""
    return text[0].lower() + text[1:]


# The phrases of the rules: parts of their reasons and next steps.


def standing(s: Situation) -> str:
    """Where the best prompt stands beside the target."""
    if s.score is None:
        return "there is no score of the base model yet"
    on = f" of {questions(s)}" if s.eval_items else ""
    share = {0.0: "none", 1.0: "all"}.get(s.score, percent(s.score))
    found = f"the best prompt answers {share}{on} right"
    if s.gap is None or s.target is None:
        return found
    place = f"{points(s.gap)} below" if s.gap > ROUNDING else "which reaches"
    return f"{found}, {place} the target of {percent(s.target)}"


def questions(s: Situation) -> str:
    """``200 questions``: those behind the score."""
    return counted(s.eval_items or 0, "question")


def fails(s: Situation) -> str:
    """``; 60 % of the failures have the wrong form and 40 % lack knowledge``: the three kinds that matter."""
    kinds = sorted((s.failures or {}).items(), key=lambda pair: -pair[1])
    parts = [(percent(share), _FAILS[kind]) for kind, share in kinds if share >= 0.1][:3]
    if not parts:
        return ""
    (share, kind), *more = parts
    first = f"{'all' if share == '100 %' else f'{share} of the'} failures {kind}"
    return f"; {joined([first, *(f'{amount} {each}' for amount, each in more)])}"


def why_no_evaluation(s: Situation) -> str:
    """Why nothing can be compared yet."""
    if s.score is None or not s.eval_items:
        return "there is no score of the base model yet, so nothing that training could be compared with"
    return f"only {questions(s)} stand behind the score; fewer than 20 show next to nothing"


def score_interval(s: Situation) -> str:
    """The score's 95 % interval."""
    low, high = interval(s) or (0.0, 1.0)
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def test_more(s: Situation) -> str:
    """How many more questions show on which side of the target a score lies."""
    now, sizes = s.eval_items or 0, SHOWN if met(s) else SHOWN[1:]
    show, needed = next((d, n) for d in sizes if (n := items_needed(d)) > now)
    seen = detectable(now) if now else inf
    today = f"{now:,} show {f'none below {points(seen)}' if seen <= 1 else 'no difference at all'}"
    return (
        f"test on {needed - now:,} more questions, {needed:,} in all, which show a difference of "
        f"{points(show)} where {today}"
    )


def gold(s: Situation) -> str:
    """What the right passage in the prompt changes; empty where that was not measured."""
    closes = gold_closes(s)
    if s.gold_context_score is None or closes is None:
        return ""
    share = "all" if closes >= 1 else percent(max(0.0, closes))
    now = percent(s.gold_context_score)
    return f"; with the right passage in the prompt it answers {now} right, which closes {share} of the gap"


def retrieve(s: Situation) -> str:
    """How to bring knowledge in, or to repair how it is brought in."""
    if s.retrieval_in_place:
        number = round((1 - (s.score or 0)) * (s.eval_items or 0))
        wrong = f"the {counted(number, 'failure')}" if number <= 50 else f"50 of the {number:,} failures"
        return (
            f"compare for {wrong} the passage that was found with the one that was needed, repair the "
            "search, and measure again (01_baseline)"
        )
    return (
        "put the texts that hold the answers into one folder, name it as documents in project.toml, and "
        f"ask the same {questions(s)} again (01_baseline)"
    )


def why_prompt(s: Situation) -> str:
    """What has not been tried with the prompt."""
    if s.prompt_iterations == 0:
        return "no prompt has been tried yet"
    if s.prompt_iterations is not None and s.prompt_iterations < 3:
        tried = counted(s.prompt_iterations, "prompt")
        return f"only {tried} {'has' if s.prompt_iterations == 1 else 'have'} been tried"
    added = f"the last doubling of the examples in the prompt still added {points(s.shots_gain or 0)}"
    return f"{added} and more examples fit"


def better_prompt(s: Situation) -> str:
    """What to try next with the prompt."""
    if s.prompt_iterations is not None and s.prompt_iterations < 3:
        return f"write and measure {3 - s.prompt_iterations} more (01_baseline): nothing is cheaper to change"
    return "show twice as many examples (01_baseline), until a doubling adds less than 2 points"


def why_not_paid(s: Situation) -> str:
    """What the payback says."""
    parts = []
    if s.break_even_requests == inf or (s.payback_months == inf and s.break_even_requests is None):
        parts.append("training never pays back")
    elif back := paid_back(s):
        parts.append(back)
    have, enough = s.requests_per_month, s.break_even_requests
    if have is not None and enough is not None and have < enough < inf:
        what = "it" if parts else "training"
        parts.append(f"{what} pays {from_requests(enough)}, and you have {have:,}")
    return f"{s.motive} is why you ask, but {'; '.join(parts)}"


def cheaper(s: Situation) -> str:
    """What to do where training does not pay."""
    found = (
        "compare prompt caching, a cheaper base model and a smaller one tuned in its place with what you pay "
        "now (the costs in 02_decide)"
    )
    if s.gap is not None and s.gap > ROUNDING:
        missing = points(s.gap)
        return (
            f"{found}; if the {missing} to the target matter more than cost, ask again with quality as motive"
        )
    return found


def another_model(s: Situation) -> str:
    """How to go on with another base model."""
    stay = "stays" if s.demonstrations == 1 else "stay"
    keep = f"; your {examples(s)} {stay} useful" if s.demonstrations else ""
    return (
        "choose a model that can be trained and is served for a year or more (python -m workbench models), "
        f"and ask it the same {questions(s)} (01_baseline){keep}"
    )


def why_life(s: Situation) -> str:
    """How long a tuned model would be served."""
    left = s.months_of_service or 0.0
    if left < 0.05:
        return "models tuned from this one are switched off now"
    return f"models tuned from this one are switched off in {counted(round(left, 1), 'month')}"


def why_repair(s: Situation) -> str:
    """What is wrong with the data."""
    faults = []
    if s.leaks:
        faults.append(f"{counted(s.leaks, 'example')} {'is' if s.leaks == 1 else 'are'} in the test as well")
    if s.format_errors:
        faults.append(f"a service would refuse {counted(s.format_errors, 'line')}")
    if s.contradictions is not None and s.contradictions > 0.05:
        faults.append(f"{percent(s.contradictions)} of the examples contradict another one")
    return joined(faults)


def repair(s: Situation) -> str:
    """What to do about the data."""
    rows = (s.leaks or 0) + (s.format_errors or 0)
    these = "the contradictions" if not rows else "this row" if rows == 1 else f"these {rows:,} rows"
    return f"repair or remove {these} (03_build_data, or python -m workbench fix), then run this again"


def same_test(s: Situation) -> str:
    """The test after training, and what it can show."""
    if not s.eval_items:
        return "test on the same questions (06_evaluate)"
    seen = detectable(s.eval_items)
    shows = f", which show a difference of {points(seen)} or more" if seen <= 1 else ""
    return f"test on the same {questions(s)} (06_evaluate){shows}"


def why_tune(s: Situation) -> str:
    """Why examples help."""
    if s.gap is not None and s.gap <= ROUNDING:
        back = f"; {paid}" if (paid := paid_back(s)) else ""
        return (
            f"{standing(s)}; {s.motive} is why you ask, and a tuned model may do the same with a shorter "
            f"prompt{back}"
        )
    have = f", and you have {s.demonstrations:,} of them" if s.demonstrations else ""
    kinds, can = fails(s), ", which examples can correct"
    if at_least(s.failing("reasoning"), 0.5):
        can = "; examples that show the steps to the answer can help"
        have = f", and you have {examples(s)} to start from"
    return f"{standing(s)}{f'{kinds}{can}' if kinds else ''}{have}"


def samples(s: Situation, whose: str = "the") -> str:
    """What samples earn: how many pass, or the mean reward of a grader that gives partial credit."""
    if s.partial_credit:
        return f"the mean reward of {whose} samples is {percent(s.pass_rate or 0)} of a full one"
    return f"{percent(s.pass_rate) if s.pass_rate else 'none'} of {whose} samples pass"


def why_no_start(s: Situation) -> str:
    """Why a training with a grader finds nothing to learn from."""
    if s.pass_rate is not None and s.pass_rate < 0.05:
        return f"{samples(s)}, and where none is right there is nothing to reinforce"
    return f"only {percent(s.mixed_share or 0)} of the questions have both right and wrong samples"


def preferences_so_far(s: Situation) -> str:
    """What the last training on preferences brought, and what it took."""
    parts = []
    if s.preferred_gain is not None:
        verb = "took" if s.preferred_gain < 0 else "added"
        parts.append(f"{verb} {points(s.preferred_gain)} in what it was for")
    if s.preference_cost is not None:
        verb = "took" if s.preference_cost >= 0 else "added"
        parts.append(f"{verb} {points(s.preference_cost)} of the task's score")
    return f"the last training on preferences {joined(parts)}"


def paid_back(s: Situation) -> str:
    """``training is paid back after 2 months of the 24 that the model is served``; empty where it is not."""
    if s.payback_months is None or s.payback_months == inf:
        return ""
    back = round(s.payback_months, 1)
    after = f"after {counted(back, 'month')}" if back else "at once"
    found = f"training is paid back {after}"
    if s.months_of_service in (None, inf):
        return found
    left = round(s.months_of_service or 0, 1)
    if left and left >= s.payback_months:
        return f"{found} of the {left:,g} that the model is served" if back else found
    when = f"switched off after {counted(left, 'month')}" if left else "switched off already"
    return f"{found}, and the model is {when}"


def examples(s: Situation) -> str:
    """``400 examples``, or ``examples`` where there are none."""
    return counted(s.demonstrations, "example") if s.demonstrations else "examples"


NEEDED: Mapping[str, tuple[int, str, str, str]] = MappingProxyType(
    {
        "demonstrations": (
            50,
            "example",
            "with the right answer",
            "the questions that the base model gets wrong first (01_baseline lists them)",
        ),
        "pairs": (
            500,
            "pair",
            "of a better and a worse answer",
            "two answers to a question, and which is better",
        ),
        "prompts": (
            100,
            "prompt",
            "that a grader can score",
            "questions from real use, with what the grader needs",
        ),
    }
)
"""How much of which data a method needs (OpenAI's guides; Microsoft's fine-tuning skill, 20 Aug 2026)."""


def _nearest_list(s: Situation) -> str:
    """Which list is nearest to being long enough, of the short ones that the failures ask for."""
    asked = ["demonstrations"]
    if short(s) and taste(s):
        asked.append("pairs")
    graded = trusted(s) and takes_a_grader(s) is not False
    if short(s) and at_least(s.failing("reasoning"), 0.5) and graded:
        asked.append("prompts")
    filled = {name: (getattr(s, name) or 0) / NEEDED[name][0] for name in asked}
    return max((name for name in asked if filled[name] < 1), key=lambda name: filled[name])


def why_collect(s: Situation) -> str:
    """What there is too little of."""
    return too_few(s, _nearest_list(s))


def too_few(s: Situation, name: str) -> str:
    """``there are 12 examples with the right answer where 50 are needed``."""
    needed, thing, which, _ = NEEDED[name]
    have = getattr(s, name) or 0
    return f"there {'is' if have == 1 else 'are'} {counted(have, thing)} {which} where {needed} are needed"


def collected(s: Situation) -> Situation:
    """The same situation once that list is long enough."""
    name = _nearest_list(s)
    return s.but(**{name: NEEDED[name][0]})


def collect(s: Situation) -> str:
    """How much more to collect, and of what."""
    name = _nearest_list(s)
    needed, thing, _, how = NEEDED[name]
    return f"collect {counted(needed - (getattr(s, name) or 0), f'more {thing}')}: {how}"


_FUNCTIONS: tuple[Callable[[Situation], str], ...] = (another_model, better_prompt, cheaper, collect)
_FUNCTIONS += (examples, fails, gold, questions, repair, retrieve)
_FUNCTIONS += (same_test, score_interval, standing, test_more, why_collect, why_life, why_no_evaluation)
_FUNCTIONS += (preferences_so_far, samples, why_no_start, why_not_paid, why_prompt, why_repair, why_tune)
PHRASES: Mapping[str, Callable[[Situation], str]] = MappingProxyType(
    {each.__name__: each for each in _FUNCTIONS}
    | {
        "agreement": lambda s: f"{s.agreement:.2g}",
        "days": lambda s: counted(s.task_changes_every_days or 0, "day"),
        "mixed": lambda s: percent(s.mixed_share or 0),
        "motive": lambda s: str(s.motive),
        "pairs": lambda s: counted(s.pairs or 0, "pair"),
        "prompts": lambda s: counted(s.prompts or 0, "prompt"),
        "score": lambda s: percent(s.score or 0),
        "target": lambda s: percent(s.target or 0),
        "teacher": lambda s: percent(s.teacher_score or 0),
        "to_answer": lambda s: counted(s.demonstrations or 500, "question"),
    }
)
"""What stands in the sentences of the rules, by name."""
