"""Tables that a notebook shows: a caption, headers that a screen reader finds, every cell escaped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

LONGEST_CELL = 300  # characters; the whole text is in the object the table is drawn from


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
    return (
        f'<table><caption style="text-align:left">{_cell(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(value: object) -> str:
    text = str(value)
    shown = text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"
    return escape(shown.encode("utf-8", "replace").decode())  # half a surrogate pair is no UTF-8
