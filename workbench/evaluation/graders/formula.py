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
from typing import TypeAlias

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


Scores: TypeAlias = Mapping[str, float]


@dataclass(frozen=True)
class Formula:
    """A formula that was understood."""

    text: str
    names: frozenset[str]
    """The graders that it names."""
    calculate: Callable[[Scores], float]

    def value(self, scores: Scores) -> float:
        """What it gives for these scores; ``FormulaError`` when that is no finite number."""
        try:
            value = float(self.calculate(scores))
        except ZeroDivisionError:
            raise FormulaError("divides by zero") from None
        except OverflowError:
            raise FormulaError("grows beyond every number") from None
        except RecursionError:
            raise FormulaError("is nested too deeply") from None
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
        names: set[str] = set()
        calculate = _understood(tree, names)
    except SyntaxError as error:
        raise FormulaError(f"cannot be read: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise FormulaError("is nested too deeply") from None
    except ValueError as error:
        raise error if isinstance(error, FormulaError) else FormulaError(f"cannot be read: {error}") from None
    return Formula(text, frozenset(names), calculate)


def _understood(node: ast.expr, names: set[str]) -> Callable[[Scores], float]:
    """What calculates this part of a formula; the graders that it names are added to ``names``."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            value = _number(number)
            return lambda scores: value
        case ast.Name(id=name):
            names.add(name)
            return lambda scores: scores[name]
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _understood(operand, names)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _understood(operand, names)
            return lambda scores: -inner(scores)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            apply = _OPERATORS[type(op)]
            one, other = _understood(left, names), _understood(right, names)
            return lambda scores: apply(one(scores), other(scores))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            if not arguments or (len(arguments) > 1 and name not in _OF_MANY):
                raise FormulaError(f"gives {name} {len(arguments)} values")
            function, given = _FUNCTIONS[name], [_understood(argument, names) for argument in arguments]
            return lambda scores: function(*[each(scores) for each in given])
        case _:
            raise FormulaError(f"has {ast.unparse(node)[:80]!r}; {_KNOWN}")


def _number(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        raise FormulaError("has a number beyond every number") from None
