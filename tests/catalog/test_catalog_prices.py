"""Prices: by service and training type, your own over the catalogue's, and what a way of answering costs."""

from datetime import date
from pathlib import Path

import pytest

from workbench.catalog.catalog import model
from workbench.catalog.search import cheapest_base, way_prices
from workbench.errors import DataError, SetupError

TODAY = date(2026, 11, 22)
OWN = """
[source.contract]
title = "Our contract"
date = 2026-11-01

[[price]]
model = "gpt-4.1"
service = "azure"
source = "contract"
usd = { training = 1.50, input = 1.90 }
"""


@pytest.fixture
def own(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where your own prices stand when nothing else is said."""
    monkeypatch.setenv("WORKBENCH_PRICES", "")
    home.mkdir()
    return home / "prices.toml"


def test_prices_are_told_by_service_and_training_type(own):
    found = model("gpt-4.1").price("training", service="azure", training_type="globalStandard")
    assert (found.usd, str(found)) == (25.0, "$25.00 per 1M tokens")
    assert str(found.source) == "Azure Retail Prices API (2026-08-11)"
    assert model("gpt-4.1").price("training", service="azure") == found  # what a job takes unless told
    hour = model("o4-mini").price("training_hour", service="azure", training_type="developerTier")
    assert (hour.usd, hour.training_type, str(hour)) == (50.0, "developerTier", "$50.00 per hour")


@pytest.mark.parametrize(
    ("name", "training", "hosting", "asked", "answered"),
    [
        ("gpt-4.1", 25.0, 1.70, 2.0, 8.0),
        ("gpt-4.1-mini", 5.0, 1.70, 0.40, 1.60),
        ("gpt-4.1-nano", 1.5, 1.70, 0.10, 0.40),
        ("gpt-4o", 25.0, 1.70, 2.50, 10.0),
        ("gpt-4o-mini", 3.0, 1.70, 0.15, 0.60),
        ("gpt-oss-20b", 3.60, 0.30, 0.07, 0.30),
        ("Llama-3.3-70B-Instruct", 4.50, 0.30, 0.71, 0.71),
        ("Ministral-3B", 1.0, 0.65, 0.05, 0.15),
    ],
)
def test_azures_prices_are_those_of_its_meters(own, name, training, hosting, asked, answered):
    kinds = ("training", "hosting_hour", "tuned_input", "tuned_output")
    known = [model(name).price(kind, service="azure").usd for kind in kinds]
    assert known == [training, hosting, asked, answered]


def test_a_regions_price_is_told_where_prices_differ(own):
    regional = {"service": "azure", "training_type": "standard"}
    assert model("gpt-4.1").price("training", **regional).usd == 27.5
    assert model("gpt-4.1").price("training", **regional, region="Sweden Central").usd == 30.25
    assert [price.usd for price in model("gpt-4.1").prices_of("training", **regional)] == [27.5, 30.25, 33.0]
    assert model("gpt-4.1").price("training", service="azure", training_type="dataZone").usd == 27.5


def test_a_grader_costs_ten_percent_over_the_base(own):
    assert model("o3-mini").price("grader_input", service="azure").usd == 1.21
    assert model("o3-mini").price("grader_output", service="azure").usd == 4.84


def test_a_developer_deployment_costs_nothing_by_the_hour(own):
    assert model("gpt-4.1").price("hosting_hour", service="azure").usd == 1.70
    free = model("gpt-4.1").price("hosting_hour", service="azure", training_type="developerTier")
    assert free.usd == 0


def test_your_own_price_wins_with_its_own_source(own):
    own.write_text(OWN, encoding="utf-8")
    found = model("gpt-4.1").price("training", service="azure", training_type="globalStandard")
    assert (found.usd, str(found.source)) == (1.5, "Our contract (2026-11-01)")
    assert model("gpt-4.1").price("tuned_output", service="azure").usd == 8.0
    assert model("gpt-4.1").price("training", service="openai").usd == 25.0


def test_your_own_price_of_one_training_type_leaves_the_others(own):
    own.write_text(OWN.replace('source = "', 'training_type = "standard"\nsource = "'), encoding="utf-8")
    assert model("gpt-4.1").price("training", service="azure", training_type="standard").usd == 1.5
    assert model("gpt-4.1").price("training", service="azure", training_type="globalStandard").usd == 25.0


def test_prices_of_your_own_do_not_replace_each_other(own):
    second = '\n[[price]]\nmodel = "gpt-4.1"\nservice = "azure"\nsource = "contract"\n'
    typed = OWN.replace('source = "', 'training_type = "standard"\nsource = "')
    own.write_text(typed + second + "usd = { training = 1.25 }\n", encoding="utf-8")
    assert model("gpt-4.1").price("training", service="azure", training_type="standard").usd == 1.5
    assert model("gpt-4.1").price("training", service="azure", training_type="globalStandard").usd == 1.25


def test_an_edited_file_counts_at_once_and_so_does_its_end(own):
    own.write_text(OWN, encoding="utf-8")
    assert model("gpt-4.1").price("input", service="azure").usd == 1.9
    own.write_text(OWN.replace("1.90", "1.875"), encoding="utf-8")
    assert model("gpt-4.1").price("input", service="azure").usd == 1.875
    own.unlink()
    assert model("gpt-4.1").price("input", service="azure") is None


def test_a_file_can_be_named(own, tmp_path, monkeypatch):
    named = tmp_path / "ours.toml"
    named.write_text(OWN, encoding="utf-8")
    monkeypatch.setenv("WORKBENCH_PRICES", str(named))
    assert model("gpt-4.1").price("input", service="azure").usd == 1.9
    named.unlink()
    with pytest.raises(SetupError, match=r"WORKBENCH_PRICES names .*ours\.toml, where no file is"):
        model("gpt-4.1")


@pytest.mark.parametrize(
    ("right", "wrong", "finding"),
    [
        ("= 1.50", "= -1", "line 10: training is -1; it should be 0 or more."),
        ("= 1.50", "= nan", "line 10: training is nan; it should be 0 or more."),
        ("= 1.50", '= "2"', "line 10: training is '2'; it should be a number."),
        ("= 1.50", "= true", "line 10: training is True; it should be a number."),
        ("training =", "trainig =", "line 10: trainig is not known; there are training, input, "),
        ("{ training = 1.50, input = 1.90 }", "2.0", "line 10: usd names each price, like "),
        ('"gpt-4.1"', '"gpt-9"', "line 7: model is 'gpt-9', which the catalogue does not have."),
        ('"azure"', '"aws"', "line 8: service is 'aws'; it may be local, azure, openai."),
        (
            'source = "contract"',
            'source = "me"',
            "line 9: source is 'me'; write who says so under [source.me].",
        ),
        ("usd = ", "unit = 1\nusd = ", "line 10: unit is not known; there are model, service, "),
        ("2026-11-01", '"today"', "line 2: the source contract needs a title in quotes and a date like "),
        ("[[price]]", "[[prices]]", "line 6: prices is not known; there are [source.NAME] and [[price]]."),
        ("[[price]]", "[price]", "line 6: a price is written under [[price]], with two brackets."),
        ("usd = {", "usd = [", " is not TOML: "),
    ],
)
def test_a_price_that_cannot_be_is_refused_with_its_line(own, right, wrong, finding):
    own.write_text(OWN.replace(right, wrong), encoding="utf-8")
    with pytest.raises(DataError) as refused:
        model("gpt-4.1")
    assert str(refused.value).startswith(f"{own} ".rstrip() if "TOML" in finding else f"{own} {finding}")
    assert finding in str(refused.value)


def test_the_second_price_is_the_one_that_is_named(own):
    second = '\n[[price]]\nmodel = "gpt-4.1"\nservice = "azure"\nsource = "contract"\nusd = { output = -2 }\n'
    own.write_text(OWN + second, encoding="utf-8")
    with pytest.raises(DataError, match=r"prices\.toml line 16: output is -2"):
        model("gpt-4.1")


def test_broken_toml_says_where(own):
    own.write_text("[[price]]\nmodel = gpt\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"prices\.toml is not TOML: .*line 2"):
        model("gpt-4.1")


def test_a_way_of_answering_has_the_prices_of_its_service(own):
    assert way_prices("gpt-4.1-mini", service="openai", tuned=False) == {
        "input_price": 0.40,
        "output_price": 1.60,
        "cached_price": 0.10,
        "hosting_per_hour": 0.0,
    }
    assert way_prices("gpt-4.1-mini", service="openai", tuned=True) == {
        "input_price": 0.80,
        "output_price": 3.20,
        "cached_price": 0.20,
        "hosting_per_hour": 0.0,
    }


def test_azure_bills_tuned_tokens_like_the_bases_and_hosting_by_the_hour(own):
    assert way_prices("gpt-4.1-mini", service="azure", tuned=True) == {
        "input_price": 0.40,
        "output_price": 1.60,
        "cached_price": 0.10,
        "hosting_per_hour": 1.70,
    }
    assert way_prices("gpt-4.1-mini", service="azure", tuned=False)["hosting_per_hour"] == 0


def test_on_this_machine_nothing_is_billed(own):
    assert set(way_prices("nano", service="local", tuned=True).values()) == {0.0}


def test_a_price_that_no_source_gives_is_not_guessed(own):
    with pytest.raises(
        SetupError, match="no input_price and no output_price of base Ministral-3B at azure; put"
    ):
        way_prices("Ministral-3B", service="azure", tuned=False)
    with pytest.raises(SetupError, match="no input_price and no output_price of tuned gpt-5"):
        way_prices("gpt-5.6-luna", service="openai", tuned=True)


def test_the_cheapest_base_is_one_that_still_answers(own):
    there = {"service": "azure", "existing_customer": True}
    assert cheapest_base(date(2026, 10, 13), **there).model.name == "gpt-4.1-nano"
    assert cheapest_base(date(2026, 10, 14), **there).model.name == "gpt-4o-mini"
    assert cheapest_base(date(2026, 10, 22)) == (model("gpt-4.1-nano"), "openai")
    assert cheapest_base(date(2026, 10, 23)) == (model("gpt-6-luna"), "openai")


def test_a_new_customer_cannot_switch_to_a_deprecated_model(own):
    assert cheapest_base(TODAY, service="azure") is None
    assert cheapest_base(TODAY, service="azure", existing_customer=True).model.name == "gpt-4o-mini"


def test_nobody_can_switch_to_this_machine(own):
    assert cheapest_base(date(2030, 1, 1), service="local") is None
