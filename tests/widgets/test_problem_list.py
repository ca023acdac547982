"""The list of problems: rows by page, what a repair would make of one, choices that last or are undone."""

from pathlib import Path

import pytest

from workbench.dataset.check.report import FileFacts, Group, Report
from workbench.dataset.check.row import Finding
from workbench.dataset.dataset import Dataset, Example
from workbench.project import Project
from workbench.widgets.problem_list import PAGE, ProblemList, problems

ROWS = (
    ("Where is parcel 1?", " It is on its way. "),
    ("Who signed?", "Ask jane.miller@contoso.com"),
    ("Is it <b>blue</b>?", "Yes. "),
)
SPACE = Finding("warning", "whitespace", "messages[1].content", "white space around the answer", "strip it")
PII = Finding("warning", "pii", "messages[1].content", "an e-mail address stands here", "redact it")
SKEW = Finding("warning", "skew", "", "the instruction is another one", "train with the prompt in use")


def dataset(*rows: tuple[str, str]) -> Dataset:
    chats = (({"role": "user", "content": q}, {"role": "assistant", "content": a}) for q, a in rows)
    return Dataset("faq.csv", tuple(Example(chat, f"faq.csv:{n}") for n, chat in enumerate(chats, 2)))


def report(*groups: Group) -> Report:
    return Report((FileFacts("faq.csv", "training", 3),), groups, "sft")


FOUND = report(Group(SPACE, "faq.csv", (2, 4)), Group(PII, "faq.csv", (3,)), Group(SKEW, "faq.csv"))


@pytest.fixture
def window() -> ProblemList:
    return problems(dataset(*ROWS), FOUND)


def answers(window: ProblemList) -> list[str]:
    return [example.answer for example in window.repair.apply()]


def shown(window: ProblemList) -> str:
    return str(window.children[4].value)


def test_each_finding_is_a_line_with_its_places(window):
    assert [label for label, _ in window.findings.options] == [
        "! warning: whitespace, 2 places",
        "! warning: pii, 1 place",
        "! warning: skew, 1 place",
    ]
    assert [label for label, _ in window.rows.options] == [
        "faq.csv:2  Where is parcel 1?",
        "faq.csv:4  Is it <b>blue</b>?",
    ]


def test_a_row_is_shown_as_the_repair_would_make_it_and_as_text(window):
    window.rows.index = 1
    assert "<b>--- faq.csv:4</b>" in shown(window)
    assert "- assistant: Yes.<u>·</u>" in shown(window)
    assert "Is it &lt;b&gt;blue&lt;/b&gt;?" in shown(window)
    assert "<b>blue</b>" not in shown(window)


def test_nothing_is_repaired_before_somebody_chooses_it_and_undo_takes_it_back(window):
    assert answers(window) == [" It is on its way. ", "Ask jane.miller@contoso.com", "Yes. "]
    window.repair_it.click()
    assert answers(window) == ["It is on its way.", "Ask jane.miller@contoso.com", "Yes."]
    assert window.findings.options[0][0] == "! warning: whitespace, 2 places, is repaired"
    assert (window.repair_it.disabled, window.undo.disabled) == (True, False)
    window.findings.index = 1
    window.repair_it.click()
    assert answers(window) == ["It is on its way.", "Ask [EMAIL_1]", "Yes."]
    window.undo.click()
    assert window.chosen == ["whitespace"]
    assert answers(window)[1] == "Ask jane.miller@contoso.com"


def test_a_second_click_changes_nothing(window):
    for _ in range(3):
        window.repair_it.click()
    assert window.chosen == ["whitespace"]
    for _ in range(3):
        window.undo.click()
    assert window.chosen == []


def test_what_is_personal_is_masked(window):
    window.findings.index = 1
    assert "Ask ja•••" in shown(window).replace("<u>", "").replace("</u>", "")
    assert "miller" not in shown(window) + window._repr_html_() + repr(window)


def test_a_rule_without_a_repair_says_so_and_cannot_be_chosen(window):
    window.findings.index = 2
    assert "There is no repair for this rule" in shown(window)
    assert window.repair_it.disabled
    window.repair_it.click()
    assert window.chosen == []
    assert window.rows.options == ()


def test_the_choice_is_there_again_for_the_same_data_and_rules_only(tmp_path: Path):
    project, data = Project("shop", tmp_path), dataset(*ROWS)
    window = problems(data, FOUND, rules=["pii"], project=project)
    assert window.chosen == ["pii"]
    window.repair_it.click()
    again = problems(data, FOUND, rules=["pii"], project=project)
    assert again.chosen == ["pii", "whitespace"]
    assert problems(data, FOUND, rules=["secret"], project=project).chosen == ["secret"]
    assert problems(dataset(*ROWS[:2]), FOUND, rules=["pii"], project=project).chosen == ["pii"]


def test_a_hundred_thousand_rows_come_in_pages():
    many = dataset(*((f"Where is parcel {n}?", f"Answer {n} ") for n in range(100_000)))
    window = problems(many, report(Group(SPACE, "faq.csv", range(2, 100_002))))
    assert len(window.rows.options) == PAGE == 50
    window.after.click()
    window.rows.index = 3
    assert window.rows.options[3][0] == "faq.csv:55  Where is parcel 53?"
    assert "+ assistant: Answer 53" in shown(window)
    assert len(str(window.rows.options)) + len(shown(window)) < 10_000
    assert (window.before.disabled, window.after.disabled) == (False, False)


def test_a_choice_that_cannot_be_kept_says_so_and_counts(tmp_path: Path):
    (tmp_path / "file").write_text("where the project's folder should be")
    window = problems(dataset(*ROWS), FOUND, project=Project("p", tmp_path / "file"))
    window.repair_it.click()
    said = str(window.children[0].value)
    assert "Chosen for repair: whitespace" in said
    assert "It counts here and is not kept: " in said
    assert answers(window)[0] == "It is on its way."


def test_a_report_without_problems_is_shown_too():
    window = problems(dataset(*ROWS), report())
    assert "There is no problem to show." in shown(window)
    assert (window.repair_it.disabled, window.undo.disabled) == (True, True)


def test_headless_it_is_a_table_of_the_repair(window, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    still, _ = window._repr_mimebundle_()
    assert set(still) == {"text/plain", "text/html"}
    assert "Nothing to repair." in still["text/html"]
