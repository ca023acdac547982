"""A model and what is known of it: methods, limits, regions, life and prices, each fact with its source."""

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, TypeVar

from workbench.catalog.citations import DESCRIBED, Conflict, Remark, Source, as_of
from workbench.catalog.providers import PROVIDERS, runs_here
from workbench.display import table

# The life of a model at a service: its stage, and until when one can train it and use what was trained.
#
# Azure's dates are "not before": on the day itself it may be over, so that day no longer counts.

DAYS_A_MONTH = 30.4375
CLOSED = ("Deprecated", "Retired")  # to new customers; a Legacy model can still be deployed anew


@dataclass(frozen=True)
class Life:
    """Stages and dates of one model at one service; ``None`` where no source tells."""

    __pydantic_config__ = DESCRIBED

    service: str
    """Where: ``azure`` or ``openai``."""
    stage: str | None = None
    """Of the base model, in the documents' words: Preview, Generally available, Legacy (can still be deployed
    anew), Deprecated (only subscriptions that deployed this version before), Retired. The service's own
    interface calls the last two Deprecating and Deprecated."""
    base_retires: datetime.date | None = None
    """From when on the base model itself answers no more."""
    training: str | None = None
    """Who may train: ``open``, ``invitation``, or ``ended``: the newest table does not list it any more."""
    closed_to_new: datetime.date | None = None
    """Since when only existing customers may train."""
    training_ends: datetime.date | None = None
    """From when on nobody can train it."""
    deployments_end: datetime.date | None = None
    """From when on models tuned from it answer no more."""
    successor: str | None = None
    """The model that the service recommends in its place."""
    listed: bool | None = None
    """Whether the service listed it when it was asked last."""
    fine_tune: bool | None = None
    """Whether the service, asked last, said that it can be tuned."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Who says so, by the name of the fact."""
    conflicts: tuple[Conflict, ...] = ()

    def dates(self, fact: str) -> list[datetime.date]:
        """Every date that a source not older than ours gives for this fact, the earliest first."""
        ours: datetime.date | None = getattr(self, fact)
        if ours is None:
            return []
        others = [
            conflict.says
            for conflict in self.conflicts
            if conflict.fact == fact and conflict.source.date >= self.sources[fact].date
        ]
        return sorted({ours, *(other for other in others if isinstance(other, datetime.date))})

    def is_retired(self, on: datetime.date) -> bool:
        """Whether the base model itself is gone on that day."""
        if self.base_retires is not None:
            return on >= self.base_retires
        return self.stage == "Retired"

    def trainable(self, on: datetime.date, *, existing_customer: bool = True) -> bool | None:
        """Whether one can train it on that day; ``None`` when the sources disagree or do not tell.

        Without a known end, a table that lists it is believed for 90 days.
        """
        stated = self.sources.get("training")
        if self.training == "ended":
            return False if stated and on >= stated.date else None
        if not existing_customer and self._is_closed(on):
            return False
        ends = self.dates("training_ends")
        if ends and on >= ends[0]:
            return False if on >= ends[-1] else None
        if self.training == "invitation" or self.fine_tune is False:
            return None
        if ends:
            return True
        if self.is_retired(on) or stated is None or stated.is_stale(on):
            return None
        return True

    def months_of_service(self, on: datetime.date) -> float | None:
        """Months from that day until tuned models answer no more, by the earliest date given."""
        return _months_to(self.dates("deployments_end"), on)

    def months_of_base(self, on: datetime.date) -> float | None:
        """Months from that day until the base model itself answers no more."""
        return _months_to(self.dates("base_retires"), on)

    def _is_closed(self, on: datetime.date) -> bool:
        if self.closed_to_new is not None:
            return on >= self.closed_to_new
        return self.stage in CLOSED or self.is_retired(on)


def _months_to(ends: list[datetime.date], on: datetime.date) -> float | None:
    return max(0, (ends[0] - on).days) / DAYS_A_MONTH if ends else None


# Prices in US dollars, by what they are for.

_ASKED = ("input", "cached_input", "output")
TOKENS = ("training", *(f"{whose}{kind}" for whose in ("", "tuned_", "grader_") for kind in _ASKED))
HOURS = ("training_hour", "hosting_hour")


@dataclass(frozen=True)
class Price:
    """One price in US dollars."""

    __pydantic_config__ = DESCRIBED

    what: str
    """``training``, ``input``, ``cached_input``, ``output``, ``tuned_input``, ``tuned_cached_input``,
    ``tuned_output`` or the same of a ``grader`` per million tokens; ``training_hour`` or ``hosting_hour``
    per hour."""
    usd: float
    service: str
    """At which provider: ``azure`` or ``openai``."""
    training_type: str | None
    """As a job is sent it (``globalStandard``), or the deployment's where hosting is priced; ``None`` where
    the source makes no difference."""
    source: Source
    regions: tuple[str, ...] = ()
    """Where it is asked, as Azure's interfaces write it; empty: wherever this is sold."""

    def __str__(self) -> str:
        """``$2.00 per 1M tokens``."""
        amount = f"{self.usd:,.2f}" if self.usd == round(self.usd, 2) else f"{self.usd:,g}"
        return f"${amount} per {self.unit}"

    @property
    def unit(self) -> str:
        """What it is the price of."""
        return "hour" if self.what in HOURS else "1M tokens"

    def replaces(self, other: "Price") -> bool:
        """Whether ``other`` no longer counts beside this one; without a training type it stands for all."""
        same = (self.what, self.service) == (other.what, other.service)
        return same and self.training_type in (None, other.training_type)


# Where models can be trained and deployed, by the names that Azure's portal shows.


@dataclass(frozen=True)
class Regions:
    """Where one thing can be done with a model."""

    __pydantic_config__ = DESCRIBED

    use: str
    """What is done: ``training``, ``interactive`` (training driven step by step) or ``deployment``."""
    type: str
    """How: a training type, or a deployment's (``standard``, ``provisioned``, ``serverless``)."""
    names: tuple[str, ...]
    source: Source
    text_only: tuple[str, ...] = ()
    """Those of them that take no images."""

    def has(self, region: str, *, with_images: bool = False) -> bool:
        """Whether it can be done in this region, however its name is written."""
        names = set(self.names) - set(self.text_only) if with_images else self.names
        return region_key(region) in map(region_key, names)


def region_key(name: str) -> str:
    """``swedencentral``, as Azure's interfaces write ``Sweden Central``."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


_REGIONS_A_ROW = 13  # more would be cut in a cell

LOCALLY = "Its weights are open: with transformers, PEFT or TRL they can be trained on a machine of your own."


@dataclass(frozen=True)
class Model:
    """A model that can be tuned, judge or answer; ``None`` where no source tells."""

    __pydantic_config__ = DESCRIBED

    name: str
    service: str = "azure"
    """Where it is tuned unless one says otherwise: ``azure``, or ``local`` for this machine."""
    version: str | None = None
    aliases: tuple[str, ...] = ()
    tasks: tuple[str, ...] | None = None
    """What tuning is for, as the portal's filter "Fine-tuning tasks" calls it: ``chat-completion``,
    ``text-generation``."""
    encoding: str | None = None
    """OpenAI's vocabulary, as ``tiktoken`` calls it."""
    methods: tuple[str, ...] | None = None
    """What it can be tuned by, or could: ``sft``, ``dpo``, ``rft``; empty: by none."""
    training_types: tuple[str, ...] | None = None
    """``standard``, ``globalStandard``, ``developerTier``; ``dataZone`` is our word for the API's;
    ``serverless`` was the way of open weights until 2025."""
    deployment_types: tuple[str, ...] | None = None
    """How a tuned one can be deployed, beside the regions that have ``standard``."""
    interactive: bool | None = None
    """Whether one can drive its training step by step; a product of its own, not a job."""
    max_example_tokens: int | None = None
    """The longest training example, in tokens."""
    max_input_tokens: int | None = None
    """The longest prompt, in tokens."""
    max_output_tokens: int | None = None
    """The longest answer, in tokens."""
    knowledge_until: str | None = None
    """The month up to which it read: ``2024-05``."""
    vision: bool | None = None
    """Whether training examples may hold images."""
    open_weights: bool | None = None
    """Whether one can have its weights."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Who says so, by the name of the fact: ``sources["methods"]``."""
    conflicts: tuple[Conflict, ...] = ()
    """What other sources say; those about dates stand in the life they speak of."""
    remarks: tuple[Remark, ...] = ()
    regions: tuple[Regions, ...] = ()
    lives: tuple[Life, ...] = ()
    """One for each service that has dates for it."""
    prices: tuple[Price, ...] = ()

    @property
    def all_sources(self) -> tuple[Source, ...]:
        """Who says something of it, each once, those with an address."""
        said = [*self.sources.values(), *(place.source for place in self.regions)]
        said += [source for life in self.lives for source in life.sources.values()]
        said += [price.source for price in self.prices]
        said += [each.source for life in self.lives for each in life.conflicts]
        said += [each.source for each in self.conflicts] + [each.source for each in self.remarks]
        return tuple(dict.fromkeys(source for source in said if source.url))

    @property
    def services(self) -> tuple[str, ...]:
        """Where it can be tuned, or could."""
        services = [life.service for life in self.lives if life.training or life.training_ends]
        if self.methods is None or self.methods:
            services.insert(0, self.service)
        return tuple(dict.fromkeys(services))

    @property
    def retired(self) -> bool:
        """Whether its own service trains it no more; what is known of it stays."""
        life = self.life()
        return life is not None and (life.training == "ended" or life.stage == "Retired")

    def price(
        self, what: str, *, service: str, training_type: str | None = None, region: str | None = None
    ) -> Price | None:
        """What it costs there; a price for this very training type before one that makes no difference.

        ``training_type=None``: the one that the service takes unless another is given. Where prices differ by
        region and none is named, the lowest.
        """
        found = self.prices_of(what, service=service, training_type=training_type)
        here = [price for price in found if region and region_key(region) in price.regions]
        return next(iter(here or found), None)

    def prices_of(self, what: str, *, service: str, training_type: str | None = None) -> tuple[Price, ...]:
        """All prices of this there: one, or one for each group of regions, the lowest first."""
        found = [price for price in self.prices if (price.what, price.service) == (what, service)]
        usual = PROVIDERS[service].training_type if service in PROVIDERS else None
        for wanted in dict.fromkeys((training_type or usual, None)):
            if mine := [price for price in found if price.training_type == wanted]:
                return tuple(mine)
        return ()

    def life(self, service: str | None = None) -> Life | None:
        """Its dates at this service; ``None``: at its own."""
        where = service or self.service
        return next((life for life in self.lives if life.service == where), None)

    def trainable(
        self, on: datetime.date, *, existing_customer: bool | None = True, service: str | None = None
    ) -> bool | None:
        """Can it be trained on that day? ``None`` when no source tells, or sources disagree.

        An existing customer is, at Azure, a subscription that deployed this very version before; at OpenAI,
        an organisation that ran inference on a tuned model within the last 60 days. ``None``: not known, and
        so is the answer where it depends on that. This machine's own models can always be trained here.
        """
        if existing_customer is None:
            anybody = self.trainable(on, existing_customer=False, service=service)
            return anybody or (None if self.trainable(on, service=service) else anybody)
        if runs_here(service or self.service):
            return runs_here(self.service)
        if self.methods == ():
            return False
        life = self.life(service)
        return None if life is None else life.trainable(on, existing_customer=existing_customer)

    def months_of_service(self, on: datetime.date, *, service: str | None = None) -> float | None:
        """Months from that day until models tuned from it answer no more; ``None`` when no source tells.

        Nobody takes this machine's own models away: ``None``, too.
        """
        life = self.life(service)
        return None if life is None else life.months_of_service(on)

    def training_price(self, *, service: str | None = None, training_type: str | None = None) -> Price | None:
        """The price of training, by the token or else by the hour; any type's where none is named."""
        where = service or self.service
        kinds = ("training", "training_hour")
        prices = (self.price(what, service=where, training_type=training_type) for what in kinds)
        return next(filter(None, prices), None)

    def status(self, service: str | None = None) -> str:
        """Its stage there, and who may train."""
        life = self.life(service)
        if life is None:
            return "on this machine" if runs_here(self.service) else "not stated"
        stage = life.stage or (f"base model retires {life.base_retires}" if life.base_retires else None)
        who = {"ended": "no longer trained", "invitation": "by invitation"}.get(life.training or "")
        if self.retired and service in (None, self.service):
            return "retired"
        if life.closed_to_new or life.stage == "Deprecated":
            who = "existing customers only"
        if life.training == "open" and not stage:
            who = "open to every customer"
        return ", ".join(filter(None, (stage, who))) or "not stated"

    def card(self, on: datetime.date) -> Iterator[tuple[str, str, str]]:
        """Every fact, its value and its source; what is older than 90 days on that day says so."""
        yield "status", self.status(), ""
        for fact in fields(self):
            value = getattr(self, fact.name)
            if fact.name in self.sources:
                yield _spoken(fact.name), _shown(value), as_of(self.sources[fact.name], on)
            elif fact.name in ("version", "aliases") and value:
                yield fact.name, _shown(value), ""
        for place in self.regions:
            for first in range(0, len(place.names), _REGIONS_A_ROW):
                names = ", ".join(place.names[first : first + _REGIONS_A_ROW])
                yield f"regions: {place.use}, {place.type}", names, as_of(place.source, on)
            if place.text_only and self.vision:
                names = ", ".join(place.text_only)
                yield f"without images: {place.use}, {place.type}", names, as_of(place.source, on)
        for life in self.lives:
            for name, source in life.sources.items():
                yield f"{life.service}: {_spoken(name)}", _shown(getattr(life, name)), as_of(source, on)
        for (service, what, said), prices in self._prices_by_source().items():
            yield f"{service}: {_spoken(what)}", _priced(prices), as_of(said, on)
        for conflict in self.conflicts + tuple(each for life in self.lives for each in life.conflicts):
            yield f"but {_spoken(conflict.fact)}", str(conflict.says), as_of(conflict.source, on)
        for remark in self.remarks:
            yield "remark", remark.text, as_of(remark.source, on)
        if self.open_weights:
            yield "on this machine", LOCALLY, ""
        for source in self.all_sources:
            yield "source", str(source), source.url

    def _prices_by_source(self) -> dict[tuple[str, str, Source], dict[str | None, list[Price]]]:
        found: dict[tuple[str, str, Source], dict[str | None, list[Price]]] = {}
        for price in self.prices:
            types = found.setdefault((price.service, price.what, price.source), {})
            types.setdefault(price.training_type, []).append(price)
        return found

    def _repr_html_(self) -> str:
        return table(self.name, ("fact", "value", "source"), self.card(datetime.date.today()))


def _priced(types: Mapping[str | None, list[Price]]) -> str:
    """``$25.00 (globalStandard), $27.50 to $33.00 by region (standard) per 1M tokens``."""
    words = []
    for type, prices in types.items():
        amounts = [str(price).split(" per ")[0] for price in (prices[0], prices[-1])]
        by_region = f"{amounts[0]} to {amounts[1]} by region" if len(prices) > 1 else amounts[0]
        words.append(by_region + (f" ({type})" if type else ""))
    (first, *_) = next(iter(types.values()))
    return f"{', '.join(words)} per {first.unit}"


_Known = TypeVar("_Known", "Model", Life)


def with_facts(known: _Known, facts: Mapping[str, Any], source: Source) -> _Known:
    """The same model or life with these facts, of which this is the source."""
    sources = MappingProxyType({**known.sources, **dict.fromkeys(facts, source)})
    return replace(known, sources=sources, **facts)


def base_name(name: str) -> str:
    """The base model of a tuned one, as its name tells it; any other name as it is."""
    if name.startswith("ft:"):
        return name.split(":")[1]
    return name.split(".ft-")[0]


def is_tuned(model: str) -> bool:
    """Whether the name is that of a tuned model or a checkpoint, as services name them."""
    return base_name(model) != model


# Whose model: by the start of its name, what Azure's control plane calls them. The az command line says
# OpenAI-OSS for all but OpenAI's own, and "Ministral AI" was seen to work. The local service's own small
# models stand in for OpenAI's.
_FORMATS = (
    (("gpt-oss",), ("Microsoft",)),
    (("ministral", "mistral"), ("Mistral AI", "Ministral AI")),
    (("llama", "meta-llama"), ("Meta",)),
    (("qwen",), ("Alibaba",)),
)
_ANY_OPEN = "OpenAI-OSS"


def formats_of(base_model: str) -> tuple[str, ...]:
    """What a deployment's ``model.format`` may say for models tuned from this one, the usual word first."""
    name = base_model.rpartition("/")[2].lower()
    for starts, formats in _FORMATS:
        if name.startswith(starts):
            return (*formats, _ANY_OPEN)
    return ("OpenAI",)


def _spoken(fact: str) -> str:
    return fact.replace("_", " ")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
