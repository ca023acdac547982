"""The languages of questions and answers, estimated from letters and little words.

A script tells Greek, Thai or Korean; words such as "the" or "nicht" tell the
languages in Latin letters. Where neither does (labels, code, queries, fewer
than 20 characters) nothing is said: trained detectors name some language for
every line of code, and py3langid takes a millisecond a text for it.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.check.row import Finding, Row, Source
from workbench.dataset.check.spans import share

SHORTEST = 20
"""Characters below which a language cannot be told."""
_WORDS_NEEDED = 1.5  # one little word of its own, and one that it shares with another language
_READ = 300  # characters that are looked at
_ROWS = 20  # rows of known language below which shares say nothing
_PRESENT = 0.01  # the share from which on a language belongs to the file
_ODD = 0.05  # below this share, a language is an exception

# Frequent little words; those of code (for, in, and) are left out.
_LITTLE_WORDS = {
    "English": "the of that are have you what which was they how your would there their can these will it",
    "German": "der die das und nicht ist ein eine mit für auf zu im sich auch wie sie ich dem des wir",
    "French": "le la les des est et une dans que qui pour pas vous nous sur avec au du ce cette sont je",
    "Spanish": "el la los las del que una por para con es como está más pero su se muy qué cuál de y",
    "Italian": "il di che è una per non sono della gli con del alla come più anche questo nel la i",
    "Portuguese": "o os uma não para com é em da dos das por mais você como seu sua isso são que de",
    "Dutch": "het een van en niet dat zijn voor met op ik je ook aan wordt maar naar worden uit de",
    "Swedish": "och att det som en på är av för med inte till har jag den om ett",
    "Danish or Norwegian": "og det som en på er af av med ikke til har jeg den et",
    "Polish": "nie się jest że jak dla przez czy ale jego był są tego w z i na co",
    "Czech": "je se že jsem jako ale pro jsou také být nebo podle v na jak co",
    "Turkish": "bir ve bu için ile çok ne var olarak daha gibi olan değil nasıl mi",
    "Romanian": "și este nu în că din pentru cu sunt mai pe care ce o la",
    "Hungarian": "és az hogy nem egy ez meg van csak még mint volt a",
    "Finnish": "ja ei se että mutta kun oli myös hän ovat tai niin kuin sen on",
    "Indonesian": "yang dan dengan untuk ini itu dari tidak dalam adalah pada akan",
    "Vietnamese": "là của và không có được cho một những trong người này các với",
}
# Scripts in the order in which they decide: Japanese mixes kana with Chinese characters.
_SCRIPTS = {
    "Japanese": "[\u3040-\u30ff]",
    "Chinese": "[\u4e00-\u9fff]",
    "Korean": "[\uac00-\ud7af]",
    "Russian or another in Cyrillic": "[\u0400-\u04ff]",
    "Greek": "[\u0370-\u03ff\u1f00-\u1fff]",
    "Arabic or Persian": "[\u0600-\u06ff]",
    "Hebrew": "[\u0590-\u05ff]",
    "Hindi or another in Devanagari": "[\u0900-\u097f]",
    "Bengali": "[\u0980-\u09ff]",
    "Tamil": "[\u0b80-\u0bff]",
    "Thai": "[\u0e00-\u0e7f]",
}
_LANGUAGES = ("", *_LITTLE_WORDS, *_SCRIPTS)  # what is kept of a text is a place in this list
_USES = Counter(word for words in _LITTLE_WORDS.values() for word in words.split())
# What a word says for each language: a word that several use says less.
_WEIGHTS: dict[str, list[tuple[str, float]]] = {word: [] for word in _USES}
for _language, _words in _LITTLE_WORDS.items():
    for _word in _words.split():
        _WEIGHTS[_word].append((_language, 1 / _USES[_word]))
_KNOWN = frozenset(_WEIGHTS)
_OTHER_SCRIPT = re.compile("[\u0370-\u0fff\u1f00-\u1fff\u3040-\ud7af]")  # any of those above
_LETTERS = tuple((language, re.compile(letters)) for language, letters in _SCRIPTS.items())


def language_of(text: str) -> str:
    """The language that a text seems to be in, or nothing where that cannot be told."""
    if len(text) < SHORTEST:
        return ""
    text = text[:_READ]
    return (_by_script(text) if _OTHER_SCRIPT.search(text) else "") or _by_words(text)


class Languages:
    """In which languages is asked, and in which answered."""

    def __init__(self) -> None:
        """None seen yet."""
        self._numbers, self._asked, self._answered = array("q"), array("B"), array("B")

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        for row in rows:
            questions = [turn.text for turn in row.turns if turn.part == "prompt" and turn.role == "user"]
            self._numbers.append(row.number)
            self._asked.append(_LANGUAGES.index(language_of(questions[-1] if questions else "")))
            self._answered.append(_LANGUAGES.index(language_of(row.answer)))

    def merge(self, later: "Languages") -> None:
        """Take over what was seen in the stretch behind this one."""
        self._numbers.extend(later._numbers)
        self._asked.extend(later._asked)
        self._answered.extend(later._answered)

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
        """The mix, answers in another language than their question, and exceptions from the rule."""
        numbers, asked, answered = map(np.array, (self._numbers, self._asked, self._answered))
        part, told = ("answer", answered) if answered.any() else ("question", asked)
        yield from _mix(part, told, numbers)
        both = (asked > 0) & (answered > 0)
        crossed = both & (asked != answered)
        if crossed.sum() > max(1, _ODD * both.sum()):
            return  # no slip: the task is to translate, or to answer in one language
        for pair in sorted(set(zip(asked[crossed].tolist(), answered[crossed].tolist(), strict=True))):
            question, answer = (_LANGUAGES[place] for place in pair)
            message = f"the question seems to be {question}, the answer {answer} (estimated)"
            rows = numbers[(asked == pair[0]) & (answered == pair[1])].tolist()
            yield Finding("warning", "language", "", message, "answer in the language of the question"), rows


def _mix(
    part: str, told: NDArray[np.uint8], numbers: NDArray[np.int64]
) -> Iterator[tuple[Finding, Sequence[int]]]:
    """The share of each language, and the rows in one that is hardly there."""
    counts = Counter(told[told > 0].tolist())
    total = sum(counts.values())
    if total < _ROWS or len(counts) < 2:
        return
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    present = [f"{_LANGUAGES[place]} {share(n, total)}" for place, n in ranked if n >= _PRESENT * total]
    if len(present) > 1:
        message = f"the {part}s are in several languages (estimated): {', '.join(present)}"
        yield Finding("info", "language", "", message, "mix them as the model will meet them"), ()
    (usual, most), *others = ranked
    if most >= (1 - _ODD) * total:
        for place, _ in others:
            message = (
                f"the {part} seems to be {_LANGUAGES[place]}, {share(most, total)} are {_LANGUAGES[usual]} "
                "(estimated)"
            )
            rows = numbers[told == place].tolist()
            yield Finding("info", "language", "", message, "keep it only if it is meant"), rows


def _by_script(text: str) -> str:
    """The first script that has a third of the letters; for kana, which stand between others, a tenth."""
    letters = sum(map(str.isalpha, text))
    for language, pattern in _LETTERS:
        needed = letters / 10 if language == "Japanese" else letters / 3
        if len(pattern.findall(text)) > needed:
            return language
    return ""


def _by_words(text: str) -> str:
    """The language with the most little words, half as many again as the next."""
    scores = {"": 0.0}
    for word in _KNOWN.intersection(text.lower().split()):
        for language, weight in _WEIGHTS[word]:
            scores[language] = scores.get(language, 0.0) + weight
    best = max(scores, key=lambda language: scores[language])
    score = scores.pop(best)
    return best if score >= _WORDS_NEEDED and score >= 1.5 * max(scores.values(), default=0.0) else ""
