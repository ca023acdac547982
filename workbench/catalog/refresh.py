"""What services say today beside what the catalogue says: what is new, gone, or changed.

A service's own list tells little and is not always right; the list of Azure's Resource Manager has the
dates. What they say is kept apart from the catalogue's files, with source and day, and wins when read. A
module apart because it follows the services' interfaces, which change without the catalogue.
"""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.catalog.catalog import RefreshedFacts, Value, keep_refreshed, models
from workbench.catalog.citations import Source
from workbench.catalog.models import Life, Model, base_name
from workbench.catalog.providers import provider_of
from workbench.display import table
from workbench.errors import DataError, SetupError

if TYPE_CHECKING:
    from openai import OpenAI

# The interface's words and the documents' are shifted by one.
STAGES: Mapping[str, str] = {
    "preview": "Preview",
    "generallyavailable": "Generally available",
    "stable": "Generally available",
    "deprecating": "Deprecated",
    "deprecated": "Retired",
}


@dataclass(frozen=True)
class Listed:
    """A model as a service lists it; ``None`` where the list does not tell."""

    name: str
    version: str | None = None
    fine_tune: bool | None = None
    stage: str | None = None
    base_retires: datetime.date | None = None
    training_ends: datetime.date | None = None


@dataclass(frozen=True)
class Change:
    """One fact that a service tells otherwise, or that was not known."""

    model: str
    fact: str
    before: Value | None
    after: Value

    def __str__(self) -> str:
        """``gpt-4.1: base_retires 2027-04-14 -> 2027-07-14``."""
        before = "not stated" if self.before is None else self.before
        return f"{self.model}: {self.fact} {before} -> {self.after}"


@dataclass(frozen=True, repr=False)
class Changes:
    """What a service says beside the catalogue."""

    service: str
    source: Source
    new: tuple[str, ...]
    """Models that can be tuned there and that the catalogue did not have."""
    gone: tuple[str, ...]
    """Models of the catalogue that are not listed; perhaps not in this region."""
    changed: tuple[Change, ...]

    @property
    def kept(self) -> tuple[RefreshedFacts, ...]:
        """All of it as facts to be kept."""
        facts: list[tuple[str, str, Value]] = [(name, "listed", True) for name in self.new]
        facts += [(name, "listed", False) for name in self.gone]
        facts += [(change.model, change.fact, change.after) for change in self.changed]
        return tuple(RefreshedFacts(name, self.service, fact, it, self.source) for name, fact, it in facts)

    @property
    def facts(self) -> dict[str, object]:
        """As plain JSON."""
        from pydantic_core import to_jsonable_python

        shown: dict[str, object] = to_jsonable_python(self)
        return shown

    def __repr__(self) -> str:
        """One line for each."""
        lines = [f"{kind}: {finding}" for kind, finding in self._rows]
        return "\n".join(lines) if lines else f"Nothing new, says {self.source}."

    def _repr_html_(self) -> str:
        return table(f"{self.service}: what {self.source} says", ("", "finding"), self._rows)

    @property
    def _rows(self) -> list[tuple[str, str]]:
        rows = [("new", name) for name in self.new] + [("not listed", name) for name in self.gone]
        return rows + [("changed", str(change)) for change in self.changed]


def listed_by(client: "OpenAI") -> Iterator[Listed]:
    """The base models that the service lists; Azure's list has dates in seconds since 1970, OpenAI's days."""
    for model in client.models.list():
        if base_name(model.id) != model.id:
            continue
        more = model.model_extra or {}
        ends = _mapping(more.get("deprecation"))
        fine_tune = _mapping(more.get("capabilities")).get("fine_tune")
        yield Listed(
            model.id,
            fine_tune=fine_tune if isinstance(fine_tune, bool) else None,
            base_retires=_day_of(ends.get("inference"))
            or _day(getattr(model, "shutdown_date", None), "shutdown_date"),
            training_ends=_day_of(ends.get("fine_tune")),
        )


def listed_in(arm: object) -> list[Listed]:
    """The models in an answer of Azure's Resource Manager; ``DataError`` when it is something else."""
    entries = arm.get("value") if isinstance(arm, dict) else None
    if not isinstance(entries, list):
        raise DataError('The list of models should be an object with "value", as Azure\'s API answers it.')
    found = []
    for place, entry in enumerate(entries):
        model = _mapping(_mapping(entry).get("model"))
        if not isinstance(model.get("name"), str):
            raise DataError(f"value[{place}] has no model with a name, as Azure's API answers it.")
        ends = _mapping(model.get("deprecation"))
        fine_tune = _mapping(model.get("capabilities")).get("fineTune")
        stage = str(model.get("lifecycleStatus", "")).lower()
        found.append(
            Listed(
                model["name"],
                version=None if model.get("version") is None else str(model["version"]),
                # Its capabilities are texts, and only those that there are stand in the list.
                fine_tune=True if str(fine_tune).lower() == "true" else None,
                stage=STAGES.get(stage),
                base_retires=_day(ends.get("inference"), f"value[{place}].model.deprecation.inference"),
                training_ends=_day(ends.get("fineTune"), f"value[{place}].model.deprecation.fineTune"),
            )
        )
    return found


def changes(known: Iterable[Model], listed: Iterable[Listed], *, service: str, source: Source) -> Changes:
    """Compare a service's list with what is known.

    That open weights can be tuned, Azure's list denies wrongly; its word on them is left out.
    """
    at_hand = [model for model in known if service in model.services or model.life(service)]
    by_name = {name.lower(): model for model in at_hand for name in _names(model)}
    new: dict[str, None] = {}
    changed: dict[tuple[str, str], Change] = {}
    seen = set()
    for each in listed:
        name = f"{each.name}-{each.version}" if each.version else each.name
        model = by_name.get(name.lower()) or _unversioned(by_name.get(each.name.lower()))
        if model is None:
            if each.fine_tune:
                new[name] = None
            continue
        seen.add(model.name)
        life = model.life(service) or Life(service)
        for fact, value in _said(each, model, life):
            if value is not None and value != getattr(life, fact):
                changed[model.name, fact] = Change(model.name, fact, getattr(life, fact), value)
    gone = tuple(model.name for model in at_hand if model.name not in seen and _is_missed(model, service))
    return Changes(service, source, tuple(new), gone, tuple(changed.values()))


def _said(listed: Listed, model: Model, life: Life) -> Iterator[tuple[str, Value | None]]:
    yield from ((fact, getattr(listed, fact)) for fact in ("stage", "base_retires", "training_ends"))
    if life.listed is False:
        yield "listed", True
    can = life.training != "ended" if life.fine_tune is None else life.fine_tune
    denied_wrongly = model.open_weights and listed.fine_tune is False
    if listed.fine_tune is not None and listed.fine_tune != can and not denied_wrongly:
        yield "fine_tune", listed.fine_tune


def _is_missed(model: Model, service: str) -> bool:
    life = model.life(service)
    return not model.retired and (life is None or life.listed is not False)


def _names(model: Model) -> tuple[str, ...]:
    return (model.name, f"{model.name}-{model.version or ''}", *model.aliases)


def _unversioned(model: Model | None) -> Model | None:
    """A model whose versions are no days: whatever version is listed, it is this one."""
    return None if model is None or (model.version or "").count("-") == 2 else model


def refresh(client: "OpenAI", *, arm: object = None) -> Changes:
    """Ask the service for its models, keep what is new, and tell it.

    ``arm``: the parsed answer of Azure's Resource Manager to ``GET
    /subscriptions/…/providers/Microsoft.CognitiveServices/locations/{region}/models?api-version=2024-10-01``
    (``az rest`` asks for it), which has the dates as well.
    """
    provider = provider_of(client)
    service = provider.name
    if arm is not None and not provider.azure:
        raise DataError(f"The list of Azure's Resource Manager says nothing about {service}; leave it out.")
    listed = list(listed_by(client))
    if not listed:
        raise SetupError(f"{client.base_url.host} lists no models; nothing was changed.")
    title, url = f"{client.base_url.host}, its list of models", str(client.base_url)
    if arm is not None:
        listed += listed_in(arm)
        title += ", and Azure Resource Manager"
    found = changes(models(), listed, service=service, source=Source(title, datetime.date.today(), url))
    keep_refreshed(found.kept)
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _day(value: object, place: str) -> datetime.date | None:
    if value is None:
        return None
    try:
        return datetime.date.fromisoformat(str(value)[:10])
    except ValueError:
        raise DataError(f"{place} is {value!r}; it should begin with a day like 2027-04-14.") from None


def _day_of(seconds: object) -> datetime.date | None:
    if not isinstance(seconds, int | float) or seconds <= 0:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date()
