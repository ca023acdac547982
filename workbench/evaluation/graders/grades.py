"""What is graded, and what grading gives: an answer with its item, a score with its reason or its problem.

Also the template texts filled for one answer. How each type of grader grades is in ``grader_types``.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from workbench.display import table
from workbench.errors import DataError
from workbench.evaluation.graders.sandboxed import sample_of
from workbench.evaluation.graders.templates import filled, known_places, value_at

Grader: TypeAlias = Mapping[str, object]
"""OpenAI's grader JSON, for example ``{"type": "string_check", "name": …, …}``."""


class BadGraderError(DataError):
    """A grader that cannot grade; ``path`` is its place: ``grader.graders.close.operation``."""

    def __init__(self, path: str, finding: str) -> None:
        """``finding`` goes on from the path: ``is 'equals'; use eq, ne, like, ilike``."""
        super().__init__(f"{path} {finding}.")
        self.path = path
        self.finding = finding


class UnfilledError(ValueError):
    """A template finds nothing in the item."""


class UnansweredError(ValueError):
    """A template finds nothing in the answer, which is not the JSON that it should be."""


@dataclass(frozen=True)
class Case:
    """One answer with its item, as templates see them."""

    output_text: str
    item: Mapping[str, object]
    values: Mapping[str, object]

    @classmethod
    def of(cls, output_text: str, item: Mapping[str, object]) -> "Case":
        """Put both together."""
        return cls(output_text, item, {"item": item, "sample": sample_of(output_text)})

    def fill(self, text: str) -> str:
        """Fill every template of ``text``, once: what is filled in is not read again.

        Raises ``UnfilledError`` for an item without the field, ``UnansweredError`` for an answer without it.
        """
        found: dict[str, str] = {}
        for shown, path in known_places(text):
            value = value_at(path, self.values)
            if value is None and path[0] == "item":
                raise UnfilledError(unfilled(shown, self.item))
            if value is None:
                raise UnansweredError(f"{shown} finds nothing in the answer")
            found[shown] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return filled(text, found.__getitem__) if found else text


def unfilled(shown: str, item: Mapping[str, object]) -> str:
    """That a template finds nothing in this item, with what the item has."""
    return f"{shown} finds nothing in item {name_of(item)}; it has {', '.join(map(str, item)) or 'no fields'}"


def name_of(item: Mapping[str, object]) -> str:
    """Where the item comes from, as its reader knows it."""
    return str(item.get("origin") or item.get("question") or "without a name")


Errors: TypeAlias = Mapping[str, bool | str | None]

# openai.types.fine_tuning.alpha.grader_run_response.MetadataErrors
NO_ERRORS: Errors = MappingProxyType(
    {
        "formula_parse_error": False,
        "sample_parse_error": False,
        "truncated_observation_error": False,
        "unresponsive_reward_error": False,
        "invalid_variable_error": False,
        "other_error": False,
        "python_grader_server_error": False,
        "python_grader_server_error_type": None,
        "python_grader_runtime_error": False,
        "python_grader_runtime_error_details": None,
        "model_grader_server_error": False,
        "model_grader_refusal_error": False,
        "model_grader_parse_error": False,
        "model_grader_server_error_details": None,
    }
)


@dataclass(frozen=True, repr=False)
class Grade:
    """How one answer was graded; ``score`` is nan when it could not be, and ``problem`` then says why."""

    score: float
    reason: str
    """For a person: ``'a' is not 'b'``, the label that was chosen, the formula with its values."""
    problem: str = ""
    """Empty, or one clause: ``the judge refused``."""
    sub_scores: Mapping[str, float] = field(default_factory=dict)
    """The scores inside a multi grader, by name."""
    seconds: float = 0.0
    tokens: Mapping[str, int] = field(default_factory=dict)
    """What the judges read and wrote, by model."""
    errors: Errors = field(default_factory=lambda: NO_ERRORS)
    """The same as the service's ``metadata.errors``."""
    model: str | None = None
    """The judge, as it called itself last."""

    @property
    def graded(self) -> bool:
        """Whether there is a score."""
        return not math.isnan(self.score)

    def __repr__(self) -> str:
        """``1: 'a' is 'a'``, or ``not graded: the judge refused``."""
        return f"{self.score:g}: {self.reason}" if self.graded else f"not graded: {self.problem}"

    def _repr_html_(self) -> str:
        score = f"{self.score:g}" if self.graded else "not graded"
        rows = [(name, f"{value:g}", "") for name, value in self.sub_scores.items()]
        return table("Grade", ("", "score", "reason"), [("whole", score, self.problem or self.reason), *rows])


def ungraded(problem: str, *flags: str, model: str | None = None, **details: str) -> Grade:
    """An answer without a score; ``flags`` are the errors that are true, ``details`` those that are texts."""
    errors = {**NO_ERRORS, **dict.fromkeys(flags, True), **details}
    return Grade(math.nan, "", problem, errors=errors, model=model)


def flagged(*flags: str) -> Errors:
    """No error but these."""
    return {**NO_ERRORS, **dict.fromkeys(flags, True)}


def together(grades: Iterable[Grade]) -> Errors:
    """Every error of several grades; of texts, the first."""
    errors = dict(NO_ERRORS)
    for grade in grades:
        errors.update({name: value for name, value in grade.errors.items() if value and not errors[name]})
    return errors
