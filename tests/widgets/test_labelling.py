"""Labelling by keyboard: one key a failure, taken back by deleting it, on disk at once."""

from pathlib import Path

import pytest

from workbench.evaluation.evaluation import Item
from workbench.evaluation.failures import Failed, Failures, Label, Labels
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.requests import Answer
from workbench.widgets.labelling import KEYS, Labelling, label

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


def view(window: Labelling) -> str:
    return str(window.children[0].value)


def test_it_asks_only_what_no_rule_could_tell(window):
    assert "Failure 1 of 2" in view(window)
    assert "&lt;b&gt;night&lt;/b&gt;" in view(window)
    assert "<b>night" not in view(window)


def test_a_key_labels_and_brings_the_next_one(window, labels):
    window.field.value = "6"
    assert labels.latest == {NIGHT.key: Label("style", "person")}
    assert "Failure 2 of 2" in view(window)
    assert "never" in view(window)


def test_several_keys_at_once_are_several_labels(window, labels):
    window.field.value = "67"
    assert [each.kind for each in labels.latest.values()] == ["style", "reasoning"]
    assert "Nothing is left to label" in view(window)
    assert window.failures.unlabelled == ()


def test_deleting_a_key_takes_its_label_back(window, labels):
    window.field.value = "67"
    window.field.value = "6"
    assert list(labels.latest) == [NIGHT.key]
    window.field.value = ""
    assert labels.latest == {}
    assert "Failure 1 of 2" in view(window)


def test_a_key_in_the_middle_can_be_changed(window, labels):
    window.field.value = "67"
    window.field.value = "17"
    assert [labels.latest[each.key].kind for each in (NIGHT, NEVER)] == ["missing_knowledge", "reasoning"]


def test_a_skip_leaves_it_open_and_other_keys_mean_nothing(window, labels):
    window.field.value = "0x 6"
    assert labels.latest == {NEVER.key: Label("style", "person")}


def test_more_keys_than_failures_change_nothing(window, labels):
    window.field.value = "6677"
    assert len(labels.latest) == 2


def test_a_button_does_what_its_key_does(window, labels):
    assert [button.description for button in window.buttons][-2:] == ["9 tool use", "0 skip"]
    window.buttons[4].click()
    assert (labels.latest[NIGHT.key].kind, window.field.value) == ("instruction", "5")
    assert KEYS["5"] == "instruction"


def test_it_opens_behind_what_a_person_has_labelled(window, labels):
    window.field.value = "6"
    assert "Failure 1 of 1" in view(label(FOUND, labels))


def test_a_judges_label_is_shown_to_be_checked_and_comes_back_when_a_person_takes_theirs_back(labels):
    labels.label(NIGHT.key, "edge_case", by="judge", why="large")
    window = label(FOUND, labels)
    window.field.value = "0"
    assert "Failure 2 of 2; the judge says: edge case" in view(window)
    window.field.value = "06"
    assert labels.latest[NIGHT.key] == Label("style", "person")
    window.field.value = "0"
    assert labels.latest[NIGHT.key] == Label("edge_case", "judge", "large")


def test_without_a_front_end_it_is_a_table(window, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    shown, _ = window._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/html"}
    assert "2 failures to label by hand, the first 2" in shown["text/html"]
    monkeypatch.setenv("WORKBENCH_HEADLESS", "")
    assert WIDGET in window._repr_mimebundle_()[0]


def test_without_failures_there_is_nothing_to_label(labels):
    window = label(Failures(Prompt("best"), "base", (), 0), labels)
    window.field.value = "6"
    assert "Nothing is left to label" in view(window)
    assert labels.latest == {}
    assert repr(window) == "<Labelling: 0 of 0 seen>"
