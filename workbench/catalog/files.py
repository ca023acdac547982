"""The catalogue put together: the files beside this one, then what services said, then your own prices.

Later ones win. What a service said replaces a date in the files, which then stays visible as a conflict.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from workbench.catalog.kept import Kept, kept_path, read_kept
from workbench.catalog.lifecycle import Life
from workbench.catalog.models import Model, base_name
from workbench.catalog.prices import Price, prices_in
from workbench.catalog.regions import Regions
from workbench.catalog.sources import Conflict, Remark, Source
from workbench.errors import SetupError
from workbench.settings import ROOT, home, models_in, setting

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
    return Model(name, service="local", methods=("sft",), open_weights=True) if here else None


def models() -> tuple[Model, ...]:
    """All models that we know something about, the retired ones among them."""
    kept = kept_path()
    own = own_prices()
    return _together(kept, _stamp(kept), own, None if own is None else _stamp(own))


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
def _together(kept: Path, kept_at: object, own: Path | None, own_at: object) -> tuple[Model, ...]:
    """The stamps are there to be cached by: an edited file counts at once."""
    shipped = _shipped()
    found = _with_kept(shipped, read_kept(kept))
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
    return {key: Source(said["title"], said["date"]) for key, said in _facts("sources")["source"].items()}


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
        told = {key: value for key, value in said.items() if key not in ("models", "source")}
        known[name] |= told
        known[name]["sources"] |= dict.fromkeys(told, sources[said["source"]])
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
        told = {key: value for key, value in said.items() if key not in ("models", "source", "service")}
        life = known[name]["lives"].get(said["service"], Life(said["service"]))
        known[name]["lives"][life.service] = _with_facts(life, told, sources[said["source"]])
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


def _with_kept(shipped: Mapping[str, Model], kept: Iterable[Kept]) -> dict[str, Model]:
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
