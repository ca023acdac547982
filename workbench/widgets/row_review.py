"""Review training rows by keyboard: keep, edit or leave out, with findings beside the text."""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import NamedTuple

from workbench.dataset.check.privacy import masked
from workbench.dataset.check.report import Report
from workbench.dataset.check.row import Finding
from workbench.dataset.dataset import JSON, ROWS_SHOWN, Dataset, Example, Message, counted, identity, text_of
from workbench.display import table
from workbench.errors import DataError
from workbench.review import RATINGS, Decisions, RowDecision, Verdict, counts_in_words, key_of, ordered
from workbench.widgets.card import Card

# One row as a review shows it, and how an edited text goes back into it.
#
# What the model will see stands in blocks of plain text; those it is trained on
# are marked. Nothing here is HTML: the page sets it as text.

LONGEST = 100_000  # characters of a row that travel to the browser; nobody reads more by eye


class Block(NamedTuple):
    """A stretch of what the model sees."""

    name: str
    """Who speaks; empty for a stretch of the rendered text."""
    mark: str
    """``trained`` where the model learns to say this, ``trained against`` where it learns not to."""
    text: str


class RowView(NamedTuple):
    """A row as the model sees it."""

    how: str
    """Whether this is the model's own template."""
    blocks: list[Block]


def seen(example: Example, model: str | None) -> RowView:
    """Show me the row: rendered with the model's chat template, or message by message without a model."""
    if model is None:
        return RowView("The messages as they stand in the line", list(_cut(_messages(example))))
    from workbench.dataset.rendering import rendered

    found = rendered(example, model)
    how = f"What {model} sees, by its own chat template"
    if not found.exact:
        how = f"Roughly what {model} sees; its own template is not published"
    kind = "trained, preferred" if found.rejected else "trained"
    pieces = (Block("", kind if piece.trained else "", piece.text) for piece in found.pieces)
    # The prompt of a rejected answer has just been shown with the preferred one.
    rejected = (Block("", "trained against", piece.text) for piece in found.rejected if piece.trained)
    shown = _cut(block for block in (*pieces, *rejected) if block.text.strip())
    return RowView(how, list(shown))


def findings_at(report: Report, origin: str) -> list[Finding]:
    """What the report says about the row that stands there, the worst first."""
    file, _, line = origin.rpartition(":")
    if not line.isdecimal():
        return []
    number = int(line)
    return [group.finding for group in report.groups if group.file == file and _holds(group.lines, number)]


def editable(example: Example) -> str:
    """The text to edit: the answer, or the whole line as JSON where the answer is not simply a text."""
    return _answer(example) or json.dumps(example.wire, indent=2, ensure_ascii=False, default=dict)


def edited(example: Example, text: str) -> Mapping[str, JSON]:
    """The line that this row becomes when ``text`` takes the place of ``editable(example)``."""
    if not _answer(example):
        try:
            value: JSON = json.loads(text)
        except ValueError as error:
            raise DataError(f"The line is no JSON any more: {error}.") from error
        if not isinstance(value, Mapping):
            raise DataError("The line is no JSON object any more; begin it with { and end it with }.")
        return value
    if not text.strip():
        raise DataError("The answer is empty; write one, or drop the row.")
    if example.method != "dpo":
        messages = (*example.messages[:-1], {**example.messages[-1], "content": text})
        return replace(example, messages=messages).wire
    *before, last = _said(example.more.get("preferred_output"))
    answer = [*before, {**last, "content": text}]
    return replace(example, more={**example.more, "preferred_output": answer}).wire


def shown(text: str) -> str:
    """The text as a browser can show it: half a surrogate pair is no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _messages(example: Example) -> Iterator[Block]:
    """The messages as they stand in the line; those whose words are learned are marked."""
    supervised = example.method == "sft"
    for message in example.messages:
        learned = supervised and message.get("role") == "assistant" and bool(message.get("weight", 1))
        yield Block(str(message.get("role")), "trained" if learned else "", _words(message))
    outputs = {"preferred_output": "trained, preferred", "non_preferred_output": "trained against"}
    for key, mark in outputs.items():
        for message in _said(example.more.get(key)):
            yield Block(str(message.get("role")), mark, _words(message))
    rest = {key: value for key, value in example.more.items() if key not in outputs}
    if rest:
        yield Block("also in the line", "", json.dumps(rest, indent=1, ensure_ascii=False, default=dict))


def _words(message: Message) -> str:
    """What is said, what is called, and how many images there are."""
    content, calls = message.get("content"), message.get("tool_calls")
    parts = [text_of(message)]
    if isinstance(content, list | tuple):
        images = [p for p in content if isinstance(p, Mapping) and p.get("type") == "image_url"]
        parts.append(f"[{counted(len(images), 'image')}]" if images else "")
    if calls:
        parts.append(json.dumps(calls, indent=1, ensure_ascii=False, default=dict))
    return "\n".join(filter(None, parts))


def _cut(found: Iterable[Block]) -> Iterator[Block]:
    """No more than fits: one row can be larger than a browser likes."""
    left = LONGEST
    for block in found:
        if left <= 0:
            yield Block("", "", "… and more messages, too long to show")
            return
        text, more = block.text[:left], len(block.text) - left
        left -= len(text)
        yield block._replace(text=shown(text) + (f" … {more:,} more characters" if more > 0 else ""))


def _said(messages: JSON) -> list[Message]:
    if not isinstance(messages, list | tuple):
        return []
    return [message for message in messages if isinstance(message, Mapping)]


def _answer(example: Example) -> str:
    """The answer, where it is one text that another can replace."""
    said = _said(example.more.get("preferred_output")) if example.method == "dpo" else example.messages
    content = said[-1].get("content") if said and example.answer else None
    return content if isinstance(content, str) else ""


def _holds(lines: Sequence[int], number: int) -> bool:
    place = bisect_left(lines, number)
    return place < len(lines) and lines[place] == number


# Review a dataset row by row, with the keyboard: keep, drop, edit, rate.
#
# Only the row in view travels to the browser, and each key that decides is on disk
# before the next row comes. What has been decided is in ``decisions``, at any
# moment and for any cell; nothing waits for a click. Headless, and wherever no
# browser answers, it is a table of the first rows.


def review(
    dataset: Dataset,
    decisions: Decisions,
    *,
    order: str | None = None,
    report: Report | None = None,
    model: str | None = None,
    seed: int = 0,
) -> "Review":
    """Let me read the rows and decide; it opens behind the row decided last.

    ``order`` is one of ``workbench.review.ORDERS``; ``None`` is ``suspicious`` with a report, else
    ``file``. With a ``model`` each row is shown as its chat template renders it, else message by message.
    Rows with the same content are shown once.
    """
    return Review(dataset, decisions, order or ("suspicious" if report else "file"), report, model, seed)


class Review(Card):
    """The window: one row at a time, and the keys that decide about it."""

    script = "review.js"

    def __init__(
        self,
        dataset: Dataset,
        decisions: Decisions,
        order: str,
        report: Report | None,
        model: str | None,
        seed: int,
    ) -> None:
        """Open at the first row that is still open behind the one decided last."""
        self._name, self._order, self._decisions = dataset.name, order, decisions
        self._report, self._model = report, model
        rows: dict[str, list[Example]] = {}
        for position in ordered(dataset, order, seed=seed, report=report):
            rows.setdefault(key_of(dataset[position]), []).append(dataset[position])
        self._rows = [(key, same[0], len(same)) for key, same in rows.items()]
        self._places: dict[str, int] = {key: place for place, key in enumerate(rows)}
        self._at = self._next_open()
        super().__init__()

    def __repr__(self) -> str:
        """What is reviewed, and how far it is."""
        return f"Review of {self._name}: {counted(len(self._rows), 'row')}, {counts_in_words(self._counts())}"

    def _repr_html_(self) -> str:
        caption = f"{self!r}, order {self._order}"
        if len(self._rows) > ROWS_SHOWN:
            caption += f", the first {ROWS_SHOWN}"
        latest, rows = self._decisions.latest, []
        for key, example, _ in self._rows[:ROWS_SHOWN]:
            verdict = latest[key].verdict if key in latest else "open"
            found = "; ".join(finding.message for finding in self._findings(example))
            said = (masked(shown(text)) for text in (example.question, example.answer))
            rows.append((example.origin, verdict, found, *said))
        return table(caption, ("origin", "verdict", "findings", "question", "answer"), rows)

    def _do(self, content: Mapping[str, object]) -> str:
        place, value = content.get("row"), content.get("value")
        if not isinstance(place, int) or not 0 <= place < len(self._rows):
            return ""
        # The row that the person saw, which is another one if two keys came quickly.
        self._at = place
        key, _, _ = self._rows[place]
        now = self._decisions.latest.get(key) or RowDecision("open")
        match content.get("do"), value:
            case "go", int(steps):
                return self._go(steps)
            case "keep", _:
                self._decide(now if now.verdict == "edit" else replace(now, verdict="keep"))
                return f"Kept. {self._go(1)}".rstrip()
            case "drop", _:
                self._decide(replace(now, verdict="drop", edited=None))
                return f"Dropped. {self._go(1)}".rstrip()
            case "edit", str(text):
                self._decide(self._edited(now, text))
                return f"Saved. {self._go(1)}".rstrip()
            case "rate", int(rating):
                self._decide(replace(now, rating=None if rating == now.rating else rating))
                return "Rating removed." if rating == now.rating else f"Rated {rating} of {RATINGS[-1]}."
            case "comment", str(text):
                self._decide(replace(now, comment=text.strip()))
                return "Comment saved."
        return ""

    def _go(self, steps: int) -> str:
        goal = self._at + steps
        self._at = min(max(goal, 0), len(self._rows) - 1)
        if goal == self._at:
            return ""
        if goal < 0:
            return "This is the first row."
        still = self._counts()["open"]
        return f"This is the last row; {still:,} still open." if still else "All rows are decided."

    def _decide(self, decision: RowDecision) -> None:
        key, example, _ = self._rows[self._at]
        before = self._decisions.latest.get(key)
        if decision == (before or RowDecision("open")):
            return
        self._write(example, decision)
        self._undone_by(partial(self._decide_again, self._at, before))

    def _decide_again(self, place: int, before: RowDecision | None) -> None:
        _, example, _ = self._rows[place]
        if before is None:
            self._decisions.forget(example)
        else:
            self._write(example, before)
        self._at = place

    def _write(self, example: Example, decision: RowDecision) -> None:
        self._decisions.write(example, decision)

    def _edited(self, now: RowDecision, text: str) -> RowDecision:
        _, example, _ = self._rows[self._at]
        line = edited(_as_decided(example, now), text)
        if identity([line]) == identity([example.wire]):
            return replace(now, verdict="keep", edited=None)
        return replace(now, verdict="edit", edited=line)

    def _findings(self, example: Example) -> Sequence[Finding]:
        return findings_at(self._report, example.origin) if self._report else ()

    def _counts(self) -> dict[Verdict, int]:
        """About how many of these rows there is which verdict; a project's other files have theirs."""
        latest = self._decisions.latest
        found = Counter(decision.verdict for key, decision in latest.items() if key in self._places)
        closed: dict[Verdict, int] = {"keep": found["keep"], "drop": found["drop"], "edit": found["edit"]}
        return closed | {"open": len(self._rows) - sum(closed.values())}

    def _next_open(self) -> int:
        """The first open row behind the one decided last, else the first open one."""
        latest = self._decisions.latest
        last = next((self._places[key] for key in reversed(tuple(latest)) if key in self._places), -1)
        for place in chain(range(last + 1, len(self._rows)), range(last + 1)):
            decision = latest.get(self._rows[place][0])
            if decision is None or decision.verdict == "open":
                return place
        return max(last, 0)

    def _in_view(self) -> dict[str, object]:
        view: dict[str, object] = {
            "of": len(self._rows),
            "counts": counts_in_words(self._counts()),
            "order": self._order,
        }
        if not self._rows:
            return view
        key, example, copies = self._rows[self._at]
        now = self._decisions.latest.get(key) or RowDecision("open")
        current = _as_decided(example, now)
        text, row = editable(current), seen(current, self._model)
        return view | {
            "at": self._at,
            "origin": shown(example.origin),
            "copies": copies,
            "findings": [_sendable(finding) for finding in self._findings(example)],
            "seen": row.how,
            "blocks": [block._asdict() for block in row.blocks],
            "verdict": now.verdict,
            "rating": now.rating,
            "comment": shown(now.comment),
            "text": shown(text) if len(text) <= LONGEST else None,
            "edits": "answer" if _answer(current) else "line",
        }


def _sendable(finding: Finding) -> dict[str, str]:
    return {name: shown(str(value)) for name, value in finding._asdict().items()}


def _as_decided(example: Example, decision: RowDecision) -> Example:
    """The row as it would be trained on; a dropped one as it was."""
    return decision.applied(example) or example
