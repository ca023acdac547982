"""Azure's prices by model and training type, from the meters of its public Retail Prices API.

Only a meter's name says which model, which type and which kind of token it prices. One parser reads the
meters that come with the workbench (``azure_meters.csv``) and those of a fresh answer, which is kept in
the home with its day. Prices that cannot be are refused by name: one meter was forty times off.
"""

import csv
import datetime
import io
import json
import re
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from workbench.catalog.citations import Source, facts_in
from workbench.catalog.models import Model, Price
from workbench.display import table
from workbench.errors import SetupError
from workbench.jsonl_log import replace_file
from workbench.settings import home, setting

RETAIL_PRICES = "https://prices.azure.com/api/retail/prices"
SHIPPED = Path(__file__).with_name("azure_meters.csv")
TITLE = "Azure Retail Prices API"
_COLUMNS = ("product", "meter", "unit", "usd", "effective", "regions")
_SECONDS, _MOST_PAGES = 30, 1_000


class Meter(NamedTuple):
    """A price as the API names it, with all regions that have it."""

    product: str
    name: str
    unit: str
    """``1K`` tokens, ``1M`` tokens, or an hour."""
    usd: float
    effective: datetime.date
    regions: tuple[str, ...]
    """Empty where this meter has the same price everywhere."""


class Key(NamedTuple):
    """What a meter prices."""

    model: str
    what: str
    training_type: str
    """Empty where it makes no difference: a grader's tokens."""


class Read(NamedTuple):
    """What a list of meters tells."""

    prices: dict[Key, tuple[Price, ...]]
    refused: dict[Key, str]
    """Prices that cannot be, each with its meter and the reason."""
    unread: tuple[str, ...]
    """Meters of fine-tuning whose model or kind their names do not tell."""


# What a meter's name says, by the words and parts of words that stand in ``azure_meters.toml``.

_NAMES = facts_in("azure_meters")
_KINDS = {kind: set(words) for kind, words in _NAMES["words"].items()}


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9.]+", re.sub(r"(\d+b)ft", r"\1 ft ", name.lower())))


def is_of_tuning(meter: Meter) -> bool:
    """Whether its name speaks of fine-tuning a model that is still of interest."""
    passed = re.search(_NAMES["passed"], meter.name.lower())
    return bool(_words(meter.name) & _KINDS["tuning"]) and not passed


def key_of(meter: Meter) -> Key | None:
    """What it prices; ``None`` where its name does not tell."""
    words, open_weights = _words(meter.name), _NAMES["open_weights"].get(meter.product)
    says = {kind for kind, known in _KINDS.items() if words & known}
    models = (open_weights or _NAMES["models"]).items()
    model = next((model for part, model in models if re.search(part, meter.name.lower())), None)
    by_hour = meter.unit.lower().endswith("hour")
    whose = "grader_" if "grader" in says else "tuned_"
    type = next((type for type, known in _NAMES["types"].items() if words.intersection(known)), None)
    if "hosting" in says and by_hour:
        what = "hosting_hour"
    elif "training" in says:
        what = "training_hour" if by_hour else "training"
    elif says & {"input", "output"} and not by_hour:
        kind = "output" if "output" in says else "cached_input" if "cached" in says else "input"
        what = whose + kind
    elif open_weights and "ft" in words and not by_hour:
        what = "training"
    else:
        return None
    if type is None and open_weights:
        type = "globalStandard"  # they are trained and deployed in no other way without its name
    if model is None or (type is None and whose == "tuned_"):
        return None
    return Key(model, what, "" if type is None or whose == "grader_" else type)


# Into prices, with bounds: what another type may cost beside Global (Microsoft Learn, fine-tuning cost
# management, 2026-03-19: Developer half of it, Standard up to 1 / 0.7), and what a price may be at all.

_PER_MILLION = {"1K": 1_000.0, "1M": 1.0}
_BESIDE_GLOBAL = (0.4, 1.6)
_MOVED = 4.0
"""A price that is so many times the one known before, or a part of it, is held back (our own choice)."""
_BOUNDS = {"training": (0.1, 500.0), "training_hour": (1.0, 1_000.0), "hosting_hour": (0.05, 50.0)}
_TOKEN_BOUNDS = (0.005, 500.0)


def prices_of(
    meters: Iterable[Meter], source: Source, before: Mapping[Key, tuple[Price, ...]] | None = None
) -> Read:
    """Read the meters; ``before``: prices known so far, against which a jump is seen.

    Where one price of a model's tokens cannot be, the other token prices of that model and type are
    refused as well: their meters' names were mixed up.
    """
    prices: dict[Key, tuple[Price, ...]] = {}
    unread: list[str] = []
    for meter in filter(is_of_tuning, meters):
        key = key_of(meter)
        usd = meter.usd * (1.0 if meter.unit.lower().endswith("hour") else _PER_MILLION.get(meter.unit, 0.0))
        if key is None or not usd:
            unread.append(f"{meter.product}: {meter.name}, {meter.unit}")
            continue
        price = Price(key.what, round(usd, 6), "azure", key.training_type or None, source, meter.regions)
        prices[key] = tuple(sorted({*prices.get(key, ()), price}, key=lambda each: each.usd))
    refused = {key: reason for key in prices if (reason := _impossible(key, prices, before or {}))}
    mixed = {(key.model, key.training_type): key for key in refused if key.what.startswith("tuned_")}
    for key in prices:
        other = mixed.get((key.model, key.training_type))
        if other is not None and key.what.startswith("tuned_"):
            refused.setdefault(key, f"stands beside {_said(other)}, which cannot be")
    good = sorted(key for key in prices if key not in refused)
    return Read({key: prices[key] for key in good}, refused, tuple(unread))


def _impossible(
    key: Key, prices: Mapping[Key, tuple[Price, ...]], before: Mapping[Key, tuple[Price, ...]]
) -> str | None:
    low, high = prices[key][0].usd, prices[key][-1].usd
    least, most = _BOUNDS.get(key.what, _TOKEN_BOUNDS)
    if not least <= low <= high <= most:
        return f"{prices[key][-1]} is outside {least:g} to {most:g} dollars"
    known = prices.get(key._replace(training_type="globalStandard"))
    if known and key.training_type not in ("", "globalStandard"):
        least, most = (share * known[0].usd for share in _BESIDE_GLOBAL)
        if key.what != "hosting_hour" and (low < least or high > most):
            return f"{prices[key][-1]} is {high / known[0].usd:,.3g} times the Global price"
    for smaller, larger in (("tuned_cached_input", "tuned_input"), ("tuned_input", "tuned_output")):
        other = prices.get(key._replace(what=larger))
        if key.what == smaller and other and low > other[0].usd:
            return f"{prices[key][0]} is more than {larger.replace('_', ' ')} costs ({other[0]})"
    if known := before.get(key):
        times = low / known[0].usd if known[0].usd else 1.0
        if not 1 / _MOVED <= times <= _MOVED:
            return f"{prices[key][0]} is {times:,.3g} times what it was ({known[0]})"
    return None


def _said(key: Key) -> str:
    type = f" ({key.training_type})" if key.training_type else ""
    return f"{key.model}, {key.what.replace('_', ' ')}{type}"


# The files: the meters that come with the workbench, and the last answer in the home.


def kept_path() -> Path:
    """Where the last answer is kept; deleting it gives the shipped prices back."""
    return home() / "catalog" / "azure_meters.csv"


def azure_prices(kept: Path | None) -> Read:
    """What is known today: the last answer, and for what it got wrong the shipped prices."""
    shipped = prices_of(*read_meters(SHIPPED))
    if kept is None or not kept.is_file():
        return shipped
    fresh = prices_of(*read_meters(kept), before=shipped.prices)
    old = {key: found for key, found in shipped.prices.items() if key in fresh.refused}
    return fresh._replace(prices={**old, **fresh.prices})


def read_meters(path: Path) -> tuple[list[Meter], Source]:
    """The meters of such a file and whose they are; ``SetupError`` names a file that is damaged."""
    try:
        head, _, rows = path.read_text(encoding="utf-8").partition("\n")
        _, day, address = head.split()
        found = [
            Meter(
                row["product"],
                row["meter"],
                row["unit"],
                float(row["usd"]),
                datetime.date.fromisoformat(row["effective"]),
                tuple(row["regions"].split()),
            )
            for row in csv.DictReader(io.StringIO(rows))
        ]
        return found, Source(TITLE, datetime.date.fromisoformat(day), address)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(f"{path} is damaged ({error!r}); delete it and refresh the prices.") from None


def write_meters(path: Path, meters: Iterable[Meter], day: datetime.date, address: str) -> None:
    """Keep these, with their day and where they come from."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    rows.writerows((*meter[:4], str(meter.effective), " ".join(meter.regions)) for meter in meters)
    replace_file(path, f"# {day} {address}\n{text.getvalue()}".encode())


def meters_in(items: Iterable[Mapping[str, Any]]) -> list[Meter]:
    """The meters of fine-tuning among the API's items, one for each price, with its regions.

    Government clouds are left out, and every other item: they have prices and contracts of their own.
    """
    regions: dict[tuple[str, str, str, float], set[str]] = defaultdict(set)
    since: dict[tuple[str, str, str, float], datetime.date] = {}
    for item in items:
        region = str(item.get("armRegionName") or "")
        if item.get("type", "Consumption") != "Consumption" or region.startswith("usgov"):
            continue
        if item.get("currencyCode", "USD") != "USD" or item.get("tierMinimumUnits", 0):
            continue
        key = (item["productName"], item["meterName"], item["unitOfMeasure"], float(item["retailPrice"]))
        day = datetime.date.fromisoformat(str(item["effectiveStartDate"])[:10])
        regions[key].add(region)
        since[key] = max(day, since.get(key, day))
    counted = Counter(each[:3] for each in regions)
    found = (
        Meter(*each, since[each], tuple(sorted(regions[each])) if counted[each[:3]] > 1 else ())
        for each in sorted(regions)
    )
    return [meter for meter in found if is_of_tuning(meter)]


# Asking again: pages of the API, compared with what was known.


@dataclass(frozen=True, repr=False)
class PriceChanges:
    """What the API says today beside what was known."""

    source: Source
    changed: tuple[tuple[str, str, str], ...]
    """What is priced, its price before and now; ``not published`` where there was or is none."""
    refused: tuple[tuple[str, str], ...]
    """Prices that cannot be, and why; the older price stays in use."""
    unread: tuple[str, ...]
    """Meters of fine-tuning that nobody here can read."""
    known: int
    """How many prices are in use now."""

    def __repr__(self) -> str:
        """One line for each."""
        lines = [f"{kind}: {what}" + (f": {more}" if more else "") for kind, what, more in self._rows]
        return "\n".join([self._caption, *lines])

    def _repr_html_(self) -> str:
        return table(self._caption, ("", "price", ""), self._rows)

    @property
    def _caption(self) -> str:
        changed = f"{len(self.changed)} changed" if self.changed else "nothing changed"
        refused = "; refused ones stay as they were, and a file of your own (WORKBENCH_PRICES) wins over all"
        return (
            f"{self.known} prices of fine-tuning at Azure, {changed}, says the {self.source}"
            f"{refused if self.refused else ''}."
        )

    @property
    def _rows(self) -> list[tuple[str, str, str]]:
        rows = [("changed", what, f"{before} -> {now}") for what, before, now in self.changed]
        rows += [("refused", what, why) for what, why in self.refused]
        return rows + [("not understood", name, "") for name in self.unread]


def refresh_prices(address: str | None = None) -> PriceChanges:
    """Ask Azure's Retail Prices API, keep its answer with today's date, and say what changed.

    No key is needed. ``address``: another one than ``WORKBENCH_RETAIL_PRICES`` or Microsoft's. When it
    does not answer, or answers something else, a ``SetupError`` says so and what was known stays.
    """
    address = address or setting("WORKBENCH_RETAIL_PRICES") or RETAIL_PRICES
    before = azure_prices(kept_path())
    try:
        meters = meters_in(_items(address))
    except (KeyError, TypeError, ValueError, AttributeError, HTTPException) as error:
        raise SetupError(
            f"{address} answered something else than prices ({error!r}); {_stays(before)}"
        ) from None
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise SetupError(f"{address} did not answer ({reason}); {_stays(before)}") from None
    today = datetime.date.today()
    if not any(map(key_of, meters)):
        raise SetupError(f"{address} lists no prices of fine-tuning; {_stays(before)}")
    write_meters(kept_path(), meters, today, address)
    now = azure_prices(kept_path())
    changed = tuple(
        (_said(key), _in_words(before.prices.get(key)), _in_words(now.prices.get(key)))
        for key in dict.fromkeys((*before.prices, *now.prices))
        if _amounts(before.prices.get(key)) != _amounts(now.prices.get(key))
    )
    refused = tuple((_said(key), why) for key, why in now.refused.items())
    return PriceChanges(Source(TITLE, today, address), changed, refused, now.unread, len(now.prices))


def _items(address: str) -> Iterator[Mapping[str, Any]]:
    for product in _NAMES["products"]:
        page: object = address + "?$filter=" + quote(f"productName eq '{product}'")
        for _ in range(_MOST_PAGES):
            if not isinstance(page, str) or urlsplit(page).hostname != urlsplit(address).hostname:
                raise ValueError(f"the next page is {page!r}")
            with urllib.request.urlopen(page, timeout=_SECONDS) as answer:
                said = json.load(answer)
            yield from said["Items"]
            page = said.get("NextPageLink")
            if not page:
                break
        else:
            raise ValueError(f"more than {_MOST_PAGES} pages of {product}")


def _stays(before: Read) -> str:
    sources = {price.source for found in before.prices.values() for price in found}
    return f"the prices of {max(sources, key=lambda each: each.date).date} stay in use."


def _amounts(prices: Sequence[Price] | None) -> list[float]:
    return [price.usd for price in prices or ()]


def _in_words(prices: Sequence[Price] | None) -> str:
    if not prices:
        return "not published"
    low, high = prices[0], prices[-1]
    return str(high) if low.usd == high.usd else f"{str(low).split(' per ')[0]} to {high} by region"


def with_prices(models: Mapping[str, Model], read: Read) -> dict[str, Model]:
    """These models with Azure's prices in front of what else is known."""
    found = dict(models)
    for key, prices in read.prices.items():
        if known := found.get(key.model):
            found[key.model] = replace(known, prices=(*known.prices, *prices))
    return found
