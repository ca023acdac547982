"""What the baseline tells of a situation: the measurements that "should we fine-tune?" is decided by.

The names are those of ``workbench.decide.situation``. What was not measured is left out: unknown, not zero.
"""

from collections.abc import Mapping

from workbench.decide.situation import Value, situation
from workbench.evaluation.baseline import Ladder
from workbench.evaluation.failing.failures import Failures
from workbench.evaluation.graders import Grader

_PROGRAMS = ("string_check", "text_similarity", "python")


def evidence(
    ladder: Ladder, failures: Failures | None = None, *, context_tokens: int | None = None
) -> Mapping[str, Value]:
    """What was measured, as far as it was.

    ``context_tokens`` is how much the model reads at once; without it nobody knows whether more examples
    fit. Failures count once none of those looked at is unlabelled: half-labelled ones lean to what rules see.
    """
    best = ladder.best
    known: dict[str, Value] = {
        "eval_items": len(best.items),
        "score": best.score,
        "grader": "programmatic" if _is_program(best.grader) else "judge",
        "prompt_iterations": len({_tried(rung.evaluation.prompt.facts) for rung in ladder.rungs}),
    }
    if ladder.doubling is not None:
        few, many = ladder.doubling
        known["shots_gain"] = many.score - few.score
        if context_tokens is not None and many.prompt_tokens:
            # Twice the examples add twice what the last doubling added, at the longest question as well.
            longest = max(item.prompt_tokens for item in many.items)
            more = 2 * (many.prompt_tokens - few.prompt_tokens)
            known["more_shots_fit"] = longest + more + many.max_tokens <= context_tokens
    if ladder.gold is not None:
        known["gold_context_score"] = ladder.gold.evaluation.score
    if ladder.teacher is not None:
        known["teacher_score"] = ladder.teacher.evaluation.score
    if failures is not None and failures.items and not failures.unlabelled:
        known["failures"] = {str(kind): share for kind, share in failures.shares.items()}
    return situation(known).facts


def _is_program(grader: Grader) -> bool:
    return grader["type"] in _PROGRAMS


def _tried(facts: Mapping[str, object]) -> str:
    """A prompt without its name: the same one under two names was tried once."""
    return repr({key: value for key, value in facts.items() if key != "name"})
