"""How values show themselves: tables with every cell escaped, lists of facts, charts, and live widgets.

A base class gives a value its text, its table or its MIME bundle; what it shows is the value's own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from workbench.settings import setting

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from pandas import DataFrame

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


@dataclass(frozen=True, repr=False)
class Listing:
    """Rows of a DataFrame to be read as text: whole answers, wrapped, on the left."""

    caption: str
    frame: "DataFrame"

    def __repr__(self) -> str:
        """The caption and the plain rows."""
        return f"{self.caption}\n{self.frame.to_string(index=False)}"

    def _repr_html_(self) -> str:
        return table(self.caption, list(map(str, self.frame.columns)), self.frame.itertuples(index=False))


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write an HTML table, safe for any text; the first cell of each row is its header."""
    left = 'style="text-align:left;vertical-align:top"'
    # pre-wrap: answers keep their line breaks, and long ones wrap, within a word if need be.
    wrapped = "white-space:pre-wrap;overflow-wrap:break-word;max-width:28em"
    wrap = f'style="text-align:left;vertical-align:top;{wrapped}"'
    head = "".join(f'<th scope="col" {left}>{_cell(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row" {left}>{_cell(first)}</th>'
        + "".join(f"<td {wrap}>{_cell(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (  # the class: JupyterLab would take what stands between two dollar signs for mathematics
        f'<table class="mathjax_ignore"><caption style="text-align:left">{_cell(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def folded(line: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a line that says it, with the table behind it for who clicks; the line alone without rows."""
    listed = list(rows)
    if not listed:
        return f'<p class="mathjax_ignore">{escape(line)}</p>'
    inside = f"<summary>{escape(line)}</summary>{table('', heads, listed)}"
    return f'<details class="mathjax_ignore">{inside}</details>'


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table for a terminal: a line of headings, then a line a row, in columns."""
    lines = [header, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    text = str(value)
    shown = text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"
    return escape(shown.encode("utf-8", "replace").decode())  # half a surrogate pair is no UTF-8


Table: TypeAlias = tuple[str, Sequence[str], Iterable[Sequence[object]]]
"""What ``table`` takes: the caption, the columns, the rows."""


class Shown:
    """A value that is a sentence as text, and in a notebook tables; a table after the first needs rows."""

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
        first, *more = self.tables()
        with_rows = ((caption, columns, list(rows)) for caption, columns, rows in more)
        return "".join(table(*each) for each in (first, *(each for each in with_rows if each[2])))
