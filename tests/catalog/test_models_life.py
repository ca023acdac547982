"""Until when: what can still be trained on a day, and how long it serves; both sides of every date."""

from datetime import date

import pytest

from workbench.catalog.catalog import model
from workbench.catalog.citations import Conflict, Source
from workbench.catalog.models import Life

TODAY = date(2026, 11, 22)


@pytest.fixture(autouse=True)
def _alone(home):
    """No service was asked here."""


@pytest.mark.parametrize(
    ("name", "service", "last_day", "first_without"),
    [
        ("gpt-4.1", "azure", date(2027, 4, 13), date(2027, 4, 14)),
        ("gpt-4.1-mini", "azure", date(2027, 4, 13), date(2027, 4, 14)),
        ("gpt-4.1-nano", "azure", date(2027, 4, 13), date(2027, 4, 14)),
        ("gpt-4o", "azure", date(2027, 3, 31), date(2027, 4, 1)),
        ("gpt-4o-mini", "azure", date(2027, 3, 31), date(2027, 4, 1)),
        ("gpt-4.1-mini", "openai", date(2027, 1, 5), date(2027, 1, 6)),
        ("gpt-4.1-nano", "openai", date(2026, 10, 22), date(2026, 10, 23)),
        ("o4-mini", "openai", date(2026, 10, 22), date(2026, 10, 23)),
    ],
)
def test_existing_customers_train_until_the_day_before(name, service, last_day, first_without):
    assert model(name).trainable(last_day, service=service) is True
    assert model(name).trainable(first_without, service=service) is False


@pytest.mark.parametrize(
    ("day", "can"),
    [
        (date(2027, 4, 15), True),
        (date(2027, 4, 16), None),
        (date(2027, 5, 18), None),
        (date(2027, 5, 19), False),
    ],
)
def test_between_two_dates_that_disagree_nobody_can_tell(day, can):
    assert model("o4-mini").trainable(day) is can


def test_new_customers_cannot_train_what_is_deprecated_or_retired():
    assert model("gpt-4.1").trainable(TODAY, existing_customer=False) is False
    assert model("o4-mini").trainable(date(2026, 11, 18), existing_customer=False) is False
    assert model("Ministral-3B").trainable(TODAY, existing_customer=False) is True


def test_whether_one_is_an_existing_customer_may_not_be_known():
    assert model("gpt-4.1").trainable(TODAY, existing_customer=None) is None
    assert model("gpt-oss-20b").trainable(TODAY, existing_customer=None) is True
    assert model("gpt-4.1").trainable(date(2027, 4, 14), existing_customer=None) is False


def test_a_legacy_model_can_still_be_deployed_anew():
    day = date(2026, 11, 30)
    life = Life("azure", stage="Legacy", training="open", sources={"training": Source("x", day)})
    assert life.trainable(day, existing_customer=False) is True


@pytest.mark.parametrize(
    ("name", "day", "successor"),
    [
        ("Phi-3-mini-4k-instruct", date(2025, 8, 30), "Phi-4-mini-instruct"),
        ("Phi-3-mini-128k-instruct", date(2025, 8, 30), "Phi-4-mini-instruct"),
        ("Phi-3-medium-4k-instruct", date(2025, 8, 30), "Phi-4"),
        ("Phi-3-medium-128k-instruct", date(2025, 8, 30), "Phi-4"),
        ("Phi-3.5-MoE-instruct", date(2025, 8, 30), "Phi-4-mini-instruct"),
        ("Meta-Llama-2-13b", date(2025, 6, 30), "Meta-Llama-3.1-8B-Instruct"),
        ("Llama-2-70B-chat", date(2025, 6, 30), "Llama-3.3-70B-Instruct"),
        ("Meta-Llama-3.1-70b-Instruct", date(2025, 6, 30), "Llama-3.3-70B-Instruct"),
        ("Meta-Llama-3.1-8b-Instruct", date(2026, 6, 13), None),
        ("gpt-4", date(2025, 6, 6), "gpt-4o"),
        ("gpt-35-turbo-0613", date(2025, 2, 13), "gpt-4o-mini"),
        ("davinci-002", date(2025, 1, 27), None),
        ("Mistral-Nemo", date(2026, 1, 30), "Mistral-small-2503"),
        ("Mistral-Large", date(2026, 1, 30), "Mistral-medium-2505"),
    ],
)
def test_what_is_retired_says_since_when_and_what_replaces_it(name, day, successor):
    life = model(name).life("azure")
    assert (life.stage, life.base_retires, life.successor) == ("Retired", day, successor)


def test_openai_names_a_successor_that_nobody_can_train():
    assert model("gpt-4.1-mini").life("openai").successor == "gpt-6-luna"
    assert model("gpt-6-luna").methods == ()
    assert model("gpt-6-luna").price("cached_input", service="openai").usd == 0.01


def test_the_models_that_the_concept_pages_name_are_there():
    assert model("GPT-3.5 Turbo").name == "gpt-35-turbo"
    assert (model("o3-mini").methods, model("o3-mini").retired) == (("rft",), True)
    assert model("o1").life("azure").base_retires == date(2026, 11, 19)


def test_openai_closed_to_new_customers_on_a_day():
    mini = model("gpt-4.1-mini")
    assert mini.trainable(date(2026, 5, 6), existing_customer=False, service="openai") is True
    assert mini.trainable(date(2026, 5, 7), existing_customer=False, service="openai") is False


def test_without_a_known_end_a_table_is_believed_for_ninety_days():
    assert model("Llama-3.3-70B-Instruct").trainable(date(2027, 1, 4)) is True
    assert model("Llama-3.3-70B-Instruct").trainable(date(2027, 1, 5)) is None


def test_an_invitation_cannot_be_told_by_a_table():
    assert model("gpt-5").trainable(TODAY) is None


def test_what_the_newest_table_does_not_list_is_no_longer_trained():
    assert model("Phi-3-mini-4k-instruct").trainable(date(2026, 10, 6)) is False
    assert model("Phi-3-mini-4k-instruct").trainable(date(2026, 10, 5)) is None


def test_this_machines_models_are_always_trainable_here_and_only_they():
    assert model("nano").trainable(date(2040, 1, 1)) is True
    assert model("gpt-4.1").trainable(TODAY, service="local") is False
    assert model("nano").months_of_service(TODAY) is None


def test_a_model_that_nobody_tunes_is_not_trainable():
    assert model("gpt-5.6-luna").trainable(TODAY) is False
    assert model("o3-mini").trainable(TODAY) is False


def test_months_of_service_run_to_the_end_of_deployments():
    assert model("gpt-4.1-mini").months_of_service(TODAY) == pytest.approx(10.71, abs=0.005)
    assert model("gpt-4.1-mini").months_of_service(TODAY, service="openai") == pytest.approx(1.74, abs=0.005)
    assert model("o4-mini").months_of_service(date(2027, 10, 15)) == pytest.approx(1 / 30.4375)
    assert model("o4-mini").months_of_service(date(2027, 10, 17)) == 0
    assert model("gpt-5").months_of_service(TODAY) is None


def test_a_base_model_is_retired_from_its_day_on():
    life = model("gpt-4.1-nano").life()
    assert not life.is_retired(date(2026, 10, 13))
    assert life.is_retired(date(2026, 10, 14))


def test_an_older_source_that_disagrees_does_not_count():
    ours, older = Source("new", date(2026, 10, 5)), Source("old", date(2026, 10, 4))
    conflict = Conflict("training_ends", date(2028, 1, 1), older)
    life = Life(
        "azure", training_ends=date(2027, 1, 1), sources={"training_ends": ours}, conflicts=(conflict,)
    )
    assert life.dates("training_ends") == [date(2027, 1, 1)]


def test_the_status_says_who_may_train():
    assert model("gpt-4.1").status() == "Deprecated, existing customers only"
    assert model("gpt-5").status() == "Generally available, by invitation"
    assert model("Qwen3.8-27B").status() == "Preview"
    assert model("o4-mini").status() == "Deprecated, existing customers only"
    assert model("gpt-oss-20b").status() == "open to every customer"
    assert model("Phi-4").status() == "retired"
    assert model("nano").status() == "on this machine"
