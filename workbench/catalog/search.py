"""Which models fit, and what answering with them costs: the catalogue as a list to choose from.

``find`` filters as the portal's page does; prices are given as figures for a payback. The facts themselves
stand in ``catalog``.
"""

import datetime
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from workbench.catalog.catalog import model, models
from workbench.catalog.citations import Source, as_of, facts_in, source
from workbench.catalog.methods import short_names
from workbench.catalog.models import Model, region_key
from workbench.catalog.providers import PROVIDERS, provider
from workbench.display import columns, table
from workbench.errors import DataError, SetupError

if TYPE_CHECKING:
    from pandas import DataFrame

# What answering costs by the catalogue's prices: figures for a payback, and what one could switch to.


class Offer(NamedTuple):
    """A model, and where it is had."""

    model: Model
    service: str


_OF_A_WAY = {"input_price": "input", "output_price": "output", "cached_price": "cached_input"}


def way_prices(name: str, *, service: str, tuned: bool) -> dict[str, float]:
    """The prices of one way of answering, by the names that a payback's case has for them.

    US dollars: ``input_price``, ``output_price`` and, where it is known, ``cached_price`` per million tokens;
    ``hosting_per_hour``. Azure bills the tokens of OpenAI's models tuned like those of their bases (Microsoft
    Learn, cost management, 2026-02-11), so either price stands for the other; not so for open weights. On
    this machine nothing is billed. A price that no source gives is a ``SetupError``: nothing is guessed.
    """
    known, where = model(name), provider(service)
    if where.runs_here:
        return {"input_price": 0.0, "output_price": 0.0, "hosting_per_hour": 0.0}
    prices = {key: _usd(known, what, where.name, tuned=tuned) for key, what in _OF_A_WAY.items()}
    hosted = tuned and where.deploy_before_use
    prices["hosting_per_hour"] = _usd(known, "hosting_hour", where.name, tuned=False) if hosted else 0.0
    missing = [key for key, usd in prices.items() if usd is None and key != "cached_price"]
    if missing:
        kind = "tuned" if tuned else "base"
        raise SetupError(
            f"The catalogue has no {' and no '.join(missing)} of {kind} {known.name} at {where.name}; put it "
            "into a file of your own (WORKBENCH_PRICES in .env.example), or into the case."
        )
    return {key: usd for key, usd in prices.items() if usd is not None}


def cheapest_base(
    on: datetime.date,
    *,
    service: str | None = None,
    prompt_tokens: float = 1.0,
    completion_tokens: float = 1.0,
    existing_customer: bool | None = None,
) -> Offer | None:
    """The base model that answers such requests for the least on that day: what one could switch to.

    Only those whose prices are known there, that are not retired by then, and that a new customer can
    deploy unless ``existing_customer``; ``service`` ``None``: anywhere.
    """
    found = []
    services = [service] if service else [each.name for each in PROVIDERS.values() if not each.runs_here]
    for place, known in enumerate(models()):
        for where in services:
            life = known.life(where)
            if life and (life.is_retired(on) or (life.stage == "Deprecated" and not existing_customer)):
                continue
            asked, answered = (_usd(known, what, where, tuned=False) for what in ("input", "output"))
            if asked is not None and answered is not None:
                cost = prompt_tokens * asked + completion_tokens * answered
                found.append((cost, place, Offer(known, where)))
    return min(found)[-1] if found else None


def _usd(known: Model, what: str, service: str, *, tuned: bool) -> float | None:
    names = [f"tuned_{what}", what] if tuned else [what, f"tuned_{what}"]
    if not provider(service).azure or known.open_weights or what == "hosting_hour":
        names = names[:1]
    prices = (known.price(name, service=service) for name in names)
    return next((price.usd for price in prices if price is not None), None)


@dataclass(frozen=True)
class Offering:
    """What else a service offers, or did, beside training jobs."""

    service: str
    name: str
    what: str
    source: Source
    ends: datetime.date | None = None
    """From when on it is no more."""

    def __str__(self) -> str:
        """Its name, what it is, and until when."""
        return f"{self.name}: {self.what}" + (f" (ends {self.ends})" if self.ends else "")


@lru_cache(maxsize=1)
def offerings() -> tuple[Offering, ...]:
    """Other ways that services offer, and what they have closed."""
    return tuple(
        Offering(**{**said, "source": source(said["source"])}) for said in facts_in("lifecycle")["offering"]
    )


# The catalogue as a list to choose from: filters as on the portal's page, and what can still be trained.

_SHOWN = ("model", "status", "methods", "regions", "trainable_until", "deployments_end")
_SOURCES = ("source", "dates_source", "price_source")


@dataclass(frozen=True, repr=False)
class Catalogue:
    """Some models, as they stand at one service."""

    models: tuple[Model, ...]
    service: str | None = None
    """Whose dates and prices are shown; ``None``: each model's own service."""
    training_type: str | None = None
    """Which price is shown; ``None``: the first one known."""
    untold: tuple[str, ...] = ()
    """Models that fit but for the day: no source tells whether they can be trained then."""
    today: datetime.date | None = None
    """Facts older than 90 days on this day say so; ``None``: today."""

    def __len__(self) -> int:
        """How many models."""
        return len(self.models)

    def __iter__(self) -> Iterator[Model]:
        """One model after the other."""
        return iter(self.models)

    @cached_property
    def frame(self) -> "DataFrame":
        """One row a model, to sort and filter further."""
        from pandas import DataFrame

        return DataFrame(self.rows)

    @property
    def rows(self) -> list[dict[str, str | int | float | bool | None]]:
        """One row a model; ``None`` where no source tells."""
        return [self._row(model) for model in self.models]

    @property
    def facts(self) -> dict[str, object]:
        """All that is known of them, as plain JSON."""
        from pydantic_core import to_jsonable_python

        shown: dict[str, object] = {"models": [facts(model) for model in self.models]}
        return shown | {"untold": list(self.untold), "offerings": to_jsonable_python(self.offerings)}

    @property
    def offerings(self) -> tuple[Offering, ...]:
        """What else this service offers; without a service, every one's."""
        return tuple(each for each in offerings() if self.service in (None, each.service))

    def __repr__(self) -> str:
        """One line a model."""
        also = (f"Also at {each.service}: {each}" for each in self.offerings)
        return "\n".join([self._caption, columns(*self._shown()), *also])

    def _repr_html_(self) -> str:
        rows = [
            (f"{each.service}: {each.name}", each.what, each.ends or "", each.source.url)
            for each in self.offerings
        ]
        also = table("What else the services offer, or did", ("", "what", "ends", "source"), rows)
        return table(self._caption, *self._shown()) + (also if rows else "")

    @property
    def _caption(self) -> str:
        counted = f"{len(self)} model{'' if len(self) == 1 else 's'}"
        untold = f"; no source tells it of {', '.join(self.untold)}" if self.untold else ""
        return f"{counted}{f' at {self.service}' if self.service else ''}{untold}"

    def _row(self, model: Model) -> dict[str, str | int | float | bool | None]:
        life = model.life(self.service)
        price = model.training_price(service=self.service, training_type=self.training_type)
        at_azure = provider(self.service or model.service).azure
        today = self.today or datetime.date.today()
        sources = {
            "source": model.sources.get("methods"),
            "dates_source": life.sources.get("training_ends") if life else None,
            "price_source": price.source if price else None,
        }
        return {
            "model": model.name,
            "service": self.service or model.service,
            "status": model.status(self.service),
            "methods": None if model.methods is None else ", ".join(model.methods) or "none",
            "vision": model.vision,
            "regions": len(training_regions([model])) or None if at_azure else None,
            "trainable_until": _days(life.dates("training_ends") if life else ()),
            "deployments_end": _days(life.dates("deployments_end") if life else ()),
            "training_price": None if price is None else price.usd,
            "per": None if price is None else price.unit,
            **{key: None if said is None else as_of(said, today) for key, said in sources.items()},
        }

    def _shown(self) -> tuple[list[str], list[list[str]]]:
        rows = []
        for row in self.rows:
            unknown = "not published" if provider(str(row["service"])).azure else "not stated"
            price = unknown if row["per"] is None else f"${row['training_price']:g} per {row['per']}"
            sources = dict.fromkeys(str(row[key]) for key in _SOURCES if row[key])
            shown = ["not stated" if row[fact] is None else str(row[fact]) for fact in _SHOWN]
            rows.append([*shown, price, "; ".join(sources)])
        return [*(fact.replace("_", " ") for fact in _SHOWN), "training", "source"], rows


def find(
    *,
    task: str | None = None,
    method: str | None = None,
    region: str | None = None,
    service: str | None = None,
    training_type: str | None = None,
    on: datetime.date | None = None,
    vision: bool | None = None,
    existing_customer: bool | None = None,
) -> Catalogue:
    """Which models fit all of this? Without any of it: all, the retired ones among them.

    ``task``: one of the portal's "Fine-tuning tasks". ``region``: where one may train. ``on``: they can
    still be trained on that day, by you: ``existing_customer`` ``False`` leaves out what is closed to new
    ones; with ``None``, not known, it is in. A value that no model has is refused with those that there are.
    """
    known = models()
    _either("task", task, _all(known, "tasks"))
    _either("method", method, short_names())
    _either("training type", training_type, _all(known, "training_types"))
    regions = training_regions(known)
    if region is not None and region_key(region) not in map(region_key, regions):
        raise DataError(f"No model is trained in the region {region!r}; there are {', '.join(regions)}.")
    where = None if service is None else provider(service).name
    if where and not provider(where).azure and (region or training_type):
        raise DataError(f"Regions and training types are Azure's; leave them out for {where}.")
    found = [
        model
        for model in known
        if (task is None or task in (model.tasks or ()))
        and (method is None or method in (model.methods or ()))
        and (training_type is None or training_type in (model.training_types or ()))
        and (where is None or where in model.services)
        and (vision is None or model.vision is vision)
        and (region is None or _has_region(model, region, training_type, with_images=vision is True))
    ]
    if on is None:
        return Catalogue(tuple(found), where, training_type)
    trains = {
        model.name: model.trainable(on, existing_customer=existing_customer is not False, service=where)
        for model in found
    }
    trainable = tuple(model for model in found if trains[model.name])
    untold = tuple(model.name for model in found if trains[model.name] is None and model.methods)
    return Catalogue(trainable, where, training_type, untold)


def training_regions(among: Iterable[Model]) -> list[str]:
    """Every region in which one of these models can be trained, or could."""
    places = (place for model in among for place in model.regions if place.use == "training")
    return sorted({name for place in places for name in place.names})


def facts(model: Model) -> dict[str, object]:
    """All that is known of a model, as plain JSON: of the shape that ``facts_schema`` tells."""
    from pydantic_core import to_jsonable_python

    shown: dict[str, object] = to_jsonable_python(model, fallback=dict)
    return shown | {"retired": model.retired, "services": list(model.services)}


def facts_schema() -> dict[str, object]:
    """The JSON Schema of a catalogue's ``facts``; what no source tells is null."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(Model).json_schema(mode="serialization")
    defined = schema.pop("$defs")
    names = {"type": "array", "items": {"type": "string"}}
    said = {"description": "Whether its own service trains it no more.", "type": "boolean"}
    where = {"description": "Where it can be tuned, or could."} | names
    schema["properties"] |= {"retired": said, "services": where}
    fits = {"description": "Models that fit but for the day: no source tells of it."} | names
    more = TypeAdapter(tuple[Offering, ...]).json_schema(mode="serialization")
    defined |= more.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Catalogue",
        "type": "object",
        "properties": {
            "models": {"type": "array", "items": {"$ref": "#/$defs/Model"}},
            "untold": fits,
            "offerings": {"description": "What else the services offer, or did."} | more,
        },
        "required": ["models", "untold", "offerings"],
        "$defs": {**defined, "Model": schema},
    }


def _either(what: str, value: str | None, there_are: Collection[str]) -> None:
    if value is not None and value not in there_are:
        raise DataError(f"There is no {what} {value!r}; choose {', '.join(there_are)}.")


def _all(among: Iterable[Model], fact: str) -> list[str]:
    return sorted({value for model in among for value in getattr(model, fact) or ()})


def _has_region(model: Model, region: str, training_type: str | None, *, with_images: bool) -> bool:
    return any(
        place.use == "training"
        and training_type in (None, place.type)
        and place.has(region, with_images=with_images)
        for place in model.regions
    )


def _days(days: Iterable[datetime.date]) -> str | None:
    return " or ".join(map(str, days)) or None
