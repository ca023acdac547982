"""What the catalogue says of tuning a model: who can train it, how long it is served, what it would cost.

Apart because a payback itself knows no catalogue: its case may come from a file with prices of one's own.
"""

import datetime
import math
from collections.abc import Iterator, Mapping
from typing import Any

from workbench import catalog
from workbench.catalog.methods import METHODS
from workbench.catalog.models import Model
from workbench.catalog.providers import runs_here
from workbench.decide.payback import Case, NoPayback, Option, Payback, compared, payback
from workbench.decide.situation import Value, made
from workbench.errors import SetupError


def known_of(
    model: str, *, service: str, existing_customer: bool | None = None, on: datetime.date | None = None
) -> Mapping[str, Value]:
    """Fields of a ``Situation``: whether it can be trained there, with a grader too, and months of service.

    ``existing_customer``: whether you are one there; ``None``: not known, and then whether a model that is
    closed to new customers can be trained is not known either. ``on=None`` is today.
    """
    on = on or datetime.date.today()
    known = catalog.model(model)
    found = {
        "trainable": known.trainable(on, existing_customer=existing_customer, service=service),
        "grader_trainable": _takes_a_grader(known, service),
        "months_of_service": (
            "unlimited" if runs_here(service) else known.months_of_service(on, service=service)
        ),
    }
    return {name: value for name, value in found.items() if value is not None}


def _takes_a_grader(known: Model, service: str) -> bool | None:
    if runs_here(service):
        return METHODS["reinforcement"].trained_locally
    return None if known.methods is None else "rft" in known.methods


def tuning_case(
    model: str,
    *,
    service: str,
    long_prompt: float,
    short_prompt: float,
    answer: float,
    training: float | None,
    labour: float = 0.0,
    requests_per_month: float,
    horizon: float = 12.0,
    smaller: str | None = None,
    existing_customer: bool | None = None,
    on: datetime.date | None = None,
) -> Case:
    """Compare the best prompt with tuning: the model itself, a smaller one in its place, or another base.

    ``long_prompt``, ``short_prompt`` and ``answer`` are mean tokens, ``training`` and ``labour`` US
    dollars, ``horizon`` months. ``smaller``: the model to tune in place of prompting this one, the concept
    page's own argument; ``None`` takes the one that pays first among those that you can train. Nothing that
    is switched off, or that you cannot train, is among the ways. Prices and the end of service are the
    catalogue's; a price that it does not have, and a ``training`` of ``None``, is a ``SetupError``: nothing
    is taken for free. ``on`` is the day of the prices; ``None`` is today.
    """
    if training is None:
        raise SetupError(
            f"The price of training {model} at {service} is not known; put it into a file of your own "
            "(WORKBENCH_PRICES in .env.example), or reckon with another model."
        )
    on = on or datetime.date.today()
    known = catalog.model(model)
    life = known.life(service)
    if life is not None and life.is_retired(on):
        instead = f" {life.successor} is recommended in its place." if life.successor else ""
        raise SetupError(
            f"{known.name} is no longer served at {service} (since {life.base_retires or 'an unknown day'}), "
            f"so there is nothing to save; reckon with a model that is.{instead}"
        )

    def way(
        name: str, of: str, where: str, prompt: float, *, tuned: bool, **more: float | str | None
    ) -> Option:
        prices = catalog.way_prices(of, service=where, tuned=tuned)
        tokens = {"prompt_tokens": prompt, "completion_tokens": answer}
        return made(Option, {"name": name, **tokens, **prices, **more})

    def tuned(name: str, of: Model, training: float, note: str) -> Option:
        left = of.months_of_service(on, service=service)
        more = {"training": training, "labour": labour, "months_of_service": left, "note": note}
        return way(name, of.name, service, short_prompt, tuned=True, **more)

    months = life.months_of_base(on) if life else None
    ends = life.base_retires if life and months is not None and months < horizon else None
    until = f"{known.name} itself is served at {service} until {ends} only." if ends else ""
    base = way(f"{model}, best prompt", model, service, long_prompt, tuned=False, note=until)
    ways = []
    can = known.trainable(on, existing_customer=existing_customer, service=service)
    if can is not False and known.months_of_service(on, service=service) != 0:
        ways.append(tuned(f"{model}, tuned", known, training, "" if can else _WHO_CAN))
    found = []
    for other in [catalog.model(smaller)] if smaller else _smaller(known, service, existing_customer, on):
        price = _training_share(other, known, service)
        if price is None:
            if smaller:
                raise SetupError(
                    f"The price of training {other.name} at {service} is not known; name another."
                )
            continue
        found.append(tuned(f"{other.name} tuned in its place", other, training * price, _MEASURE))
    pays = {
        way.name: compared(base, way, requests_per_month=1, horizon=horizon).break_even_requests
        for way in found
    }
    ways += sorted(found, key=lambda way: pays[way.name] or math.inf)[:1]
    offer = catalog.cheapest_base(
        on, prompt_tokens=long_prompt, completion_tokens=answer, existing_customer=existing_customer
    )
    if offer is not None and offer.model.name != known.name:
        name, end = f"switch to {offer.model.name} at {offer.service}", offer.model.life(offer.service)
        left = end.months_of_base(on) if end else None
        more = {"months_of_service": left, "note": _MEASURE}
        ways.append(way(name, offer.model.name, offer.service, long_prompt, tuned=False, **more))
    if not ways:
        raise SetupError(
            f"Nothing stands beside prompting {known.name} at {service}: it cannot be trained there, and no "
            "other model with known prices can; reckon with another model."
        )
    return Case(base, tuple(ways), requests_per_month, horizon)


def tuning_payback(model: str, *, service: str, **terms: Any) -> Payback | NoPayback:
    """The payback of ``tuning_case``, whose terms it takes; where a price is missing, why there is none."""
    try:
        case = tuning_case(model, service=service, **terms)
    except SetupError as error:
        return NoPayback(str(error))
    return payback(case)


_MEASURE = "Measure first whether it answers as well."
_WHO_CAN = "Only existing customers can train it."


def _smaller(
    known: Model, service: str, existing_customer: bool | None, on: datetime.date
) -> Iterator[Model]:
    """Models with cheaper tokens that you can train there on that day, all their prices known."""
    if runs_here(service):
        return
    ours = catalog.way_prices(known.name, service=service, tuned=False)
    for other in catalog.models():
        if other.name == known.name or "sft" not in (other.methods or ()):
            continue
        if other.trainable(on, existing_customer=existing_customer is True, service=service) is False:
            continue
        try:
            theirs = catalog.way_prices(other.name, service=service, tuned=True)
        except SetupError:  # its prices are not published
            continue
        if all(theirs[name] < ours[name] for name in ("input_price", "output_price")):
            yield other


def _training_share(other: Model, known: Model, service: str) -> float | None:
    """What the same training costs on another model, as a share: both are billed by the token."""
    theirs, ours = (each.price("training", service=service) for each in (other, known))
    return theirs.usd / ours.usd if theirs and ours and ours.usd else None
