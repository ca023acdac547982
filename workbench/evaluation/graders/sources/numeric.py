"""The last number of an answer against the last number of the reference, within ``TOLERANCE``: 1.0 or 0.0.

Signs, exponents, percent (``12.5%`` is 0.125) and fractions (``3/4``, ``1 1/2``) are understood. So are
thousands: ``1,234,567``, and apostrophes, no-break or thin spaces in place of the commas. What can only be
the continental spelling is read as that (``1.234,5``, ``3,75``); ``1,234`` is read as in English.
"""

import math
import re
from collections.abc import Mapping

TOLERANCE = 0.0  # the largest difference that is still right

_GAP = "[\u00a0\u2009\u202f'\u2019]"
_NUMBER = re.compile(
    r"(?<![^\W\d_])(?:(?<![\w)%.,])(?P<sign>[-\u2212]))?[$\u20ac\u00a3]?(?:"
    r"(?:(?P<whole>\d+)[ ])?(?<![/\d])(?P<top>\d+)/(?P<bottom>\d+)(?![/\d])"
    rf"|(?P<digits>\d{{1,3}}(?:{_GAP}\d{{3}})+(?!\d)(?:[.,]\d+)?|\d(?:[\d.,]*\d)?|\.\d+)(?P<power>[eE][-+]?\d{{1,4}}(?!\w))?"
    r"(?P<percent>\s?%)?)"
)


def last_number(text: str) -> float | None:
    """The last number of a text; ``None`` when it has none that is finite."""
    number = None
    for match in _NUMBER.finditer(text):
        number = _value(match)
    return number if number is not None and math.isfinite(number) else None


def right(answer: str, reference: str) -> tuple[float, str]:
    """The score, and why."""
    said, wanted = last_number(answer), last_number(reference)
    if wanted is None:
        raise ValueError(f"the reference {reference[:80]!r} has no number")
    if said is None:
        return 0.0, "the answer has no number"
    # A billionth of the size is rounding, not an answer.
    if math.isclose(said, wanted, rel_tol=1e-9, abs_tol=TOLERANCE):
        return 1.0, f"{said:.12g} is {wanted:.12g}" + (f" within {TOLERANCE:g}" if TOLERANCE else "")
    return 0.0, f"{said:.12g} is not {wanted:.12g}" + (f" within {TOLERANCE:g}" if TOLERANCE else "")


def grade(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """1.0 when the two numbers are the same within the tolerance."""
    return right(str(sample["output_text"]), str(item["answer"]))[0]


def explain(sample: Mapping[str, object], item: Mapping[str, object]) -> str:
    """Which numbers were compared."""
    return right(str(sample["output_text"]), str(item["answer"]))[1]


def _value(match: "re.Match[str]") -> float:
    sign = -1 if match["sign"] else 1
    if match["top"]:
        bottom = float(match["bottom"])
        return sign * (float(match["whole"] or 0) + float(match["top"]) / bottom) if bottom else math.nan
    number = float(_plain(match["digits"]) + (match["power"] or ""))
    return sign * (number / 100 if match["percent"] else number)


def _plain(digits: str) -> str:
    """Digits with at most one mark, the decimal point."""
    digits = re.sub(_GAP, "", digits)
    commas, dots = digits.count(","), digits.count(".")
    if commas and dots:
        point = max(",.", key=digits.rfind)
        other = "." if point == "," else ","
        return digits.replace(other, "").replace(point, ".") if digits.count(point) == 1 else _last(digits)
    if re.fullmatch(r"\d{1,3}(,\d{3})+|\d{1,3}(\.\d{3}){2,}", digits):
        return digits.replace(",", "").replace(".", "")
    return digits.replace(",", ".") if commas + dots <= 1 else _last(digits)


def _last(digits: str) -> str:
    """Of a list such as ``1,2,3``, the last."""
    return re.split("[.,]", digits)[-1]
