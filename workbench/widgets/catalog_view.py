"""The catalogue to look through: filters above, the models that fit below, always current.

``view.catalogue`` is what fits at this moment; nothing waits for a click.
"""

import datetime
from typing import Any

import ipywidgets

from workbench.catalog.catalog import Catalogue, find, models, training_regions
from workbench.catalog.methods import short_names
from workbench.catalog.providers import PROVIDERS
from workbench.display import table
from workbench.errors import DataError
from workbench.settings import setting

ANY = "any"
_WIDE = {"description_width": "14em"}
_IMAGES = {ANY: None, "with images": True, "text only": False}


class CatalogueView(ipywidgets.VBox):  # type: ignore[misc]
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

    def _repr_mimebundle_(self, **options: object) -> Any:
        still = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if setting("WORKBENCH_HEADLESS") == "1":
            return still
        return {**still, **super()._repr_mimebundle_(**options)}

    def _changed(self, _change: object) -> None:
        try:
            self._catalogue = self._found()
        except DataError as error:  # what fitted before still stands
            self._shown.value = table("", ("", "these filters do not go together"), [("", str(error))])
            return
        self._shown.value = self._catalogue._repr_html_()

    def _found(self) -> Catalogue:
        said = {name: None if field.value == ANY else field.value for name, field in self.fields.items()}
        return find(
            task=said["task"],
            method=said["method"],
            region=said["region"],
            service=said["service"],
            vision=_IMAGES[self.fields["vision"].value],
            on=said["on"],
        )

    @staticmethod
    def _choice(asked: str, there_are: Any) -> Any:
        return ipywidgets.Dropdown(options=(ANY, *there_are), value=ANY, description=asked, style=_WIDE)


def browse_models(on: datetime.date | None = None) -> CatalogueView:
    """Look through the catalogue, beginning with what can still be trained on that day."""
    return CatalogueView(on)
