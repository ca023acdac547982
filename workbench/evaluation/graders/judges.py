"""Graders that ask another model, for a score or a label, or an address on this machine, for a score.

The model is asked through an ``Ask`` of the caller's, so the same grader works with any client and inside
the service. What it replies, thinking text left out, is read leniently in form and strictly in substance:
one number within the range or one of the labels, else there is no score. Nothing is clamped or guessed.
"""

import hashlib
import http.client
import json
import math
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import urlsplit

from workbench.errors import DataError, WorkbenchError
from workbench.evaluation.graders.grades import (
    AnswerToGrade,
    BadGraderError,
    Grade,
    Grader,
    NoScoreError,
    final_answer,
    ungraded,
)
from workbench.evaluation.graders.sandboxed import sample_of

JSON: TypeAlias = "str | int | float | bool | Sequence[JSON] | Mapping[str, JSON] | None"


@dataclass(frozen=True)
class Judged:
    """What a judge is asked."""

    model: str
    messages: tuple[Mapping[str, str], ...]
    """``role`` and ``content`` of each, templates filled."""
    sampling: Mapping[str, JSON]
    """``sampling_params``: temperature, top_p, seed, max_completions_tokens, reasoning_effort."""

    @property
    def chat(self) -> dict[str, JSON]:
        """The body of the chat completion that asks it."""
        sampling = {_SPELT.get(name, name): value for name, value in self.sampling.items()}
        return {**sampling, "messages": [dict(message) for message in self.messages], "model": self.model}


# OpenAI's graders spell it with one letter more than its chats do.
_SPELT = {"max_completions_tokens": "max_completion_tokens"}


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


_REFUSED, _UNREADABLE = "model_grader_refusal_error", "model_grader_parse_error"

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


ROLES = ("system", "developer", "user", "assistant")


def check_score_model(grader: Grader, path: str) -> None:
    """Raise ``BadGraderError`` for messages, sampling or a range that are none."""
    _check_judge(grader, path)
    value = grader.get("range")
    if value is None:
        return
    ends = _numbers(value)
    if not isinstance(value, list | tuple) or len(value) != 2 or len(ends) != 2 or not ends[0] < ends[1]:
        raise BadGraderError(f"{path}.range", f"is {value!r}; write [lowest, highest]")


def check_label_model(grader: Grader, path: str) -> None:
    """Raise ``BadGraderError`` for messages, sampling or labels that are none."""
    _check_judge(grader, path)
    labels, passing = _texts(grader.get("labels")), _texts(grader.get("passing_labels"))
    different = {label.strip().casefold() for label in labels}
    if len(different) < max(2, len(labels)) or "" in different:
        finding = "is a list of two or more texts that differ by more than capitals"
        raise BadGraderError(f"{path}.labels", finding)
    strange = sorted(set(passing) - set(labels))
    if not passing or strange:
        finding = f"has {strange[0]!r}, which is no label" if strange else "is empty"
        finding += f"; name those of {', '.join(labels)} that pass"
        raise BadGraderError(f"{path}.passing_labels", finding)


def _check_judge(grader: Grader, path: str) -> None:
    messages = grader.get("input")
    if not isinstance(messages, list | tuple) or not messages:
        raise BadGraderError(f"{path}.input", "is the list of messages to the judge, at least one")
    for number, message in enumerate(messages):
        place = f"{path}.input[{number}]"
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            raise BadGraderError(f"{place}.role", f"is one of {', '.join(ROLES)}")
        if _text_of(message.get("content")) is None:
            finding = "is a text or a list of text parts; judges here read text only"
            raise BadGraderError(f"{place}.content", finding)
    sampling = grader.get("sampling_params")
    if sampling is not None and not isinstance(sampling, Mapping):
        raise BadGraderError(f"{path}.sampling_params", 'is an object such as {"temperature": 0}')


def score_by_model(grader: Grader, answer: AnswerToGrade, ask: Ask | None) -> Grade:
    """The number that the grader's model gives: the only one in its reply, or the one in its "Score:" line.

    In a reply that is a JSON object, ``result`` or ``score``. No number, several, or one outside the range
    is no score.
    """
    low, high = range_of(grader)

    def read(reply: Reply) -> Grade:
        score = _score(reply, low, high)
        return Grade(score, f"{grader['model']} gave {score:g}, on a scale from {low:g} to {high:g}")

    return _asked(grader, answer, ask, _ASK_SCORE.format(low=low, high=high), read)


def label_by_model(grader: Grader, answer: AnswerToGrade, ask: Ask | None) -> Grade:
    """Whether the label that the judge chooses passes: its reply, or the first, last or "Label:" line.

    A label in the middle of a sentence does not count: "not correct" holds the word, too.
    """
    labels = _texts(grader["labels"])

    def read(reply: Reply) -> Grade:
        label = _label(reply, labels)
        passing = label in _texts(grader["passing_labels"])
        passes = "passes" if passing else "fails"
        return Grade(float(passing), f"{grader['model']} chose {label!r}, which {passes}")

    return _asked(grader, answer, ask, _ASK_LABEL.format(labels=", ".join(labels)), read)


# An address of the user's own. Azure calls it on the internet; here it is called on this machine only.

RETRIES = 3  # after which the answer stays without a score, as on Azure
LONGEST_REPLY = 1024 * 1024  # bytes, as on Azure
_HERE = ("127.0.0.1", "localhost", "::1")
_HEADER, _HEADER_VALUE = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII), re.compile(r"[ -~]*")


def check_endpoint(grader: Grader, path: str) -> None:
    """Raise ``BadGraderError`` for an address that is not on this machine, or headers that are none."""
    try:
        address = urlsplit(str(grader["url"]))
        here = address.scheme == "http" and address.hostname in _HERE and address.port is not None
    except ValueError:
        here = False
    url = str(grader["url"])
    if here and not (url.isascii() and url.isprintable() and " " not in url):
        finding = f"is {url!r}; write characters such as spaces and umlauts as %20 and %C3%BC"
        raise BadGraderError(f"{path}.url", finding)
    if not here:
        finding = (
            f"is {grader['url']!r}, which only Azure can call; here it is an address of this machine such as "
            "http://127.0.0.1:8000/grade, or write its rule as a python grader"
        )
        raise BadGraderError(f"{path}.url", finding)
    headers = grader.get("headers")
    if headers is not None and not (
        isinstance(headers, Mapping)
        and all(isinstance(part, str) for pair in headers.items() for part in pair)
        and all(_HEADER.fullmatch(name) and _HEADER_VALUE.fullmatch(value) for name, value in headers.items())
    ):
        finding = 'is an object of texts in ASCII such as {"x-key": "secret"}'
        raise BadGraderError(f"{path}.headers", finding)
    rate = grader.get("rate_limit")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or not rate > 0):
        finding = f"is {rate!r}; it should be the requests that the address takes in a second, such as 10"
        raise BadGraderError(f"{path}.rate_limit", finding)


_NEXT: dict[str, float] = {}
"""By address: when the next request may leave, on the clock of ``time.monotonic``."""
_TURN = threading.Lock()


def _wait_for_turn(grader: Grader) -> float:
    """Wait until the address takes a request again; the seconds that this took.

    ``rate_limit`` is taken as requests a second, in which Azure counts as well (50 at most); no source says
    so. Requests of one process leave evenly spread, from whatever thread.
    """
    rate, url, began = grader.get("rate_limit"), str(grader["url"]), time.monotonic()
    if not isinstance(rate, int | float):
        return 0.0
    with _TURN:
        mine = max(_NEXT.get(url, began), began)
        _NEXT[url] = mine + 1 / rate
    time.sleep(max(0.0, mine - began))
    return time.monotonic() - began


def score_by_endpoint(grader: Grader, answer: AnswerToGrade, seconds: float) -> Grade:
    """What the address replies to a sample and its item: ``{"score": 0.7}``, within ``seconds`` in all.

    A failing address is asked again up to three times, and none oftener than its ``rate_limit`` allows; the
    wait for that is no part of ``seconds``.
    """
    sent = {"sample": sample_of(answer.output_text), "item": dict(answer.item)}
    try:
        text = json.dumps(sent)
    except (TypeError, ValueError, RecursionError) as error:
        raise NoScoreError(f"the item cannot be written as JSON: {error}", "other_error") from None
    body = json.dumps({**sent, "trace_id": f"trace_{hashlib.sha256(text.encode()).hexdigest()[:32]}"})
    deadline, problem = time.monotonic() + seconds, ""
    for _ in range(1 + RETRIES):
        deadline += _wait_for_turn(grader)
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            status, reply = _post(grader, body.encode(), left)
        except TimeoutError:
            problem = f"{grader['url']} did not reply within {seconds:g} seconds"
            break
        except (OSError, http.client.HTTPException) as error:
            problem = f"{grader['url']} cannot be reached: {error}"
            continue
        if status == 200:
            return _score_in(grader, reply)
        problem = f"{grader['url']} replied with status {status}"
        if status < 500:
            break
    raise NoScoreError(problem, "other_error")


def _post(grader: Grader, body: bytes, seconds: float) -> tuple[int, bytes]:
    address = urlsplit(str(grader["url"]))
    headers = grader.get("headers")
    sent = {**(headers if isinstance(headers, Mapping) else {}), "content-type": "application/json"}
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=seconds)
    deadline = time.monotonic() + seconds
    end = None
    try:
        connection.connect()
        # The timeout is that of each piece of a reply, so that one which comes byte by byte would not end.
        end = threading.Timer(seconds, _hang_up, (connection.sock,))
        end.daemon = True
        end.start()
        place = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection.request("POST", place, body, sent)
        response = connection.getresponse()
        status, reply = response.status, response.read(LONGEST_REPLY)
    except (OSError, http.client.HTTPException) as error:
        if time.monotonic() < deadline:
            raise
        raise TimeoutError from error
    finally:
        if end is not None:
            end.cancel()
        connection.close()
    if time.monotonic() >= deadline:  # what was read may be half a reply
        raise TimeoutError
    return status, reply


def _hang_up(connected: socket.socket) -> None:
    with suppress(OSError):  # just closed
        connected.shutdown(socket.SHUT_RDWR)


def _score_in(grader: Grader, reply: bytes) -> Grade:
    try:
        said = json.loads(reply)
    except (ValueError, RecursionError):
        said = None
    score = said.get("score") if isinstance(said, dict) else None
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(_float(score)):
        shown = _short(reply.decode(errors="replace"))
        raise NoScoreError(f'the reply is no JSON with a finite "score": {shown}', "other_error")
    return Grade(float(score), f"{grader['url']} gave {score:g}")


def _asked(
    grader: Grader, answer: AnswerToGrade, ask: Ask | None, form: str, read: Callable[[Reply], Grade]
) -> Grade:
    """Ask the judge; ``form`` says how the reply should end, ``read`` makes a grade of it."""
    model = str(grader["model"])
    if ask is None:
        raise DataError(
            f"grader {grader['name']!r} asks {model}, and there is nobody to ask it; give ask=, a function "
            "that takes what the judge is asked and returns its reply."
        )
    messages = grader["input"]
    assert isinstance(messages, list | tuple)
    asked = [
        {"role": str(message["role"]), "content": answer.fill(_text_of(message["content"]) or "")}
        for message in messages
    ]
    if asked[-1]["role"] == "user":
        asked[-1] = {"role": "user", "content": f"{asked[-1]['content']}\n\n{form}"}
    else:
        asked.append({"role": "user", "content": form})
    sampling = grader.get("sampling_params")
    try:
        reply = ask(Judged(model, tuple(asked), sampling if isinstance(sampling, Mapping) else {}))
    except JudgeError as error:
        why = str(error)
        return ungraded(why, "model_grader_server_error", model=model, model_grader_server_error_details=why)
    try:
        if reply.refused:
            raise _refused(reply.text)
        grade = read(replace(reply, text=final_answer(reply.text)))
    except NoScoreError as error:
        grade = ungraded(str(error), *error.flags)
    return replace(grade, tokens={model: reply.tokens}, model=model)


def _score(reply: Reply, low: float, high: float) -> float:
    # "4 out of 5" is 4 where 5 is the most there is; "8/10" is not, where 1 is.
    text = re.sub(rf"[ \t]?(?:/|out of)[ \t]?{high:g}(?![\w.]*\d)", "", reply.text).strip()
    said = _said(text, ("result", "score"))
    plain = _NUMBER.fullmatch(text.strip(" *`'\"\n").rstrip("."))
    if isinstance(said, int | float) and not isinstance(said, bool):
        found = {_float(said)}
    elif plain:
        found = {_number(plain[0])}
    else:
        found = {_number(match[1]) for match in _SCORE_LINE.finditer(text)}
    if not found and _REFUSAL.search(text):
        raise _refused(reply.text)
    found = found or {_number(match[0]) for match in _NUMBER.finditer(text)}
    if len(found) != 1:
        many = f"{len(found)} different numbers" if found else "no number"
        raise NoScoreError(f"the judge's reply has {many}: {_short(reply.text)}", _UNREADABLE)
    (score,) = found
    if not low <= score <= high:
        raise NoScoreError(f"the judge gave {score:g}, which is outside {low:g} to {high:g}", _UNREADABLE)
    return score


def _label(reply: Reply, known: Sequence[str]) -> str:
    labels = {_bare(label): label for label in known}
    text = reply.text.strip()
    lines = text.splitlines() or [""]
    said = _said(text, ("label", "result"))
    candidates = [said] if isinstance(said, str) else []
    candidates += _LABEL_LINE.findall(text) or [lines[0], lines[-1]]
    found = {labels[_bare(line)] for line in candidates if _bare(line) in labels}
    if not found and _REFUSAL.search(text):
        raise _refused(reply.text)
    if len(found) != 1:
        many = f"{len(found)} labels" if found else f"none of the labels {', '.join(known)}"
        raise NoScoreError(f"the judge's reply has {many}: {_short(reply.text)}", _UNREADABLE)
    return found.pop()


def range_of(grader: Mapping[str, object]) -> tuple[float, float]:
    """The lowest and the highest score; 0 to 1 when the grader does not say."""
    low, high = _numbers(grader.get("range") or (0, 1))
    return low, high


def _text_of(content: object) -> str | None:
    """The text of a message's content; None when there is anything but text in it."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        text, kind = content.get("text"), content.get("type")
        is_text = kind in ("input_text", "output_text", "text") and isinstance(text, str)
        return text if is_text else None
    if isinstance(content, list | tuple) and content:
        parts = [_text_of(part) for part in content]
        return None if None in parts else "".join(part for part in parts if part)
    return None


def _texts(value: object) -> tuple[str, ...]:
    """A list of texts, whatever else is in it left out."""
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list | tuple) else ()


def _numbers(value: object) -> tuple[float, ...]:
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


def _float(number: float) -> float:
    """An integer too large for a float is infinite, as it is where it is written with an exponent."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def _bare(text: str) -> str:
    return text.strip(" \t*_`'\".,;:!()[]").casefold()


def _refused(text: str) -> NoScoreError:
    finding = f"the judge refused: {_short(text)}" if text.strip() else "the judge refused"
    return NoScoreError(finding, _REFUSED)


def _short(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "…")
