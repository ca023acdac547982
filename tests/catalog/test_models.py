"""The catalogue of models: names, facts with their sources, and no fact without one."""

import datetime
import re
import tomllib
from dataclasses import fields

import pytest

from workbench.catalog.catalog import HERE, model, models
from workbench.catalog.citations import Conflict, Source
from workbench.catalog.models import Model, base_name
from workbench.catalog.providers import PROVIDERS, default_model
from workbench.errors import SetupError

TODAY = datetime.date(2026, 11, 22)


@pytest.fixture(autouse=True)
def _alone(home):
    """No service was asked here, and nobody has prices of their own."""


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("gpt-4.1-mini", "gpt-4.1-mini"),
        ("gpt-4.1-mini-2025-04-14", "gpt-4.1-mini"),
        ("GPT-4O", "gpt-4o"),
        ("gpt-3.5-turbo-0125", "gpt-35-turbo"),
        ("gpt-35-turbo-1106", "gpt-35-turbo"),
        ("gpt-3.5-turbo-0613", "gpt-35-turbo-0613"),
        ("Ministral-3B-2411", "Ministral-3B"),
        ("Qwen-32B", "Qwen3-32B"),
        ("ft:gpt-4.1-nano-2025-04-14:org:suffix:AbC:ckpt-step-100", "gpt-4.1-nano"),
        ("gpt-4.1-2025-04-14.ft-0a1b-suffix", "gpt-4.1"),
        ("nano", "nano"),
    ],
)
def test_a_model_is_found_by_the_names_people_write(written, name):
    assert model(written).name == name


@pytest.mark.parametrize("written", ["gpt-4.1-prod", "my-gpt-4o", "gpt-4o-mini-24", "ft:", ""])
def test_a_name_that_only_resembles_a_model_is_refused(written):
    with pytest.raises(SetupError, match=r"The catalogue has no model '[^']*'\..* It has gpt-4\.1, "):
        model(written)


def test_the_refusal_names_what_is_not_retired():
    with pytest.raises(SetupError, match=r"It has gpt-4\.1, .*nano\.") as refused:
        model("gpt-9")
    assert "Phi-3" not in str(refused.value)


def test_the_limits_and_methods_are_those_of_the_documents():
    assert model("gpt-4.1").max_example_tokens == 65_536
    assert model("gpt-4.1-nano").max_example_tokens == 32_768
    assert (model("gpt-4o").methods, model("gpt-4o-mini").methods) == (("sft", "dpo"), ("sft",))
    assert (model("o4-mini").methods, model("gpt-5").methods) == (("rft",), ("rft",))
    assert (model("gpt-oss-20b").methods, model("gpt-oss-120b").methods) == (("sft",), ("sft", "rft"))
    assert "developerTier" not in (model("gpt-5").training_types or ())
    assert [each.name for each in models() if each.vision] == ["gpt-4.1", "gpt-4o"]


def test_every_model_of_microsofts_table_of_2024_is_there_and_retired():
    old = ["gpt-4", "gpt-35-turbo", "babbage-002", "davinci-002"]
    old += ["Phi-3-mini-4k-instruct", "Phi-3-mini-128k-instruct"]
    old += ["Phi-3-medium-4k-instruct", "Phi-3-medium-128k-instruct"]
    old += ["Meta-Llama-2-70b", "Meta-Llama-2-7b", "Meta-Llama-2-13b", "Llama-2-7B-chat", "Llama-2-70B-chat"]
    old += ["Meta-Llama-3.1-70b-Instruct", "Meta-Llama-3.1-8b-Instruct"]
    assert [name for name in old if not model(name).retired] == []
    assert not model("gpt-4o-mini").retired
    assert model("Phi-3-medium-128k-instruct").regions[0].names == ("East US 2",)
    assert model("Meta-Llama-3.1-8b-Instruct").regions[0].names == ("West US 3",)


def test_regions_are_those_of_the_documents():
    standard, everywhere, *_ = model("gpt-4.1-nano").regions
    assert standard.names == ("North Central US", "Sweden Central")
    assert len(everywhere.names) == 25
    assert not everywhere.has("Poland Central")
    assert model("gpt-4.1").regions[1].has("polandcentral")
    assert len(model("gpt-4.1").regions[1].names) == 26
    (preview, _) = model("Qwen3.8-27B").regions
    assert preview.has("UAE North")
    assert not preview.has("West Europe")


def test_what_no_source_tells_is_absent():
    assert model("gpt-5").max_example_tokens is None
    assert model("Llama-3.3-70B-Instruct").vision is None
    assert model("Qwen3-32B").price("training", service="azure") is None
    assert model("Llama-3.3-70B-Instruct").life().training_ends is None


def test_every_fact_has_a_source_and_every_source_a_date():
    beside = {"name", "service", "version", "aliases", "sources"}
    beside |= {"conflicts", "remarks", "regions", "lives", "prices"}  # each says its own
    for each in models():
        told = {fact.name for fact in fields(Model) if getattr(each, fact.name) is not None} - beside
        assert told == set(each.sources), each.name
        for life in each.lives:
            told = {fact.name for fact in fields(life) if getattr(life, fact.name) is not None}
            assert told - {"service", "sources", "conflicts"} == set(life.sources), each.name


def test_every_source_has_a_day_in_the_past_and_is_used():
    sources = tomllib.loads((HERE / "sources.toml").read_text(encoding="utf-8"))["source"]
    read = datetime.date(2026, 11, 30)
    assert all(type(said["date"]) is datetime.date and said["date"] <= read for said in sources.values())
    files = [path.read_text(encoding="utf-8") for path in HERE.glob("*.toml")]
    assert [key for key in sources if not any(f'source = "{key}"' in text for text in files)] == []


def test_every_source_has_an_address():
    for each in models():
        for source in [*each.sources.values(), *(price.source for price in each.prices)]:
            assert re.match(r"https?://[a-z0-9.]+", source.url), source
    said = tomllib.loads((HERE / "sources.toml").read_text(encoding="utf-8"))["source"].values()
    assert [source["title"] for source in said if not source["url"].startswith("http")] == []


def test_a_card_ends_with_the_addresses_of_its_sources():
    schedule = "https://learn.microsoft.com/en-us/azure/foundry/openai/concepts/model-retirement-schedule"
    row = ("source", "Microsoft Learn, model retirement schedule (2026-10-05)", schedule)
    assert row in list(model("gpt-4.1").card(TODAY))


def test_sources_that_disagree_are_both_kept():
    (first, second) = model("o4-mini").life().conflicts
    schedule = model("gpt-4.1").life().sources["base_retires"]
    assert str(schedule) == "Microsoft Learn, model retirement schedule (2026-10-05)"
    assert first == Conflict("training_ends", datetime.date(2027, 5, 19), schedule)
    assert second == Conflict("deployments_end", datetime.date(2027, 11, 19), schedule)
    assert str(model("gpt-4.1-nano").conflicts[0]) == (
        "methods: no dpo, says Microsoft's fine-tuning skill for Foundry (2026-08-20)"
    )
    assert model("gpt-4o").conflicts[0].says == 64_536
    assert str(model("gpt-4.1").conflicts[0]).startswith("training (globalStandard): $2.00 per 1M tokens, in")
    interactive, regions = model("gpt-oss-20b").conflicts
    assert (interactive.says, regions.says) == (
        "Legacy, no longer for new interactive training",
        "ten, without UK South",
    )


def test_a_source_is_stale_after_ninety_days():
    source = Source("x", datetime.date(2026, 8, 24))
    assert not source.is_stale(TODAY)
    assert source.is_stale(TODAY + datetime.timedelta(days=1))


def test_a_card_has_every_fact_with_its_source_and_what_is_old_says_so():
    card = list(model("o4-mini").card(TODAY))
    assert (
        "methods",
        "rft",
        "Microsoft Learn, models that can be fine-tuned in Foundry (2026-10-06)",
    ) in card
    price = "Azure Retail Prices API (2026-08-11): older than 90 days, look again"
    hours = "$110.00 (dataZone), $50.00 (developerTier), $100.00 (globalStandard), "
    hours += "$110.00 to $121.00 by region (standard) per hour"
    assert ("azure: training hour", hours, price) in card
    schedule = "Microsoft Learn, model retirement schedule (2026-10-05)"
    assert ("but training ends", "2027-05-19", schedule) in card
    in_autumn = list(model("o4-mini").card(datetime.date(2026, 9, 1)))
    assert ("azure: training hour", hours, price.partition(":")[0]) in in_autumn


def test_a_card_names_all_regions_and_those_without_images():
    card = list(model("gpt-4.1").card(TODAY))
    regions = [value for fact, value, _ in card if fact == "regions: training, globalStandard"]
    assert sum(value.count(",") + 1 for value in regions) == 26
    assert max(map(len, regions)) < 300
    assert ("without images: training, globalStandard", "Japan East") in [row[:2] for row in card]


def test_a_card_of_open_weights_says_that_they_can_be_tuned_here():
    assert "on this machine" in [fact for fact, *_ in model("Phi-3-mini-4k-instruct").card(TODAY)]
    assert "on this machine" not in [fact for fact, *_ in model("babbage-002").card(TODAY)]


def test_a_card_in_a_notebook_is_a_table(unstyled):
    html = unstyled(model("gpt-4.1")._repr_html_())
    assert "<caption>gpt-4.1</caption>" in html
    assert '<th scope="row">max example tokens</th><td>65,536</td>' in html


def test_the_default_models_are_those_that_every_customer_can_train_today():
    today = datetime.date(2026, 11, 30)
    defaults = {name: each.base_model for name, each in PROVIDERS.items() if each.base_model}
    assert defaults == {"local": "SmolLM2-135M-Instruct", "azure": "gpt-oss-20b"}
    for service, name in defaults.items():
        assert model(name).trainable(today, existing_customer=False, service=service) is True


def test_where_no_model_is_open_to_every_customer_there_is_no_default():
    with pytest.raises(
        SetupError, match=r"^No model at openai can be trained by every customer today, .*MODEL"
    ):
        default_model("openai")


def test_the_base_of_a_tuned_model_is_in_its_name():
    assert base_name("ft:nano:me::1") == "nano"
    assert base_name("gpt-4.1-2025-04-14.ft-0a1b") == "gpt-4.1-2025-04-14"
