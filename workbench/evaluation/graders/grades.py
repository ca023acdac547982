"""What is graded, and what grading gives: an answer with its item, a score with its reason or its problem.

An answer is graded without the thinking text that a reasoning model put before it (``final_answer``). Here
too the templates of graders, ``{{item.answer}}`` and ``{{ sample.output_json.total }}``: a template names a
place with dots, in ``item`` (the line of the file) or in ``sample`` (the model's answer), with or without
spaces and without indexes, as the service's documents advise. How each type grades is in ``grader_types``.
"""

import ast
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from workbench.catalog.methods import GRADER_ERRORS
from workbench.errors import DataError
from workbench.evaluation.graders.sandboxed import READABLE, sample_of

Grader: TypeAlias = Mapping[str, object]
"""OpenAI's grader JSON, for example ``{"type": "string_check", "name": …, …}``."""


class BadGraderError(DataError):
    """A grader that cannot grade; ``path`` is its place: ``grader.graders.close.operation``."""

    def __init__(self, path: str, finding: str) -> None:
        """``finding`` goes on from the path: ``is 'equals'; use eq, ne, like, ilike``."""
        super().__init__(f"{path} {finding}.")
        self.path = path
        self.finding = finding


class NoScoreError(ValueError):
    """What keeps an answer from a score; ``flags`` are the service's ``metadata.errors`` that it sets."""

    def __init__(self, problem: str, *flags: str) -> None:
        """``problem`` is one clause: ``the judge refused``."""
        super().__init__(problem)
        self.flags = flags


class UnansweredError(ValueError):
    """A template finds nothing in the answer, which is not the JSON that it should be."""


# Thinking text in an answer's own text, which the hosted reasoning models keep to themselves: DeepSeek's and
# Qwen's tags (whose first one some chat templates write into the prompt), and the channels of gpt-oss
# (OpenAI's harmony format, also as it looks once the special tokens were left out).
_THINKING = re.compile(
    r"\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)|(?:(?!<think).)*?</think(?:ing)?>", re.DOTALL
)
_FINAL_CHANNEL = re.compile(
    r".*<\|channel\|>final(?:(?!<\|message\|>).)*<\|message\|>|analysis.*?assistantfinal", re.DOTALL
)
_END_OF_MESSAGE = re.compile(r"<\|(?:return|end|call)\|>.*", re.DOTALL)


def final_answer(text: str) -> str:
    """What a model said when it had thought: the text without ``<think>…</think>`` or an analysis channel.

    Empty when it was cut off while it thought. A text without thinking comes back as it is.
    """
    if "<|channel|>" in text or text.startswith("analysis"):
        final = _FINAL_CHANNEL.match(text)
        if final:
            return _END_OF_MESSAGE.sub("", text[final.end() :])
        return "" if "<|channel|>analysis" in text else text
    thought = _THINKING.match(text) if "think" in text else None
    return text[thought.end() :].lstrip() if thought else text


@dataclass(frozen=True)
class AnswerToGrade:
    """One answer with its item, as templates see them."""

    output_text: str
    item: Mapping[str, object]
    values: Mapping[str, object]

    @classmethod
    def of(cls, output_text: str, item: Mapping[str, object]) -> "AnswerToGrade":
        """Put both together; thinking text is left out."""
        said = final_answer(output_text)
        return cls(said, item, {"item": item, "sample": sample_of(said)})

    def fill(self, text: str) -> str:
        """Fill every template of ``text``, once: what is filled in is not read again.

        Raises ``NoScoreError`` for an item without the field, ``UnansweredError`` for an answer without it.
        """
        found: dict[str, str] = {}
        for shown, path in places(text):
            value = value_at(path, self.values)
            if value is None and path[0] == "item":
                raise NoScoreError(unfilled(shown, self.item), "invalid_variable_error")
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
        **dict.fromkeys(GRADER_ERRORS, False),
        "python_grader_server_error_type": None,
        "python_grader_runtime_error_details": None,
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


def ungraded(problem: str, *flags: str, model: str | None = None, **details: str) -> Grade:
    """An answer without a score; ``flags`` are the errors that are true, ``details`` those that are texts."""
    errors = {**NO_ERRORS, **dict.fromkeys(flags, True), **details}
    return Grade(math.nan, "", problem, errors=errors, model=model)


def together(grades: Iterable[Grade]) -> Errors:
    """Every error of several grades; of texts, the first."""
    errors = dict(NO_ERRORS)
    for grade in grades:
        errors.update({name: value for name, value in grade.errors.items() if value and not errors[name]})
    return errors


# Templates.

_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PLACE = re.compile(r"\s*(item|sample)((?:\.\w+)+)\s*")


class Place(NamedTuple):
    """One template of a text."""

    shown: str
    """As it stands there: ``{{ item.meta.answer }}``."""
    path: tuple[str, ...]
    """``("item", "meta", "answer")``; empty for a template that names no place."""


@lru_cache(maxsize=512)
def places(text: str) -> tuple[Place, ...]:
    """Which templates does this text have, in order? Kept for the texts of 512 graders."""
    found = []
    for match in _TEMPLATE.finditer(text, 0, _end(text)):
        place = _PLACE.fullmatch(match[1])
        found.append(Place(match[0], (place[1], *place[2].split(".")[1:]) if place else ()))
    return tuple(found)


def misplaced(place: Place) -> str:
    """What is wrong with a template, whatever the items hold; empty when nothing is."""
    if not place.path:
        return (
            f"{place.shown}; write {{{{item.field}}}} or {{{{sample.output_text}}}}, deeper fields with dots"
        )
    if place.path[0] == "sample" and place.path[1] not in READABLE:
        return f"{place.shown}; a sample has {', '.join(READABLE)}"
    if place.path[0] == "sample" and len(place.path) > 2 and place.path[1] != "output_json":
        return f"{place.shown}; only output_json has named fields below it"
    return ""


def filled(text: str, written: Callable[[str], str]) -> str:
    """The text with each template replaced by what ``written`` gives for it."""
    end = _end(text)
    return _TEMPLATE.sub(lambda match: written(match[0]), text[:end]) + text[end:]


def value_at(path: tuple[str, ...], values: Mapping[str, object]) -> object:
    """What stands at a path; ``None`` where there is nothing."""
    value: object = values
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


@lru_cache(maxsize=64)
def item_reads(source: str) -> frozenset[tuple[str, ...]]:
    """The places of an item that a python grader's source reads: ``item["meta"]["answer"]``.

    ``item.get("answer")`` counts, ``item.get("answer", "")`` does not: it has a value for its absence.
    A source that does not compile reads nothing; that a grader does not load is said elsewhere.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    reads: set[tuple[str, ...]] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name == "grade":
            arguments = [argument.arg for argument in function.args.args]
            item = arguments[1] if len(arguments) > 1 else "item"
            reads.update(filter(None, (_read(node, item) for node in ast.walk(function))))
    # Of item["meta"]["answer"] only the whole is given, not item["meta"] again.
    return frozenset(read for read in reads if not any(o[: len(read)] == read and o != read for o in reads))


def _end(text: str) -> int:
    """Where the last template ends; a million brackets that nothing closes are not tried one by one."""
    return text.rfind("}}") + 2 if "}}" in text else 0


def _read(node: ast.AST, item: str) -> tuple[str, ...]:
    """The path that an expression reads of the item; empty when it reads none."""
    match node:
        case ast.Subscript(value=before, slice=ast.Constant(value=str(key)), ctx=ast.Load()):
            pass
        case ast.Call(
            func=ast.Attribute(value=before, attr="get"), args=[ast.Constant(value=str(key))], keywords=[]
        ):
            pass
        case _:
            return ()
    if isinstance(before, ast.Name) and before.id == item:
        return (key,)
    above = _read(before, item)
    return (*above, key) if above else ()
