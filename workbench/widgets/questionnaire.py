"""The decision form: answers below, the verdict above them, always current or marked as an earlier one."""

from collections.abc import Mapping
from functools import cache
from typing import Any, get_args

import ipywidgets

from workbench.decide.decision import Decision, decide
from workbench.decide.situation import FAILURES, Failure, Situation, Value, questions, schema_of, situation
from workbench.decide.wording import worded
from workbench.display import Window, table
from workbench.errors import DataError

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
_WIDE = {"description_width": "28em"}
_LAYOUT = {"width": "42em"}


class Questionnaire(Window, ipywidgets.VBox):  # type: ignore[misc]
    """The form; ``situation`` and ``decision`` are what its answers amount to."""

    def __init__(self, known: Situation) -> None:
        """Fill in what is known."""
        self._situation = known
        self.fields: dict[str, Any] = {}
        self._verdict = ipywidgets.HTML()
        self._trouble = ipywidgets.HTML()
        groups: dict[str, list[Any]] = {}
        for name, asked in questions().items():
            if name in _FIRST:
                fields = groups[_FIRST[name]] = []
            fields += self._asked(name, asked)
        boxes = [ipywidgets.VBox(fields) for fields in groups.values()]
        form = ipywidgets.Accordion(children=boxes, titles=tuple(groups), selected_index=0)
        super().__init__([self._verdict, self._trouble, form])
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
        return self.decision.summary() + table("The answers", ("question", "answer"), rows)

    def _asked(self, name: str, asked: str) -> list[Any]:
        """The field of one question; of the failures, one for each kind."""
        if name != "failures":
            return [self._field(name, asked, getattr(self._situation, name))]
        shares = self._situation.failures or {}
        return [
            self._field(kind, f"{kind.replace('_', ' ')}: {meaning}", shares.get(kind))
            for kind, meaning in FAILURES.items()
        ]

    def _field(self, name: str, asked: str, value: Value) -> Any:
        if options := _offered(name):
            shown = worded(name, value)
            field = ipywidgets.Dropdown(options=(UNKNOWN, *options), value=shown)
        else:
            shown = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
            field = ipywidgets.Text(value=shown, placeholder=UNKNOWN, continuous_update=False)
        field.description, field.style, field.layout = asked, _WIDE, _LAYOUT
        self.fields[name] = field
        return field

    def _answered(self, _change: object) -> None:
        try:
            self._situation = situation(self._facts())
            self._trouble.value = ""
        except DataError as error:  # the answers before this one still stand
            self._trouble.value = table("", ("", "this answer cannot be"), [("", str(error))])
            before = f"<p>Before that answer:</p>{self.decision.summary()}"
            self._verdict.value = f'<div style="opacity:0.5">{before}</div>'
            return
        self._show()

    def _facts(self) -> dict[str, object]:
        given = {name: _meant(name, field.value) for name, field in self.fields.items()}
        kinds = {kind: given.pop(kind) for kind in get_args(Failure)}
        shares = {kind: share for kind, share in kinds.items() if share is not None}
        return {name: value for name, value in given.items() if value is not None} | (
            {"failures": shares} if shares else {}
        )

    def _show(self) -> None:
        self._verdict.value = self.decision.summary()


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
    if text.strip() in ("", UNKNOWN):
        return None
    if _offered(name):
        return {"yes": True, "no": False}.get(text, text)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
