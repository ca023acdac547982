"""Label with the keyboard what is wrong with each answer: one key, and the next one comes.

It shows what no rule could label. Each label is on disk before the next failure comes, and in ``failures``
for any cell; nothing waits for a click. Headless it is a table of what is still to be labelled.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from workbench.dataset.dataset import ROWS_SHOWN, counted
from workbench.decide.situation import FAILURES, Failure
from workbench.evaluation.failures import Failed, Failures, Label, Labels, kind_in_words
from workbench.widgets.card import Queue
from workbench.widgets.row_review import LONGEST, shown

KEYS: dict[str, Failure] = {str(number): kind for number, kind in enumerate(FAILURES, start=1)}
_NUMBERS: dict[Failure, str] = {kind: key for key, kind in KEYS.items()}


def label(failures: Failures, labels: Labels) -> "Labelling":
    """Let me say what is wrong with the answers of which no rule could tell."""
    return Labelling(failures, labels)


class Labelling(Queue):
    """The window: one failure at a time, and the keys that say what is wrong with it."""

    script = "labelling.js"
    item = "failure"
    _asked: tuple[Failed, ...]

    def __init__(self, failures: Failures, labels: Labels) -> None:
        """Begin with what nobody has labelled; what a judge labelled comes behind, to be checked."""
        self._failures, self._labels = failures, labels
        known = failures.labelled_with(labels.latest)
        judged = (failed for failed in known.labelled if failed.label and failed.label.by == "judge")
        self._asked = (*known.unlabelled, *judged)
        self._at = 0
        super().__init__()

    @property
    def failures(self) -> Failures:
        """The failures with all that was said of them so far."""
        return self._failures.labelled_with(self._labels.latest)

    def __repr__(self) -> str:
        """How far it is."""
        if not self._asked:
            return (
                f"Nothing to label by hand: {counted(len(self._failures.items), 'failure')}, all with a kind."
            )
        return f"{counted(len(self._asked), 'failure')} to label by hand: {self._standing()}"

    def _repr_html_(self) -> str:
        if not self._asked:
            return f"<p>{self!r}</p>"
        rows = [
            (each.item.origin, each.item.question, each.item.reference, each.item.answer)
            for each in self._asked[:ROWS_SHOWN]
        ]
        return self._table(("origin", "question", "right answer", "the model's answer"), rows)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, object], dict[str, object]]:
        if self._asked:
            return super()._repr_mimebundle_(**options)
        return {"text/plain": repr(self), "text/html": self._repr_html_()}, {}

    def _decide(self, place: int, content: Mapping[str, object]) -> str:
        match content.get("do"), content.get("value"):
            case "skip", _:
                self._at = place + 1
            case "label", str(key) if key in KEYS:
                failed = self._asked[place]
                before = self._labels.latest.get(failed.key)
                self._labels.label(failed.key, KEYS[key])
                self._undone_by(partial(self._say_again, place, before))
                self._at = place + 1
                return f"Saved: {kind_in_words(KEYS[key])}."
        return ""

    def _say_again(self, place: int, before: Label | None) -> None:
        failed = self._asked[place]
        if before is None:
            self._labels.forget(failed.key)
        else:
            self._labels.label(failed.key, before.kind, by=before.by, why=before.why)
        self._at = place

    def _standing(self) -> str:
        latest = self._labels.latest
        labels = [latest.get(failed.key) for failed in self._asked]
        people = sum(label is not None and label.by == "person" for label in labels)
        return f"{people:,} labelled, {len(labels) - people:,} open"

    def _in_view(self) -> dict[str, object]:
        kinds = [(key, kind_in_words(kind), FAILURES[kind]) for key, kind in KEYS.items()]
        view = super()._in_view() | {"kinds": kinds, "standing": self._standing()}
        if self._at == len(self._asked):
            return view
        failed = self._asked[self._at]
        item, known = failed.item, self._labels.latest.get(failed.key)
        texts = {"question": item.question, "reference": item.reference, "answer": item.answer}
        return view | {
            **{name: shown(text[:LONGEST]) for name, text in texts.items()},
            "origin": shown(item.origin),
            "judged": kind_in_words(known.kind) if known and known.by == "judge" else "",
            "picked": _NUMBERS[known.kind] if known and known.by == "person" else "",
        }
