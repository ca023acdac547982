"""The decision: one verdict, its reason and next step, what else was weighed, and what would change it.

``decide`` guesses nothing. Where a rule hangs on something unknown, the verdict is "not yet" and names
the next measurement; measuring it and asking again is how a decision is reached. The page reads as a
colleague would write it; the rules, their sources and all that was known stand folded behind it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from math import ceil, inf

from workbench.decide.rules import PAID, RULES, SHORTEST_LIFE, VERDICTS, Rule
from workbench.decide.situation import Failure, Situation, Value, questions, short
from workbench.decide.ways import CLOSE, against, strengths
from workbench.decide.wording import (
    LABELS,
    collected,
    counted,
    filled,
    from_requests,
    high,
    low,
    paid_back,
    percent,
    points,
    preferences_so_far,
    standing,
    worded,
)
from workbench.display import bar, folded, table
from workbench.errors import DataError

_MODELS = "python -m workbench models"
_PRICE = (
    f"look up the price of the model ({_MODELS} NAME), then count the payback again (02_decide, or "
    "python -m workbench payback)"
)
_DATA = "check the examples against each other and against the test (03_build_data)"
_SAMPLES = "draw eight samples for each of 50 questions and grade them (09_reinforcement)"
# What to do to get to know a field, by its words in a title. The rest are questions that a person answers.
_MEASUREMENTS: Mapping[str, Mapping[str, str]] = {
    "build the evaluation": {
        "score": "measure the base model with its best prompt on 100 held-out questions or more "
        "(01_baseline)",
        "eval_items": "measure the base model on 100 held-out questions or more (01_baseline)",
    },
    "say who grades": {
        "grader": "name what is right: a program, a judge or people (grader in project.toml)",
    },
    "agree on what is right": {
        "agreement": "let two people judge the same 50 answers, and compute their kappa",
    },
    "test the judge": {"judge_agreement": "let experts and the judge score the same 50 answers"},
    "try more prompts": {
        "prompt_iterations": "write three prompts and measure each (01_baseline)",
        "shots_gain": "measure the prompt with two and with four examples in it (01_baseline)",
        "more_shots_fit": "count whether twice the examples fit into the prompt (01_baseline)",
    },
    "sort the failures": {
        "failures": "label {wrong} with what is wrong with each (01_baseline; JUDGE there lets a model "
        "do it)",
    },
    "paste the right passages in": {
        "gold_context_score": "put the right passage into the prompt of each question (gold in project.toml) "
        "and measure (01_baseline)",
    },
    "ask a larger model": {
        "teacher_score": "let a larger model answer the same {questions} (TEACHER in 01_baseline)",
    },
    "sample the answers": {"pass_rate": _SAMPLES, "mixed_share": _SAMPLES},
    "check the data": {"contradictions": _DATA, "leaks": _DATA, "format_errors": _DATA},
    "count the examples": {
        "demonstrations": "check how many examples have the right answer (03_build_data)",
    },
    "look up the price of the model": {"payback_months": _PRICE, "break_even_requests": _PRICE},
    "look up the model": {
        "months_of_service": f"look up when the base model is switched off ({_MODELS} NAME)",
        "reasoning_model": f"look up whether it is a reasoning model ({_MODELS} NAME)",
    },
    "find out who may train the model": {
        "trainable": f"look up whether the model can be fine-tuned, and by whom ({_MODELS} NAME); if only by "
        "existing customers, say whether you are one (EXISTING_CUSTOMER in 02_decide)",
    },
}
_OF_THE_DATA = "representative contradictions leaks format_errors demonstrations pairs prompts"
_TO_FIND_OUT = (
    "trainable reasoning_model months_of_service payback_months break_even_requests motive target "
    "requests_per_month latency_objective_missed task_changes_every_days private_knowledge retrieval_in_place"
)
_NEAREST = 4
_FRAME = (
    "border:1px solid color-mix(in srgb, currentColor 30%, transparent);border-left-width:6px;"
    "border-radius:4px;padding:.3em 1em;margin:.3em 0 .8em;max-width:52em"
)
_COLUMNS, _RULES = ("way", "strength", "why not"), ("if", "here", "then")


@dataclass(frozen=True)
class Match:
    """A rule that holds, or that cannot be answered yet, and the values it was asked with."""

    rule: Rule
    values: Mapping[str, Value]
    missing: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Where it leads; to "not yet" where something is missing."""
        if not self.missing:
            return self.rule.verdict
        if self.missing[0] in _TO_FIND_OUT.split():
            return "not_yet_find_out"
        return "not_yet_collect_data" if self.missing[0] in _OF_THE_DATA.split() else "not_yet_build_eval"


@dataclass(frozen=True, repr=False)
class Decision:
    """What to do, and why."""

    situation: Situation
    matches: tuple[Match, ...]
    """The rules that hold or cannot be answered yet, in their order; the first one decides."""
    strengths: Mapping[str, float]

    @property
    def verdict(self) -> str:
        """One of ``rules.VERDICTS``."""
        return self.matches[0].verdict

    @property
    def title(self) -> str:
        """The verdict in a line."""
        return self._titled(self.matches[0])

    @property
    def reason(self) -> str:
        """Why, in the figures of this situation."""
        first, s = self.matches[0], self.situation
        if not first.missing:
            return filled(first.rule.reason, s)
        way, unknown = first.rule.titled(s).removeprefix("Not yet: "), LABELS[first.missing[0]]
        found = f"{high(standing(s))}. One thing is missing, {unknown}, and it decides"
        return f"{found}: if {first.rule.condition}, the advice is to {low(way.split(':')[0])}."

    @property
    def advice(self) -> str:
        """The next step, with its size."""
        first = self.matches[0]
        if not first.missing:
            return filled(first.rule.step, self.situation)
        step = high(self._measure(first.missing[0])[1])
        return step if step.endswith("?") else f"{step}."

    @property
    def then(self) -> str | None:
        """Where it leads once "not yet" is dealt with, as far as that is known; else ``None``."""
        found = self._later
        return None if found is None else found.verdict

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Ways that are as well supported: within 15 points of the strongest."""
        if _is_not_yet(self.verdict) or self.verdict == "keep_prompting":
            return ()
        top = max([*self.strengths.values(), 0.0])
        close = [way for way, strength in self.strengths.items() if strength >= max(top - CLOSE, 30)]
        parts = self.verdict.removeprefix("stack_").split("_") if self.verdict.startswith("stack_") else []
        return tuple(way for way in close if way != self.verdict and way not in parts)

    @property
    def next_measurement(self) -> str | None:
        """The cheapest thing to do that would tell more; ``None`` when nothing is missing."""
        first = self.matches[0]
        if first.missing:
            return self._measure(first.missing[0])[1]
        if first.rule.id == "G1":
            return self._measure("score")[1]
        if self.alternatives:
            return "fine-tune on 50 examples and compare (04_launch, 06_evaluate): it separates the two ways"
        return None

    @property
    def would_change(self) -> tuple[str, ...]:
        """The thresholds that this situation is nearest to and that would lead elsewhere if crossed."""
        found = []
        for far, change, other in _crossings(self.situation):
            then = decide(other)
            if then.title != self.title and not then.matches[0].missing:
                found.append((far, f"If {change}, you would {low(then.title.removeprefix('Not yet: '))}."))
        return tuple(sentence for _, sentence in sorted(found)[:_NEAREST])

    @property
    def weighed(self) -> dict[str, str]:
        """What money, service life and latency say, each in a sentence."""
        s = self.situation
        close = [low(VERDICTS[way]) for way in self.alternatives]
        found = {"Money": _money(s), "Service life": _life(s), "Latency": _latency(s), **dict(_so_far(s))}
        if close:
            tells = "Training on 50 examples and comparing tells which is better"
            found["As well supported"] = f"{high(' or '.join(close))}. {tells}."
        return found

    @property
    def other_ways(self) -> dict[str, str]:
        """Why not each of the other ways."""
        chosen = {self.verdict, self.then}
        chosen |= {"sft"} if chosen & {"rag_plus_sft", "stack_sft_dpo", "stack_sft_rft"} else set()
        return {way: why for way, why in against(self.situation).items() if way not in chosen}

    @property
    def facts(self) -> dict[str, object]:
        """The decision as plain JSON, for the record and for ``--json``."""
        return {
            "verdict": self.verdict,
            "title": self.title,
            "reason": self.reason,
            "advice": self.advice,
            "then": self.then,
            "alternatives": list(self.alternatives),
            "weighed": self.weighed,
            "other_ways": self.other_ways,
            "reasons": [
                {
                    "gate": match.rule.id,
                    "verdict": match.verdict,
                    "condition": match.rule.condition,
                    "values": dict(match.values),
                    "missing": list(match.missing),
                    "source": "; ".join(
                        filter(None, (*(each.title for each in match.rule.sources), match.rule.ours))
                    ),
                }
                for match in self._shown
            ],
            "strengths": dict(self.strengths),
            "would_change": list(self.would_change),
            "next_measurement": self.next_measurement,
        }

    @property
    def brief(self) -> str:
        """The decision in Markdown as one would send it, without the rules."""
        lines = [f"# {self.title}", "", self.reason]
        lines += [f"\n**{when}:** {step}" for when, step in self._steps.items()]
        lines += ["", *(f"- **{name}.** {sentence}" for name, sentence in self.weighed.items())]
        for heading, items in self._lists:
            lines += ["", f"## {heading}", "", *(f"- {item}" for item in items)]
        return "\n".join(lines) + "\n"

    @property
    def page(self) -> str:
        """The decision on one page of Markdown, to file or to send; rules and facts are folded."""
        return self.brief + "".join(
            f"\n<details><summary>{title}</summary>\n\n{_in_markdown(columns, rows)}\n\n</details>\n"
            for title, columns, rows in self._details
        )

    def __repr__(self) -> str:
        """The verdict, its reason and the next step."""
        steps = (f"{when}: {step}" for when, step in self._steps.items())
        return " ".join((f"{self.title}.", self.reason, *steps))

    def card(self) -> str:
        """The verdict, its reason and the next step as HTML, in a frame."""
        steps = (f"<p><b>{when}:</b> {escape(step)}</p>" for when, step in self._steps.items())
        return (
            f'<div class="mathjax_ignore" style="{_FRAME}">'
            f'<p style="font-size:1.4em;font-weight:600;margin:0.2em 0">{escape(self.title)}</p>'
            f"<p>{escape(self.reason)}</p>{''.join(steps)}</div>"
        )

    def _repr_html_(self) -> str:
        others, chosen = self.other_ways, {self.verdict, self.then}
        ways: list[tuple[object, ...]] = [
            (
                VERDICTS[way],
                bar(strength / 100, f"{strength:.0f}"),
                "this is the advice" if way in chosen else others.get(way, ""),
            )
            for way, strength in self.strengths.items()
        ]
        ways += [(VERDICTS[way], "", why) for way, why in others.items() if way not in self.strengths]
        held = [
            (match.rule.condition, _answer(match), match.rule.titled(self.situation)) for match in self._shown
        ]
        changes = "".join(f"<li>{escape(each)}</li>" for each in self.would_change)
        known, rules, _ = self._details
        return "".join(
            (
                self.card(),
                table("", ("also weighed", "what it says"), self.weighed.items()),
                table("How strongly the evidence speaks for each way, from 0 to 100", _COLUMNS, ways),
                table("The rules that hold or wait for an answer; the first decides", _RULES, held),
                f'<div class="mathjax_ignore"><p><b>What would change it</b></p><ul>{changes}</ul></div>'
                if changes
                else "",
                *(folded(title, table("", columns, rows)) for title, columns, rows in (known, rules)),
            )
        )

    @property
    def _shown(self) -> tuple[Match, ...]:
        """The rules that are worth showing: the last one, which always holds, only where it decides."""
        return tuple(m for m in self.matches if m is self.matches[0] or m.rule is not RULES[-1])

    @property
    def _later(self) -> Match | None:
        if not _is_not_yet(self.verdict):
            return None
        if any(match.rule.id == "G17" and not match.missing for match in self.matches):
            other = decide(collected(self.situation))
            return other._later if _is_not_yet(other.verdict) else other.matches[0]
        later = next(match for match in self.matches if match.missing or not _is_not_yet(match.verdict))
        return None if later.missing else later

    @property
    def _steps(self) -> dict[str, str]:
        """What to do now, and what comes after it as far as that is known."""
        later = self._later
        return {"Next": self.advice} | ({"After that": f"{low(self._titled(later))}."} if later else {})

    @property
    def _lists(self) -> Iterator[tuple[str, list[str]]]:
        if others := self.other_ways:
            yield "Why not another way", [f"{_WAYS[way]}: {why}." for way, why in others.items()]
        if changes := list(self.would_change):
            yield "What would change it", changes

    @property
    def _details(self) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
        facts = self.situation.facts.items()
        known = [(high(LABELS[name]), worded(name, value)) for name, value in facts]
        yield "What was known", ("fact", "value"), known
        held = {match.rule.id: match for match in self._shown}
        rules = [
            (
                rule.condition,
                _answer(held.get(rule.id)),
                rule.titled(self.situation),
                "; ".join(filter(None, (*map(" ".join, rule.sources), rule.ours))),
            )
            for rule in RULES
        ]
        yield "The rules, in their order", ("if", "here", "then", "source"), rules
        ways = [(VERDICTS[way], f"{strength:.0f}") for way, strength in self.strengths.items()]
        yield "How strongly the evidence speaks for each way, from 0 to 100", ("way", "strength"), ways

    def _titled(self, match: Match) -> str:
        if not match.missing:
            return match.rule.titled(self.situation)
        return f"Not yet: {self._measure(match.missing[0])[0]} first"

    def _measure(self, name: str) -> tuple[str, str]:
        """What to do to get to know a field: in a title, and in full."""
        s = self.situation
        asked = f"answer it in 02_decide or project.toml: {questions()[name]}"
        known = ((title, fields[name]) for title, fields in _MEASUREMENTS.items() if name in fields)
        title, full = next(known, ("answer one question", asked))
        wrong = round((1 - (s.score or 0)) * (s.eval_items or 0))
        those = f"the {counted(wrong, 'failure')}" if 0 < wrong <= 50 else "50 failures"
        return title, full.format(wrong=those, questions=counted(s.eval_items or 0, "question"))


def decide(situation: Situation) -> Decision:
    """Say what to do in this situation, why, and what would change it."""
    matches, facts = [], situation.facts
    for rule in RULES:
        holds = rule.holds(situation)
        if holds is False:
            continue
        reads = list(_read(rule, situation))
        known = {name: facts[name] for name in reads if name in facts}
        missing = tuple(name for name in reads if name not in known) if holds is None else ()
        matches.append(Match(rule, known, missing))
    return Decision(situation, tuple(matches), strengths(situation))


def _read(rule: Rule, s: Situation) -> Iterator[str]:
    """The fields that matter here: a program needs no experts, and a known "can" no kind of model."""
    for name in rule.reads.split():
        if name == "reasoning_model" and s.grader_trainable is not None:
            yield "grader_trainable"
        elif name != "judge_agreement" or s.grader in (None, "judge"):
            yield name


# What could be otherwise: each figure with the thresholds at which a rule changes its answer.
_THRESHOLDS: tuple[tuple[str, float], ...] = (
    ("eval_items", 20),
    ("agreement", 0.4),
    ("judge_agreement", 0.6),
    ("prompt_iterations", 3),
    ("shots_gain", 0.02),
    ("task_changes_every_days", 30),
    ("pass_rate", 0.05),
    ("pass_rate", 0.951),
    ("mixed_share", 0.2),
    ("months_of_service", SHORTEST_LIFE),
    ("demonstrations", 50),
    ("pairs", 500),
    ("prompts", 100),
    ("contradictions", 0.0501),
    ("preference_cost", 0.0501),
    ("leaks", 1),
    ("format_errors", 1),
)
_KINDS: Mapping[str, tuple[Failure, ...]] = {
    "lacked knowledge": ("missing_knowledge", "retrieval_miss"),
    "were of style": ("style",),
    "were of reasoning": ("reasoning",),
    "misread what was retrieved": ("context_misused",),
}


def _crossings(s: Situation) -> Iterator[tuple[float, str, Situation]]:
    """How far each threshold is (0: here, 1: far), what would have to be so, and the situation if it were."""
    thresholds = list(_THRESHOLDS)
    if s.target is not None:
        score = s.score or 0
        thresholds += [("score", s.target), ("teacher_score", s.target)]
        thresholds += [("gold_context_score", score + 0.5 * (s.target - score))]
    if s.break_even_requests not in (None, inf):
        thresholds += [("requests_per_month", ceil(s.break_even_requests or 0))]
    for name, value in thresholds:
        now = getattr(s, name)
        if now is None or now == inf or value <= 0:
            continue
        falls, whole = now >= value, isinstance(now, int)
        if falls and name in ("eval_items", "prompt_iterations"):
            continue  # what was measured stays measured
        to = value if not falls else max(0, value - 1) if whole else value * 0.999
        moved = f"{'fell below' if falls else 'reached'} {worded(name, value)}"
        here = "" if worded(name, now) == worded(name, value) else f" (now {worded(name, now)})"
        far = abs(now - value) / max(now, value)
        with suppress(DataError):  # what cannot be is no way there
            yield far, f"{LABELS[name]} {moved}{here}", s.but(**{name: int(to) if whole else to})
    if s.grader_sound is False:
        yield 0.5, "the grader knew right answers from wrong ones", s.but(grader_sound=True)
    for what, kinds in _KINDS.items():
        now = s.failing(*kinds)
        if s.failures and now is not None and now < 0.5:
            half: dict[str, float] = {kinds[0]: 0.5}
            half |= {kind: share * 0.5 / (1 - now) for kind, share in s.failures.items() if kind not in kinds}
            other = s.but(failures=half)
            yield 1 - now / 0.5, f"half of the failures {what} (now {percent(now)})", other


_WAYS = {
    "add_rag": "Retrieval",
    "sft": "Demonstrations (SFT)",
    "dpo": "Preferences (DPO)",
    "rft": "A grader (RFT)",
    "distil": "Distillation",
}


def _money(s: Situation) -> str:
    if s.payback_months is None and s.break_even_requests is None:
        return f"Not known: look up the model's price ({_MODELS} NAME), then count the payback (02_decide)."
    enough, have = s.break_even_requests, s.requests_per_month
    # A model on one's own machine has no price: the figures are those of the cloud model of the payback.
    by = "by the prices of the payback, " if s.months_of_service == inf else ""
    if enough == inf or (s.payback_months == inf and enough is None):
        return high(f"{by}training never pays back by what it saves; only better answers can be worth it.")
    back = paid_back(s)
    parts = [back] if back else []
    if enough is not None:
        asked = "" if have is None else f", and you have {have:,}"
        parts.append(f"{'it' if back else 'training'} pays {from_requests(enough)}{asked}")
    few = enough is not None and have is not None and have < enough
    worth = "; better answers must be worth the rest" if few and s.motive == "quality" and short(s) else ""
    return high(f"{by}{'; '.join(parts)}{worth}.")


def _life(s: Situation) -> str:
    if s.months_of_service is None:
        return f"Not known: look up when the model is switched off ({_MODELS} NAME)."
    if s.months_of_service == inf:
        return "A tuned model stays as long as you keep it: it runs on a machine of your own."
    if s.months_of_service < 0.05:  # a day or so
        return "Models tuned from this one answer no more."
    return (
        f"A tuned model is served for {counted(round(s.months_of_service, 1), 'month')}; by then train it "
        f"again from another base."
    )


def _so_far(s: Situation) -> Iterator[tuple[str, str]]:
    """What trainings of this project brought, as far as that was measured."""
    if s.preferred_gain is not None or s.preference_cost is not None:
        yield "Preferences here", high(f"{preferences_so_far(s)}.")
    if s.graded_gain is not None:
        verb = "took" if s.graded_gain < 0 else "added"
        change = f"{verb} {points(s.graded_gain)} {'from' if s.graded_gain < 0 else 'to'} the score"
        yield "Grader here", f"The last training with a grader {change}."
    if s.forgotten is not None and s.forgotten <= PAID:
        lost = f"lost {points(s.forgotten)}" if s.forgotten > 0 else "lost nothing"
        yield "Forgetting", f"The last tuned model {lost} on general probes."
    elif s.forgotten is not None:
        yield (
            "Forgetting",
            f"The last tuned model lost {points(s.forgotten)} on general probes; if your users send anything "
            "beside the task, mix rows of the base model's own answers in (rehearsal, 03_build_data).",
        )


def _latency(s: Situation) -> str:
    if s.latency_objective_missed is None:
        return "Not known whether answers are fast enough (say so in the form, or in project.toml)."
    if not s.latency_objective_missed:
        return "Answers are fast enough."
    return (
        "Answers are slower than they may be; a shorter prompt helps little, because each token of the "
        "answer takes far longer than one of the prompt, so look at shorter answers and at a smaller model "
        "as well."
    )


def _in_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |".replace("\n", "; ") for cells in lines)


def _answer(match: Match | None) -> str:
    """Whether a rule holds, with the values that it was asked with."""
    if match is None:
        return "no"
    if match.missing:
        return f"not known: {', '.join(LABELS[name] for name in match.missing)}"
    return "\n".join(
        ["yes", *(f"{LABELS[name]}: {worded(name, value)}" for name, value in match.values.items())]
    )


def _is_not_yet(verdict: str) -> bool:
    return verdict.startswith("not_yet")
