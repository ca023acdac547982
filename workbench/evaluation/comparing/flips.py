"""What changed, item by item: what got worse first, because an average hides it."""

from collections.abc import Iterable
from typing import NamedTuple

from workbench.evaluation.evaluation import Item


class Flip(NamedTuple):
    """An item whose score changed."""

    flip: str
    """``right → wrong`` or ``wrong → right``; of scores in between, both in percent: ``80 % → 35 %``."""
    origin: str
    question: str
    reference: str
    base_answer: str
    tuned_answer: str


def flips(pairs: Iterable[tuple[Item, Item]]) -> tuple[Flip, ...]:
    """The items that changed, base and tuned: the largest losses first, the largest gains last."""
    changed = [(base, tuned) for base, tuned in pairs if base.score != tuned.score]
    changed.sort(key=lambda pair: pair[1].score - pair[0].score)
    return tuple(
        Flip(
            f"{_told(base.score)} → {_told(tuned.score)}",
            base.origin,
            base.question,
            base.reference,
            base.answer,
            tuned.answer,
        )
        for base, tuned in changed
    )


def _told(score: float) -> str:
    if score in (0, 1):
        return "right" if score else "wrong"
    return f"{100 * score:.0f} %"
