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
    groups = form.children[2]
    assert groups.titles == (
        "The goal",
        "The evaluation",
        "The failures",
        "Knowledge",
        "The model",
        "What trainings brought",
        "The data",
    )
    assert [len(group.children) / 2 for group in groups.children] == [5, 9, 9, 3, 10, 4, 7]  # each has a note
    asked = [name for name in form.fields if name not in FAILURES]
    assert asked == [name for name in questions() if name != "failures"]


def test_what_was_measured_is_filled_in(form):
    assert form.fields["score"].value == "50 %"
    assert form.fields["trainable"].value == "yes"
    assert form.fields["target"].value == ""
    assert form.fields["motive"].value == "not known"


def test_each_answer_counts_at_once(form):
    answer(form, grader="programmatic", motive="quality", target="0.5")
    assert form.situation.target == 0.5
    assert form.decision.verdict == "keep_prompting"
    assert "<b>Keep the prompt as it is" in form.children[1].value


def test_an_answer_can_be_taken_back(form):
    answer(form, score="", trainable="not known")
    assert form.situation.facts == {"eval_items": 120}


def test_failures_are_shares_by_kind(form):
    answer(form, format="1")
    assert form.situation.failures == {"format": 1}


def test_shares_may_be_typed_in_percent_and_large_numbers_with_commas(form):
    answer(form, target="85 %", requests_per_month="100,000", shots_gain="2 points", format="60%")
    answer(form, style="0.4", months_of_service="unlimited", agreement="0.62")
    known = form.situation
    assert (known.target, known.requests_per_month, known.shots_gain) == (0.85, 100_000, 0.02)
    assert known.failures == {"format": 0.6, "style": 0.4}
    assert (known.months_of_service, known.agreement) == (float("inf"), 0.62)


def test_what_was_measured_keeps_all_its_digits_when_another_answer_changes():
    form = questionnaire(situation({"score": 7 / 120, "requests_per_month": 12_345}))
    assert (form.fields["score"].value, form.fields["requests_per_month"].value) == ("5.8 %", "12,345")
    answer(form, target="0.9")
    assert form.situation.score == 7 / 120


def test_an_answer_that_cannot_be_is_named_at_its_field_and_the_others_stand(form):
    answer(form, target="85")
    assert form.notes["target"].value == (
        '<p role="alert">✕ The score that is good enough is 85; it should be 1 or less. '
        "For 85 percent write 85 % or 0.85.</p>"
    )
    assert [name for name, note in form.notes.items() if note.value] == ["target"]
    assert form.situation.facts == {"score": 0.5, "eval_items": 120, "trainable": True}
    assert "Without the answer marked ✕ below" in form.children[1].value  # the verdict is an earlier one's
    assert "opacity:.6" in form.children[1].value
    answer(form, target="0.85")
    assert "With these answers" in form.children[1].value
    assert "opacity" not in form.children[1].value
    assert form.notes["target"].value == ""
    assert form.situation.target == 0.85


def test_a_wrong_answer_stays_marked_while_another_one_is_given(form):
    answer(form, target="abc")
    answer(form, motive="quality")
    assert form.notes["target"].value == (
        '<p role="alert">✕ The score that is good enough is &#x27;abc&#x27;; it should be a number.</p>'
    )
    assert form.notes["motive"].value == ""


def test_answers_that_cannot_stand_together_are_named_at_the_field_they_are_about(form):
    answer(form, demonstrations="10", leaks="12")
    assert "The number of examples that are in the test as well is 12: more than the 10" in (
        form.notes["leaks"].value
    )
    answer(form, leaks="", format="0.5")
    assert "failures sum to 0.50; the shares of all failures sum to 1." in form.notes["format"].value


def test_without_a_front_end_it_is_a_folded_table_of_the_answers(form, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    shown, _ = form._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/html"}
    assert "<summary>3 of 39 questions are answered</summary>" in shown["text/html"]
    assert "Not yet" not in shown["text/html"]  # the verdict has a cell of its own
    assert shown["text/plain"].endswith("(3 of 39 questions answered)")


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
