"""Tables that a notebook shows: a caption, headers that a screen reader finds, every cell escaped."""

from collections.abc import Iterable, Sequence
from html import escape


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write an HTML table; the first cell of each row is its header."""
    left = 'style="text-align:left;vertical-align:top"'
    # pre-wrap: answers keep their line breaks, and long ones wrap.
    wrap = 'style="text-align:left;vertical-align:top;white-space:pre-wrap;max-width:28em"'
    head = "".join(f'<th scope="col" {left}>{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row" {left}>{escape(str(row[0]))}</th>'
        + "".join(f"<td {wrap}>{escape(str(cell))}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<table><caption style="text-align:left">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
