"""What training costs: the published examples to the cent, ranges by hand, and no guessed price."""

import datetime
from array import array

import pytest

from workbench.dataset.tokens import TokenCounts
from workbench.errors import DataError, SetupError
from workbench.training.cost import Grading, Range, estimate

IN_SPRING = datetime.date(2026, 4, 1)
TODAY = datetime.date(2026, 11, 22)


def counts(examples: int, tokens: int, *, exact: bool = False) -> TokenCounts:
    each = array("q", [tokens // examples] * examples)
    return TokenCounts("x", "gpt-4.1", "sft", "by hand", exact, 65_536, each, each)


# Microsoft's worked examples (fine-tuning cost management, 2025-07-08 and 2026-03-19)


def test_a_million_tokens_twice_at_two_dollars_cost_four():
    found = estimate(1_000_000, model="gpt-4.1", n_epochs=2, price=2.0)
    assert found.usd == Range(4.0, 4.0, 4.0)
    assert str(found) == "Training gpt-4.1 (sft) costs $4.00"
    assert found.notes == ()


def test_at_the_meters_price_they_cost_fifty_dollars():
    found = estimate(1_000_000, model="gpt-4.1", n_epochs=2, on=datetime.date(2026, 9, 1))
    assert (found.usd, found.notes) == (Range(50.0, 50.0, 50.0), ())


def test_four_hours_of_reinforcement_cost_four_hundred_dollars():
    assert estimate(0, model="o4-mini", method="rft", hours=4, on=IN_SPRING).likely == 400.0


def test_a_model_as_grader_costs_ten_percent_over_its_base():
    # The worked example reckons 27.06 for these tokens at the base's price; the meter is at 1.1 of it.
    grading = Grading("o3-mini", 5_000_000, 4_900_000)
    found = estimate(0, model="o4-mini", method="rft", hours=4, grading=grading, on=IN_SPRING)
    assert found.likely == pytest.approx(400 + 27.06 * 1.1)
    assert "costs $429.77" in str(found)


def test_hours_are_billed_with_two_decimals():
    assert estimate(0, model="o4-mini", method="rft", hours=1.2549, on=IN_SPRING).likely == 125.0


def test_a_real_preference_job_of_2750_rows_read_its_tokens_three_times():
    # 7,223,000 tokens were billed: about 875 a row and epoch (a saved run of January 2026).
    found = estimate(7_223_000 // 3, model="gpt-4.1", method="dpo", n_epochs=3, price=1.0)
    assert found.likely == pytest.approx(7.22, abs=0.005)


# Epochs and training types


@pytest.mark.parametrize(
    ("examples", "epochs"),
    [
        (99, (3, 4, 5)),
        (100, (2, 3, 3)),
        (499, (2, 3, 3)),
        (500, (1, 2, 2)),
        (2_000, (1, 2, 2)),
        (2_001, (1, 1, 1)),
    ],
)
def test_without_epochs_the_size_of_the_data_gives_a_range(examples, epochs):
    found = estimate(counts(examples, examples * 1_000), model="gpt-4.1", price=1_000.0)
    assert found.usd == pytest.approx([examples * n for n in epochs])
    assert found.inputs[1].source == "Microsoft's fine-tuning skill for Foundry (2026-08-20), rule of thumb"


def test_standard_training_has_the_prices_of_the_regions_where_it_is_done():
    found = estimate(1_000_000, model="gpt-4.1", n_epochs=1, training_type="standard", on=IN_SPRING)
    assert found.usd == pytest.approx((27.5, 28.875, 30.25))  # North Central US, Sweden Central
    assert found.inputs[-1].value == "$27.50 to $30.25 per 1M tokens, by region"
    there = {"training_type": "standard", "region": "Sweden Central"}
    assert estimate(1_000_000, model="gpt-4.1", n_epochs=1, **there).usd == Range(30.25, 30.25, 30.25)


def test_without_a_price_standard_is_what_global_is_ten_to_thirty_percent_below(home):
    home.mkdir()
    source = '[source.x]\ntitle = "x"\ndate = 2026-11-01\n'
    price = (
        '[[price]]\nmodel = "Qwen3-32B"\nservice = "azure"\ntraining_type = "globalStandard"\nsource = "x"\n'
    )
    (home / "prices.toml").write_text(f"{source}{price}usd = {{ training = 2.0 }}\n", encoding="utf-8")
    found = estimate(1_000_000, model="Qwen3-32B", n_epochs=1, training_type="standard")
    assert found.usd == pytest.approx((2 / 0.9, 2.5, 2 / 0.7))
    assert str(found) == "Training Qwen3-32B (sft) costs $2.50 (between $2.22 and $2.86)"


def test_the_developer_tier_is_half_of_global():
    assert estimate(1_000_000, model="gpt-4.1", n_epochs=1, training_type="developerTier").likely == 12.5


def test_a_price_of_your_own_is_taken_as_it_is():
    found = estimate(2_000_000, model="gpt-4.1-mini", n_epochs=1, training_type="standard", price=0.8)
    assert found.usd == Range(1.6, 1.6, 1.6)
    assert found.inputs[-1] == ("price", "$0.80 per 1M tokens", "given by you")
    assert found.notes == ()


def test_on_this_machine_training_costs_nothing():
    assert estimate(counts(50, 5_000, exact=True), model="nano").usd == Range(0, 0, 0)
    assert estimate(5_000, model="gpt-4.1", n_epochs=1, service="local").likely == 0


# What is not known


def test_a_price_that_is_not_in_the_catalogue_is_not_guessed():
    found = estimate(1_000_000, model="Qwen3-32B", n_epochs=3, on=TODAY)
    assert (found.usd, found.likely) == (None, None)
    assert str(found) == "Training Qwen3-32B (sft): the price is not known"
    assert found.notes == (
        "The price of training Qwen3-32B at azure (globalStandard) is not in the catalogue; give price= "
        "in US dollars per 1M tokens.",
    )


@pytest.mark.parametrize("training_type", ["dataZone", "interactive"])
def test_no_rule_tells_the_price_of_other_training_types(training_type):
    found = estimate(1, model="gpt-5.6-luna", n_epochs=1, training_type=training_type, on=IN_SPRING)
    assert found.usd is None


def test_without_hours_reinforcement_has_no_sum():
    found = estimate(0, model="o4-mini", method="rft", on=IN_SPRING)
    assert found.usd is None
    assert "give hours=, from a short run on a few examples." in found.notes[-1]


def test_a_grader_without_a_price_leaves_the_sum_open():
    found = estimate(0, model="o4-mini", method="rft", hours=1, grading=Grading("gpt-5", 1, 1), on=IN_SPRING)
    assert found.usd is None
    assert found.notes[-1] == "What gpt-5 costs as a grader at azure is not in the catalogue."


def test_an_old_price_says_so():
    (note,) = estimate(1, model="gpt-4.1", n_epochs=1, on=datetime.date(2026, 11, 10)).notes
    assert note.startswith(
        "The price is of 2026-08-11, more than 90 days old: look it up ('python -m workbench"
    )
    assert estimate(1, model="gpt-4.1", n_epochs=1, on=datetime.date(2026, 11, 9)).notes == ()


def test_approximate_counts_and_the_cap_on_reinforcement_are_told():
    approximate = estimate(counts(10, 100), model="gpt-4.1", on=IN_SPRING).notes
    assert approximate == ("The service counts by a rule that is not published; its bill differs a little.",)
    capped = estimate(0, model="o4-mini", method="rft", hours=50.01, on=IN_SPRING).notes[-1]
    assert capped.startswith("Azure pauses the job at $5,000")
    assert "pauses" not in "".join(estimate(0, model="o4-mini", method="rft", hours=50, on=IN_SPRING).notes)


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_epochs": 0}, "n_epochs is 0; give 1 or more"),
        ({"price": -1.0}, "price is -1.0; give 0 or more"),
        ({"price": float("nan")}, "price is nan; give 0 or more"),
        ({"method": "rlhf"}, "no method 'rlhf'; choose sft, dpo, rft"),
        ({}, "Give n_epochs, or count_tokens"),
    ],
)
def test_impossible_values_are_refused_by_name(arguments, message):
    with pytest.raises(DataError, match=message):
        estimate(1_000, model="gpt-4.1", **arguments)


def test_an_unknown_service_or_model_is_refused_by_name():
    with pytest.raises(SetupError, match="no provider 'aws'"):
        estimate(1, model="gpt-4.1", n_epochs=1, service="aws")
    with pytest.raises(SetupError, match="no model 'gpt-9'"):
        estimate(1, model="gpt-9", n_epochs=1)


def test_every_number_stands_in_the_table_with_its_source(unstyled):
    html = unstyled(estimate(1_000_000, model="gpt-4.1", n_epochs=2, on=TODAY)._repr_html_())
    assert "<caption>Training gpt-4.1 (sft) costs $50.00</caption>" in html
    assert (
        '<th scope="row">price</th><td>$25.00 per 1M tokens</td>'
        "<td>Azure Retail Prices API (2026-08-11)</td>" in html
    )
    assert '<th scope="row">note</th><td>The price is of 2026-08-11' in html
