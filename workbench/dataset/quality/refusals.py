"""Refusals among the answers, told by how they begin.

OpenAI's guide to fine-tuning (2025): if 60 % of the answers in the data say "I
cannot answer this" and 5 % should, the model will refuse too often.
"""

import re
from array import array
from collections.abc import Iterator, Sequence

from workbench.dataset.examples import counted
from workbench.dataset.quality.tallies import share
from workbench.dataset.rows import Finding, Row, Source

MANY = 0.05
"""The share of refusals above which a person should look: the one that OpenAI's example wants."""
_FEW = 3  # fewer refusals say nothing about the file
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
        if refused >= _FEW and refused > MANY * self._answers:
            message = f"{share(refused, self._answers)} of {counted(self._answers, 'answer')} are refusals"
            fix = "keep as many as you want to hear: a model that saw many refuses too often"
            yield Finding("warning", "refusal", "", message, fix), ()
