"""What the numbers of a file tell: examples, images and bytes, labels, lengths, system messages.

Whether a job starts, learns, and takes the file comes first; then what a model would learn from the numbers.

What is refused is the provider's limit (``catalog.limits``; Azure's where nobody says which provider); what
is advised comes from Microsoft's engineers (microsoft/GitHub-Copilot-for-Azure, 2026-08-20).
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from workbench.catalog.limits import Limits, in_words, of_provider
from workbench.catalog.methods import method as method_named
from workbench.dataset.check.row import Finding, Row, RowSource, Tally, breaks, image_parts
from workbench.dataset.dataset import counted

ADVISED = 50

SEVERAL_TIMES_ENOUGH = 2_000  # prompts for reinforcement; more cost hours and teach little


class Counts(Tally):
    """Counts the examples of one file, and those with images."""

    def __init__(self, method: str, role: str = "training", limits: Limits | None = None) -> None:
        """Nothing seen yet; ``role`` is what the file is for, as in ``FileFacts``."""
        self.limits = limits or of_provider("azure")
        self.method = method_named(method)
        self.role = role
        self.examples = 0
        self.with_images = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Count the next rows."""
        self.examples += len(rows)
        self.with_images += sum(any(image_parts(row.value.get("messages"))) for row in rows)

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """What the numbers tell of the whole file."""
        if self.role == "training":
            yield from ((finding, ()) for finding in self._enough())
        elif self.role == "validation" and self.method.needs_validation and self._are_too_few:
            yield self._too_few(f"a {self.method.name} job"), ()
        yield from ((finding, ()) for finding in self._images())

    @property
    def _are_too_few(self) -> bool:
        return self.limits.min_examples is not None and self.examples < self.limits.min_examples

    def _enough(self) -> Iterator[Finding]:
        thing = self.method.row_noun
        found = counted(self.examples, thing)
        teaches = self.method.teaching_examples
        if self._are_too_few:
            yield self._too_few("a job")
        elif self.examples < ADVISED:
            finding = f"{found}, which is enough to start a job and seldom enough to learn from"
            yield Finding("warning", "few", "", finding, f"aim for {ADVISED} good ones or more")
        elif self.examples < teaches:
            finding = f"{found}, which is a start; {teaches} and more teach well"
            yield Finding("info", "few", "", finding, "train, measure, then decide whether to add more")
        elif self.method.billed_by == "hours" and self.examples > SEVERAL_TIMES_ENOUGH:
            finding = f"{found}, and {teaches} to {SEVERAL_TIMES_ENOUGH:,} are usual, at a price by the hour"
            yield Finding("info", "few", "", finding, "start with the hardest that can be solved")

    def _too_few(self, job: str) -> Finding:
        found = counted(self.examples, self.method.row_noun)
        finding = f"{found}, and {job} needs at least {self.limits.min_examples}"
        return Finding("error", "too_few", "", finding, f"add {self.method.row_noun}s")

    def _images(self) -> Iterator[Finding]:
        most = self.limits.max_examples_with_images
        if most is not None and self.with_images > most:
            finding = f"{self.with_images:,} examples with images, and at most {most:,} are taken"
            yield Finding("error", "images", "", finding, "leave some out")
        elif self.with_images:
            finding = (
                f"{counted(self.with_images, 'example')} with images, of which the service leaves out, "
                "unsaid, those that show people, faces, children or CAPTCHAs"
            )
            yield Finding("info", "images", "", finding, "compare the number of examples in the finished job")


def no_validation(method: str, limits: Limits | None = None) -> list[Finding]:
    """What there is to say when no validation data is given."""
    known = method_named(method)
    if not known.needs_validation:
        return []
    finding = f"there is no validation data, and a {known.name} job needs some"
    needed = (limits or of_provider("azure")).min_examples or 1
    return [
        Finding(
            "error", "no_validation", "", finding, f"add a file of {counted(needed, known.row_noun)} or more"
        )
    ]


def sizes(bytes: int, limits: Limits | None = None) -> list[Finding]:
    """What there is to say about a file of so many bytes."""
    limits, finding = limits or of_provider("azure"), f"the file has {bytes / 1024**2:,.0f} MB"
    if (most := limits.max_upload_bytes) is not None and bytes > most:
        fix = "make several files and jobs of it"
        return [Finding("error", "size", "", f"{finding}, and {in_words(most)} is the most in parts", fix)]
    if (most := limits.max_all_files_bytes) is not None and bytes > most:
        fix = "make it smaller, for instance with fewer or shorter examples"
        finding += f", and all fine-tuning files of a resource together may have {in_words(most)}"
        return [Finding("error", "size", "", finding, fix)]
    size = limits.max_part_bytes
    parts = f"upload it in parts{f' of {in_words(size)}' if size else ''} through /uploads"
    if (most := limits.max_file_bytes) is not None and bytes >= most:
        finding += f", and one upload takes less than {in_words(most)}"
        return [Finding("error", "size", "", finding, parts)]
    if (most := limits.max_safe_file_bytes) is not None and bytes > most:
        finding += f", and jobs on more than {in_words(most)} in one upload were seen to fail late"
        if (portal := limits.max_portal_file_bytes) is not None and bytes >= portal:
            finding += f"; the portal takes less than {in_words(portal)}"
        return [Finding("warning", "size", "", finding, parts)]
    return []


# How often each of many texts stands in a file, in sixteen bytes a row; and how shares are said.


class TextCounts(Tally):
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


# Classes of very different size, where the answers are labels.
#
# A model that sees one label nine times in ten learns to say it. Labels are
# known by their number and length: at most 50 different short answers, each used
# five times on average.

LABELS, LONGEST, USES = 50, 60, 5
"""At most so many different answers, of so many characters, each used so often on average."""
EVEN = 0.5
"""Normalised entropy (1: all classes alike, 0: one class only) below which a file is lopsided (ours)."""
RATIO = 10
"""So many times as many examples in the largest class as in the smallest are lopsided too (ours)."""
FEW = 20  # rows; fewer have no balance to lose
SMALL = 10
"""A class with fewer examples is hardly learned: OpenAI's least number for a whole file."""


class Balance:
    """How often each label is the answer; forgets all of it once the answers cannot be labels."""

    def __init__(self) -> None:
        """None seen yet."""
        self._sizes = Counter[str]()
        self._first: dict[str, array[int]] = {}  # of each label the first rows
        self._are_texts = False

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        for row in rows:
            if self._are_texts:
                return
            if label := row.answer.strip():
                self._sizes[label] += 1
                first = self._first.setdefault(label, array("q"))
                if len(first) < SMALL:
                    first.append(row.number)
                self._forget_texts(label)

    def merge(self, later: "Balance") -> None:
        """Take over what was seen in the stretch behind this one."""
        self._are_texts = self._are_texts or later._are_texts
        self._sizes.update(later._sizes)
        for label, rows in later._first.items():
            first = self._first.setdefault(label, array("q"))
            first.extend(rows[: SMALL - len(first)])
        self._forget_texts()

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """Classes that are too small, and a file with too unequal ones."""
        classes = sorted(self._sizes.items(), key=lambda each: (-each[1], each[0]))
        total = self._sizes.total()
        if total < max(FEW, USES * len(classes)):
            return
        for label, size in classes:
            if size < SMALL:
                message = f"only {counted(size, 'example')} of the class {label!r}"
                fix = "add more, or see whether it is a slip of another class"
                yield breaks("balance", "", message, fix), self._first[label]
        (largest, most), (smallest, least) = classes[0], classes[-1]
        if len(classes) == 1:
            message = f"all {total:,} answers are {largest!r}"
            yield breaks("balance", "", message, "add examples of the other classes"), ()
        elif _evenness([*self._sizes.values()]) < EVEN or most > RATIO * least:
            message = (
                f"{share(most, total)} of {total:,} answers are {largest!r}, "
                f"{share(least, total)} are {smallest!r} ({len(classes)} classes)"
            )
            yield breaks("balance", "", message), ()

    def _forget_texts(self, label: str = "") -> None:
        if self._are_texts or len(label) > LONGEST or len(self._sizes) > LABELS:
            self._are_texts = True
            self._sizes.clear()
            self._first.clear()


def _evenness(sizes: Sequence[int]) -> float:
    """Shannon's entropy of the classes as a share of what equal classes have."""
    total = sum(sizes)
    return -sum(size / total * math.log(size / total) for size in sizes) / math.log(len(sizes))


# Answers and prompts of unusual length, and pairs in which the preferred answer is mostly the longer one.
#
# Lengths are in characters; what the model can read in tokens is the business of ``tokens``.

OUTLIER = 3.5
"""Modified z-score from which on a length is unusual (Iglewicz and Hoaglin, 1993)."""
_ROWS = 20  # fewer have no usual length
RARE = 0.01
"""Share of the rows up to which lengths far on one side are outliers; more are a second kind of text.

Measured on the queries and questions of data/gql and data/probes, and on 16 synthetic files of 2,000 clean
rows (normal, uniform, lognormal, exponential, Pareto, Laplace, and mixtures with 3 to 10 % of other texts).
Without this bound 13 of the 20 had such rows, 2.5 % on average and 10.6 % at most; with it, three have 0.1 %
and the others none. One row in a file may always stand out. A clean row can, so it is information.
"""
_TIMES, _CHARACTERS = 3, 100  # and so far from the median at least, or nobody would see the difference

BIAS = 0.65
"""Share of pairs with the longer answer preferred from which on it is a bias (a proposal of ours), with
p < 0.01 in a binomial test. Park et al., arXiv 2403.19159: DPO learns length from far smaller differences."""


class Lengths(Tally):
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

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """The rows far from the median."""
        numbers = np.array(self._numbers)
        for name, lengths in (("answer", self._answers), ("prompt", self._asked)):
            known = np.array(lengths, np.int64)
            known, known_numbers = known[known > 0], numbers[known > 0]
            if len(known) < _ROWS:
                continue
            usual = f"the median is {counted(int(np.median(known)), 'character')}"
            far = unusual(known)
            for word, side in (("longer", far > 0), ("shorter", far < 0)):
                if 0 < np.count_nonzero(side) <= max(1, RARE * len(known)):
                    message = f"the {name} is far {word} than usual ({usual})"
                    yield breaks("length_outlier", "", message), known_numbers[side].tolist()


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


class LengthBias(Tally):
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

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """That length alone tells most preferred answers."""
        if not self._different or self._longer < BIAS * self._different:
            return
        from scipy.stats import binomtest

        if binomtest(self._longer, self._different, alternative="greater").pvalue < 0.01:
            message = (
                f"the preferred answer is the longer one in {share(self._longer, self._different)} of "
                f"{counted(self._different, 'pair')}, so the model may learn to be long"
            )
            yield breaks("length_bias", "", message), ()


ALIKE, MANY_ALIKE = 0.9, 0.2
"""The share of its characters that the longer answer has in common with the other at its two ends, from which
on the two are alike; and the share of such pairs from which on that is a warning (both proposals of ours)."""


class Alike(Tally):
    """Pairs whose two answers differ in a word or two.

    On those preference training lowers the likelihood of the preferred answer as well (Pal et al. 2024,
    Smaug, arXiv 2402.13228; Razin et al. 2024, arXiv 2410.08847).
    """

    def __init__(self) -> None:
        """None seen yet."""
        self._pairs = 0
        self._alike = array("q")

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        for row in rows:
            texts = [
                "\n".join(turn.text for turn in row.turns if turn.part == part)
                for part in ("answer", "rejected")
            ]
            self._pairs += 1
            if len(set(texts)) == 2 and all(texts) and _same_ends(*texts) >= ALIKE * max(map(len, texts)):
                self._alike.append(row.number)

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """Those pairs, and whether they are many."""
        if not self._alike:
            return
        message = (
            f"the two answers differ in a few letters, as in {share(len(self._alike), self._pairs)} of "
            f"{counted(self._pairs, 'pair')}, so both may become less likely"
        )
        level = "warning" if len(self._alike) >= MANY_ALIKE * self._pairs else "info"
        fix = "take answers that differ in more, or watch the log-probability of the preferred ones"
        yield Finding(level, "alike", "", message, fix), list(self._alike)


def _same_ends(one: str, other: str) -> int:
    """How many characters two different texts have in common at their beginning and end."""
    start = _same_start(one, other)
    return start + _same_start(one[start:][::-1], other[start:][::-1])


def _same_start(one: str, other: str) -> int:
    """How many characters they begin with alike; found by halves, as comparing whole texts is fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


# Mixed system messages: a model learns best under the one that it will be asked with.


class Systems(Tally):
    """Which system messages stand in front, and how often."""

    def __init__(self) -> None:
        """None seen yet."""
        self._counts = TextCounts()

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        for row in rows:
            self._counts.add(row.system, row.number)

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """That there are several, with a place of another than the most frequent."""
        kinds = self._counts.kinds
        if kinds < 2:
            return
        times, _ = self._counts.most_frequent
        message = (
            f"{kinds:,} different system messages (no message counts as one); the most frequent stands in "
            f"{times:,} of {counted(len(self._counts), 'example')}, "
            f"{source.origin(self._counts.first_other)} has another"
        )
        yield breaks("system", "messages[0]", message), ()
