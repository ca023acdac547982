"""Prices: by service and training type, your own over the catalogue's, and what a way of answering costs."""

from datetime import date
from pathlib import Path

import pytest

from workbench.catalog.catalog import cheapest_base, model, way_prices
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
    assert (found.usd, str(found)) == (2.0, "$2.00 per 1M tokens")
    assert str(found.source) == "Microsoft Learn, fine-tuning cost management (2026-03-19)"
    assert model("gpt-4.1").price("training", service="azure", training_type="standard") is None
    hour = model("o4-mini").price("training_hour", service="azure", training_type="developerTier")
    assert (hour.usd, hour.training_type, str(hour)) == (100.0, None, "$100.00 per hour")


def test_a_developer_deployment_costs_nothing_by_the_hour(own):
    assert model("gpt-4.1").price("hosting_hour", service="azure").usd == 1.70
    free = model("gpt-4.1").price("hosting_hour", service="azure", training_type="developerTier")
    assert free.usd == 0


def test_your_own_price_wins_with_its_own_source(own):
    own.write_text(OWN, encoding="utf-8")
    found = model("gpt-4.1").price("training", service="azure", training_type="globalStandard")
    assert (found.usd, str(found.source)) == (1.5, "Our contract (2026-11-01)")
    assert model("gpt-4.1").price("output", service="azure").usd == 8.0
    assert model("gpt-4.1").price("training", service="openai").usd == 25.0


def test_your_own_price_of_one_training_type_leaves_the_others(own):
    own.write_text(OWN.replace('source = "', 'training_type = "standard"\nsource = "'), encoding="utf-8")
    assert model("gpt-4.1").price("training", service="azure", training_type="standard").usd == 1.5
    assert model("gpt-4.1").price("training", service="azure", training_type="globalStandard").usd == 2.0


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
    assert model("gpt-4.1").price("input", service="azure").usd == 2.0


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
        "hosting_per_hour": 1.70,
    }
    assert way_prices("gpt-4.1-mini", service="azure", tuned=False)["hosting_per_hour"] == 0


def test_on_this_machine_nothing_is_billed(own):
    assert set(way_prices("nano", service="local", tuned=True).values()) == {0.0}


def test_a_price_that_no_source_gives_is_not_guessed(own):
    with pytest.raises(SetupError, match="no input_price and no output_price of tuned gpt-4o at azure; put"):
        way_prices("gpt-4o", service="azure", tuned=True)
    with pytest.raises(SetupError, match="no input_price and no output_price of tuned gpt-5"):
        way_prices("gpt-5.6-luna", service="openai", tuned=True)


def test_the_cheapest_base_is_one_that_still_answers(own):
    assert cheapest_base(date(2026, 10, 13), service="azure").model.name == "gpt-4.1-nano"
    assert cheapest_base(date(2026, 10, 14), service="azure").model.name == "gpt-4.1-mini"
    assert cheapest_base(TODAY) == (model("gpt-4.1-nano"), "openai")


def test_which_base_is_cheapest_depends_on_the_requests(own):
    # gpt-4o-mini 0.15 and 0.60, gpt-5.6-luna 0.20 and 1.20, gpt-4.1-nano 0.10 and 0.40 per million tokens
    assert cheapest_base(TODAY, service="openai", prompt_tokens=3000, completion_tokens=200).model.name == (
        "gpt-4.1-nano"
    )
    assert cheapest_base(date(2030, 1, 1), service="local") is None
