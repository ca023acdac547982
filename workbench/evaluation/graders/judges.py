"""Graders that ask another model: a score from a range, or one of several labels.

The model is asked through an ``Ask`` of the caller's, so the same grader works with any client and inside
the service. What it replies is read leniently in form and strictly in substance: one number within the
range or one of the labels, else there is no score. Nothing is clamped or guessed.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from workbench.errors import WorkbenchError
from workbench.evaluation.graders.grades import Case

JSON: TypeAlias = "str | int | float | bool | Sequence[JSON] | Mapping[str, JSON] | None"


@dataclass(frozen=True)
class Judged:
    """What a judge is asked."""

    model: str
    messages: tuple[Mapping[str, str], ...]
    """``role`` and ``content`` of each, templates filled."""
    sampling: Mapping[str, JSON]
    """``sampling_params``: temperature, top_p, seed, max_completions_tokens, reasoning_effort."""


@dataclass(frozen=True)
class Reply:
    """What it said."""

    text: str
    tokens: int = 0
    """Read and written together, as they are paid for."""
    refused: bool = False
    """Whether the service itself marked it as a refusal, or filtered it."""


Ask: TypeAlias = Callable[[Judged], Reply]
"""Whoever brings a judge's reply; raises ``JudgeError`` when there is none, anything else stops grading."""


class JudgeError(WorkbenchError):
    """A judge could not be asked this time: too many requests, a failing service."""


class RefusalError(ValueError):
    """The judge would not judge."""


class ReplyError(ValueError):
    """The judge's reply has no score, or more than one."""


# Added below the last message, because the service gets the form by structured output, and a model that is
# merely asked does not.
_ASK_SCORE = 'End your reply with a line "Score: N", where N is a number from {low:g} to {high:g}.'
_ASK_LABEL = 'End your reply with a line "Label: X", where X is one of: {labels}.'

_DIGITS = r"[-+−]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
_NUMBER = re.compile(rf"(?<![\w.,])(?<![\w.,][-+−]){_DIGITS}(?![\w%]|[.,]\d)")
_SCORE_LINE = re.compile(
    r"(?im)^[^\w\n]*(?:final )?(?:score|result|rating|grade)[^\w\n:=]*[:=][^\w\n.+−-]*"
    rf"({_DIGITS})[^\w\n]*$"
)
_LABEL_LINE = re.compile(r"(?im)^[^\w\n]*(?:final )?(?:label|result|verdict)[^\w\n:=]*[:=](.+)$")
_REFUSAL = re.compile(
    r"(?i)\b(?:I(?: am|['’]m) (?:sorry|unable|not able)|I (?:cannot|can['’]?t|can not|won['’]?t|will not) "
    r"(?:assist|help(?! but)|comply|provide|evaluate|grade|score|rate|judge|fulfil|answer|do)|as an AI\b)"
)


def judged(grader: Mapping[str, object], case: Case, form: str) -> Judged:
    """What the judge of this grader is asked about this answer; ``form`` says how the reply should end."""
    messages = [{"role": role, "content": case.fill(text)} for role, text in messages_of(grader)]
    if messages[-1]["role"] == "user":
        messages[-1] = {"role": "user", "content": f"{messages[-1]['content']}\n\n{form}"}
    else:
        messages.append({"role": "user", "content": form})
    sampling = grader.get("sampling_params")
    return Judged(str(grader["model"]), tuple(messages), sampling if isinstance(sampling, Mapping) else {})


def score_form(grader: Mapping[str, object]) -> str:
    """How a reply with a score should end."""
    low, high = range_of(grader)
    return _ASK_SCORE.format(low=low, high=high)


def label_form(grader: Mapping[str, object]) -> str:
    """How a reply with a label should end."""
    return _ASK_LABEL.format(labels=", ".join(texts(grader["labels"])))


def score_of(grader: Mapping[str, object], reply: Reply) -> float:
    """The one number in a reply, or the one in its "Score:" line; ``result`` or ``score`` of a JSON object.

    Raises ``RefusalError``, or ``ReplyError`` for no number, several, or one outside the range.
    """
    low, high = range_of(grader)
    if reply.refused:
        raise RefusalError(_refused(reply))
    # "4 out of 5" is 4 where 5 is the most there is; "8/10" is not, where 1 is.
    text = re.sub(rf"[ \t]?(?:/|out of)[ \t]?{high:g}(?![\w.]*\d)", "", reply.text).strip()
    said = _said(text, ("result", "score"))
    plain = _NUMBER.fullmatch(text.strip(" *`'\"\n").rstrip("."))
    if isinstance(said, int | float) and not isinstance(said, bool):
        found = {float(said)}
    elif plain:
        found = {_number(plain[0])}
    else:
        found = {_number(match[1]) for match in _SCORE_LINE.finditer(text)}
    if not found and _REFUSAL.search(text):
        raise RefusalError(_refused(reply))
    found = found or {_number(match[0]) for match in _NUMBER.finditer(text)}
    if len(found) != 1:
        many = f"{len(found)} different numbers" if found else "no number"
        raise ReplyError(f"the judge's reply has {many}: {_short(reply.text)}")
    (score,) = found
    if not low <= score <= high:
        raise ReplyError(f"the judge gave {score:g}, which is outside {low:g} to {high:g}")
    return score


def label_of(grader: Mapping[str, object], reply: Reply) -> str:
    """The label that a reply is, or that its first, its last or its "Label:" line is.

    A label in the middle of a sentence does not count: "not correct" holds the word, too.
    Raises ``RefusalError``, or ``ReplyError`` for none or several.
    """
    if reply.refused:
        raise RefusalError(_refused(reply))
    labels = {_bare(label): label for label in texts(grader["labels"])}
    text = reply.text.strip()
    lines = text.splitlines() or [""]
    said = _said(text, ("label", "result"))
    candidates = [said] if isinstance(said, str) else []
    candidates += _LABEL_LINE.findall(text) or [lines[0], lines[-1]]
    found = {labels[_bare(line)] for line in candidates if _bare(line) in labels}
    if not found and _REFUSAL.search(text):
        raise RefusalError(_refused(reply))
    if len(found) != 1:
        many = f"{len(found)} labels" if found else f"none of the labels {', '.join(labels.values())}"
        raise ReplyError(f"the judge's reply has {many}: {_short(reply.text)}")
    return found.pop()


def range_of(grader: Mapping[str, object]) -> tuple[float, float]:
    """The lowest and the highest score; 0 to 1 when the grader does not say."""
    low, high = numbers(grader.get("range") or (0, 1))
    return low, high


def text_of(content: object) -> str | None:
    """The text of a message's content; None when there is anything but text in it."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        text = content.get("text")
        return (
            text
            if content.get("type") in ("input_text", "output_text", "text") and isinstance(text, str)
            else None
        )
    if isinstance(content, list | tuple) and content:
        parts = [text_of(part) for part in content]
        return None if None in parts else "".join(part for part in parts if part)
    return None


def messages_of(grader: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Role and text of each message to the judge, templates as they stand."""
    messages = grader["input"]
    assert isinstance(messages, list | tuple)
    return tuple((str(message["role"]), text_of(message["content"]) or "") for message in messages)


def texts(value: object) -> tuple[str, ...]:
    """A list of texts, whatever else is in it left out."""
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list | tuple) else ()


def numbers(value: object) -> tuple[float, ...]:
    """A list of numbers, whatever else is in it left out."""
    every = value if isinstance(value, list | tuple) else ()
    return tuple(float(one) for one in every if isinstance(one, int | float) and not isinstance(one, bool))


def _said(text: str, fields: Sequence[str]) -> object:
    """The first of these fields of the JSON object that a reply is, with or without a fence around it."""
    fenced = re.fullmatch(r"```\w*\n(.*)\n```", text, re.DOTALL)
    try:
        value = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return None
    return next((value[name] for name in fields if name in value), None) if isinstance(value, dict) else None


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def _bare(text: str) -> str:
    return text.strip(" \t*_`'\".,;:!()[]").casefold()


def _refused(reply: Reply) -> str:
    return f"the judge refused: {_short(reply.text)}" if reply.text.strip() else "the judge refused"


def _short(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "…")
