"""What a service says beside the catalogue: told, kept with its day, and read on top; nothing is lost."""

import json
from datetime import date

import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.catalog.catalog import model, models
from workbench.catalog.citations import Source
from workbench.catalog.refresh import Change, Listed, changes, listed_in, refresh
from workbench.catalog.search import find
from workbench.errors import DataError, SetupError

SAID = Source("a service", date(2026, 11, 22))
ALL = [Listed(f"{each.name}-{each.version}" if each.version else each.name) for each in models()]


@pytest.fixture(autouse=True)
def _alone(home):
    """No service was asked here yet."""


def compared(*listed: Listed):
    others = [each for each in ALL if each.name not in {one.name for one in listed}]
    return changes(models(), [*others, *listed], service="azure", source=SAID)


def arm(**more):
    named = {"format": "OpenAI", "name": "gpt-4.1", "version": "2025-04-14"}
    return {"value": [{"kind": "OpenAI", "model": named | more}]}


def client_of(*listed):
    app = Starlette(
        routes=[
            Route("/openai/v1/models", lambda _: JSONResponse({"object": "list", "data": list(listed)})),
        ]
    )
    base = "https://me.openai.azure.com/openai/v1/"
    return OpenAI(base_url=base, api_key="test", http_client=TestClient(app, base_url=base), max_retries=0)


def listed_model(name, **more):
    return {"id": name, "object": "model", "created": 0, "owned_by": "x"} | more


def test_a_list_of_all_that_is_known_changes_nothing():
    found = compared()
    assert (found.new, found.gone, found.changed) == ((), (), ())
    assert repr(found) == "Nothing new, says a service (2026-11-22)."


def test_a_model_that_can_be_tuned_and_is_not_known_is_new():
    found = compared(Listed("gpt-9-2027-01-01", fine_tune=True), Listed("whisper", fine_tune=False))
    assert found.new == ("gpt-9-2027-01-01",)


def test_another_version_of_a_known_model_is_another_model():
    found = compared(Listed("gpt-4o", version="2024-11-20", fine_tune=True))
    assert found.new == ("gpt-4o-2024-11-20",)
    assert compared(Listed("Ministral-3B", version="1", fine_tune=True)).new == ()


def test_what_is_not_listed_is_gone_unless_it_was_retired_before():
    listed = [each for each in ALL if not each.name.startswith(("gpt-5", "Phi-3-mini"))]
    assert changes(models(), listed, service="azure", source=SAID).gone == ("gpt-5", "gpt-5.6-luna")


def test_dates_that_differ_are_told_with_both_values():
    found = compared(Listed("gpt-4.1-2025-04-14", base_retires=date(2027, 7, 14)))
    assert found.changed == (Change("gpt-4.1", "base_retires", date(2027, 4, 14), date(2027, 7, 14)),)
    assert repr(found) == "changed: gpt-4.1: base_retires 2027-04-14 -> 2027-07-14"


def test_that_open_weights_cannot_be_tuned_is_not_believed():
    assert compared(Listed("Ministral-3B-2411", fine_tune=False)).changed == ()
    (told,) = compared(Listed("gpt-4.1-2025-04-14", fine_tune=False)).changed
    assert told == Change("gpt-4.1", "fine_tune", None, False)


def test_the_managers_stages_are_shifted_by_one():
    (listed,) = listed_in(arm(lifecycleStatus="Deprecating"))
    assert listed.stage == "Deprecated"
    (listed,) = listed_in(arm(lifecycleStatus="Deprecated"))
    assert listed.stage == "Retired"
    (listed,) = listed_in(arm(lifecycleStatus="Stable"))
    assert listed.stage == "Generally available"


def test_the_managers_dates_are_read():
    ends = {"fineTune": "2027-05-01T00:00:00Z", "inference": "2027-06-01T00:00:00Z"}
    (listed,) = listed_in(arm(deprecation=ends, capabilities={"fineTune": "true"}))
    assert (listed.training_ends, listed.base_retires) == (date(2027, 5, 1), date(2027, 6, 1))
    assert (listed.fine_tune, listed.version) == (True, "2025-04-14")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([], 'should be an object with "value"'),
        ({"value": [{}]}, r"value\[0\] has no model with a name"),
        (
            arm(deprecation={"inference": "soon"}),
            r"deprecation\.inference is 'soon'; it should begin with a day",
        ),
    ],
)
def test_another_answer_than_the_managers_is_refused(answer, message):
    with pytest.raises(DataError, match=message):
        listed_in(answer)


def test_what_a_service_says_is_kept_and_read_on_top(home):
    told = listed_model(
        "gpt-4.1-2025-04-14",
        capabilities={"fine_tune": True},
        deprecation={"fine_tune": 1_809_648_000, "inference": 1_807_660_800},  # 2027-05-07, 2027-04-14
    )
    found = refresh(client_of(told, listed_model("gpt-9", capabilities={"fine_tune": True})))
    assert found.changed == (Change("gpt-4.1", "training_ends", date(2027, 4, 14), date(2027, 5, 7)),)
    life = model("gpt-4.1").life()
    assert life.training_ends == date(2027, 5, 7)
    assert life.sources["training_ends"].title == "me.openai.azure.com, its list of models"
    assert [str(each) for each in life.conflicts] == [
        "training ends: 2027-04-14, says Microsoft Learn, model retirement schedule (2026-10-05)"
    ]
    assert model("gpt-9").life().listed is True
    assert model("gpt-5").life().listed is False
    assert "gpt-9" in [each.name for each in find()]
    assert (home / "catalog" / "refreshed.json").is_file()


def test_openais_list_has_the_day_of_the_shutdown():
    listed = client_of(listed_model("gpt-4.1-2025-04-14", shutdown_date="2027-08-01"))
    assert refresh(listed).changed == (
        Change("gpt-4.1", "base_retires", date(2027, 4, 14), date(2027, 8, 1)),
    )


def test_asked_again_it_has_nothing_new_and_forgets_nothing():
    told = listed_model("gpt-4.1-2025-04-14", deprecation={"inference": 1_809_648_000})
    refresh(client_of(told))
    again = refresh(client_of(told))
    assert (again.new, again.gone, again.changed) == ((), (), ())
    assert model("gpt-4.1").life().base_retires == date(2027, 5, 7)


def test_the_managers_list_is_read_beside_the_services():
    ends = {"inference": "2027-08-01T00:00:00Z"}
    found = refresh(client_of(listed_model("gpt-4.1-2025-04-14")), arm=arm(deprecation=ends))
    assert found.changed == (Change("gpt-4.1", "base_retires", date(2027, 4, 14), date(2027, 8, 1)),)
    assert found.source.title == "me.openai.azure.com, its list of models, and Azure Resource Manager"


def test_tuned_models_are_not_asked_about():
    found = refresh(
        client_of(
            listed_model("gpt-4.1-2025-04-14.ft-0a1b", capabilities={"fine_tune": True}),
            *[listed_model("gpt-4.1-2025-04-14")],
        )
    )
    assert found.new == ()


def test_the_managers_list_is_for_azure_only():
    elsewhere = OpenAI(base_url="https://api.openai.com/v1/", api_key="test")
    with pytest.raises(DataError, match="says nothing about openai; leave it out"):
        refresh(elsewhere, arm=arm())


def test_a_fact_of_another_version_is_passed_over(home):
    source = {"title": "x", "date": "2026-11-22"}
    facts = [{"model": "gpt-4.1", "service": "azure", "fact": "mood", "value": "good", "source": source}]
    (home / "catalog").mkdir(parents=True)
    (home / "catalog" / "refreshed.json").write_text(json.dumps({"facts": facts}), encoding="utf-8")
    assert model("gpt-4.1").life().stage == "Deprecated"


def test_an_empty_list_is_no_news():
    with pytest.raises(SetupError, match=r"me\.openai\.azure\.com lists no models; nothing was changed"):
        refresh(client_of())


def test_a_service_that_denies_it_leaves_the_question_open():
    refresh(client_of(listed_model("gpt-4.1-2025-04-14", capabilities={"fine_tune": False})))
    assert model("gpt-4.1").trainable(date(2026, 11, 22)) is None
    assert model("gpt-4.1").trainable(date(2027, 4, 14)) is False


def test_a_damaged_file_is_named_with_the_way_out(home):
    (home / "catalog").mkdir(parents=True)
    (home / "catalog" / "refreshed.json").write_text("{", encoding="utf-8")
    with pytest.raises(
        SetupError, match=r"refreshed\.json is damaged .* delete it and refresh the catalogue"
    ):
        models()


def test_changes_are_plain_json_and_a_table(unstyled):
    found = compared(Listed("gpt-4.1-2025-04-14", base_retires=date(2027, 7, 14)))
    assert json.loads(json.dumps(found.facts))["changed"] == [
        {"model": "gpt-4.1", "fact": "base_retires", "before": "2027-04-14", "after": "2027-07-14"}
    ]
    assert "<td>gpt-4.1: base_retires 2027-04-14 -&gt; 2027-07-14</td>" in unstyled(found._repr_html_())
