"""The decision form: answers below, the verdict above them, always current or marked as an earlier one."""

import re
from collections.abc import Mapping
from functools import cache
from html import escape
from typing import Any, get_args

import anywidget
import ipywidgets

from workbench.decide.decision import Decision, decide
from workbench.decide.situation import FAILURES, Failure, Situation, Value, questions, schema_of, situation
from workbench.decide.wording import IN_PERCENT, IN_POINTS, LABELS, high, percent, worded
from workbench.display import Window, folded, table
from workbench.errors import DataError
from workbench.settings import setting

_FIRST = {
    "motive": "The goal",
    "eval_items": "The evaluation",
    "failures": "The failures",
    "private_knowledge": "Knowledge",
    "trainable": "The model",
    "forgotten": "What trainings brought",
    "demonstrations": "The data",
}
"""The groups of questions, by the first of each; they come in the order of a situation's fields."""
UNKNOWN = "not known"
_SHARES = IN_PERCENT | IN_POINTS | set(FAILURES)
_NUMBER = re.compile(r"([-+]?[\d.]+)\s*(%|percent|points?)?")
_STYLE = """<style>
.wb-form .widget-label { white-space: normal; overflow: visible; height: auto; line-height: 1.35;
  text-align: left; padding: .2em .6em .2em 0; flex: 0 1 24em; width: auto; }
.wb-form .widget-text, .wb-form .widget-dropdown { align-items: center; height: auto; width: 100%;
  max-width: 44em; }
.wb-form .widget-text input, .wb-form .widget-dropdown select { flex: 1 1 12em; min-width: 8em;
  min-height: 28px; }
.wb-form .wb-note:has(.widget-html-content:empty) { display: none; }
.wb-form .wb-note p { color: color-mix(in srgb, #d9480f 72%, currentColor); font-weight: 600;
  margin: 0 0 .4em; }
</style>"""


class OwnKeys(anywidget.AnyWidget):
    """In a box, it keeps JupyterLab's shortcuts out: else arrow keys move its cells, and d d deletes one."""

    _esm = """
export default {
  render({ el }) {
    const mark = () => {
      const box = el.closest(".widget-vbox");
      if (!box) return requestAnimationFrame(mark);
      box.setAttribute("data-lm-suppress-shortcuts", "true");
      box.addEventListener("keydown", (event) => event.stopPropagation()); // the notebook takes the focus
    };
    mark();
  },
};
"""


def own_keys() -> tuple[OwnKeys, ...]:
    """What keeps the keys of a box its own; nothing headless, where no browser needs to know."""
    return () if setting("WORKBENCH_HEADLESS") == "1" else (OwnKeys(),)


class Questionnaire(Window, ipywidgets.VBox):  # type: ignore[misc]
    """The form; ``situation`` and ``decision`` are what its answers amount to.

    Shares may be typed as 0.85 or as 85 %, large numbers with or without commas.
    """

    def __init__(self, known: Situation) -> None:
        """Fill in what is known."""
        self._situation = known
        self.fields: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}
        """What is wrong with an answer, shown below its field."""
        self._filled: dict[str, tuple[str, Value]] = {}  # the text that stands for a known value
        self._layouts = ipywidgets.Layout(margin="0"), ipywidgets.Layout(width="auto")
        self._verdict = ipywidgets.HTML()
        groups: dict[str, list[Any]] = {}
        for name, asked in questions().items():
            if name in _FIRST:
                fields = groups[_FIRST[name]] = []
            fields += self._asked(name, asked)
        boxes = [ipywidgets.VBox(fields) for fields in groups.values()]
        form = ipywidgets.Accordion(children=boxes, titles=tuple(groups), selected_index=0)
        super().__init__([ipywidgets.HTML(_STYLE), self._verdict, form, *own_keys()])
        self.add_class("wb-form")
        for field in self.fields.values():
            field.observe(self._answered, names="value")
        self._show()

    @property
    def situation(self) -> Situation:
        """What is known, as the form says it now."""
        return self._situation

    @property
    def decision(self) -> Decision:
        """What follows from it."""
        return decide(self._situation)

    def __repr__(self) -> str:
        """The verdict, and how much is known."""
        return f"{self.decision!r} ({len(self._situation.facts)} of {len(questions())} questions answered)"

    def _repr_html_(self) -> str:
        facts = self._situation.facts
        rows = [(asked, worded(name, facts.get(name))) for name, asked in questions().items()]
        title = f"{len(facts)} of {len(rows)} questions are answered"
        return folded(title, table("", ("question", "answer"), rows))

    def _asked(self, name: str, asked: str) -> list[Any]:
        """The field of one question; of the failures, one for each kind."""
        if name != "failures":
            return self._field(name, asked, getattr(self._situation, name))
        shares = self._situation.failures or {}
        fields = (
            self._field(kind, f"{kind.replace('_', ' ')}: {meaning}", shares.get(kind))
            for kind, meaning in FAILURES.items()
        )
        return [each for pair in fields for each in pair]

    def _field(self, name: str, asked: str, value: Value) -> list[Any]:
        """The field, and below it the place for what is wrong with its answer."""
        shown = "" if value is None else percent(value) if name in FAILURES else worded(name, value)  # type: ignore[arg-type]
        if options := _offered(name):
            field = ipywidgets.Dropdown(options=(UNKNOWN, *options), value=shown or UNKNOWN)
        else:
            field = ipywidgets.Text(value=shown, placeholder=UNKNOWN, continuous_update=False)
        field.description, field.style.description_width = asked, "auto"
        field.layout = self._layouts[1]
        note = ipywidgets.HTML(layout=self._layouts[0])
        note.add_class("wb-note")
        self.fields[name], self.notes[name], self._filled[name] = field, note, (shown, value)
        return [field, note]

    def _answered(self, change: Mapping[str, Any]) -> None:
        for note in self.notes.values():
            note.value = ""
        try:
            self._situation = situation(self._facts())
        except DataError as error:  # the answers before this one still stand
            place, sentence = _in_plain_words(str(error))
            changed = next(name for name, field in self.fields.items() if field is change["owner"])
            self.notes[
                place if place in self.notes else changed
            ].value = f'<p role="alert">✕ {escape(sentence)}</p>'
            self._show("Without the answer marked ✕ below", "opacity:.6")
            return
        self._show()

    def _facts(self) -> dict[str, object]:
        given = {
            name: value if field.value == text else _meant(name, field.value)
            for (name, field), (text, value) in zip(self.fields.items(), self._filled.values(), strict=True)
        }
        kinds = {kind: given.pop(kind) for kind in get_args(Failure)}
        shares = {kind: share for kind, share in kinds.items() if share is not None}
        return {name: value for name, value in given.items() if value is not None} | (
            {"failures": shares} if shares else {}
        )

    def _show(self, when: str = "With these answers", look: str = "") -> None:
        decision = self.decision
        self._verdict.value = (
            f'<div role="status" class="mathjax_ignore" style="line-height:1.5;{look}">{when}: '
            f"<b>{escape(decision.title)}.</b> Next: {escape(decision.advice)}</div>"
        )


def questionnaire(known: Situation) -> Questionnaire:
    """Ask what is not known yet, and show what follows from every answer."""
    return Questionnaire(known)


def _offered(name: str) -> tuple[str, ...]:
    """The answers to choose from; none where one types."""
    wanted = _wanted().get(name, {})
    return ("yes", "no") if wanted.get("type") == "boolean" else tuple(wanted.get("enum", ()))


@cache
def _wanted() -> Mapping[str, Any]:
    """The JSON Schema of each field's value."""
    properties: Any = schema_of(Situation)["properties"]
    return {name: described["anyOf"][0] for name, described in properties.items()}


def _meant(name: str, text: str) -> object:
    """An answer as a situation takes it; what is no number stays a text, to be refused by name."""
    text = text.strip()
    if text in ("", UNKNOWN):
        return None
    if _offered(name):
        return {"yes": True, "no": False}.get(text, text)
    found = _NUMBER.fullmatch(text.replace(",", ""))
    if found is None or (found[2] and name not in _SHARES):
        return text
    try:
        number = float(found[1])
    except ValueError:
        return text
    if found[2]:
        return round(number / 100, 12)
    return int(found[1]) if found[1].lstrip("+-").isdecimal() else number


def _in_plain_words(error: str) -> tuple[str, str]:
    """The field that a message begins with, and the message with what people call each field."""
    place, _, rest = error.partition(" ")
    field = place.rpartition(".")[2]
    words = _NAMES.sub(lambda name: LABELS[name[0]], rest)
    if field in FAILURES:
        return field, f"This share {words}"
    if field in LABELS and field != "failures":
        words = f"{high(LABELS[field])} {words}"
        hint = field in _SHARES and "or less" in error
        return field, f"{words} For 85 percent write 85 % or 0.85." if hint else words
    return field, _NAMES.sub(lambda name: LABELS[name[0]], error)


_NAMES = re.compile("|".join(rf"\b{name}\b" for name in LABELS if "_" in name))
