"""A situation: what is known of the task, the measurements and the data, from a form or a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

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
    teacher_score: Share | None = None
    """What does a larger model score with its best prompt?"""
    pass_rate: Share | None = None
    """Which share of several samples per question passes?"""
    mixed_share: Share | None = None
    """Which share of questions has both passing and failing samples?"""
    months_of_service: Amount | None = None
    """How many months will the tuned model be served?"""
    payback_months: Amount | None = None
    """After how many months is it paid back?"""
    break_even_requests: Amount | None = None
    """From how many requests a month does it pay?"""

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
        """What is known, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


def situation(facts: Mapping[str, object]) -> Situation:
    """Make a situation from answers, a form's or a file's; ``DataError`` names what cannot be."""
    found = made(Situation, facts)
    if found.failures and abs(sum(found.failures.values()) - 1) > 0.01:
        total = sum(found.failures.values())
        raise DataError(f"failures sum to {total:.2f}; the shares of all failures sum to 1.")
    return found


def questions() -> Mapping[str, str]:
    """How each field is asked for."""
    properties = schema_of(Situation)["properties"]
    assert isinstance(properties, Mapping)
    return {name: str(said["description"]) for name, said in properties.items()}


# What a situation says of itself: yes, no, or cannot be told; and the figures that follow from others.

Ternary = bool | None
"""Yes, no, or: cannot be told from what is known."""


def all_of(*told: Ternary) -> Ternary:
    """And: one "no" is a no, whatever is unknown beside it."""
    return False if False in told else None if None in told else True


def any_of(*told: Ternary) -> Ternary:
    """Or: one "yes" is a yes, whatever is unknown beside it."""
    return True if True in told else None if None in told else False


def at_least(value: float | None, threshold: float | None) -> Ternary:
    """Unknown where either side is. A rounding error is no difference."""
    return None if value is None or threshold is None else value >= threshold - 1e-9


def below(value: float | None, threshold: float | None) -> Ternary:
    """The contrary of ``at_least``."""
    return no(at_least(value, threshold))


def no(told: Ternary) -> Ternary:
    """Not."""
    return None if told is None else not told


def half_width(situation: Situation) -> float | None:
    """Half the length of the score's 95 % interval (Wilson 1927), as a share."""
    n, p, z = situation.eval_items, situation.score, 1.959963984540054
    if not n or p is None:
        return None
    return z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)


def gold_closes(situation: Situation) -> float | None:
    """The share of the gap that pasting in the right passage closes."""
    gap, gold, score = situation.gap, situation.gold_context_score, situation.score
    if gap is None or gold is None or score is None or gap <= 0:
        return None
    return (gold - score) / gap


def trusted(situation: Situation) -> Ternary:
    """Whether the grader may stand for people: a program, or a judge that agrees with experts by 0.6."""
    if situation.grader == "judge":
        return at_least(situation.judge_agreement, 0.6)
    return None if situation.grader is None else situation.grader == "programmatic"
