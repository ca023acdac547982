"""What the catalogue tells a decision: dated facts, and nothing where no source tells."""

import datetime

import pytest

from workbench.decide.payback import known_of, payback, tuning_case
from workbench.errors import SetupError

DAY = datetime.date(2026, 11, 22)


def case(model: str = "gpt-4.1", **changed: object):
    facts = {
        "service": "azure",
        "long_prompt": 3000,
        "short_prompt": 600,
        "answer": 200,
        "training": 6,
        "requests_per_month": 500_000,
        "on": DAY,
    }
    return tuning_case(model, **facts | changed)


def test_a_model_that_can_be_tuned_is_served_for_so_many_months():
    known = known_of("gpt-4.1-mini", service="azure", on=DAY)
    assert known == {"trainable": True, "months_of_service": pytest.approx(10.71, abs=0.005)}


def test_on_this_machine_nothing_ends():
    assert known_of("nano", service="local", on=DAY) == {"trainable": True}


def test_the_tuned_way_has_hosting_the_short_prompt_and_an_end():
    base, tuned = case().base, case().ways[0]
    assert (base.prompt_tokens, base.hosting_per_hour) == (3000, 0)
    assert (tuned.prompt_tokens, tuned.hosting_per_hour, tuned.training) == (600, 1.7, 6)
    assert tuned.months_of_service == pytest.approx(10.71, abs=0.005)
    assert (tuned.input_price, tuned.output_price) == (2.0, 8.0)


def test_switching_the_base_model_is_always_among_the_ways():
    switched = case().ways[-1]
    assert switched.name == "switch to gpt-4.1-nano at openai"
    assert (switched.prompt_tokens, switched.training) == (3000, 0)
    assert payback(case()).best.likely.way.name == "switch to gpt-4.1-nano at openai"


def test_a_price_that_is_not_known_is_asked_for():
    with pytest.raises(SetupError, match=r"The catalogue has no .*input_price"):
        case("gpt-oss-20b")


def test_a_training_whose_price_nobody_knows_is_not_free():
    with pytest.raises(
        SetupError, match=r"^The price of training gpt-4.1 at azure is not known; put it into"
    ):
        case(training=None)
