"""Text quality: label balance, boilerplate, length outliers and bias, mojibake, refusals, system messages.

Nothing here is an error: a service accepts such a file, and the model learns from it as it is.
"""

import math
import re
from array import array
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.check.methods import Task
from workbench.dataset.check.row import Finding, Row, Source
from workbench.dataset.check.spans import TextCounts, share
from workbench.dataset.dataset import counted

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
        self._labels: dict[str, _Class] | None = {}

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        for row in rows:
            if self._labels is None:
                return
            label = row.answer.strip()
            if len(label) > LONGEST:
                self._labels = None
            elif label:
                self._labels.setdefault(label, _Class()).add(row.number)
                self._forget_texts()

    def merge(self, later: "Balance") -> None:
        """Take over what was seen in the stretch behind this one."""
        if self._labels is None or later._labels is None:
            self._labels = None
            return
        for label, rows in later._labels.items():
            self._labels.setdefault(label, _Class()).merge(rows)
        self._forget_texts()

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
        """Classes that are too small, and a file with too unequal ones."""
        classes = sorted((self._labels or {}).items(), key=lambda item: (-item[1].size, item[0]))
        total = sum(rows.size for _, rows in classes)
        if total < max(FEW, USES * len(classes)):
            return
        for label, rows in classes:
            if rows.size < SMALL:
                message = f"only {counted(rows.size, 'example')} of the class {label!r}"
                fix = "add more, or see whether it is a slip of another class"
                yield Finding("warning", "balance", "", message, fix), rows.first
        (largest, most), (smallest, least) = classes[0], classes[-1]
        if len(classes) == 1:
            message = f"all {total:,} answers are {largest!r}"
            yield Finding("warning", "balance", "", message, "add examples of the other classes"), ()
        elif _evenness([rows.size for _, rows in classes]) < EVEN or most.size > RATIO * least.size:
            message = (
                f"{share(most.size, total)} of {total:,} answers are {largest!r}, "
                f"{share(least.size, total)} are {smallest!r} ({len(classes)} classes)"
            )
            fix = "bring the classes nearer to what the model will meet"
            yield Finding("warning", "balance", "", message, fix), ()

    def _forget_texts(self) -> None:
        if self._labels is not None and len(self._labels) > LABELS:
            self._labels = None


class _Class:
    """How many rows have a label, and the first of them."""

    def __init__(self) -> None:
        self.size = 0
        self.first = array("q")

    def add(self, number: int) -> None:
        self.size += 1
        if len(self.first) < SMALL:
            self.first.append(number)

    def merge(self, later: "_Class") -> None:
        self.size += later.size
        self.first.extend(later.first[: SMALL - len(self.first)])


def _evenness(sizes: Sequence[int]) -> float:
    """Shannon's entropy of the classes as a share of what equal classes have."""
    total = sum(sizes)
    return -sum(size / total * math.log(size / total) for size in sizes) / math.log(len(sizes))


# Answers that begin alike, speak of themselves as a machine, or carry white space at their ends.
#
# What stands in every answer is learned first and best.

OFTEN = 0.2
"""The share of answers with the same opening from which on it counts as boilerplate (a proposal of ours)."""
OPENING = 4  # words: "Thank you for contacting", "Sure! Here is the"
_FEW = 5  # fewer answers with the same opening say nothing
_PROSE = 40  # characters; a shorter answer is a label, a number or a name, and may well repeat

# Words of sentences, not of code or a query: no signs but commas and the like, none in capitals only.
_WORDS = re.compile(r"\s*((?:[^\W\d_]+(?:['’-][^\W\d_]+)?[,.!?:;]?\s+){%d})" % OPENING)  # noqa: UP031
_CAPITALS = re.compile(r"\b[A-Z]{2,}\b(?<!\bAI)")
_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)*\s]*$|[.!?] ")
_MACHINES = ("as an ai", "artificial intelligence", "language model")
_MACHINE = re.compile(r"\bas an? (?:ai|artificial intelligence|large language model|language model)\b")


def opening(answer: str) -> str:
    """The first words of an answer in prose, in lower case; empty for labels, code and queries."""
    if len(answer) < _PROSE:
        return ""
    words = _WORDS.match(answer[:200])
    if not words or _CAPITALS.search(words.group(1)) or not _SENTENCE.search(answer):
        return ""
    return " ".join(words.group(1).lower().split())


class Openings:
    """With which words the answers begin."""

    def __init__(self) -> None:
        """None seen yet."""
        self._answers = 0
        self._counts = TextCounts()

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        for row in rows:
            answer = row.answer
            self._answers += bool(answer)
            words = opening(answer)
            if words:
                self._counts.add(words, row.number)

    def merge(self, later: "Openings") -> None:
        """Take over what was seen in the stretch behind this one."""
        self._answers += later._answers
        self._counts.merge(later._counts)

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
        """The most frequent opening, where it is very frequent."""
        if not len(self._counts):
            return
        times, first = self._counts.most_frequent
        if times >= _FEW and times > OFTEN * self._answers:
            message = (
                f"{share(times, self._answers)} of {counted(self._answers, 'answer')} begin with "
                f"“{opening(source.row(first).answer)}”, as {source.origin(first)} does"
            )
            fix = "cut the opening unless every answer should have it"
            yield Finding("warning", "boilerplate", "", message, fix), ()


def machine_talk(row: Row, task: Task) -> Iterator[Finding]:
    """An answer that says what it is instead of what was asked."""
    for turn in row.turns:
        lowered = turn.text.lower() if turn.part == "answer" else ""
        if any(words in lowered for words in _MACHINES) and _MACHINE.search(lowered):
            message = "the answer speaks of itself as a language model"
            yield Finding("warning", "boilerplate", turn.path, message, "cut that sentence")


def white_space(row: Row, task: Task) -> Iterator[Finding]:
    """White space around what the assistant says, which the model learns to say too."""
    for turn in row.turns:
        spoken = turn.role == "assistant" and turn.part != "rejected" and not turn.path.endswith("arguments")
        if not spoken or turn.text == turn.text.strip() or not turn.text.strip():
            continue
        end = "starts" if turn.text[0].isspace() else "ends"
        yield Finding("warning", "whitespace", turn.path, f"the answer {end} with white space", "strip it")


# Answers and prompts of unusual length, and pairs in which the preferred answer is mostly the longer one.
#
# Lengths are in characters; what the model can read in tokens is another room's.

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


# Texts that were read in the wrong encoding: ``schÃ¶n`` for ``schön``, and characters that were lost.
#
# ftfy knows what such text looks like. It is asked only where one of the pairs
# stands that UTF-8 leaves behind when it is read as Windows-1252.

# The first byte of a UTF-8 sequence, and one that follows, each as Windows-1252 or Latin-1 shows it.
_SUSPECT = re.compile(
    "[\u00c2-\u00f4\u0102\u0103\u0413\u0432\u0420\u0421][\u0080-\u00bf‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ€]"
)
_LOST = "\ufffd"
_AROUND = 60  # characters beside a suspect pair, enough for ftfy to judge


def mojibake(row: Row, task: Task) -> Iterator[Finding]:
    """Texts in which letters are broken, each with its place."""
    for turn in row.turns:
        if turn.text.isascii():
            continue
        if _LOST in turn.text:
            message = "a character was lost when the file was decoded (U+FFFD stands in its place)"
            fix = "read the original file again, in the encoding that it is in"
            yield Finding("warning", "mojibake", turn.path, message, fix)
        if is_broken(turn.text):
            message = "letters are broken, as in schÃ¶n for schön"
            fix = "decode the file as UTF-8, or let the repair mend the text"
            yield Finding("warning", "mojibake", turn.path, message, fix)


def is_broken(text: str) -> bool:
    """Whether some of a text was decoded in the wrong encoding, and can be decoded again."""
    found = _SUSPECT.search(text)
    if not found:
        return False
    import ftfy
    import ftfy.badness

    while found:
        near = text[max(0, found.start() - _AROUND) : found.end() + _AROUND]
        if ftfy.badness.is_bad(near) and ftfy.fix_encoding(near) != near:
            return True
        found = _SUSPECT.search(text, found.end() + _AROUND)
    return False


# Refusals among the answers, told by how they begin.
#
# OpenAI's guide to fine-tuning (2025): if 60 % of the answers in the data say "I
# cannot answer this" and 5 % should, the model will refuse too often.

MANY = 0.05
"""The share of refusals above which a person should look: the one that OpenAI's example wants."""
_FEW_REFUSALS = 3  # fewer refusals say nothing about the file
_OPENING = 200  # characters in which a refusal shows

_HELP = (
    r"(?:help\b(?! but)|assist|provide|comply|fulfil|answer|discuss|support|give|share|create|generate|"
    r"write|engage|do (?:that|this|so)|continue|respond|complete|offer|process)"
)
_UNABLE = (
    r"(?:can['’]?t|cannot|can not|(?:am|['’]m|are|['’]re) (?:not able|unable) to|won['’]?t|must decline)"
)
_WITHIN = r"[^.!?\n]{0,60}?"  # the rest of a sentence
_REFUSALS = (
    rf"(?:(?:i['’]m |i am |we['’]re |we are )?(?:very |so )?sorry|i apologi[sz]e|apologies|unfortunately)"
    rf"{_WITHIN}\b(?:i|we) ?{_UNABLE} {_WITHIN}{_HELP}",
    rf"(?:i|we) ?{_UNABLE} (?:\w+ ){{0,2}}{_HELP}",
    rf"as an ai\b{_WITHIN}\bi ?(?:{_UNABLE}|don['’]?t|do not)\b",
    rf"(?:es )?(?:tut mir (?:sehr )?leid|leider|entschuldigung){_WITHIN}\b(?:kann|darf|können)\b"
    rf"{_WITHIN}\bnicht\b{_WITHIN}(?:helfen|beantworten|bereitstellen|unterstützen|geben|erfüllen)",
    rf"(?:ich|dabei|damit) kann {_WITHIN}nicht (?:weiter)?helfen",
    rf"(?:je suis )?(?:désolée?|je regrette|malheureusement){_WITHIN}\bje ne (?:peux|suis|puis) {_WITHIN}"
    r"(?:aider|répondre|fournir|assister|satisfaire)",
    rf"(?:lo siento|lamentablemente|disculp[ae]){_WITHIN}\bno puedo {_WITHIN}"
    r"(?:ayudar|responder|proporcionar|asistir|ofrecer|cumplir)",
    rf"(?:mi dispiace|purtroppo){_WITHIN}\bnon posso {_WITHIN}(?:aiutar|rispondere|fornire|assister)",
    rf"(?:desculpe|sinto muito|infelizmente){_WITHIN}\bnão posso {_WITHIN}(?:ajudar|responder|fornecer)",
    rf"(?:het spijt me|helaas){_WITHIN}\bkan {_WITHIN}niet {_WITHIN}(?:helpen|beantwoorden|geven)",
    r"(?:很?抱歉|对不起)[^。\n]{0,20}(?:无法|不能)",
    r"(?:申し訳|すみません)[^。\n]{0,40}(?:できません|しかねます)",
)
REFUSAL_PATTERN = "|".join(f"(?:{refusal})" for refusal in _REFUSALS)
"""How an answer in lower case begins that declines; a regular expression."""
_REFUSAL = re.compile(REFUSAL_PATTERN)

REFUSAL = Finding(
    "info", "refusal", "", "the answer is a refusal", "keep it only if the model should refuse here"
)


def is_refusal(answer: str) -> bool:
    """Whether an answer begins by declining to answer."""
    return _REFUSAL.match(answer[:_OPENING].lstrip(" \n\"'*").lower()) is not None


class Refusals:
    """How many of the answers are refusals."""

    def __init__(self) -> None:
        """None seen yet."""
        self._answers = 0
        self._refused = array("q")

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        for row in rows:
            answer = row.answer
            self._answers += bool(answer)
            if is_refusal(answer):
                self._refused.append(row.number)

    def merge(self, later: "Refusals") -> None:
        """Take over what was seen in the stretch behind this one."""
        self._answers += later._answers
        self._refused += later._refused

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
        """Each refusal, and the share of them where it is large."""
        refused = len(self._refused)
        if not refused:
            return
        yield REFUSAL, self._refused
        if refused >= _FEW_REFUSALS and refused > MANY * self._answers:
            message = f"{share(refused, self._answers)} of {counted(self._answers, 'answer')} are refusals"
            fix = "keep as many as you want to hear: a model that saw many refuses too often"
            yield Finding("warning", "refusal", "", message, fix), ()


# Mixed system messages: a model learns best under the one that it will be asked with.


class Systems:
    """Which system messages stand in front, and how often."""

    def __init__(self) -> None:
        """None seen yet."""
        self._counts = TextCounts()

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        for row in rows:
            self._counts.add(row.system, row.number)

    def merge(self, later: "Systems") -> None:
        """Take over what was seen in the stretch behind this one."""
        self._counts.merge(later._counts)

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
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
        fix = "use the one that the model will be asked with"
        yield Finding("warning", "system", "messages[0]", message, fix), ()
