"""Grading one answer by OpenAI's grader JSON, the same for evaluation, for training and for the service.

``graded`` gives a ``Grade`` and never stops for what an answer, a judge or a grader's code does; ``grade``
gives the bare score and raises instead. Python graders run in a sandbox, judges are asked through ``ask``.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from workbench.errors import DataError
from workbench.evaluation.graders.grades import (
    Case,
    Grade,
    UnfilledError,
    UnsaidError,
    flagged,
    name_of,
    together,
    ungraded,
)
from workbench.evaluation.graders.judges import (
    Ask,
    JudgeError,
    RefusalError,
    Reply,
    ReplyError,
    judged,
    label_of,
    range_of,
    score_of,
    texts,
)
from workbench.evaluation.graders.sandbox import LIMITS, Limits, run_python
from workbench.evaluation.graders.similarity import TooLongError, similarity
from workbench.evaluation.graders.validate import FormulaError, Grader, check_shape, formula

# "like" and "ilike" ask whether the input contains the reference.
_OPERATIONS: Mapping[str, tuple[Callable[[str, str], bool], str, str]] = {
    "eq": (lambda text, reference: text == reference, "{0} is {1}", "{0} is not {1}"),
    "ne": (lambda text, reference: text != reference, "{0} is not {1}", "{0} is {1}"),
    "like": (lambda text, reference: reference in text, "{1} is in {0}", "{1} is not in {0}"),
    "ilike": (
        lambda text, reference: reference.casefold() in text.casefold(),
        "{1} is in {0}",
        "{1} is not in {0}",
    ),
}
_SHOWN = 80  # characters of a text in a reason


def graded(
    grader: Grader,
    output_text: str,
    item: Mapping[str, object],
    *,
    ask: Ask | None = None,
    limits: Limits = LIMITS,
) -> Grade:
    """Grade one answer against its item, with the reason, or with what kept it from a score.

    A template that reads JSON from an answer which is none (``{{sample.output_json.total}}``) makes that
    answer wrong: the lowest score. ``limits`` are those of python graders, for each answer.

    Raises ``DataError`` for a grader that could grade nothing, and what ``ask`` raises if it is no
    ``JudgeError``.
    """
    check_shape(grader)
    start = time.perf_counter()
    grade = _graded(grader, Case.of(output_text, item), ask, limits)
    return replace(grade, seconds=time.perf_counter() - start)


def grade(
    grader: Grader,
    output_text: str,
    item: Mapping[str, object],
    *,
    ask: Ask | None = None,
    limits: Limits = LIMITS,
) -> float:
    """Score one answer as ``graded`` does; whatever keeps it from a score is a ``DataError``."""
    result = graded(grader, output_text, item, ask=ask, limits=limits)
    if not result.graded:
        # A template that finds nothing names its item itself.
        where = "" if result.errors["invalid_variable_error"] else f" stopped at item {name_of(item)}"
        raise DataError(f"grader {grader['name']!r}{where}: {result.problem}.")
    return result.score


def threshold(grader: Grader) -> float | None:
    """The lowest score that passes, when the grader names one (``pass_threshold``)."""
    value = grader.get("pass_threshold")
    return float(value) if isinstance(value, int | float) else None


def passes(grader: Grader, score: float) -> bool:
    """Whether this score passes; without a threshold only a full one does. No score does not pass."""
    lowest = threshold(grader)
    return score >= (_full(grader) if lowest is None else lowest)


def _full(grader: Grader) -> float:
    return range_of(grader)[1] if grader.get("type") == "score_model" else 1.0


def _graded(grader: Grader, case: Case, ask: Ask | None, limits: Limits) -> Grade:
    try:
        match grader["type"]:
            case "multi":
                return _multi(grader, case, ask, limits)
            case "python":
                return _python(grader, case, limits)
            case "score_model" | "label_model":
                return _judged(grader, case, ask)
            case "string_check":
                return _string_check(grader, case)
            case _:
                return _text_similarity(grader, case)
    except UnfilledError as error:
        return ungraded(str(error), "invalid_variable_error")
    except TooLongError as error:
        return ungraded(str(error))
    except UnsaidError as error:
        lowest = range_of(grader)[0] if grader["type"] == "score_model" else 0.0
        return Grade(lowest, str(error), errors=flagged("sample_parse_error"))


def _string_check(grader: Grader, case: Case) -> Grade:
    text, reference = case.fill(str(grader["input"])), case.fill(str(grader["reference"]))
    holds, yes, no = _OPERATIONS[str(grader["operation"])]
    right = holds(text, reference)
    return Grade(float(right), (yes if right else no).format(_short(text), _short(reference)))


def _text_similarity(grader: Grader, case: Case) -> Grade:
    text, reference = case.fill(str(grader["input"])), case.fill(str(grader["reference"]))
    metric = str(grader["evaluation_metric"])
    score = similarity(metric, text, reference)
    return Grade(score, f"{metric} of {_short(text)} and {_short(reference)} is {score:.2f}")


def _python(grader: Grader, case: Case, limits: Limits) -> Grade:
    ran = run_python(str(grader["source"]), case.output_text, case.item, limits)
    if not ran.problem:
        return Grade(ran.score, ran.reason or f"{grader['name']} gave {ran.score:g}")
    if ran.kind == "code":
        return ungraded(
            ran.problem, "python_grader_runtime_error", python_grader_runtime_error_details=ran.problem
        )
    return ungraded(ran.problem, "python_grader_server_error", python_grader_server_error_type=ran.kind)


def _judged(grader: Grader, case: Case, ask: Ask | None) -> Grade:
    model = str(grader["model"])
    if ask is None:
        raise DataError(
            f"grader {grader['name']!r} asks {model}, and there is nobody to ask it; give ask=, a function "
            "that takes what the judge is asked and returns its reply."
        )
    question = judged(grader, case)
    try:
        reply = ask(question)
    except JudgeError as error:
        details = str(error)
        return ungraded(
            details, "model_grader_server_error", model=model, model_grader_server_error_details=details
        )
    return replace(_read(grader, reply), tokens={model: reply.tokens}, model=model)


def _read(grader: Grader, reply: Reply) -> Grade:
    try:
        if grader["type"] == "label_model":
            label = label_of(grader, reply)
            passing = label in texts(grader["passing_labels"])
            return Grade(
                float(passing), f"{grader['model']} chose {label!r}, which {'passes' if passing else 'fails'}"
            )
        score = score_of(grader, reply)
    except RefusalError as error:
        return ungraded(str(error), "model_grader_refusal_error")
    except ReplyError as error:
        return ungraded(str(error), "model_grader_parse_error")
    low, high = range_of(grader)
    return Grade(score, f"{grader['model']} gave {score:g}, on a scale from {low:g} to {high:g}")


def _multi(grader: Grader, case: Case, ask: Ask | None, limits: Limits) -> Grade:
    inner = grader["graders"]
    assert isinstance(inner, Mapping)
    grades = {str(name): _graded(one, case, ask, limits) for name, one in inner.items()}
    tokens: Counter[str] = Counter()
    for one in grades.values():
        tokens.update(one.tokens)
    whole = _calculated(str(grader["calculate_output"]), grades)
    return replace(
        whole,
        sub_scores={name: one.score for name, one in grades.items()},
        tokens=dict(tokens),
        errors=together([*grades.values(), whole]),
        model=next((one.model for one in grades.values() if one.model), None),
    )


def _calculated(text: str, grades: Mapping[str, Grade]) -> Grade:
    """What the formula gives; nothing when one of the graders gave nothing."""
    failed = [f"{name}: {one.problem}" for name, one in grades.items() if not one.graded]
    if failed:
        return ungraded("; ".join(failed))
    values = ", ".join(f"{name} = {one.score:g}" for name, one in grades.items())
    try:
        score = formula(text).value({name: one.score for name, one in grades.items()})
    except FormulaError as error:
        return ungraded(f"the formula {text} {error}, with {values}", "formula_parse_error")
    reasons = "; ".join(f"{name}: {one.reason}" for name, one in grades.items())
    return Grade(score, f"{text} = {score:g}, with {values} ({reasons})")


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
