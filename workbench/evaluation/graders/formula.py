"""The formula of a multi grader: ``0.3 * exact + 0.7 * min(close, 1)``.

It knows numbers, the names of the graders, ``+ - * / ^``, brackets and eight functions, nothing else. A
file apart because a small language is a subject of its own; its one caller is ``grader_types``.
Source: Microsoft Learn, "Reinforcement fine-tuning" (10/05/2026), multi graders.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,  # raises where ** would give a complex number
}
_FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "min": lambda *values: min(values),
    "max": lambda *values: max(values),
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
            return _FUNCTIONS[name](*(_value(argument, scores) for argument in arguments))
    raise AssertionError(node)


def _number(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        raise FormulaError("has a number beyond every number") from None
