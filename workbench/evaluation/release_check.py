"""The check before a release: do the measurements allow to deploy this model?

Each check is passed, refused, or open where the measurements do not tell; an open check is no pass. What
is checked was chosen before the results were there: the smallest gain that matters, and the margin.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from workbench.display import Shown, Table
from workbench.evaluation.compare import Comparison
from workbench.evaluation.grader_trial import Trial
from workbench.evaluation.probes import Forgetting
from workbench.project import JSON

Result: TypeAlias = Literal["passed", "open", "refused"]

_OF_COMPARISON: dict[str, Result] = {"better": "passed", "inconclusive": "open"}
_OF_FORGETTING: dict[str, Result] = {"not worse": "passed", "inconclusive": "open", "worse": "refused"}


@dataclass(frozen=True)
class Check:
    """One thing that has to be so."""

    name: str
    result: Result
    why: str


@dataclass(frozen=True, repr=False)
class ReleaseCheck(Shown):
    """All checks of a model before it is deployed."""

    checks: tuple[Check, ...]

    @property
    def result(self) -> Result:
        """``refused`` when one check is, else ``open`` when one is, else ``passed``."""
        found = {check.result for check in self.checks}
        return "refused" if "refused" in found else "open" if "open" in found else "passed"

    @property
    def verdict(self) -> str:
        """Say it in a sentence."""
        if self.result == "passed":
            return "Nothing that was checked speaks against deploying this model."
        against = "; ".join(check.name for check in self.checks if check.result == self.result)
        if self.result == "refused":
            return f"Do not deploy this model, it fails this: {against}."
        return f"Not yet, this is not shown: {against}."

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as JSON."""
        return {
            "result": self.result,
            "verdict": self.verdict,
            "checks": [dict(vars(check)) for check in self.checks],
        }

    def __repr__(self) -> str:
        """The verdict, then each check."""
        return "\n".join((self.verdict, *(f"{c.result}: {c.name}: {c.why}" for c in self.checks)))

    def tables(self) -> list[Table]:
        """Each check with its result."""
        rows = [(check.name, check.result, check.why) for check in self.checks]
        return [(self.verdict, ("check", "result", "why"), rows)]


def release_check(
    comparison: Comparison, *, forgetting: Forgetting | None = None, trial: Trial | None = None
) -> ReleaseCheck:
    """Decide whether a model may be deployed, from what was measured of it.

    The task has to be done better than by the base model with its best prompt; with ``forgetting``, no more
    than the margin may be lost elsewhere; with ``trial``, the grader must have known right from wrong.
    What was not measured is not checked.
    """
    checks = [
        Check("better at the task", _OF_COMPARISON.get(comparison.outcome, "refused"), comparison.verdict)
    ]
    if forgetting is not None:
        checks.append(Check("nothing lost elsewhere", _OF_FORGETTING[forgetting.outcome], forgetting.verdict))
    if trial is not None:
        checks.append(Check("a grader to trust", "passed" if trial.trusted else "refused", trial.verdict))
    return ReleaseCheck(tuple(checks))
