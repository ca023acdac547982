"""Deploying a tuned model: the plan with its prices, then deploying, following, resizing and removing it.

On Azure a tuned model answers only once it is deployed. Prices, life time and the very request stand in the
plan before anything is sent; what happened stands in the project's record. The local service emulates it.
"""

import datetime
import hashlib
import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, Protocol

from workbench import catalog
from workbench.catalog.models import Model, base_name, formats_of
from workbench.catalog.providers import Provider, carrying, owner_of, provider_of, runs_here
from workbench.connect import Resource, control_plane, control_plane_errors
from workbench.decide.payback import HOURS_A_MONTH
from workbench.display import Facts, Shown, Table
from workbench.errors import DataError, SetupError
from workbench.project import JSON, Entry, Project

if TYPE_CHECKING:
    from azure.mgmt.cognitiveservices import models as azure
    from openai import OpenAI

# The SKUs: what each means, and how its price is called in the catalogue. Microsoft Learn, "Deploy a
# fine-tuned model" (2026-10-07).

DEVELOPER = "DeveloperTier"
DEVELOPER_HOURS = 24.0
UNUSED_DAYS = 15.0  # without an answer; then the deployment is removed, and the model stays


class _Sku(NamedTuple):
    priced_as: str
    runs: str
    ends: str


_UNUSED = f"removed after {UNUSED_DAYS:.0f} days without an answer"
SKUS: Mapping[str, _Sku] = {
    DEVELOPER: _Sku(
        "developerTier",
        "in any region, no SLA: to evaluate",
        f"removed {DEVELOPER_HOURS:.0f} hours after it was made",
    ),
    "GlobalStandard": _Sku("globalStandard", "in any region", _UNUSED),
    "DataZoneStandard": _Sku("dataZone", "in the US data zone", _UNUSED),
    "Standard": _Sku("standard", "in the resource's region", _UNUSED),
    "ProvisionedManaged": _Sku("provisioned", "on throughput units (PTU) that are bought first", _UNUSED),
}
_SPELT = {sku.lower(): sku for sku in SKUS} | {"developer": DEVELOPER}
_CAPACITY, _OPEN_CAPACITY = 50, 100  # enough to evaluate; open weights fail to load at 1 (skill, 2026-08-20)


class _Rates(NamedTuple):
    """US dollars; ``None`` where no source tells."""

    hosting_hour: float | None
    input: float | None
    output: float | None
    source: str


class SkuOption(NamedTuple):
    """One SKU that a model could be deployed as."""

    sku: str
    possible: bool
    rates: _Rates
    remark: str

    @property
    def row(self) -> tuple[str, ...]:
        """It as a row of a table, after the name."""
        hour, sku = self.rates.hosting_hour, SKUS[self.sku]
        month = None if hour is None else hour * (DEVELOPER_HOURS if self.sku == DEVELOPER else HOURS_A_MONTH)
        both = [self.rates.input, self.rates.output]
        tokens = " and ".join(dict.fromkeys(map(_usd, both)))
        return (_usd(hour), _usd(month), tokens, sku.runs, sku.ends)


@dataclass(frozen=True, repr=False)
class DeploymentPlan(Shown):
    """What would be deployed, as what, for how much, and the very request."""

    name: str
    model: str
    sku: str
    capacity: int
    service: str
    account: str
    region: str
    options: tuple[SkuOption, ...]
    ends: datetime.date | None = None
    """From when on models tuned from this base answer no more."""
    source: str | None = field(default=None, repr=False)
    """The ARM id of the account that trained it, where that is another one."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def chosen(self) -> SkuOption:
        """The option that is planned."""
        return next(option for option in self.options if option.sku == self.sku)

    @property
    def request(self) -> "azure.Deployment":
        """What the SDK is given to send."""
        from azure.mgmt.cognitiveservices import models as azure

        base, name, version = base_name(self.model), self.model, "1"
        if base == self.model:  # a base model has its own version, a tuned one is always 1
            known = catalog.model(base)
            name, version = known.name, known.version or "1"
        named = {"format": formats_of(base)[0], "name": name, "version": version, "source": self.source}
        properties = azure.DeploymentProperties(model=azure.DeploymentModel(**named))
        sku = azure.Sku(name=self.sku, capacity=self.capacity)
        return azure.Deployment(sku=sku, properties=properties, tags=dict(self.tags))

    @property
    def body(self) -> dict[str, JSON]:
        """The body of the PUT, as it is sent; only the source's subscription is left out."""
        sent = re.sub(r"/subscriptions/[^/]+", "/subscriptions/…", json.dumps(self.request.serialize()))
        body: dict[str, JSON] = json.loads(sent)
        return body

    @property
    def verdict(self) -> str:
        """The plan in a sentence, with its price."""
        rates, hour = self.chosen.rates, self.chosen.rates.hosting_hour
        price = f"{_usd(hour)} an hour, {_usd(rates.input)} and {_usd(rates.output)} per 1M tokens in and out"
        if hour:
            price = f"{price}; {_usd(hour * HOURS_A_MONTH)} a month whether it is asked or not"
        return f"{self.model} as {self.name} ({self.sku}, capacity {self.capacity}): {price}."

    def tables(self) -> Iterator[Table]:
        """The SKUs with their prices, then where it goes, how much it takes, and the request."""
        columns = ("SKU", "hosting an hour", "730 hours", "1M tokens in and out", "runs", "ends")
        possible = [option for option in self.options if option.possible]
        planned = {self.sku: f"{self.sku} (planned)"}
        yield self.verdict, columns, [(planned.get(o.sku, o.sku), *o.row) for o in possible]
        others = [f"{o.sku} ({o.remark})" for o in self.options if not o.possible]
        rate = f"{self.capacity * 1000:,} tokens a minute, about {self.capacity} requests a minute"
        rows = [
            ("where", f"{self.account} in {self.region}"),
            ("capacity", f"{self.capacity}: {rate}"),
            ("prices", self.chosen.rates.source),
            ("not for this model here", ", ".join(others) or "none"),
            ("tuned models of this base end", str(self.ends or "no date is published")),
            ("request", f"PUT …/accounts/{self.account}/deployments/{self.name}"),
            ("body", json.dumps(self.body)),
        ]
        yield "What would be sent, and where", ("", ""), rows


def plan_deployment(
    client: "OpenAI",
    model: str,
    *,
    sku: str | None = None,
    capacity: int | None = None,
    name: str | None = None,
    project: Project | None = None,
    source: str | None = None,
) -> DeploymentPlan:
    """What would it take to deploy this model (or checkpoint)? The resource is looked up, nothing is changed.

    ``sku=None``: Developer where the model can have it, else the cheapest to host. ``capacity``: thousands of
    tokens a minute; 1 is about one request a minute. ``name=None`` is made of project and model, so that the
    same is found again. ``source``: the ARM id of the account that trained it, to deploy in another region
    or subscription. ``DataError`` names a value that cannot be, ``SetupError`` what cannot be deployed.
    """
    where = provider_of(client)
    resource = control_plane(client)
    options = tuple(_options(model, where, resource.region))
    possible = [option for option in options if option.possible]
    if not possible:
        kinds = catalog.model(base_name(model)).deployment_types or ("no way that is published",)
        raise SetupError(
            f"{base_name(model)} is deployed as {', '.join(kinds)}, which is not done through this API: use "
            "the portal."
        )
    chosen = min(possible, key=_cheapest) if sku is None else _named(sku, options)
    least = _OPEN_CAPACITY if formats_of(base_name(model))[0] != "OpenAI" else _CAPACITY
    size = least if capacity is None else capacity
    if size < 1:
        raise DataError(f"capacity is {size}; give 1 or more, in thousands of tokens a minute.")
    named = name or _name(model, chosen.sku, project)
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", named):
        raise DataError(
            f"'{named}' cannot name a deployment; use up to 64 letters (a-z, A-Z), digits and '-'."
        )
    tags = {"made-by": "fine-tuning-workbench"} | ({"project": project.name} if project else {})
    place = (where.name, resource.account, resource.region)
    ends = life_ends(base_name(model), where.name)
    return DeploymentPlan(named, model, chosen.sku, size, *place, options, ends, source, tags)


def _options(model: str, where: Provider, region: str) -> Iterator[SkuOption]:
    base = base_name(model)
    known = None if where.runs_here else _known(base)
    regions = [place for place in known.regions if place.use == "deployment"] if known else []
    for sku, of in SKUS.items():
        places = [place for place in regions if place.type == of.priced_as]
        here = known is None or of.priced_as in (known.deployment_types or ())
        possible = here or any(place.has(region) for place in places)
        names = ", ".join(name for place in places for name in place.names)
        remark = f"only in {names}" if names else "not offered"
        for_it = possible and (sku != DEVELOPER or base != model)  # the Developer tier is for tuned models
        yield SkuOption(sku, for_it, _rates(base, sku, where, region), remark)


def _known(base: str) -> Model | None:
    try:
        known = catalog.model(base)
    except SetupError:  # the catalogue does not have it; the service decides
        return None
    return None if runs_here(known.service) else known


def _rates(base: str, sku: str, where: Provider, region: str) -> _Rates:
    if where.runs_here:
        return _Rates(0.0, 0.0, 0.0, "your own machine")
    known, kind = _known(base), SKUS[sku].priced_as
    # The Developer tier has no hosting fee, whatever the model (cost management, 2026-03-19).
    idle = 0.0 if sku == DEVELOPER else None
    if known is None:
        return _Rates(idle, None, None, "not in the catalogue; put yours into WORKBENCH_PRICES")
    hour, reads, writes = (
        known.price(what, service=where.name, training_type=kind, region=region)
        for what in ("hosting_hour", "tuned_input", "tuned_output")
    )
    source = next((str(price.source) for price in (hour, reads, writes) if price), "not published")
    hosting, read, written = (None if price is None else price.usd for price in (hour, reads, writes))
    return _Rates(idle if hosting is None else hosting, read, written, source)


def _cheapest(option: SkuOption) -> tuple[float, int]:
    hour = option.rates.hosting_hour
    return (float("inf") if hour is None else hour), list(SKUS).index(option.sku)


def _named(sku: str, options: Sequence[SkuOption]) -> SkuOption:
    spelt = _SPELT.get(sku.lower())
    if spelt is None:
        raise DataError(f"There is no SKU '{sku}'; choose {', '.join(SKUS)}.")
    found = next(option for option in options if option.sku == spelt)
    if not found.possible:
        others = ", ".join(option.sku for option in options if option.possible)
        raise DataError(f"This model cannot be deployed as {spelt} here ({found.remark}); choose {others}.")
    return found


def _name(model: str, sku: str, project: Project | None) -> str:
    """The same for the same model and use: letters, digits and hyphens, 64 at most."""
    head = re.sub(r"[^A-Za-z0-9]+", "-", project.name if project else base_name(model)).strip("-")[:40]
    use = "dev" if sku == DEVELOPER else "live"
    return f"{head or 'model'}-{hashlib.sha256(model.lower().encode()).hexdigest()[:8]}-{use}"


def life_ends(base: str, service: str) -> datetime.date | None:
    """From when on models tuned from this base answer no more, by the earliest date given."""
    known = _known(base)
    life = known.life(service) if known else None
    dates = life.dates("deployments_end") if life else []
    return dates[0] if dates else None


def _usd(amount: float | None) -> str:
    if amount is None:
        return "not published"
    return f"${amount:,.2f}" if amount >= 0.1 or not amount else f"${amount:g}"


# A deployment that is there: found, made, followed until it answers, resized, removed.

_ENDED = ("Failed", "Canceled", "Disabled")


@dataclass(frozen=True, repr=False)
class Deployed(Facts):
    """A deployment as it stands."""

    caption = "The deployment"
    name: str
    model: str
    sku: str
    capacity: int
    state: str
    """Azure's: Accepted, Creating, Succeeded, Failed, Deleting, …"""
    service: str
    region: str
    created_at: float | None = None
    """Seconds since 1970; ``None`` where the service does not tell."""
    hosting_hour: float | None = None
    """US dollars."""
    ready: bool = False
    """Whether it has answered."""
    note: str = ""
    """What it said when it did not answer yet."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def removed_at(self) -> float | None:
        """When the service removes it whatever happens: the Developer tier after 24 hours."""
        if self.sku != DEVELOPER or self.created_at is None:
            return None
        return self.created_at + 3600 * DEVELOPER_HOURS

    @property
    def facts(self) -> dict[str, object]:
        """What it is, what it costs, and until when."""
        retired = life_ends(base_name(self.model), self.service)
        hour = self.hosting_hour
        month = None if hour is None else hour * HOURS_A_MONTH
        return {
            "deployment": self.name,
            "model": self.model,
            "SKU": f"{self.sku}, capacity {self.capacity}",
            "state": f"{self.state}, {'it answers' if self.ready else self.note or 'not asked yet'}",
            "hosting": f"{_usd(hour)} an hour, {_usd(month)} a month",
            "made": "unknown" if self.created_at is None else _moment(self.created_at),
            "removed by the service": _UNUSED if self.removed_at is None else _moment(self.removed_at),
            "tuned models of this base end": str(retired or "no date is published"),
        }

    @property
    def recorded(self) -> dict[str, JSON]:
        """What the project's record keeps of it."""
        kept = ("name", "model", "sku", "capacity", "region", "created_at", "hosting_hour")
        return {name: getattr(self, name) for name in kept} | {"provider": self.service}


def deploy(
    client: "OpenAI",
    plan: DeploymentPlan,
    *,
    project: Project | None = None,
    agreed: bool | None = None,
    replace_other: bool = False,
    temporary: bool = False,
) -> Deployed:
    """Ask for the deployment of the plan, unless it is there already; it answers some minutes later (follow).

    ``agreed``: deploy what costs by the hour; without it (``None``) only what is known to cost nothing idle.

    One of this name with the same model, SKU and capacity is found again; another size of the same model is
    changed. One of another model is a ``SetupError``, unless ``replace_other``: then it is removed first, and
    the name answers nothing until the new one is ready. ``temporary``: ``answering`` may remove it.
    """
    from azure.core.exceptions import ResourceExistsError

    resource, there = control_plane(client), find(client, plan.name)
    if there is not None and there.model.lower() != plan.model.lower():
        if not replace_other:
            raise SetupError(
                f"There is a deployment {plan.name} of {there.model}; give another name, or replace it, "
                "which removes it first."
            )
        remove(client, plan.name, project=project)
        there = None
    if there is not None and (there.sku, there.capacity) == (plan.sku, plan.capacity):
        _note(project, there, "found", temporary)
        return there
    if there is not None and there.sku == plan.sku and (agreed or not there.hosting_hour):
        return scale(client, plan.name, plan.capacity, project=project)
    rates = plan.chosen.rates
    if not (agreed or (agreed is None and rates.hosting_hour == 0)):
        raise SetupError(f"Nothing was deployed. Set DEPLOY = True to agree to the price: {plan.verdict}")
    what = (plan.name, plan.model, plan.sku, plan.capacity, "Accepted", plan.service, plan.region)
    asked = Deployed(*what, hosting_hour=rates.hosting_hour)
    _note(project, asked, "asked", temporary)
    with control_plane_errors():
        begin = resource.management.deployments.begin_create_or_update
        try:  # a try whose answer was lost has begun it, and a second one meets it at work
            named = {**resource.place, "deployment_name": plan.name}
            begin(**named, deployment=plan.request, polling=False)
        except ResourceExistsError:
            made = find(client, plan.name)
            if made is None or made.model.lower() != plan.model.lower():
                raise
    return find(client, plan.name) or asked


def follow(
    client: "OpenAI",
    deployed: Deployed,
    *,
    project: Project | None = None,
    poll_seconds: float = 2.0,
    patience_seconds: float = 1800.0,
) -> Iterator[Deployed]:
    """Watch it until it answers: yields whenever something is new, and last when a question was answered.

    Azure says Succeeded before it is ready, so it is asked one short question until an answer comes.
    ``SetupError`` where it failed, is gone, or did not answer for ``patience_seconds``.
    """
    begun, last = time.monotonic(), None
    while True:
        now = find(client, deployed.name)
        if now is None:
            raise SetupError(f"The deployment {deployed.name} is gone: it was removed. Deploy it again.")
        if now.state in _ENDED:
            raise SetupError(f"The deployment {now.name} is {now.state}; remove it and deploy it again.")
        if now.state == "Succeeded":
            problem = _probe(client, now.name)
            now = replace(now, ready=problem is None, note=problem or "")
        if now != last:
            if now.ready:
                _note(project, now, "ready")
            yield now
        if now.ready:
            return
        if time.monotonic() - begun > patience_seconds:
            raise SetupError(
                f"The deployment {now.name} is {now.state} and has not answered for {patience_seconds:.0f} s "
                f"({now.note or 'it was not asked'}); remove it and deploy it again, open weights with a "
                "capacity of 100 or more."
            )
        last = now
        time.sleep(poll_seconds)


def shown(progress: Iterator[Deployed]) -> Deployed:
    """Follow to the end with a line for each change; the last state."""
    for now in progress:
        print(f"{time.strftime('%H:%M:%S')}  {now.name}: {now.facts['state']}")
    return now


def _probe(client: "OpenAI", name: str) -> str | None:
    """Ask it one short question; what stands in the way of an answer, where that may pass."""
    import openai

    try:
        client.with_options(max_retries=0).chat.completions.create(
            model=name, messages=[{"role": "user", "content": "Hello"}], max_tokens=1
        )
    except (
        openai.APIConnectionError,
        openai.NotFoundError,
        openai.ConflictError,
        openai.RateLimitError,
        openai.InternalServerError,
    ) as error:
        return " ".join(error.message.split())[:200]
    except openai.BadRequestError:  # it answered; reasoning models have another name for max_tokens
        return None
    return None


def find(client: "OpenAI", name: str) -> Deployed | None:
    """The deployment of this name, or ``None``."""
    from azure.core.exceptions import ResourceNotFoundError

    resource = control_plane(client)
    with control_plane_errors():
        try:
            found = resource.management.deployments.get(**resource.place, deployment_name=name)
        except ResourceNotFoundError:
            return None
    return _deployed(found, provider_of(client), resource)


def deployments(client: "OpenAI", project: Project | None = None) -> tuple[Deployed, ...]:
    """Every deployment of the resource; with ``project``, those that it made."""
    resource, where = control_plane(client), provider_of(client)
    with control_plane_errors():
        listed = list(resource.management.deployments.list(**resource.place))
    found = [_deployed(each, where, resource) for each in listed]
    return tuple(one for one in found if project is None or one.tags.get("project") == project.name)


def scale(client: "OpenAI", name: str, capacity: int, *, project: Project | None = None) -> Deployed:
    """Give a deployment another capacity, in thousands of tokens a minute."""
    from azure.mgmt.cognitiveservices import models as azure

    resource, there = control_plane(client), find(client, name)
    if there is None:
        raise SetupError(f"There is no deployment {name}; deploy it first.")
    if capacity < 1:
        raise DataError(f"capacity is {capacity}; give 1 or more, in thousands of tokens a minute.")
    change = azure.PatchResourceTagsAndSku(sku=azure.Sku(name=there.sku, capacity=capacity))
    with control_plane_errors():
        begin = resource.management.deployments.begin_update
        begin(**resource.place, deployment_name=name, deployment=change).result()
    now = find(client, name) or replace(there, capacity=capacity)
    _note(project, now, "resized")
    return now


def remove(client: "OpenAI", name: str, *, project: Project | None = None) -> bool:
    """Remove a deployment; its model stays and can be deployed again. ``False`` when there was none."""
    resource, there = control_plane(client), find(client, name)
    if there is None:
        return False
    with control_plane_errors():
        resource.management.deployments.begin_delete(**resource.place, deployment_name=name).result()
    _note(project, there, "removed")
    return True


def _deployed(found: "azure.Deployment", where: Provider, resource: Resource) -> Deployed:
    of, sku = found.properties, found.sku
    model = (of.model.name if of and of.model else None) or ""
    if of and of.model and ".ft-" not in model and of.model.version not in (None, "1"):
        model = f"{model}-{of.model.version}"  # a base model, by the name that jobs know it by
    kind = (sku.name if sku else None) or "unknown"
    kind = _SPELT.get(kind.lower(), kind)
    rates = _rates(base_name(model), kind, where, resource.region) if kind in SKUS else None
    made = found.system_data.created_at if found.system_data else None
    size, state = (sku.capacity if sku else None) or 1, str(of.provisioning_state) if of else "unknown"
    what = (found.name or "", model, kind, size, state, where.name, resource.region)
    since, rate = made.timestamp() if made else None, rates.hosting_hour if rates else None
    return Deployed(*what, since, rate, tags=found.tags or {})


def _note(project: Project | None, deployed: Deployed, event: str, temporary: bool = False) -> None:
    """Keep it in the record, unless its last word there is the same."""
    if project is None:
        return
    facts = deployed.recorded | {"event": event, "moment": now()}
    mine = [e.facts for e in project.entries("deployment") if e.facts.get("name") == deployed.name]
    last = mine[-1] if mine else {}
    kept = bool(last.get("temporary")) if event in ("ready", "resized") else temporary
    known = {"found": ("asked", "ready", "found", "resized"), "ready": ("ready",)}.get(event, ())
    if last.get("event") in known and (temporary or kept == last.get("temporary")):
        return
    project.record("deployment", **facts, temporary=kept)


def now() -> float:
    """This moment, in seconds since 1970."""
    return time.time()


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


# Asking a tuned model where that takes a deployment: one is found, or made for a day.


@dataclass(frozen=True, repr=False)
class Answering(Facts):
    """Who answers for tuned models: the client to ask them with by their own names, and through what."""

    caption = "Who answers"
    client: "OpenAI"
    through: Mapping[str, str]
    """The deployments by the models that they serve; empty where models answer by their own names."""
    project: Project
    temporary: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, object]:
        """Each model, with its deployment."""
        return dict(self.through) or {provider_of(self.client).name: "models answer by their own names"}

    def end(self) -> None:
        """Remove what was deployed to be judged, and nothing else."""
        for name in self.temporary:
            remove(self.client, name, project=self.project)


def answering(
    client: "OpenAI",
    project: Project,
    *models: str,
    name: str | None = None,
    deploy: bool = False,
) -> Answering:
    """Have these tuned models answer: where the service wants a deployment, the one that is there is taken.

    ``name``: a deployment that you made, of the first model. Where there is none and ``deploy`` is true, one
    is made in the Developer tier (24 hours, no hosting fee) where the model can have it, else in the cheapest
    SKU, and ``end()`` removes it. Where ``deploy`` is false, a ``SetupError`` says what it would cost.
    """
    where, owner = provider_of(client), owner_of(str(client.base_url.host))
    tuned = [model for model in models if base_name(model) != model]
    rehearsed = where.azure and owner is not None and owner.runs_here
    if not (where.deploy_before_use and tuned) or (rehearsed and not _probe(client, tuned[0])):
        return Answering(client, {}, project)  # a rehearsal asks for deployments only where it is strict
    if name is not None:
        return Answering(_routed(client, {tuned[0]: name}), {tuned[0]: name}, project)
    there = {one.model.lower(): one.name for one in deployments(client) if one.state == "Succeeded"}
    through = {model: there[model.lower()] for model in models if model.lower() in there}
    missing = [model for model in tuned if model not in through]
    plans = [plan_deployment(client, model, project=project) for model in missing]
    if plans and not deploy:
        raise SetupError(
            f"At {where.name} a tuned model answers only when it is deployed. Set DEPLOY = True to deploy "
            "it until this notebook is done, or DEPLOYMENT to the name of yours. It would be: "
            f"{plans[0].verdict}"
        )
    for plan in plans:
        *_, ready = follow(client, _for_a_while(client, plan, project), project=project)
        through[plan.model] = ready.name
    made = {str(e.facts["name"]): bool(e.facts.get("temporary")) for e in project.entries("deployment")}
    temporary = tuple(each for each in through.values() if made.get(each))
    return Answering(_routed(client, through), through, project, temporary)


def _for_a_while(client: "OpenAI", plan: DeploymentPlan, project: Project) -> Deployed:
    return deploy(client, plan, project=project, agreed=True, temporary=True)


def _routed(client: "OpenAI", through: Mapping[str, str]) -> "OpenAI":
    """A copy of the client that asks deployments where models are named."""
    copy = type(client).copy(client)
    management = vars(client).get("workbench_management")
    return carrying(copy, provider_of(client), management=management, deployments=through)


# Before and after a release: was the check passed, does the deployment answer as the model was judged?


def released(project: Project, override_reason: str | None = None) -> Entry:
    """The comparison of 06_evaluate that allows a deployment; an override with its reason is recorded.

    ``SetupError`` where the release check was not passed and no reason is given.
    """
    judged = project.need("comparison", "06_evaluate")
    gate = judged.facts.get("gate")
    check = gate if isinstance(gate, Mapping) else {}
    result = str(check.get("result", "not made"))
    if result == "passed":
        return judged
    verdict = str(check.get("verdict", "The release check was not made."))
    if not override_reason:
        raise SetupError(
            f"{verdict} Better the model and run 06_evaluate again, or set OVERRIDE_REASON to the reason why "
            "it is deployed all the same; the reason goes into the record."
        )
    model = str(judged.facts["tuned_model"])
    project.record("override", model=model, release_check=result, verdict=verdict, reason=override_reason)
    return judged


class _Item(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def score(self) -> float: ...


class _Answers(Protocol):
    @property
    def items(self) -> Sequence[_Item]: ...
    @property
    def score(self) -> float: ...
    @property
    def interval(self) -> tuple[float, float]: ...
    @property
    def prompt_tokens(self) -> float: ...
    @property
    def cached_tokens(self) -> float: ...
    @property
    def completion_tokens(self) -> float: ...


@dataclass(frozen=True, repr=False)
class Parity(Shown):
    """Does a deployment answer as the model did when it was judged?"""

    items: int
    same: int
    before: float
    now: float
    low: float
    high: float
    different: tuple[tuple[str, str], ...] = ()
    """The answers that differ: then, and now."""
    prompt_tokens: int = 0
    """Of all questions asked now; the ledger counts them, and the two below."""
    cached_tokens: int = 0
    completion_tokens: int = 0

    @property
    def share(self) -> float:
        """The share of equal answers; ``nan`` without common questions."""
        return self.same / self.items if self.items else math.nan

    @property
    def holds(self) -> bool:
        """Whether the score then, on the same questions, lies in the 95 % interval of the score now."""
        rounding = 1e-9  # Wilson's bound of 0 of 12 is 1e-17
        return self.items > 0 and self.low - rounding <= self.before <= self.high + rounding

    @property
    def verdict(self) -> str:
        """It in a sentence."""
        equal = f"{self.same} of {self.items} answers are the same as when the model was judged"
        scores = f"{100 * self.before:.1f} % right then, {100 * self.now:.1f} % now"
        end = "which chance explains" if self.holds else "which is more than chance: read what differs"
        return f"{equal}; {scores}, {end}." if self.items else "No question is common to both."

    @property
    def facts(self) -> dict[str, JSON]:
        """What the project's record keeps of it."""
        kept = ("items", "same", "share", "before", "now", "holds")
        tokens = ("prompt_tokens", "cached_tokens", "completion_tokens")
        return {name: getattr(self, name) for name in (*kept, *tokens)}

    def tables(self) -> Iterator[Table]:
        """The verdict, with answers that differ."""
        yield self.verdict, ("answered then", "answers now"), self.different[:10]


def parity(before: _Answers, now: _Answers) -> Parity:
    """Compare the answers of a deployment with those of the evaluation, question by question."""
    then = {item.id: item for item in before.items}
    pairs = [(then[item.id], item) for item in now.items if item.id in then]
    different = tuple((old.answer, new.answer) for old, new in pairs if old.answer != new.answer)
    scores = [old.score for old, _ in pairs if not math.isnan(old.score)]
    same, score = len(pairs) - len(different), fmean(scores) if scores else math.nan
    means = (now.prompt_tokens, now.cached_tokens, now.completion_tokens)
    tokens = [round(mean * len(now.items)) for mean in means]
    return Parity(len(pairs), same, score, now.score, *now.interval, different, *tokens)


def snippet(client: "OpenAI", deployed: Deployed) -> str:
    """How a program and a shell ask it; keys are named, never shown."""
    base, where = str(client.base_url), provider_of(client)
    python = (
        "import os\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{base}", api_key=os.environ["{where.key_setting}"])\n'
        f'answer = client.chat.completions.create(model="{deployed.name}",\n'
        '    messages=[{"role": "user", "content": "…"}])\nprint(answer.choices[0].message.content)'
    )
    message = {"role": "user", "content": "…"}
    body = json.dumps({"model": deployed.name, "messages": [message]}, ensure_ascii=False)
    curl = (
        f'curl {base}chat/completions -H "Authorization: Bearer ${where.key_setting}" \\\n'
        f"  -H 'Content-Type: application/json' -d '{body}'"
    )
    return f"{python}\n\n{curl}"
