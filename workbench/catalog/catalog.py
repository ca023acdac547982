"""The catalogue of models: find one, its prices by provider, what was refreshed from the services.

Facts come from the dated tables beside this file (``*.toml``) and from what ``refresh`` kept in the
home; each carries its source and its day.
"""

import datetime
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.catalog import azure_prices
from workbench.catalog import methods as training_methods
from workbench.catalog.models import (
    Conflict,
    Life,
    Model,
    Price,
    Regions,
    Remark,
    Source,
    as_of,
    base_name,
    prices_in,
    region_key,
)
from workbench.catalog.providers import PROVIDERS, provider
from workbench.display import table
from workbench.errors import DataError, SetupError
from workbench.settings import ROOT, home, models_in, setting

if TYPE_CHECKING:
    from pandas import DataFrame

# What services said when they were asked: kept in the home, with source and day.
#
# Deleting ``catalog/refreshed.json`` forgets it; the catalogue's own files are never changed.

DATES = ("base_retires", "closed_to_new", "training_ends", "deployments_end")


@dataclass(frozen=True)
class RefreshedFacts:
    """One fact as a service said it."""

    model: str
    service: str
    fact: str
    """A field of ``Life``."""
    value: str | bool | datetime.date
    source: Source


def refreshed_path() -> Path:
    """Where it stands."""
    return home() / "catalog" / "refreshed.json"


def read_refreshed(path: Path) -> tuple[RefreshedFacts, ...]:
    """What was kept, the oldest first; nothing when nobody was asked yet."""
    if not path.is_file():
        return ()
    try:
        return tuple(_kept(each) for each in json.loads(path.read_text(encoding="utf-8"))["facts"])
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} is damaged ({error!r}); delete it and refresh the catalogue.") from None


def keep_refreshed(new: Iterable[RefreshedFacts]) -> None:
    """Keep these, too; a newer word on the same fact replaces the older."""
    path = refreshed_path()
    facts = {(each.model, each.service, each.fact): each for each in (*read_refreshed(path), *new)}
    if not facts:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"facts": [_plain(each) for each in facts.values()]}, indent=2), "utf-8")
    beside.replace(path)


def _plain(each: RefreshedFacts) -> dict[str, object]:
    value = str(each.value) if isinstance(each.value, datetime.date) else each.value
    source = {"title": each.source.title, "date": str(each.source.date), "url": each.source.url}
    facts = {"model": each.model, "service": each.service, "fact": each.fact}
    return facts | {"value": value, "source": source}


def _kept(said: dict[str, object]) -> RefreshedFacts:
    source, value = said["source"], said["value"]
    if not isinstance(source, dict) or not isinstance(value, str | bool):
        raise ValueError(said)
    model, service, fact = (str(said[key]) for key in ("model", "service", "fact"))
    day = datetime.date.fromisoformat(str(source["date"]))
    shown = datetime.date.fromisoformat(str(value)) if fact in DATES else value
    return RefreshedFacts(
        model, service, fact, shown, Source(str(source["title"]), day, str(source.get("url", "")))
    )


# The catalogue put together: the files beside this one, then what services said, then your own prices.
#
# Later ones win. What a service said replaces a date in the files, which then stays visible as a conflict.

HERE = Path(__file__).parent

# A version behind a model's name: gpt-4.1-2025-04-14, gpt-35-turbo-0125.
_VERSION = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")
_OF_A_LIFE = {fact.name for fact in fields(Life)} - {"service", "sources", "conflicts"}


def model(name: str) -> Model:
    """What is known of the model called so?

    It may carry a version (``gpt-4.1-2025-04-14``) or be a tuned one (``ft:gpt-4o-mini-2024-07-18:me::1``,
    ``gpt-4.1-2025-04-14.ft-0a1b``): then its base model's facts are given. Of a folder under
    ``WORKBENCH_MODELS`` only its name is known. ``SetupError`` names all that are not retired.
    """
    wanted = base_name(name).lower()
    all_of_them = models()
    known = {known.lower(): each for each in all_of_them for known in (each.name, *each.aliases)}
    found = known.get(wanted) or known.get(_VERSION.sub("", wanted)) or _in_a_folder(base_name(name))
    if found is None:
        there_are = ", ".join(each.name for each in all_of_them if not each.retired)
        raise SetupError(
            f"The catalogue has no model '{name}'; it has {there_are}. "
            "The name of a deployment does not tell its model: give the name of the model behind it."
        )
    return found


def _in_a_folder(name: str) -> Model | None:
    """A base model of one's own: a Hugging Face folder that the local service trains by this name."""
    is_path = not name or name.startswith((".", "/")) or ".." in name
    folder = models_in(home()) / name
    here = not is_path and (folder / "config.json").is_file()
    taught = tuple(each.short for each in training_methods.METHODS.values() if each.trained_locally)
    return Model(name, service="local", methods=taught, open_weights=True) if here else None


def models() -> tuple[Model, ...]:
    """All models that we know something about, the retired ones among them."""
    kept, asked, own = refreshed_path(), azure_prices.kept_path(), own_prices()
    return _together(kept, asked, own, (_stamp(kept), _stamp(asked), None if own is None else _stamp(own)))


def own_prices() -> Path | None:
    """Your file of prices: ``WORKBENCH_PRICES``, which must be there, else ``prices.toml`` in the home."""
    named = setting("WORKBENCH_PRICES")
    path = (ROOT / Path(named).expanduser()).resolve() if named else home() / "prices.toml"
    if path.is_file():
        return path
    if named:
        raise SetupError(f"WORKBENCH_PRICES names {path}, where no file is; correct it, or leave it empty.")
    return None


@lru_cache(maxsize=4)
def _together(kept: Path, asked: Path, own: Path | None, stamps: object) -> tuple[Model, ...]:
    """The stamps are there to be cached by: an edited file counts at once."""
    shipped = azure_prices.with_prices(_shipped(), azure_prices.azure_prices(asked))
    found = _with_kept(shipped, read_refreshed(kept))
    if own is None:
        return tuple(found.values())
    mine: dict[str, tuple[Price, ...]] = {}
    for name, price in prices_in(own, _names(found.values()), _sources()):
        mine[name] = (*mine.get(name, ()), price)
    for name, prices in mine.items():
        others = (other for other in found[name].prices if not any(price.replaces(other) for price in prices))
        found[name] = replace(found[name], prices=(*prices, *others))
    return tuple(found.values())


@lru_cache(maxsize=1)
def _sources() -> Mapping[str, Source]:
    return {key: Source(**said) for key, said in _facts("sources")["source"].items()}


def source(key: str) -> Source:
    """Who stands behind this key of ``sources.toml``."""
    return _sources()[key]


@lru_cache(maxsize=1)
def _shipped() -> Mapping[str, Model]:
    sources = _sources()
    facts, lifecycle = _facts("models"), _facts("lifecycle")
    known: dict[str, dict[str, Any]] = {}
    for said in facts["model"]:
        empty: dict[str, Any] = {
            "sources": {},
            "conflicts": (),
            "remarks": (),
            "regions": (),
            "lives": {},
            "prices": (),
        }
        known[said["name"]] = empty | said
    for said, name in _each(facts["fact"]):
        stated = {key: value for key, value in said.items() if key not in ("models", "source")}
        known[name] |= stated
        known[name]["sources"] |= dict.fromkeys(stated, sources[said["source"]])
    for said, name in _each(facts["conflict"]):
        known[name]["conflicts"] += (Conflict(said["fact"], said["says"], sources[said["source"]]),)
    for said, name in _each(facts["remark"]):
        known[name]["remarks"] += (Remark(said["text"], sources[said["source"]]),)
    for said, name in _each(_facts("regions")["region"]):
        more = {key: tuple(said.get(key, ())) for key in ("names", "text_only")}
        known[name]["regions"] += (
            Regions(said["use"], said["type"], source=sources[said["source"]], **more),
        )
    for said, name in _each(lifecycle["life"]):
        stated = {key: value for key, value in said.items() if key not in ("models", "source", "service")}
        life = known[name]["lives"].get(said["service"], Life(said["service"]))
        known[name]["lives"][life.service] = _with_facts(life, stated, sources[said["source"]])
    for said, name in _each(lifecycle["conflict"]):
        life = known[name]["lives"][said["service"]]
        conflict = Conflict(said["fact"], said["says"], sources[said["source"]])
        known[name]["lives"][life.service] = replace(life, conflicts=(*life.conflicts, conflict))
    names = {name.lower(): name for name in known}
    for name, price in prices_in(HERE / "prices.toml", names, sources):
        known[name]["prices"] += (price,)
    for each in known.values():
        each["lives"] = list(each["lives"].values())
    return {
        name: Model(**{key: _frozen(value) for key, value in each.items()}) for name, each in known.items()
    }


def _with_kept(shipped: Mapping[str, Model], kept: Iterable[RefreshedFacts]) -> dict[str, Model]:
    found = dict(shipped)
    for each in kept:
        if each.fact not in _OF_A_LIFE:
            continue  # written by another version of the workbench
        known = found.get(each.model, Model(each.model, each.service))
        life = known.life(each.service) or Life(each.service)
        said, source = getattr(life, each.fact), life.sources.get(each.fact)
        if source is not None and said != each.value:
            life = replace(life, conflicts=(*life.conflicts, Conflict(each.fact, said, source)))
        life = _with_facts(life, {each.fact: each.value}, each.source)
        others = tuple(other for other in known.lives if other.service != each.service)
        found[each.model] = replace(known, lives=(life, *others))
    return found


def _with_facts(life: Life, facts: Mapping[str, Any], source: Source) -> Life:
    sources = {**life.sources, **dict.fromkeys(facts, source)}
    return replace(life, sources=MappingProxyType(sources), **facts)


def _names(models: Iterable[Model]) -> dict[str, str]:
    return {name.lower(): each.name for each in models for name in (each.name, *each.aliases)}


def _facts(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


def _each(entries: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Mapping[str, Any], str]]:
    return ((said, name) for said in entries for name in said["models"])


def _stamp(path: Path) -> object:
    """Changes when the file does."""
    if not path.is_file():
        return None
    state = path.stat()
    return state.st_mtime_ns, state.st_size


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return MappingProxyType(value) if isinstance(value, dict) else value


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
    for place, known in enumerate(models()):
        for where in (
            [service] if service else [each.name for each in PROVIDERS.values() if not each.runs_here]
        ):
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
        Offering(**{**said, "source": source(said["source"])}) for said in _facts("lifecycle")["offering"]
    )


# The catalogue as a list to choose from: filters as on the portal's page, and what can still be trained.

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
        columns, rows = self._shown()
        rows = [columns, *rows]
        widths = [max(len(row[place]) for row in rows) for place in range(len(columns) - 1)]
        lines = (
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
            for row in rows
        )
        also = (f"Also at {each.service}: {each}" for each in self.offerings)
        return "\n".join([self._caption, *(line.rstrip() for line in lines), *also])

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
        columns = ["model", "status", "methods", "regions", "trainable until", "deployments end"]
        rows = []
        for row in self.rows:
            cells = [row["model"], row["status"], row["methods"], row["regions"]]
            cells += [row["trainable_until"], row["deployments_end"]]
            unknown = "not published" if provider(str(row["service"])).azure else "not stated"
            price = unknown if row["per"] is None else f"${row['training_price']:g} per {row['per']}"
            sources = dict.fromkeys(str(row[key]) for key in _SOURCES if row[key])
            shown = ["not stated" if cell is None else str(cell) for cell in cells]
            rows.append([*shown, price, "; ".join(sources)])
        return [*columns, "training", "source"], rows


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
    _either("method", method, training_methods.short_names())
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
    return sorted(
        {
            name
            for model in among
            for place in model.regions
            if place.use == "training"
            for name in place.names
        }
    )


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
