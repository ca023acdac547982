"""Text quality: boilerplate, white space, mojibake, refusals, languages.

Nothing here is an error: a service accepts such a file, and the model learns from it as it is.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.check.counts import TextCounts, share
from workbench.dataset.check.methods import CheckTask
from workbench.dataset.check.row import Finding, Row, RowSource, Tally, breaks
from workbench.dataset.dataset import counted

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


class Openings(Tally):
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

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """The most frequent opening, where it is very frequent."""
        if not len(self._counts):
            return
        times, first = self._counts.most_frequent
        if times >= _FEW and times > OFTEN * self._answers:
            message = (
                f"{share(times, self._answers)} of {counted(self._answers, 'answer')} begin with "
                f"“{opening(source.row(first).answer)}”, as {source.origin(first)} does"
            )
            yield breaks("boilerplate", "", message, "cut the opening unless every answer should have it"), ()


def machine_talk(row: Row, task: CheckTask) -> Iterator[Finding]:
    """An answer that says what it is instead of what was asked."""
    for turn in row.turns:
        lowered = turn.text.lower() if turn.part == "answer" else ""
        if any(words in lowered for words in _MACHINES) and _MACHINE.search(lowered):
            message = "the answer speaks of itself as a language model"
            yield breaks("boilerplate", turn.path, message, "cut that sentence")


def white_space(row: Row, task: CheckTask) -> Iterator[Finding]:
    """White space around what the assistant says, which the model learns to say too."""
    for turn in row.turns:
        spoken = turn.role == "assistant" and turn.part != "rejected" and not turn.path.endswith("arguments")
        if not spoken or turn.text == turn.text.strip() or not turn.text.strip():
            continue
        end = "starts" if turn.text[0].isspace() else "ends"
        yield breaks("whitespace", turn.path, f"the answer {end} with white space")


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


def mojibake(row: Row, task: CheckTask) -> Iterator[Finding]:
    """Texts in which letters are broken, each with its place."""
    for turn in row.turns:
        if turn.text.isascii():
            continue
        if _LOST in turn.text:
            message = "a character was lost when the file was decoded (U+FFFD stands in its place)"
            fix = "read the original file again, in the encoding that it is in"
            yield breaks("mojibake", turn.path, message, fix)
        if is_broken(turn.text):
            yield breaks("mojibake", turn.path, "letters are broken, as in schÃ¶n for schön")


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


# Refusals among the answers, known by how they begin.
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


class Refusals(Tally):
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

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """Each refusal, and the share of them where it is large."""
        refused = len(self._refused)
        if not refused:
            return
        yield REFUSAL, self._refused
        if refused >= _FEW_REFUSALS and refused > MANY * self._answers:
            message = f"{share(refused, self._answers)} of {counted(self._answers, 'answer')} are refusals"
            fix = "keep as many as you want to hear: a model that saw many refuses too often"
            yield breaks("refusal", "", message, fix), ()


# The languages of questions and answers, estimated from letters and little words.
#
# A script tells Greek, Thai or Korean; words such as "the" or "nicht" tell the languages in Latin letters.
# Where neither does (labels, code, queries, fewer than 20 characters) nothing is said: trained detectors name
# some language for every line of code, and py3langid takes a millisecond a text for it.

SHORTEST = 20
"""Characters below which a language is not known."""
_WORDS_NEEDED = 1.5  # one little word of its own, and one that it shares with another language
_READ = 300  # characters that are read
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
    """The language that a text seems to be in, or nothing where that is not known."""
    if len(text) < SHORTEST:
        return ""
    text = text[:_READ]
    return (_by_script(text) if _OTHER_SCRIPT.search(text) else "") or _by_words(text)


class Languages(Tally):
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

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """The mix, answers in another language than their question, and exceptions from the rule."""
        numbers, asked, answered = map(np.array, (self._numbers, self._asked, self._answered))
        part, languages = ("answer", answered) if answered.any() else ("question", asked)
        yield from _mix(part, languages, numbers)
        both = (asked > 0) & (answered > 0)
        crossed = both & (asked != answered)
        if crossed.sum() > max(1, _ODD * both.sum()):
            return  # no slip: the task is to translate, or to answer in one language
        for pair in sorted(set(zip(asked[crossed].tolist(), answered[crossed].tolist(), strict=True))):
            question, answer = (_LANGUAGES[place] for place in pair)
            message = f"the question seems to be {question}, the answer {answer} (estimated)"
            rows = numbers[(asked == pair[0]) & (answered == pair[1])].tolist()
            yield breaks("language", "", message), rows


def _mix(
    part: str, languages: NDArray[np.uint8], numbers: NDArray[np.int64]
) -> Iterator[tuple[Finding, Sequence[int]]]:
    """The share of each language, and the rows in one that is hardly there."""
    counts = Counter(languages[languages > 0].tolist())
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
            rows = numbers[languages == place].tolist()
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
