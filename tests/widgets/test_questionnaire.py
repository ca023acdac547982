"""The questionnaire: every answer counts at once, and an answer that cannot be loses nothing."""

import pytest

from workbench.decide.situation import FAILURES, questions, situation
from workbench.widgets.questionnaire import Questionnaire, questionnaire


@pytest.fixture
def form() -> Questionnaire:
    return questionnaire(situation({"score": 0.5, "eval_items": 120, "trainable": True}))


def answer(form: Questionnaire, **said: str) -> None:
    for name, text in said.items():
        form.fields[name].value = text


def test_every_question_is_asked_once_in_its_group(form):
    groups = form.children[-1]
    assert groups.titles == (
        "The goal",
        "The evaluation",
        "The failures",
        "Knowledge",
        "The model",
        "What trainings brought",
        "The data",
    )
    assert [len(group.children) for group in groups.children] == [5, 9, 9, 3, 9, 4, 7]
    asked = [name for name in form.fields if name not in FAILURES]
    assert asked == [name for name in questions() if name != "failures"]


def test_what_was_measured_is_filled_in(form):
    assert form.fields["score"].value == "0.5"
    assert form.fields["trainable"].value == "yes"
    assert form.fields["target"].value == ""
    assert form.fields["motive"].value == "not known"


def test_each_answer_counts_at_once(form):
    answer(form, grader="programmatic", motive="quality", target="0.5")
    assert form.situation.target == 0.5
    assert form.decision.verdict == "keep_prompting"
    assert "Keep the prompt as it is" in form.children[0].value


def test_an_answer_can_be_taken_back(form):
    answer(form, score="", trainable="not known")
    assert form.situation.facts == {"eval_items": 120}


def test_failures_are_shares_by_kind(form):
    answer(form, format="1")
    assert form.situation.failures == {"format": 1}


def test_an_answer_that_cannot_be_is_told_and_the_others_stand(form):
    answer(form, target="85 %")
    assert "target is &#x27;85 %&#x27;; it should be a number." in form.children[1].value
    assert form.situation.facts == {"score": 0.5, "eval_items": 120, "trainable": True}
    assert "Before that answer:" in form.children[0].value  # the verdict is an earlier one's
    answer(form, target="0.85")
    assert "Before that answer:" not in form.children[0].value
    assert form.children[1].value == ""
    assert form.situation.target == 0.85


def test_without_a_front_end_it_is_a_table_of_the_answers(form, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    shown, _ = form._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/html"}
    assert "Not yet: say who grades first" in shown["text/html"]
    assert shown["text/plain"].endswith("(3 of 38 questions answered)")


def test_without_a_person_the_answers_are_in_percent_and_words():
    known = {
        "score": 7 / 120,
        "contradictions": 2 / 438,
        "payback_months": "never",
        "failures": {"format": 1},
    }
    page = questionnaire(situation({**known, "more_shots_fit": True}))._repr_html_()
    for shown in ("5.8 %", "0.5 %", "never", "100 % have the wrong form", "yes", "not known"):
        assert f">{shown}</td>" in page, shown
    assert "0.0583" not in page
