"""Does it pay? Options for the same requests, their costs over the months, and from when one saves."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from workbench.catalog.models import DAYS_A_MONTH
from workbench.decide.situation import CLOSED, Share, Value, made, schema_of
from workbench.display import table
from workbench.errors import DataError

# Does it pay? Ways of answering the same requests, what they cost over the months, and which one saves.
#
# All money is in US dollars, prices are per million tokens. Every figure is an input: what a price was
# when, and who said so, stands in the catalogue.

HOURS_A_MONTH = 730.0  # 365 * 24 / 12; Azure's page reckons with 720

# Beyond these no figure is meant, and products of them would overflow (our own choice).
Amount: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=1e12, allow_inf_nan=False)]
Months: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=600, allow_inf_nan=False)]


@dataclass(frozen=True)
class Caching:
    """How much of a prompt is billed at the cached price.

    Azure and OpenAI cache identical prefixes of 1,024 tokens and more, in blocks of 128.
    """

    __pydantic_config__ = CLOSED

    prefix_tokens: Amount = 0
    """How long the part in front is that all prompts share."""
    hit_rate: Share = 0.0
    """Which share of the requests finds it still in the cache."""
    minimum: Amount = 1024
    block: Annotated[float, Field(strict=True, ge=1, le=1e12, allow_inf_nan=False)] = 128

    @property
    def tokens(self) -> float:
        """Cached tokens of a prompt, on average."""
        if self.prefix_tokens < self.minimum:
            return 0.0
        return self.hit_rate * floor(self.prefix_tokens / self.block) * self.block


@dataclass(frozen=True)
class Option:
    """One way of answering the requests: a model, a prompt, and what having it costs."""

    __pydantic_config__ = CLOSED

    name: str
    prompt_tokens: Amount
    completion_tokens: Amount
    input_price: Amount
    output_price: Amount
    cached_price: Amount | None = None
    """``None``: as dear as any input."""
    caching: Caching = Caching()
    hosting_per_hour: Amount = 0.0
    training: Amount = 0.0
    """One training, grader and validation tokens included."""
    labour: Amount = 0.0
    """What people cost around one training."""
    evaluation: Amount = 0.0
    """Once."""
    retrain_every_months: Annotated[float, Field(strict=True, ge=0.1, le=600, allow_inf_nan=False)] | None = (
        None
    )
    """``None``: trained once."""
    months_of_service: Months | None = None
    """Until its base model is switched off; ``None``: longer than we look ahead."""
    accuracy: Share | None = None
    """For a gain in quality, the lower end of its interval."""
    note: str = ""
    """What else one should know before choosing it."""

    @property
    def per_request(self) -> float:
        """What one answer costs."""
        cached = min(self.caching.tokens, self.prompt_tokens)
        price = self.input_price if self.cached_price is None else self.cached_price
        tokens = (self.prompt_tokens - cached) * self.input_price + cached * price
        return (tokens + self.completion_tokens * self.output_price) / 1e6

    def months(self, horizon: float) -> float:
        """How long it can be used within the horizon."""
        return horizon if self.months_of_service is None else min(horizon, self.months_of_service)

    def trainings(self, months: float) -> int:
        """How often it is trained: at the start, and then as often as the cadence says."""
        if months <= 0 or not (self.training or self.labour):
            return 0
        return ceil(months / self.retrain_every_months) if self.retrain_every_months else 1

    def fixed(self, months: float) -> float:
        """What is paid whether or not a request comes."""
        trained = self.trainings(months) * (self.training + self.labour)
        return trained + self.evaluation + months * self.hosting_per_hour * HOURS_A_MONTH

    def cost(self, requests_per_month: float, months: float) -> float:
        """All of it, from the start to the end of this month."""
        return self.fixed(months) + months * requests_per_month * self.per_request


@dataclass(frozen=True)
class Quality:
    """What a right answer is worth, and what a wrong one costs."""

    __pydantic_config__ = CLOSED

    value_of_success: Amount
    cost_of_failure: Amount

    def gain(self, way: Option, base: Option) -> float:
        """What the better accuracy is worth per request."""
        if way.accuracy is None or base.accuracy is None:
            return 0.0
        return (way.accuracy - base.accuracy) * (self.value_of_success + self.cost_of_failure)


@dataclass(frozen=True)
class CostComparison:
    """One way beside the base."""

    base: Option
    way: Option
    months: float
    """Both are used that long."""
    saving: float
    """Over these months; negative when it costs more."""
    break_even_requests: float | None
    """Requests a month from which it pays; ``None``: never."""
    payback_months: float | None
    """Until the first training is paid back; ``None``: never."""


NEVER = 1e15
"""Requests a month that nobody has: what pays only beyond them never pays (our own choice)."""


def compared(
    base: Option, way: Option, *, requests_per_month: float, horizon: float, quality: Quality | None = None
) -> CostComparison:
    """What does ``way`` save against ``base``, and from when on?"""
    months = way.months(horizon)
    each = base.per_request - way.per_request + (quality.gain(way, base) if quality else 0.0)
    running = months * (base.hosting_per_hour - way.hosting_per_hour) * HOURS_A_MONTH
    once = way.fixed(months) - months * way.hosting_per_hour * HOURS_A_MONTH
    once -= base.fixed(months) - months * base.hosting_per_hour * HOURS_A_MONTH
    saving = months * requests_per_month * each + running - once
    enough = None
    if each > 0 and months > 0:
        enough = max(0.0, (once - running) / months / each)
        enough = enough if enough < NEVER else None
    first = way.training + way.labour + way.evaluation
    a_month = requests_per_month * each + (base.hosting_per_hour - way.hosting_per_hour) * HOURS_A_MONTH
    back = first / a_month if a_month > 0 else None
    return CostComparison(base, way, months, saving, enough, back if months > 0 else None)


def over_time(way: Option, *, requests_per_month: float, months: Sequence[float]) -> list[float]:
    """Its cost up to each of these months; no longer than it is served.

    The first training and the work around it are paid before the first month.
    """
    first = way.training + way.labour + way.evaluation if way.months(math.inf) else 0.0
    return [max(first, way.cost(requests_per_month, way.months(month))) for month in months]


# A case for payback as a file holds it: the base, the other ways, and figures that may be uncertain.
#
# Any figure may be one number or three: low, likely, high. The result says what each way saves in the
# worst, the likely and the best combination of them.

Path: TypeAlias = tuple[str | int, ...]
"""Where a figure stands in the case."""

MOST_UNCERTAIN = (
    12  # figures with three values: 2 ** 12 combinations of their ends take a quarter of a second
)


@dataclass(frozen=True)
class Case:
    """What is compared, for how many requests, over how long."""

    __pydantic_config__ = CLOSED

    base: Option
    ways: Annotated[tuple[Option, ...], Field(min_length=1)]
    requests_per_month: Amount
    horizon: Months = 12.0
    """Months that we look ahead."""
    quality: Quality | None = None
    """What a right answer is worth; ``None``: only costs are compared."""

    def compared(self) -> tuple[CostComparison, ...]:
        """Each way beside the base; quality is reckoned with where the accuracy of all of them is known."""
        without = [option.name for option in (self.base, *self.ways) if option.accuracy is None]
        if self.quality and without:
            raise DataError(
                f"quality says what a right answer is worth, and {', '.join(without)} has no accuracy; give "
                "each of base and ways its accuracy (0 to 1), or leave quality out to compare costs alone."
            )
        return tuple(
            compared(
                self.base,
                way,
                requests_per_month=self.requests_per_month,
                horizon=self.horizon,
                quality=self.quality,
            )
            for way in self.ways
        )


@dataclass(frozen=True)
class Outlook:
    """One way beside the base, and how sure that is."""

    likely: CostComparison
    saving: tuple[float, float, float]
    """Low, likely, high."""
    break_even_requests: tuple[float | None, float | None, float | None]
    """At best, likely, at worst; ``None``: never."""
    payback_months: tuple[float | None, float | None, float | None]

    @property
    def sentence(self) -> str:
        """What to make of it."""
        return " ".join(filter(None, (self._money, self._quality, self.likely.way.note)))

    @property
    def _quality(self) -> str:
        way, base = self.likely.way.accuracy, self.likely.base.accuracy
        if way is None or base is None or way >= base:
            return ""
        return f"It answers worse: {100 * way:.1f} % right in place of {100 * base:.1f} %."

    @property
    def _money(self) -> str:
        low, likely, high = self.saving
        name, months = self.likely.way.name, _span(self.likely.months)
        if self.likely.months == 0 and self.likely.way.months_of_service == 0:
            return f"{name} cannot be used: its model is switched off."
        if self.likely.months == 0:
            return f"{name}: over no months there is nothing to compare; give a horizon."
        if low == high == 0:
            return f"{name} neither saves nor costs anything in {months}."
        if low > 0:
            least = "" if low == likely else f", {_dollars(low)} at the least"
            return f"{name} saves {_dollars(likely)} in {months}{least}."
        if high >= 0:
            return f"{name} may pay or not: {_dollars(low)} to {_dollars(high)} in {months}; be more exact."
        best = "" if high == likely else f", {_dollars(-high)} at best"
        costs = f"it costs {_dollars(-likely)} more in {months}{best}"
        enough = self.break_even_requests[1]
        if enough is None:
            return f"{name} never pays: {costs}."
        return f"{name} does not pay: {costs}; from {enough:,.0f} requests a month it would."


@dataclass(frozen=True, repr=False)
class Payback:
    """What each way would save."""

    case: Case
    outlooks: tuple[Outlook, ...]

    @property
    def best(self) -> Outlook | None:
        """The way that saves most; ``None`` when the base is the cheapest."""
        most = max(self.outlooks, key=lambda outlook: outlook.saving[1])
        return most if most.saving[1] > 0 else None

    @property
    def evidence(self) -> Mapping[str, Value]:
        """Fields of a ``Situation``: when tuning the model itself pays, as the decision is about that one.

        Where it is not among the ways, the tuned way that saves most counts.
        """
        tuned = [outlook for outlook in self.outlooks if outlook.likely.way.training]
        if not tuned:
            return {}
        itself = f"{self.case.base.name.partition(',')[0]}, tuned"
        own = [outlook for outlook in tuned if outlook.likely.way.name == itself]
        likely = max(own or tuned, key=lambda outlook: outlook.saving[1]).likely
        late = likely.payback_months is None or likely.payback_months > likely.months
        return {
            "payback_months": "never" if late else likely.payback_months,
            "break_even_requests": "never"
            if likely.break_even_requests is None
            else likely.break_even_requests,
        }

    @property
    def _is_uncertain(self) -> bool:
        return any(len(set(outlook.saving)) > 1 for outlook in self.outlooks)

    @property
    def facts(self) -> dict[str, object]:
        """As plain JSON."""
        return {
            "requests_per_month": self.case.requests_per_month,
            "horizon": self.case.horizon,
            "base": {"name": self.case.base.name, "per_request": self.case.base.per_request},
            "best": self.best.likely.way.name if self.best else self.case.base.name,
            "ways": [
                {
                    "name": outlook.likely.way.name,
                    "per_request": outlook.likely.way.per_request,
                    "months": outlook.likely.months,
                    "saving": list(outlook.saving),
                    "break_even_requests": list(outlook.break_even_requests),
                    "payback_months": list(outlook.payback_months),
                    "sentence": outlook.sentence,
                }
                for outlook in self.outlooks
            ],
        }

    def __repr__(self) -> str:
        """A sentence for each way."""
        lines = [outlook.sentence for outlook in self.outlooks]
        return "\n".join([*lines, self.case.base.note] if self.case.base.note else lines)

    def _repr_html_(self) -> str:
        base = self.case.base
        what = ". ".join(filter(None, ("what it is compared with", base.note)))
        rows = [(base.name, f"${base.per_request:.6f}", "", "", "", what)]
        rows += [
            (
                outlook.likely.way.name,
                f"${outlook.likely.way.per_request:.6f}",
                _each(map(_dollars, outlook.saving)),
                _each("never" if each is None else f"{each:,.0f}" for each in outlook.break_even_requests),
                _each("never" if months is None else _span(months) for months in outlook.payback_months),
                outlook.sentence,
            )
            for outlook in self.outlooks
        ]
        caption = f"{self.case.requests_per_month:,.0f} requests a month, {self.case.horizon:g} months"
        caption += "; three figures are low, likely and high" if self._is_uncertain else ""
        columns = ("way", "a request", "saving", "pays from requests a month")
        return table(caption, (*columns, "paid back after", "that is"), rows)


@dataclass(frozen=True)
class NoPayback:
    """A payback that cannot be counted, because a price is not known; it counts as false."""

    reason: str
    outlooks: tuple[Outlook, ...] = ()

    @property
    def evidence(self) -> Mapping[str, Value]:
        """Nothing is known for a ``Situation``."""
        return {}

    @property
    def facts(self) -> dict[str, object]:
        """As plain JSON."""
        return {"left_out": self.reason}

    def __bool__(self) -> bool:
        """There is none."""
        return False

    def __repr__(self) -> str:
        """Why it is left out."""
        return f"Payback is left out. {self.reason}"


def payback(case: Case | Mapping[str, object]) -> Payback:
    """Say what each way saves against the base: low, likely and high."""
    if isinstance(case, Case):
        return _spread([case], case)
    uncertain = list(_triples(case, ()))
    if len(uncertain) > MOST_UNCERTAIN:
        raise DataError(
            f"{len(uncertain)} figures are given as low, likely, high; at most {MOST_UNCERTAIN} can be: "
            "keep those that matter."
        )
    likely = made(Case, _with(case, {path: values[1] for path, values in uncertain}))
    ends = itertools.product(*((values[0], values[2]) for _, values in uncertain))
    paths = [path for path, _ in uncertain]
    return _spread([made(Case, _with(case, dict(zip(paths, end, strict=True)))) for end in ends], likely)


def schema() -> dict[str, object]:
    """The JSON Schema of a case's file: where it wants a number, it takes [low, likely, high], too."""
    return {**_with_triples(schema_of(Case))}


def _spread(cases: Sequence[Case], likely: Case) -> Payback:
    all_found = [case.compared() for case in cases]
    outlooks = []
    for place, found in enumerate(likely.compared()):
        every = [one[place] for one in all_found]
        savings = [one.saving for one in every]
        outlooks.append(
            Outlook(
                found,
                (min(savings), found.saving, max(savings)),
                _ends([one.break_even_requests for one in every], found.break_even_requests),
                _ends([one.payback_months for one in every], found.payback_months),
            )
        )
    return Payback(likely, tuple(outlooks))


def _ends(
    values: Sequence[float | None], likely: float | None
) -> tuple[float | None, float | None, float | None]:
    finite = [math.inf if value is None else value for value in values]
    low, high = min(finite), max(finite)
    return (None if low == math.inf else low, likely, None if high == math.inf else high)


def _triples(value: object, path: Path) -> Iterator[tuple[Path, list[float]]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _triples(part, (*path, name))
    elif isinstance(value, list) and path and path[-1] != "ways":
        numbers = [part for part in value if isinstance(part, int | float) and not isinstance(part, bool)]
        if len(value) != 3 or len(numbers) != 3 or sorted(numbers) != numbers:
            raise DataError(
                f"{_written(path)} is {value!r}; give a number, or low, likely and high in order."
            )
        yield path, numbers
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _triples(part, (*path, number))


def _with(value: object, chosen: Mapping[Path, float], path: Path = ()) -> object:
    """The case with one number where three were given."""
    if path in chosen:
        return chosen[path]
    if isinstance(value, Mapping):
        return {name: _with(part, chosen, (*path, name)) for name, part in value.items()}
    if isinstance(value, list):
        return [_with(part, chosen, (*path, number)) for number, part in enumerate(value)]
    return value


def _with_triples(part: object) -> Any:
    if isinstance(part, Mapping):
        inner = {name: _with_triples(value) for name, value in part.items()}
        if inner.get("type") == "number":
            triple = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
            return {"anyOf": [inner, triple]}
        return inner
    return [_with_triples(value) for value in part] if isinstance(part, list) else part


def _written(path: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _dollars(amount: float) -> str:
    return f"{'−' if round(amount) < 0 else ''}${abs(amount):,.0f}"


def _each(figures: Iterable[str]) -> str:
    """Low, likely and high; one figure where they are the same."""
    return " / ".join(dict.fromkeys(figures))


def _span(months: float) -> str:
    """``3.4 months``, ``2 days`` below one month, ``at once``."""
    if months >= 1:
        shown = f"{months:.1f}".removesuffix(".0")
        return f"{shown} month{'' if shown == '1' else 's'}"
    if months == 0:
        return "at once"
    days = months * DAYS_A_MONTH
    return "less than a day" if days < 1 else f"{days:.0f} day{'' if round(days) == 1 else 's'}"
