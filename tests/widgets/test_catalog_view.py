"""Looking through the catalogue: every filter counts at once, and headless there is the table."""

from datetime import date

import pytest

from workbench.widgets.catalog_view import CatalogueView, ask_customer, browse_models

TODAY = date(2026, 11, 22)


@pytest.fixture
def view(home) -> CatalogueView:
    return browse_models(TODAY)


def choose(view: CatalogueView, **said: object) -> list[str]:
    for name, value in said.items():
        view.fields[name].value = value
    return [model.name for model in view.catalogue]


def test_it_begins_with_what_can_still_be_trained(view):
    assert "gpt-4.1" in choose(view)
    assert "Phi-3-mini-4k-instruct" not in choose(view)
    assert "Phi-3-mini-4k-instruct" in choose(browse_models())


def test_each_filter_counts_at_once(view):
    assert choose(view, method="dpo", region="Poland Central") == ["gpt-4.1", "gpt-4.1-mini", "gpt-4o"]
    assert choose(view, vision="with images") == ["gpt-4.1", "gpt-4o"]
    assert choose(view, on=date(2027, 4, 1)) == ["gpt-4.1"]
    assert "gpt-4.1</th>" in view.children[-1].value


def test_filters_that_do_not_go_together_are_told_and_what_fitted_stands(view):
    before = choose(view, region="Sweden Central")
    assert choose(view, service="openai") == before
    assert (
        "Regions and training types are Azure&#x27;s; leave them out for openai." in view.children[-1].value
    )


def test_every_filter_has_a_label(view):
    assert all(field.description for field in view.fields.values())


def test_without_a_front_end_it_is_a_table(view, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    shown, _ = view._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/html"}
    assert "<caption" in shown["text/html"]


def test_a_new_customer_sees_what_is_left(view):
    assert "gpt-4.1" not in choose(view, customer="no, a new customer")
    assert "gpt-oss-20b" in choose(view)


def test_who_you_are_is_asked_where_it_decides():
    asked = ask_customer(("gpt-4.1", "azure"), ("gpt-oss-20b", "azure"), on=TODAY)
    assert asked.answer is None
    assert repr(asked).startswith(
        "Closed to new customers: gpt-4.1 at azure. At Azure an existing customer is a"
    )
    assert len(asked.children) == 2
    asked.choice.value = "yes"
    assert asked.answer is True


@pytest.mark.parametrize("answer", [True, False, None])
def test_what_is_known_already_is_not_asked_again(answer):
    assert ask_customer(("gpt-4.1", "azure"), answer=answer, on=TODAY).answer is answer


@pytest.mark.parametrize("asked", [("gpt-oss-20b", "azure"), ("nano", "local"), ("my/own-model", "local")])
def test_where_it_makes_no_difference_nothing_is_asked(asked):
    question = ask_customer(asked, on=TODAY)
    assert (len(question.children), question.answer) == (1, None)
    assert repr(question) == "Whether you are an existing customer makes no difference for these models."


def test_without_a_front_end_the_answer_is_not_known(monkeypatch):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    shown = ask_customer(("gpt-4.1", "azure"), on=TODAY)._repr_mimebundle_()
    assert list(shown) == ["text/plain"]
    assert shown["text/plain"].endswith("Existing customer: not known.")
