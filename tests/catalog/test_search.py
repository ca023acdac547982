"""Choosing from the catalogue: each filter with what it keeps and what it drops, and what it refuses."""

from datetime import date

import jsonschema
import pytest

from workbench.catalog.catalog import model
from workbench.catalog.search import Catalogue, facts_schema, find
from workbench.errors import DataError, SetupError

TODAY = date(2026, 11, 22)
PREVIEWS = ["gpt-oss-120b", "Qwen3.6-35B-A3B", "Qwen3.8-27B", "Muse-Glimmer-30B"]


@pytest.fixture(autouse=True)
def _alone(home):
    """No service was asked here."""


def names(found: Catalogue) -> list[str]:
    return [each.name for each in found]


def test_without_a_filter_all_are_there_the_retired_among_them():
    assert {"gpt-4.1", "Phi-3-mini-4k-instruct", "nano"} <= set(names(find()))


def test_by_method():
    preferred = ["gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o", "SmolLM2-135M-Instruct", "nano"]
    assert names(find(method="dpo")) == preferred
    reinforced = ["o4-mini", "gpt-5", "gpt-oss-120b", "MAI-Code-1.1-Flash", *PREVIEWS[1:], "o3-mini"]
    assert names(find(method="rft")) == [*reinforced, "SmolLM2-135M-Instruct", "nano"]


def test_by_task_as_the_portal_calls_it():
    text = ["babbage-002", "davinci-002", "Meta-Llama-2-7b", "Meta-Llama-2-13b", "Meta-Llama-2-70b"]
    assert names(find(task="text-generation")) == text
    assert "Llama-2-7B-chat" in names(find(task="chat-completion"))


def test_by_region_however_it_is_written():
    assert names(find(region="UAE North")) == PREVIEWS
    assert names(find(region="uaenorth")) == PREVIEWS
    assert "gpt-4.1-nano" not in names(find(region="Poland Central", method="dpo"))
    assert "gpt-4o" in names(find(region="eastus2", training_type="standard"))
    assert "gpt-4.1" not in names(find(region="eastus2", training_type="standard"))


def test_with_images():
    assert names(find(vision=True)) == ["gpt-4.1", "gpt-4o"]
    assert names(find(vision=True, region="Sweden Central")) == ["gpt-4.1", "gpt-4o"]
    assert names(find(vision=True, region="Japan East")) == []
    assert "gpt-4o" in names(find(region="Japan East"))
    assert "nano" not in names(find(vision=False))


def test_by_training_type():
    assert "gpt-5" not in names(find(training_type="developerTier"))
    assert names(find(training_type="developerTier", method="sft")) == [
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-4.1-nano",
        "gpt-4o",
        "gpt-4o-mini",
        *PREVIEWS,
    ]


def test_by_service():
    at_openai = ["gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o", "gpt-4o-mini", "o4-mini"]
    assert names(find(service="openai")) == at_openai
    assert names(find(service="local")) == ["SmolLM2-135M-Instruct", "nano"]


def test_still_trainable_on_a_day():
    assert names(find(method="dpo", service="azure", on=date(2027, 3, 31))) == [
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-4.1-nano",
        "gpt-4o",
    ]
    assert names(find(method="dpo", service="azure", on=date(2027, 4, 1))) == [
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-4.1-nano",
    ]
    assert names(find(method="dpo", service="azure", on=date(2027, 4, 14))) == []
    assert names(find(method="dpo", service="azure", on=TODAY, existing_customer=False)) == []


def test_what_no_source_tells_of_that_day_is_named_apart():
    found = find(method="rft", on=date(2027, 4, 16))
    assert names(found) == ["SmolLM2-135M-Instruct", "nano"]
    assert found.untold == ("o4-mini", "gpt-5", "gpt-oss-120b", "MAI-Code-1.1-Flash", *PREVIEWS[1:])
    assert find(on=TODAY).untold == ("gpt-5",)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"method": "rlhf"}, "There is no method 'rlhf'; choose sft, dpo, rft."),
        ({"task": "chat"}, "There is no task 'chat'; choose chat-completion, text-generation."),
        (
            {"training_type": "global"},
            "There is no training type 'global'; choose dataZone, developerTier, globalStandard, serverless, "
            "standard.",
        ),
        (
            {"service": "openai", "region": "Sweden Central"},
            "Regions and training types are Azure's; leave them out for openai.",
        ),
    ],
)
def test_a_value_that_no_model_has_is_refused_with_those_there_are(asked, message):
    with pytest.raises(DataError) as refused:
        find(**asked)
    assert str(refused.value) == message


def test_an_unknown_region_or_service_is_refused():
    with pytest.raises(
        DataError, match=r"in the region 'Atlantis'; there are Australia East, Brazil South, "
    ):
        find(region="Atlantis")
    with pytest.raises(SetupError, match="There is no provider 'aws'; choose local, azure or openai"):
        find(service="aws")


def test_the_table_has_dates_price_and_sources(unstyled):
    found = Catalogue((model("gpt-4.1"), model("o4-mini")), today=TODAY)
    html = unstyled(found._repr_html_())
    assert "<caption>2 models</caption>" in html
    assert (
        '<th scope="row">gpt-4.1</th><td>Deprecated, existing customers only</td><td>sft, dpo</td><td>26</td>'
        "<td>2027-04-14</td><td>2027-10-14</td><td>$25 per 1M tokens</td>" in html
    )
    assert "<td>2027-04-16 or 2027-05-19</td><td>2027-10-16 or 2027-11-19</td><td>$100 per hour</td>" in html
    assert "Azure Retail Prices API (2026-08-11): older than 90 days, look again" in html
    assert "model retirement schedule (2026-10-05);" in html
    assert "in Foundry (2026-10-06): older" not in html


def test_what_azure_publishes_no_price_for_is_called_not_published():
    for name in ("Qwen3-32B", "gpt-oss-120b", "gpt-5"):
        shown = repr(Catalogue((model(name),), "azure", today=TODAY)).splitlines()[2]
        assert "  not published  " in shown


def test_a_new_customer_can_train_the_open_weights():
    open_to_all = names(find(method="sft", service="azure", on=TODAY, existing_customer=False))
    assert open_to_all[:2] == ["gpt-oss-20b", "gpt-oss-120b"]
    assert not {"gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini"} & set(open_to_all)


def test_other_ways_and_what_is_closed_stand_below_the_models(unstyled):
    at_azure = find(service="azure")
    assert [each.name for each in at_azure.offerings] == [
        "Interactive training",
        "Data generation",
        "Prompt Optimizer",
    ]
    assert "Also at openai: Evals API: evaluations on the service" in repr(find(service="openai"))
    assert "<td>2026-11-30</td>" in unstyled(find(service="openai")._repr_html_())
    assert all(each.source.url for each in find().offerings)


def test_at_another_service_its_own_dates_and_prices_stand():
    (row,) = Catalogue((model("gpt-4.1-mini"),), "openai", today=TODAY).rows
    assert (row["trainable_until"], row["deployments_end"]) == ("2027-01-06", "2027-01-14")
    assert (row["training_price"], row["per"], row["regions"]) == (5.0, "1M tokens", None)


def test_the_plain_text_is_one_line_a_model():
    lines = repr(find(service="local")).splitlines()
    assert lines[0] == "2 models at local"
    assert lines[3].split()[:4] == ["nano", "on", "this", "machine"]


def test_the_frame_has_a_row_a_model():
    frame = find(method="dpo", service="azure").frame
    assert list(frame["model"]) == ["gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o"]
    assert list(frame["regions"]) == [26, 26, 25, 26]


def test_the_facts_are_as_their_schema_says():
    found = find()
    schema = facts_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(found.facts, schema)
    assert schema["$defs"]["Model"]["properties"]["max_example_tokens"]["description"] == (
        "The longest training example, in tokens."
    )
    first = found.facts["models"][0]
    assert (first["name"], first["retired"], first["services"]) == ("gpt-4.1", False, ["azure", "openai"])
    assert first["lives"][0]["training_ends"] == "2027-04-14"
