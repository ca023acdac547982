"""The item browser from Python's side: which items come first, what one shows, what is left headless."""

import math
import time
from dataclasses import replace

import pytest

from workbench.dataset.dataset import Dataset, Example
from workbench.evaluation.compare import Comparison, compare
from workbench.evaluation.evaluate import questions as questions_of
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.prompts import Prompt, nearest
from workbench.evaluation.requests import Answer
from workbench.evaluation.scores import pair
from workbench.widgets.item_browser import LONGEST, ItemBrowser, browse, diffed

WIDGET = "application/vnd.jupyter.widget-view+json"
QUESTIONS = (
    "May I return the kettle?",
    "Where is parcel 4711?",
    "Is it <b>blue</b>?",
    "Do you ship to Norway?",
)
PROMPT = Prompt("as trained", system="Be <i>brief</i>.")


def evaluation(model: str, *scores: float, questions: tuple[str, ...] = QUESTIONS) -> Evaluation:
    items = [
        Item(
            *(f"q{n}", f"test.jsonl:{n}", question, "Yes, within 30 days."),
            answers=(
                Answer(
                    *(f"{model} says {score:g}", "stop", 0.25, 40, 6),
                    score=score,
                    reason="it is <exact>" if score else "another answer",
                ),
            ),
        )
        for n, (question, score) in enumerate(zip(questions, scores, strict=True), start=1)
    ]
    return Evaluation(model, PROMPT, grader("exact"), tuple(items), 64, 0.0)


TRAINING = Dataset(
    "train.jsonl",
    tuple(
        Example(({"role": "user", "content": question}, {"role": "assistant", "content": answer}), origin)
        for question, answer, origin in (
            ("May I return the kettle I bought?", "No, <never>.", "train.jsonl:7"),
            ("Where is parcel 4711?", "In Oslo.", "train.jsonl:8"),
            ("Good morning", "Hello!", "train.jsonl:9"),
        )
    ),
)


@pytest.fixture
def comparison() -> Comparison:
    return compare(evaluation("small", 1, 0, 0, 1), evaluation("tuned", 0, 1, 0, 1))


@pytest.fixture
def window(comparison: Comparison) -> ItemBrowser:
    return browse(comparison, training=TRAINING)


def view(window: ItemBrowser) -> str:
    return str(window.row["page"])


def send(window: ItemBrowser, action: str, value: object) -> None:
    """What the browser sends when a key is pressed or a control is changed."""
    window._hear(window, {"do": action, "value": value}, [])


def questions(window: ItemBrowser) -> list[str]:
    return [base.question for base, _ in window.items]


def test_it_opens_with_what_got_worse(window):
    assert questions(window) == ["May I return the kettle?"]
    assert "<b>right → wrong</b> · test.jsonl:1 · q1" in view(window)
    assert [shown for _, shown in window.row["filters"]] == [
        "right → wrong (1)",
        "wrong → right (1)",
        "both wrong (1)",
        "scores differ (2)",
        "no score (0)",
        "all (4)",
    ]


def test_filters_choose_and_the_worst_difference_comes_first(window):
    send(window, "show", "both wrong")
    assert questions(window) == ["Is it <b>blue</b>?"]
    send(window, "show", "scores differ")
    assert questions(window) == ["May I return the kettle?", "Where is parcel 4711?"]
    send(window, "show", "no score")
    assert view(window) == "<p>No such item.</p>"


def test_without_a_regression_it_opens_with_what_differs_and_else_with_all():
    better = compare(evaluation("small", 0, 0, 0, 0), evaluation("tuned", 0, 1, 0, 0))
    assert questions(browse(better)) == ["Where is parcel 4711?"]
    same = compare(evaluation("small", 0, 0, 0, 0), evaluation("tuned", 0, 0, 0, 0))
    assert len(browse(same).items) == 4


def test_steps_lead_through_and_end_at_the_ends(window):
    send(window, "show", "all")
    send(window, "go", -1)
    assert (window.row["at"], window.row["of"]) == (0, 4)
    send(window, "go", 99)
    assert window.row["at"] == 3
    assert "Do you ship to Norway?" in view(window)
    send(window, "show", "both wrong")
    assert (window.row["at"], window.row["of"]) == (0, 1)
    assert "test.jsonl:3" in view(window)


def test_what_no_filter_is_called_changes_nothing(window):
    send(window, "show", "everything")
    assert window.row["which"] == "right → wrong"


def test_words_choose_whatever_their_case(window):
    send(window, "show", "all")
    send(window, "find", "NORWAY small")
    assert questions(window) == ["Do you ship to Norway?"]


def test_an_item_shows_reason_tokens_time_and_prompt(window):
    shown = view(window)
    assert "<b>score 1</b>: it is &lt;exact&gt;" in shown
    assert "<b>score 0</b>: another answer" in shown
    assert "40 tokens asked · 6 answered · 0.25 s" in shown
    assert "Be &lt;i&gt;brief&lt;/i&gt;." in shown


def test_the_training_rows_most_like_it_are_there_with_file_and_line(window, unstyled):
    shown = unstyled(view(window))
    assert '<th scope="row">train.jsonl:7</th><td></td><td>May I return the kettle I bought?</td>' in shown
    assert "No, &lt;never&gt;." in shown
    send(window, "show", "wrong → right")
    assert '<th scope="row">train.jsonl:8</th><td>the same question</td>' in unstyled(view(window))


def test_a_question_like_no_training_row_says_so():
    one = evaluation("small", 1, questions=("Xylophone?",)), evaluation("tuned", 0, questions=("Xylophone?",))
    assert "No training row shares a word with this question." in view(
        browse(compare(*one), training=TRAINING)
    )


def test_what_could_not_be_graded_is_found_with_its_problem():
    base, tuned = evaluation("small", 1, 1, 1, 1), evaluation("tuned", 1, 1, 1, 1)
    failed = tuned.items[0].answered(score=math.nan, reason="", problem="the judge refused", seconds=math.nan)
    broken = replace(tuned, items=(failed, *tuned.items[1:]))
    window = browse(pair(base, broken, missing="refuse"))
    send(window, "show", "no score")
    assert "<b>no score</b>. the judge refused" in view(window)


# The words of an answer against the reference


@pytest.mark.parametrize(
    ("answer", "reference", "shown"),
    [
        ("by noon", "by noon", "by noon"),
        ("by night", "by noon", "by <del>noon</del><ins>night</ins>"),
        ("by noon, surely", "by noon", "by noon<ins>, surely</ins>"),
        ("noon", "by noon", "<del>by </del>noon"),
        ("a < b", "a > b", "a <del>&gt;</del><ins>&lt;</ins> b"),
        ("", "by noon", "<del>by noon</del>"),
        ("\ud83d", "x", "<del>x</del><ins>?</ins>"),
    ],
)
def test_added_words_are_marked_and_missing_ones_too(answer, reference, shown):
    assert diffed(answer, reference) == shown


def test_texts_too_long_to_compare_are_shown_as_they_are():
    long = "a b " * 10_000
    assert diffed(long, long).endswith("<p>(too long to compare word for word)</p>")
    assert len(diffed("x" * 10 * LONGEST, "")) < LONGEST + 100


def test_without_a_reference_the_tuned_answer_is_compared_with_the_base_one():
    sides = [evaluation("small", 1, questions=("Why?",)), evaluation("tuned", 0, questions=("Why?",))]
    sides = [replace(side, items=(replace(side.items[0], reference=""),)) for side in sides]
    shown = view(browse(compare(*sides)))
    assert "There is no reference; the tuned answer is shown against the base one." in shown
    assert "<del>small</del><ins>tuned</ins> says" in shown


# Prompts as they were sent


def test_a_prompt_shows_its_whole_text_and_the_examples_that_were_looked_up():
    rules = "Rule. " * 200
    looked_up = Prompt("looked up", system=rules, nearest=nearest(TRAINING, 1))
    base = replace(evaluation("small", 1, questions=("Where is my parcel?",)), prompt=looked_up)
    tuned = evaluation("tuned", 0, questions=("Where is my parcel?",))
    shown = view(browse(compare(base, tuned)))
    assert rules in shown
    assert "In Oslo." in shown  # the one example that is most like the question
    assert "Hello!" not in shown
    assert "The base model&#x27;s prompt: looked up" in shown


def test_with_the_test_each_row_is_shown_with_its_own_system_message():
    chat = (
        {"role": "system", "content": "You are <kind>."},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "Yes, within 30 days."},
    )
    test = Dataset("test", (Example(chat, "test.jsonl:1"),))
    id = questions_of(test)[0].id
    sides = [
        replace(side, prompt=Prompt("plain"), items=(replace(side.items[0], id=id),))
        for side in (evaluation("small", 1, questions=("Why?",)), evaluation("tuned", 0, questions=("Why?",)))
    ]
    assert "You are &lt;kind&gt;." in view(browse(compare(*sides), test=test))
    assert "You are" not in view(browse(compare(*sides)))


# Without a browser, and with many items


def test_headless_it_is_a_table_of_the_first_items(window, monkeypatch, unstyled):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    shown, _ = window._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/html"}
    assert shown["text/plain"] == "4 items: 1 right → wrong, 1 wrong → right, 1 both wrong"
    assert "<td>train.jsonl:7</td>" in unstyled(shown["text/html"])
    monkeypatch.setenv("WORKBENCH_HEADLESS", "")
    assert WIDGET in browse(window._comparison)._repr_mimebundle_()[0]


def test_a_hundred_thousand_items_open_and_step_at_once_and_only_one_is_drawn():
    many = tuple(f"Question {n}?" for n in range(100_000))
    base = evaluation("small", *([1.0] * 100_000), questions=many)
    tuned = evaluation("tuned", *([0.0] * 100_000), questions=many)
    pairs = pair(base, tuned, missing="refuse")
    started = time.thread_time()
    window = browse(pairs)
    assert time.thread_time() - started < 4
    assert len(view(window)) < 10_000
    started = time.thread_time()
    for place in range(100):
        send(window, "go", 900 * place)
    assert time.thread_time() - started < 1  # 10 milliseconds a step
    assert "Question 89100?" in view(window)
    send(window, "find", "99999?")
    assert (window.row["of"], questions(window)) == (1, ["Question 99999?"])
