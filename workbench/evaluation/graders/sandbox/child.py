"""The process that runs one stranger's grader, one answer at a time, until its parent lets go.

It reads lines of JSON and answers each with one: first the source, then answers with their items. Whatever
the grader prints goes nowhere. Started by ``workbench.evaluation.graders.sandboxes``.
"""

import json
import math
import os
import sys
import traceback
import types
from collections.abc import Mapping
from numbers import Real
from typing import BinaryIO

from .sample import sample_of
from .seal import seal

_NAME = "grader"
_FILE = "<grader.source>"
_LONGEST = 2_000  # characters of an error or a reason

Reply = Mapping[str, object]


def main(memory: int, disk: int) -> None:
    """Seal this process, then serve; the working folder is the one that may be written."""
    sys.path.pop(0)  # where this file lies; what else lies there is not the grader's
    sys.dont_write_bytecode = True
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    _say(replies, {"guards": seal(os.getcwd(), memory=memory, disk=disk)})
    grader = types.ModuleType(_NAME)
    sys.modules[_NAME] = grader  # dataclasses look their module up
    for line in requests:
        _say(replies, _answer(grader, line))


def _answer(grader: types.ModuleType, line: bytes) -> Reply:
    try:
        asked = json.loads(line)
    except RecursionError:
        return {"problem": "the item is nested too deeply to be read"}
    if "source" in asked:
        return _load(grader, asked["source"])
    return _grade(grader, asked["output_text"], asked["item"])


def _load(grader: types.ModuleType, source: str) -> Reply:
    try:
        exec(compile(source, _FILE, "exec"), grader.__dict__)
    except BaseException as error:  # noqa: BLE001 (a stranger's code may raise anything)
        return {"problem": _told(error)}
    if not callable(getattr(grader, "grade", None)):
        return {"problem": "it defines no function grade(sample, item); add one"}
    return {"loaded": True}


def _grade(grader: types.ModuleType, output_text: str, item: object) -> Reply:
    try:
        score = grader.grade(sample_of(output_text), item)
        if not isinstance(score, Real):
            return {"problem": f"grade returned {_shown(score)}; it must return a finite number"}
        number = float(score)
        if not math.isfinite(number):
            return {"problem": f"grade returned {number}; it must return a finite number"}
    except BaseException as error:  # noqa: BLE001 (a stranger's code may raise anything)
        return {"problem": _told(error)}
    return {"score": number, "reason": _reason(grader, output_text, item)}


def _reason(grader: types.ModuleType, output_text: str, item: object) -> str:
    """What the grader itself says about this answer, when it has a function for that."""
    explain = getattr(grader, "explain", None)
    if not callable(explain):
        return ""
    try:
        return str(explain(sample_of(output_text), item))[:_LONGEST]
    except BaseException:  # noqa: BLE001 (the score stands; only its reason is missing)
        return ""


def _shown(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} {repr(value)[:100]}"


def _told(error: BaseException) -> str:
    """Name an error with its line in the source; an error that cannot even be shown, by its kind."""
    kind = type(error).__name__
    try:
        told = f"{kind}: {error}".removesuffix(": ")
        if isinstance(error, SyntaxError):
            line = error.lineno
        else:
            frames = traceback.extract_tb(error.__traceback__)
            line = next((frame.lineno for frame in reversed(frames) if frame.filename == _FILE), None)
    except BaseException:  # noqa: BLE001 (its __str__ is a stranger's code as well)
        return kind
    return told[:_LONGEST] + (f", line {line} of grader.source" if line else "")


def _say(replies: BinaryIO, reply: Reply) -> None:
    replies.write(json.dumps(reply).encode() + b"\n")
    replies.flush()
