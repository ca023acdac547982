"""Does it pay? Ways of answering the same requests, what they cost over the months, and which one saves.

All money is in US dollars, prices are per million tokens. Every figure is an input: what a price was
when, and who said so, stands in the catalogue.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from workbench.decide.facts import CLOSED, Amount, Share

HOURS_A_MONTH = 730.0  # 365 * 24 / 12; Azure's page reckons with 720


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
    block: Amount = 128

    @property
    def tokens(self) -> float:
        """Cached tokens of a prompt, on average."""
        if self.prefix_tokens < self.minimum:
            return 0.0
        return self.hit_rate * floor(self.prefix_tokens / self.block) * self.block


@dataclass(frozen=True)
class Way:
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
    retrain_every_months: Amount | None = None
    """``None``: trained once."""
    months_of_service: Amount | None = None
    """Until its base model is switched off; ``None``: longer than we look ahead."""
    accuracy: Share | None = None
    """For a gain in quality, the lower end of its interval."""

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

    def gain(self, way: Way, base: Way) -> float:
        """What the better accuracy is worth per request."""
        if way.accuracy is None or base.accuracy is None:
            return 0.0
        return (way.accuracy - base.accuracy) * (self.value_of_success + self.cost_of_failure)


@dataclass(frozen=True)
class Comparison:
    """One way beside the base."""

    way: Way
    months: float
    """Both are used that long."""
    saving: float
    """Over these months; negative when it costs more."""
    break_even_requests: float | None
    """Requests a month from which it pays; ``None``: never."""
    payback_months: float | None
    """Until the first training is paid back; ``None``: never."""


def compared(
    base: Way, way: Way, *, requests_per_month: float, horizon: float, quality: Quality | None = None
) -> Comparison:
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
    first = way.training + way.labour + way.evaluation
    a_month = requests_per_month * each + (base.hosting_per_hour - way.hosting_per_hour) * HOURS_A_MONTH
    back = first / a_month if a_month > 0 else None
    return Comparison(way, months, saving, enough, back)


def over_time(way: Way, *, requests_per_month: float, months: Sequence[float]) -> list[float]:
    """Its cost up to each of these months; no longer than it is served."""
    return [way.cost(requests_per_month, way.months(month)) for month in months]
