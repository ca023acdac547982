"""How values show themselves: tables with every cell escaped, lists of facts, charts, and live widgets.

A base class gives a value its text, its table or its MIME bundle; what it shows is the value's own. Here too:
how a notebook shows our errors.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from workbench.errors import WorkbenchError
from workbench.settings import setting

if TYPE_CHECKING:
    import plotly.graph_objects as go

LONGEST_CELL = 300  # characters; the whole text is in the object the table is drawn from
PLOTLY = "application/vnd.plotly.v1+json"


class Facts:
    """A value that is a list of facts: one a line as text, one a row in a notebook."""

    caption: ClassVar[str] = ""

    @property
    def facts(self) -> Mapping[str, object]:
        """The facts by name, in the order in which they are shown."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Write one fact a line."""
        return "\n".join(f"{name}: {value}" for name, value in self.facts.items())

    def _repr_html_(self) -> str:
        return table(self.caption, ("fact", "value"), self.facts.items())


class Chart:
    """A value that is drawn: interactive where the front end has Plotly, else as ``drawing`` gives it."""

    @property
    def figure(self) -> "go.Figure":
        """The interactive figure, to change as you like."""
        raise NotImplementedError

    def drawing(self) -> dict[str, object]:
        """What shows the same without Plotly, by MIME type."""
        raise NotImplementedError

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        return {**self.drawing(), PLOTLY: json.loads(self.figure.to_json())}


class Window:
    """A widget that is a table wherever no browser answers; name it before the widget's own class."""

    comm: Any

    def _repr_html_(self) -> str:
        raise NotImplementedError

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, object], dict[str, object]]:
        still: dict[str, object] = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if setting("WORKBENCH_HEADLESS") == "1" or self.comm is None:
            return still, {}
        live = super()._repr_mimebundle_(**options)  # type: ignore[misc]
        shown, facts = live if isinstance(live, tuple) else (live or {}, {})  # nothing of one without a view
        return {**shown, **still}, facts


_NUMBER = re.compile(r"[-+−<$]{0,2}\d[\d.,]*([–/-]\d[\d.,]*)?( (%|s|of \d[\d.,]*))?")


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write an HTML table, safe for any text; the first cell of each row is its header.

    A column of numbers stands on the right, and no number is broken over two lines.
    """
    rows = [list(row) for row in rows]
    filled = [[str(row[place]) for row in rows if row[place] != ""] for place in range(1, len(columns))]
    numeric = [False, *(bool(cells) and all(map(_NUMBER.fullmatch, cells)) for cells in filled)]
    left = 'style="text-align:left;vertical-align:top"'
    right = 'style="text-align:right;vertical-align:top;white-space:nowrap"'
    # pre-wrap: answers keep their line breaks, and long ones wrap, within a word if need be.
    # plaintext: a cell in Arabic or Hebrew reads from the right, whatever stands beside it.
    wrapped = "white-space:pre-wrap;overflow-wrap:break-word;unicode-bidi:plaintext;max-width:28em"
    wrap = f'style="text-align:left;vertical-align:top;{wrapped}"'
    head = "".join(
        f'<th scope="col" {right if number else left}>{_cell(column)}</th>'
        for column, number in zip(columns, numeric, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row" {left}>{_cell(first)}</th>'
        + "".join(
            f"<td {right if n else wrap}>{_cell(c)}</td>" for c, n in zip(rest, numeric[1:], strict=True)
        )
        + "</tr>"
        for first, *rest in rows
    )
    return (  # the class: JupyterLab would take what stands between two dollar signs for mathematics
        f'<table class="mathjax_ignore"><caption style="text-align:left">{safe(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


class HtmlCell(NamedTuple):
    """A cell of a table that is HTML already, and the same in words."""

    html: str
    words: str

    def __str__(self) -> str:
        """The words."""
        return self.words


_BAR_LOOK = "margin-right:.6em;max-width:none;min-width:150px"
_BESIDE = "display:flex;justify-content:space-between;align-items:center;white-space:nowrap"
_BARS = {"info": "#1a86c8", "warning": "#b7791f", "error": "#d9480f"}


def bar(share: float, words: str, level: str = "info") -> HtmlCell:
    """A bar for a table's cell, ``share`` of the longest, with its number in words beside it.

    The colour is mixed with the text's own, so that it stands out on a light and on a dark page.
    """
    colour = f"color-mix(in srgb, {_BARS[level]} 72%, currentColor)"
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}%"
    drawn = (
        f'<svg width="150" height="12" aria-hidden="true" style="{_BAR_LOOK}">'
        f'<rect width="{width}" height="12" rx="2" style="fill:{colour}"/></svg>'
    )
    return HtmlCell(f'<span style="{_BESIDE}">{drawn}{safe(words)}</span>', words)


_BINS = 8  # bars of a histogram; what is far out stands in one more


def histogram(values: Iterable[int]) -> list[tuple[str, HtmlCell]]:
    """The rows of a table that shows how whole numbers from 0 on are spread, in bins of equal, round width.

    The longest 2 % may stand in one last bin, so that a few of them do not flatten the others.
    """
    ordered = sorted(values)
    if not ordered:
        return []
    usual = ordered[-(-98 * len(ordered) // 100) - 1] + 1
    steps = (factor * 10**power for power in range(18) for factor in (1, 2, 5))
    width = next(step for step in steps if step * _BINS >= usual)
    counts = Counter(min(value // width, _BINS) for value in ordered)
    most = max(counts.values())

    def named(place: int) -> str:
        low, high = place * width, (place + 1) * width - 1
        return f"{low:,} or more" if place == _BINS else f"{low:,}" if width == 1 else f"{low:,} to {high:,}"

    places = range(min(counts), max(counts) + 1)
    return [(named(place), bar(counts[place] / most, f"{counts[place]:,}")) for place in places]


def folded(title: str, content: str) -> str:
    """HTML that opens at a click on its title; what is wider than the page scrolls by itself."""
    look = 'class="mathjax_ignore" style="overflow-x:auto"'
    return f"<details {look}><summary>{safe(title)}</summary>{content}</details>"


def folded_table(line: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a line that says it, with the table behind it for who clicks; the line alone without rows."""
    listed = list(rows)
    return folded(line, table("", heads, listed)) if listed else f'<p class="mathjax_ignore">{safe(line)}</p>'


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table for a terminal: a line of headings, then a line a row, in columns."""
    lines = [header, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def beside(*parts: str) -> str:
    """Pieces of HTML side by side where they fit, else below each other."""
    cells = "".join(f"<div>{part}</div>" for part in parts)
    return f'<div style="display:flex;flex-wrap:wrap;gap:0 2.5em;align-items:flex-start">{cells}</div>'


def _cell(value: object) -> str:
    if isinstance(value, HtmlCell):
        return value.html
    text = str(value)
    shown = text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"
    return safe(shown)


def safe(text: str) -> str:
    """The text as HTML that shows every character of it."""
    return escape(text.encode("utf-8", "replace").decode())  # half a surrogate pair is no UTF-8


Table: TypeAlias = tuple[str, Sequence[str], Iterable[Sequence[object]]]
"""What ``table`` takes: the caption, the columns, the rows."""


class Shown:
    """A value that is a sentence as text, and in a notebook tables, those that have rows.

    Of the first without rows its caption is shown.
    """

    @property
    def verdict(self) -> str:
        """It in a sentence or two, with the numbers."""
        raise NotImplementedError

    def tables(self) -> Iterable[Table]:
        """What a notebook shows, the most important first."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Show the verdict."""
        return f"<{type(self).__name__}: {self.verdict}>"

    def _repr_html_(self) -> str:
        first, *more = [(caption, columns, list(rows)) for caption, columns, rows in self.tables()]
        begin = table(*first) if first[2] else folded_table(first[0], (), ())
        return begin + "".join(table(*each) for each in more if each[2])


# Errors in a notebook: what the user can put right is a sentence, with a link to the notebook that it names.


def show_errors_briefly(shell: Any) -> None:
    """Let this IPython show our errors, and interrupts of our waits, without a traceback; ``%tb`` shows it.

    The cell still fails, and so does whoever runs the notebook. A handler that somebody has set stays.
    """
    if not shell.custom_exceptions:
        shell.set_custom_exc((WorkbenchError, KeyboardInterrupt), _show_briefly)


def _show_briefly(
    shell: Any,
    kind: type[BaseException],
    error: BaseException,
    where: TracebackType,
    tb_offset: int | None = None,
) -> list[str]:
    """What ``set_custom_exc`` calls."""
    notes = getattr(error, "__notes__", [])
    sentence = str(error)
    if isinstance(error, KeyboardInterrupt):
        inside = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(where))
        if not any(module.startswith("workbench.") for module in inside):
            shell.showtraceback((kind, error, where), tb_offset=tb_offset, running_compiled_code=True)
            return []
        sentence = "Interrupted." if notes else "Interrupted; run the cell again to go on."
    shell._get_exc_info((kind, error, where))  # remembers it, for %tb and %debug
    lines = ["\n".join([sentence, *notes])]
    shell._showtraceback(kind, error, lines)
    _link_notebooks(lines[0])
    return lines


def _link_notebooks(text: str) -> None:
    """Show a link to each notebook that the text names, if it lies in the current folder."""
    from IPython.display import display

    named = dict.fromkeys(re.findall(r"\b\d\d_[a-z_]+\b", text))
    there = [name for name in named if Path(f"{name}.ipynb").is_file()]
    if there:
        links = ", ".join(f'<a href="{name}.ipynb">{name}</a>' for name in there)
        shown = {"text/html": f"<p>Open {links}</p>", "text/plain": f"Open {', '.join(there)}"}
        display(shown, raw=True)  # type: ignore[no-untyped-call]
