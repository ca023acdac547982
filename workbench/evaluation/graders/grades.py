"""What grading one answer gives: a score and its reason, or what kept it from being graded."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from workbench.tables import table

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
