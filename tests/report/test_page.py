"""A page whatever stands in it: escaped, masked, cut, for screen and paper, without an outside."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_project import walked

from workbench.project import open_project
from workbench.report import MOST_BYTES, report
from workbench.report.page import (
    BASE,
    TUNED,
    Code,
    Folded,
    Page,
    Rows,
    Section,
    VerdictCard,
    Words,
    scores,
    shown,
)
from workbench.widgets.score_charts import Mark

HOSTILE = '<script>alert(1)</script><img src="http://evil.example/x" onerror=alert(2)> "quoted" & \x00'
KEY = "sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        assert not any(name.startswith("on") for name, _ in attrs)


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    return tags


@pytest.fixture
def hostile(home: Path) -> str:
    long = "a" * 100_000
    project = walked(open_project("shop"), question=f"{HOSTILE} ask jane@contoso.com", answer=f"{KEY} {long}")
    return report(project).path.read_text(encoding="utf-8")


def test_no_tag_and_no_address_of_the_data_comes_through(hostile: str):
    tags = parsed(hostile)
    assert set(tags.tags) & {"script", "img", "iframe", "link", "object", "base", "form"} == set()
    assert tags.addresses == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in hostile
    assert "\x00" not in hostile
    assert "default-src 'none'" in hostile


def test_keys_and_personal_data_are_masked_as_the_check_finds_them(hostile: str):
    assert KEY not in hostile
    assert "jane@contoso.com" not in hostile
    assert "[OPENAI_KEY] aaaa" in hostile
    assert "ask [EMAIL]" in hostile


def test_long_texts_are_cut_with_a_note_and_the_page_stays_small(hostile: str):
    assert "… (cut; 100,041 characters)" in hostile
    assert "a" * 601 not in hostile
    assert len(hostile.encode()) < 150_000 < MOST_BYTES


def test_text_is_shown_as_it_is_without_what_turns_its_neighbours_around():
    assert shown("שלום 🎉\r\nnext\ttab") == "שלום 🎉\nnext\ttab"
    assert shown("a\u202eb\ud800") == "a\ufffdb?"
    page = Page("t", "", (Section("s", (Words("שלום"),)),))
    assert '<bdi dir="auto">שלום</bdi>' in page.html


def test_a_hash_is_no_private_data_and_is_never_masked():
    assert (
        shown(Code("api_key=9f86d081884c7d659a2feaa0c55ad015")) == "api_key=9f86d081884c7d659a2feaa0c55ad015"
    )
    assert shown("api_key=9f86d081884c7d659a2feaa0c55ad015") == "api_key=[API_KEY]"


def test_paper_is_white_whatever_the_screen_is_and_folded_tables_stay_away():
    html = Page("t", "", ()).html
    dark = html.index("prefers-color-scheme:dark")
    paper = html.index("@media print")
    assert dark < paper
    assert "--page:#ffffff" in html[paper:]
    assert "details:not([open]){display:none}" in html[paper:]


def luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_colour_of_text_has_a_contrast_of_4_5_on_page_and_panel(theme: int):
    themes = re.findall(r"--page:#.*?}", Page("t", "", ()).html)
    colours = dict(re.findall(r"--(\w+):(#\w+)", themes[theme]))
    for name in ("text", "muted", "blue", "vermillion", "green", "purple"):
        for ground in ("page", "panel"):
            light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


def test_a_verdict_is_told_by_a_sign_and_words_beside_its_colour():
    html = Page("t", "", (Section("s", (VerdictCard("bad", "Better?", "No", "Worse."),)),)).html
    assert '<p class="answer">✗ No</p>' in html


def test_marks_differ_in_shape_and_their_numbers_stand_in_a_folded_table():
    base = Mark("base", 0.2, (0.1, 0.3), "20.0 % (10–30)", *BASE)
    drawing = scores("Scores", [base, Mark("base", 0.5, (0.5, 0.5), "50.0 %", *TUNED)])
    assert drawing.numbers.rows == [("base", "20.0 % (10–30)")]
    assert "translate(136.8 60.0)" in drawing.svg  # 16 + 0.2 * 604
    assert "<circle" in drawing.svg
    assert "m0 -5l5 5l-5 5l-5 -5z" in drawing.svg
    html = Page("t", "", (Section("s", (drawing,)),)).html
    assert "<details><summary>In numbers</summary>" in html
    assert "<figcaption>Scores</figcaption>" in html


def test_a_table_of_many_rows_is_cut_and_says_so():
    rows = [(str(n), "x") for n in range(61)]
    html = Page("t", "", (Section("s", (Rows("All", ("n", ""), rows),)),)).html
    assert "All (the first 60 of 61 rows)" in html
    assert ">60<" not in html


def test_markdown_takes_nothing_of_the_text_for_its_own_marks():
    rows = Rows("", ("a", "b"), [("x | y", "*<b>*\nline `c` [l](http://evil.example)")])
    text = Page("T", "about", (Section("s", (rows, Folded("JSON", '{"a": "```"}'))),)).markdown
    assert "| x \\| y | \\*&lt;b&gt;\\*<br>line \\`c\\` \\[l\\](http://evil.example) |" in text
    assert '````json\n{"a": "```"}\n````' in text
