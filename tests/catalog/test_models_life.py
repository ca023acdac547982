"""Until when: what can still be trained on a day, and how long it serves; both sides of every date."""

from datetime import date

import pytest

from workbench.catalog.catalog import model
from workbench.catalog.models import Conflict, Life, Source

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
        ("o4-mini", "openai", date(2027, 1, 5), date(2027, 1, 6)),
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
    assert model("o4-mini").trainable(date(2026, 11, 18), existing_customer=False) is True
    assert model("o4-mini").trainable(date(2026, 11, 19), existing_customer=False) is False
    assert model("Ministral-3B").trainable(TODAY, existing_customer=False) is True


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
    assert model("o3-mini").trainable(TODAY) is None


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
    assert model("o4-mini").status() == "base model retires 2026-11-19"
    assert model("Phi-4").status() == "retired"
    assert model("nano").status() == "on this machine"
