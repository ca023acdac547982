"""What a rule can tell of a wrong answer. A rule speaks only where it is sure; all else is for people.

Asked in this order: is it well formed; is it JSON, or a tool's call, where that was wanted; is it the
reference but for its form; would the right passage have helped. Each says what it saw.
"""

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from workbench.dataset.examples import Example
from workbench.decide.situation import Failure
from workbench.evaluation.asking.retrieval import Documents
from workbench.evaluation.baseline import Ladder
from workbench.evaluation.evaluation import Item
from workbench.evaluation.graders import Grader, grade

_FENCED = re.compile(r"```[^\n`]*\n(.*?)\n?```", re.DOTALL)


class Symptom(NamedTuple):
    """The kind of failure, and what was seen."""

    kind: Failure
    why: str


def symptom(item: Item, *, valid: Grader | None = None) -> Symptom | None:
    """What is wrong with the answer, as far as it tells by itself? ``None`` where no rule can."""
    if valid is not None and grade(valid, item.answer, item.graded) < 1:
        return Symptom("format", f"{valid['name']} does not take it")
    return _of_json(item) or _of_the_form(item)


def symptom_of_context(ladder: Ladder, place: int, example: Example | None) -> Symptom | None:
    """What does it tell that the right passage helped? ``example`` is the question, with that passage."""
    if ladder.gold is None or ladder.gold.evaluation.items[place].score < 1:
        return None
    documents, gold = ladder.best.prompt.context, ladder.gold.evaluation.prompt.context
    if not isinstance(documents, Documents):
        return Symptom("missing_knowledge", "right once the passage is in the prompt")
    if example is None or gold is None:
        return None
    found = [_plain(text) for text in documents.texts(example)]
    wanted = [_plain(text) for text in gold.texts(example)]
    # Passages are cut from documents: either may be a part of the other.
    if all(any(right in text or text in right for text in found) for right in wanted):
        return Symptom("context_misused", "the right passage was found, and alone it is answered rightly")
    return Symptom("retrieval_miss", "the right passage was not found, and with it the answer is right")


def _of_json(item: Item) -> Symptom | None:
    wanted, said = _json(item.reference), _json(item.answer)
    if wanted is None:
        return None
    if said is None:
        return Symptom("format", "the answer is no JSON, the reference is")
    if _is_call(wanted) and _is_call(said) and said != wanted:
        return Symptom("tool_use", "it calls another tool than the reference, or with other arguments")
    return None


def _of_the_form(item: Item) -> Symptom | None:
    for but, normal in _NORMAL.items():
        if normal(item.answer) == normal(item.reference) != "":
            return Symptom("format", f"the reference but for {but}")
    fenced = [found[1] for found in _FENCED.finditer(item.answer)]
    if _plain(item.reference) in map(_plain, (*item.answer.splitlines(), *fenced)):
        return Symptom("format", "the reference, with other text around it")
    return None


def _json(text: str) -> object:
    """An object or a list; ``None`` for any other text."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _is_call(value: object) -> bool:
    """``{"name": …, "arguments": …}``, as a tool is called, or a list of such."""
    calls = value if isinstance(value, list) else [value]
    return bool(calls) and all(
        isinstance(call, dict) and {"name", "arguments"} <= set(call) for call in calls
    )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


_NORMAL: dict[str, Callable[[str], str]] = {
    "case and white space": _plain,
    "quotes around it": lambda text: _plain(text).strip("`\"'“”").strip(),
    "the full stop": lambda text: _plain(text).rstrip(".!").rstrip(),
}
