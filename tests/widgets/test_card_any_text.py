"""Each widget shows any text of data and answers as text: markup, Arabic, emoji, 100 KB, half a letter.

Both of what a widget sends are read: the row for the browser, and the HTML where no browser answers.
"""

import json
import math
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from workbench.dataset.check.report import FileFacts, Group, Report
from workbench.dataset.check.row import Finding
from workbench.dataset.dataset import Dataset, Example
from workbench.display import table
from workbench.evaluation.compare import compare
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.failures import Failed, Failures
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.records import open_labels, open_ratings
from workbench.evaluation.requests import Answer
from workbench.project import Project
from workbench.review import open_review
from workbench.widgets.blind_review import blind_review
from workbench.widgets.item_browser import browse
from workbench.widgets.labelling import label
from workbench.widgets.problem_list import problems
from workbench.widgets.row_review import review

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)><b onclick=alert(3)>$5 and $6</b>"
ARABIC = "\u0645\u062a\u0649 \u064a\u0635\u0644 \u0627\u0644\u0637\u0631\u062f 4711\u061f"
EMOJI = "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 ok"
TEXTS = {"markup": MARKUP, "arabic": ARABIC, "emoji": EMOJI, "100 KB": "word " * 20_000, "half": "a\ud800b"}
LARGEST = 900_000  # letters of what a widget sends for a few texts of 100,000


class Tags(HTMLParser):
    """What a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def evaluated(model: str, text: str, answer: str) -> Evaluation:
    said = Answer(answer, "stop", 0.1, 9, 1, score=0.0, reason=text)
    item = Item("q1", f"{text[:20]}:1", f"{text}?", f"{text}!", (said,))
    return Evaluation(model, Prompt("p", system=text), grader("exact"), (item,), 64, math.nan)


def dataset(text: str) -> Dataset:
    chat = ({"role": "user", "content": f"{text}?"}, {"role": "assistant", "content": f"{text} "})
    return Dataset("faq.csv", (Example(chat, "faq.csv:2"),))


def found(text: str) -> Report:
    finding = Finding("warning", "whitespace", "messages[1].content", f"odd: {text}", text)
    return Report((FileFacts("faq.csv", "training", 1),), (Group(finding, "faq.csv", (2,)),), "sft")


def pair(text: str) -> tuple[Evaluation, Evaluation]:
    return evaluated("base", text, f"{text} one"), evaluated("tuned", text, f"{text} two")


def failing(text: str) -> Failures:
    one = evaluated("base", text, text)
    return Failures(one.prompt, "base", tuple(map(Failed, one.items)), 1)


WIDGETS: dict[str, Callable[[str, Project], object]] = {
    "blind review": lambda text, project: blind_review(*pair(text), ratings=open_ratings(project)),
    "item browser": lambda text, _: browse(compare(*pair(text)), training=dataset(text)),
    "labelling": lambda text, project: label(failing(text), open_labels(project)),
    "row review": lambda text, project: review(dataset(text), open_review(project), report=found(text)),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("make", WIDGETS.values(), ids=WIDGETS)
def test_a_widget_sends_text_that_a_browser_can_show(
    make: Callable[[str, Project], object], text: str, tmp_path: Path
):
    shown = make(text, Project("p", tmp_path / "p"))
    sent = json.dumps(shown.row, ensure_ascii=False).encode()  # half a letter would be refused here
    assert len(sent) < LARGEST
    for page in (shown._repr_html_(), str(shown.row.get("page", ""))):
        made = Tags(page)
        assert made.tags & {"script", "img"} == set()
        assert [name for name in made.attributes if name.startswith("on")] == []
        page.encode()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_list_of_problems_shows_any_text_as_text(text: str):
    window = problems(dataset(text), found(text))
    window.repair_it.click()
    sent = [str(child.value) for child in window.children if isinstance(getattr(child, "value", None), str)]
    sent += [name for name, _ in (*window.findings.options, *window.rows.options)]
    for page in (*sent, window._repr_html_()):
        assert Tags(page).tags & {"script", "img"} == set() or page in dict(window.rows.options)
        assert len(page.encode()) < LARGEST


def test_a_table_reads_an_arabic_cell_from_the_right_and_cuts_a_long_one():
    html = table("c", ("a", "b"), [("x", ARABIC), ("y", TEXTS["100 KB"])])
    assert "unicode-bidi:plaintext" in html
    assert len(html) < 3_000
