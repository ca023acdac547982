"""Labelling by keyboard: one key a failure, taken back by one key, on disk at once."""

from pathlib import Path

import pytest

from workbench.evaluation.evaluation import Item
from workbench.evaluation.failures import Failed, Failures, Label, Labels
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.requests import Answer
from workbench.widgets.labelling import Labelling, label

WIDGET = "application/vnd.jupyter.widget-view+json"


def failed(answer: str, known: Label | None = None) -> Failed:
    answers = (Answer(answer, "stop", 0.1, 9, 2, score=0.0),)
    return Failed(Item(answer, "faq.csv:2", "When?", "By noon.", answers), known)


FORMAT = failed("BY NOON", Label("format", "rule"))
NIGHT, NEVER = failed("<b>night</b>"), failed("never")
FOUND = Failures(Prompt("best"), "base", (FORMAT, NIGHT, NEVER), 3)


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return Labels(tmp_path / "labels.jsonl")


@pytest.fixture
def window(labels: Labels) -> Labelling:
    return label(FOUND, labels)


def press(window: Labelling, action: str, value: str | None = None) -> None:
    """What the browser sends when a key is pressed at the failure in view."""
    window._hear(window, {"do": action, "row": window.row["at"], "value": value}, [])


def test_it_asks_only_what_no_rule_could_tell(window):
    assert (window.row["at"], window.row["of"]) == (0, 2)
    assert window.row["answer"] == "<b>night</b>"  # as text: the page sets it as such
    assert window.row["origin"] == "faq.csv:2"


def test_a_key_labels_and_brings_the_next_one(window, labels):
    press(window, "label", "6")
    assert labels.latest == {NIGHT.key: Label("style", "person")}
    assert (window.row["at"], window.row["answer"]) == (1, "never")
    assert (window.row["said"], window.row["standing"]) == ("Saved: style.", "1 labelled, 1 open")


def test_each_key_is_explained(window):
    kinds = window.row["kinds"]
    assert kinds[8] == ("9", "tool use", "the wrong tool, or wrong arguments")
    assert [key for key, _, _ in kinds] == list("123456789")


def test_the_last_label_leads_to_the_end_and_back_to_choose_again(window, labels):
    press(window, "label", "6")
    press(window, "label", "7")
    assert window.row["at"] == window.row["of"] == 2
    assert window.failures.unlabelled == ()
    press(window, "label", "1")  # nothing is in view
    press(window, "back")
    assert window.row["picked"] == "7"
    press(window, "label", "1")
    assert [labels.latest[each.key].kind for each in (NIGHT, NEVER)] == ["style", "missing_knowledge"]


def test_undo_takes_the_last_label_back_and_shows_its_failure(window, labels):
    press(window, "undo")
    assert window.row["said"] == "Nothing was changed here since this was opened."
    press(window, "label", "6")
    press(window, "label", "7")
    press(window, "undo")
    assert (list(labels.latest), window.row["at"]) == ([NIGHT.key], 1)
    press(window, "undo")
    assert (labels.latest, window.row["at"]) == ({}, 0)


def test_a_skip_leaves_it_open_and_other_keys_mean_nothing(window, labels):
    press(window, "skip")
    press(window, "label", "x")
    assert (labels.latest, window.row["at"]) == ({}, 1)
    window._hear(window, {"do": "label", "row": 99, "value": "1"}, [])
    assert labels.latest == {}


def test_a_key_pressed_at_one_failure_labels_that_one_even_if_the_next_is_in_view(window, labels):
    press(window, "skip")
    window._hear(window, {"do": "label", "row": 0, "value": "5"}, [])
    assert labels.latest == {NIGHT.key: Label("instruction", "person")}


def test_it_opens_behind_what_a_person_has_labelled(window, labels):
    press(window, "label", "6")
    assert (label(FOUND, labels).row["of"], label(FOUND, labels).row["answer"]) == (1, "never")


def test_a_judges_label_is_shown_to_be_checked_and_comes_back_when_a_person_takes_theirs_back(labels):
    labels.label(NIGHT.key, "edge_case", by="judge", why="large")
    window = label(FOUND, labels)
    press(window, "skip")
    assert (window.row["answer"], window.row["judged"]) == ("<b>night</b>", "edge case")
    press(window, "label", "6")
    assert labels.latest[NIGHT.key] == Label("style", "person")
    press(window, "undo")
    assert labels.latest[NIGHT.key] == Label("edge_case", "judge", "large")


def test_a_label_that_cannot_be_saved_is_shown_as_trouble(window, labels):
    labels.path.mkdir()
    press(window, "label", "6")
    assert window.row["trouble"].startswith("Not saved. ")
    assert window.row["at"] == 0


def test_without_a_front_end_it_is_a_table(window, monkeypatch, unstyled):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    shown, _ = window._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/html"}
    assert "2 failures to label by hand: 0 labelled, 2 open" in shown["text/html"]
    assert "<td>&lt;b&gt;night&lt;/b&gt;</td>" in unstyled(shown["text/html"])
    monkeypatch.setenv("WORKBENCH_HEADLESS", "")
    assert WIDGET in label(FOUND, Labels("none"))._repr_mimebundle_()[0]


def test_without_failures_there_is_one_sentence_and_no_window(labels, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "")
    window = label(Failures(Prompt("best"), "base", (FORMAT,), 1), labels)
    shown, facts = window._repr_mimebundle_()
    assert (set(shown), facts) == ({"text/plain", "text/html"}, {})
    assert repr(window) == "Nothing to label by hand: 1 failure, all with a kind."
    press(window, "label", "6")
    assert labels.latest == {}
