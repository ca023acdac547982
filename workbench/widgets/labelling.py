"""Label with the keyboard what is wrong with each answer: one key, and the next one comes.

It shows what no rule could label. Each label is on disk at once and in
``failures`` for any cell; nothing waits for a click. Headless it is a table of what
is still to be labelled.
"""

from itertools import zip_longest
from typing import Any

import ipywidgets

from workbench.decide.situation import FAILURES, Failure
from workbench.display import Window, table
from workbench.evaluation.failures import Failed, Failures, Labels

KEYS: dict[str, Failure] = {str(number): kind for number, kind in enumerate(FAILURES, start=1)}
SKIP = "0"
_COLUMNS = ("origin", "question", "right answer", "the model's answer")
_LISTED = 10


class Labelling(Window, ipywidgets.VBox):  # type: ignore[misc]
    """One failure at a time; the field holds the keys pressed so far, and deleting one takes it back."""

    def __init__(self, failures: Failures, labels: Labels) -> None:
        """Begin with what nobody has labelled; what a judge labelled comes behind, to be checked."""
        self._failures, self._labels = failures, labels
        known = failures.labelled_with(labels.latest)
        judged = (failed for failed in known.labelled if failed.label and failed.label.by == "judge")
        self._asked = (*known.unlabelled, *judged)
        self._said = ""  # a key for each failure that was dealt with, from the first on
        self._view = ipywidgets.HTML()
        self.field = ipywidgets.Text(
            description="What is wrong? Press its number:",
            placeholder=f"1 to {len(KEYS)}; {SKIP} skips, Backspace takes back",
            style={"description_width": "initial"},
            layout={"width": "42em"},
        )
        self.field.observe(self._typed, names="value")
        self.buttons = [self._button(key, FAILURES[kind], kind) for key, kind in KEYS.items()]
        self.buttons.append(self._button(SKIP, "leave it open", "skip"))
        row = ipywidgets.HBox(self.buttons, layout={"flex_flow": "row wrap"})
        super().__init__([self._view, self.field, row])
        self._show()

    @property
    def failures(self) -> Failures:
        """The failures with all that was said of them so far."""
        return self._failures.labelled_with(self._labels.latest)

    def __repr__(self) -> str:
        """How far it is."""
        return f"<Labelling: {len(self._said)} of {len(self._asked)} seen>"

    def _repr_html_(self) -> str:
        listed = self._asked[:_LISTED]
        caption = f"{len(self._asked)} failures to label by hand, the first {len(listed)}"
        return table(caption, _COLUMNS, map(_texts, listed))

    def _button(self, key: str, meaning: str, said: str) -> Any:
        words = f"{key} {said.replace('_', ' ')}"
        button = ipywidgets.Button(description=words, tooltip=meaning, layout={"width": "auto"})
        button.on_click(lambda _: self._press(key))
        return button

    def _press(self, key: str) -> None:
        self.field.value += key

    def _typed(self, change: dict[str, str]) -> None:
        """Do what the field says now: quick typing brings several keys at once, deleting takes some away."""
        keys = [key for key in change["new"] if key in KEYS or key == SKIP]
        said = "".join(keys[: len(self._asked)])
        for place, (old, new) in enumerate(zip_longest(self._said, said, fillvalue="")):
            if old != new:
                self._label(self._asked[place], new)
        self._said = said
        self._show()

    def _label(self, failed: Failed, key: str) -> None:
        """Say what the key says; a skip, and a key taken back, restore what was said before this opened."""
        before = failed.label
        if key in KEYS:
            self._labels.label(failed.key, KEYS[key])
        elif before is None:
            self._labels.forget(failed.key)
        else:
            self._labels.label(failed.key, before.kind, by=before.by, why=before.why)

    def _show(self) -> None:
        done, of = len(self._said), len(self._asked)
        if done == of:
            self._view.value = "Nothing is left to label; run the next cell."
            return
        failed = self._asked[done]
        judged = f"; the judge says: {failed.label.kind.replace('_', ' ')}" if failed.label else ""
        shown = list(zip(_COLUMNS, _texts(failed), strict=True))
        self._view.value = table(f"Failure {done + 1} of {of}{judged}", ("", "text"), shown)


def label(failures: Failures, labels: Labels) -> Labelling:
    """Let me say what is wrong with the answers that no rule could tell of."""
    return Labelling(failures, labels)


def _texts(failed: Failed) -> tuple[str, str, str, str]:
    item = failed.item
    return (item.origin, item.question, item.reference, item.answer)
