"""Look through the answers of two models, what got worse first: both answers, the reference, and why.

Only the item in view is drawn, so ten thousand are as quick as ten. Beside each
stand the training rows most like it, with file and line, because a wrong answer
often was taught. Headless it is a table of the first items.
"""

import math
from typing import Any

import ipywidgets

from workbench.dataset.examples import ROWS_SHOWN, Dataset, counted
from workbench.evaluation.comparing.compare import Comparison
from workbench.evaluation.comparing.pairing import Pairs
from workbench.evaluation.evaluation import Item
from workbench.evaluation.graders import passes
from workbench.settings import setting
from workbench.tables import table
from workbench.widgets.item_browser_page import Training, page

WORSE, BETTER, BOTH_WRONG, BOTH_RIGHT = "right → wrong", "wrong → right", "both wrong", "both right"
NO_SCORE, DISAGREE, ALL = "no score", "scores differ", "all"
_FILTERS = (WORSE, BETTER, BOTH_WRONG, DISAGREE, NO_SCORE, ALL)


def browse(comparison: Comparison | Pairs, *, training: Dataset | None = None) -> "ItemBrowser":
    """Let me look through the items; it opens with what got worse.

    With the ``training`` rows, each item shows those most like its question, with their file and line. A
    comparison has left out items without a score; ``pair(base, tuned, missing="leave out")`` has them too.
    """
    return ItemBrowser(comparison, training)


class ItemBrowser(ipywidgets.VBox):  # type: ignore[misc]
    """The window: which items, which of them, and the one in view."""

    def __init__(self, comparison: Comparison | Pairs, training: Dataset | None) -> None:
        """Open at the first item that got worse, else at the first whose scores differ, else at the first."""
        self._comparison = comparison
        self._training = None if training is None else Training(training)
        answers = {item.id: item for item in comparison.tuned.items}
        items = ((item, answers.get(item.id)) for item in comparison.base.items)
        self._pairs = [(base, tuned) for base, tuned in items if tuned]
        self._kinds = [self._kind(base, tuned) for base, tuned in self._pairs]
        self._places = {name: self._chosen(name) for name in _FILTERS}
        self._found: list[int] = []
        names = [(f"{name} ({len(self._places[name]):,})", name) for name in _FILTERS]
        start = next((name for name in (WORSE, DISAGREE) if self._places[name]), ALL)
        wide = {"description_width": "initial"}
        self.which = ipywidgets.Dropdown(options=names, value=start, description="Show", style=wide)
        self.words = ipywidgets.Text(
            description="with the words",
            placeholder="in question or answers",
            style=wide,
            continuous_update=False,
        )
        self.number = ipywidgets.BoundedIntText(
            value=1,
            min=1,
            max=1,
            description="Item",
            style=wide,
            continuous_update=True,
            layout={"width": "9em"},
        )
        self._of, self._view = ipywidgets.Label(), ipywidgets.HTML()
        back, on = self._button("Previous", -1), self._button("Next", 1)
        self.which.observe(self._choose, names="value")
        self.words.observe(self._choose, names="value")
        self.number.observe(self._show, names="value")
        top = ipywidgets.HBox(
            [self.which, self.words, self.number, self._of, back, on], layout={"flex_flow": "row wrap"}
        )
        super().__init__([top, self._view])
        self._choose()

    @property
    def items(self) -> tuple[tuple[Item, Item], ...]:
        """The items that the filter lets through, base and tuned, in the order shown."""
        return tuple(self._pairs[place] for place in self._found)

    def __repr__(self) -> str:
        """How many there are of which kind."""
        counts = ", ".join(f"{len(self._places[name]):,} {name}" for name in (WORSE, BETTER, BOTH_WRONG))
        return f"{counted(len(self._pairs), 'item')}: {counts}"

    def _repr_html_(self) -> str:
        shown = self._found[:ROWS_SHOWN]
        rows = []
        for place in shown:
            base, tuned = self._pairs[place]
            why = tuned.problem or tuned.reason
            row = (
                self._kinds[place],
                base.origin,
                base.question,
                base.reference,
                base.answer,
                tuned.answer,
                why,
            )
            rows.append((*row, self._nearest(base)))
        caption = f"{self!r}; {self.which.value}, {len(shown)} of {len(self._found):,}"
        columns = (
            "",
            "origin",
            "question",
            "reference",
            "base answer",
            "tuned answer",
            "grader",
            "like it in training",
        )
        return table(caption, columns, rows)

    def _repr_mimebundle_(self, **options: object) -> Any:
        still = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if setting("WORKBENCH_HEADLESS") == "1":
            return still
        return {**still, **super()._repr_mimebundle_(**options)}

    def _button(self, name: str, steps: int) -> Any:
        def step(_: object) -> None:
            self.number.value = min(max(self.number.value + steps, 1), self.number.max)

        button = ipywidgets.Button(description=name, layout={"width": "auto"})
        button.on_click(step)
        return button

    def _choose(self, _: object = None) -> None:
        wanted = self.words.value.casefold().split()
        self._found = [n for n in self._places[self.which.value] if _holds(self._pairs[n], wanted)]
        self.number.max = max(len(self._found), 1)
        self._of.value = f"of {len(self._found):,}"
        if self.number.value == 1:
            self._show()
        else:
            self.number.value = 1  # which shows it

    def _show(self, _: object = None) -> None:
        if not self._found:
            self._view.value = "<p>No such item.</p>"
            return
        place = self._found[self.number.value - 1]
        base, tuned = self._pairs[place]
        similar = self._training.similar(base.question) if self._training else None
        sides = (self._comparison.base, base), (self._comparison.tuned, tuned)
        self._view.value = page(self._kinds[place], *sides, similar)

    def _kind(self, base: Item, tuned: Item) -> str:
        if math.isnan(base.score) or math.isnan(tuned.score):
            return NO_SCORE
        was, became = (passes(self._comparison.base.grader, item.score) for item in (base, tuned))
        return {(True, False): WORSE, (False, True): BETTER, (True, True): BOTH_RIGHT}.get(
            (was, became), BOTH_WRONG
        )

    def _chosen(self, name: str) -> list[int]:
        places = range(len(self._pairs))
        if name == ALL:
            return list(places)
        if name != DISAGREE:
            return [place for place in places if self._kinds[place] == name]
        changed = {n: tuned.score - base.score for n, (base, tuned) in enumerate(self._pairs)}
        return sorted((n for n in places if changed[n] < 0 or changed[n] > 0), key=changed.__getitem__)

    def _nearest(self, item: Item) -> str:
        similar = self._training.similar(item.question) if self._training else []
        return similar[0].example.origin if similar else ""


def _holds(pair: tuple[Item, Item], wanted: list[str]) -> bool:
    base, tuned = pair
    text = f"{base.question} {base.answer} {tuned.answer}".casefold() if wanted else ""
    return all(word in text for word in wanted)
