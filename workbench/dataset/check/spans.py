"""Stretches of a text that somebody should look at, and the ones that win where two overlap."""

from array import array
from bisect import bisect, insort
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Span(NamedTuple):
    """``text[start:end]`` and what it is."""

    start: int
    end: int
    kind: str
    """``email``, ``phone``, ``card``, ``github_token``, …: a key of ``privacy.KINDS``."""
    rule: str
    """``pii`` or ``secret``."""


def disjoint(spans: Iterable[Span]) -> list[Span]:
    """The spans in order; of two that overlap the secret stays, then the longer one, then the first."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.rule != "secret", span.start - span.end)):
        place = bisect(kept, span)
        before, behind = kept[place - 1 : place], kept[place : place + 1]
        if all(other.end <= span.start for other in before) and all(
            span.end <= other.start for other in behind
        ):
            insort(kept, span)
    return kept


# How often each of many texts stands in a file, in sixteen bytes a row; and how shares are said.


class TextCounts:
    """Counts texts by a hash of 64 bits, and knows where each stands first."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self._hashes = array("Q")
        self._numbers = array("q")
        self._last = ("", _hash(""))  # the same text often stands in row after row

    def __len__(self) -> int:
        """How many texts were counted, equal ones among them."""
        return len(self._hashes)

    def add(self, text: str, number: int) -> None:
        """Count the text of this row."""
        if text != self._last[0]:
            self._last = (text, _hash(text))
        self._hashes.append(self._last[1])
        self._numbers.append(number)

    def merge(self, later: "TextCounts") -> None:
        """Take over what was counted behind this."""
        self._hashes.extend(later._hashes)
        self._numbers.extend(later._numbers)

    @property
    def kinds(self) -> int:
        """How many different texts there are."""
        return len(np.unique(self._all))

    @property
    def most_frequent(self) -> tuple[int, int]:
        """How many rows have the most frequent text, and the first of them; of equals the earliest."""
        _, first, times = np.unique(self._all, return_index=True, return_counts=True)
        best = max(range(len(first)), key=lambda kind: (times[kind], -first[kind]))
        return int(times[best]), self._numbers[int(first[best])]

    @property
    def first_other(self) -> int:
        """The first row with another than the most frequent text."""
        _, number = self.most_frequent
        usual = self._hashes[self._numbers.index(number)]
        return self._numbers[int(np.argmax(self._all != usual))]

    @property
    def _all(self) -> NDArray[np.uint64]:
        return np.array(self._hashes, np.uint64)  # a copy, because an array that lends its memory cannot grow


def share(part: int, whole: int) -> str:
    """``12 %``, ``0.4 %``."""
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.1g} %"


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
