"""What training costs: prices, an estimate before the job, the bill after it, a cap, and findings on both."""

import datetime
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from workbench import catalog
from workbench.catalog import methods
from workbench.catalog.citations import Source
from workbench.catalog.models import Model, Price, region_key
from workbench.catalog.providers import Provider, runs_here
from workbench.dataset.check.row import Finding
from workbench.dataset.tokens import TokenCounts, count_tokens
from workbench.display import table
from workbench.errors import DataError, SetupError
from workbench.training.follow import STARTED
from workbench.training.spec import JobSpec

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

    from workbench.training.follow import Progress

# What a service asks for training: the catalogue's price or yours, and what follows from another price.
#
# Every answer comes with what it rests on. A price that no source gives, and that follows from none, is
# not guessed.

COSTS = "cost-2026-03"
RULES_OF_THUMB = "skill-2026-08"
"""Keys of the catalogue's sources: how Azure bills, and how many epochs Microsoft's engineers advise."""


class Range(NamedTuple):
    """Low, likely and high."""

    low: float
    likely: float
    high: float

    def __str__(self) -> str:
        """One number where all are equal."""
        return f"{self.likely:,g}" if self.low == self.high else f"{self.low:,g} to {self.high:,g}"


# What follows from another price: Global is 10 to 30 % below Standard, Developer 50 % below Global.
_OF_GLOBAL = {
    "globalStandard": Range(1, 1, 1),
    "standard": Range(1 / 0.9, 1 / 0.8, 1 / 0.7),
    "developerTier": Range(0.5, 0.5, 0.5),
}


class Input(NamedTuple):
    """A number that the estimate rests on."""

    what: str
    value: str
    source: str


class Tariff(NamedTuple):
    """Whose price is asked, and for when."""

    model: Model
    service: str
    training_type: str
    given: float | None
    on: datetime.date
    region: str | None = None

    def price(self, what: str) -> tuple[Range | None, list[Input], list[str]]:
        """The price with what it rests on, or a note on what to give instead."""
        unit = "hour" if what == "training_hour" else "1M tokens"
        if self.given is not None:
            return (
                Range(*(self.given,) * 3),
                [Input("price", f"{dollars(self.given)} per {unit}", "given by you")],
                [],
            )
        if own := self._own(what):
            prices = Range(own[0].usd, statistics.median(price.usd for price in own), own[-1].usd)
            where = ", by region" if len(own) > 1 else ""
            inputs = [Input("price", f"{_spread(prices)} per {unit}{where}", str(own[0].source))]
            notes = age_note(own[0].source, self.on)
            if own[0].training_type is None and catalog.provider(self.service).azure:
                notes.append("The source of the price does not say for which training type it is.")
            return prices, inputs, notes
        base = self.model.price(what, service=self.service, training_type="globalStandard")
        if base is None or self.training_type not in _OF_GLOBAL:
            return None, [], [self._missing(what, unit)]
        shares, rule = _OF_GLOBAL[self.training_type], str(catalog.source(COSTS))
        inputs = [
            Input("price", f"{dollars(base.usd)} per {unit}", str(base.source)),
            Input(f"{self.training_type} against globalStandard", f"x {shares}", rule),
        ]
        return Range(*(base.usd * share for share in shares)), inputs, age_note(base.source, self.on)

    def _own(self, what: str) -> Sequence[Price]:
        """Its prices for this very type, the lowest first: of this region, else where it can be trained."""
        found = self.model.prices_of(what, service=self.service, training_type=self.training_type)
        use = ("training", self.training_type)
        places = [name for each in self.model.regions if (each.use, each.type) == use for name in each.names]
        for wanted in ([self.region] if self.region else [], places):
            keys = set(map(region_key, wanted))
            if here := [price for price in found if keys.intersection(price.regions)]:
                return here
        return found

    def _missing(self, what: str, unit: str) -> str:
        missing = (
            f"The price of training {self.model.name} at {self.service} ({self.training_type}) is not in "
        )
        missing += f"the catalogue; give price= in US dollars per {unit}."
        others = [each for each in self.model.prices if each.what == what and each.service != self.service]
        return missing + "".join(
            f" At {each.service} it is {dollars(each.usd)}, says {each.source}." for each in others
        )


def _spread(prices: Range) -> str:
    return (
        dollars(prices.low)
        if prices.low == prices.high
        else f"{dollars(prices.low)} to {dollars(prices.high)}"
    )


def dollars(usd: float) -> str:
    """``$2.00``, ``$0.075``."""
    return f"${usd:,.2f}" if usd == round(usd, 2) else f"${usd:,g}"


def age_note(source: Source, on: datetime.date) -> list[str]:
    """A sentence if the price is more than 90 days old on that day."""
    if not source.is_stale(on):
        return []
    return [
        f"The price is of {source.date}, more than 90 days old: look it up ('python -m workbench models "
        "--refresh-prices' asks Azure) and give price= if it changed."
    ]


# What training will cost: low, likely and high, and every number that went in with its source and date.
#
# Supervised and preference jobs are billed by tokens times epochs, reinforcement by the hour and by what
# the grader reads and writes (Microsoft Learn, fine-tuning cost management, 2026-03-19). A price that
# no source gives is not guessed: then there is no sum, and a note says what to give.


class Grading(NamedTuple):
    """What a model that grades reads and writes in a whole job."""

    model: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, repr=False)
class Estimate:
    """What a job will cost in US dollars; ``None`` where a price is missing."""

    model: str
    method: str
    usd: Range | None
    inputs: tuple[Input, ...]
    notes: tuple[str, ...] = ()
    """What is missing, approximate or old."""

    @property
    def likely(self) -> float | None:
        """The number to plan with."""
        return self.usd.likely if self.usd else None

    def __str__(self) -> str:
        """The sum in a sentence."""
        if self.usd is None:
            return f"Training {self.model} ({self.method}): the price is not known"
        low, likely, high = (f"${usd:,.2f}" for usd in self.usd)
        spread = "" if low == high else f" (between {low} and {high})"
        return f"Training {self.model} ({self.method}) costs {likely}{spread}"

    def __repr__(self) -> str:
        """The sum, what it rests on, and the notes, line by line."""
        return "\n".join(
            [str(self), *(f"{what}: {value} ({source})" for what, value, source in self.inputs), *self.notes]
        )

    def _repr_html_(self) -> str:
        rows = [*self.inputs, *(("note", note, "") for note in self.notes)]
        return table(str(self), ("", "value", "source"), rows)


def estimate(
    data: TokenCounts | int,
    *,
    model: str,
    method: str = "sft",
    n_epochs: int | None = None,
    service: str | None = None,
    training_type: str = "globalStandard",
    price: float | None = None,
    hours: float | None = None,
    grading: Grading | None = None,
    region: str | None = None,
    on: datetime.date | None = None,
) -> Estimate:
    """What will it cost to train this model on these tokens?

    ``data``: counted tokens, or the number of tokens in the file. ``n_epochs=None``: what Microsoft's
    engineers advise for so many examples. ``price``: US dollars per million tokens, or per hour for
    ``rft``, in place of the catalogue's. ``hours`` and ``grading`` are for ``rft`` only. ``region``: where an
    Azure resource is, for types whose price differs by region. ``on``: the day by which a price is old, today
    by default. ``DataError`` names a value that cannot be.
    """
    billed_by = methods.method(method).billed_by
    tokens = data if isinstance(data, int) else data.total
    given = {"tokens": tokens, "n_epochs": n_epochs, "price": price, "hours": hours}
    for name, value in given.items():
        least = 1 if name == "n_epochs" else 0
        if value is not None and not value >= least:
            raise DataError(f"{name} is {value}; give {least} or more.")
    known = catalog.model(model)
    where = catalog.provider(service or known.service)
    if where.runs_here:
        on_your_own = Input("price", "$0.00", "your own machine")
        return Estimate(model, method, Range(0, 0, 0), (on_your_own,))
    tariff = Tariff(known, where.name, training_type, price, on or datetime.date.today(), region)
    if billed_by == "hours":
        return _by_hours(model, tariff, method, hours, grading)
    return _by_tokens(model, tariff, method, data, n_epochs)


def _by_tokens(
    model: str, tariff: Tariff, method: str, data: TokenCounts | int, n_epochs: int | None
) -> Estimate:
    tokens = data if isinstance(data, int) else data.total
    inputs = [Input("tokens in the file", f"{tokens:,}", "given" if isinstance(data, int) else data.how)]
    if n_epochs is not None:
        epochs = Range(n_epochs, n_epochs, n_epochs)
        inputs.append(Input("epochs", str(epochs), "given by you"))
    elif isinstance(data, int):
        raise DataError("Give n_epochs, or count_tokens(dataset, model) in place of the number of tokens.")
    else:
        fewest, most = methods.usual_epochs(data.examples)
        epochs = Range(fewest, (fewest + most + 1) // 2, most)
        advised = f"{catalog.source(RULES_OF_THUMB)}, rule of thumb"
        inputs.append(Input(f"epochs for {data.examples:,} examples", str(epochs), advised))
    price, from_where, notes = tariff.price("training")
    if not isinstance(data, int) and not data.exact:
        notes.append("The service counts by a rule that is not published; its bill differs a little.")
    if price is None:
        return Estimate(model, method, None, tuple(inputs), tuple(notes))
    usd = Range(*(tokens * n * each / 1e6 for n, each in zip(epochs, price, strict=True)))
    return Estimate(model, method, usd, (*inputs, *from_where), tuple(notes))


def _by_hours(
    model: str, tariff: Tariff, method: str, hours: float | None, grading: Grading | None
) -> Estimate:
    price, inputs, notes = tariff.price("training_hour")
    if hours is None:
        notes.append("Reinforcement is billed by the hour; give hours=, from a short run on a few examples.")
    else:
        inputs.append(Input("hours of training", f"{hours:,g}", "given by you"))
    graded, from_where, more = _grading(grading, tariff) if grading else (0.0, [], [])
    usd = None
    if price is not None and hours is not None and graded is not None:
        usd = Range(*(round(hours, 2) * each + graded for each in price))
    most = catalog.provider(tariff.service).limits.pause_usd
    if usd and most is not None and usd.high > most:
        rule = catalog.source(COSTS)
        more = [*more, f"Azure pauses the job at ${most:,}; resuming it lifts that limit ({rule})."]
    return Estimate(model, method, usd, (*inputs, *from_where), (*notes, *more))


def _grading(grading: Grading, tariff: Tariff) -> tuple[float | None, list[Input], list[str]]:
    judge = catalog.model(grading.model)
    reads, writes = (
        judge.price(f"grader_{what}", service=tariff.service) or judge.price(what, service=tariff.service)
        for what in ("input", "output")
    )
    if reads is None or writes is None:
        return None, [], [f"What {judge.name} costs as a grader at {tariff.service} is not in the catalogue."]
    inputs = [
        Input(
            f"tokens {judge.name} {verb}",
            f"{tokens:,} at {dollars(each.usd)} per 1M tokens",
            str(each.source),
        )
        for verb, tokens, each in (
            ("reads", grading.input_tokens, reads),
            ("writes", grading.output_tokens, writes),
        )
    ]
    usd = (grading.input_tokens * reads.usd + grading.output_tokens * writes.usd) / 1e6
    return usd, inputs, age_note(reads.source, tariff.on)


# What a job has cost: what the service says it billed, at the catalogue's prices.
#
# Supervised and preference jobs are billed by tokens times epochs, reinforcement by the hour, its
# grader's tokens on top; a failed job costs nothing (Microsoft Learn, fine-tuning cost management,
# 2026-03-19). Where a number or a price is missing, so is the cost: nothing is guessed.

# Azure's last events, word for word: "Training tokens billed: 7223000", "Training hours billed: 24.750".
_BILLED = re.compile(r"Training (tokens|hours) billed: ([\d.]+)")
_PER_UNIT = {"tokens": ("training", 1e6), "hours": ("training_hour", 1.0)}


def billed_amount(
    job: "FineTuningJob", events: Sequence["FineTuningJobEvent"] = ()
) -> tuple[float, str] | None:
    """How many ``tokens`` or ``hours`` the service says it billed, or the trained tokens before it does."""
    bill = next((found for event in reversed(events) if (found := _BILLED.match(event.message))), None)
    if bill is not None:
        return float(bill[2]), bill[1]
    if job.trained_tokens and methods.method_of(job).billed_by == "tokens":
        return float(job.trained_tokens), "tokens"
    return None


def billed(
    job: "FineTuningJob",
    events: Sequence["FineTuningJobEvent"] = (),
    *,
    service: str,
    training_type: str | None = None,
) -> float | None:
    """US dollars that training took, without what a model that grades took; ``None`` where it is unknown.

    Before the service says what it billed, the trained tokens of a finished job give the same to the
    thousand.
    """
    if runs_here(service) or job.status == "failed":
        return 0.0
    bill = billed_amount(job, events)
    if bill is None:
        return None
    amount, unit = bill
    what, units = _PER_UNIT[unit]
    try:
        price = catalog.model(job.model).price(what, service=service, training_type=training_type)
    except SetupError:  # a model that the catalogue does not have
        return None
    return None if price is None else amount / units * price.usd


# What a job will cost and may cost: the estimate before, the cap, and how near a running one comes.
#
# Prices are the catalogue's or yours; where there is none, nothing is guessed, and a cap that
# nobody can hold stands in the way.


@dataclass(frozen=True)
class CostCap:
    """What a job may cost, and the price by which that is seen while it runs."""

    usd: float
    usd_per_epoch: float | None = None
    """For jobs billed by tokens: what one pass over the file costs."""
    usd_per_hour: float | None = None
    """For jobs billed by the hour; a grader's tokens come on top and are not in it."""

    def cost(self, progress: "Progress") -> float | None:
        """By tokens what the whole job comes to, once its epochs are known; by the hour what it has cost."""
        if self.usd_per_hour is not None:
            return _hours(progress) * self.usd_per_hour
        epochs = progress.job.hyperparameters.n_epochs if progress.job.hyperparameters else None
        if self.usd_per_epoch is None or not isinstance(epochs, int) or epochs < 1:
            return None
        return epochs * self.usd_per_epoch


@dataclass(frozen=True)
class Rates:
    """What the catalogue, or you, say about the price of this job."""

    service: Provider
    spec: JobSpec
    price: float | None
    on: datetime.date
    region: str | None = None

    @property
    def n_epochs(self) -> int | None:
        """The epochs, where they are chosen and can be."""
        epochs = self.spec.hyperparameters.get("n_epochs")
        return epochs if isinstance(epochs, int) and epochs >= 1 else None

    @cached_property
    def tokens(self) -> TokenCounts | int:
        """Those of the training data; not counted where they cost nothing."""
        return 0 if self.service.runs_here else count_tokens(self.spec.training, self.spec.model)

    def cost(self, hours: float | None) -> tuple[Estimate | None, str]:
        """What it will cost, or why that is unknown."""
        try:
            return self._estimate(self.n_epochs, hours), ""
        except SetupError as error:
            return None, str(error)

    def by_training_type(self, hours: float | None) -> Mapping[str, Estimate]:
        """What it will cost in each training type that the service has and the model is trained in."""
        try:
            trained = catalog.model(self.spec.model).training_types
            types = [
                each for each in self.service.limits.training_types if trained is None or each in trained
            ]
            return {each: self._estimate(self.n_epochs, hours, each) for each in types}
        except SetupError:  # a model that the catalogue does not have, or whose tokens cannot be counted
            return {}

    def cap(self, usd: float) -> CostCap:
        """So much, and the rate by which a running job comes near it."""
        by_the_hour = self.spec.trained_by.billed_by == "hours"
        try:
            one = self._estimate(1, 1.0 if by_the_hour else None).likely
        except SetupError:
            one = None
        return CostCap(usd, usd_per_hour=one) if by_the_hour else CostCap(usd, usd_per_epoch=one)

    def _estimate(self, n_epochs: int | None, hours: float | None, type: str | None = None) -> Estimate:
        spec = self.spec
        type = type or self.service.limits.training_type(spec.training_type or "") or "globalStandard"
        return estimate(
            self.tokens,
            model=spec.model,
            method=spec.trained_by.short,
            n_epochs=n_epochs,
            service=self.service.name,
            training_type=type,
            price=self.price,
            hours=hours,
            region=self.region,
            on=self.on,
        )


def token_findings(tokens: TokenCounts | int, n_epochs: int, most: int | None) -> Iterator[Finding]:
    """Does it read more than one job may?"""
    read = n_epochs * (tokens if isinstance(tokens, int) else tokens.total)
    if most is not None and read > most:
        message = (
            f"it would train on {read / 1e9:,.1f} billion tokens, and {most / 1e9:g} billion is the most"
        )
        yield Finding("error", "tokens", "", message, "train fewer epochs, or on fewer or shorter examples")


def cost_findings(cost: Estimate | None, why_not: str, cap: float | None) -> Iterator[Finding]:
    """Is it likely to cost more than it may? ``why_not``: why there is no estimate."""
    if cap is None:
        return
    likely = cost.likely if cost else None
    if likely is None:
        message = f"the cap of {dollars(cap)} cannot be held, because the cost is not known"
        reason = why_not or next(iter(cost.notes if cost else ()), "there is no price")
        yield Finding("error", "cost_cap", "", f"{message} ({reason.removesuffix('.')})", "give price=…")
    elif likely > cap:
        message = f"it will likely cost {dollars(round(likely, 2))}, and the cap is {dollars(cap)}"
        fix = "train fewer epochs or examples, choose a smaller model, or raise cost_cap"
        yield Finding("error", "cost_cap", "", message, fix)
    elif cost and cost.usd and cost.usd.high > cap:
        message = f"it may cost {dollars(round(cost.usd.high, 2))}, and the cap is {dollars(cap)}"
        fix = "give n_epochs, so that the service cannot choose more"
        yield Finding("warning", "cost_cap", "", message, fix)


def pause_findings(spec: JobSpec, service: Provider, cap: float | None) -> Iterator[Finding]:
    """Will the service itself pause the job when it has cost so much?"""
    most = service.limits.pause_usd
    if service.runs_here or most is None or spec.trained_by.billed_by != "hours":
        return
    message = (
        f"{service.name} pauses the job by itself when training and grading have cost ${most:,} together"
    )
    fix = "a paused job keeps a checkpoint that can be deployed; to resume it lifts that limit for good"
    if cap is None:
        fix += "; give cost_cap, and you are warned before that"
    elif cap > most:
        message += f", which is below your cap of {dollars(cap)}"
    yield Finding("info", "service_cap", "", message, fix)


def _hours(progress: "Progress") -> float:
    """From the word that training started to the job's end, or to the last word; pauses are in it."""
    started = next((event.created_at for event in progress.events if event.message in STARTED), None)
    if started is None:
        return 0.0
    until = progress.job.finished_at or progress.events[-1].created_at
    return max(0, until - started) / 3600
