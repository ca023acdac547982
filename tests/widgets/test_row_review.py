"""The review from Python's side: what each key does, what a row shows, what is left without a browser."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from workbench.dataset.check.report import FileFacts, Group, Report
from workbench.dataset.check.row import Finding
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.review import Decisions
from workbench.widgets.row_review import LONGEST, Block, Review, editable, edited, findings_at, review, seen

WIDGET = "application/vnd.jupyter.widget-view+json"


def asked(line: int, question: str, answer: str) -> Example:
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(messages, f"faq.jsonl:{line}")


FAQ = Dataset(
    "faq.jsonl",
    (
        asked(1, "May I return it?", "Yes, within 30 days."),
        asked(2, "Where is my parcel?", "As an AI I cannot know."),
        asked(3, "Is it blue?", "It is <b>blue</b>."),
    ),
)
RETURN, PARCEL, BLUE = FAQ
REFUSAL = Finding(
    "warning", "refusal", "messages[1].content", "the answer refuses", "answer, or drop the row"
)
REPORT = Report((FileFacts("faq.jsonl", "training", 3),), (Group(REFUSAL, "faq.jsonl", [2]),), "sft")
PAIR = Example(
    ({"role": "user", "content": "Is it blue?"},),
    "pairs.jsonl:1",
    {
        "preferred_output": [{"role": "assistant", "content": "It is."}],
        "non_preferred_output": [{"role": "assistant", "content": "Dunno."}],
    },
)
CALL = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"parcel": 4711}'}}
CALLING = Example(
    ({"role": "user", "content": "Where?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}),
    "t:1",
)


@pytest.fixture
def decisions(tmp_path: Path) -> Decisions:
    return Decisions(tmp_path / "review.jsonl")


def press(window: Review, action: str, value: object = None, *, row: int | None = None) -> dict[str, object]:
    """Send what the browser sends for a key, and give what it is shown then."""
    at = window.row["at"] if row is None else row
    window._handle_custom_msg({"do": action, "row": at, "value": value}, [])
    return window.row


def test_a_decision_is_on_disk_when_the_next_row_comes(decisions):
    shown = press(review(FAQ, decisions), "keep")
    assert (shown["origin"], shown["said"]) == ("faq.jsonl:2", "Kept.")
    assert Decisions(decisions.path).of(RETURN).verdict == "keep"


def test_keys_keep_drop_edit_rate_and_comment(decisions):
    window = review(FAQ, decisions)
    press(window, "keep")
    press(window, "rate", 2)
    press(window, "comment", " a refusal\n")
    press(window, "drop")
    press(window, "edit", "It is blue.")
    decided = [decisions.of(example) for example in FAQ]
    assert [decision.verdict for decision in decided] == ["keep", "drop", "edit"]
    assert (decided[1].rating, decided[1].comment) == (2, "a refusal")
    assert [example.answer for example in decisions.apply(FAQ)] == ["Yes, within 30 days.", "It is blue."]


def test_the_standing_is_told_with_every_row(decisions):
    window = review(FAQ, decisions)
    assert window.row["counts"] == "0 kept, 0 dropped, 0 edited, 3 open"
    press(window, "drop")
    shown = press(window, "keep")
    assert (shown["at"], shown["of"]) == (2, 3)
    assert shown["counts"] == "1 kept, 1 dropped, 0 edited, 1 open"


def test_decisions_about_other_files_of_the_project_are_not_counted(decisions):
    decisions.decide(asked(1, "Another?", "file"), "drop")
    assert review(FAQ, decisions).row["counts"] == "0 kept, 0 dropped, 0 edited, 3 open"


def test_a_rating_stays_at_its_row_and_the_same_again_takes_it_back(decisions):
    window = review(FAQ, decisions)
    assert (press(window, "rate", 4)["at"], window.row["rating"]) == (0, 4)
    assert press(window, "rate", 4)["rating"] is None


@pytest.mark.parametrize("rating", [0, 6, True, "5", None])
def test_what_is_no_rating_changes_nothing(decisions, rating):
    press(review(FAQ, decisions), "rate", rating)
    assert len(decisions) == 0


def test_the_end_is_told(decisions):
    window = review(FAQ.take(1), decisions)
    assert press(window, "keep")["said"] == "Kept. All rows are decided."


def test_going_on_decides_nothing_and_ends_at_the_ends(decisions):
    window = review(FAQ, decisions)
    assert press(window, "go", -1)["said"] == "This is the first row."
    press(window, "go", 1)
    press(window, "go", 1)
    assert press(window, "go", 1)["said"] == "This is the last row; 3 still open."
    assert window.row["at"] == 2
    assert len(decisions) == 0


def test_two_quick_keys_decide_about_the_row_that_was_in_view(decisions):
    window = review(FAQ, decisions)
    press(window, "drop", row=0)
    press(window, "drop", row=0)
    assert window.row["at"] == 1
    assert decisions.of(PARCEL) is None


def test_undo_goes_back_decision_by_decision(decisions):
    decisions.decide(RETURN, "keep", rating=5)
    window = review(FAQ, decisions)
    press(window, "go", -1)
    press(window, "drop")
    press(window, "drop")
    assert (press(window, "undo")["at"], decisions.of(PARCEL)) == (1, None)
    shown = press(window, "undo")
    assert (shown["at"], shown["verdict"], shown["rating"], shown["said"]) == (0, "keep", 5, "Undone.")
    assert press(window, "undo")["said"] == "Nothing was changed here since this was opened."


def test_undo_brings_an_edit_back(decisions):
    window = review(FAQ, decisions)
    press(window, "edit", "Yes, within 14 days.")
    press(window, "drop", row=0)
    press(window, "undo")
    assert decisions.apply(FAQ)[0].answer == "Yes, within 14 days."


def test_an_edited_row_is_shown_as_it_will_be_trained_and_keeping_it_keeps_the_edit(decisions):
    window = review(FAQ, decisions)
    press(window, "edit", "Yes, within 14 days.")
    shown = press(window, "go", -1)
    assert (shown["verdict"], shown["text"]) == ("edit", "Yes, within 14 days.")
    assert shown["blocks"][1]["text"] == "Yes, within 14 days."
    press(window, "keep")
    assert decisions.of(RETURN).verdict == "edit"


def test_editing_back_to_the_original_is_keeping_it(decisions):
    window = review(FAQ, decisions)
    press(window, "edit", "Yes, within 14 days.")
    press(window, "edit", "Yes, within 30 days.", row=0)
    assert decisions.of(RETURN).verdict == "keep"


def test_an_edit_that_cannot_be_used_is_told_and_the_row_stays(decisions):
    window = review(Dataset("tools", (CALLING,)), decisions)
    shown = press(window, "edit", '{"messages": [')
    assert shown["trouble"].startswith("Not saved. The line is no JSON any more: ")
    assert press(window, "edit", "{}")["trouble"].startswith("Not saved. The edited row cannot be used: ")
    assert press(window, "edit", "[]")["trouble"].startswith("Not saved. The line is no JSON object any more")
    assert len(decisions) == 0


def test_a_disk_that_refuses_is_told_and_the_row_stays(tmp_path):
    (tmp_path / "file").write_text("")
    shown = press(review(FAQ, Decisions(tmp_path / "file" / "review.jsonl")), "drop")
    assert "cannot be written" in shown["trouble"]
    assert shown["at"] == 0


@pytest.mark.parametrize("message", [{}, {"do": "burn", "row": 0}, {"do": "drop", "row": 7}, {"do": "drop"}])
def test_a_message_that_means_nothing_does_nothing(decisions, message):
    window = review(FAQ, decisions)
    window._handle_custom_msg(message, [])
    assert window.row["at"] == 0
    assert len(decisions) == 0


def test_every_message_is_answered_so_that_the_browser_knows_it_arrived(decisions):
    window, answers = review(FAQ, decisions), []
    window.observe(lambda change: answers.append(change["new"]), "row")
    press(window, "go", -1)
    press(window, "go", -1)
    assert len(answers) == 2


def test_a_review_opens_behind_the_row_decided_last(decisions):
    press(review(FAQ, decisions), "keep", row=1)
    assert review(FAQ, decisions).row["origin"] == "faq.jsonl:3"


def test_what_was_skipped_comes_when_the_end_is_decided(decisions):
    press(review(FAQ, decisions), "keep", row=2)
    assert review(FAQ, decisions).row["origin"] == "faq.jsonl:1"


def test_a_finished_review_opens_at_the_row_decided_last(decisions):
    window = review(FAQ, decisions)
    for row in (0, 2, 1):
        press(window, "keep", row=row)
    assert review(FAQ, decisions).row["origin"] == "faq.jsonl:2"


def test_the_place_is_found_again_in_a_file_that_was_sorted_and_extended(decisions):
    press(review(FAQ, decisions), "drop")
    changed = Dataset("faq.jsonl", (asked(1, "New?", "Yes."), BLUE, RETURN, PARCEL))
    window = review(changed, decisions)
    assert window.row["counts"] == "0 kept, 1 dropped, 0 edited, 3 open"
    assert window.row["blocks"][0]["text"] == "Where is my parcel?"


def test_identical_rows_are_shown_once(decisions):
    window = review(Dataset("twice", (RETURN, BLUE, RETURN)), decisions)
    assert (window.row["of"], window.row["copies"]) == (2, 2)
    assert press(window, "go", 1)["copies"] == 1


def test_with_a_report_the_suspicious_come_first_with_their_findings(decisions):
    window = review(FAQ, decisions, report=REPORT)
    assert (window.row["order"], window.row["origin"]) == ("suspicious", "faq.jsonl:2")
    assert window.row["findings"] == [REFUSAL._asdict()]
    assert press(window, "go", 1)["findings"] == []


def test_an_order_can_be_asked_for(decisions):
    assert review(FAQ, decisions, order="longest").row["origin"] == "faq.jsonl:2"
    with pytest.raises(DataError, match="no order 'worst'"):
        review(FAQ, decisions, order="worst")


def test_findings_of_a_row_are_those_at_its_line_of_its_file():
    assert findings_at(REPORT, "faq.jsonl:2") == [REFUSAL]
    assert findings_at(REPORT, "faq.jsonl:3") == []
    assert findings_at(REPORT, "other.jsonl:2") == []
    assert findings_at(REPORT, "a sample without a line") == []


def test_half_a_surrogate_pair_travels_as_a_question_mark(decisions):
    window = review(Dataset("half", (asked(1, json.loads(r'"\ud83d"'), "Yes."),)), decisions)
    assert window.row["blocks"][0]["text"] == "?"


def test_without_rows_there_is_nothing_to_press(decisions):
    window = review(Dataset("none", ()), decisions)
    assert window.row["of"] == 0
    window._handle_custom_msg({"do": "keep", "row": 0}, [])
    assert len(decisions) == 0


def test_messages_that_are_learned_are_marked():
    chat = (
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hm?"}, {"type": "image_url", "image_url": {}}],
        },
        {"role": "assistant", "content": "Not this.", "weight": 0},
        {"role": "assistant", "content": "This."},
    )
    assert seen(Example(chat, "c:1", {"tools": []}), None).blocks == [
        Block("system", "", "Be kind."),
        Block("user", "", "Hm?\n[1 image]"),
        Block("assistant", "", "Not this."),
        Block("assistant", "trained", "This."),
        Block("also in the line", "", '{\n "tools": []\n}'),
    ]


def test_a_pair_shows_which_answer_is_preferred():
    assert seen(PAIR, None).blocks[1:] == [
        Block("assistant", "trained, preferred", "It is."),
        Block("assistant", "trained against", "Dunno."),
    ]


def test_with_a_model_the_row_is_shown_in_its_chat_template():
    assert seen(BLUE, "gpt-4.1-mini") == (
        "Roughly what gpt-4.1-mini sees; its own template is not published",
        [
            Block("", "", "<|im_start|>user\nIs it blue?<|im_end|>\n<|im_start|>assistant\n"),
            Block("", "trained", "It is <b>blue</b>.<|im_end|>"),
        ],
    )


def test_a_pair_in_the_chat_template_shows_its_prompt_once():
    marks = [block.mark for block in seen(PAIR, "gpt-4.1-mini").blocks]
    assert marks == ["", "trained, preferred", "trained against"]


def test_a_row_longer_than_anybody_reads_is_cut_and_not_edited_here(decisions):
    window = review(Dataset("long", (asked(1, "?", "x" * (LONGEST + 10)),)), decisions)
    assert window.row["blocks"][1]["text"].endswith("x … 11 more characters")
    assert window.row["text"] is None


def test_the_answer_is_edited_alone_where_it_is_a_text():
    assert editable(PAIR) == "It is."
    assert edited(PAIR, "Yes, blue.") == {
        "input": {"messages": ({"role": "user", "content": "Is it blue?"},)},
        "preferred_output": [{"role": "assistant", "content": "Yes, blue."}],
        "non_preferred_output": [{"role": "assistant", "content": "Dunno."}],
    }


def test_a_tool_call_is_edited_as_its_line():
    assert json.loads(editable(CALLING)) == json.loads(json.dumps(CALLING.wire))
    assert (
        edited(CALLING, editable(CALLING).replace("4711", "4712"))["messages"][1]["tool_calls"][0]["id"]
        == "1"
    )


def test_an_empty_answer_is_refused():
    with pytest.raises(DataError, match="answer is empty; write one, or drop the row"):
        edited(RETURN, " \n")


def test_a_table_is_left_where_no_browser_answers(decisions, unstyled):
    decisions.decide(RETURN, "drop")
    bundle, _ = review(FAQ, decisions, report=REPORT)._repr_mimebundle_()
    assert WIDGET not in bundle
    said = "Review of faq.jsonl: 3 rows, 0 kept, 1 dropped, 0 edited, 2 open"
    assert bundle["text/plain"] == said
    html = unstyled(bundle["text/html"])
    assert f"<caption>{said}, order suspicious</caption>" in html
    assert '<tr><th scope="row">faq.jsonl:2</th><td>open</td><td>the answer refuses</td>' in html
    assert "<td>It is &lt;b&gt;blue&lt;/b&gt;.</td>" in html


def test_with_a_browser_the_table_stands_behind_the_window(decisions, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "")
    window = review(FAQ, decisions)
    bundle, _ = window._repr_mimebundle_()
    assert bundle[WIDGET]["model_id"] == window.model_id
    assert set(bundle) == {WIDGET, "text/plain", "text/html"}
    assert "export default { render }" in window._esm


def test_a_headless_notebook_goes_on_and_keeps_a_table_and_no_widget(tmp_path):
    code = f"""
from pathlib import Path
from workbench import Dataset, Example
from workbench.review import Decisions
from workbench.widgets.row_review import review
chat = ({{"role": "user", "content": "?"}}, {{"role": "assistant", "content": "Yes."}})
faq = Dataset("faq.jsonl", (Example(chat, "faq.jsonl:1"),))
decisions = Decisions(Path({str(tmp_path / "review.jsonl")!r}))
"""
    cells = [
        nbformat.v4.new_code_cell(line) for line in (code, "review(faq, decisions)", "decisions.apply(faq)")
    ]
    notebook = NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=60).execute()
    shown, applied = notebook.cells[1].outputs, notebook.cells[2].outputs
    assert [set(output.data) for output in shown] == [{"text/plain", "text/html"}]
    assert "faq.jsonl: 1 example" in applied[0].data["text/html"]
    assert "widgets" not in notebook.metadata
