"""Payback: the worked examples come out to the cent, and "never" is never a number."""

import json
import re
from dataclasses import replace

import jsonschema
import pytest

from workbench.catalog.models import DAYS_A_MONTH
from workbench.decide.payback import Caching, Option, Quality, compared, over_time, payback, schema
from workbench.errors import DataError

# gpt-4.1-mini by OpenAI's price list of autumn 2026; Azure bills a tuned model's tokens like the base's.
LONG = Option("long prompt", 3000, 200, 0.40, 1.60, cached_price=0.10)
TUNED = Option("tuned, OpenAI", 600, 200, 0.80, 3.20, cached_price=0.20, training=15)
HOSTED = Option("tuned, Azure", 600, 200, 0.40, 1.60, training=6, hosting_per_hour=1.70)


def test_a_shorter_prompt_pays_for_itself():
    found = compared(LONG, TUNED, requests_per_month=500_000, horizon=12)
    assert (LONG.per_request, TUNED.per_request) == (pytest.approx(0.00152), pytest.approx(0.00112))
    assert found.break_even_requests == pytest.approx(3_125)
    assert found.saving == pytest.approx(2_385)
    assert found.payback_months == pytest.approx(15 / 200)


def test_prompt_caching_turns_it_round():
    cached = replace(LONG, caching=Caching(prefix_tokens=2304, hit_rate=0.9))
    found = compared(cached, TUNED, requests_per_month=500_000, horizon=12)
    assert cached.per_request == pytest.approx(0.000898, abs=5e-7)
    assert (found.break_even_requests, found.payback_months) == (None, None)
    assert round(found.saving) == -1_347


def test_hosting_by_the_hour_sets_the_break_even():
    found = compared(LONG, HOSTED, requests_per_month=500_000, horizon=12)
    assert round(found.break_even_requests) == 1_293_229
    assert round(found.saving) == -9_138
    assert found.payback_months is None


def test_a_base_model_that_retires_soon_cuts_the_time_to_pay_back():
    short = replace(TUNED, labour=6000, months_of_service=53 / DAYS_A_MONTH)
    found = compared(LONG, short, requests_per_month=100_000, horizon=12)
    assert round(found.break_even_requests) == 8_635_923
    assert round(found.saving) == -5_945
    assert found.months == pytest.approx(1.7413, abs=1e-4)


def test_shorter_answers_for_half_a_year():
    base = Option("long answers", 1100, 240, 0.40, 1.60)
    tuned = Option("short answers", 900, 80, 0.40, 1.60, training=12, labour=5000, hosting_per_hour=1.70)
    found = compared(base, tuned, requests_per_month=2_000_000, horizon=6)
    assert (base.per_request, tuned.per_request) == (pytest.approx(0.000824), pytest.approx(0.000488))
    assert round(found.break_even_requests) == 6_179_563
    assert round(found.saving) == -8_426


def test_a_smaller_tuned_model_in_place_of_a_large_cached_one():
    base = Option("gpt-4.1", 1100, 400, 2.00, 8.00, cached_price=0.50, caching=Caching(1024, 0.9))
    tuned = Option("4.1-mini", 1100, 400, 0.80, 3.20, training=360, labour=4000, retrain_every_months=6)
    found = compared(base, tuned, requests_per_month=3_000_000, horizon=24)
    assert (base.per_request, tuned.per_request) == (pytest.approx(0.0040176), pytest.approx(0.00216))
    assert round(found.break_even_requests) == 391_186
    assert round(found.saving) == 116_307


def test_a_dearer_tuned_model_must_buy_quality():
    base = Option("o3", 1500, 2000, 2.00, 8.00)
    tuned = Option("o4-mini, RFT", 1500, 1200, 4.00, 16.00, training=400)
    found = compared(base, tuned, requests_per_month=200_000, horizon=12)
    assert (base.per_request, tuned.per_request) == (pytest.approx(0.019), pytest.approx(0.0252))
    assert found.break_even_requests is None


def test_few_requests_never_carry_the_hosting():
    found = compared(LONG, replace(HOSTED, labour=2000), requests_per_month=10_000, horizon=12)
    assert round(found.break_even_requests) == 1_466_840
    assert round(found.saving) == -16_783


def test_retraining_is_paid_at_the_start_and_at_each_turn():
    retrained = replace(TUNED, labour=4000, retrain_every_months=6)
    assert [retrained.trainings(months) for months in (0, 1, 6, 6.1, 24)] == [0, 1, 1, 2, 4]
    assert retrained.fixed(24) == 4 * 4015


def test_the_service_s_published_month_and_training_come_out():
    # Azure, cost management page of 19 March 2026: a hosted o4-mini, and reinforcement of four hours.
    month = Option("o4-mini", 1, 2, 1.10, 4.40, hosting_per_hour=1.70 * 720 / 730)
    assert month.cost(20_000_000, 1) == pytest.approx(1_422)


def test_a_short_prefix_is_not_cached_and_a_long_one_in_blocks():
    assert Caching(1023, 1.0).tokens == 0
    assert Caching(1024, 0.5).tokens == 512
    assert Caching(1200, 1.0).tokens == 1152


def test_a_better_answer_is_worth_money_too():
    base, better = replace(LONG, accuracy=0.80), replace(HOSTED, accuracy=0.85)
    found = compared(base, better, requests_per_month=10_000, horizon=12, quality=Quality(1, 1))
    assert found.saving == pytest.approx(12 * (10_000 * (0.00096 + 0.05 * 2) - 1241) - 6)


def test_nothing_more_is_paid_once_a_way_is_switched_off():
    short = replace(HOSTED, months_of_service=2)
    two, six = over_time(short, requests_per_month=1000, months=[2, 6])
    assert two == six == pytest.approx(6 + 2 * (1241 + 0.56))


CASE = {
    "base": {
        "name": "long prompt",
        "prompt_tokens": 3000,
        "completion_tokens": 200,
        "input_price": 0.40,
        "output_price": 1.60,
    },
    "ways": [
        {
            "name": "tuned",
            "prompt_tokens": 600,
            "completion_tokens": 200,
            "input_price": 0.80,
            "output_price": 3.20,
            "training": 15,
        }
    ],
    "requests_per_month": 500_000,
}


def case(**changed: object) -> dict[str, object]:
    return CASE | changed


def test_a_case_from_a_file_gives_the_same_numbers():
    found = payback(CASE)
    assert found.best.saving == (pytest.approx(2_385),) * 3
    assert repr(found) == "tuned saves $2,385 in 12 months."


def test_an_uncertain_figure_gives_low_likely_and_high():
    outlook = payback(case(requests_per_month=[1_000, 500_000, 1_000_000])).outlooks[0]
    assert [round(saving) for saving in outlook.saving] == [-10, 2_385, 4_785]
    assert outlook.sentence.startswith("tuned may pay or not: −$10 to $4,785 in 12 months")


def test_what_never_pays_is_never():
    way = CASE["ways"][0] | {"prompt_tokens": 3000}
    found = payback(case(ways=[way]))
    assert (found.best, found.outlooks[0].break_even_requests) == (None, (None, None, None))
    assert repr(found).startswith("tuned never pays: it costs $")
    assert "<td>never</td>" in re.sub(' style="[^"]*"', "", found._repr_html_())


def test_too_few_requests_are_told_how_many_it_would_take():
    found = payback(case(requests_per_month=1_000))
    assert repr(found) == (
        "tuned does not pay: it costs $10 more in 12 months; from 3,125 requests a month it would."
    )


def test_a_span_of_days_is_told_in_days_and_nothing_in_no_months():
    found = payback(CASE)
    assert found.outlooks[0].payback_months[1] == pytest.approx(0.075)
    assert "<td>2 days</td>" in re.sub(' style="[^"]*"', "", found._repr_html_())
    soon = payback(case(ways=[CASE["ways"][0] | {"months_of_service": 0.02}]))
    assert repr(soon) == (
        "tuned does not pay: it costs $11 more in less than a day; from 1,875,000 requests a month it would."
    )
    gone = payback(case(ways=[CASE["ways"][0] | {"months_of_service": 0}]))
    assert repr(gone) == "tuned cannot be used: its model is switched off."
    assert gone.facts["ways"][0]["payback_months"] == [None, None, None]
    assert repr(payback(case(horizon=0))).endswith("nothing to compare; give a horizon.")


def test_without_requests_a_way_that_costs_nothing_makes_no_difference():
    free = payback(case(requests_per_month=0, ways=[CASE["ways"][0] | {"training": 0}]))
    assert repr(free) == "tuned neither saves nor costs anything in 12 months."


def test_a_cheaper_way_that_answers_worse_says_so():
    base, way = CASE["base"] | {"accuracy": 0.92}, CASE["ways"][0] | {"accuracy": 0.81}
    assert repr(payback(case(base=base, ways=[way]))) == (
        "tuned saves $2,385 in 12 months. It answers worse: 81.0 % right in place of 92.0 %."
    )
    as_good = payback(case(base=base, ways=[way | {"accuracy": 0.92}]))
    assert repr(as_good) == "tuned saves $2,385 in 12 months."


def test_its_facts_are_json_and_its_schema_takes_the_case():
    found = payback(CASE)
    assert json.loads(json.dumps(found.facts))["best"] == "tuned"
    jsonschema.validate(case(requests_per_month=[1, 2, 3]), schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(case(requests_per_month=-1), schema())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"base": CASE["base"] | {"input_price": -1}}, "base.input_price is -1; it should be 0 or more."),
        ({"ways": []}, "ways is []; it should hold 1 or more."),
        ({"requests_per_month": 1e308}, "requests_per_month is 1e+308; it should be 1e+12 or less."),
        ({"horizon": 1e9}, "horizon is 1000000000.0; it should be 600 or less."),
        (
            {"base": CASE["base"] | {"caching": {"prefix_tokens": 2304, "hit_rate": 0.9, "block": 0}}},
            "base.caching.block is 0; it should be 1 or more.",
        ),
        (
            {"ways": [CASE["ways"][0] | {"retrain_every_months": 0}]},
            "ways[0].retrain_every_months is 0; it should be 0.1 or more.",
        ),
        ({"ways": [{"name": "x"}]}, "ways[0].prompt_tokens is missing."),
        ({"horizont": 3}, "horizont is not known; there are base, ways, requests_per_month, "),
        ({"requests_per_month": [3, 2, 1]}, "requests_per_month is [3, 2, 1]; give a number, or low, likely"),
        ({"quality": {"value_of_success": 1}}, "quality.cost_of_failure is missing."),
        (
            {"base": CASE["base"] | {"caching": {"hit_rate": 90}}},
            "base.caching.hit_rate is 90; it should be 1",
        ),
    ],
)
def test_a_case_that_cannot_be_is_refused_by_name(changed: dict[str, object], message: str):
    with pytest.raises(DataError) as caught:
        payback(case(**changed))
    assert str(caught.value).startswith(message)


def test_quality_with_one_accuracy_says_whose_is_missing():
    tokens = {"prompt_tokens": 300, "completion_tokens": 20}
    base = {"name": "base", **tokens, "input_price": 1, "output_price": 4}
    case = {
        "base": base | {"accuracy": 0.8},
        "ways": [base | {"name": "tuned"}],
        "requests_per_month": 1000,
        "quality": {"value_of_success": 1, "cost_of_failure": 1},
    }
    with pytest.raises(DataError, match="worth, and tuned has no accuracy; give each of base and ways"):
        payback(case)
    case["ways"][0]["accuracy"] = 0.9
    assert payback(case).best.likely.way.name == "tuned"


def test_the_first_training_is_paid_before_the_first_month():
    way = replace(HOSTED, training=6.0, labour=100.0)
    costs = over_time(way, requests_per_month=0, months=[0, 1])
    assert costs == [106.0, pytest.approx(106 + 1.70 * 730)]
    assert over_time(replace(way, months_of_service=0), requests_per_month=0, months=[0, 1]) == [0.0, 0.0]
