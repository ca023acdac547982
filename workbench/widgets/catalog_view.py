"""The catalogue to look through, and the one question that decides which models you can train.

``view.catalogue`` is what fits the filters at this moment, ``question.answer`` what was answered; nothing
waits for a click.
"""

import datetime
import html
from typing import Any

import ipywidgets

from workbench.catalog.catalog import model, models
from workbench.catalog.methods import short_names
from workbench.catalog.providers import PROVIDERS
from workbench.catalog.search import Catalogue, find, training_regions
from workbench.display import Window, table
from workbench.errors import DataError, SetupError
from workbench.settings import setting

ANY = "any"
_WIDE = {"description_width": "14em"}
_IMAGES = {ANY: None, "with images": True, "text only": False}
_CUSTOMER = {"not known": None, "yes": True, "no, a new customer": False}


class CatalogueView(Window, ipywidgets.VBox):  # type: ignore[misc]
    """The filters; ``catalogue`` is what they leave."""

    def __init__(self, on: datetime.date | None = None) -> None:
        """Begin with what can still be trained on that day; ``None``: with all."""
        known = models()
        tasks = sorted({task for model in known for task in model.tasks or ()})
        self.fields: dict[str, Any] = {
            "task": self._choice("Fine-tuning tasks", tasks),
            "method": self._choice("Method", short_names()),
            "region": self._choice("Region", training_regions(known)),
            "service": self._choice("Service", tuple(PROVIDERS)),
            "vision": self._choice("Training examples", tuple(_IMAGES)[1:]),
            "on": ipywidgets.DatePicker(description="Still trainable on", value=on, style=_WIDE),
            "customer": ipywidgets.Dropdown(
                options=tuple(_CUSTOMER), description="Deployed it before", style=_WIDE
            ),
        }
        self._shown = ipywidgets.HTML()
        self._catalogue = self._found()
        super().__init__([*self.fields.values(), self._shown])
        for field in self.fields.values():
            field.observe(self._changed, names="value")
        self._shown.value = self._catalogue._repr_html_()

    @property
    def catalogue(self) -> Catalogue:
        """The models that fit, as the filters say it now."""
        return self._catalogue

    def __repr__(self) -> str:
        """One line a model."""
        return repr(self._catalogue)

    def _repr_html_(self) -> str:
        return self._catalogue._repr_html_()

    def _changed(self, _change: object) -> None:
        try:
            self._catalogue = self._found()
        except DataError as error:  # what fitted before still stands
            self._shown.value = table("", ("", "these filters do not go together"), [("", str(error))])
            return
        self._shown.value = self._catalogue._repr_html_()

    def _found(self) -> Catalogue:
        said: dict[str, Any] = {
            name: None if field.value == ANY else field.value for name, field in self.fields.items()
        }
        said["vision"] = _IMAGES[self.fields["vision"].value]
        customer = _CUSTOMER[said.pop("customer")]
        return find(**said, existing_customer=customer)

    @staticmethod
    def _choice(asked: str, there_are: Any) -> Any:
        return ipywidgets.Dropdown(options=(ANY, *there_are), value=ANY, description=asked, style=_WIDE)


class CustomerQuestion(ipywidgets.VBox):  # type: ignore[misc]
    """Are you an existing customer? Asked only where it decides whether a model can be trained."""

    def __init__(self, asked: tuple[tuple[str, str], ...], answer: bool | None, on: datetime.date) -> None:
        """``asked``: models with their services."""
        self._closed = [
            f"{name} at {service}" for name, service in dict.fromkeys(asked) if _closed(name, service, on)
        ]
        said = next(words for words, value in _CUSTOMER.items() if value is answer)
        self.choice = ipywidgets.RadioButtons(
            options=tuple(_CUSTOMER), value=said, description="Are you one?"
        )
        super().__init__(
            [ipywidgets.HTML(f"<p>{html.escape(self._why)}</p>"), *([self.choice] * bool(self._closed))]
        )

    @property
    def answer(self) -> bool | None:
        """``True`` or ``False``; ``None``: not known."""
        return _CUSTOMER[self.choice.value]

    @property
    def _why(self) -> str:
        if not self._closed:
            return "Whether you are an existing customer makes no difference for these models."
        return (
            f"Closed to new customers: {' and '.join(self._closed)}. At Azure an existing customer is a "
            "subscription that has deployed this very version before, at OpenAI an organisation that used a "
            "tuned model within the last 60 days."
        )

    def __repr__(self) -> str:
        """Why it is asked, and the answer."""
        return f"{self._why} Existing customer: {self.choice.value}." if self._closed else self._why

    def _repr_mimebundle_(self, **options: object) -> Any:
        still = {"text/plain": repr(self)}
        if setting("WORKBENCH_HEADLESS") == "1":
            return still
        return {**still, **super()._repr_mimebundle_(**options)}


def _closed(name: str, service: str, on: datetime.date) -> bool:
    """Whether it is the answer that decides about this model."""
    try:
        known = model(name)
    except SetupError:  # a model of one's own, which the catalogue does not have
        return False
    new = known.trainable(on, existing_customer=False, service=service)
    return new is False and known.trainable(on, service=service) is True


def ask_customer(
    *asked: tuple[str, str], answer: bool | None = None, on: datetime.date | None = None
) -> CustomerQuestion:
    """Ask whether you are an existing customer, where it decides if one of these models can be trained.

    ``asked``: pairs of a model and its service. ``answer``: what is known already; ``None`` asks, and
    without a front end it stays not known. ``on``: the day, today by default.
    """
    return CustomerQuestion(asked, answer, on or datetime.date.today())


def browse_models(on: datetime.date | None = None) -> CatalogueView:
    """Look through the catalogue, beginning with what can still be trained on that day."""
    return CatalogueView(on)
