"""The ledger of a project: trainings, deployments by the hour, tokens of answers, and what ends when.

Read from the project's record, with the service asked for bills and for what is still deployed. Nothing is
guessed: without a price the amount is there and the dollars are not. Apart because it reads both trainings
and deployments, which know nothing of each other.
"""

import datetime
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from workbench import jsonl_log
from workbench.catalog.models import base_name
from workbench.catalog.providers import Provider, provider_of
from workbench.catalog.search import way_prices
from workbench.decide.payback import HOURS_A_MONTH
from workbench.deploy import DEVELOPER, DEVELOPER_HOURS, UNUSED_DAYS, deployments, life_ends
from workbench.display import Shown, Table
from workbench.errors import SetupError
from workbench.project import JSON, Project
from workbench.training.cost import billed, billed_amount

if TYPE_CHECKING:
    from openai import OpenAI

DAY = 86_400.0  # seconds
IDLE_DAYS = 7  # without a question from this project, an alarm: half of what Azure waits before it removes
SOON_DAYS = 90  # before a retirement, an alarm: time to train another model and to judge it


class Charge(NamedTuple):
    """One line of the ledger: a training, a deployment from start to end, or the answers of a tuned model."""

    what: str
    """``training``, ``hosting`` or ``answers``."""
    name: str
    amount: str
    """In the unit that is billed: ``7,223,000 tokens``, ``480.0 hours``."""
    estimated: float | None
    """US dollars, before the start; ``None`` where nobody estimated."""
    usd: float | None
    """US dollars so far; ``None`` where no price is known."""
    state: str

    @property
    def facts(self) -> dict[str, JSON]:
        """The line as JSON."""
        return dict(self._asdict())


@dataclass(frozen=True)
class _Hosting:
    """One deployment from its start to its end, as the record has it; moments in seconds since 1970."""

    name: str
    model: str
    sku: str
    rate: float | None
    began: float
    asked: float
    """When this project last had an answer from it."""
    ended: float | None = None
    note: str = "deployed"

    def hours(self, now: float) -> float:
        return max(0.0, (now if self.ended is None else self.ended) - self.began) / 3600


@dataclass(frozen=True, repr=False)
class Ledger(Shown):
    """What a project has cost and goes on costing, in US dollars."""

    project: str
    charges: tuple[Charge, ...]
    month: float
    """What its deployments go on costing in a month, without the Developer tier, which ends by itself."""
    alarms: tuple[str, ...] = ()

    @property
    def usd(self) -> float:
        """The sum of all that has a price."""
        return sum(charge.usd for charge in self.charges if charge.usd is not None)

    @property
    def verdict(self) -> str:
        """The sum, what goes on, and the first alarm, in a sentence or two."""
        unknown = sum(charge.usd is None for charge in self.charges)
        left_out = f" ({unknown} without a known price left out)" if unknown else ""
        sentence = f"Project {self.project} has cost ${self.usd:,.2f}{left_out}"
        return " ".join(
            [f"{sentence}; its deployments go on for ${self.month:,.2f} a month.", *self.alarms[:1]]
        )

    @property
    def facts(self) -> dict[str, JSON]:
        """All of it as JSON."""
        charges: list[JSON] = [charge.facts for charge in self.charges]
        sums: dict[str, JSON] = {"usd": self.usd, "usd_per_month": self.month, "alarms": list(self.alarms)}
        return {"project": self.project, "charges": charges, **sums}

    def tables(self) -> Iterator[Table]:
        """Every charge, then the alarms."""
        rows = [
            (c.what, c.name, c.amount, _usd(c.estimated, "none"), _usd(c.usd, "price not known"), c.state)
            for c in self.charges
        ]
        yield self.verdict, ("", "name", "amount", "estimated", "so far", "state"), rows
        yield "What needs you", ("alarm",), [(alarm,) for alarm in self.alarms]

    def __repr__(self) -> str:
        """The verdict, then a line each."""
        lines = [
            f"{c.what:<9} {c.name}: {c.amount}, {_usd(c.usd, 'price not known')} ({c.state})"
            for c in self.charges
        ]
        return "\n".join([self.verdict, *lines, *(f"Alarm: {alarm}" for alarm in self.alarms)])


def _usd(amount: float | None, unknown: str) -> str:
    return unknown if amount is None else f"${amount:,.2f}"


def ledger(client: "OpenAI", project: Project, *, now: float | None = None) -> Ledger:
    """What has this project cost at this service, what does it go on costing, and what ends soon?

    ``now``: the moment it is drawn up for, in seconds since 1970; today by default. Answers are those that
    this project asked a deployed model for and kept: the service's own page counts those of everybody.
    """
    moment = time.time() if now is None else now
    trainings = list(_trainings(client, project))
    hosted = list(_hosted(client, project, moment))
    hosting = [
        Charge("hosting", each.name, f"{each.hours(moment):,.1f} hours", None, _cost(each, moment), each.note)
        for each in hosted
    ]
    there = [each for each in hosted if each.ended is None]
    month = sum((each.rate or 0.0) * HOURS_A_MONTH for each in there if each.sku != DEVELOPER)
    alarms = [alarm for each in there for alarm in _alarms(each, provider_of(client).name, moment)]
    answers = _answers(project, provider_of(client), hosted)
    return Ledger(project.name, (*trainings, *hosting, *answers), month, tuple(alarms))


def _trainings(client: "OpenAI", project: Project) -> Iterator[Charge]:
    """Each job on record at this service once, with what the service billed."""
    import openai

    where, seen = provider_of(client).name, set[str]()
    for entry in project.entries("job"):
        job_id = str(entry.facts["job_id"])
        if entry.facts.get("provider") != where or job_id in seen:
            continue
        seen.add(job_id)
        likely, kind = entry.facts.get("estimated_usd"), entry.facts.get("training_type")
        estimated = float(likely) if isinstance(likely, int | float) else None
        try:
            job = client.fine_tuning.jobs.retrieve(job_id)
            newest_first = client.fine_tuning.jobs.list_events(job_id, limit=100).data
        except openai.NotFoundError:
            yield Charge("training", job_id, "unknown", estimated, None, "deleted at the service")
            continue
        events = newest_first[::-1]
        amount, unit = billed_amount(job, events) or (0.0, "not billed yet")
        shown = f"{amount:,.0f} tokens" if unit == "tokens" else f"{amount:,.3f} hours" if amount else unit
        usd = billed(job, events, service=where, training_type=str(kind) if kind else None)
        yield Charge("training", job_id, shown, estimated, usd, job.status)


def _hosted(client: "OpenAI", project: Project, now: float) -> Iterator[_Hosting]:
    """Each deployment from start to end: the ends that the record lacks follow from the service's rules."""
    where = provider_of(client).name
    found: list[_Hosting] = []
    for entry in project.entries():
        facts, name = entry.facts, str(entry.facts.get("name"))
        place = next((n for n, each in enumerate(found) if (each.name, each.ended) == (name, None)), None)
        if entry.kind in ("parity", "asked") and place is not None:
            found[place] = replace(found[place], asked=max(found[place].asked, _number(facts, "moment")))
        if entry.kind != "deployment" or facts.get("provider") != where:
            continue
        moment = _number(facts, "moment")
        began = _number(facts, "created_at") or (moment if place is None else found[place].began)
        if place is not None and abs(began - found[place].began) > 1:  # another one of this name
            found[place] = _removed(found[place], moment)
            place = None
        if place is not None:
            gone = facts["event"] == "removed"
            last = moment if facts["event"] == "ready" else found[place].asked
            ended = replace(found[place], ended=moment, note="removed") if gone else found[place]
            found[place] = replace(ended, asked=last)
        elif facts["event"] != "asked" and facts["event"] != "removed":
            rate = facts.get("hosting_hour")
            price = float(rate) if isinstance(rate, int | float) else None
            found.append(_Hosting(name, str(facts["model"]), str(facts["sku"]), price, began, moment))
    if any(each.ended is None for each in found):
        there = {one.name: one.created_at or 0.0 for one in deployments(client)}
        found = [
            each
            if each.ended is not None or abs(there.get(each.name, -1.0) - each.began) <= 1
            else _removed(each, now)
            for each in found
        ]
    yield from found


def _answers(project: Project, where: Provider, hosted: Sequence[_Hosting]) -> Iterator[Charge]:
    """The tokens of what each deployed model answered: kept answers by its own name, and those of 07."""
    models = {each.name: each.model for each in hosted}
    read, reread, written = Counter[str](), Counter[str](), Counter[str]()
    kept = ((str(line.get("model")), line) for line in jsonl_log.objects(project.path / "answers.jsonl"))
    compared = ((models.get(str(e.facts["name"]), ""), e.facts) for e in project.entries("parity"))
    for model, facts in (*kept, *compared):
        if model in models.values():
            read[model] += round(_number(facts, "prompt_tokens"))
            reread[model] += round(_number(facts, "cached_tokens"))
            written[model] += round(_number(facts, "completion_tokens"))
    for model, tokens in read.items():
        amount = f"{tokens:,} tokens in, {written[model]:,} out"
        try:
            prices = {} if where.runs_here else way_prices(model, service=where.name, tuned=True)
        except SetupError:  # the catalogue has no price of it
            yield Charge("answers", model, amount, None, None, "asked by this project")
            continue
        price = prices.get("input_price", 0.0)
        usd = (tokens - reread[model]) * price + reread[model] * prices.get("cached_price", price)
        usd += written[model] * prices.get("output_price", 0.0)
        yield Charge("answers", model, amount, None, usd / 1_000_000, "asked by this project")


def _removed(hosting: _Hosting, now: float) -> _Hosting:
    """The service took it away: the Developer tier after a day, another one that was not asked any more.

    When somebody else asked it last is not known here, so that end is at most 15 days after our last answer
    where nobody did, and may have been later.
    """
    fixed = hosting.began + 3600 * DEVELOPER_HOURS
    end = fixed if hosting.sku == DEVELOPER else hosting.asked + UNUSED_DAYS * DAY
    return replace(hosting, ended=min(end, now), note="removed by the service, or by somebody else")


def _cost(hosting: _Hosting, now: float) -> float | None:
    return None if hosting.rate is None else hosting.rate * hosting.hours(now)


def _alarms(hosting: _Hosting, service: str, now: float) -> Iterator[str]:
    """Is it idle, is it removed soon, does its base model end soon?"""
    if hosting.sku == DEVELOPER:
        end = hosting.began + 3600 * DEVELOPER_HOURS
        yield f"{hosting.name} is removed on {_day(end)}, as every deployment of the Developer tier."
    elif (idle := (now - hosting.asked) / DAY) >= IDLE_DAYS:
        end, cost = hosting.asked + UNUSED_DAYS * DAY, _usd((hosting.rate or 0.0) * 24, "")
        yield (
            f"{hosting.name} was not asked by this project for {idle:.0f} days and costs {cost} a day; "
            f"remove it, or the service does on {_day(end)} unless somebody asks."
        )
    retired = life_ends(base_name(hosting.model), service)
    today = datetime.datetime.fromtimestamp(now, datetime.UTC).date()
    if retired is not None and (retired - today).days <= SOON_DAYS:
        yield f"{hosting.name}: models tuned from {base_name(hosting.model)} answer until {retired}."


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _number(facts: Mapping[str, JSON], name: str) -> float:
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
