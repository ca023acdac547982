"""Pairing: which items can be compared, and what is left out of the comparison and why."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item

Missing = Literal["refuse", "leave out"]
_NAMED = 5  # items in a message


class LeftOut(NamedTuple):
    """Items that do not count, and why."""

    why: str
    ids: tuple[str, ...]

    def __str__(self) -> str:
        """``2 items are left out (not answered by the tuned model): id2, id3.``"""
        subject = "1 item is" if len(self.ids) == 1 else f"{len(self.ids):,} items are"
        return f"{subject} left out ({self.why}): {_some(self.ids)}."


@dataclass(frozen=True)
class Pairs:
    """Two evaluations of the same items in the same order, and what was left out of them."""

    base: Evaluation
    tuned: Evaluation
    left_out: tuple[LeftOut, ...] = ()

    @property
    def clusters(self) -> tuple[str, ...]:
        """Each item's cluster: what the data says, else the question: a repeated one is no new evidence."""
        return tuple(
            base.cluster or tuned.cluster or base.question or base.id
            for base, tuned in zip(self.base.items, self.tuned.items, strict=True)
        )

    def kept(self, ids: Collection[str]) -> "Pairs":
        """Only these items."""
        return replace(
            self,
            base=replace(self.base, items=tuple(item for item in self.base.items if item.id in ids)),
            tuned=replace(self.tuned, items=tuple(item for item in self.tuned.items if item.id in ids)),
        )

    def without(self, ids: Collection[str], why: str) -> "Pairs":
        """All but these items, and the reason."""
        if not ids:
            return self
        gone = tuple(item.id for item in self.base.items if item.id in ids)
        kept = self.kept({item.id for item in self.base.items} - set(ids))
        return replace(kept, left_out=(*self.left_out, LeftOut(why, gone)))


def pair(base: Evaluation, tuned: Evaluation, *, missing: Missing) -> Pairs:
    """Bring two evaluations to the same items, by id, in the order of ``base``.

    Items without a score stay; ``ungraded`` names them. Raises ``DataError`` for two graders, ids that
    stand for several items, items of two clusters, and, unless they are to be left out, for items that only
    one of the two answered.
    """
    if base.grader != tuned.grader:
        raise DataError(
            f"The base model was graded by {base.grader['name']!r} and the tuned one by "
            f"{tuned.grader['name']!r}, or by another version of it; evaluate both with one grader."
        )
    answered = {"base": _by_id(base, "base"), "tuned": _by_id(tuned, "tuned")}
    left_out = []
    for name, other in (("base", "tuned"), ("tuned", "base")):
        gone = [item for id, item in answered[other].items() if id not in answered[name]]
        if gone and missing == "refuse":
            raise DataError(
                f"The {name} model did not answer {len(gone)} of the {other} model's items: "
                f"{_some([_placed(item) for item in gone])}. Evaluate both on the same dataset, or compare "
                'what both have with missing="leave out".'
            )
        if gone:
            left_out.append(LeftOut(f"not answered by the {name} model", tuple(item.id for item in gone)))
    for id, item in answered["base"].items():
        two = {item.cluster, answered["tuned"][id].cluster if id in answered["tuned"] else ""} - {""}
        if len(two) > 1:
            raise DataError(
                f"Item {_placed(item)} is of cluster {item.cluster!r} in the base model's evaluation and of "
                f"{answered['tuned'][id].cluster!r} in the tuned one's; name one cluster column for both."
            )
    shared = [item for id, item in answered["base"].items() if id in answered["tuned"]]
    if not shared:
        raise DataError(
            "There is no item to compare; "
            + ("both evaluations are empty." if not left_out else "the two have no item in common.")
        )
    return Pairs(
        replace(base, items=tuple(shared)),
        replace(tuned, items=tuple(answered["tuned"][item.id] for item in shared)),
        tuple(left_out),
    )


def ungraded(pairs: Pairs) -> set[str]:
    """The items that one of the two, or both, have no score for."""
    return {item.id for side in (pairs.base, pairs.tuned) for item in side.items if math.isnan(item.score)}


def leaked_among(pairs: Pairs, leaked: Collection[str]) -> set[str]:
    """The items whose id or origin is in ``leaked``; a ``DataError`` if it names none of them, or all."""
    found = {item.id for item in pairs.base.items if item.id in leaked or item.origin in leaked}
    if leaked and not found:
        raise DataError(
            f"None of the {len(leaked)} leaked items is among those compared ({_some(sorted(leaked))}); "
            f"give ids or origins as the items have them, such as {_placed(pairs.base.items[0])}."
        )
    if len(found) == len(pairs.base.items):
        raise DataError("Every item is leaked, so nothing can be compared; make a test set of unseen items.")
    return found


def _by_id(evaluation: Evaluation, name: str) -> Mapping[str, Item]:
    counts = Counter(item.id for item in evaluation.items)
    twice = [id for id, count in counts.items() if count > 1]
    if twice:
        raise DataError(
            f"The {name} evaluation has {len(twice)} ids more than once: {_some(twice)}. An id stands for "
            "one item; several answers to it are its samples."
        )
    return {item.id: item for item in evaluation.items}


def _placed(item: Item) -> str:
    return f"{item.id} ({item.origin})" if item.origin else item.id


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
