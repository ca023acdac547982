"""The check before a release: do the measurements allow to deploy this model?

Each check is passed, refused, or open where the measurements do not tell; an open check is no pass. What
is checked was chosen before the results were there: the smallest gain that matters, and the margin.
"""

from dataclasses import dataclass

from workbench.evaluation.compare import Comparison
from workbench.evaluation.grader_trial import Check, Checks, Result, Trial
from workbench.evaluation.probes import Forgetting

_OF_COMPARISON: dict[str, Result] = {"better": "passed", "inconclusive": "open"}
_OF_FORGETTING: dict[str, Result] = {"not worse": "passed", "inconclusive": "open", "worse": "refused"}
_CURE = "What keeps more: rehearsal (REHEARSAL in 03_build_data)."


@dataclass(frozen=True, repr=False)
class ReleaseCheck(Checks):
    """All checks of a model before it is deployed."""

    @property
    def verdict(self) -> str:
        """Say it in a sentence."""
        if self.result == "passed":
            return "Nothing that was checked speaks against deploying this model."
        against = "; ".join(check.name for check in self.checks if check.result == self.result)
        if self.result == "refused":
            return f"Do not deploy this model, it fails this: {against}."
        return f"Not yet, this is not shown: {against}."


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
        result = _OF_FORGETTING[forgetting.outcome]
        why = forgetting.verdict if result == "passed" else f"{forgetting.verdict} {_CURE}"
        checks.append(Check("nothing lost elsewhere", result, why))
    if trial is not None:
        checks.append(Check("a grader to trust", "passed" if trial.trusted else "refused", trial.verdict))
    return ReleaseCheck(tuple(checks))
