"""The decision: one verdict, every rule that matched, and what would change it.

``decide`` guesses nothing. Where a gate hangs on something unknown, the verdict is "not yet" and names
the next measurement; measuring it and asking again is how a decision is reached.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.decide.rules import CLOSE, RULES, VERDICTS, Rule, strengths
from workbench.decide.situation import Situation, Value, questions
from workbench.display import table

# What to do to get to know a field; the cheapest way first. The rest are questions that a person answers.
_MEASUREMENTS: Mapping[str, str] = {
    "score": "measure the base model with its best prompt (01_baseline)",
    "eval_items": "measure the base model on held-out questions (01_baseline)",
    "agreement": "let two people judge the same 50 answers, and compute their kappa",
    "judge_agreement": "let experts and the judge score the same 50 answers",
    "prompt_iterations": "write three versions of the prompt and measure each (01_baseline)",
    "shots_gain": "measure the prompt with k and with 2k examples in it (01_baseline)",
    "failures": "read 50 failures and label each with its kind (01_baseline)",
    "gold_context_score": "paste the right passage into the prompts of the failures and measure again",
    "teacher_score": "ask a larger model the same questions (01_baseline)",
    "pass_rate": "draw eight samples for each of 50 questions and grade them",
    "mixed_share": "draw eight samples for each of 50 questions and grade them",
    "contradictions": "check the examples (03_build_data)",
    "leaks": "check the examples against the test (03_build_data)",
    "format_errors": "check the examples (03_build_data)",
    "payback_months": "compute the payback from the prices and the number of requests",
    "break_even_requests": "compute the payback from the prices and the number of requests",
    "months_of_service": "look up the retirement date of the base model in the catalogue",
    "trainable": "look the model up in the catalogue",
}
_PAGE = """# {title}

Because {because}.

{advice}

{then}Next measurement: {measurement}.

## Every rule that holds

{also}

## What would change it

{changes}

## Strengths, from 0 to 100

| way | strength |
| --- | --- |
{strengths}

## What was known

| fact | value |
| --- | --- |
{known}
"""
_OF_THE_DATA = ("representative", "contradictions", "leaks", "format_errors", "demonstrations", "pairs")


@dataclass(frozen=True)
class Match:
    """A gate that holds, or that cannot be told, and the values it was asked with."""

    gate: Rule
    values: Mapping[str, Value]
    missing: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Where it leads; to "not yet" where it cannot be told."""
        if not self.missing:
            return self.gate.verdict
        of_the_data = all(name in _OF_THE_DATA for name in self.missing)
        return "not_yet_collect_data" if of_the_data else "not_yet_build_eval"

    def __str__(self) -> str:
        """The rule and its values in a sentence."""
        if self.missing:
            return f"it cannot be told whether {self.gate.condition}: {', '.join(self.missing)} not known"
        values = ", ".join(f"{name} {_shown(value)}" for name, value in self.values.items())
        return f"{self.gate.condition}{f' ({values})' if values else ''}"


@dataclass(frozen=True, repr=False)
class Decision:
    """What to do, and why."""

    situation: Situation
    matches: tuple[Match, ...]
    """The gates that hold or cannot be told, in their order; the first one decides."""
    strengths: Mapping[str, float]

    @property
    def verdict(self) -> str:
        """One of ``gates.VERDICTS``."""
        return self.matches[0].verdict

    @property
    def then(self) -> str | None:
        """Where it leads once "not yet" is dealt with, as far as that can be told; else ``None``."""
        if not _is_not_yet(self.verdict):
            return None
        later = next(match for match in self.matches if match.missing or not _is_not_yet(match.verdict))
        return None if later.missing else later.verdict

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Ways that are as well supported: within 15 points of the strongest, or the next gate's."""
        if _is_not_yet(self.verdict) or self.verdict == "keep_prompting":
            return ()
        top = max([*self.strengths.values(), 0.0])
        close = [way for way, strength in self.strengths.items() if strength >= max(top - CLOSE, 30)]
        return tuple(way for way in close if way != self.verdict)

    @property
    def next_measurement(self) -> str | None:
        """The cheapest thing to do that would tell more; ``None`` when nothing is missing."""
        missing = self.matches[0].missing
        if missing:
            name = missing[0]
            return _MEASUREMENTS.get(name, f"answer the question: {questions()[name]}")
        if self.matches[0].gate.id == "G1":
            return _MEASUREMENTS["score"]
        if self.alternatives:
            return "fine-tune on 50 examples and compare (04_launch, 06_evaluate): it separates the two ways"
        return None

    @property
    def would_change(self) -> tuple[str, ...]:
        """What, if it were so, would lead elsewhere: the gates before the one that decided."""
        first = self.matches[0].gate
        before = RULES[: RULES.index(first)]
        return tuple(f"If {gate.condition}: {_low(VERDICTS[gate.verdict])}." for gate in before)

    @property
    def facts(self) -> dict[str, object]:
        """The decision as plain JSON, for the record and for ``--json``."""
        return {
            "verdict": self.verdict,
            "title": VERDICTS[self.verdict],
            "advice": self.advice,
            "then": self.then,
            "alternatives": list(self.alternatives),
            "reasons": [
                {
                    "gate": match.gate.id,
                    "verdict": match.verdict,
                    "condition": match.gate.condition,
                    "values": dict(match.values),
                    "missing": list(match.missing),
                    "source": match.gate.source,
                }
                for match in self.matches
            ],
            "strengths": dict(self.strengths),
            "would_change": list(self.would_change),
            "next_measurement": self.next_measurement,
        }

    @property
    def advice(self) -> str:
        """What to do first."""
        first = self.matches[0]
        if not first.missing:
            return first.gate.advice
        return f"Find out first: {' '.join(questions()[name] for name in first.missing)}"

    @property
    def page(self) -> str:
        """The decision on one page of Markdown, to file or to send."""
        known = "\n".join(f"| {name} | {_shown(value)} |" for name, value in self.situation.facts.items())
        also = "\n".join(
            f"- {match.gate.id}: {match} ({VERDICTS[match.verdict]}; {match.gate.source})"
            for match in self.matches
        )
        strong = "\n".join(
            f"| {VERDICTS[way]} | {strength:.0f} |" for way, strength in self.strengths.items()
        )
        return _PAGE.format(
            title=VERDICTS[self.verdict],
            because=self.matches[0],
            advice=self.advice,
            then=f"After that: {VERDICTS[self.then]}.\n\n" if self.then else "",
            measurement=self.next_measurement or "nothing that decides is unknown",
            also=also,
            changes="\n".join(f"- {change}" for change in self.would_change) or "- nothing",
            strengths=strong,
            known=known,
        )

    def __repr__(self) -> str:
        """The verdict and its reason."""
        then = f" After that: {VERDICTS[self.then]}." if self.then else ""
        return f"{VERDICTS[self.verdict]}, because {self.matches[0]}. {self.advice}{then}"

    def summary(self) -> str:
        """The verdict and its reason as an HTML table, without the rules that do not hold."""
        first = self.matches[0]
        rows = [
            ("verdict", VERDICTS[self.verdict]),
            ("because", f"{first} [{first.gate.id}: {first.gate.source}]"),
            ("do", self.advice),
            ("after that", VERDICTS[self.then] if self.then else ""),
            ("next measurement", self.next_measurement or "none: nothing that decides is unknown"),
            ("as well supported", ", ".join(VERDICTS[way] for way in self.alternatives)),
            ("strengths", ", ".join(f"{way} {strength:.0f}" for way, strength in self.strengths.items())),
        ]
        return table("Should we fine-tune?", ("", "answer"), [row for row in rows if row[1]])

    def _repr_html_(self) -> str:
        held = {match.gate.id: match for match in self.matches}
        rules = [
            (gate.id, _answer(held.get(gate.id)), gate.condition, VERDICTS[gate.verdict], gate.source)
            for gate in RULES
        ]
        columns = ("", "here", "if", "then", "source")
        return self.summary() + table("The rules, in their order", columns, rules)


def decide(situation: Situation) -> Decision:
    """Say what to do in this situation, by which rule, and what would change it."""
    matches = []
    for gate in RULES:
        told = gate.holds(situation)
        if told is False:
            continue
        known = {name: value for name in gate.reads if (value := getattr(situation, name)) is not None}
        missing = tuple(name for name in gate.reads if name not in known) if told is None else ()
        matches.append(Match(gate, known, missing))
    return Decision(situation, tuple(matches), strengths(situation))


def _answer(match: Match | None) -> str:
    """Whether a gate holds, with the values that it was asked with."""
    if match is None:
        return "no"
    if match.missing:
        return f"not known: {', '.join(match.missing)}"
    return "\n".join(["yes", *(f"{name} {_shown(value)}" for name, value in match.values.items())])


def _is_not_yet(verdict: str) -> bool:
    return verdict.startswith("not_yet")


def _shown(value: Value) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{kind} {share:.0%}" for kind, share in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower()


def _low(title: str) -> str:
    return title[0].lower() + title[1:]
