"""Answers and prompts of unusual length, and pairs in which the preferred answer is mostly the longer one.

Lengths are in characters; what the model can read in tokens is another room's.
"""

import math
from array import array
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.examples import counted
from workbench.dataset.quality.tallies import share
from workbench.dataset.rows import Finding, Row, Source

OUTLIER = 3.5
"""Modified z-score from which on a length is unusual (Iglewicz and Hoaglin, 1993)."""
_ROWS = 20  # fewer have no usual length
RARE = 0.01
"""Share of the rows up to which lengths far on one side are outliers; more are a second kind of text.

Measured on the queries and questions of data/gql and data/probes, and on 16 synthetic files of 2,000 clean
rows (normal, uniform, lognormal, exponential, Pareto, Laplace, and mixtures with 3 to 10 % of other texts).
Without this bound 13 of the 20 had rows told, 2.5 % on average and 10.6 % at most; with it, three have 0.1 %
and the others none. One row in a file may always stand out. A clean row can, so it is information.
"""
_TIMES, _CHARACTERS = 3, 100  # and so far from the median at least, or nobody would see the difference

BIAS = 0.65
"""Share of pairs with the longer answer preferred from which on it is a bias (a proposal of ours), with
p < 0.01 in a binomial test. Park et al., arXiv 2403.19159: DPO learns length from far smaller differences."""


class Lengths:
    """How long prompts and answers are."""

    def __init__(self) -> None:
        """None seen yet."""
        self._numbers, self._asked, self._answers = array("q"), array("I"), array("I")

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        for row in rows:
            self._numbers.append(row.number)
            self._asked.append(len(row.asked))
            self._answers.append(len(row.answer))

    def merge(self, later: "Lengths") -> None:
        """Take over what was seen in the stretch behind this one."""
        self._numbers.extend(later._numbers)
        self._asked.extend(later._asked)
        self._answers.extend(later._answers)

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
        """The rows far from the median."""
        numbers = np.array(self._numbers)
        for name, lengths in (("answer", self._answers), ("prompt", self._asked)):
            there = np.array(lengths, np.int64) > 0
            known, known_numbers = np.array(lengths, np.int64)[there], numbers[there]
            if len(known) < _ROWS:
                continue
            usual = f"the median is {counted(int(np.median(known)), 'character')}"
            far = unusual(known)
            for word, side in (("longer", far > 0), ("shorter", far < 0)):
                if 0 < np.count_nonzero(side) <= max(1, RARE * len(known)):
                    message = f"the {name} is far {word} than usual ({usual})"
                    fix = "see whether it is whole, and meant so"
                    yield Finding("info", "length_outlier", "", message, fix), known_numbers[side].tolist()


def unusual(lengths: NDArray[np.int64]) -> NDArray[np.int8]:
    """1 for lengths far above the others, -1 for far below, else 0.

    The modified z-score 0.6745 (x - median) / MAD is taken of logarithms: lengths are skewed, and in plain
    characters every tenth text of an ordinary file would stand out. Where half of all are equal and the
    MAD is 0, the mean deviation takes its place, as Iglewicz and Hoaglin advise.
    """
    logarithms = np.log(lengths)
    middle = np.median(logarithms)
    deviations = np.abs(logarithms - middle)
    scale = float(np.median(deviations)) / 0.6745 or float(np.mean(deviations)) * 1.253314
    if not scale:
        return np.zeros(len(lengths), np.int8)
    score = (logarithms - middle) / scale
    away = np.abs(lengths - math.exp(middle)) >= _CHARACTERS
    far = (np.abs(score) > OUTLIER) & (deviations >= math.log(_TIMES)) & away
    return np.where(far, np.sign(score), 0).astype(np.int8)


class LengthBias:
    """How often the preferred answer of a pair is the longer one."""

    def __init__(self) -> None:
        """None seen yet."""
        self._longer = self._different = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        for row in rows:
            rejected = sum(len(turn.text) for turn in row.turns if turn.part == "rejected")
            preferred = sum(len(turn.text) for turn in row.turns if turn.part == "answer")
            self._longer += preferred > rejected
            self._different += preferred != rejected

    def merge(self, later: "LengthBias") -> None:
        """Take over what was seen in the stretch behind this one."""
        self._longer += later._longer
        self._different += later._different

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
        """That length alone tells most preferred answers."""
        if not self._different or self._longer < BIAS * self._different:
            return
        from scipy.stats import binomtest

        if binomtest(self._longer, self._different, alternative="greater").pvalue < 0.01:
            message = (
                f"the preferred answer is the longer one in {share(self._longer, self._different)} of "
                f"{counted(self._different, 'pair')}, so the model may learn to be long"
            )
            fix = "add pairs in which the shorter answer is better"
            yield Finding("warning", "length_bias", "", message, fix), ()
