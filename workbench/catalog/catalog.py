"""The catalogue of models: find one, its prices by provider, what was refreshed from the services.

Facts come from the dated tables beside this file (``*.toml``) and from what ``refresh`` kept in the
home; each carries its source and its day.
"""

import datetime
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from workbench.catalog import azure_prices
from workbench.catalog.citations import HERE, Conflict, Remark, Source, facts_in, source, sources
from workbench.catalog.methods import METHODS
from workbench.catalog.models import HOURS, TOKENS, Life, Model, Price, Regions, base_name, with_facts
from workbench.catalog.providers import PROVIDERS
from workbench.errors import DataError, SetupError, did_you_mean
from workbench.jsonl_log import read_text, replace_file
from workbench.settings import ROOT, home, models_in, setting

Value: TypeAlias = str | bool | datetime.date

DATES = ("base_retires", "closed_to_new", "training_ends", "deployments_end")
_OF_A_LIFE = {fact.name for fact in fields(Life)} - {"service", "sources", "conflicts"}

# The catalogue put together: the files beside this one, then what services said, then your own prices.
#
# Later ones win. What a service said replaces a date in the files, which then stays visible as a conflict.

# A version behind a model's name: gpt-4.1-2025-04-14, gpt-35-turbo-0125.
_VERSION = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")


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
            f"The catalogue has no model '{name}'.{did_you_mean(wanted, known)} It has {there_are}. "
            "The name of a deployment does not tell its model: give the name of the model behind it."
        )
    return found


def _in_a_folder(name: str) -> Model | None:
    """A base model of one's own: a Hugging Face folder that the local service trains by this name."""
    is_path = not name or name.startswith((".", "/")) or ".." in name
    folder = models_in(home()) / name
    here = not is_path and (folder / "config.json").is_file()
    taught = tuple(each.short for each in METHODS.values() if each.trained_locally)
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
    found = with_refreshed(shipped, read_refreshed(kept))
    if own is None:
        return tuple(found.values())
    mine: dict[str, tuple[Price, ...]] = {}
    for name, price in prices_in(own, _names(found.values())):
        mine[name] = (*mine.get(name, ()), price)
    for name, prices in mine.items():
        others = (other for other in found[name].prices if not any(price.replaces(other) for price in prices))
        found[name] = replace(found[name], prices=(*prices, *others))
    return tuple(found.values())


@lru_cache(maxsize=1)
def _shipped() -> Mapping[str, Model]:
    facts, lifecycle = facts_in("models"), facts_in("lifecycle")
    found = {said["name"]: Model(**_frozen(said)) for said in facts["model"]}

    def add(name: str, field: str, more: object) -> None:
        longer: dict[str, Any] = {field: (*getattr(found[name], field), more)}
        found[name] = replace(found[name], **longer)

    for name, said, who in _each(facts["fact"]):
        found[name] = with_facts(found[name], said, who)
    for name, said, who in _each(facts["conflict"]):
        add(name, "conflicts", Conflict(**said, source=who))
    for name, said, who in _each(facts["remark"]):
        add(name, "remarks", Remark(**said, source=who))
    for name, said, who in _each(facts_in("regions")["region"]):
        add(name, "regions", Regions(**said, source=who))
    for name, said, who in _each([*lifecycle["life"], *lifecycle["conflict"]]):
        service = said.pop("service")
        life = found[name].life(service) or Life(service)
        if "says" in said:
            life = replace(life, conflicts=(*life.conflicts, Conflict(**said, source=who)))
        else:
            life = with_facts(life, said, who)
        lives = {each.service: each for each in found[name].lives} | {service: life}
        found[name] = replace(found[name], lives=tuple(lives.values()))
    for name, price in prices_in(HERE / "prices.toml", {name.lower(): name for name in found}):
        add(name, "prices", price)
    return found


def _names(models: Iterable[Model]) -> dict[str, str]:
    return {name.lower(): each.name for each in models for name in (each.name, *each.aliases)}


def _each(entries: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any], Source]]:
    """Each model that an entry is about, with what is said of it, and who says so."""
    for entry in entries:
        said = _frozen(entry)
        who = source(said.pop("source"))
        yield from ((name, dict(said), who) for name in said.pop("models"))


def _frozen(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}


def _stamp(path: Path) -> object:
    """Changes when the file does."""
    if not path.is_file():
        return None
    state = path.stat()
    return state.st_mtime_ns, state.st_size


# What services said when they were asked: kept in the home, with source and day.
#
# Deleting ``catalog/refreshed.json`` forgets it; the catalogue's own files are never changed.


@dataclass(frozen=True)
class RefreshedFacts:
    """One fact as a service said it."""

    model: str
    service: str
    fact: str
    """A field of ``Life``."""
    value: Value
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
    from pydantic_core import to_jsonable_python

    path = refreshed_path()
    facts = {(each.model, each.service, each.fact): each for each in (*read_refreshed(path), *new)}
    if not facts:
        return
    kept = to_jsonable_python({"facts": list(facts.values())})
    replace_file(path, json.dumps(kept, indent=2).encode())


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


def with_refreshed(shipped: Mapping[str, Model], kept: Iterable[RefreshedFacts]) -> dict[str, Model]:
    """These models with what services said on top; what stood there before stays as a conflict."""
    found = dict(shipped)
    for each in kept:
        if each.fact not in _OF_A_LIFE:
            continue  # written by another version of the workbench
        known = found.get(each.model, Model(each.model, each.service))
        life = known.life(each.service) or Life(each.service)
        said, source = getattr(life, each.fact), life.sources.get(each.fact)
        if source is not None and said != each.value:
            life = replace(life, conflicts=(*life.conflicts, Conflict(each.fact, said, source)))
        life = with_facts(life, {each.fact: each.value}, each.source)
        others = tuple(other for other in known.lives if other.service != each.service)
        found[each.model] = replace(known, lives=(life, *others))
    return found


# Files of prices: the catalogue's and yours, which have the same shape.


def prices_in(path: Path, names: Mapping[str, str]) -> Iterator[tuple[str, Price]]:
    """The prices of a file, each with its model's name.

    ``names``: the models there are, by their names in lower case. ``DataError`` names the line that cannot
    be, and what may stand there.
    """
    text = read_text(path)
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is not TOML: {error}.") from None
    file = _File(path, text.splitlines())
    if unknown := said.keys() - {"source", "price"}:
        raise file.error(f"{min(unknown)} is not known; there are [source.NAME] and [[price]]", min(unknown))
    known = {**sources(), **_sources(said.get("source", {}), file)}
    entries = said.get("price", [])
    if not isinstance(entries, list):
        raise file.error("a price is written under [[price]], with two brackets", "price")
    for number, entry in enumerate(entries):
        yield from _prices(entry, names, known, file.at(number))


@dataclass(frozen=True)
class _File:
    """A part of a file, to name the line of what is wrong there; TOML's parser keeps no lines."""

    path: Path
    lines: list[str]
    first: int = 1
    """The number of its first line."""

    def at(self, number: int) -> "_File":
        """The part that holds this price, the first being 0."""
        heads = [place for place, line in enumerate(self.lines) if re.match(r"\s*\[\[\s*price\s*\]\]", line)]
        heads.append(len(self.lines))
        if number + 1 >= len(heads):
            return self  # written in another way than under a head of its own
        return _File(self.path, self.lines[heads[number] : heads[number + 1]], heads[number] + 1)

    def error(self, finding: str, word: str) -> DataError:
        """An error at the first line that speaks of ``word``, or at the first of all."""
        speaks = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
        lines = [place for place, line in enumerate(self.lines) if speaks.search(line.partition("#")[0])]
        return DataError(f"{self.path} line {self.first + (lines[0] if lines else 0)}: {finding}.")


def _sources(said: object, file: _File) -> Mapping[str, Source]:
    if not isinstance(said, dict):
        raise file.error("a source is written under [source.NAME]", "source")
    found = {}
    for key, stated in said.items():
        parts = stated if isinstance(stated, dict) else {}
        title, date, url = parts.get("title"), parts.get("date"), parts.get("url", "")
        if not isinstance(title, str) or type(date) is not datetime.date or not isinstance(url, str):
            raise file.error(f"the source {key} needs a title in quotes and a date like 2026-11-01", key)
        found[key] = Source(title, date, url)
    return found


def _prices(
    entry: object, names: Mapping[str, str], sources: Mapping[str, Source], file: _File
) -> Iterator[tuple[str, Price]]:
    if not isinstance(entry, dict):
        raise file.error("a price is written under [[price]], with two brackets", "price")
    if unknown := entry.keys() - {"model", "service", "training_type", "source", "usd"}:
        there_are = "model, service, training_type, source, usd"
        raise file.error(f"{min(unknown)} is not known; there are {there_are}", min(unknown))
    model, service, source = (entry.get(key) for key in ("model", "service", "source"))
    if not isinstance(model, str) or model.lower() not in names:
        raise file.error(f"model is {model!r}, which the catalogue does not have", "model")
    if not isinstance(service, str) or service not in PROVIDERS:
        raise file.error(f"service is {service!r}; it may be {', '.join(PROVIDERS)}", "service")
    if not isinstance(source, str) or source not in sources:
        raise file.error(f"source is {source!r}; write who says so under [source.{source}]", "source")
    training_type = entry.get("training_type")
    if not isinstance(training_type, str | None):
        raise file.error(f"training_type is {training_type!r}; it should be a text", "training_type")
    usd = entry.get("usd")
    if not isinstance(usd, dict) or not usd:
        raise file.error("usd names each price, like { training = 2.00 }", "usd")
    for what, amount in usd.items():
        if what not in (*TOKENS, *HOURS):
            raise file.error(f"{what} is not known; there are {', '.join((*TOKENS, *HOURS))}", what)
        if not isinstance(amount, int | float) or isinstance(amount, bool):
            raise file.error(f"{what} is {amount!r}; it should be a number", what)
        if not math.isfinite(amount) or amount < 0:
            raise file.error(f"{what} is {amount}; it should be 0 or more", what)
        yield names[model.lower()], Price(what, float(amount), service, training_type, sources[source])
