"""The formula of a multi grader: ``0.3 * exact + 0.7 * min(close, 1)``.

It knows numbers, the names of the graders, ``+ - * / ^``, brackets, and eight functions, and nothing else.
Source: Microsoft Learn, "Reinforcement fine-tuning" (10/05/2026), multi graders.
"""

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from workbench.dataset.templates import texts as texts_with_templates
from workbench.dataset.templates import value_at
from workbench.errors import DataError
from workbench.evaluation.graders.grades import known_places, misplaced, unfilled
from workbench.evaluation.graders.judges import numbers, text_of, texts
from workbench.evaluation.graders.sandbox import load_problem
from workbench.evaluation.graders.similarity import METRICS

_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,  # raises where ** would give a complex number
}
_FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}
_OF_MANY = ("min", "max")
_LONGEST = 2_000  # characters
_KNOWN = f"a formula knows numbers, the graders' names, + - * / ^ and {', '.join(_FUNCTIONS)}"


class FormulaError(ValueError):
    """The formula cannot be read or has no value; the message completes "the formula …"."""


@dataclass(frozen=True)
class Formula:
    """A formula that was understood."""

    text: str
    tree: ast.expr

    @property
    def names(self) -> frozenset[str]:
        """The graders that it names."""
        called = {id(node.func) for node in ast.walk(self.tree) if isinstance(node, ast.Call)}
        return frozenset(
            node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name) and id(node) not in called
        )

    def value(self, scores: Mapping[str, float]) -> float:
        """What it gives for these scores; ``FormulaError`` when that is no finite number."""
        try:
            value = float(_value(self.tree, scores))
        except ZeroDivisionError:
            raise FormulaError("divides by zero") from None
        except OverflowError:
            raise FormulaError("grows beyond every number") from None
        except ValueError as error:
            raise FormulaError(f"has no value ({error})") from None
        if not math.isfinite(value):
            raise FormulaError(f"gives {value}")
        return value


@lru_cache(maxsize=64)
def formula(text: str) -> Formula:
    """Read a formula; raises ``FormulaError``."""
    if len(text) > _LONGEST:
        raise FormulaError(f"has {len(text):,} characters; at most {_LONGEST:,} are read")
    if "**" in text:
        raise FormulaError("has '**'; write powers with '^'")
    try:
        # A line break inside brackets would be fine, one outside is not; neither means anything here.
        tree = ast.parse(" ".join(text.split()).replace("^", "**"), mode="eval").body
        _check(tree)
    except SyntaxError as error:
        raise FormulaError(f"cannot be read: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise FormulaError("is nested too deeply") from None
    except ValueError as error:
        raise error if isinstance(error, FormulaError) else FormulaError(f"cannot be read: {error}") from None
    return Formula(text, tree)


def _check(node: ast.expr) -> None:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            _number(number)
        case ast.Name():
            pass
        case ast.UnaryOp(op=ast.UAdd() | ast.USub(), operand=inner):
            _check(inner)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            _check(left)
            _check(right)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            if not arguments or (len(arguments) > 1 and name not in _OF_MANY):
                raise FormulaError(f"gives {name} {len(arguments)} values")
            for argument in arguments:
                _check(argument)
        case _:
            raise FormulaError(f"has {ast.unparse(node)[:80]!r}; {_KNOWN}")


def _value(node: ast.expr, scores: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return _number(number)
        case ast.Name(id=name):
            return scores[name]
        case ast.UnaryOp(op=op, operand=inner):
            value = _value(inner, scores)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, scores), _value(right, scores))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            values = [_value(argument, scores) for argument in arguments]
            return (
                _FUNCTIONS[name](*values)
                if len(values) == 1 and name not in _OF_MANY
                else _FUNCTIONS[name](values)
            )
    raise AssertionError(node)


def _number(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        raise FormulaError("has a number beyond every number") from None


# What is wrong with a grader, told with its place before an answer is paid for.
#
# Required fields are those of ``openai.types.graders``. A grader inside a multi grader is held to the same,
# under its own path: ``grader.graders.close.operation``.

Grader: TypeAlias = Mapping[str, object]
"""OpenAI's grader JSON, for example ``{"type": "string_check", "name": …, …}``."""

OPERATIONS = ("eq", "ne", "like", "ilike")
ROLES = ("system", "developer", "user", "assistant")
# The texts that each kind needs besides "type".
_TEXTS: Mapping[str, tuple[str, ...]] = {
    "string_check": ("name", "input", "reference", "operation"),
    "text_similarity": ("name", "input", "reference", "evaluation_metric"),
    "python": ("name", "source"),
    "score_model": ("name", "model"),
    "label_model": ("name", "model"),
    "multi": ("name", "calculate_output"),
}
TYPES = tuple(_TEXTS)


class BadGraderError(DataError):
    """A grader that cannot grade; ``path`` is its place: ``grader.graders.close.operation``."""

    def __init__(self, path: str, finding: str) -> None:
        """``finding`` goes on from the path: ``is 'equals'; use eq, ne, like, ilike``."""
        super().__init__(f"{path} {finding}.")
        self.path = path


def check_grader(grader: Grader, items: Iterable[Mapping[str, object]] = ()) -> None:
    """Tell me what is wrong with my grader, and with the items it will read, before anything is paid.

    Python sources are loaded once, in a sandbox. Raises ``DataError`` with the path of the finding
    (``grader.operation``), or with the template that an item cannot fill.
    """
    check_shape(grader)
    for path, inner in _with_inner(grader):
        if inner["type"] == "python":
            problem = load_problem(str(inner["source"]))
            if problem:
                raise BadGraderError(f"{path}.source", f"does not load: {problem}")
    every = {place for _, text in texts_with_templates(grader) for place in known_places(text)}
    needed = sorted(place for place in every if place.path[0] == "item")
    for item in items:
        for shown, path_in_item in needed:
            if value_at(path_in_item, {"item": item}) is None:
                raise DataError(f"grader {grader['name']!r}: {unfilled(shown, item)}.")


def check_shape(grader: Grader, path: str = "grader") -> None:
    """The same without loading any source: fields, kinds, templates, formula."""
    if not isinstance(grader, Mapping):
        raise BadGraderError(
            path,
            f"is a mapping in OpenAI's JSON, not {type(grader).__name__}; "
            f'take a ready-made one with grader("exact"), or write {{"type": "string_check", …}}',
        )
    kind = grader.get("type")
    if kind == "endpoint":
        raise BadGraderError(
            f"{path}.type", "is 'endpoint', which only Azure can call; write its rule as a python grader here"
        )
    if not isinstance(kind, str) or kind not in _TEXTS:
        raise BadGraderError(f"{path}.type", f"is {kind!r}; there are {', '.join(TYPES)}")
    for field in _TEXTS[kind]:
        value = grader.get(field)
        if not isinstance(value, str) or not value.strip():
            finding = "is missing" if field not in grader else f"is {value!r}"
            raise BadGraderError(f"{path}.{field}", f"{finding}; a {kind} grader needs a text there")
    _threshold(grader, path)
    _CHECKS.get(kind, _nothing_more)(grader, path)
    for place_of_text, text in texts_with_templates(grader, path):
        for place in known_places(text):
            wrong = misplaced(place)
            if wrong:
                raise BadGraderError(place_of_text, f"has the template {wrong}")


def _with_inner(grader: Grader) -> Iterable[tuple[str, Grader]]:
    yield "grader", grader
    inner = grader.get("graders")
    if grader["type"] == "multi" and isinstance(inner, Mapping):
        yield from ((f"grader.graders.{name}", one) for name, one in inner.items())


def _threshold(grader: Grader, path: str) -> None:
    value = grader.get("pass_threshold")
    if value is not None and not _is_number(value):
        raise BadGraderError(f"{path}.pass_threshold", f"is {value!r}; it is the lowest score that passes")


def _nothing_more(grader: Grader, path: str) -> None:
    """A kind whose texts are all there is."""


def _string_check(grader: Grader, path: str) -> None:
    if grader["operation"] not in OPERATIONS:
        raise BadGraderError(f"{path}.operation", f"is {grader['operation']!r}; use {', '.join(OPERATIONS)}")


def _text_similarity(grader: Grader, path: str) -> None:
    metric = grader["evaluation_metric"]
    if metric == "cosine":
        raise BadGraderError(
            f"{path}.evaluation_metric",
            "is 'cosine', which compares embeddings of a model that only the service has (and it takes "
            "it for evals only); use rouge_l or fuzzy_match, or a score_model grader for the meaning",
        )
    if metric not in METRICS:
        raise BadGraderError(f"{path}.evaluation_metric", f"is {metric!r}; use {', '.join(METRICS)}")


def _judge(grader: Grader, path: str) -> None:
    messages = grader.get("input")
    if not isinstance(messages, list | tuple) or not messages:
        raise BadGraderError(f"{path}.input", "is the list of messages to the judge, at least one")
    for number, message in enumerate(messages):
        place = f"{path}.input[{number}]"
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            raise BadGraderError(f"{place}.role", f"is one of {', '.join(ROLES)}")
        if text_of(message.get("content")) is None:
            raise BadGraderError(
                f"{place}.content", "is a text or a list of text parts; judges here read text only"
            )
    sampling = grader.get("sampling_params")
    if sampling is not None and not isinstance(sampling, Mapping):
        raise BadGraderError(f"{path}.sampling_params", 'is an object such as {"temperature": 0}')


def _score_model(grader: Grader, path: str) -> None:
    _judge(grader, path)
    value = grader.get("range")
    if value is None:
        return
    ends = numbers(value)
    if not isinstance(value, list | tuple) or len(value) != 2 or len(ends) != 2 or not ends[0] < ends[1]:
        raise BadGraderError(f"{path}.range", f"is {value!r}; write [lowest, highest]")


def _label_model(grader: Grader, path: str) -> None:
    _judge(grader, path)
    labels, passing = texts(grader.get("labels")), texts(grader.get("passing_labels"))
    if len({label.strip().casefold() for label in labels}) < max(2, len(labels)) or not all(
        map(str.strip, labels)
    ):
        raise BadGraderError(
            f"{path}.labels", "is a list of two or more texts that differ by more than capitals"
        )
    strange = sorted(set(passing) - set(labels))
    if not passing or strange:
        finding = f"has {strange[0]!r}, which is no label" if strange else "is empty"
        raise BadGraderError(
            f"{path}.passing_labels", f"{finding}; name those of {', '.join(labels)} that pass"
        )


def _multi(grader: Grader, path: str) -> None:
    inner = grader.get("graders")
    if not isinstance(inner, Mapping) or not inner:
        raise BadGraderError(f"{path}.graders", "is an object of graders by name, at least one")
    for name, one in inner.items():
        if not (isinstance(name, str) and name.isascii() and name.isidentifier()):
            raise BadGraderError(
                f"{path}.graders", f"has the name {name!r}; a formula can only name letters, digits and _"
            )
        if isinstance(one, Mapping) and one.get("type") == "multi":
            raise BadGraderError(f"{path}.graders.{name}", "is a multi grader; there is none inside another")
        check_shape(one, f"{path}.graders.{name}")
    try:
        unknown = sorted(formula(str(grader["calculate_output"])).names - inner.keys())
    except FormulaError as error:
        raise BadGraderError(f"{path}.calculate_output", str(error)) from None
    if unknown:
        raise BadGraderError(
            f"{path}.calculate_output", f"names {unknown[0]!r}; the graders are {', '.join(map(str, inner))}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_CHECKS: Mapping[str, Callable[[Grader, str], None]] = {
    "string_check": _string_check,
    "text_similarity": _text_similarity,
    "score_model": _score_model,
    "label_model": _label_model,
    "multi": _multi,
}
