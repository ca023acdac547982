"""The blind review from Python's side: what each key does, what the browser learns, what is left headless."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.evaluation.test_preferences import BASE, TUNED, evaluation, numbered
from workbench.evaluation.ratings import Ratings, matches
from workbench.settings import ROOT
from workbench.widgets.blind_review import BlindReview, blind_review
from workbench.widgets.row_review import LONGEST

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def ratings(tmp_path: Path) -> Ratings:
    return Ratings(tmp_path / "ratings.jsonl")


def window(ratings: Ratings, rater: str = "") -> BlindReview:
    return blind_review(BASE, TUNED, ratings=ratings, rater=rater)


def press(
    shown: BlindReview, action: str, value: object = None, *, row: int | None = None
) -> dict[str, object]:
    """Send what the browser sends for a key, and give what it is shown then."""
    at = shown.row["at"] if row is None else row
    shown._handle_custom_msg({"do": action, "row": at, "value": value}, [])
    return shown.row


def test_a_choice_is_on_disk_when_the_next_question_comes(ratings):
    shown = window(ratings)
    [first, second, *_] = matches(BASE, TUNED).asked
    assert (shown.row["question"], shown.row["at"], shown.row["of"]) == (first.question, 0, 6)
    press(shown, "choose", "first")
    [rating] = Ratings(ratings.path).latest.values()
    assert rating.choice == rating.first == first.first_for("", 0)
    assert (shown.row["said"], shown.row["question"]) == ("Saved.", second.question)


def test_left_and_right_mean_the_model_that_stood_there(ratings):
    shown = window(ratings)
    for match in matches(BASE, TUNED).asked:
        tuned = "first" if match.first_for("", 0) == "tuned" else "second"
        assert shown.row["texts"][tuned == "second"] == match.tuned
        press(shown, "choose", tuned)
    assert shown.preferences.wins.rate == 1.0


def test_every_key_is_kept_and_the_end_is_told(ratings):
    shown = window(ratings)
    for choice in ("first", "second", "tie", "both bad", "skip"):
        press(shown, "choose", choice)
    choices = [rating.choice for rating in ratings.latest.values()]
    assert choices[2:] == ["tie", "both bad", "skip"]
    assert shown.row["standing"] == "4 rated, 1 skipped, 1 open"
    press(shown, "choose", "tie")
    assert shown.row["at"] == 6
    assert "question" not in shown.row
    assert press(shown, "choose", "tie")["at"] == 6
    assert len(ratings.latest) == 6


def test_the_browser_is_told_no_models_name_and_not_who_leads(ratings):
    told = []
    shown = blind_review(
        evaluation("gpt-4.1", *"abc"), evaluation("gpt-4.1.ft-secret", *"def"), ratings=ratings, rater="Ann"
    )
    while shown.row["at"] < 3:
        told.append(json.dumps(shown.get_state(), default=str))
        press(shown, "choose", "first")
        press(shown, "back")
        told.append(json.dumps(shown.get_state(), default=str))
        press(shown, "next")
    told += [json.dumps(shown.get_state(), default=str), repr(shown), shown._repr_html_()]
    script = shown._esm if isinstance(shown._esm, str) else ""
    for text in told:
        kept = text.replace(json.dumps(script)[1:-1], "")
        assert "gpt" not in kept
        assert "secret" not in kept
        assert "tuned" not in kept
        assert '"base"' not in kept


def test_back_shows_the_choice_to_be_changed(ratings):
    shown = window(ratings)
    press(shown, "choose", "second")
    assert press(shown, "back")["picked"] == "second"
    press(shown, "choose", "tie")
    assert [rating.choice for rating in ratings.latest.values()] == ["tie"]
    press(shown, "back")
    press(shown, "back")
    assert shown.row["said"] == "This is the first question."


def test_it_opens_where_it_was_left_and_in_the_same_order(ratings):
    shown = window(ratings, "Ann")
    press(shown, "choose", "tie")
    press(shown, "choose", "skip")
    third = dict(shown.row)
    again = window(ratings, "Ann")
    assert (again.row["question"], again.row["texts"]) == (third["question"], third["texts"])
    assert repr(again) == "Blind review of 6 questions: 1 rated by Ann, 1 skipped, 4 open"


def test_another_rater_begins_anew_in_the_same_file(ratings):
    press(window(ratings, "Ann"), "choose", "tie")
    assert window(ratings, "Ben").row["at"] == 0
    press(window(ratings, "Ben"), "choose", "tie")
    assert [rater for _, rater in ratings.latest] == ["Ann", "Ben"]


def test_a_question_rated_with_another_seed_is_shown_as_it_was_rated(ratings):
    shown = window(ratings)
    texts = {}
    for _ in range(6):
        texts[shown.row["question"]] = shown.row["texts"]
        press(shown, "choose", "first")
    other = blind_review(BASE, TUNED, ratings=ratings, seed=7)
    for _ in range(6):
        press(other, "back")
        assert (other.row["texts"], other.row["picked"]) == (texts[other.row["question"]], "first")


def test_a_note_waits_for_the_choice_and_is_changed_behind_it(ratings):
    shown = window(ratings)
    assert press(shown, "note", " too long\n")["said"] == "The note is saved with your choice."
    assert shown.row["note"] == "too long"
    press(shown, "choose", "first")
    press(shown, "back")
    assert press(shown, "note", "much too long")["said"] == "Note saved."
    [rating] = ratings.latest.values()
    assert (rating.note, rating.choice == rating.first) == ("much too long", True)


def test_two_quick_keys_choose_for_the_question_that_was_in_view(ratings):
    shown = window(ratings)
    press(shown, "choose", "tie", row=0)
    press(shown, "choose", "both bad", row=0)
    assert [rating.choice for rating in ratings.latest.values()] == ["both bad"]
    assert shown.row["at"] == 1


@pytest.mark.parametrize(
    ("action", "value", "row"),
    [("choose", "left", 0), ("choose", None, 0), ("choose", "tie", 7), ("choose", "tie", "0"), ("go", 1, 0)],
)
def test_what_no_key_sends_changes_nothing(ratings, action, value, row):
    shown = window(ratings)
    press(shown, action, value, row=row)
    assert len(ratings.latest) == 0
    assert shown.row["at"] == 0


def test_what_cannot_be_saved_is_told_and_the_question_stays(tmp_path):
    (tmp_path / "file").write_text("")
    shown = window(Ratings(tmp_path / "file" / "ratings.jsonl"))
    assert str(press(shown, "choose", "first")["trouble"]).startswith("Not saved. ")
    assert shown.row["at"] == 0


def test_long_answers_are_cut_and_half_letters_replaced(ratings):
    shown = blind_review(evaluation("a", "x" * 2 * LONGEST), evaluation("b", "\ud83d"), ratings=ratings)
    assert sorted(map(len, shown.row["texts"])) == [1, LONGEST]
    assert "?" in shown.row["texts"]


def test_models_that_always_answered_alike_leave_nothing_to_choose(ratings):
    shown = blind_review(BASE, BASE, ratings=ratings)
    assert (shown.row["at"], shown.row["of"]) == (0, 0)
    assert press(shown, "choose", "first")["at"] == 0


def test_headless_it_is_a_table_in_the_blind_order(ratings, unstyled):
    shown = blind_review(numbered("a", 30), numbered("b", 30), ratings=ratings)
    press(shown, "choose", "first")
    html = unstyled(shown._repr_html_())
    assert "Blind review of 30 questions: 1 rated, 0 skipped, 29 open, the first 10" in html
    assert "<td>answer 1</td></tr>" in html


CODE = """
from tests.evaluation.test_preferences import BASE, TUNED
from workbench.evaluation.ratings import Ratings
from workbench.widgets.blind_review import blind_review
window = blind_review(BASE, TUNED, ratings=Ratings("ratings.jsonl"))
window
"""


@pytest.mark.parametrize(("headless", "live"), [("1", False), ("", True)])
def test_a_notebook_shows_a_window_and_without_a_person_a_table(headless, live, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HEADLESS", headless)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cells = [nbformat.v4.new_code_cell(CODE), nbformat.v4.new_code_cell("window.preferences")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown, preferred = (cell.outputs[0]["data"] for cell in notebook.cells)
    assert (WIDGET in shown) == live
    assert "6 questions: 0 rated" in shown["text/html"]
    assert "No rating by people yet" in preferred["text/html"]
