"""Every rule of a check in a sentence: what it asks of the data, or why it is there.

The rules of the format, of texts and of privacy are explained where they are; those of lines, tokens and
repeats, which tell the same at every place, here.
"""

from collections.abc import Mapping
from types import MappingProxyType

from workbench.dataset.checking import rules
from workbench.dataset.checking.lines import DEEPEST, LONGEST
from workbench.dataset.quality import privacy, texts

_OF_LINES: Mapping[str, str] = {
    "json": "Every line is one whole JSON value; a line that breaks off is not an example.",
    "object": "That value is an object; a list, a text or a number cannot be an example.",
    "encoding": "The file is UTF-8 to its last byte; a byte order mark may stand in front, and nowhere else.",
    "line_ends": "Lines may end as on Windows, which services take; other tools may show stray characters.",
    "duplicate_key": "A key stands once in its object; of two values, readers silently take the last.",
    "not_finite": "NaN and Infinity are no JSON; a strict reader refuses the line.",
    "surrogate": "Half of a surrogate pair is no character, and no UTF-8 can hold it.",
    "control": "Control characters must be escaped, and in a text they are mostly what a conversion left.",
    "depth": f"No format nests its lists and objects {DEEPEST} deep, and readers give up there.",
    "long_line": f"A line of more than {LONGEST // 2**20} MB is no example but a file without line breaks.",
    "method": "All rows are checked for one method; where none is named, the first rows decide.",
}
_OF_TOKENS: Mapping[str, str] = {
    "too_long": "An example has a limit of tokens, which differs from model to model.",
    "token_outlier": "An example far longer than the rest is often a slip, and sets what a batch costs.",
    "not_counted": "What is not counted (large images, an unknown tokenizer) is missing from the price.",
}
_OF_REPEATS: Mapping[str, str] = {
    "duplicate": "A row that stands twice is learned twice; case and punctuation do not make it another.",
    "near_duplicate": "Rows that are nearly the same teach little more than one of them, and cost as much.",
    "contradiction": "One prompt with two answers teaches to guess.",
    "reversed": "Two pairs that prefer the opposite for one prompt cancel out.",
    "overlap": "A prompt of the test or validation data is learned by heart, and the score lies.",
    "near_overlap": "A prompt that is nearly one of the test or validation data leaks its answer as well.",
    "same_group": "A customer or document on both sides of a split makes the score look better than it is.",
}

ASPECTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "lines": _OF_LINES,
        "format": rules.EXPLAINED,
        "tokens": _OF_TOKENS,
        "repeats": _OF_REPEATS,
        "texts": texts.EXPLAINED,
        "privacy": privacy.EXPLAINED,
    }
)
"""The rules by what they look at: the lines always, the rest as ``check(only=...)`` names it."""

EXPLAINED: Mapping[str, str] = MappingProxyType(
    {rule: sentence for of_aspect in ASPECTS.values() for rule, sentence in of_aspect.items()}
)
"""Every rule, in the order of a table for people."""
