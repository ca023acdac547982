"""A page made of sections: headings, verdict cards, tables and drawings, as offline HTML and as Markdown.

Whatever stands in data or answers is text: personal data and secrets are masked as the check finds them,
long texts are cut with a note, and everything is escaped. The HTML needs no script and loads nothing.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import groupby
from typing import Literal, TypeAlias

from workbench.dataset.check.privacy import sensitive
from workbench.widgets.curve_chart import BLUE, GREEN, PURPLE, VERMILLION
from workbench.widgets.score_charts import ForestPanel, Mark, forest
from workbench.widgets.svg import GREY

MARK = "Fine-Tuning Workbench report"
"""What every report says of itself near its beginning, so that nothing else is ever overwritten."""

LONGEST = 600  # characters of a text that are shown
_READ = 20_000  # characters in which private data is looked for; far beyond what is shown
_MOST_ROWS = 60

# Control characters, but for line ends and tabs, and those that turn the direction of writing around.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
_LONG_WORD = re.compile(r"[^\s-]{24}")
_NUMBER = re.compile(r"[-−+$]?[\d.,]+( ?(%|s|min|points?|\(.*\)|of [\d,]+.*))?|")


class Code(str):
    """A hash, an identifier or a number of ours: shown as it is, and never masked."""


Cell: TypeAlias = "str | Code"
State: TypeAlias = Literal["good", "bad", "open"]
_SIGNS: dict[State, str] = {"good": "✓", "bad": "✗", "open": "○"}


@dataclass(frozen=True)
class Words:
    """A paragraph, or with ``items`` a list below it."""

    text: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class VerdictCard:
    """A question, its answer in a word or two, and why."""

    state: State
    question: str
    answer: str
    why: str = ""
    checks: tuple[tuple[State, str, str], ...] = ()
    """Of each single check its state, its name and its reason."""


@dataclass(frozen=True)
class Rows:
    """A table; one of numbers that a drawing shows is folded."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False


@dataclass(frozen=True)
class Drawing:
    """An SVG that stands on its own, with the table of its numbers."""

    caption: str
    svg: str
    numbers: Rows


@dataclass(frozen=True)
class Folded:
    """A long text, such as JSON, behind its title."""

    title: str
    text: str


@dataclass(frozen=True)
class Missing:
    """What is not there yet, and what to run for it."""

    what: str
    run: str


Block: TypeAlias = Words | VerdictCard | Rows | Drawing | Folded | Missing


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it; level 2 is a project or the comparison, 3 a part of it."""

    title: str
    blocks: tuple[Block, ...] = field(default=())
    level: int = 3


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    about: str
    sections: tuple[Section, ...]

    @property
    def html(self) -> str:
        """One file that needs no network, no script and no other file."""
        body = "".join(
            f"<section><h{each.level}>{_safe(each.title)}</h{each.level}>{''.join(map(_html, each.blocks))}"
            "</section>"
            for each in self.sections
        )
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="generator" content="{MARK}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            # No script and no address, even if something unescaped ever came through.
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            f"style-src 'unsafe-inline'\"><title>{_safe(self.title)}</title><style>{_STYLE}</style></head>"
            f'<body><main><h1>{_safe(self.title)}</h1><p class="about">{_safe(self.about)}</p>{body}'
            "</main></body></html>\n"
        )

    @property
    def markdown(self) -> str:
        """The same without drawings: their numbers stand as tables."""
        lines = [f"<!-- {MARK} -->", f"# {_marked(self.title)}", "", _marked(self.about)]
        for each in self.sections:
            lines += ["", f"{'#' * each.level} {_marked(each.title)}"]
            for block in each.blocks:
                lines += ["", *_markdown(block)]
        return "\n".join(lines) + "\n"


def shown(text: Cell) -> str:
    """The text as it may be shown: masked, printable, and cut with a note; not escaped yet."""
    whole = str(text)
    if not isinstance(text, Code):
        read = whole[:_READ]
        for span in reversed(sensitive(read)):
            read = f"{read[: span.start]}[{span.kind.upper()}]{read[span.end :]}"
        cut = len(read) > LONGEST or len(whole) > _READ
        whole = f"{read[:LONGEST]} … (cut; {len(whole):,} characters)" if cut else read
    printable = whole.replace("\r\n", "\n").encode("utf-8", "replace").decode()
    return _CONTROL.sub("\ufffd", printable)


# As HTML.


def _safe(text: Cell) -> str:
    return escape(shown(text))


def _isolated(text: Cell) -> str:
    """Text whose direction of writing stays its own; it cannot turn its neighbours around."""
    return f'<bdi dir="auto">{_safe(text)}</bdi>'


def _html(block: Block) -> str:
    match block:
        case Words(text, items):
            listed = "".join(f"<li>{_isolated(item)}</li>" for item in items)
            return f"<p>{_isolated(text)}</p>" + (f"<ul>{listed}</ul>" if items else "")
        case VerdictCard(state, question, answer, why, checks):
            single = "".join(
                f'<li class="{each}"><b>{_SIGNS[each]} {_safe(name)}</b> {_isolated(reason)}</li>'
                for each, name, reason in checks
            )
            return (
                f'<div class="card {state}"><p class="question">{_safe(question)}</p>'
                f'<p class="answer">{_SIGNS[state]} {_safe(answer)}</p><p>{_isolated(why)}</p>'
                + (f"<ul>{single}</ul>" if checks else "")
                + "</div>"
            )
        case Rows():
            return _table(block)
        case Drawing(caption, svg, numbers):
            titled = f"<figcaption>{_safe(caption)}</figcaption>" if caption else ""
            return f"<figure>{titled}{svg}{_table(numbers)}</figure>"
        case Folded(title, text):
            code = escape(_CONTROL.sub("\ufffd", text))
            return f"<details><summary>{_safe(title)}</summary><pre>{code}</pre></details>"
        case Missing(what, run):
            return f'<p class="missing">{_safe(what)} <b>{_safe(run)}</b></p>'


def _table(rows: Rows) -> str:
    head = "".join(f'<th scope="col">{_safe(column)}</th>' for column in rows.columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows.rows[:_MOST_ROWS])
    caption = _captioned(rows)
    thead = f"<thead><tr>{head}</tr></thead>" if head else ""
    table = f'<div class="wide"><table>{thead}<tbody>{body}</tbody></table></div>'
    if rows.folded:
        return f"<details><summary>{_safe(caption)}</summary>{table}</details>"
    return (f'<p class="caption">{_safe(caption)}</p>' if caption else "") + table


def _captioned(rows: Rows) -> str:
    more = len(rows.rows) - _MOST_ROWS
    return f"{rows.caption} (the first {_MOST_ROWS} of {len(rows.rows):,} rows)" if more > 0 else rows.caption


def _cell(cell: Cell) -> str:
    if isinstance(cell, Code):
        return f"<td><code>{_safe(cell)}</code></td>"
    look = "number" if _NUMBER.fullmatch(cell) else "long" if _LONG_WORD.search(cell) else ""
    named = f' class="{look}"' if look else ""
    return f"<td{named}>{_isolated(cell)}</td>"


# As Markdown.


def _marked(text: Cell) -> str:
    """Text without a meaning in Markdown or HTML, on one line."""
    escaped = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", shown(text).replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"\s*\n\s*", "<br>", escaped.replace(">", "&gt;").strip())


def _markdown(block: Block) -> Iterator[str]:
    match block:
        case Words(text, items):
            yield _marked(text)
            yield from ("", *(f"- {_marked(item)}" for item in items)) if items else ()
        case VerdictCard(state, question, answer, why, checks):
            yield f"**{_marked(question)} {_SIGNS[state]} {_marked(answer)}**"
            yield from ("", _marked(why)) if why else ()
            single = (f"- {_SIGNS[each]} {_marked(name)}: {_marked(reason)}" for each, name, reason in checks)
            yield from ("", *single) if checks else ()
        case Rows():
            yield from _markdown_table(block)
        case Drawing(caption, _, numbers):
            yield from (f"{_marked(caption)}:", "") if caption else ()
            yield from _markdown_table(replace(numbers, caption=""))
        case Folded(title, text):
            fence = "`" * (max(map(len, re.findall("`+", text)), default=2) + 1)
            yield from (f"<details><summary>{_marked(title)}</summary>", "", f"{fence}json", text, fence)
            yield from ("", "</details>")
        case Missing(what, run):
            yield f"*{_marked(what)}* **{_marked(run)}**"


def _markdown_table(rows: Rows) -> Iterator[str]:
    yield from (_marked(_captioned(rows)), "") if rows.caption else ()
    columns = rows.columns or ("", "")
    yield _line(columns)
    yield _line(["---"] * len(columns), plain=True)
    yield from map(_line, rows.rows[:_MOST_ROWS])


def _line(cells: Iterable[Cell], *, plain: bool = False) -> str:
    return f"| {' | '.join(cells if plain else map(_marked, cells))} |"


# A drawing of scores: a line for each, marks with their intervals on an axis from 0 to 100 %.

BASE, TUNED = (GREY, "circle"), (BLUE, "diamond")
"""The colour and marker of the base model, and of the tuned one."""


def scores(caption: str, marks: Sequence[Mark]) -> Drawing:
    """Draw shares with their intervals as a forest plot; the numbers stand folded below."""
    masked = [mark._replace(name=shown(mark.name)) for mark in marks]
    drawn = forest(caption, [ForestPanel("● base model · ◆ tuned model", masked)], names_above=True)
    rows = [(name, next(same).words) for name, same in groupby(marks, key=lambda mark: mark.name)]
    return Drawing(caption, drawn, Rows("In numbers", ("what", "score (95 %)"), rows, folded=True))


# How it looks: by day, by night, and on paper. Text has a contrast of 4.5 or more on each background.

_COLOURS = {
    "page": ("#ffffff", "#16181b"),
    "panel": ("#f5f6f8", "#202328"),
    "line": ("#c9ced6", "#434a54"),
    "text": ("#1b1d20", "#e9eaec"),
    "muted": ("#5a6068", "#b3b8bf"),
    "blue": ("#005f9e", "#6cb8ee"),
    "vermillion": ("#a84300", "#ff9f66"),
    "green": ("#00704f", "#4fd0a5"),
    "purple": ("#93406f", "#e3a4c9"),
}
_DAY, _NIGHT = ("".join(f"--{name}:{pair[theme]};" for name, pair in _COLOURS.items()) for theme in (0, 1))
_OF_DRAWINGS = {GREY: "muted", BLUE: "blue", VERMILLION: "vermillion", GREEN: "green", PURPLE: "purple"}
# A drawing of the notebooks has colours of its own; here they follow the page.
_DRAWN = "".join(
    f'svg [{what}="{colour}"]{{{what}:var(--{name})}}'
    for colour, name in _OF_DRAWINGS.items()
    for what in ("fill", "stroke")
)
_STYLE = (
    f":root{{color-scheme:light dark;{_DAY}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{_NIGHT}}}}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,sans-serif}"
    "main{max-width:60rem;margin:0 auto;padding:1.5rem}"
    "h1{font-size:1.8rem;margin:0 0 .3rem}h2{font-size:1.45rem;margin:2.2rem 0 .4rem}"
    "h3{font-size:1.1rem;margin:1.8rem 0 .5rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}"
    ".about,.caption,figcaption,.question,.missing{color:var(--muted)}.caption{margin:.8rem 0 .3rem}"
    "bdi{unicode-bidi:isolate}p,li,td.long,td code{overflow-wrap:anywhere}"
    ".card{border:1px solid var(--line);border-left:6px solid var(--muted);background:var(--panel);"
    "padding:.7rem 1rem;margin:.7rem 0;border-radius:4px}.card p{margin:.2rem 0}"
    ".card .answer{font-size:1.25rem;font-weight:650}"
    ".card.good{border-left-color:var(--green)}.card.good .answer,li.good b{color:var(--green)}"
    ".card.bad{border-left-color:var(--vermillion)}.card.bad .answer,li.bad b{color:var(--vermillion)}"
    ".missing{border-left:3px dotted var(--muted);padding-left:.7rem}.missing b{color:var(--text)}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}"
    "th,td{border-bottom:1px solid var(--line);padding:.3rem .6rem .3rem 0;text-align:left;"
    "vertical-align:top}td{white-space:pre-wrap;min-width:4rem}th{color:var(--muted);font-weight:600}"
    "td.number{font-variant-numeric:tabular-nums;white-space:nowrap}"
    "code,pre{font:.85rem/1.4 ui-monospace,monospace}pre{white-space:pre-wrap;overflow-wrap:anywhere}"
    "details{margin:.5rem 0}summary{cursor:pointer;color:var(--muted)}"
    "figure{margin:.8rem 0}svg{display:block;max-width:100%;height:auto}"
    f"{_DRAWN}"
    "@page{margin:15mm}"
    f"@media print{{:root{{color-scheme:light;{_DAY}}}body{{font-size:10pt}}main{{max-width:none;padding:0}}"
    "details:not([open]){display:none}h2,h3{break-after:avoid}.card,figure,tr{break-inside:avoid}"
    "table{font-size:8.5pt}.wide{overflow:visible}*{print-color-adjust:exact}}"
)
