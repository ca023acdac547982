"""What the catalogue tells a decision: dated facts, and nothing where no source tells."""

import datetime

import pytest

from workbench.catalog.methods import METHODS
from workbench.decide.payback import payback
from workbench.decide.tuning_costs import known_of, tuning_case, tuning_payback
from workbench.errors import SetupError

DAY = datetime.date(2026, 11, 22)
TODAY = datetime.date(2026, 11, 30)


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
    known = known_of("gpt-4.1-mini", service="azure", existing_customer=True, on=DAY)
    months = pytest.approx(10.71, abs=0.005)
    assert known == {"trainable": True, "grader_trainable": False, "months_of_service": months}


def test_whether_a_closed_model_can_be_tuned_depends_on_who_asks():
    months = {"grader_trainable": False, "months_of_service": pytest.approx(10.71, abs=0.005)}
    assert known_of("gpt-4.1-mini", service="azure", on=DAY) == months
    told = known_of("gpt-4.1-mini", service="azure", existing_customer=False, on=DAY)
    assert told == {"trainable": False, **months}
    open_weights = known_of("gpt-oss-20b", service="azure", existing_customer=False, on=DAY)
    assert open_weights == {"trainable": True, "grader_trainable": False}


def test_on_this_machine_nothing_ends():
    known = known_of("nano", service="local", on=DAY)
    assert (known["trainable"], known["months_of_service"]) == (True, "unlimited")


def test_which_models_can_be_trained_with_a_grader_is_looked_up():
    assert known_of("o4-mini", service="azure", on=DAY)["grader_trainable"] is True
    assert known_of("gpt-4.1", service="azure", on=DAY)["grader_trainable"] is False
    assert (
        known_of("nano", service="local", on=DAY)["grader_trainable"]
        is METHODS["reinforcement"].trained_locally
    )


def test_the_tuned_way_has_hosting_the_short_prompt_and_an_end():
    base, tuned = case().base, case().ways[0]
    assert (base.prompt_tokens, base.hosting_per_hour) == (3000, 0)
    assert (tuned.prompt_tokens, tuned.hosting_per_hour, tuned.training) == (600, 1.7, 6)
    assert tuned.months_of_service == pytest.approx(10.71, abs=0.005)
    assert (tuned.input_price, tuned.output_price) == (2.0, 8.0)


def test_switching_the_base_model_is_always_among_the_ways():
    switched = case().ways[-1]
    assert switched.name == "switch to gpt-6-luna at openai"
    assert (switched.prompt_tokens, switched.training) == (3000, 0)
    assert payback(case()).best.likely.way.name == "switch to gpt-6-luna at openai"


SHORT = {"long_prompt": 475, "short_prompt": 35, "answer": 24, "labour": 2_000, "on": TODAY}


def test_a_smaller_tuned_model_pays_where_tuning_the_large_one_does_not():
    _, smaller, _ = payback(case(**SHORT)).outlooks
    assert smaller.likely.way.name == "gpt-oss-20b tuned in its place"
    assert smaller.likely.way.prompt_tokens == 35
    assert smaller.likely.way.training == pytest.approx(6 * 3.60 / 25)  # the same tokens at its price
    assert round(smaller.break_even_requests[1], -4) == 340_000
    assert smaller.sentence.endswith("Measure first whether it answers as well.")
    (itself, *_) = payback(case(**SHORT)).outlooks
    assert round(itself.break_even_requests[1], -4) == 1_630_000
    assert itself.sentence.endswith("Only existing customers can train it.")
    assert repr(payback(case(**SHORT))).endswith("gpt-4.1 itself is served at azure until 2027-04-14 only.")


def test_the_smaller_model_can_be_named():
    assert case(smaller="Ministral-3B", **SHORT).ways[1].name == "Ministral-3B tuned in its place"
    with pytest.raises(
        SetupError, match=r"^The price of training Qwen3-32B at azure is not known; name another"
    ):
        case(smaller="Qwen3-32B", **SHORT)


def test_a_new_customer_is_offered_only_what_it_can_train():
    names = [way.name for way in case(existing_customer=False, **SHORT).ways]
    assert names == ["gpt-oss-20b tuned in its place", "switch to gpt-6-luna at openai"]


def test_an_existing_customer_may_tune_the_smaller_models_of_the_same_family():
    few = case("gpt-4.1", existing_customer=True, smaller="gpt-4.1-mini", **SHORT).ways[1]
    assert (few.name, few.hosting_per_hour) == ("gpt-4.1-mini tuned in its place", 1.7)


@pytest.mark.parametrize(
    ("model", "service", "sentence"),
    [
        ("gpt-4.1-nano", "azure", "gpt-4.1-nano is no longer served at azure (since 2026-10-14)"),
        ("o4-mini", "openai", "o4-mini is no longer served at openai (since 2026-10-23)"),
    ],
)
def test_what_is_switched_off_is_no_base_and_no_way(model, service, sentence):
    with pytest.raises(SetupError) as refused:
        case(model, **SHORT | {"service": service})
    assert str(refused.value).startswith(sentence)


def test_no_way_is_a_dead_model():
    dead = {"gpt-4.1-nano", "o4-mini", "o3-mini", "o1", "o3"}
    for service in ("azure", "openai"):
        ways = case("gpt-4.1", **SHORT | {"service": service, "existing_customer": True}).ways
        assert not [way.name for way in ways if dead & set(way.name.split())]


def test_a_price_that_is_not_known_is_asked_for():
    with pytest.raises(SetupError, match=r"The catalogue has no .*input_price"):
        case("gpt-oss-20b")


def test_a_training_whose_price_nobody_knows_is_not_free():
    with pytest.raises(
        SetupError, match=r"^The price of training gpt-4.1 at azure is not known; put it into"
    ):
        case(training=None)


def test_the_decision_is_told_when_the_tuned_way_is_paid_back_while_it_is_served():
    base = {"name": "base", "prompt_tokens": 3000, "completion_tokens": 200}
    base |= {"input_price": 0.4, "output_price": 1.6}  # $0.00152 a request
    tuned = base | {"name": "tuned", "prompt_tokens": 500, "training": 100.0}  # $0.00052
    dead = payback({"base": base, "ways": [tuned | {"months_of_service": 1}], "requests_per_month": 50_000})
    assert dead.evidence == {"payback_months": "never", "break_even_requests": pytest.approx(100_000)}
    paid = payback({"base": base, "ways": [base | {"name": "other"}, tuned], "requests_per_month": 50_000})
    assert paid.evidence == {
        "payback_months": pytest.approx(2.0),
        "break_even_requests": pytest.approx(100_000 / 12),
    }
    dearer = payback({"base": tuned, "ways": [base | {"training": 1.0}], "requests_per_month": 50_000})
    assert dearer.evidence == {"payback_months": "never", "break_even_requests": "never"}
    switched = payback({"base": base, "ways": [base | {"name": "other"}], "requests_per_month": 1})
    assert switched.evidence == {}


def test_the_decision_reads_when_tuning_the_model_itself_pays_though_a_smaller_one_would_save_more():
    both = payback(case(**SHORT))
    assert round(both.evidence["break_even_requests"], -4) == 1_630_000
    new = payback(case(existing_customer=False, **SHORT))  # it cannot tune the model itself
    assert round(new.evidence["break_even_requests"], -4) == 340_000


def test_where_a_price_is_missing_payback_is_left_out_and_says_why():
    terms = {**SHORT, "training": None, "requests_per_month": 100_000}
    found = tuning_payback("gpt-4.1", service="azure", **terms)
    assert not found
    assert repr(found).startswith("Payback is left out. The price of training gpt-4.1 at azure is not known")
    assert found.evidence == {}
    assert found.facts == {"left_out": found.reason}
    known = tuning_payback("gpt-4.1", service="azure", **(terms | {"training": 2.0}))
    assert known
    assert known.outlooks[0].likely.way.name == "gpt-4.1, tuned"
