"""A situation: what is known of the task, the measurements and the data, from a form, a file or a record."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf, sqrt
from types import MappingProxyType
from typing import Annotated, Any, Literal, Protocol, TypeAlias, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from workbench.catalog.methods import DATA_KINDS
from workbench.catalog.models import base_name
from workbench.errors import DataError

# Facts from a form or a file into a noun, or the name of the one that cannot be and what may stand there.

# A situation: what is known of the task, the measurements and the data when somebody asks "should we?".
#
# ``None`` means not known. An unknown never counts for or against anything: where it would matter, the
# decision is "not yet", with the measurement to make.

Noun = TypeVar("Noun")

CLOSED = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""No name that is not known; and what stands below a field describes it in the schema, too."""

# Strict: no text for a number, no ``true`` for 1.
Share: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
"""From 0 to 1."""
Amount: TypeAlias = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Signed: TypeAlias = Annotated[float, Field(strict=True, ge=-1, le=1, allow_inf_nan=False)]
"""An agreement or a gain, from -1 to 1."""
Count: TypeAlias = Annotated[int, Field(strict=True, ge=0)]
YesNo: TypeAlias = Annotated[bool, Field(strict=True)]

ENDLESS: Mapping[str, str] = MappingProxyType(
    {"payback_months": "never", "break_even_requests": "never", "months_of_service": "unlimited"}
)
"""What stands in a file where there is no number: it never pays, it is never switched off."""
Unbounded: TypeAlias = Annotated[
    float,
    BeforeValidator(lambda given: inf if given in ("never", "unlimited") else given),
    Field(strict=True, ge=0),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"enum": ["never", "unlimited"]}]}),
]
"""An amount, or "never" or "unlimited", which is infinite."""

_ADAPTERS: dict[object, TypeAdapter[Any]] = {}  # making one takes milliseconds

_SENTENCES = {
    "finite_number": "it should be a finite number",
    "greater_than_equal": "it should be {ge:g} or more",
    "less_than_equal": "it should be {le:g} or less",
    "literal_error": "it may be {expected}",
    "bool_type": "it should be true or false",
    "int_type": "it should be a whole number",
    "float_type": "it should be a number",
    "dict_type": "it should name each with its number",
    "mapping_type": "it should name each with its number",
    "string_type": "it should be a text",
    "too_short": "it should hold {min_length} or more",
}


def made(kind: type[Noun], facts: object) -> Noun:
    """Make a noun of these facts; ``DataError`` names the first one that cannot be."""
    try:
        found: Noun = _adapter(kind).validate_python(facts)
    except ValidationError as error:
        raise DataError(_sentence(kind, error.errors(include_url=False)[0])) from None
    return found


def schema_of(kind: type[object]) -> dict[str, object]:
    """The JSON Schema of a file that holds these facts."""
    found = _adapter(kind).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _sentence(kind: type[object], error: ErrorDetails) -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error["loc"])
    place = place.lstrip(".") or f"The {kind.__name__.lower()}"
    said: Mapping[str, Any] = error.get("ctx", {})
    if error["type"] == "unexpected_keyword_argument":
        return f"{place} is not known; there are {', '.join(kind.__dataclass_fields__)}."  # type: ignore[attr-defined]
    if error["type"] in ("missing", "missing_argument"):
        return f"{place} is missing."
    if place.endswith(".[key]"):
        return f"{place.removesuffix('.[key]')} is not known; there are {said['expected']}."
    wanted = _SENTENCES.get(error["type"], error["msg"].removeprefix("Value error, ")).format(**said)
    if place in ENDLESS and error["type"] == "float_type":
        wanted += f', or "{ENDLESS[place]}"'
    return f"{place} is {error['input']!r}; {wanted}."


Value: TypeAlias = "str | bool | int | float | Mapping[str, float] | None"
Failure = Literal[
    "missing_knowledge",
    "retrieval_miss",
    "context_misused",
    "format",
    "instruction",
    "style",
    "reasoning",
    "edge_case",
    "tool_use",
]

FAILURES: Mapping[Failure, str] = MappingProxyType(
    {
        "missing_knowledge": "the answer needs facts that are not in the prompt",
        "retrieval_miss": "the right document was not retrieved",
        "context_misused": "the right document was there and was read wrongly",
        "format": "the form is wrong, the content may be right",
        "instruction": "something that the prompt asks for was not done",
        "style": "right, but not as we would say it",
        "reasoning": "the steps to the answer are wrong",
        "edge_case": "right for usual inputs, wrong for this unusual one",
        "tool_use": "the wrong tool, or wrong arguments",
    }
)
"""What can be wrong with an answer, and how to tell."""


@dataclass(frozen=True)
class Situation:
    """What is known, in the order in which one would ask; scores and shares run from 0 to 1."""

    __pydantic_config__ = CLOSED

    # The goal
    motive: Literal["quality", "cost", "latency"] | None = None
    """Why do we ask?"""
    target: Share | None = None
    """Which score is good enough?"""
    requests_per_month: Count | None = None
    """How many requests come in a month?"""
    latency_objective_missed: YesNo | None = None
    """Are answers slower than they may be?"""
    task_changes_every_days: Amount | None = None
    """After how many days is the task another one?"""

    # The evaluation
    eval_items: Count | None = None
    """On how many held-out questions was the score measured?"""
    score: Share | None = None
    """What does the base model score with its best prompt?"""
    grader: Literal["programmatic", "judge", "people"] | None = None
    """Who says what is right?"""
    agreement: Signed | None = None
    """How well do two people agree on what is right (Cohen's kappa)?"""
    judge_agreement: Signed | None = None
    """How well does the judge agree with experts?"""
    grader_sound: YesNo | None = None
    """Did the grader know right answers from wrong ones when it was tried?"""
    prompt_iterations: Count | None = None
    """How many versions of the prompt were tried?"""
    shots_gain: Signed | None = None
    """What did the last doubling of examples in the prompt add?"""
    more_shots_fit: YesNo | None = None
    """Do more examples still fit into the prompt?"""
    failures: Mapping[Failure, Share] | None = None
    """Which share of the failures is of which kind? The shares sum to 1."""

    # Knowledge
    private_knowledge: YesNo | None = None
    """Do answers need facts that the model cannot know?"""
    gold_context_score: Share | None = None
    """What does it score with the right passage pasted into the prompt?"""
    retrieval_in_place: YesNo | None = None
    """Are documents retrieved already?"""

    # The model
    trainable: YesNo | None = None
    """Can the model be fine-tuned on a platform we may use?"""
    reasoning_model: YesNo | None = None
    """Is it a reasoning model?"""
    grader_trainable: YesNo | None = None
    """Can it be trained with a grader (RFT) where you may train?"""
    teacher_score: Share | None = None
    """What does a larger model score with its best prompt?"""
    pass_rate: Share | None = None
    """Which share of several samples per question passes (with partial credit: their mean reward)?"""
    partial_credit: YesNo | None = None
    """Does the grader give partial credit, so that this share is a mean reward?"""
    mixed_share: Share | None = None
    """Which share of questions has both passing and failing samples?"""
    months_of_service: Unbounded | None = None
    """How many months will the tuned model be served (or "unlimited")?"""
    payback_months: Unbounded | None = None
    """After how many months is it paid back (or "never")?"""
    break_even_requests: Unbounded | None = None
    """From how many requests a month does it pay (or "never")?"""

    # What trainings brought here
    forgotten: Signed | None = None
    """Which share of the general probes did the last tuned model lose?"""
    preferred_gain: Signed | None = None
    """What did training on preferences add to the measure that it was for?"""
    preference_cost: Signed | None = None
    """What did training on preferences take from the score of the task?"""
    graded_gain: Signed | None = None
    """What did training with a grader add to the score?"""

    # The data
    demonstrations: Count | None = None
    """How many examples have the right answer?"""
    pairs: Count | None = None
    """How many pairs of a better and a worse answer are there?"""
    prompts: Count | None = None
    """How many questions are there whose answers a grader can score?"""
    representative: YesNo | None = None
    """Are the examples like the requests in use?"""
    contradictions: Share | None = None
    """Which share of the examples contradicts another one?"""
    leaks: Count | None = None
    """How many examples are in the test as well?"""
    format_errors: Count | None = None
    """How many lines would a service refuse?"""

    @property
    def gap(self) -> float | None:
        """How much is missing to the target; negative when it is met."""
        return None if self.score is None or self.target is None else self.target - self.score

    def failing(self, *kinds: Failure) -> float | None:
        """The share of failures that are of one of these kinds."""
        return None if self.failures is None else sum(self.failures.get(kind, 0.0) for kind in kinds)

    def but(self, **known: Value) -> "Situation":
        """The same situation, with these facts."""
        return situation({**self.facts, **known})

    @property
    def facts(self) -> dict[str, Value]:
        """What is known, by name, as a file holds it."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        endless = {name: ENDLESS[name] for name, value in known.items() if value == inf}
        return known | endless


def situation(facts: Mapping[str, object]) -> Situation:
    """Make a situation from answers, a form's or a file's; ``DataError`` names what cannot be."""
    found = made(Situation, facts)
    if found.failures and abs(sum(found.failures.values()) - 1) > 0.01:
        total = sum(found.failures.values())
        raise DataError(f"failures sum to {total:.2f}; the shares of all failures sum to 1.")
    _refuse_the_impossible(found)
    return found


def _refuse_the_impossible(s: Situation) -> None:
    """Raise ``DataError`` for counts and shares that cannot stand together."""
    counts = [number for number in (s.demonstrations, s.pairs, s.prompts) if number is not None]
    for name in ("leaks", "format_errors") if counts else ():
        number = getattr(s, name)
        if number is not None and number > sum(counts):
            raise DataError(
                f"{name} is {number:,}: more than the {sum(counts):,} examples there are; count them "
                "again (python -m workbench check)."
            )
    if s.pass_rate in (0, 1) and s.mixed_share:
        none = "no sample passes" if s.pass_rate == 0 else "every sample passes"
        raise DataError(
            f"pass_rate is {s.pass_rate:g}, so {none}, and mixed_share is {s.mixed_share:g}: a question with "
            "both passing and failing samples cannot be among them. Grade the samples again."
        )
    if s.score == 1 and s.failures:
        raise DataError("score is 1, so nothing failed; leave failures out, or correct the score.")


def questions() -> Mapping[str, str]:
    """How each field is asked for."""
    properties = schema_of(Situation)["properties"]
    assert isinstance(properties, Mapping)
    return {name: str(said["description"]) for name, said in properties.items()}


# What a situation says of itself: yes, no, or not known; and the figures that follow from others.

Ternary = bool | None
"""Yes, no, or: not known."""


def all_of(*answers: Ternary) -> Ternary:
    """And: one "no" is a no, whatever is unknown beside it."""
    return False if False in answers else None if None in answers else True


def any_of(*answers: Ternary) -> Ternary:
    """Or: one "yes" is a yes, whatever is unknown beside it."""
    return True if True in answers else None if None in answers else False


def at_least(value: float | None, threshold: float | None) -> Ternary:
    """Unknown where either side is. A rounding error is no difference."""
    return None if value is None or threshold is None else value >= threshold - 1e-9


def below(value: float | None, threshold: float | None) -> Ternary:
    """The contrary of ``at_least``."""
    return no(at_least(value, threshold))


def no(answer: Ternary) -> Ternary:
    """Not."""
    return None if answer is None else not answer


def half_width(situation: Situation) -> float | None:
    """Half the length of the score's 95 % interval (Wilson 1927), as a share."""
    found = interval(situation)
    return None if found is None else (found[1] - found[0]) / 2


def interval(situation: Situation) -> tuple[float, float] | None:
    """The score's 95 % interval (Wilson 1927), as shares."""
    n, p, z = situation.eval_items, situation.score, 1.959963984540054
    if not n or p is None:
        return None
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def gold_closes(situation: Situation) -> float | None:
    """The share of the gap that pasting in the right passage closes."""
    gap, gold, score = situation.gap, situation.gold_context_score, situation.score
    if gap is None or gold is None or score is None or gap <= 0:
        return None
    return (gold - score) / gap


def trusted(situation: Situation) -> Ternary:
    """Whether the grader may stand for people: a program, or a judge that agrees with experts by 0.6.

    One that was tried and took wrong answers for right ones may not.
    """
    if situation.grader_sound is False:
        return False
    if situation.grader == "judge":
        return at_least(situation.judge_agreement, 0.6)
    return None if situation.grader is None else situation.grader == "programmatic"


def met(s: Situation) -> Ternary:
    """Whether the target is met."""
    return at_least(s.score, s.target)


def to_save(s: Situation) -> Ternary:
    """Whether money or time is the reason to ask."""
    return None if s.motive is None else s.motive in ("cost", "latency")


def money_decides(s: Situation) -> Ternary:
    """Whether the saving is all there is to gain: the target is met, or cost is why one asks."""
    return any_of(all_of(met(s), to_save(s)), None if s.motive is None else s.motive == "cost")


def short(s: Situation) -> Ternary:
    """Whether there is a gap that better answers could close."""
    return None if s.gap is None else s.gap > 1e-9


def behaviour(s: Situation) -> float | None:
    """The share of failures that are of behaviour: form, instructions, unusual cases, tools."""
    return s.failing("format", "instruction", "edge_case", "tool_use")


def takes_a_grader(s: Situation) -> Ternary:
    """Whether the model can be trained with a grader; where only its kind is known, reasoning models can."""
    return s.reasoning_model if s.grader_trainable is None else s.grader_trainable


def out_of_form(s: Situation) -> float | None:
    """The share of all answers that have the wrong form or do not do what the prompt asks."""
    failing = s.failing("format", "instruction")
    return None if failing is None or s.score is None else (1 - s.score) * failing


def taste(s: Situation) -> Ternary:
    """Whether most failures are of style, and few of behaviour."""
    return all_of(at_least(s.failing("style"), 0.5), below(behaviour(s), 0.3))


# What a project's record says of a situation: the newest measurements, and the data of each method.


class Recorded(Protocol):
    """An entry of a record: its kind, and its facts."""

    @property
    def kind(self) -> str:
        """``baseline``, ``preference`` …."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was found, by name."""


_COUNTS = ("demonstrations", "pairs", "prompts")


def measured_in(entries: Iterable[Recorded]) -> dict[str, Value]:
    """The newest measurement of each thing: of the base model, of graders, and of what trainings brought.

    Read are the entries of 01_baseline, 06_evaluate, 08_preferences and 09_reinforcement, as far as they are
    of the base model that was measured last. Pass rates count where that model itself was sampled.
    """
    entries = tuple(entries)
    baseline = next((entry.facts for entry in reversed(entries) if entry.kind == "baseline"), {})
    base, found = baseline.get("model"), dict[str, Value](baseline.get("evidence", {}))
    for entry in entries:
        facts = entry.facts
        rates = facts if entry.kind == "pass_rates" else facts.get("pass_rates")
        if isinstance(rates, Mapping) and rates.get("model") in (None, base):
            mean, mixed = rates.get("mean", rates.get("reward")), rates.get("mixed_share", rates.get("mixed"))
            # A lower bound below a fifth does not say whether a fifth is mixed.
            unknown = rates.get("mixed_at_least") and mixed is not None and mixed < 0.2
            found |= {"pass_rate": mean, "mixed_share": None if unknown else mixed}
            found |= {"partial_credit": rates.get("right_or_wrong") is False or None}
        named = facts.get("models")
        models = named if isinstance(named, Mapping) else {"base": facts.get("base_model", base)}
        if base is None or base_name(str(next(iter(models.values())))) == base:
            found |= dict(_found_by(entry))
    return {name: value for name, value in found.items() if value is not None}


def _found_by(entry: Recorded) -> Iterator[tuple[str, Value]]:
    """What one entry adds to a situation."""
    facts = entry.facts
    for check in facts.get("gate", {}).get("checks", ()):
        if check["name"] == "a grader to trust":
            yield "grader_sound", {"passed": True, "refused": False}.get(check["result"])
    if quality := facts.get("grader_quality"):
        yield "grader_sound", {"passed": True, "refused": False}.get(quality["result"])
    if probed := facts.get("forgetting"):
        yield "forgotten", (probed["base"] - probed["tuned"]) / max(1, probed["items"])
    if entry.kind == "reinforcement":
        yield "graded_gain", facts.get("difference")
    if entry.kind == "preference":
        last = {name: each["last_step"]["difference"] for name, each in facts["measures"].items()}
        yield "preferred_gain", last.pop(facts["aim"])
        if last:
            yield "preference_cost", -min(last.values())


def data_in(entries: Iterable[Recorded]) -> dict[str, Value]:
    """What the newest data of each method hold: how many of each, and what is wrong with any of them."""
    newest = {entry.kind: entry.facts.get("evidence", {}) for entry in entries if entry.kind in DATA_KINDS}
    found: dict[str, Value] = {}
    for evidence in newest.values():
        found |= {name: evidence[name] for name in _COUNTS if name in evidence}
    worst = [each["contradictions"] for each in newest.values() if "contradictions" in each]
    found |= {"contradictions": max(worst)} if worst else {}
    for name in ("leaks", "format_errors"):
        counts = [each[name] for each in newest.values() if name in each]
        found |= {name: sum(counts)} if counts else {}
    return found
